import assert from "node:assert/strict";
import { test } from "node:test";
import { AppError, ConvexError, fromFailure, ParleyError, toFailure } from "../src/errors.js";

test("what the application threw survives the way through a failure, null too", () => {
  for (const data of [null, "no", { code: 5n }]) {
    const error = fromFailure(toFailure(new AppError(data, "text of the server")));

    assert.ok(error instanceof ConvexError);
    assert.deepStrictEqual([error.data, error.message], [data, "text of the server"]);
  }
});

test("an error of the client keeps its code on the way through a failure", () => {
  const error = fromFailure(toFailure(new ParleyError("StorageFull", "full")));

  assert.ok(!(error instanceof AppError));
  assert.deepStrictEqual([error.code, error.message], ["StorageFull", "full"]);
});

test("anything that was thrown makes a failure", () => {
  assert.deepStrictEqual(toFailure(new TypeError("odd")), { message: "odd" });
  assert.deepStrictEqual(toFailure("text"), { message: "text" });
  assert.equal(fromFailure({ message: "no" }).code, "FunctionFailed");
});

test("an application's error shows its data as text", () => {
  assert.equal(new AppError("no").message, "no");
  assert.equal(new AppError({ n: 5n }).message, '{"n":"5"}');
});
