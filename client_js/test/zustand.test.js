import assert from "node:assert/strict";
import { test } from "node:test";
import { createStore } from "zustand/vanilla";
import { createClient } from "../src/client.js";
import { liveQuery } from "../src/zustand.js";
import { Sim } from "./support/sim.js";
import { SimServer } from "./support/sim-server.js";

/** A client, and what it talks to. */
function world() {
  const sim = new Sim();
  const server = new SimServer(sim);
  const { env } = sim.tab(server.openSocket);
  return { sim, server, client: createClient("https://parley.test", { env }) };
}

test("a store follows a query until it is stopped", async () => {
  const { sim, client } = world();
  const store = createStore(liveQuery(client, "list:all", {}));
  /** @type {unknown[]} */
  const seen = [];
  store.subscribe(({ value }) => seen.push(value));
  assert.equal(store.getState().value, undefined);
  assert.equal(store.getState().isStale, true);

  await sim.run(100);
  client.mutation("list:append", { id: 1 });
  await sim.run(100);
  assert.deepEqual(store.getState().value, [1]);
  assert.equal(store.getState().isStale, false);
  assert.equal(store.getState().error, null);

  store.getState().stop();
  client.mutation("list:append", { id: 2 });
  await sim.run(100);
  assert.deepEqual(seen, [[], [1]]);
});

test("a store begins with what the client already knows", async () => {
  const { sim, client } = world();
  const stop = client.subscribe("list:all", {}, () => {});
  await sim.run(100);

  const { value, isStale } = createStore(liveQuery(client, "list:all", {})).getState();

  assert.deepEqual([value, isStale], [[], false]);
  stop();
});
