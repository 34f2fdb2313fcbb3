import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import fc from "fast-check";
import {
  authenticate,
  connect,
  modifyQuerySet,
  parseMessage,
  request,
  Violation,
} from "../../src/sync/messages.js";
import { decodeTs } from "../../src/values.js";

/** @import {Json} from "../../src/types.js" */
/** @import {ServerMessage} from "../../src/sync/messages.js" */

/** @typedef {{name: string, text: string, message: Record<string, unknown>, build: string, with: Record<string, unknown>}} Vector */

const vectors = JSON.parse(
  await readFile(new URL("../../../tests/vectors/protocol.json", import.meta.url), "utf8"),
);

const MAX_TS = 2n ** 63n - 1n;

/** @param {string} message @param {Json} [data] @returns {ServerMessage | object} */
const error = (message, data) => ({
  status: "error",
  error: data === undefined ? { message } : { message, data },
});

/** @param {Json} value */
const success = (value) => ({ status: "success", value });

// What each of the server's frames means to us, by its name in the vectors.
/** @type {Record<string, object>} */
const MEANINGS = {
  "the first Transition": {
    type: "Transition",
    start: { querySet: 0, identity: 0, ts: 0n },
    end: { querySet: 1, identity: 0, ts: 256n },
    modifications: [{ type: "result", queryId: 0, result: success({ a: 1 }), journal: null }],
    incarnation: null,
    clockSkewMs: -12,
  },
  "the first Transition to a client that asked for Parley's extensions": {
    type: "Transition",
    start: { querySet: 0, identity: 0, ts: 0n },
    end: { querySet: 1, identity: 0, ts: 256n },
    modifications: [],
    incarnation: "9f86d081884c7d65",
    clockSkewMs: -12,
  },
  "an empty Transition without clock fields": {
    type: "Transition",
    start: { querySet: 4, identity: 2, ts: 256n },
    end: { querySet: 4, identity: 2, ts: 256n },
    modifications: [],
    incarnation: null,
    clockSkewMs: null,
  },
  "every kind of modification": {
    type: "Transition",
    start: { querySet: 0, identity: 0, ts: 0n },
    end: { querySet: 4294967295, identity: 1, ts: MAX_TS },
    modifications: [
      { type: "result", queryId: 0, result: success(null), journal: 'j"1' },
      {
        type: "result",
        queryId: 1,
        result: error("[Request ID: 0] Server Error\nno"),
        journal: null,
      },
      { type: "result", queryId: 2, result: error("x", null), journal: "j" },
      { type: "result", queryId: 3, result: error("x", { code: 5 }), journal: null },
      { type: "removed", queryId: 4294967295, journal: null },
    ],
    incarnation: null,
    clockSkewMs: null,
  },
  "a mutation that committed": {
    type: "MutationResponse",
    requestId: 3,
    result: success(["x"]),
    ts: 256n,
  },
  "a mutation that failed": {
    type: "MutationResponse",
    requestId: 3,
    result: error("no \u2028"),
    ts: 0n,
  },
  "a mutation that raised null on purpose": {
    type: "MutationResponse",
    requestId: 3,
    result: error("no", null),
    ts: 0n,
  },
  "an action that ended": {
    type: "ActionResponse",
    requestId: 4294967295,
    result: success(null),
  },
  "an action that failed": { type: "ActionResponse", requestId: 1, result: error("no") },
  "an action that raised data": {
    type: "ActionResponse",
    requestId: 1,
    result: error("no", { code: 5 }),
  },
  "a refused token": { type: "AuthError", error: "no", baseVersion: 1, attempted: true },
  "an expired token": { type: "AuthError", error: "no", baseVersion: 0, attempted: false },
  "a fatal error": { type: "FatalError", error: "no" },
  "a ping": { type: "Ping" },
};

for (const vector of /** @type {Vector[]} */ (vectors.serverFrames)) {
  test(`reads ${vector.name}`, () => {
    assert.deepStrictEqual(parseMessage(vector.text), MEANINGS[vector.name]);
  });
}

/** @param {string} name */
function sent(name) {
  const found = /** @type {Vector[]} */ (vectors.clientMessages.valid).find(
    (vector) => vector.name === name,
  );
  assert.ok(found, name);
  return found.message;
}

const SESSION = "5c2f9f1e-7f7c-4a39-9f0e-5a2f1f0b7a10";

test("says Connect as the vectors understand it", () => {
  const first = JSON.parse(
    connect({
      sessionId: SESSION,
      connectionCount: 0,
      lastCloseReason: "InitialConnect",
      maxObservedTs: 0n,
      clientTs: 1795365210505.4,
    }),
  );
  const later = JSON.parse(
    connect({
      sessionId: SESSION,
      connectionCount: 3,
      lastCloseReason: "InactiveServer",
      maxObservedTs: 256n,
      clientTs: 0,
    }),
  );

  const { maxObservedTimestamp: none, ...wanted } = sent(
    "connect of npm convex 1.48.0, type behind other keys",
  );
  assert.deepStrictEqual([first, none], [wanted, null]);
  const { maxObservedTimestamp, ...fields } = later;
  const { maxObservedTimestamp: ts, ...others } = sent(
    "connect after a reconnect, with a timestamp and an upper-case session id",
  );
  assert.deepStrictEqual(fields, { ...others, lastCloseReason: "InactiveServer" });
  assert.equal(Number(decodeTs(maxObservedTimestamp)), ts);
});

test("says Authenticate as the vectors understand it", () => {
  const { impersonating: _, ...user } = sent("authenticate as a user");
  const { impersonating: __, value: ___, ...none } = sent("sign out");

  assert.deepStrictEqual(JSON.parse(authenticate(0, "a.b.c")), user);
  assert.deepStrictEqual(JSON.parse(authenticate(3, null)), none);
});

test("says ModifyQuerySet as the vectors understand it", () => {
  const { modifications } = sent("add and remove, with every form of args and journal");
  const [add, , , , remove] = /** @type {Json[]} */ (modifications);
  const ours = JSON.parse(
    modifyQuerySet(4, [
      {
        type: "Add",
        queryId: 0,
        udfPath: "messages:list",
        args: [{ channel: "a" }],
        journal: null,
      },
      { type: "Remove", queryId: 7 },
    ]),
  );

  assert.deepStrictEqual(JSON.parse(modifyQuerySet(0, [])), sent("an empty query set"));
  assert.deepStrictEqual([ours.baseVersion, ours.newVersion], [4, 5]);
  assert.deepStrictEqual(ours.modifications[1], remove);
  assert.deepStrictEqual({ ...ours.modifications[0], args: ours.modifications[0].args[0] }, add);
});

test("says Mutation and Action as the vectors understand them", () => {
  const calls = /** @type {const} */ ([
    ["Mutation", 0, "messages:send", sent("a mutation")],
    [
      "Action",
      1,
      "ai:chat",
      sent("an action whose arguments hold encoded values, left as they are"),
    ],
  ]);
  for (const [type, requestId, path, message] of calls) {
    const args = /** @type {Json} */ (message.args);
    const ours = JSON.parse(request(type, requestId, path, args));

    assert.deepStrictEqual(ours, { ...message, args: [args] });
  }
});

test("reads a change of a result, and whose database it is", () => {
  const message = parseMessage(
    JSON.stringify({
      type: "Transition",
      startVersion: { querySet: 0, identity: 0, ts: "AAAAAAAAAAA=" },
      endVersion: { querySet: 1, identity: 0, ts: "AAAAAAAAAAA=" },
      modifications: [{ type: "QueryPatched", queryId: 4, patch: [1], logLines: [], journal: "j" }],
      incarnation: "one",
    }),
  );

  assert.ok(message.type === "Transition");
  assert.equal(message.incarnation, "one");
  assert.deepStrictEqual(message.modifications, [
    { type: "patch", queryId: 4, patch: [1], journal: "j" },
  ]);
});

test("a value that cannot be read fails its own query, and no other", () => {
  const message = parseMessage(
    JSON.stringify({
      type: "Transition",
      startVersion: { querySet: 0, identity: 0, ts: "AAAAAAAAAAA=" },
      endVersion: { querySet: 1, identity: 0, ts: "AAAAAAAAAAA=" },
      modifications: [
        { type: "QueryUpdated", queryId: 0, value: { a: [{ $ref: 1 }] } },
        { type: "QueryUpdated", queryId: 1, value: 1 },
        { type: "QueryFailed", queryId: 2, errorMessage: "no", errorData: { $ref: 1 } },
      ],
    }),
  );

  assert.ok(message.type === "Transition");
  const [broken, good, failed] = message.modifications;
  assert.ok(broken?.type === "result" && broken.result.status === "error");
  assert.equal(broken.result.error.code, "UnreadableValue");
  assert.match(broken.result.error.message, /result\.a\[0\]\.\$ref/);
  assert.deepStrictEqual(good, { type: "result", queryId: 1, result: success(1), journal: null });
  assert.deepStrictEqual(failed, {
    type: "result",
    queryId: 2,
    result: error("no"),
    journal: null,
  });
});

const GOOD = {
  Transition: {
    startVersion: { querySet: 0, identity: 0, ts: "AAAAAAAAAAA=" },
    endVersion: { querySet: 1, identity: 0, ts: "AAAAAAAAAAA=" },
    modifications: [],
  },
  MutationResponse: { requestId: 0, success: true, result: 1, ts: "AAAAAAAAAAA=" },
  ActionResponse: { requestId: 0, success: false, result: "no" },
  AuthError: { error: "no", baseVersion: 0, authUpdateAttempted: true },
  FatalError: { error: "no" },
  TransitionChunk: { chunk: "a", partNumber: 0, totalParts: 2, transitionId: "x" },
};

/** @type {[keyof typeof GOOD, Record<string, unknown>][]} */
const BAD = [
  ["Transition", { startVersion: null }],
  ["Transition", { startVersion: [] }],
  ["Transition", { endVersion: { querySet: 1, identity: 0, ts: 5 } }],
  ["Transition", { endVersion: { querySet: -1, identity: 0, ts: "AAAAAAAAAAA=" } }],
  ["Transition", { endVersion: { querySet: 1, identity: 0.5, ts: "AAAAAAAAAAA=" } }],
  ["Transition", { modifications: {} }],
  ["Transition", { modifications: [null] }],
  ["Transition", { modifications: [{ type: "QueryUpdated", queryId: "0", value: 1 }] }],
  ["Transition", { modifications: [{ type: "QueryUpdated", queryId: 0, journal: 5 }] }],
  ["Transition", { modifications: [{ type: "QueryFailed", queryId: 0 }] }],
  ["Transition", { modifications: [{ type: "QueryTouched", queryId: 0 }] }],
  ["Transition", { modifications: [{ type: "toString", queryId: 0 }] }],
  ["Transition", { incarnation: 5 }],
  ["MutationResponse", { requestId: "0" }],
  ["MutationResponse", { success: 1 }],
  ["MutationResponse", { ts: null }],
  ["MutationResponse", { success: false }],
  ["ActionResponse", { result: null }],
  ["AuthError", { error: null }],
  ["AuthError", { baseVersion: null }],
  ["AuthError", { authUpdateAttempted: null }],
  ["FatalError", { error: 5 }],
  ["TransitionChunk", { chunk: null }],
  ["TransitionChunk", { partNumber: 0.5 }],
  ["TransitionChunk", { totalParts: null }],
  ["TransitionChunk", { transitionId: 5 }],
];

test("every message is taken as it should be", () => {
  for (const [type, fields] of Object.entries(GOOD)) {
    assert.equal(parseMessage(JSON.stringify({ type, ...fields })).type, type);
  }
});

for (const [type, fields] of BAD) {
  test(`refuses ${type} with ${JSON.stringify(fields)}`, () => {
    assert.throws(
      () => parseMessage(JSON.stringify({ type, ...GOOD[type], ...fields })),
      Violation,
    );
  });
}

for (const text of [
  "",
  "{",
  "null",
  "[]",
  "5",
  "{}",
  '{"type":5}',
  '{"type":"Hello"}',
  '{"type":"toString"}',
]) {
  test(`refuses ${JSON.stringify(text)}`, () => {
    assert.throws(() => parseMessage(text), Violation);
  });
}

test("whatever comes is a message or a violation, and never anything else", () => {
  const text = fc.oneof(
    fc.json(),
    fc.string(),
    fc
      .tuple(fc.constantFrom(...Object.keys(GOOD)), fc.dictionary(fc.string(), fc.jsonValue()))
      .map(([type, fields]) => JSON.stringify({ ...fields, type })),
  );
  fc.assert(
    fc.property(text, (some) => {
      try {
        assert.equal(typeof parseMessage(some).type, "string");
      } catch (error) {
        assert.ok(error instanceof Violation);
      }
    }),
  );
});
