import assert from "node:assert/strict";
import { test } from "node:test";
import { Write } from "../src/handle.js";
import { Unsent } from "../src/unsent.js";
import { View } from "../src/view.js";

/** @import {LocalStore, OutboxEntry} from "../src/types.js" */

/** @param {number} requestId @returns {OutboxEntry} */
const entry = (requestId) => ({
  key: `k${requestId}`,
  requestId,
  sessionId: "s",
  user: "u",
  path: "a:add",
  args: { id: requestId },
  state: "stored",
  storedAt: 1,
  sentAt: null,
  failure: null,
});

/** @param {LocalStore} store @param {{id: number}} args */
const add = (store, { id }) => store.setQuery("a:list", {}, id);

function open() {
  const view = new View();
  const write = new Write(
    { key: "k1", path: "a:add", args: { id: 1 }, json: { id: 1 }, at: 1 },
    { retry: async () => {}, discard: async () => {} },
  );
  write.handle.catch(() => {});
  const updates = new Map([["a:add", add]]);
  /** @type {Set<string>[]} */
  const shown = [];
  const unsent = new Unsent({
    view,
    updates,
    writes: new Map([["k1", write]]),
    onShown: (tokens) => shown.push(tokens),
    onChange: () => {},
  });
  const value = () => {
    const result = view.shown('{"args":{},"path":"a:list"}');
    return result?.status === "success" ? result.value : undefined;
  };
  return { unsent, write, updates, value, shown };
}

const NO = { message: "no" };

test("entries show their effect, in order, and wait until they are done", () => {
  const { unsent, value } = open();

  unsent.onStored(entry(2));
  unsent.onStored(entry(1));
  unsent.onSent([1]);

  assert.equal(value(), 2);
  assert.deepEqual(unsent.waiting.sort(), [1, 2]);
  assert.deepEqual(
    unsent.entries.map(({ state }) => state),
    ["sent", "stored"],
  );
});

test("an entry that failed stays, shows nothing, and is waited for no more", () => {
  const { unsent, write, value } = open();

  unsent.onStored(entry(1));
  unsent.onFailed(1, NO);
  unsent.onFailed(1, NO);

  assert.equal(value(), undefined);
  assert.equal(write.handle.state, "failed");
  assert.deepEqual(unsent.waiting, []);
  assert.equal(unsent.entries[0]?.failure, NO);
});

test("news of the end that come before those of the beginning count", () => {
  const done = open();
  done.unsent.remove(1, { value: 7 });
  done.unsent.onStored(entry(1));
  assert.equal(done.write.handle.state, "committed");
  assert.deepEqual(done.unsent.entries, []);

  const failed = open();
  failed.unsent.onFailed(1, NO);
  failed.unsent.onStored(entry(1));
  assert.equal(failed.write.handle.state, "failed");
  assert.equal(failed.unsent.entries[0]?.state, "failed");
});

test("what was discarded does not come back with late news", () => {
  const { unsent, write, value } = open();

  unsent.onStored(entry(1));
  unsent.onDiscarded("k1");
  unsent.onStored(entry(1));

  assert.equal(write.handle.state, "discarded");
  assert.equal(value(), undefined);
  assert.deepEqual(unsent.entries, []);
});

test("what is gone, and nobody knows why, is said to be so", async () => {
  const { unsent, write } = open();

  unsent.onStored(entry(1));
  unsent.onUnknown([1, 5]);

  await assert.rejects(write.handle, { code: "OutcomeUnknown" });
  assert.deepEqual(unsent.entries, []);
});

test("an update that becomes known later shows what waits already", () => {
  const { unsent, updates, value } = open();
  updates.clear();
  unsent.onStored(entry(1));
  assert.equal(value(), undefined);

  updates.set("a:add", add);
  unsent.showUpdates("a:other");
  assert.equal(value(), undefined);
  unsent.showUpdates("a:add");
  assert.equal(value(), 1);
});
