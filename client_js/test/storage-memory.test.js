import assert from "node:assert/strict";
import { test } from "node:test";
import { openMemory } from "../src/storage/memory.js";

// What all stores do is in storage-store.test.js.

test("says that it does not outlive the page", () => {
  assert.equal(openMemory("a").isDurable, false);
});

test("shares nothing without a shelf", async () => {
  const [one, other] = [openMemory("a"), openMemory("a")];
  await one.write(["meta"], (tx) => tx.put("meta", "k", 1));

  assert.equal(await other.read(["meta"], (tx) => tx.get("meta", "k")), undefined);
});
