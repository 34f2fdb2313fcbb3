import assert from "node:assert/strict";
import { test } from "node:test";
import { ResultCache } from "../src/results.js";
import { Shown } from "../src/shown.js";
import { openMemory } from "../src/storage/memory.js";
import { queryToken } from "../src/tokens.js";

/** @import {Change, Completion, Value} from "../src/types.js" */

const token = queryToken("a:list", {});
const query = { token, path: "a:list", args: {} };

/** @param {Partial<ConstructorParameters<typeof Shown>[0]>} [options] */
function open(options) {
  const cache = new ResultCache(openMemory("x"), () => 1);
  /** @type {string[]} */
  const log = [];
  const shown = new Shown({
    cache,
    localResults: null,
    onShown: () => log.push(`shown ${JSON.stringify(shown.view.shown(token))}`),
    onCompleted: (completed) => () => {
      for (const { requestId } of completed) log.push(`done ${requestId}`);
    },
    ...options,
  });
  return { cache, shown, log };
}

/** @param {bigint} ts @param {Value} value @param {Completion[]} [completed] @returns {Change} */
const change = (ts, value, completed = []) => ({
  ts,
  incarnation: "i",
  queries: [{ token, result: { status: "success", value }, journal: "j" }],
  completed,
});

/** @param {number} requestId @param {bigint} ts */
const done = (requestId, ts) => ({ requestId, ts, value: null });

test("a mutation is told as done after its effect is shown", () => {
  const { shown, log } = open();

  shown.watch(query);
  shown.apply(change(5n, 1, [done(3, 5n)]));

  assert.deepEqual(log, ['shown {"status":"success","value":1}', "done 3"]);
});

test("one that is done, but not yet shown here, waits for its results", () => {
  const { shown, log } = open();
  shown.watch(query);
  shown.complete([done(1, 5n)]);
  shown.apply(change(4n, 1));
  assert.deepEqual(log, ['shown {"status":"success","value":1}']);

  shown.complete([done(2, 4n)]);
  shown.apply(change(6n, 2));

  assert.deepEqual(log.slice(1), ["done 2", 'shown {"status":"success","value":2}', "done 1"]);
});

test("in another life of the database all that is done is done", () => {
  const { shown, log } = open();
  shown.apply(change(9n, 1));
  shown.complete([done(1, 99n)]);

  shown.apply({ ...change(2n, 1), incarnation: "other" });

  assert.equal(log.at(-1), "done 1");
});

test("what is kept shows as stale, and its journal is not asked with; that of a live result is", async () => {
  const { cache, shown } = open();
  const record = { token, text: '{"n":1}', journal: "old" };
  await cache.put([record], { ts: 1n, incarnation: "i" });

  shown.watch(query);
  await cache.position();
  await cache.position();
  assert.deepEqual(shown.view.shown(token), { status: "success", value: { n: 1 } });
  assert.equal(shown.view.isStale(token), true);
  assert.equal(shown.queries[0]?.journal, null);

  shown.apply(change(5n, 1));
  assert.equal(shown.queries[0]?.journal, "j");
});

test("a guest is shown what the application gives, if it gives something", () => {
  const { shown } = open({ localResults: { "a:list": () => [1] } });
  const other = { token: queryToken("a:other", {}), path: "a:other", args: {} };

  shown.watch(query);
  shown.watch(other);

  assert.deepEqual(shown.view.shown(token), { status: "success", value: [1] });
  assert.equal(shown.view.isStale(token), false);
  assert.equal(shown.view.shown(other.token), undefined);
});

test("what nobody watches any more is forgotten", () => {
  const { shown } = open();
  shown.watch(query);
  shown.apply(change(5n, 1));

  shown.unwatch(token);

  assert.deepEqual(shown.queries, []);
  assert.equal(shown.view.shown(token), undefined);
});
