import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Bench, committed, failed, only, query, transition, updated } from "../support/wire.js";

const LIST = query("messages:list");
const MUTATION = { requestId: 0, path: "messages:send", args: {} };
const ACTION = { requestId: 2 ** 31, path: "ai:chat", args: {} };

/** @param {Record<string, unknown>} fields */
const frame = (fields) => JSON.stringify(fields);

/** @param {number} requestId */
const acted = (requestId) =>
  frame({ type: "ActionResponse", requestId, success: true, result: 1, logLines: [] });

/** @param {boolean} authUpdateAttempted @param {number} baseVersion */
const authError = (authUpdateAttempted, baseVersion) =>
  frame({ type: "AuthError", error: "no", baseVersion, authUpdateAttempted });

/** @param {string} text @param {number} size */
function chunksOf(text, size) {
  const parts = text.match(new RegExp(`[^]{1,${size}}`, "g")) ?? [];
  return parts.map((chunk, partNumber) =>
    frame({
      type: "TransitionChunk",
      chunk,
      partNumber,
      totalParts: parts.length,
      transitionId: "x",
    }),
  );
}

/** A connection at version (1, 0, 5), with one query and one mutation on its way. */
function watching() {
  const bench = new Bench();
  bench.session.subscribe(LIST);
  bench.connect();
  bench.hear(transition([0, 0, 0], [1, 0, 5], [updated(0, ["a"])], { incarnation: "x" }));
  bench.do(bench.session.mutate(MUTATION));
  bench.effects = [];
  return bench;
}

test("a Transition gives one change with the results and the mutations that they contain", () => {
  const bench = watching();

  assert.deepStrictEqual(bench.hear(committed(0, "done", 7)), []);
  assert.deepStrictEqual(bench.hear(transition([1, 0, 5], [1, 0, 6])), [
    { type: "change", change: { ts: 6n, incarnation: "x", queries: [], completed: [] } },
  ]);
  const effects = bench.hear(transition([1, 0, 6], [1, 0, 8], [updated(0, ["a", "b"], "j")]));

  const result = { status: "success", value: ["a", "b"] };
  assert.deepStrictEqual(effects, [
    {
      type: "change",
      change: {
        ts: 8n,
        incarnation: "x",
        queries: [{ token: LIST.token, result, journal: "j" }],
        completed: [{ requestId: 0, value: "done", ts: 7n }],
      },
    },
  ]);
});

test("an answer that comes after the Transition with its effect waits for the next one", () => {
  const bench = watching();
  bench.hear(transition([1, 0, 5], [1, 0, 8], [updated(0, ["a", "b"])]));

  assert.deepStrictEqual(bench.hear(committed(0, "done", 7)), []);

  const [effect] = only(bench.hear(transition([1, 0, 8], [1, 0, 8])), "change");
  assert.deepStrictEqual(effect?.change.completed, [{ requestId: 0, value: "done", ts: 7n }]);
});

test("a mutation that failed is told at once, with what the application threw", () => {
  const bench = watching();

  assert.deepStrictEqual(bench.hear(failed(0, "no", { code: 5 })), [
    { type: "failed", requestId: 0, failure: { message: "no", data: { code: 5 } } },
  ]);
});

test("an action's answer is told at once; the connection lost, its failure is", () => {
  const bench = watching();
  bench.do(bench.session.act(ACTION));
  bench.do(bench.session.act({ ...ACTION, requestId: 2 ** 31 + 1 }));

  assert.deepStrictEqual(bench.hear(acted(2 ** 31)), [
    { type: "acted", requestId: 2 ** 31, result: { status: "success", value: 1 } },
  ]);
  const error = { message: "Connection lost while action was in flight", code: "ConnectionLost" };
  assert.deepStrictEqual(only(bench.cut(), "acted"), [
    { type: "acted", requestId: 2 ** 31 + 1, result: { status: "error", error } },
  ]);
});

test("the ts of an answer counts as seen: the next connection asks for no less", () => {
  const bench = watching();
  bench.hear(committed(0, null, 256));
  bench.cut();

  bench.connect();

  assert.equal(bench.sent()[0].maxObservedTimestamp, "AAEAAAAAAAA=");
});

/** @type {Record<string, string[]>} */
const WRONG = {
  "a Transition that begins at another query set": [transition([0, 0, 5], [1, 0, 6])],
  "a Transition that begins at another identity": [transition([1, 1, 5], [1, 1, 6])],
  "a Transition that begins at another ts": [transition([1, 0, 4], [1, 0, 6])],
  "the same Transition twice": [transition([1, 0, 5], [1, 0, 6]), transition([1, 0, 5], [1, 0, 6])],
  "a Transition back in time": [transition([1, 0, 5], [1, 0, 4])],
  "a Transition back to an earlier query set": [transition([1, 0, 5], [0, 0, 6])],
  "a query set that was not asked for": [transition([1, 0, 5], [2, 0, 6])],
  "an identity that was not asked for": [transition([1, 0, 5], [1, 1, 6])],
  "no JSON": ["{"],
  "no message": ["[]"],
  "an unknown message": ['{"type":"Hello"}'],
  "a modification that is none": [transition([1, 0, 5], [1, 0, 6], [{ type: "Hello" }])],
  "a modification of no query": [
    transition([1, 0, 5], [1, 0, 6], [{ ...updated(0, 1), queryId: "0" }]),
  ],
  "a failure without a text": [
    transition([1, 0, 5], [1, 0, 6], [{ type: "QueryFailed", queryId: 0 }]),
  ],
  "a Transition without modifications": [
    transition([1, 0, 5], [1, 0, 6], [], { modifications: {} }),
  ],
  "a Transition without a version": [transition([1, 0, 5], [1, 0, 6], [], { endVersion: {} })],
  "a Transition with half a version": [
    transition([1, 0, 5], [1, 0, 6], [], { endVersion: { ts: "BgAAAAAAAAA=" } }),
  ],
  "a commit without a ts": [
    frame({ type: "MutationResponse", requestId: 0, success: true, result: 1, ts: null }),
  ],
  "the name of what every object has": [frame({ type: "toString" })],
  "a patch that is not understood": [
    transition([1, 0, 5], [1, 0, 6], [{ type: "QueryPatched", queryId: 0, patch: 1 }]),
  ],
  "an answer to a request of the other kind": [acted(0)],
  "a part of a Transition out of order": chunksOf(transition([1, 0, 5], [1, 0, 6]), 9).slice(1),
  "a message between parts": [...chunksOf("12", 1).slice(0, 1), committed(0, null, 6)],
  "parts that are no Transition": chunksOf('{"type":"Ping"}', 5),
  "parts that are no JSON": chunksOf("{{", 1),
};

for (const [name, frames] of Object.entries(WRONG)) {
  test(`${name} closes the connection with a reason; the next one begins from zero and gets all`, () => {
    const bench = watching();
    for (const text of frames) bench.hear(text);
    assert.equal(bench.session.state, "waiting");
    assert.equal(only(bench.effects, "close").length, 1);
    assert.match(only(bench.effects, "phase")[0]?.reason ?? "", /^Violation: /);

    bench.effects = [];
    bench.connect();
    const types = bench.sent().map(({ type }) => type);
    assert.deepStrictEqual(types, ["Connect", "ModifyQuerySet", "Mutation"]);
    bench.hear(transition([0, 0, 0], [1, 0, 9], [updated(0, ["b"])], { incarnation: "x" }));
    bench.hear(committed(0, "done", 9));
    bench.hear(transition([1, 0, 9], [1, 0, 9]));
    const changes = only(bench.effects, "change").map(({ change }) => change);
    assert.deepStrictEqual(changes[0]?.queries[0]?.result, { status: "success", value: ["b"] });
    assert.deepStrictEqual(changes[1]?.completed, [{ requestId: 0, value: "done", ts: 9n }]);
  });
}

test("a Transition in parts is one, with Ping between them", () => {
  const bench = watching();
  const parts = chunksOf(transition([1, 0, 5], [1, 0, 6], [updated(0, ["ü"])]), 20);

  for (const text of parts) {
    bench.hear('{"type":"Ping"}');
    bench.hear(text);
  }

  const [effect, ...more] = only(bench.effects, "change");
  assert.deepStrictEqual(more, []);
  assert.deepStrictEqual(effect?.change.queries[0]?.result, { status: "success", value: ["ü"] });
});

test("parts that a lost connection left behind do not disturb the next one", () => {
  const bench = watching();
  const text = transition([0, 0, 0], [1, 0, 6], [], { incarnation: "x" });
  bench.hear(/** @type {string} */ (chunksOf(text, 20)[0]));
  bench.cut();
  bench.connect();

  for (const part of chunksOf(text, 30)) bench.hear(part);

  assert.equal(only(bench.effects, "change").length, 1);
});

test("a first Transition that is older than what was seen is not taken", () => {
  const bench = watching();
  bench.hear(committed(0, null, 9));
  bench.cut();
  bench.connect();

  const effects = bench.hear(transition([0, 0, 0], [1, 0, 8], [], { incarnation: "x" }));

  assert.deepStrictEqual(only(effects, "change"), []);
  assert.equal(bench.session.state, "waiting");
});

test("another incarnation may begin at an older ts", () => {
  const bench = watching();
  bench.cut();
  bench.connect();

  const [effect] = only(
    bench.hear(transition([0, 0, 0], [1, 0, 2], [updated(0, [])], { incarnation: "y" })),
    "change",
  );

  assert.deepStrictEqual([effect?.change.ts, effect?.change.incarnation], [2n, "y"]);
  bench.cut();
  bench.effects = [];
  bench.connect();
  assert.equal(bench.sent()[0].maxObservedTimestamp, "AgAAAAAAAAA=");
});

test("answers of the former incarnation count for nothing: the mutation is asked for again", () => {
  const bench = watching();
  bench.hear(committed(0, "before", 9));
  bench.cut();
  bench.connect();
  const first = transition([0, 0, 0], [1, 0, 20], [], { incarnation: "y" });
  assert.deepStrictEqual(only(bench.hear(first), "change"), []);

  bench.effects = [];
  bench.connect();
  const [effect] = only(bench.hear(first), "change");
  assert.deepStrictEqual(effect?.change.completed, []);
  bench.hear(committed(0, "after", 21));
  const [last] = only(bench.hear(transition([1, 0, 20], [1, 0, 21])), "change");

  assert.deepStrictEqual(last?.change.completed, [{ requestId: 0, value: "after", ts: 21n }]);
});

test("results for queries that were given up are passed over", () => {
  const bench = watching();
  bench.session.unsubscribe(LIST.token);

  const [effect] = only(
    bench.hear(transition([1, 0, 5], [1, 0, 6], [updated(0, ["late"])])),
    "change",
  );

  assert.deepStrictEqual(effect?.change.queries, []);
});

test("a token is confirmed by the Transition that reaches its identity", () => {
  const bench = new Bench().connect("one");
  bench.do(bench.session.setToken("two"));

  const first = bench.hear(transition([0, 0, 0], [1, 1, 5]));
  const second = bench.hear(transition([1, 1, 5], [1, 2, 6], [], { clientClockSkew: -40 }));
  const third = bench.hear(transition([1, 2, 6], [1, 2, 7]));

  assert.deepStrictEqual(
    [first, second, third].map((effects) => only(effects, "authConfirmed")),
    [[], [{ type: "authConfirmed", clockSkewMs: -40 }], []],
  );
});

test("nobody is not confirmed", () => {
  const bench = new Bench().connect("one");
  bench.do(bench.session.setToken(null));

  const effects = bench.hear(transition([0, 0, 0], [1, 2, 5]));

  assert.deepStrictEqual(only(effects, "authConfirmed"), []);
});

for (const [attempted, name] of /** @type {const} */ ([
  [true, "refused"],
  [false, "expired"],
])) {
  test(`after a token that was ${name} nothing is said before there is another`, () => {
    const bench = new Bench().connect("one");
    bench.hear(transition([0, 0, 0], [1, 1, 5]));
    bench.effects = [];

    const effects = bench.hear(authError(attempted, attempted ? 0 : 1));

    assert.deepStrictEqual(only(effects, "authRejected"), [
      { type: "authRejected", error: "no", attempted, baseVersion: attempted ? 0 : 1 },
    ]);
    assert.equal(bench.session.state, "waiting");
    bench.do(bench.session.tick());
    bench.do(bench.session.opened());
    assert.deepStrictEqual(bench.sent(), []);
    bench.do(bench.session.setToken("two"));
    assert.deepStrictEqual(bench.sent()[1].value, "two");
  });
}

test("an error about a token that was replaced meanwhile is passed over", () => {
  const replaced = new Bench().connect("one");
  replaced.do(replaced.session.setToken("two"));
  const expired = new Bench().connect("one");
  expired.hear(transition([0, 0, 0], [1, 1, 5]));
  expired.do(expired.session.setToken("two"));

  assert.deepStrictEqual(replaced.hear(authError(true, 0)), []);
  assert.deepStrictEqual(expired.hear(authError(false, 1)), []);

  replaced.cut();
  replaced.effects = [];
  replaced.do(replaced.session.tick());
  replaced.do(replaced.session.opened());
  assert.equal(replaced.sent()[1].value, "two");
});

test("an error about a token where there is none is passed over", () => {
  assert.deepStrictEqual(new Bench().connect().hear(authError(true, 0)), []);
});

test("a fatal error is told, and is not the end", () => {
  const bench = watching();

  const effects = bench.hear(frame({ type: "FatalError", error: "bad client" }));

  assert.deepStrictEqual(only(effects, "broken"), [{ type: "broken", message: "bad client" }]);
  assert.equal(bench.session.state, "waiting");
  assert.equal(only(effects, "phase")[0]?.retryAt, bench.now + 1000);
});

test("waits grow until all that the last connection left is answered", () => {
  const bench = watching();
  const waits = [];
  for (let round = 0; round < 3; round++) {
    const [phase] = only(bench.cut(), "phase");
    waits.push((phase?.retryAt ?? 0) - bench.now);
    bench.connect();
    bench.hear(transition([0, 0, 0], [1, 0, 5], [], { incarnation: "x" }));
  }
  assert.deepStrictEqual(waits, [1000, 2000, 4000]);

  const [caughtUp] = only(bench.hear(committed(0, null, 5)), "phase");
  assert.equal(caughtUp?.retries, 0);
  const [phase] = only(bench.cut(), "phase");

  assert.equal((phase?.retryAt ?? 0) - bench.now, 1000);
});

test("a connection whose token is not confirmed is not caught up", () => {
  const bench = new Bench().connect("one");
  bench.cut();
  bench.connect("one");
  bench.effects = [];

  bench.hear(transition([0, 0, 0], [1, 0, 5]));
  assert.deepStrictEqual(only(bench.effects, "phase"), []);
  bench.hear(transition([1, 0, 5], [1, 1, 5]));

  assert.equal(only(bench.effects, "phase")[0]?.retries, 0);
});

test("an answer makes room, and the next mutation that waited is sent", () => {
  const bench = new Bench().connect();
  for (let requestId = 0; requestId < 501; requestId++) {
    bench.do(bench.session.mutate({ ...MUTATION, requestId }));
  }
  bench.effects = [];

  bench.hear(failed(0, "no"));

  assert.deepStrictEqual(
    bench.sent().map(({ requestId }) => requestId),
    [500],
  );
});

test("before Connect was said, all but Ping is wrong", () => {
  for (const text of [transition([0, 0, 0], [1, 0, 5]), "nonsense"]) {
    const bench = new Bench();
    bench.session.subscribe(LIST);
    bench.do(bench.session.start());
    bench.do(bench.session.opened());

    bench.hear('{"type":"Ping"}');
    assert.equal(bench.session.state, "silent");
    bench.hear(text);

    assert.equal(bench.session.state, "waiting");
  }
});

test("whatever comes, a session goes on or begins anew, and never throws", () => {
  const part = fc.constantFrom("type", "requestId", "modifications", "startVersion", "endVersion");
  const type = fc.constantFrom("Transition", "MutationResponse", "ActionResponse", "AuthError");
  const some = fc.oneof(
    fc.json(),
    fc.string(),
    fc.tuple(type, fc.dictionary(part, fc.jsonValue())).map(([one, fields]) => {
      const whole = JSON.parse(transition([1, 0, 5], [1, 0, 6]));
      return frame({ ...whole, success: true, requestId: 0, ...fields, type: one });
    }),
  );
  fc.assert(
    fc.property(some, (text) => {
      const bench = watching();

      bench.hear(text);

      assert.ok(["live", "waiting"].includes(bench.session.state));
    }),
  );
});
