import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient } from "../src/client.js";
import { Sim } from "./support/sim.js";
import { SimServer } from "./support/sim-server.js";

async function open(count = 2) {
  const sim = new Sim();
  const server = new SimServer(sim);
  const tabs = Array.from({ length: count }, () => {
    const page = sim.tab(server.openSocket);
    const client = createClient("https://parley.test", { env: page.env });
    return { page, client };
  });
  await sim.run(200);
  const role = (/** @type {typeof tabs[0]} */ { client }) => client.connectionState().role;
  tabs.sort((a, b) => role(b).localeCompare(role(a)));
  const [leader, follower] = /** @type {[typeof tabs[0], typeof tabs[0]]} */ (tabs);
  return { sim, server, leader, follower };
}

test("an action that was never sent is sent by the next leader, once", async () => {
  const { sim, server, leader, follower } = await open();
  leader.page.network(false);
  const acting = follower.client.action("x:y", { id: 1 });
  await sim.run(50);
  assert.equal(follower.client.connectionState().inflightActions, 1);

  leader.page.kill();
  await sim.run(5000);

  assert.equal(await acting, 1);
  assert.deepEqual(server.acted, [1]);
});

test("an action that was sent by a leader that died fails, and is not run again", async () => {
  const { sim, server, leader, follower } = await open();
  server.isMute = true;
  const acting = assert.rejects(follower.client.action("x:y", { id: 1 }), /Connection lost/);
  await sim.run(50);
  assert.deepEqual(server.acted, [1]);

  leader.page.kill();
  await sim.run(5000);

  await acting;
  assert.deepEqual(server.acted, [1]);
});

test("a leader that came back from being kept, and was told so twice, runs an action once", async () => {
  const { sim, server, leader, follower } = await open();
  follower.page.page("hide");
  for (const event of /** @type {const} */ (["hide", "show", "show"])) leader.page.page(event);
  await sim.run(500);
  follower.page.page("show");
  await sim.run(500);
  assert.equal(leader.client.connectionState().role, "leader");

  const acting = follower.client.action("x:y", { id: 1 });
  await sim.run(500);

  assert.equal(await acting, 1);
  assert.deepEqual(server.acted, [1]);
});

for (const [heardMs, end] of /** @type {const} */ ([
  [0, "done"],
  [1, "ConnectionLost"],
  [3, "ConnectionLost"],
])) {
  test(`an action runs once though its leader stands still ${heardMs} ms after it was asked`, async () => {
    const { sim, server, leader, follower } = await open();
    let ended = "";
    follower.client.action("x:y", { id: 1 }).then(
      () => {
        ended = "done";
      },
      ({ code }) => {
        ended = code;
      },
    );
    await sim.run(heardMs);
    leader.page.freeze();
    await sim.run(2000);
    leader.page.thaw();
    await sim.run(5000);

    assert.equal(ended, end);
    assert.deepEqual(server.acted, [1]);
  });
}

for (const isAwayLong of [false, true]) {
  const when = isAwayLong ? "while its tab was away" : "when its tab is back";
  test(`an action that the leader could not send at once, and could ${when}, runs once`, async () => {
    const { sim, server, leader, follower } = await open();
    leader.page.network(false);
    const acting = follower.client.action("x:y", { id: 1 });
    await sim.run(50);

    follower.page.page("hide");
    await sim.run(100);
    if (isAwayLong) leader.page.network(true);
    await sim.run(20_000);
    follower.page.page("show");
    await sim.run(500);
    leader.page.network(true);
    await sim.run(20_000);

    assert.equal(await acting, 1);
    assert.deepEqual(server.acted, [1]);
  });
}

test("a page that is kept for going back gives up the lead, and comes back with what it has", async () => {
  const { sim, server, leader, follower } = await open();
  /** @type {{value?: number[], isStale: boolean}[]} */
  const shown = [];
  leader.client.subscribe("list:all", {}, (result) => shown.push(result));
  await sim.run(100);

  leader.page.page("hide");
  await sim.run(100);
  assert.equal(leader.page.channels.size, 0);
  assert.equal(follower.client.connectionState().role, "leader");
  server.write();
  leader.page.page("show");
  await sim.run(1000);

  assert.equal(leader.client.connectionState().role, "follower");
  assert.deepEqual(shown.at(-1)?.value, server.model.list(Infinity));
  assert.ok(shown.every(({ isStale }) => !isStale));
});

test("an update that is registered after a reload shows what waits", async () => {
  const { sim, leader } = await open(1);
  leader.page.network(false);
  leader.client.subscribe("list:all", {}, () => {});
  leader.client.mutation("list:append", { id: 1 });
  await sim.run(50);

  leader.client.registerOptimisticUpdate("list:append", (store, { id }) => {
    store.setQuery("list:all", {}, [id]);
  });

  assert.deepEqual(leader.client.localResult("list:all", {}), [1]);
});

test("an answer that comes after the account was left is not taken for another action's", async () => {
  const { sim, server, follower } = await open();
  server.latencyMs = 500;
  const left = assert.rejects(follower.client.action("x:y", { id: 1 }), { code: "Closed" });
  await sim.run(50);
  follower.client.setGuest();
  await sim.run(50);
  follower.client.clearAuth();
  await sim.run(100);

  const acting = follower.client.action("x:y", { id: 2 });
  await sim.run(5000);

  await left;
  assert.equal(await acting, 2);
});

test("guests cannot run actions", async () => {
  const { sim, leader } = await open(1);
  leader.client.setGuest();
  await sim.run(50);

  await assert.rejects(leader.client.action("x:y"), { code: "SignedOut" });
});
