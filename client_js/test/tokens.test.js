import assert from "node:assert/strict";
import { test } from "node:test";
import { parseToken, queryToken } from "../src/tokens.js";

test("one query has one token, however its path and its arguments are written", () => {
  const token = queryToken("messages:list", { a: 1, b: { c: 1, d: 2 } });

  assert.equal(queryToken("messages.js:list", { b: { d: 2, c: 1 }, a: 1 }), token);
  assert.notEqual(queryToken("messages:list", { a: 1, b: { c: 1, d: 3 } }), token);
  assert.notEqual(queryToken("messages:get", { a: 1, b: { c: 1, d: 2 } }), token);
});

test("a token tells what it was made of", () => {
  const token = queryToken("dir/messages", { n: { $integer: "AQAAAAAAAAA=" } });

  assert.deepStrictEqual(parseToken(token), {
    path: "dir/messages:default",
    args: { n: { $integer: "AQAAAAAAAAA=" } },
  });
});
