import assert from "node:assert/strict";
import { test } from "node:test";
import { Chunks } from "../../src/sync/chunks.js";

/** @param {number} partNumber @param {number} [totalParts] @param {string} [transitionId] */
const part = (partNumber, totalParts = 3, transitionId = "a") =>
  /** @type {const} */ ({
    type: "TransitionChunk",
    chunk: `<${partNumber}>`,
    partNumber,
    totalParts,
    transitionId,
  });

test("parts in order make the whole, as often as one comes", () => {
  const chunks = new Chunks();
  for (const id of ["a", "a", "b"]) {
    assert.equal(chunks.isOpen, false);
    assert.equal(chunks.add(part(0, 3, id)), null);
    assert.equal(chunks.isOpen, true);
    assert.equal(chunks.add(part(1, 3, id)), null);
    assert.equal(chunks.add(part(2, 3, id)), "<0><1><2>");
  }
});

test("a single part is a whole", () => {
  assert.equal(new Chunks().add(part(0, 1)), "<0>");
});

const WRONG = [
  [part(1)],
  [part(0, 0)],
  [part(0), part(0)],
  [part(0), part(2)],
  [part(0), part(1, 4)],
  [part(0), part(1, 3, "b")],
  [part(0), part(1), part(1)],
];

for (const parts of WRONG) {
  test(`refuses the last of ${parts.map((one) => `${one.transitionId}${one.partNumber}/${one.totalParts}`)}`, () => {
    const chunks = new Chunks();
    for (const one of parts.slice(0, -1)) chunks.add(one);

    assert.throws(() => chunks.add(/** @type {typeof parts[0]} */ (parts.at(-1))), /out of order/);
  });
}

test("a Transition without end is refused before it fills the memory", () => {
  const chunks = new Chunks();
  const chunk = "x".repeat(2 ** 24);
  for (let partNumber = 0; partNumber < 16; partNumber++) {
    chunks.add({ ...part(partNumber, 99), chunk });
  }

  assert.throws(() => chunks.add({ ...part(16, 99), chunk }), /too large/);
});
