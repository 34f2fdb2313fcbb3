import assert from "node:assert/strict";
import { test } from "node:test";
import { Write } from "../src/handle.js";

function write() {
  const actions = { retry: async () => {}, discard: async () => {} };
  const one = new Write({ key: "k", path: "a:b", args: {}, json: {}, at: 1 }, actions);
  /** @type {string[]} */
  const states = [];
  one.handle.subscribe(() => states.push(one.handle.state));
  return { one, states };
}

test("a handle tells how far its write is, and keeps its promise", async () => {
  const { one, states } = write();

  one.onEntry("stored");
  one.onEntry("sent");
  one.succeed(5);

  await one.handle.stored;
  assert.equal(await one.handle, 5);
  assert.deepEqual(states, ["stored", "sent", "committed"]);
});

test("late or repeated news change nothing", async () => {
  const { one, states } = write();

  one.onEntry("sent");
  one.onEntry("stored");
  one.succeed(5);
  one.fail(new Error("late"));
  one.succeed(6);

  assert.equal(await one.handle, 5);
  assert.deepEqual(states, ["sent", "committed"]);
});

test("what could not be stored fails both promises, and can be discarded afterwards", async () => {
  const { one, states } = write();
  const error = new Error("full");

  one.fail(error);
  await assert.rejects(one.handle, error);
  await assert.rejects(one.handle.stored, error);
  one.discarded();

  assert.equal(one.handle.error, error);
  assert.deepEqual(states, ["failed", "discarded"]);
});

test("what is discarded before it was sent says so", async () => {
  const { one } = write();

  one.onEntry("stored");
  one.discarded();

  await assert.rejects(one.handle, { code: "Discarded" });
});
