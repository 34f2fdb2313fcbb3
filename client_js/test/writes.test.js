import assert from "node:assert/strict";
import { test } from "node:test";
import { AppError } from "../src/errors.js";
import { Writes } from "../src/writes.js";
import { Sim } from "./support/sim.js";

/** @import {OutboxEntry} from "../src/types.js" */
/** @import {Scope} from "../src/scope.js" */

/** @type {OutboxEntry} */
const ENTRY = {
  key: "k",
  requestId: 0,
  sessionId: "s",
  user: "u",
  path: "a:b",
  args: { n: { $integer: "AQAAAAAAAAA=" } },
  state: "failed",
  storedAt: 5,
  sentAt: null,
  failure: { message: "no", data: { why: 1 } },
};

function open() {
  /** @type {string[]} */
  const log = [];
  const scope = /** @type {Scope} */ (
    /** @type {unknown} */ ({
      retry: async (/** @type {string} */ key, /** @type {Function} */ follow) => {
        log.push(`retry ${key}`);
        return follow({ ...ENTRY, key: "k2" });
      },
      discard: async (/** @type {string} */ key) => log.push(`discard ${key}`),
    })
  );
  return { log, writes: new Writes(new Sim().tab().env, async () => scope) };
}

test("the outbox shows values and errors, and is the same array while nothing changed", () => {
  const { writes } = open();

  assert.equal(writes.show([ENTRY]), true);
  const { items } = writes;
  assert.equal(writes.show([ENTRY]), false);

  assert.equal(writes.items, items);
  const [item] = items;
  assert.deepEqual(item?.args, { n: 1n });
  assert.ok(item?.error instanceof AppError);
  assert.deepEqual(item.error.data, { why: 1 });
});

test("an item and a handle can be tried again and discarded", async () => {
  const { log, writes } = open();
  writes.show([ENTRY]);
  const { handle } = writes.make("a:b", {});

  await writes.items[0]?.retry();
  await writes.items[0]?.discard();
  await handle.discard();

  assert.deepEqual(log, ["retry k", "discard k", `discard ${handle.key}`]);
});

test("what is open is told by when it was made", () => {
  const { writes } = open();
  const one = writes.make("a:b", {});
  const two = writes.make("a:b", {});
  for (const write of [one, two]) writes.byKey.set(write.key, write);

  one.succeed(1);

  assert.deepEqual(writes.openedAt([]), [two.at]);
});
