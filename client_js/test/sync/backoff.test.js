import assert from "node:assert/strict";
import { test } from "node:test";
import { backoff, waitAfter } from "../../src/sync/backoff.js";

test("waits double with every try, up to the longest", () => {
  const waits = [0, 1, 2, 3, 4, 5, 100].map((tries) =>
    backoff(waitAfter("closed with code 1006", false), tries, 0.5),
  );

  assert.deepStrictEqual(waits, [1000, 2000, 4000, 8000, 16_000, 16_000, 16_000]);
});

test("waits are scattered by half", () => {
  const wait = waitAfter("InternalServerError", false);

  assert.deepStrictEqual([backoff(wait, 0, 0), backoff(wait, 0, 1)], [500, 1500]);
});

test("who is overloaded is left alone for longer, whom we left ourselves is not", () => {
  assert.equal(waitAfter("TooManyConcurrentRequests: 5", false).baseMs, 3000);
  assert.equal(waitAfter("InactiveServer", true).baseMs, 100);
  assert.equal(waitAfter("not TooManyConcurrentRequests", false).baseMs, 1000);
});
