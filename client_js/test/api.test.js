import assert from "node:assert/strict";
import { test } from "node:test";
import { getFunctionName } from "convex/server";
import { anyApi } from "../src/api.js";
import * as exported from "../src/index.js";
import { pathOf } from "../src/paths.js";

test("a reference names its function, for this client and the official one", () => {
  assert.equal(pathOf(anyApi.messages.list), "messages:list");
  assert.equal(pathOf(anyApi.chat.messages.list), "chat/messages:list");
  assert.equal(getFunctionName(anyApi.messages.list), "messages:list");
});

test("what names no function is told how it should look", () => {
  assert.throws(() => pathOf(anyApi.messages), {
    code: "InvalidPath",
    message: /api\.module\.function, but this is api\.messages/,
  });
});

test("applications import these names and no others", () => {
  assert.deepEqual(Object.keys(exported).sort(), [
    "AppError",
    "Client",
    "ConvexError",
    "ParleyError",
    "anyApi",
    "createClient",
    "functionName",
    "newId",
  ]);
});
