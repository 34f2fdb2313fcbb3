import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import fc from "fast-check";
import { applyPatch } from "../../src/sync/patch.js";
import { decodeValue } from "../../src/values.js";

/** @import {Json, Value} from "../../src/types.js" */

/** @typedef {{name: string, before: Json, after: Json, patch: Json}} Vector */

/** @type {{made: Vector[], fits: Vector[], unfit: Vector[]}} */
const vectors = JSON.parse(
  await readFile(new URL("../../../tests/vectors/patches.json", import.meta.url), "utf8"),
);

/**
 * Returns a value of which nothing can be changed.
 *
 * @template Thing
 * @param {Thing} value
 * @returns {Thing}
 */
function frozen(value) {
  if (typeof value !== "object" || value === null || value instanceof ArrayBuffer) return value;
  for (const field of Object.values(value)) frozen(field);
  return Object.freeze(value);
}

for (const { name, before, after, patch } of [...vectors.made, ...vectors.fits]) {
  test(`applies a patch: ${name}`, () => {
    assert.deepStrictEqual(applyPatch(frozen(decodeValue(before)), patch), decodeValue(after));
  });
}

for (const { name, before, patch } of vectors.unfit) {
  test(`refuses a patch: ${name}`, () => {
    assert.throws(() => applyPatch(frozen(decodeValue(before)), patch), Error);
  });
}

test("what a patch does not touch stays the same object", () => {
  const rows = Array.from({ length: 2000 }, (_, n) => ({
    _id: String(n),
    text: "good",
    tags: [n],
  }));
  const before = frozen({ page: rows, isDone: true });

  const after = /** @type {any} */ (
    applyPatch(before, [
      ["splice", ["page"], 2000, 0, [{ _id: "new" }]],
      ["append", ["page", 1500, "text"], " day"],
    ])
  );

  assert.equal(after.page.length, 2001);
  const changed = rows.flatMap((row, n) => (row === after.page[n] ? [] : [n]));
  assert.deepStrictEqual(changed, [1500]);
  assert.deepStrictEqual(after.page[1500], { ...rows[1500], text: "good day" });
  assert.equal(after.page[1500].tags, rows[1500]?.tags);
});

test("nothing to do gives the same result", () => {
  const before = frozen([{ a: 1 }]);

  assert.equal(applyPatch(before, []), before);
});

test("a splice may bring more than a function takes arguments", () => {
  const items = Array.from({ length: 200_000 }, (_, n) => n);

  const after = applyPatch([-1, -2], [["splice", [], 1, 0, items]]);

  assert.deepStrictEqual(after, [-1, ...items, -2]);
});

const text = fc.string({ unit: "grapheme", maxLength: 4 });
const json = fc.jsonValue({ maxDepth: 3 }).filter((value) => {
  try {
    decodeValue(/** @type {Json} */ (value));
    return true;
  } catch {
    return false;
  }
});

/**
 * All places of a value, each as a path.
 *
 * @param {any} value
 * @param {(string | number)[]} [path]
 * @returns {(string | number)[][]}
 */
function places(value, path = []) {
  if (typeof value !== "object" || value === null) return [path];
  const steps = Array.isArray(value) ? [...value.keys()] : Object.keys(value);
  return [path, ...steps.flatMap((step) => places(value[step], [...path, step]))];
}

/**
 * Changes a value in place, and returns the operation that says so; null where it does not fit.
 *
 * @param {{root: any}} box
 * @param {number} where
 * @param {any} item
 * @param {string} more
 * @returns {Json[] | null}
 */
function edit(box, where, item, more) {
  const all = places(box.root);
  const path = all[where % all.length] ?? [];
  const [found, parent] = [path, path.slice(0, -1)].map((steps) =>
    steps.reduce((value, step) => value[step], box.root),
  );
  const last = path.at(-1);
  if (Array.isArray(found)) {
    const index = where % (found.length + 1);
    const count = Math.min(where % 3, found.length - index);
    found.splice(index, count, structuredClone(item));
    return ["splice", path, index, count, [item]];
  }
  if (last === undefined) return null;
  if (typeof found === "string") {
    parent[last] += more;
    return ["append", path, more];
  }
  if (typeof last === "string" && where % 2 === 0) {
    delete parent[last];
    return ["unset", path];
  }
  parent[last] = structuredClone(item);
  return ["set", path, item];
}

test("a patch does what was done, whatever that was, and the former result stays", () => {
  const edits = fc.array(fc.tuple(fc.nat(), json, text), { maxLength: 6 });
  fc.assert(
    fc.property(json, edits, (/** @type {any} */ before, todo) => {
      const box = { root: structuredClone(before) };
      const patch = todo.flatMap(([where, item, more]) => {
        const operation = edit(box, where, item, more);
        return operation === null ? [] : [operation];
      });

      assert.deepStrictEqual(
        applyPatch(frozen(decodeValue(before)), structuredClone(patch)),
        decodeValue(box.root),
      );
    }),
  );
});

test("any patch at all fits or is refused, and the former result stays", () => {
  const name = fc.constantFrom("set", "unset", "append", "splice");
  const path = fc.array(fc.oneof(fc.nat(2), fc.constantFrom("a", "__proto__", "")), {
    maxLength: 3,
  });
  const operation = fc.tuple(name, path, fc.jsonValue(), fc.nat(2), fc.array(fc.jsonValue()));
  const value = fc.object({ key: fc.constantFrom("a", "b"), maxDepth: 2, values: [text] });
  fc.assert(
    fc.property(value, fc.array(operation), (/** @type {any} */ before, patch) => {
      const kept = structuredClone(before);
      try {
        applyPatch(frozen(before), /** @type {Json} */ (patch));
      } catch (error) {
        assert.notEqual(/** @type {Error} */ (error).name, "TypeError");
      }
      assert.deepStrictEqual(before, kept);
    }),
  );
});
