import assert from "node:assert/strict";
import { test } from "node:test";
import { createEnv } from "../src/env.js";

test("without a page there are no other tabs, and the network is there", () => {
  const env = createEnv();

  assert.equal(env.locks, null);
  assert.equal(env.openChannel, null);
  assert.equal(env.isVisible(), false);
  assert.equal(env.isOnline(), true);
});

test("what is given replaces what is here", () => {
  const env = createEnv({ now: () => 7 });

  assert.equal(env.now(), 7);
});

test("a timer runs once, and not when it was cancelled; the longest does not run at once", async () => {
  const { after } = createEnv();
  /** @type {string[]} */
  const ran = [];

  after(() => ran.push("cancelled"), 0)();
  const cancelLong = after(() => ran.push("long"), 2 ** 40);
  await new Promise((resolve) => after(() => resolve(ran.push("once")), 1));
  cancelLong();

  assert.deepEqual(ran, ["once"]);
});

test("a random UUID is of version 4, and another one each time", () => {
  const { uuid } = createEnv();

  assert.match(uuid(), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.notEqual(uuid(), uuid());
});
