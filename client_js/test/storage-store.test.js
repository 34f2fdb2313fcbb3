import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { clearStore, TABLES } from "../src/storage/store.js";
import { DEVICES } from "./support/stores.js";

/** @import {Store, Table, Tx} from "../src/storage/store.js" */

const LOST = { code: "StorageLost" };

/** @param {Store} store @param {Table} table */
const all = (store, table) => store.read([table], (tx) => tx.entries(table));

for (const [name, makeDevice] of Object.entries(DEVICES)) {
  describe(`a store in ${name}`, () => {
    test("gives back what was put, of every type that is kept", async () => {
      const store = await makeDevice().open("a");
      const value = { text: "é\u0000🙂", big: 2n ** 63n, none: null, list: [1, { a: 0.5 }] };

      await store.write(["meta"], (tx) => tx.put("meta", "k", value));

      assert.deepEqual(await store.read(["meta"], (tx) => tx.get("meta", "k")), value);
      assert.equal(await store.read(["meta"], (tx) => tx.get("meta", "other")), undefined);
    });

    test("returns what the work returns", async () => {
      const store = await makeDevice().open("a");

      assert.equal(await store.read(["meta"], async () => 1), 1);
      assert.equal(await store.write(["meta"], async () => 2), 2);
    });

    test("keeps values, not the objects that were put or got", async () => {
      const store = await makeDevice().open("a");
      const value = { list: [1] };
      await store.write(["meta"], (tx) => tx.put("meta", "k", value));
      value.list.push(2);
      const got = await store.read(["meta"], (tx) => tx.get("meta", "k"));
      got.list.push(3);

      assert.deepEqual(await all(store, "meta"), [["k", { list: [1] }]]);
    });

    test("lists by key: numbers by size, then texts; borders are within", async () => {
      const store = await makeDevice().open("a");
      const keys = ["b", 10, 9, "a", -1, "B", "é"];
      await store.write(["meta"], async (tx) => {
        for (const key of keys) await tx.put("meta", key, key);
      });

      const keysOf = async (/** @type {object} */ range) =>
        (await store.read(["meta"], (tx) => tx.entries("meta", range))).map(([key]) => key);

      assert.deepEqual(await keysOf({}), [-1, 9, 10, "B", "a", "b", "é"]);
      assert.deepEqual(await keysOf({ from: 9 }), [9, 10, "B", "a", "b", "é"]);
      assert.deepEqual(await keysOf({ to: 10 }), [-1, 9, 10]);
      assert.deepEqual(await keysOf({ from: 0, to: "a" }), [9, 10, "B", "a"]);
      assert.deepEqual(await keysOf({ from: 0, limit: 1 }), [9]);
    });

    test("removes one row, or all of a table", async () => {
      const store = await makeDevice().open("a");
      await store.write(["meta", "usage"], async (tx) => {
        for (const key of [1, 2]) {
          await tx.put("meta", key, key);
          await tx.put("usage", key, key);
        }
        await tx.delete("meta", 1);
        await tx.clear("usage");
      });

      assert.deepEqual(await all(store, "meta"), [[2, 2]]);
      assert.deepEqual(await all(store, "usage"), []);
    });

    test("writes nothing when the work throws, and throws that on", async () => {
      const store = await makeDevice().open("a");
      const error = new Error("changed my mind");
      await store.write(["meta"], (tx) => tx.put("meta", "k", "old"));

      const writing = store.write(["meta", "outbox"], async (tx) => {
        await tx.put("meta", "k", "new");
        await tx.put("outbox", 1, "x");
        throw error;
      });

      await assert.rejects(writing, error);
      assert.deepEqual(await all(store, "meta"), [["k", "old"]]);
      assert.deepEqual(await all(store, "outbox"), []);
    });

    test("writes nothing of what cannot be kept, and goes on", async () => {
      const store = await makeDevice().open("a");

      const writing = store.write(["meta"], async (tx) => {
        await tx.put("meta", "a", 1);
        await tx.put("meta", "b", () => {});
      });

      await assert.rejects(writing, { name: "DataCloneError" });
      assert.deepEqual(await all(store, "meta"), []);
    });

    test("refuses a table that the transaction did not name", async () => {
      const store = await makeDevice().open("a");

      await assert.rejects(store.write(["meta"], (tx) => tx.put("usage", "k", 1)));
      assert.deepEqual(await all(store, "usage"), []);
    });

    test("runs writes of several tabs one after the other, and readers see no halves", async () => {
      const device = makeDevice();
      const tabs = [await device.open("a"), await device.open("a"), await device.open("a")];
      await tabs[0]?.write(["meta"], (tx) => tx.put("meta", "a", 0));
      const count = (/** @type {Store} */ tab) =>
        tab.write(["meta"], async (tx) => {
          const value = (await tx.get("meta", "a")) + 1;
          await tx.put("meta", "a", value);
          await tx.put("meta", "b", value);
          return value;
        });
      const look = (/** @type {Store} */ tab) =>
        tab.read(["meta"], async (tx) => [await tx.get("meta", "a"), await tx.get("meta", "b")]);

      const counted = Promise.all(Array.from({ length: 5 }, () => tabs.map(count)).flat());
      const seen = await Promise.all(Array.from({ length: 5 }, () => tabs.map(look)).flat());

      assert.deepEqual(
        (await counted).sort((x, y) => x - y),
        Array.from({ length: 15 }, (_, n) => n + 1),
      );
      for (const [a, b] of seen) assert.equal(a, b ?? 0);
    });

    test("is found again by its name, and by no other", async () => {
      const device = makeDevice();
      const first = await device.open("a");
      await first.write(["meta"], (tx) => tx.put("meta", "k", 1), { isStrict: true });
      first.close();

      assert.deepEqual(await all(await device.open("a"), "meta"), [["k", 1]]);
      assert.deepEqual(await all(await device.open("b"), "meta"), []);
    });

    test("fails with StorageLost once it is closed", async () => {
      const store = await makeDevice().open("a");
      store.close();

      await assert.rejects(all(store, "meta"), LOST);
      await assert.rejects(
        store.write(["meta"], (tx) => tx.put("meta", 1, 1)),
        LOST,
      );
    });

    test("is gone when deleted; who has it open loses it and brings nothing back", async () => {
      const device = makeDevice();
      const store = await device.open("a");
      await store.write(["meta"], (tx) => tx.put("meta", "k", 1));

      await device.delete("a");

      await assert.rejects(
        store.write(["meta"], (tx) => tx.put("meta", "k", 2)),
        LOST,
      );
      assert.deepEqual(await all(await device.open("a"), "meta"), []);
    });

    test("is empty after it was cleared, for all who have it open", async () => {
      const device = makeDevice();
      const [one, other] = [await device.open("a"), await device.open("a")];
      await one.write(TABLES, async (tx) => {
        for (const table of TABLES) await tx.put(table, 1, "secret");
      });

      await clearStore(other);

      for (const table of TABLES) assert.deepEqual(await all(one, table), []);
    });

    test("holds what a plain map would hold, whatever is done", async () => {
      const change = fc.tuple(fc.nat(5), fc.option(fc.integer()));
      const step = fc.record({ changes: fc.array(change, { maxLength: 4 }), fails: fc.boolean() });
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 8 }), async (steps) => {
          const store = await makeDevice().open("a");
          /** @type {Map<number, number>} */
          const model = new Map();
          for (const step of steps) {
            await store.write(["meta"], (tx) => apply(tx, step)).catch(() => {});
            applyToModel(model, step);
          }
          assert.deepEqual(
            await all(store, "meta"),
            [...model].sort(([a], [b]) => a - b),
          );
        }),
        { numRuns: 50 },
      );
    });
  });
}

/** @typedef {{changes: [number, number | null][], fails: boolean}} Step */

/** @param {Tx} tx @param {Step} step */
async function apply(tx, { changes, fails }) {
  for (const [key, value] of changes) {
    await (value === null ? tx.delete("meta", key) : tx.put("meta", key, value));
  }
  if (fails) throw new Error("changed my mind");
}

/** @param {Map<number, number>} model @param {Step} step */
function applyToModel(model, { changes, fails }) {
  for (const [key, value] of fails ? [] : changes) {
    if (value === null) model.delete(key);
    else model.set(key, value);
  }
}
