import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { idFrom, newId } from "../src/ids.js";

const UUID7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** @param {string} id */
const msOf = (id) => Number.parseInt(id.replaceAll("-", "").slice(0, 12), 16);

test("new ids are UUIDs of version 7 with the time of now in front", () => {
  const before = Date.now();

  const id = newId();

  assert.match(id, UUID7);
  assert.ok(msOf(id) >= before && msOf(id) <= Date.now());
});

test("each new id is greater than the one before, also many in one millisecond", () => {
  const ids = Array.from({ length: 20_000 }, newId);

  assert.deepEqual(ids, [...new Set(ids)].sort());
});

test("new ids go on growing when the clock is set back", (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: Date.now() + 60_000 });
  const first = newId();
  t.mock.timers.setTime(1000);

  const second = newId();

  assert.match(second, UUID7);
  assert.ok(second > first);
});

test("an id from a text has the SHA-256 of the text behind the time", () => {
  fc.assert(
    fc.property(fc.nat(2 ** 31), fc.string({ unit: "grapheme", maxLength: 200 }), (ms, text) => {
      const digest = createHash("sha256").update(text, "utf8").digest("hex").slice(0, 24);
      const bits = BigInt(`0x${digest}`) & ((1n << 74n) - 1n);

      const id = idFrom(ms, text);

      assert.match(id, UUID7);
      assert.equal(msOf(id), ms);
      const value = BigInt(`0x${id.replaceAll("-", "")}`);
      assert.equal((((value >> 64n) & 0xfffn) << 62n) | (value & ((1n << 62n) - 1n)), bits);
    }),
  );
});

test("the same time and text give the same id, anything else another", () => {
  assert.equal(idFrom(5, "a"), idFrom(5, "a"));
  assert.notEqual(idFrom(5, "a"), idFrom(6, "a"));
  assert.notEqual(idFrom(5, "a"), idFrom(5, "b"));
});

test("times that no id can hold are brought within", () => {
  const times = [-1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 60, 1.9].map((ms) =>
    msOf(idFrom(ms, "x")),
  );

  assert.deepEqual(times, [0, 0, 0, 2 ** 48 - 1, 1]);
});
