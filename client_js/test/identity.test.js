import assert from "node:assert/strict";
import { test } from "node:test";
import { Identity } from "../src/identity.js";
import { openMemory } from "../src/storage/memory.js";
import { Sim } from "./support/sim.js";

/** @param {string} sub */
const tokenOf = (sub) => `e30.${btoa(JSON.stringify({ iss: "i", sub }))}.x`;

function open(shelf = new Map()) {
  const sim = new Sim();
  const page = sim.tab();
  /** @type {unknown[]} */
  const log = [];
  const registry = openMemory("registry", shelf);
  const identity = new Identity(page.env, async () => registry, {
    onAccount: (account, token) => log.push([account, token]),
    onHold: () => log.push("hold"),
    onState: () => {},
  });
  return { sim, page, log, identity, shelf };
}

test("a token says whose it is, and who was here last is remembered", async () => {
  const first = open();
  first.identity.setAuth(async () => tokenOf("alice"));
  await first.sim.run(10);
  assert.deepEqual(first.log, ["hold", ["i|alice", tokenOf("alice")]]);

  const next = open(first.shelf);
  next.identity.setAuth(() => new Promise(() => {}));
  await next.sim.run(900);
  assert.deepEqual(next.log, ["hold"]);
  await next.sim.run(200);
  assert.deepEqual(next.log, ["hold", ["i|alice", undefined]]);
});

test("a forgotten account is shown to nobody", async () => {
  const first = open();
  first.identity.setAuth(async () => tokenOf("alice"));
  await first.sim.run(10);
  await first.identity.forget("i|alice");

  const next = open(first.shelf);
  next.identity.setAuth(() => new Promise(() => {}));
  await next.sim.run(2000);

  assert.deepEqual(next.log, ["hold"]);
});

test("a fetch that throws is told with its reason, and tried again when the person comes back", async () => {
  const { sim, page, log, identity } = open();
  let isBroken = true;
  identity.setAuth(() =>
    isBroken ? Promise.reject(new Error("no")) : Promise.resolve(tokenOf("a")),
  );
  await sim.run(10);
  assert.equal(identity.status, "needs-auth");
  assert.match(identity.needsAuth?.reason ?? "", /no$/);

  isBroken = false;
  page.page("visible");
  await sim.run(10);
  assert.deepEqual(log.at(-1), ["i|a", tokenOf("a")]);
  assert.equal(identity.needsAuth, null);
});

test("set twice, as React's strict mode does, only the last fetch counts", async () => {
  const { sim, log, identity } = open();

  identity.setAuth(async () => tokenOf("first"));
  identity.setAuth(async () => tokenOf("second"));
  await sim.run(10);

  assert.deepEqual(log, ["hold", "hold", ["i|second", tokenOf("second")]]);
});

test("closed, it asks for nothing and hears nothing", async () => {
  const { sim, page, log, identity } = open();
  let asked = 0;
  identity.setAuth(async () => {
    asked++;
    throw new Error("no");
  });
  await sim.run(10);

  identity.close();
  page.page("visible");
  await sim.run(100_000);

  assert.equal(asked, 1);
  assert.deepEqual(log, ["hold"]);
});
