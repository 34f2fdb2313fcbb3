import assert from "node:assert/strict";
import { test } from "node:test";
import { ResultKeeper } from "../src/result-keeper.js";
import { ResultCache } from "../src/results.js";
import { openMemory } from "../src/storage/memory.js";
import { Sim } from "./support/sim.js";

/** @import {Change} from "../src/types.js" */

/** @param {number} [maxCacheBytes] */
function open(maxCacheBytes = 1000) {
  const sim = new Sim();
  const { env } = sim.tab();
  const cache = new ResultCache(openMemory("x"), env.now);
  let asked = 0;
  /** @type {Change} */
  const now = { ts: 5n, incarnation: "i", queries: [], completed: [] };
  const keeper = new ResultKeeper({ env, cache, maxCacheBytes }, (tokens) => {
    asked++;
    const queries = [...tokens].map((token) => ({
      token,
      result: /** @type {const} */ ({ status: "success", value: token }),
      journal: null,
    }));
    return { ...now, queries };
  });
  return { sim, cache, keeper, asked: () => asked };
}

test("many changes are kept at once, a little later, with the time at which they are true", async () => {
  const { sim, cache, keeper, asked } = open();

  keeper.note(["a"]);
  keeper.note(["b"]);
  await sim.run(900);
  assert.equal(await cache.get("a"), undefined);
  await sim.run(200);

  assert.equal(asked(), 1);
  assert.deepEqual(await cache.get("b"), {
    token: "b",
    text: '"b"',
    journal: null,
    ts: 5n,
    incarnation: "i",
  });
});

test("that time went on is kept even where no result changed", async () => {
  const { sim, cache, keeper } = open();

  keeper.note([]);
  await sim.run(1100);

  assert.deepEqual(await cache.position(), { ts: 5n, incarnation: "i" });
});

test("what is not kept yet is kept when the leader stops", async () => {
  const { cache, keeper } = open();

  keeper.note(["a"]);
  keeper.stop();
  await keeper.idle();

  assert.equal((await cache.get("a"))?.text, '"a"');
});

test("no more is kept than there may be", async () => {
  const { cache, keeper } = open(1);

  keeper.note(["a"]);
  keeper.stop();
  await keeper.idle();

  assert.equal(await cache.get("a"), undefined);
});
