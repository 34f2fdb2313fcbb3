import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient } from "../src/client.js";
import { open, tokenOf, world } from "./support/client-world.js";

/** @param {() => unknown} run */
async function quietly(run) {
  const { error, warn } = console;
  console.error = console.warn = () => {};
  try {
    return await run();
  } finally {
    Object.assign(console, { error, warn });
  }
}

/** The disk takes nothing more while `run` runs. @param {() => Promise<unknown>} run */
async function whileFull(run) {
  const { put } = IDBObjectStore.prototype;
  IDBObjectStore.prototype.put = () => {
    throw new DOMException("no room", "QuotaExceededError");
  };
  try {
    return await quietly(run);
  } finally {
    IDBObjectStore.prototype.put = put;
  }
}

test("a write that is just being stored keeps a logout from removing it", async () => {
  const here = world();
  const tab = open(here);
  tab.client.setAuth(async () => tokenOf("alice"));
  await here.sim.run(100);
  tab.page.network(false);
  const write = tab.client.mutation("list:append", { id: 1 });
  const leaving = tab.client.logout();
  await Promise.all([assert.rejects(leaving, { code: "UnsentWrites" }), here.sim.run(100)]);
  assert.equal(write.state, "stored");
});

test("signing out leaves no results on disk, not even the newest", async () => {
  const here = world();
  const tab = open(here);
  tab.client.setAuth(async () => tokenOf("alice"));
  await here.sim.run(3000);
  here.server.write();
  await here.sim.run(100);
  tab.client.clearAuth();
  await here.sim.run(3000);
  tab.page.kill();

  const next = open(here);
  next.page.isOnline = false;
  next.client.setAuth(async () => tokenOf("alice", 1));
  await here.sim.run(3000);
  assert.equal(next.client.connectionState().account, "i|alice");
  assert.deepEqual(next.shown, []);
});

test("what is written while the database was taken away is never another account's", async () => {
  const here = world();
  const [one, two] = [open(here), open(here)];
  one.client.setAuth(async () => tokenOf("alice"));
  two.client.setAuth(async () => tokenOf("alice"));
  await here.sim.run(100);
  const leaving = one.client.logout();
  await here.sim.run(100);
  two.client.mutation("list:append", { id: 1 }).catch(() => {});
  two.client.setAuth(async () => tokenOf("bob"));
  await here.sim.run(5000);
  await leaving;
  assert.deepEqual(
    here.server.ran.filter(({ token }) => token === tokenOf("bob")),
    [],
  );
});

test("a token that comes while the database was taken away is used", async () => {
  const here = world();
  const [one, two] = [open(here), open(here)];
  one.client.setAuth(async () => tokenOf("alice"));
  await here.sim.run(100);
  let signIn = (/** @type {string} */ _token) => {};
  const isSignedIn = new Promise((/** @type {(token: string) => void} */ resolve) => {
    signIn = resolve;
  });
  two.client.setAuth(() => isSignedIn);
  await here.sim.run(1500);
  assert.equal(two.client.connectionState().account, "i|alice");

  const leaving = one.client.logout();
  await here.sim.run(300);
  signIn(tokenOf("alice", 1));
  await here.sim.run(5000);
  await leaving;
  const write = two.client.mutation("list:append", { id: 1 });
  await here.sim.run(1000);

  assert.equal(write.state, "committed");
});

test("what a tab stored as its last is sent, though it could tell nobody", async () => {
  const here = world();
  const [one, two] = [open(here), open(here)];
  await here.sim.run(100);
  const tab = one.client.connectionState().role === "leader" ? two : one;

  tab.client.mutation("list:append", { id: 1 });
  tab.page.kill();
  await here.sim.run(60_000);

  assert.deepEqual(here.server.model.runs, [1]);
});

for (const end of /** @type {const} */ (["discard", "retry"])) {
  test(`a tab that slept shows no failed write any more that another one did ${end}`, async () => {
    const here = world();
    const [one, two] = [open(here), open(here)];
    await here.sim.run(100);
    const write = one.client.mutation("list:append", { id: 1, fails: true });
    const failing = assert.rejects(write);
    await here.sim.run(100);
    await failing;
    assert.equal(two.client.connectionState().failed, 1);

    two.page.page("hide");
    const ending = write[end]();
    await here.sim.run(100);
    await ending;
    two.page.page("show");
    await here.sim.run(1000);

    const keys = (/** @type {typeof one} */ { client }) => client.outbox().map(({ key }) => key);
    assert.deepEqual(keys(two), keys(one));
  });
}

test("without locks, a write of another tab is not shown as unsent for ever", async () => {
  const here = world();
  const one = open(here, { tabs: false });
  await here.sim.run(100);
  one.page.network(false);
  one.client.mutation("list:append", { id: 1 });
  await here.sim.run(100);
  const two = open(here, { tabs: false });
  await here.sim.run(100);
  assert.equal(two.client.connectionState().unsent, 1);

  one.page.network(true);
  await here.sim.run(30_000);

  assert.equal(two.client.connectionState().unsent, 0);
  assert.deepEqual(two.last(), { value: [1], isStale: false });
});

test("a tab with a token takes the lead from one that gets none", async () => {
  const here = world();
  const last = open(here);
  last.client.setAuth(async () => tokenOf("alice"));
  await here.sim.run(100);
  last.page.kill();
  const one = open(here);
  one.client.setAuth(() => new Promise(() => {}));
  await here.sim.run(2000);
  assert.equal(one.client.connectionState().role, "leader");

  const two = open(here);
  two.client.setAuth(async () => tokenOf("alice"));
  const write = two.client.mutation("list:append", { id: 1 });
  await here.sim.run(12_000);

  assert.equal(write.state, "committed");
  for (const { client } of [one, two]) assert.equal(client.connectionState().phase, "connected");
});

test("a tab that gets its token after its leader failed to takes the lead, and no more than once", async () => {
  const here = world();
  const last = open(here);
  last.client.setAuth(async () => tokenOf("alice"));
  await here.sim.run(100);
  last.page.kill();
  const tabs = [open(here), open(here)];
  for (const { client } of tabs) client.setAuth(() => new Promise(() => {}));
  await here.sim.run(30_000);
  const tab = tabs.find(({ client }) => client.connectionState().role === "follower");
  assert.equal(tab?.client.connectionState().phase, "needs-auth");

  tab?.client.setAuth(async () => tokenOf("alice", 1));
  const write = tab?.client.mutation("list:append", { id: 1 });
  await here.sim.run(1000);
  const { opened } = here.server;
  await here.sim.run(120_000);

  assert.equal(write?.state, "committed");
  assert.equal(here.server.opened, opened);
});

test("what a tab stored as its last and failed is in the outbox of the others", async () => {
  const here = world();
  const tabs = [open(here), open(here), open(here)];
  await here.sim.run(100);
  const last = tabs.find(({ client }) => client.connectionState().role === "follower");

  last?.client.mutation("list:append", { id: 1, fails: true }).catch(() => {});
  last?.page.kill();
  await here.sim.run(1000);

  for (const { client } of tabs.filter((tab) => tab !== last)) {
    assert.deepEqual(
      client.outbox().map(({ state }) => state),
      ["failed"],
    );
  }
});

/** Two tabs of one account without a network, the first of which has stored a write. */
async function writtenOffline() {
  const here = world();
  const [one, two] = [open(here), open(here)];
  for (const { client } of [one, two]) client.setAuth(async () => tokenOf("alice"));
  await here.sim.run(100);
  for (const { page } of [one, two]) page.network(false);
  const write = one.client.mutation("list:append", { id: 1 });
  await here.sim.run(100);
  return { here, one, two, write };
}

test("what another tab sent while an account was left here is known when it is back", async () => {
  const { here, one, two, write } = await writtenOffline();
  one.client.clearAuth();
  await here.sim.run(100);
  for (const { page } of [one, two]) page.network(true);
  await here.sim.run(5000);
  assert.deepEqual(here.server.model.runs, [1]);
  assert.equal(write.state, "stored");

  one.client.setAuth(async () => tokenOf("alice"));
  await here.sim.run(5000);

  assert.equal(write.state, "committed");
});

test("a write that another tab's logout removed ends, with what is known of it", async () => {
  const { here, two, write } = await writtenOffline();
  const end = assert.rejects(write, { code: "OutcomeUnknown" });

  const leaving = two.client.logout({ discardUnsent: true });
  await here.sim.run(5000);
  await leaving;

  assert.equal(write.state, "failed");
  await end;
});

test("without locks, a write of another tab that failed is not shown as if it were to be sent", async () => {
  const here = world();
  const one = open(here, { tabs: false });
  await here.sim.run(100);
  one.page.network(false);
  one.client.mutation("list:append", { id: 1, fails: true }).catch(() => {});
  await here.sim.run(100);
  const two = open(here, { tabs: false });
  await here.sim.run(100);
  assert.deepEqual(two.last()?.value, [1]);

  one.page.network(true);
  await here.sim.run(30_000);

  assert.deepEqual(two.last(), { value: [], isStale: false });
  assert.equal(two.client.connectionState().failed, 1);
});

test("who becomes a guest stays one when the former account's token expires", async () => {
  const here = world();
  const tab = open(here);
  let n = 0;
  const exp = here.sim.now / 1000 + 60;
  tab.client.setAuth(async () => tokenOf("alice", n++, exp + 60 * n));
  await here.sim.run(100);
  assert.equal(tab.client.connectionState().account, "i|alice");
  tab.client.setGuest();
  await here.sim.run(600_000);
  assert.equal(tab.client.connectionState().account, "guest");
  assert.equal(n, 1);
});

test("a guest's writes move into no account but one that is signed in", async () => {
  const here = world();
  const guest = open(here, { guest: true });
  guest.client.mutation("list:append", { id: 1 });
  await here.sim.run(100);
  guest.page.kill();

  const tab = open(here);
  await here.sim.run(100);
  assert.equal(tab.client.connectionState().account, "anonymous");
  await assert.rejects(tab.client.adoptGuest(), { code: "SignedOut" });
});

test("with a full disk the client works, and what was stored before is sent", async () => {
  const here = world();
  const first = open(here);
  await here.sim.run(100);
  first.page.network(false);
  first.client.mutation("list:append", { id: 1 });
  await here.sim.run(100);
  first.page.kill();

  await whileFull(async () => {
    const tab = open(here);
    await here.sim.run(5000);
    assert.equal(tab.client.connectionState().phase, "connected");
    assert.equal(tab.last()?.isStale, false);
  });
  await here.sim.run(120_000);
  assert.deepEqual(here.server.model.runs, [1]);
});

test("what is done while the disk is full is done for good", async () => {
  const here = world();
  const tab = open(here);
  await here.sim.run(100);
  tab.page.network(false);
  const write = tab.client.mutation("list:append", { id: 1 });
  await here.sim.run(100);

  await whileFull(async () => {
    tab.page.network(true);
    await here.sim.run(5000);
  });
  assert.equal(write.state, "committed");
  tab.page.kill();

  const next = open(here);
  next.page.isOnline = false;
  await here.sim.run(1000);
  assert.deepEqual(next.client.outbox(), []);
});

test("a first start with a full disk works, and says that nothing is kept", async () => {
  const here = world();
  await whileFull(async () => {
    const tab = open(here);
    const write = tab.client.mutation("list:append", { id: 1 });
    await here.sim.run(5000);
    assert.equal(write.state, "committed");
    assert.equal(tab.client.connectionState().durable, false);
  });
});

test("a clock that is set back holds no connection up", async () => {
  const here = world();
  const page = here.sim.tab(here.server.openSocket);
  const { now } = page.env;
  page.env.now = () => now() - setBack;
  let setBack = 0;
  const tab = open(here, {}, page);
  await here.sim.run(100);
  here.server.isDown = true;
  for (const link of here.server.links) here.server.drop(link);
  await here.sim.run(10);
  setBack = 86_400_000;
  here.server.isDown = false;
  await here.sim.run(60_000);
  assert.equal(tab.client.connectionState().phase, "connected");
});

test("a listener that throws takes nothing from anybody else", async () => {
  const here = world();
  const [one, two] = [open(here), open(here)];
  for (const { client } of [one, two]) {
    const fail = () => {
      throw new Error("a mistake of the application");
    };
    quietly(() => {
      try {
        client.subscribe("list:all", {}, fail);
      } catch {}
    });
    client.subscribeToConnectionState(fail);
    client.subscribeToOutbox(fail);
  }
  await quietly(async () => {
    await here.sim.run(200);
    const write = two.client.mutation("list:append", { id: 1 });
    write.subscribe(() => {
      throw new Error("a mistake of the application");
    });
    await here.sim.run(5000);
    assert.equal(write.state, "committed");
  });
  for (const tab of [one, two]) {
    assert.deepEqual(tab.last(), { value: [1], isStale: false });
    assert.deepEqual(tab.client.outbox(), []);
  }
});

test("after close everything asked for is refused, and nothing connects", async () => {
  const here = world();
  const tab = open(here);
  const asked = tab.client.query("list:all", {});
  asked.catch(() => {});
  await tab.client.close();
  const late = [
    asked,
    tab.client.query("list:all", {}),
    tab.client.mutation("list:append", { id: 1 }),
    tab.client.action("list:act", {}),
  ];
  tab.client.setAuth(async () => tokenOf("alice"));
  const settled = Promise.allSettled(late);
  await here.sim.run(5000);
  assert.equal(here.server.opened, 0);
  const pending = here.sim.run(1).then(() => []);
  const ends = await Promise.race([settled, pending]);
  await pending;
  assert.deepEqual(
    ends.map((end) => end.status === "rejected" && end.reason.code),
    late.map(() => "Closed"),
  );
});

test("who leaves a query at once finds it again as it was, also without a network", async () => {
  const here = world();
  const tab = open(here);
  await here.sim.run(3000);
  const page = here.sim.tab(here.server.openSocket);
  const client = createClient("https://parley.test", { env: page.env });
  tab.page.kill();
  await here.sim.run(3000);
  const stop = client.subscribe("list:all", {}, () => {});
  await here.sim.run(2000);
  here.server.write();
  await here.sim.run(20);
  const value = client.localResult("list:all", {});
  assert.equal(value.length, 1);
  stop();
  await here.sim.run(500);
  page.network(false);
  await here.sim.run(100);
  /** @type {unknown[]} */
  const seen = [];
  client.subscribe("list:all", {}, (result) => seen.push(result.value));
  await here.sim.run(100);
  assert.deepEqual(seen, [value]);
});

test("who was here last is nobody after signing out: the next person sees nothing of them", async () => {
  const here = world();
  const tab = open(here);
  tab.client.setAuth(async () => tokenOf("alice"));
  await here.sim.run(100);
  tab.page.network(false);
  tab.client.mutation("list:append", { id: 1 });
  await here.sim.run(100);
  tab.client.clearAuth();
  await here.sim.run(100);
  tab.page.kill();

  const next = open(here);
  next.client.setAuth(() => new Promise(() => {}));
  await here.sim.run(3000);
  assert.deepEqual(next.client.outbox(), []);
  assert.deepEqual(next.shown, []);
});

test("what is written before anybody is known is not sent as who was here last", async () => {
  const here = world();
  const first = open(here);
  first.client.setAuth(async () => tokenOf("alice"));
  await here.sim.run(3000);
  first.page.kill();

  const tab = open(here, { expectAuth: true });
  let give = () => {};
  tab.client.setAuth(
    () =>
      new Promise((go) => {
        give = () => go(tokenOf("bob"));
      }),
  );
  const write = tab.client.mutation("list:append", { id: 5 });
  await here.sim.run(2000);
  assert.equal(tab.client.connectionState().account, "i|alice");
  give();
  await here.sim.run(3000);

  assert.equal(write.state, "committed");
  assert.deepEqual(
    here.server.ran.map(({ token }) => token),
    [tokenOf("bob")],
  );
});

test("what is written before anybody is known is kept, if nobody can be asked", async () => {
  const here = world();
  const first = open(here);
  first.client.setAuth(async () => tokenOf("alice"));
  await here.sim.run(3000);
  first.page.kill();

  const tab = open(here, { expectAuth: true });
  tab.client.setAuth(() => new Promise(() => {}));
  const write = tab.client.mutation("list:append", { id: 5 });
  await here.sim.run(2000);
  assert.equal(write.state, "storing");
  await here.sim.run(10_000);
  assert.equal(write.state, "stored");
});

test("a guest's local result that fails is that query's failure, and nobody else's", async () => {
  const here = world();
  const fail = () => {
    throw new Error("a mistake of the application");
  };
  const tab = open(here, { guest: true, localResults: { "list:all": fail } });
  await here.sim.run(100);
  const write = tab.client.mutation("other:write", {});
  await here.sim.run(100);

  assert.equal(write.state, "stored");
  assert.throws(() => tab.client.localResult("list:all", {}), /a mistake/);
});

test("accounts that come and go while writes are on their way: each is done once, and nothing stays open", async () => {
  const here = world();
  const tab = open(here);
  let n = 0;
  /** @type {ReturnType<typeof tab.client.mutation>[]} */
  const writes = [];
  for (let round = 0; round < 12; round++) {
    const sub = round % 2 ? "alice" : "bob";
    tab.client.setAuth(async () => tokenOf(sub, n++));
    await here.sim.run(round % 3 === 0 ? 3 : 40);
    writes.push(tab.client.mutation("list:append", { id: round }));
    await here.sim.run(round % 4 === 0 ? 0 : 7);
  }
  for (const sub of ["alice", "bob"]) {
    tab.client.setAuth(async () => tokenOf(sub, n++));
    await here.sim.run(20_000);
  }
  const runs = [...here.server.model.runs].sort((a, b) => a - b);
  assert.deepEqual(runs, [...writes.keys()]);
  assert.ok(writes.every(({ state }) => state === "committed"));

  const closing = tab.client.close();
  await here.sim.run(1000);
  await closing;
  assert.equal(tab.page.channels.size, 0);
  const locks = [...here.sim.locks.values()];
  assert.ok(locks.every(({ holder, queue }) => !holder && queue.length === 0));
});

test("what waits for one account is not said to be on its way under another", async () => {
  const here = world();
  const tab = open(here);
  tab.client.setAuth(async () => tokenOf("alice"));
  await here.sim.run(100);
  tab.page.network(false);
  tab.client.mutation("list:append", { id: 1 });
  await here.sim.run(100);
  assert.equal(tab.client.connectionState().inflightMutations, 1);

  tab.client.setAuth(async () => tokenOf("bob"));
  await here.sim.run(100);
  const { inflightMutations, hasInflightRequests } = tab.client.connectionState();
  assert.deepEqual([inflightMutations, hasInflightRequests], [0, false]);
});

test("what the server once said was wrong is not the reason of a later outage", async () => {
  const here = world();
  const tab = open(here);
  await here.sim.run(100);
  const [link] = here.server.links;
  link?.socket.onmessage?.({
    data: JSON.stringify({ type: "FatalError", error: "you are wrong" }),
  });
  assert.equal(tab.client.connectionState().reason, "you are wrong");
  await here.sim.run(20_000);
  assert.equal(tab.client.connectionState().phase, "connected");

  here.server.isDown = true;
  for (const each of here.server.links) here.server.drop(each);
  await here.sim.run(100);
  assert.equal(tab.client.connectionState().phase, "reconnecting");
  assert.doesNotMatch(tab.client.connectionState().reason ?? "", /you are wrong/);
});

test("a tab that slept learns what became of a hundred writes that another one sent", async () => {
  const here = world();
  const one = open(here);
  await here.sim.run(100);
  const two = open(here);
  await here.sim.run(300);
  for (const { page } of [one, two]) page.network(false);
  await here.sim.run(10);
  const writes = Array.from({ length: 100 }, (_, id) => two.client.mutation("list:append", { id }));
  await here.sim.run(500);

  two.page.freeze();
  one.page.network(true);
  await here.sim.run(30_000);
  two.page.page("hide");
  two.page.thaw();
  two.page.page("show");
  two.page.network(true);
  await here.sim.run(30_000);
  assert.deepEqual(await Promise.all(writes), [...writes.keys()]);
});
