import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import {
  authenticate,
  connect,
  failure,
  modifyQuerySet,
  parseMessage,
  request,
  success,
} from "../../src/sync/messages.js";
import { QuerySet } from "../../src/sync/query-set.js";
import { Requests } from "../../src/sync/requests.js";
import { decodeTs } from "../../src/values.js";
import { query } from "../support/wire.js";

/** @import {Json} from "../../src/types.js" */
/** @import {MutationResponse, ServerMessage} from "../../src/sync/messages.js" */

/** @typedef {{name: string, text: string, message: Record<string, unknown>, build: string, with: Record<string, any>}} Vector */

const vectors = JSON.parse(
  await readFile(new URL("../../../tests/vectors/protocol.json", import.meta.url), "utf8"),
);

/** @typedef {Record<string, any>} Fields */

/**
 * What a frame's builder was given, as a result of ours.
 *
 * @param {Fields} given
 */
function resultOf({
  after,
  value = after,
  result = value,
  message,
  errorMessage = message,
  error_data,
  errorData = error_data,
}) {
  if (errorMessage === undefined) return { status: "success", value: result };
  const data = errorData === undefined ? {} : { data: errorData };
  return { status: "error", error: { message: errorMessage, ...data } };
}

/** @param {string} type @param {number} requestId @param {ServerMessage} message */
function answerTo(type, requestId, message) {
  const requests = new Requests();
  requests.add(/** @type {"Mutation"} */ (type), { requestId, path: "a:b", args: {} });
  requests.send();
  const ended = requests.answer(/** @type {MutationResponse} */ (message));
  const [completed] = requests.settle(2n ** 63n);
  return ended ?? completed;
}

// What must come of each kind of frame, by its builder.
/** @type {Record<string, (message: Fields, given: Fields) => void>} */
const MEANINGS = {
  transition: (message, { start, end, modifications, stamp, incarnation }) => {
    for (const [version, given] of [
      [message.startVersion, start],
      [message.endVersion, end],
    ]) {
      const { querySet, identity, ts } = version;
      assert.deepStrictEqual([querySet, identity, Number(decodeTs(ts))], given);
    }
    assert.equal(message.clientClockSkew, stamp?.[0]);
    assert.equal(message.incarnation, incarnation);
    const queries = new QuerySet();
    for (const path of ["a:a", "b:b", "c:c", "d:d"]) queries.add(query(path));
    queries.take(
      modifications.flatMap((/** @type {Fields} */ { queryId, before }) =>
        before === undefined ? [] : [{ type: "QueryUpdated", queryId, value: before }],
      ),
    );
    const known = modifications.filter((/** @type {Fields} */ { queryId }) => queryId < 4);
    assert.deepStrictEqual(
      queries.take(message.modifications).map(({ result, journal }) => [result, journal]),
      known.map((/** @type {Fields} */ one) => [resultOf(one), one.journal ?? null]),
    );
  },
  mutation_succeeded: (message, { request_id, result, ts }) => {
    assert.deepStrictEqual(
      answerTo("Mutation", request_id, /** @type {ServerMessage} */ (message)),
      {
        requestId: request_id,
        value: result,
        ts: BigInt(ts),
      },
    );
  },
  mutation_failed: (message, given) => {
    const ended = answerTo("Mutation", given.request_id, /** @type {ServerMessage} */ (message));
    assert.deepStrictEqual(ended, resultOf(given));
  },
  action_succeeded: (message, given) => {
    const ended = answerTo("Action", given.request_id, /** @type {ServerMessage} */ (message));
    assert.deepStrictEqual(ended, resultOf(given));
  },
  action_failed: (message, given) => {
    const ended = answerTo("Action", given.request_id, /** @type {ServerMessage} */ (message));
    assert.deepStrictEqual(ended, resultOf(given));
  },
  auth_error: ({ error, baseVersion, authUpdateAttempted }, given) => {
    assert.deepStrictEqual(
      [error, baseVersion, authUpdateAttempted],
      [given.message, given.base_version, given.was_update],
    );
  },
  fatal_error: ({ error }, { message }) => assert.equal(error, message),
  PING: ({ type }) => assert.equal(type, "Ping"),
};

for (const { name, text, build, with: given } of /** @type {Vector[]} */ (vectors.serverFrames)) {
  test(`understands ${name}`, () => {
    MEANINGS[build]?.(parseMessage(text), given) ?? assert.ok(build in MEANINGS, build);
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

test("a value that cannot be read fails its own query, and says where it is wrong", () => {
  const result = success({ a: [{ $ref: 1 }] });

  assert.ok(result.status === "error");
  assert.equal(result.error.code, "UnreadableValue");
  assert.match(result.error.message, /result\.a\[0\]\.\$ref/);
});

test("data that cannot be read leaves the failure without any", () => {
  assert.deepStrictEqual(failure("no", { $ref: 1 }), { status: "error", error: { message: "no" } });
});

test("no value is null", () => {
  assert.deepStrictEqual(success(undefined), { status: "success", value: null });
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
  ["Transition", { startVersion: 5 }],
  ["Transition", { endVersion: undefined }],
  ["Transition", { modifications: "none" }],
  ["MutationResponse", { requestId: "0" }],
  ["MutationResponse", { success: 1 }],
  ["ActionResponse", { requestId: null }],
  ["AuthError", { error: null }],
  ["AuthError", { baseVersion: null }],
  ["AuthError", { authUpdateAttempted: null }],
  ["FatalError", { error: 5 }],
  ["TransitionChunk", { chunk: null }],
  ["TransitionChunk", { partNumber: "0" }],
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
    assert.throws(() => parseMessage(JSON.stringify({ type, ...GOOD[type], ...fields })), /wrong/);
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
    assert.throws(() => parseMessage(text));
  });
}
