import assert from "node:assert/strict";
import { test } from "node:test";
import { Toasts } from "../../demo/toasts.js";

/** @param {Toasts} toasts @param {string[]} heard */
function show(toasts, heard) {
  toasts.show("deleted", {
    action: { label: "Undo", run: () => heard.push("undone") },
    onEnd: () => heard.push("ended"),
  });
  return /** @type {number} */ (toasts.shown.get().at(-1)?.id);
}

test("a notice ends once, however often it is told to", () => {
  const toasts = new Toasts();
  /** @type {string[]} */
  const heard = [];
  const id = show(toasts, heard);

  toasts.end(id);
  toasts.end(id);
  toasts.act(id);

  assert.deepEqual(heard, ["ended"]);
  assert.deepEqual(toasts.shown.get(), []);
});

test("a notice whose action was taken does not end", () => {
  const toasts = new Toasts();
  /** @type {string[]} */
  const heard = [];
  const id = show(toasts, heard);

  toasts.act(id);
  toasts.end(id);
  toasts.flush();

  assert.deepEqual(heard, ["undone"]);
});

test("all end when the page goes", () => {
  const toasts = new Toasts();
  /** @type {string[]} */
  const heard = [];
  show(toasts, heard);
  show(toasts, heard);

  toasts.flush();

  assert.deepEqual(heard, ["ended", "ended"]);
});
