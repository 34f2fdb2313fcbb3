import assert from "node:assert/strict";
import { test } from "node:test";
import { applyPatch } from "../../src/sync/patch.js";

test("a patch that is not understood is a violation: the connection begins anew", () => {
  assert.throws(() => applyPatch([1], { add: 2 }), /unknown patch/);
});
