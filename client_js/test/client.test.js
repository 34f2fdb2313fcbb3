import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient } from "../src/client.js";
import { open, tokenOf, world } from "./support/client-world.js";

/** @import {SimTab} from "./support/sim.js" */

test("a tab shows what the server says, and a write of its own at once", async () => {
  const here = world();
  const tab = open(here);
  await here.sim.run(100);

  const write = tab.client.mutation("list:append", { id: 1 });
  await here.sim.run(0);
  assert.deepEqual(tab.last(), { value: [1], isStale: false });
  assert.equal(write.state, "sent");
  await here.sim.run(100);

  assert.equal(write.state, "committed");
  assert.equal(await write, 1);
  assert.deepEqual(here.server.model.runs, [1]);
  assert.deepEqual(tab.client.outbox(), []);
});

test("three tabs use one socket, and see each other's writes", async () => {
  const here = world();
  const tabs = [open(here), open(here), open(here)];
  await here.sim.run(200);

  tabs[2]?.client.mutation("list:append", { id: 1 });
  tabs[1]?.client.mutation("list:append", { id: 2 });
  await here.sim.run(200);

  assert.equal(here.server.opened, 1);
  assert.deepEqual(
    tabs.map((tab) => tab.last()?.value),
    Array(3).fill(here.server.model.list(99)),
  );
  assert.deepEqual(tabs.map(({ client }) => client.connectionState().role).sort(), [
    "follower",
    "follower",
    "leader",
  ]);
  assert.ok(tabs.every(({ client }) => client.connectionState().phase === "connected"));
});

test("another tab's write shows before the server has it", async () => {
  const here = world();
  const [one, two] = [open(here), open(here)];
  await here.sim.run(200);
  for (const { page } of [one, two]) page.network(false);
  await here.sim.run(10);

  one.client.mutation("list:append", { id: 1 });
  await here.sim.run(10);

  assert.deepEqual(two.last()?.value, [1]);
  assert.equal(two.client.outbox().length, 1);
  assert.equal(two.client.connectionState().phase, "offline");
});

test("what is written offline survives the browser and is sent once, in order", async () => {
  const here = world();
  const one = open(here);
  await here.sim.run(100);
  one.page.network(false);
  for (const id of [1, 2, 3]) one.client.mutation("list:append", { id });
  await here.sim.run(100);
  one.page.kill();

  const two = open(here);
  two.page.isOnline = false;
  await here.sim.run(1500);
  assert.deepEqual(two.last(), { value: [1, 2, 3], isStale: true });

  two.page.network(true);
  await here.sim.run(20_000);
  assert.deepEqual(here.server.model.runs, [1, 2, 3]);
  assert.deepEqual(two.last(), { value: [1, 2, 3], isStale: false });
  assert.deepEqual(two.client.outbox(), []);
});

test("what was shown is shown again at the next start, as stale, until the server answers", async () => {
  const here = world();
  const one = open(here);
  here.server.write();
  await here.sim.run(3000);
  const { value } = one.last() ?? {};
  one.page.kill();

  const two = open(here);
  await here.sim.run(2000);

  assert.deepEqual(two.shown[0], { value, isStale: true });
  assert.deepEqual(two.last(), { value, isStale: false });
});

test("a write that failed stays, blocks nobody, and can be tried again or discarded", async () => {
  const here = world();
  const tab = open(here);
  const other = open(here);
  await here.sim.run(100);

  const bad = tab.client.mutation("list:append", { id: 1, fails: true });
  const worse = tab.client.mutation("list:append", { id: 2, fails: true });
  const good = tab.client.mutation("list:append", { id: 3 });
  const failing = [assert.rejects(bad, /no/), assert.rejects(worse, /no/)];
  await here.sim.run(200);
  await Promise.all(failing);

  assert.equal(await good, 3);
  assert.deepEqual(tab.last()?.value, [3]);
  assert.deepEqual(
    other.client.outbox().map(({ state }) => state),
    ["failed", "failed"],
  );
  const discarding = other.client.outbox()[1]?.discard();
  const again = bad.retry();
  await here.sim.run(50);
  await discarding;
  assert.equal(worse.state, "discarded");
  assert.equal(tab.client.connectionState().failed, 1);
  await again;
  assert.equal(bad.state, "discarded");
  assert.notEqual(tab.client.outbox()[0]?.key, bad.key);
});

test("a follower takes over from a dead leader within a second, and shows no step back", async () => {
  const here = world();
  const tabs = [open(here), open(here), open(here)];
  await here.sim.run(200);
  const leader = /** @type {typeof tabs[0]} */ (
    tabs.find(({ client }) => client.connectionState().role === "leader")
  );
  const [left] = tabs.filter((tab) => tab !== leader);
  const write = left?.client.mutation("list:append", { id: 1 });
  await here.sim.run(3);

  leader.page.kill();
  await here.sim.run(1000);

  assert.equal(write?.state, "committed");
  assert.deepEqual(here.server.model.runs, [1]);
  assert.ok(left?.shown.every(({ isStale }) => !isStale));
});

test("closing lets go of everything", async () => {
  const here = world();
  const tabs = [open(here), open(here)];
  await here.sim.run(200);
  tabs[0]?.client.mutation("list:append", { id: 1 });

  const closing = tabs.map(({ client }) => client.close());
  await here.sim.run(60_000);
  await Promise.all(closing);

  const { locks } = here.sim;
  assert.ok([...locks.values()].every(({ holder, queue }) => !holder && queue.length === 0));
  assert.ok(tabs.every(({ page }) => page.channels.size === 0));
  assert.equal(here.server.links.size, 0);
  assert.equal(tabs[0]?.client.connectionState().phase, "closed");
});

// --- Who is here ---

test("while one account's writes wait, another signs in: each is sent under its own", async () => {
  const here = world();
  const tab = open(here);
  tab.client.setAuth(async () => tokenOf("alice"));
  await here.sim.run(100);
  tab.page.network(false);
  const hers = tab.client.mutation("list:append", { id: 1 });
  await here.sim.run(100);

  tab.client.setAuth(async () => tokenOf("bob"));
  await here.sim.run(100);
  const his = tab.client.mutation("list:append", { id: 2 });
  assert.deepEqual(tab.last()?.value, [2]);
  tab.page.network(true);
  await here.sim.run(20_000);

  assert.equal(tab.client.connectionState().account, "i|bob");
  assert.deepEqual(here.server.model.runs, [2]);
  assert.equal(his.state, "committed");
  assert.equal(hers.state, "stored");

  tab.client.setAuth(async () => tokenOf("alice", 1));
  await here.sim.run(2000);
  assert.equal(hers.state, "committed");
  assert.deepEqual(here.server.model.runs, [2, 1]);
  const under = here.server.ran.map(({ requestId, token }) => [requestId, token]);
  assert.deepEqual(under.at(-1), [0, tokenOf("alice", 1)]);
});

test("a token that does not come is said, and the last account's data is shown meanwhile", async () => {
  const here = world();
  const first = open(here);
  first.client.setAuth(async () => tokenOf("alice"));
  here.server.write();
  await here.sim.run(3000);
  first.page.kill();

  const tab = open(here);
  /** @type {boolean[]} */
  const told = [];
  let isBroken = true;
  tab.client.setAuth(
    async () => {
      if (isBroken) throw new Error("no network");
      return tokenOf("alice", 1);
    },
    (isAuthenticated) => told.push(isAuthenticated),
  );
  await here.sim.run(2000);
  assert.equal(tab.client.connectionState().phase, "needs-auth");
  assert.match(tab.client.connectionState().reason ?? "", /no network/);
  assert.deepEqual(tab.last(), { value: first.last()?.value, isStale: true });
  const write = tab.client.mutation("list:append", { id: 7 });
  await here.sim.run(100);
  assert.equal(write.state, "stored");

  isBroken = false;
  await here.sim.run(10_000);
  assert.equal(tab.client.connectionState().phase, "connected");
  assert.equal(write.state, "committed");
  assert.deepEqual(told, [false, true]);
});

test("a token fetch that hangs shows the last account after a second", async () => {
  const here = world();
  const first = open(here);
  first.client.setAuth(async () => tokenOf("alice"));
  await here.sim.run(3000);
  first.page.kill();

  const tab = open(here);
  tab.client.setAuth(() => new Promise(() => {}));
  await here.sim.run(1200);

  assert.deepEqual(tab.last(), { value: [], isStale: true });
  assert.equal(tab.client.connectionState().account, "i|alice");
});

test("signed out, nothing of the account is shown, and its unsent writes wait for it", async () => {
  const here = world();
  const tab = open(here);
  tab.client.setAuth(async () => tokenOf("alice"));
  await here.sim.run(100);
  tab.page.network(false);
  const write = tab.client.mutation("list:append", { id: 1 });
  await here.sim.run(2000);

  tab.client.clearAuth();
  await here.sim.run(100);
  assert.equal(tab.client.localResult("list:all", {}), undefined);
  assert.deepEqual(tab.client.outbox(), []);

  tab.client.setAuth(async () => tokenOf("alice", 1));
  tab.page.network(true);
  await here.sim.run(20_000);
  assert.equal(write.state, "committed");
});

test("logging out removes all, and refuses while something is unsent", async () => {
  const here = world();
  const tab = open(here);
  tab.client.setAuth(async () => tokenOf("alice"));
  await here.sim.run(100);
  tab.page.network(false);
  const write = tab.client.mutation("list:append", { id: 1 });
  await here.sim.run(100);

  await assert.rejects(tab.client.logout(), { code: "UnsentWrites" });
  assert.equal(tab.client.outbox().length, 1);

  const leaving = tab.client.logout({ discardUnsent: true });
  await Promise.all([assert.rejects(write, { code: "Discarded" }), here.sim.run(10_000)]);
  await leaving;
  const names = (await here.sim.indexedDB.databases()).map(({ name }) => name);
  assert.ok(!names.some((name) => name?.includes("alice")), String(names));
});

test("a guest's writes are shown and kept, sent by nobody, and move into an account once", async () => {
  const here = world();
  const options = { guest: true, localResults: { "list:all": () => [] } };
  const first = open(here, options);
  for (const id of [1, 2]) first.client.mutation("list:append", { id });
  await here.sim.run(100);
  first.page.kill();

  const tab = open(here, options);
  await here.sim.run(100);
  assert.deepEqual(tab.last(), { value: [1, 2], isStale: false });
  assert.equal(tab.client.connectionState().phase, "guest");
  assert.equal(here.server.opened, 0);

  tab.client.setAuth(async () => tokenOf("alice"));
  await here.sim.run(100);
  const adopting = tab.client.adoptGuest();
  await here.sim.run(6000);
  await adopting;
  const again = tab.client.adoptGuest();
  await here.sim.run(6000);
  await again;

  assert.deepEqual(here.server.model.runs, [1, 2]);
  assert.deepEqual(tab.last(), { value: [1, 2], isStale: false });
});

test("without locks each tab has its own socket, and sends what a dead one left", async () => {
  const here = world();
  const first = open(here, { tabs: false });
  await here.sim.run(100);
  first.page.network(false);
  first.client.mutation("list:append", { id: 1 });
  await here.sim.run(100);
  first.page.kill();
  await here.sim.run(70_000);

  const tabs = [open(here, { tabs: false }), open(here, { tabs: false })];
  await here.sim.run(5000);

  assert.deepEqual(
    tabs.map(({ client }) => client.connectionState().role),
    ["alone", "alone"],
  );
  assert.equal(here.server.links.size, 2);
  assert.deepEqual(here.server.model.runs, [1]);
});

test("where nothing can be kept, the client works until the page goes, and says so", async () => {
  const here = world();
  const tab = open(here, { storage: "memory" });
  const write = tab.client.mutation("list:append", { id: 1 });
  await here.sim.run(100);

  assert.equal(write.state, "committed");
  assert.equal(tab.client.connectionState().durable, false);
});

test("an argument that is no value is named, and nothing is stored", () => {
  const { client } = open(world());

  assert.throws(() => client.mutation("list:append", { id: { $ref: 1 } }), {
    code: "InvalidValue",
    message: /\$ref/,
  });
  assert.throws(() => createClient("parley.test"), { code: "InvalidUrl" });
});

test("a query gives its first live result, and connection and outbox stay the same objects", async () => {
  const here = world();
  const { client } = open(here);

  const asking = client.query("list:all");
  await here.sim.run(100);

  assert.deepEqual(await asking, []);
  assert.equal(client.connectionState(), client.connectionState());
  assert.equal(client.outbox(), client.outbox());
});
