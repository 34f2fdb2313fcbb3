import assert from "node:assert/strict";
import { test } from "node:test";
import { anyApi } from "convex/server";
import { canonicalPath, pathOf } from "../src/paths.js";

/** @type {[string, string][]} */
const FORMS = [
  ["messages:list", "messages:list"],
  ["messages.js:list", "messages:list"],
  ["dir/messages.js:list", "dir/messages:list"],
  ["dir/messages", "dir/messages:default"],
  ["dir/messages.js", "dir/messages:default"],
];

for (const [path, canonical] of FORMS) {
  test(`${path} is ${canonical}`, () => assert.equal(canonicalPath(path), canonical));
}

test("a function is named by its path, or by a reference of the official package", () => {
  assert.equal(pathOf("messages:list"), "messages:list");
  assert.equal(pathOf(anyApi.dir?.messages?.list), "dir/messages:list");
});

test("what names no function is refused", () => {
  for (const wrong of ["", null, undefined, 5, {}, () => 1]) {
    assert.throws(() => pathOf(wrong), { code: "InvalidPath" });
  }
});
