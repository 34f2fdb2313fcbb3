import assert from "node:assert/strict";
import { test } from "node:test";
import { Current } from "../src/current.js";
import { Sim } from "./support/sim.js";
import { SimServer } from "./support/sim-server.js";

function open() {
  const sim = new Sim();
  const server = new SimServer(sim);
  const { env } = sim.tab(server.openSocket);
  const current = new Current({
    env,
    url: "https://parley.test/app/",
    useDisk: true,
    useTabs: true,
    maxCacheBytes: 1000,
    updates: new Map(),
    writes: new Map(),
    localResults: {},
    onChange: () => {},
    onAuth: () => {},
    needsAuth: () => null,
  });
  return { sim, server, current };
}

const query = { token: '{"args":{},"path":"list:all"}', path: "list:all", args: {} };

test("the socket is asked for where the deployment is, with our extensions", async () => {
  const { sim, server, current } = open();

  current.enter("anonymous", null);
  await sim.run(100);

  const [link] = server.links;
  assert.equal(link?.url, "wss://parley.test/app/api/1.48.0/sync?parley=1");
});

test("what is watched moves along to the next account, and nothing else does", async () => {
  const { sim, current } = open();
  /** @type {unknown[]} */
  const seen = [];
  current.watch(query, () => seen.push(current.scope?.view.shown(query.token)?.status ?? null));
  current.enter("i|a", null);
  await sim.run(100);
  current.enter("i|b", null);
  await sim.run(100);

  assert.equal((await current.opening)?.account, "i|b");
  assert.equal(seen.at(-1), "success");
  assert.ok(seen.includes(null), "between them nothing is shown");
});

test("who is used before anybody is known waits until it is sure who that is", async () => {
  const { sim, current } = open();
  /** @type {string[]} */
  const used = [];

  current.use(({ account }) => used.push(account));
  current.enter("i|a", undefined);
  await sim.run(100);
  assert.deepEqual(used, []);

  current.enter("i|b", null);
  await sim.run(100);
  assert.deepEqual(used, ["i|b"]);
});

test("a query that is watched again soon is not given up between", async () => {
  const { sim, server, current } = open();
  current.enter("anonymous", null);
  const stop = current.watch(query, () => {});
  await sim.run(100);

  stop();
  stop();
  const again = current.watch(query, () => {});
  await sim.run(100);
  assert.equal(current.scope?.view.shown(query.token)?.status, "success");

  again();
  await sim.run(100);
  assert.equal(current.scope?.view.shown(query.token), undefined);
  const [link] = server.links;
  assert.equal(link?.connection.queries.size, 0);
});

test("when another tab removed the database, this one goes on with a new one", async () => {
  const { sim, current } = open();
  current.enter("i|a", null);
  await sim.run(100);
  const former = current.scope;

  await new Promise((resolve) => {
    const request = sim.indexedDB.deleteDatabase("parley:https://parley.test/app i|a");
    request.onsuccess = resolve;
  });
  await sim.run(3000);

  assert.notEqual(current.scope, former);
  assert.equal(current.scope?.account, "i|a");
});

test("where the disk is full from the beginning, the client works without it", async () => {
  const { sim, current } = open();
  const put = IDBObjectStore.prototype.put;
  IDBObjectStore.prototype.put = () => {
    throw new DOMException("full", "QuotaExceededError");
  };
  try {
    current.enter("i|a", null);
    await sim.run(100);
  } finally {
    IDBObjectStore.prototype.put = put;
  }

  assert.equal((await current.opening)?.isDurable, false);
});
