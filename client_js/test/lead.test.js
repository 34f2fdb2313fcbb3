import assert from "node:assert/strict";
import { test } from "node:test";
import { Lead } from "../src/lead.js";
import { Outbox } from "../src/outbox.js";
import { ResultCache } from "../src/results.js";
import { openMemory } from "../src/storage/memory.js";
import { Tabs } from "../src/tabs/leader.js";
import { Sim } from "./support/sim.js";
import { SimServer } from "./support/sim-server.js";

/** @import {QueryCall} from "../src/types.js" */

const CALL = { path: "list:append" };

/** @param {string} token @returns {QueryCall} */
const query = (token) => ({ token, path: token, args: {} });

/** A leader, and what it says to tabs that the test plays. */
async function open() {
  const sim = new Sim();
  const server = new SimServer(sim);
  const page = sim.tab(server.openSocket);
  const store = openMemory("x");
  const { now, uuid } = page.env;
  const outbox = await Outbox.open(store, { account: "u", now, uuid, hasLocks: true });
  /** @type {Record<string, any[]>} */
  const heard = { a: [], b: [] };
  const tabs = new Tabs(page.env, "x", "own", {
    onLeader: () => {},
    onMessage: () => {},
    onAsked: () => {},
    isWaiting: () => false,
  });
  tabs.watch = () => () => {};
  tabs.toTab = (tab, message) => heard[tab]?.push(structuredClone(message));
  const lead = new Lead({
    env: page.env,
    url: "ws://x",
    tabs,
    outbox,
    cache: new ResultCache(store, now),
    maxCacheBytes: 1000,
    seen: { ts: 0n, incarnation: null },
    token: null,
    onAuth: () => {},
  });
  /** @param {string} tab @param {object} [fields] */
  const join = (tab, fields) =>
    lead.receive({
      ...{ type: "join", tab, queries: [query("list:all")], ts: 0n, incarnation: null },
      ...{ waiting: [], actions: [], ...fields },
    });
  /** @param {string} tab @param {string} type */
  const got = (tab, type) => heard[tab]?.filter((message) => message.type === type) ?? [];
  lead.start();
  return { sim, server, page, outbox, lead, join, got };
}

/** @param {number} id */
const write = (id) => ({ ...CALL, key: `k${id}`, args: { id } });

test("two tabs' queries are merged; who watches what is there already gets it at once", async () => {
  const { sim, join, got, lead } = await open();
  join("a");
  await sim.run(100);
  join("b");

  assert.equal(got("b", "change").length, 1);
  assert.deepEqual(got("b", "change")[0].change, got("a", "change")[0].change);

  lead.receive({ type: "watch", tab: "b", query: query("list:other") });
  await sim.run(100);
  assert.deepEqual(
    got("a", "change").at(-1).change.queries,
    [],
    "what a tab does not watch is not for it, but the time is",
  );
});

test("a tab with results of its own gets nothing before all its queries are there, then all", async () => {
  const { sim, join, got } = await open();
  join("a");
  await sim.run(100);
  const queries = [query("list:all"), query("list:more")];

  join("b", { queries, ts: 1n });
  assert.deepEqual(got("b", "change"), []);
  await sim.run(100);

  const [first] = got("b", "change");
  assert.equal(first.change.queries.length, 2);
});

test("a tab that has seen more than the leader waits for what is not older", async () => {
  const { sim, server, join, got } = await open();
  join("a");
  await sim.run(100);

  join("b", { ts: 2n });
  assert.deepEqual(got("b", "change"), []);
  server.write();
  await sim.run(5000);

  assert.ok(got("b", "change").every(({ change }) => change.ts >= 2n));
  assert.ok(got("b", "change").length > 0);
});

test("writes are sent in the order of the outbox, and leave it when their effect was handed out", async () => {
  const { sim, server, outbox, lead, join, got } = await open();
  join("a");
  await sim.run(100);
  for (const id of [1, 2, 3]) await outbox.append(write(id));

  lead.read();
  await sim.run(100);

  assert.deepEqual(server.model.runs, [1, 2, 3]);
  assert.deepEqual(
    got("a", "change").flatMap(({ change }) =>
      change.completed.map((/** @type {any} */ { value }) => value),
    ),
    [1, 2, 3],
  );
  assert.deepEqual(await outbox.list(), []);
});

test("what was done before a tab joined is told with its first results; what nobody knows, after", async () => {
  const { sim, outbox, lead, join, got } = await open();
  join("a");
  await outbox.append(write(1));
  lead.read();
  await sim.run(100);

  join("b", { waiting: [0, 9] });
  await sim.run(100);

  const [done, unknown] = got("b", "settled");
  assert.deepEqual(done.done, [{ requestId: 0, value: 1, ts: 2n }]);
  assert.deepEqual(unknown.unknown, [9]);
});

test("while nobody is known nothing is sent, and nothing is marked as sent", async () => {
  const { sim, server, outbox, lead, join } = await open();
  lead.setToken(undefined);
  join("a");
  await outbox.append(write(1));
  lead.read();
  await sim.run(100);
  assert.equal((await outbox.list())[0]?.state, "stored");

  lead.setToken(null);
  await sim.run(100);
  assert.deepEqual(server.model.runs, [1]);
});

test("an action runs when its tab, asked anew, says so; the answer goes to that tab", async () => {
  const { sim, server, lead, join, got } = await open();
  join("a");
  join("b");
  await sim.run(100);

  lead.receive({ type: "act", tab: "b", act: { id: 4, path: "x:y", args: { id: 8 } } });
  await sim.run(100);
  assert.deepEqual(got("b", "mayRun"), [{ type: "mayRun", id: 4 }]);
  assert.deepEqual(server.acted, []);

  for (const tab of ["a", "b", "b"]) lead.receive({ type: "run", tab, id: 4 });
  await sim.run(100);

  assert.deepEqual(server.acted, [8]);
  assert.deepEqual(got("b", "acted"), [
    { type: "acted", id: 4, result: { status: "success", value: 8 } },
  ]);
  assert.deepEqual(got("a", "acted"), []);
});

test("a tab is asked for its action when there is a connection", async () => {
  const { sim, server, page, lead, join, got } = await open();
  page.network(false);
  join("a", { actions: [{ id: 4, path: "x:y", args: { id: 8 } }] });
  await sim.run(100);
  assert.deepEqual(got("a", "mayRun"), []);

  page.network(true);
  await sim.run(5000);
  assert.deepEqual(got("a", "mayRun"), [{ type: "mayRun", id: 4 }]);
  lead.receive({ type: "run", tab: "a", id: 4 });
  await sim.run(100);

  assert.deepEqual(server.acted, [8]);
});

test("stopped, it has no socket and no timer, and has kept what it knew", async () => {
  const { sim, server, lead, join, got } = await open();
  join("a");
  await sim.run(100);

  lead.stop();
  await lead.idle();
  const { length } = got("a", "line");
  await sim.run(100_000);

  assert.equal(server.links.size, 0);
  assert.equal(server.opened, 1);
  assert.equal(got("a", "line").length, length);
});
