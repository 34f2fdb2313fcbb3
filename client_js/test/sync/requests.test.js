import assert from "node:assert/strict";
import { test } from "node:test";
import { Requests } from "../../src/sync/requests.js";
import { encodeTs } from "../../src/values.js";

/** @import {Json} from "../../src/types.js" */
/** @import {ActionResponse, MutationResponse} from "../../src/sync/messages.js" */

/** @param {number} requestId @param {bigint} ts @param {Json} [result] @returns {MutationResponse} */
const mutated = (requestId, ts, result = requestId) => ({
  type: "MutationResponse",
  requestId,
  success: true,
  result,
  ts: encodeTs(ts),
});

/** @param {number} requestId @returns {MutationResponse} */
const failed = (requestId) => ({ ...mutated(requestId, 0n, "no"), success: false });

/** @param {number} requestId @param {boolean} [isGood] @returns {ActionResponse} */
const acted = (requestId, isGood = true) => ({
  type: "ActionResponse",
  requestId,
  success: isGood,
  result: isGood ? 1 : "no",
});

const FAILURE = { status: "error", error: { message: "no" } };

/** @param {("Mutation" | "Action")[]} types by requestId */
function sent(...types) {
  const requests = new Requests();
  for (const [requestId, type] of types.entries()) {
    requests.add(type, { requestId, path: "a:b", args: {} });
  }
  requests.send();
  return requests;
}

/** @param {Requests} requests */
const ids = (requests) => requests.send().map(({ requestId }) => requestId);

test("a request is sent once on a connection, and added once", () => {
  const requests = new Requests();
  requests.add("Mutation", { requestId: 0, path: "a:b", args: { n: 1 } });
  requests.add("Mutation", { requestId: 0, path: "a:b", args: { n: 2 } });

  const [first, ...more] = requests.send();

  assert.deepStrictEqual(more, []);
  assert.equal(first?.requestId, 0);
  assert.deepStrictEqual(JSON.parse(first?.text ?? ""), {
    type: "Mutation",
    requestId: 0,
    udfPath: "a:b",
    args: [{ n: 1 }],
  });
  assert.deepStrictEqual(requests.send(), []);
});

test("a mutation ends with the first Transition at its ts or above, not with its answer", () => {
  const requests = sent("Mutation", "Mutation");

  assert.equal(requests.answer(mutated(0, 5n)), null);
  assert.equal(requests.answer(mutated(1, 6n)), null);

  assert.deepStrictEqual(requests.settle(4n), []);
  assert.deepStrictEqual(requests.settle(5n), [{ requestId: 0, value: 0, ts: 5n }]);
  assert.deepStrictEqual(requests.settle(9n), [{ requestId: 1, value: 1, ts: 6n }]);
  assert.deepStrictEqual(requests.settle(9n), []);
});

test("a mutation that failed, and an action, end with their answers", () => {
  const requests = sent("Mutation", "Action", "Action");

  assert.deepStrictEqual(requests.answer(failed(0)), FAILURE);
  assert.deepStrictEqual(requests.answer(acted(1)), { status: "success", value: 1 });
  assert.deepStrictEqual(requests.answer(acted(2, false)), FAILURE);

  assert.equal(requests.answer(acted(2)), null);
  assert.deepStrictEqual(requests.settle(9n), []);
});

test("after a lost connection mutations are sent again in order, actions are lost", () => {
  const requests = sent("Mutation", "Action", "Mutation", "Mutation");
  requests.answer(mutated(0, 5n)); // committed, but not seen
  requests.answer(failed(2));
  requests.add("Action", { requestId: 4, path: "a:b", args: {} });

  assert.deepStrictEqual(requests.restart(), [1]);

  const again = requests.send();
  assert.deepStrictEqual(
    again.map(({ requestId }) => requestId),
    [0, 3, 4],
  );
});

test("what was answered on a lost connection ends with the next Transition, its second answer is nothing", () => {
  const requests = sent("Mutation");
  requests.answer(mutated(0, 5n));
  requests.restart();
  requests.send();

  assert.deepStrictEqual(requests.settle(5n), [{ requestId: 0, value: 0, ts: 5n }]);
  assert.equal(requests.answer(mutated(0, 5n)), null);
});

test("a second answer does not replace the first", () => {
  const requests = sent("Mutation");
  requests.answer(mutated(0, 5n));

  assert.equal(requests.answer(failed(0)), null);

  assert.deepStrictEqual(requests.settle(5n), [{ requestId: 0, value: 0, ts: 5n }]);
});

test("an answer to what was not sent here, or to the other kind, is a violation", () => {
  const requests = sent("Mutation", "Action");

  assert.throws(() => requests.answer(acted(0)), /no such request/);
  assert.throws(() => requests.answer(mutated(1, 5n)), /no such request/);
  requests.restart();
  assert.throws(() => requests.answer(mutated(0, 5n)), /no such request/);
});

test("a mutation whose result cannot be read is committed all the same", () => {
  const requests = sent("Mutation");

  requests.answer(mutated(0, 5n, { $ref: 1 }));

  assert.deepStrictEqual(requests.settle(5n), [{ requestId: 0, value: null, ts: 5n }]);
});

test("no more than 500 mutations are on their way at once; actions do not wait for them", () => {
  const requests = new Requests();
  for (let requestId = 0; requestId < 600; requestId++) {
    requests.add("Mutation", { requestId, path: "a:b", args: {} });
  }
  requests.add("Action", { requestId: 1000, path: "a:b", args: {} });

  assert.deepStrictEqual(ids(requests), [...Array(500).keys(), 1000]);
  assert.deepStrictEqual(ids(requests), []);
  requests.answer(mutated(0, 5n));
  requests.answer(failed(1));

  assert.deepStrictEqual(ids(requests), [500, 501]);
});

test("all is caught up once every mutation from before is answered", () => {
  const requests = sent("Mutation", "Mutation", "Mutation");
  requests.answer(mutated(0, 5n));
  requests.restart();
  requests.send();
  requests.add("Mutation", { requestId: 3, path: "a:b", args: {} });
  assert.equal(requests.isCaughtUp, false);

  requests.settle(5n);
  requests.answer(mutated(1, 6n));
  assert.equal(requests.isCaughtUp, false);
  requests.answer(failed(2));

  assert.equal(requests.isCaughtUp, true);
});

test("answers of a database that is gone are forgotten", () => {
  const requests = sent("Mutation", "Mutation");
  assert.equal(requests.forgetOutcomes(), false);
  requests.answer(mutated(0, 5n));

  assert.equal(requests.forgetOutcomes(), true);

  assert.deepStrictEqual(requests.settle(9n), []);
  requests.answer(mutated(0, 2n));
  assert.deepStrictEqual(requests.settle(9n), [{ requestId: 0, value: 0, ts: 2n }]);
});
