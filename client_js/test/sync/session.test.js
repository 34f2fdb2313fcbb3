import assert from "node:assert/strict";
import { test } from "node:test";
import { SILENCE_MS } from "../../src/sync/connection.js";
import { TABLE } from "../../src/sync/session.js";
import { Bench, committed, only, query, SESSION_ID, transition, updated } from "../support/wire.js";

/** @import {Effect, State} from "../../src/sync/connection.js" */

const LIST = query("messages:list");
const PING = '{"type":"Ping"}';

/** @type {Record<State, () => Bench>} */
const REACH = {
  idle: () => new Bench(),
  waiting: () => {
    const bench = REACH.opening();
    bench.cut();
    return bench;
  },
  opening: () => {
    const bench = new Bench();
    bench.session.start();
    return bench;
  },
  silent: () => {
    const bench = REACH.opening();
    bench.session.opened();
    return bench;
  },
  live: () => new Bench().connect(),
  paused: () => {
    const bench = REACH.live();
    bench.session.holdForToken();
    return bench;
  },
};

/** @type {Record<string, (bench: Bench) => Effect[]>} */
const INPUTS = {
  start: ({ session }) => session.start(),
  opened: ({ session }) => session.opened(),
  ping: ({ session }) => session.received(PING),
  nonsense: ({ session }) => session.received("nonsense"),
  closed: ({ session }) => session.closed({ code: 1006, reason: "" }),
  tick: ({ session, now }) => session.tick(now + SILENCE_MS - 1),
  silence: ({ session, now }) => session.tick(now + SILENCE_MS),
  online: ({ session }) => session.online(),
  offline: ({ session }) => session.offline(),
  "setToken, new": ({ session }) => session.setToken("a.b.c"),
  "setToken, nobody": ({ session }) => session.setToken(null),
  holdForToken: ({ session }) => session.holdForToken(),
  subscribe: ({ session }) => session.subscribe(LIST),
  unsubscribe: ({ session }) => session.unsubscribe(LIST.token),
  mutate: ({ session }) => session.mutate({ requestId: 0, path: "messages:send", args: {} }),
  act: ({ session }) => session.act({ requestId: 2 ** 31, path: "ai:chat", args: {} }),
  "observe, newer": ({ session }) => session.observe(5n),
  "observe, known": ({ session }) => session.observe(0n),
  stop: ({ session }) => session.stop(),
};

const BREAKS = {
  nonsense: "waiting: close timer phase",
  closed: "waiting: timer phase",
  silence: "waiting: close timer phase",
  offline: "waiting: close timer phase",
  stop: "idle: close timer phase",
};

// The state after each input, and the effects. What is not here changes nothing.
/** @type {Record<State, Record<string, string>>} */
const WANTED = {
  idle: { start: "opening: open timer phase" },
  waiting: {
    tick: "opening: open timer phase",
    silence: "opening: open timer phase",
    online: "opening: open timer phase",
    stop: "idle: timer phase",
  },
  opening: {
    ...BREAKS,
    nonsense: "opening:",
    opened: "silent: phase",
    tick: "opening: timer",
  },
  silent: {
    ...BREAKS,
    tick: "silent: timer",
    "setToken, new": "live: send send send",
    "setToken, nobody": "live: send send",
  },
  live: {
    ...BREAKS,
    tick: "live: timer",
    "setToken, new": "live: send",
    holdForToken: "paused:",
    subscribe: "live: send",
    mutate: "live: send",
    act: "live: send",
    "observe, newer": "waiting: close timer phase",
  },
  paused: {
    ...BREAKS,
    tick: "paused: timer",
    "setToken, new": "live: send",
    "setToken, nobody": "live:",
    "observe, newer": "waiting: close timer phase",
  },
};

for (const [state, reach] of Object.entries(REACH)) {
  for (const [name, input] of Object.entries(INPUTS)) {
    const wanted = WANTED[/** @type {State} */ (state)][name] ?? `${state}:`;
    test(`${name} in ${state} leads to ${wanted}`, () => {
      const bench = reach();
      assert.equal(bench.session.state, state);

      const effects = input(bench);

      const types = effects.map(({ type }) => type);
      assert.equal([`${bench.session.state}:`, ...types].join(" "), wanted);
    });
  }
}

test("the table names no state and no input that the walk leaves out", () => {
  const walked = new Set(Object.keys(INPUTS).map((name) => name.split(",")[0]));
  const renamed = { received: "ping", work: "mutate" };
  const named = Object.values(TABLE).flatMap((inputs) => Object.keys(inputs));

  assert.deepStrictEqual(Object.keys(TABLE), Object.keys(REACH));
  for (const name of named) {
    const input = renamed[/** @type {keyof typeof renamed} */ (name)] ?? name;
    assert.ok(walked.has(input), name);
  }
});

test("what was asked for in any state is told as soon as there is a connection", () => {
  for (const reach of [REACH.idle, REACH.waiting, REACH.opening, REACH.silent]) {
    const bench = reach();
    bench.session.subscribe(LIST);
    bench.session.mutate({ requestId: 0, path: "messages:send", args: { body: "hi" } });
    bench.session.act({ requestId: 2 ** 31, path: "ai:chat", args: {} });

    if (bench.session.state === "idle") bench.do(bench.session.start());
    if (bench.session.state === "waiting") bench.do(bench.session.tick());
    bench.do(bench.session.setToken("a.b.c"));
    bench.do(bench.session.opened());

    const [connect, auth, set, mutation, action, ...more] = bench.sent();
    assert.deepStrictEqual(more, []);
    assert.deepStrictEqual([connect.type, connect.sessionId], ["Connect", SESSION_ID]);
    assert.deepStrictEqual(auth, {
      type: "Authenticate",
      baseVersion: 0,
      tokenType: "User",
      value: "a.b.c",
    });
    assert.deepStrictEqual([set.baseVersion, set.newVersion], [0, 1]);
    assert.deepStrictEqual(set.modifications, [
      { type: "Add", queryId: 0, udfPath: LIST.path, args: [{}], journal: null },
    ]);
    assert.deepStrictEqual([mutation.type, mutation.requestId], ["Mutation", 0]);
    assert.deepStrictEqual(mutation.args, [{ body: "hi" }]);
    assert.deepStrictEqual([action.type, action.requestId], ["Action", 2 ** 31]);
  }
});

test("the first Connect says so, the next ones how the last connection ended", () => {
  const bench = new Bench({ maxObservedTs: 256n }).connect();
  const [first] = bench.sent();
  bench.cut("InternalServerError");
  bench.connect();
  const [second] = bench.sent();
  bench.cut();
  bench.connect();
  const [third] = bench.sent();

  const told = [first, second, third].map((one) => [one.connectionCount, one.lastCloseReason]);
  assert.deepStrictEqual(told, [
    [0, "InitialConnect"],
    [1, "InternalServerError"],
    [2, "closed with code 1006"],
  ]);
  assert.equal(first.maxObservedTimestamp, "AAEAAAAAAAA=");
});

test("while a token is awaited nothing is told, and then all of it, in order", () => {
  const bench = new Bench().connect("one");
  bench.do(bench.session.subscribe(LIST));
  bench.sent();

  bench.do(bench.session.holdForToken());
  bench.do(bench.session.subscribe(query("messages:get")));
  bench.do(bench.session.unsubscribe(LIST.token));
  bench.do(bench.session.mutate({ requestId: 0, path: "messages:send", args: {} }));
  assert.deepStrictEqual(bench.sent(), []);
  bench.do(bench.session.setToken("two"));

  const [auth, set, mutation] = bench.sent();
  assert.deepStrictEqual([auth.type, auth.baseVersion, auth.value], ["Authenticate", 1, "two"]);
  assert.deepStrictEqual([set.baseVersion, set.newVersion], [2, 3]);
  assert.deepStrictEqual(
    set.modifications.map((/** @type {{type: string, queryId: number}} */ one) => [
      one.type,
      one.queryId,
    ]),
    [
      ["Remove", 0],
      ["Add", 1],
    ],
  );
  assert.equal(mutation.type, "Mutation");
});

test("a query that was added and given up while nothing could be told is never told", () => {
  const bench = REACH.paused();
  bench.sent();
  bench.session.subscribe(LIST);
  bench.session.unsubscribe(LIST.token);

  bench.do(bench.session.setToken(null));

  assert.deepStrictEqual(bench.sent(), []);
});

test("signing out on a live connection is told", () => {
  const bench = new Bench().connect("one");
  bench.sent();

  bench.do(bench.session.setToken(null));

  assert.deepStrictEqual(bench.sent(), [
    { type: "Authenticate", baseVersion: 1, tokenType: "None" },
  ]);
});

test("the same token again is not told again, and is confirmed if it was", () => {
  const bench = new Bench().connect("one");
  bench.hear(transition([0, 0, 0], [1, 1, 5], [], { clientClockSkew: 7, serverTs: 1 }));
  bench.session.holdForToken();

  assert.deepStrictEqual(bench.session.setToken("one"), [
    { type: "authConfirmed", clockSkewMs: 7 },
  ]);
});

test("a snapshot gives a newly opened tab what is known, at the newest ts", () => {
  const bench = new Bench().connect();
  bench.session.subscribe(LIST);
  bench.session.subscribe(query("messages:get"));
  bench.hear(transition([0, 0, 0], [2, 0, 5], [updated(0, ["a"], "j")], { incarnation: "x" }));

  const wanted = {
    ts: 5n,
    incarnation: "x",
    queries: [{ token: LIST.token, result: { status: "success", value: ["a"] }, journal: "j" }],
    completed: [],
  };
  const tokens = [LIST.token, query("messages:get").token, query("none:at").token];
  assert.deepStrictEqual(bench.session.snapshot(tokens), wanted);
  bench.cut();
  assert.deepStrictEqual(bench.session.snapshot(tokens), wanted);
});

test("another tab that was shown something newer makes the next connection begin there", () => {
  const bench = new Bench().connect();
  bench.hear(transition([0, 0, 0], [1, 0, 5]));
  bench.sent();

  bench.do(bench.session.observe(256n));
  bench.connect();

  assert.equal(bench.sent()[0].maxObservedTimestamp, "AAEAAAAAAAA=");
});

test("after it was stopped a session can be started again, and goes on where it was", () => {
  const bench = new Bench().connect();
  bench.do(bench.session.mutate({ requestId: 0, path: "a:b", args: {} }));
  bench.do(bench.session.stop());
  bench.sent();

  bench.do(bench.session.start());
  bench.do(bench.session.opened());

  assert.deepStrictEqual(
    bench.sent().map(({ type }) => type),
    ["Connect", "ModifyQuerySet", "Mutation"],
  );
  bench.hear(transition([0, 0, 0], [1, 0, 5]));
  bench.hear(committed(0, null, 4));
  const [change] = only(bench.hear(transition([1, 0, 5], [1, 0, 5])), "change");
  assert.deepStrictEqual(change?.change.completed, [{ requestId: 0, value: null, ts: 4n }]);
});
