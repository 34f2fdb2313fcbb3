import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ResultCache } from "../src/results.js";
import { DEVICES } from "./support/stores.js";

/** @import {Device} from "./support/stores.js" */

/** @param {string} token @param {string} [text] */
const record = (token, text = "1") => ({ token, text, journal: null });

/** @param {bigint} ts @param {string | null} [incarnation] */
const at = (ts, incarnation = "life") => ({ ts, incarnation });

/** @param {Device} device */
async function openCache(device) {
  const clock = { ms: 0 };
  return { clock, cache: new ResultCache(await device.open("a"), () => clock.ms) };
}

for (const [name, makeDevice] of Object.entries(DEVICES)) {
  describe(`results in ${name}`, () => {
    test("are found again with the position at which they were true", async () => {
      const device = makeDevice();
      const { cache } = await openCache(device);
      await cache.put([{ token: "q", text: '"é"', journal: "j" }], at(7n));

      const { cache: again } = await openCache(device);

      const expected = { token: "q", text: '"é"', journal: "j", ts: 7n, incarnation: "life" };
      assert.deepEqual(await again.get("q"), expected);
      assert.equal(await again.get("other"), undefined);
    });

    test("are never replaced by older ones of the same life, each for itself", async () => {
      const { cache } = await openCache(makeDevice());
      await cache.put([record("q", "new")], at(9n));

      await cache.put([record("q", "old"), record("r", "first")], at(5n));

      assert.equal((await cache.get("q"))?.text, "new");
      assert.equal((await cache.get("r"))?.text, "first");
      assert.equal((await cache.position()).ts, 9n);
    });

    test("are all dropped when the database has begun another life", async () => {
      const { cache } = await openCache(makeDevice());
      await cache.put([record("q"), record("r")], at(9n, "first"));

      await cache.put([record("q", "2")], at(3n, "second"));

      assert.equal((await cache.get("q"))?.text, "2");
      assert.equal(await cache.get("r"), undefined);
      assert.deepEqual(await cache.position(), at(3n, "second"));
    });

    test("note how far time was seen, also when no result changed", async () => {
      const { cache } = await openCache(makeDevice());
      assert.deepEqual(await cache.position(), at(0n, null));

      await cache.put([], at(2n ** 63n));

      assert.deepEqual(await cache.position(), at(2n ** 63n));
    });

    test("that were not used for longest go first, until the rest is small enough", async () => {
      const { cache, clock } = await openCache(makeDevice());
      for (const [index, token] of ["a", "b", "c", "d"].entries()) {
        clock.ms = index;
        await cache.put([record(token, "x".repeat(49))], at(BigInt(index)));
      }
      clock.ms = 10;
      await cache.get("a");

      await cache.trim(200);

      const left = await Promise.all(["a", "b", "c", "d"].map((token) => cache.get(token)));
      assert.deepEqual(
        left.map((found) => found?.token),
        ["a", undefined, undefined, "d"],
      );
    });

    test("stay when there is room", async () => {
      const { cache } = await openCache(makeDevice());
      await cache.put([record("a", "x".repeat(49))], at(1n));

      await cache.trim(100);

      assert.equal((await cache.get("a"))?.text.length, 49);
    });

    test("that replaced others count once", async () => {
      const { cache } = await openCache(makeDevice());
      for (let ts = 1n; ts <= 5n; ts++) await cache.put([record("a", "x".repeat(49))], at(ts));

      await cache.trim(100);

      assert.equal((await cache.get("a"))?.ts, 5n);
    });

    test("that were used and then cleared do not come back", async () => {
      const { cache } = await openCache(makeDevice());
      await cache.put([record("a")], at(1n));
      await cache.get("a");

      await cache.clear();

      await cache.trim(0);
      assert.equal(await cache.get("a"), undefined);
      assert.equal((await cache.position()).ts, 1n);
    });
  });
}
