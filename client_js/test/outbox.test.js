import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { Outbox } from "../src/outbox.js";
import { World } from "./support/outbox-world.js";
import { DEVICES } from "./support/stores.js";

/** @import {Device} from "./support/stores.js" */
/** @import {Act} from "./support/outbox-world.js" */
/** @import {OutboxEntry} from "../src/types.js" */

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
const RUNS = { memory: 1000, "fake-indexeddb": 200 };

/** @param {string} key */
const call = (key) => ({ key, path: "a:b", args: { key } });

/** @param {OutboxEntry[]} entries */
const keysOf = (entries) => entries.map((entry) => entry.key);

/** A clock, and tabs over one database. @param {Device} device */
function setUp(device) {
  const clock = { ms: 1e12 };
  let sessions = 0;
  const open = async ({ account = "alice", hasLocks = true, name = "a" } = {}) =>
    Outbox.open(await device.open(name), {
      account,
      now: () => clock.ms,
      uuid: () => `session ${sessions++}`,
      hasLocks,
    });
  return { clock, open };
}

for (const [name, makeDevice] of Object.entries(DEVICES)) {
  describe(`an outbox in ${name}`, () => {
    test("gives a write its number when it is stored, and keeps all of it", async () => {
      const { open } = setUp(makeDevice());
      const outbox = await open();

      const entry = await outbox.append(call("k"));

      assert.deepEqual(entry, {
        key: "k",
        requestId: 0,
        sessionId: "session 0",
        user: "alice",
        path: "a:b",
        args: { key: "k" },
        state: "stored",
        storedAt: 1e12,
        sentAt: null,
        failure: null,
      });
      assert.deepEqual(await (await open()).list(), [entry]);
    });

    test("remembers what was done last: many small values, or the newest large one", async () => {
      const { open } = setUp(makeDevice());
      const outbox = await open();
      const done = (/** @type {number} */ requestId, /** @type {string} */ value) => ({
        ...{ requestId, value, ts: 1n },
      });
      const small = Array.from({ length: 200 }, (_, id) => done(id, "ok"));
      await outbox.done([], small);
      assert.deepEqual(await outbox.recent(), small);

      const large = "x".repeat(200_000);
      for (const id of [200, 201, 202]) await outbox.done([], [done(id, large)]);
      assert.deepEqual(await outbox.recent(), [done(202, large)]);
      await outbox.done([], [done(203, "x".repeat(300_000))]);
      assert.deepEqual(
        (await outbox.recent()).map(({ requestId }) => requestId),
        [203],
      );
    });

    test("orders what several tabs write at once, in one session", async () => {
      const { open } = setUp(makeDevice());
      const tabs = [await open(), await open(), await open()];
      const keys = Array.from({ length: 9 }, (_, n) => `k${n}`);

      const entries = await Promise.all(keys.map((key, n) => tabs[n % 3]?.append(call(key))));

      const found = await (await open()).after(-1);
      assert.deepEqual(
        found.map((entry) => entry.requestId),
        keys.map((_, n) => n),
      );
      assert.deepEqual(new Set(keysOf(found)), new Set(keys));
      assert.deepEqual([...new Set(entries.map((entry) => entry?.sessionId))], ["session 0"]);
    });

    test("gives no number twice, also when all that had it are gone", async () => {
      const { open } = setUp(makeDevice());
      const outbox = await open();
      const first = await outbox.append(call("a"));
      await outbox.done([first.requestId]);

      const second = await (await open()).append(call("b"));

      assert.equal(second.requestId, 1);
      assert.deepEqual(keysOf(await outbox.after(0)), ["b"]);
      assert.deepEqual(await outbox.after(1), []);
    });

    test("keeps a failed write with its reason, and nobody waits behind it", async () => {
      const { open, clock } = setUp(makeDevice());
      const outbox = await open();
      const { requestId } = await outbox.append(call("bad"));
      await outbox.append(call("good"));
      clock.ms += 5;
      assert.deepEqual(await outbox.sent([requestId]), [requestId]);
      const failure = { message: "no", data: { field: "title" } };

      const failed = await outbox.fail(requestId, failure);

      assert.deepEqual(failed, {
        ...(await outbox.list())[0],
        state: "failed",
        sentAt: 1e12 + 5,
        failure,
      });
      assert.deepEqual(keysOf(await outbox.after(-1)), ["good"]);
      assert.deepEqual(await outbox.sent([requestId]), []);
    });

    test("tries a failed write again as a new one at the end, once", async () => {
      const { open } = setUp(makeDevice());
      const [outbox, other] = [await open(), await open()];
      const { requestId } = await outbox.append(call("bad"));
      await outbox.append(call("good"));
      await outbox.fail(requestId, { message: "no" });

      const tried = await Promise.allSettled([outbox.retry("bad"), other.retry("bad")]);

      const [again] = tried.flatMap((result) =>
        result.status === "fulfilled" ? [result.value] : [],
      );
      const [refused] = tried.flatMap((result) => (result.status === "rejected" ? [result] : []));
      assert.equal(refused?.reason.code, "NotFailed");
      assert.deepEqual([again?.requestId, again?.state, again?.failure], [2, "stored", null]);
      assert.deepEqual(again?.args, { key: "bad" });
      assert.notEqual(again?.key, "bad");
      assert.deepEqual(await outbox.list(), [(await outbox.list())[0], again]);
    });

    test("discards what failed or was not sent, but not what may have been done", async () => {
      const { open } = setUp(makeDevice());
      const outbox = await open();
      for (const key of ["failed", "unsent", "sent"]) await outbox.append(call(key));
      await outbox.fail(0, { message: "no" });
      await outbox.sent([2]);

      assert.equal((await outbox.discard("failed"))?.requestId, 0);
      assert.equal((await outbox.discard("unsent"))?.requestId, 1);
      await assert.rejects(outbox.discard("sent"), { code: "AlreadySent" });

      assert.equal(await outbox.discard("unsent"), null);
      assert.deepEqual(keysOf(await outbox.list()), ["sent"]);
      assert.deepEqual(await outbox.sent([0, 1, 2]), [2]);
      await outbox.done([2]);
      assert.deepEqual(await outbox.list(), []);
    });

    test("notes when a write was sent first, not last", async () => {
      const { open, clock } = setUp(makeDevice());
      const outbox = await open();
      await outbox.append(call("k"));
      await outbox.sent([0]);
      clock.ms += 1000;

      await outbox.sent([0]);

      assert.equal((await outbox.list())[0]?.sentAt, 1e12);
    });

    test("fails what was sent longer ago than the server remembers, and sends it no more", async () => {
      const { open, clock } = setUp(makeDevice());
      const outbox = await open();
      for (const key of ["sent", "unsent"]) await outbox.append(call(key));
      await outbox.sent([0]);
      clock.ms += 13 * DAY_MS;
      assert.deepEqual(keysOf(await outbox.after(-1)), ["sent", "unsent"]);
      clock.ms += 1;

      assert.deepEqual(await outbox.sent([0, 1]), [1]);
      assert.deepEqual(keysOf(await outbox.after(-1)), ["unsent"]);

      const [old] = await outbox.list();
      assert.deepEqual([old?.state, old?.failure?.code], ["failed", "OutcomeUnknown"]);
    });

    test("gives up what is too old when it is opened", async () => {
      const { open, clock } = setUp(makeDevice());
      const outbox = await open();
      await outbox.append(call("k"));
      await outbox.sent([0]);
      clock.ms += 14 * DAY_MS;

      const again = await open();

      assert.equal((await again.list())[0]?.state, "failed");
      assert.deepEqual(await again.expire(), []);
    });

    test("shows and changes nothing of another account", async () => {
      const { open } = setUp(makeDevice());
      const [alice, bob] = [await open(), await open({ account: "bob" })];
      await alice.append(call("hers"));
      await alice.fail(0, { message: "no" });

      assert.notEqual(alice.sessionId, bob.sessionId);
      assert.deepEqual(await bob.list(), []);
      assert.deepEqual(await bob.after(-1), []);
      assert.deepEqual(await bob.sent([0]), []);
      assert.equal(await bob.fail(0, { message: "his" }), null);
      await assert.rejects(bob.retry("hers"), { code: "NotFailed" });
      assert.equal(await bob.discard("hers"), null);
      await bob.done([0]);
      assert.equal((await alice.list())[0]?.failure?.message, "no");
    });

    test("moves into another in order, once, with nothing added behind its back", async () => {
      const { open } = setUp(makeDevice());
      const [guest, account] = [await open({ name: "guest" }), await open()];
      await account.append(call("earlier"));
      for (const key of ["a", "b"]) await guest.append(call(key));

      const sealed = await guest.seal();
      await assert.rejects(guest.append(call("late")), { code: "Moved" });
      const moved = await account.adopt(sealed.entries, sealed.marker);

      assert.deepEqual(await guest.seal(), sealed);
      assert.deepEqual(await (await open()).adopt(sealed.entries, sealed.marker), []);
      assert.deepEqual(keysOf(moved), ["a", "b"]);
      const after = await account.after(-1);
      assert.deepEqual(keysOf(after), ["earlier", "a", "b"]);
      assert.deepEqual([...new Set(after.map((entry) => entry.user))], ["alice"]);
    });

    test("sealed while a guest writes in another tab moves the write or refuses it", async () => {
      const { open } = setUp(makeDevice());
      const [one, other] = [await open({ name: "guest" }), await open({ name: "guest" })];

      const [sealed, ...written] = await Promise.allSettled([
        one.append(call("a")).then(() => one.seal()),
        ...["b", "c", "d"].map((key) => other.append(call(key))),
      ]);

      const kept = written.flatMap((result) =>
        result.status === "fulfilled" ? [result.value.key] : [],
      );
      assert.ok(sealed.status === "fulfilled");
      assert.deepEqual(new Set(keysOf(sealed.value.entries)), new Set(["a", ...kept]));
    });

    test("without locks gives each living tab a session, and that of a silent one to the next", async () => {
      const { open, clock } = setUp(makeDevice());
      const [one, two] = [await open({ hasLocks: false }), await open({ hasLocks: false })];
      assert.notEqual(one.sessionId, two.sessionId);
      await one.append(call("left behind"));
      assert.deepEqual(await two.after(-1), []);
      clock.ms += 45_000;
      await two.beat();
      clock.ms += 30_000;

      const three = await open({ hasLocks: false });

      assert.equal(three.sessionId, one.sessionId);
      assert.deepEqual(keysOf(await three.after(-1)), ["left behind"]);
      assert.equal((await three.append(call("next"))).requestId, 1);
    });

    test("without locks takes before all a session that has unsent writes", async () => {
      const { open, clock } = setUp(makeDevice());
      await open({ hasLocks: false });
      const left = await open({ hasLocks: false });
      await left.append(call("k"));
      clock.ms += 2 * MINUTE_MS;

      assert.equal((await open({ hasLocks: false })).sessionId, left.sessionId);
    });

    test("without locks a tab that leaves has its session taken at once", async () => {
      const { open } = setUp(makeDevice());
      const one = await open({ hasLocks: false });
      await one.release();

      assert.equal((await open({ hasLocks: false })).sessionId, one.sessionId);
    });

    test("without locks a clock that was set back keeps no session from being taken", async () => {
      const { open, clock } = setUp(makeDevice());
      const one = await open({ hasLocks: false });
      clock.ms -= 365 * DAY_MS;

      assert.equal((await open({ hasLocks: false })).sessionId, one.sessionId);
    });

    test("fails what tabs without locks left, once there are locks: nobody else would send it", async () => {
      const { open, clock } = setUp(makeDevice());
      await (await open()).append(call("shared"));
      const alone = await open({ hasLocks: false });
      await alone.append(call("left behind"));
      assert.equal((await alone.list())[1]?.state, "stored");
      clock.ms += 2 * MINUTE_MS;

      const outbox = await open();

      assert.deepEqual(
        (await outbox.list()).map(({ key, state }) => [key, state]),
        [
          ["shared", "stored"],
          ["left behind", "failed"],
        ],
      );
    });

    for (const hasLocks of [true, false]) {
      const tabs = hasLocks ? "tabs that share a session" : "tabs with a session each";
      test(`loses nothing and does nothing twice, whatever ${tabs} do`, async () => {
        /** @type {Act[]} */
        const often = ["append", "append", "appendBad", "read", "send", "sendUnheard", "retry"];
        /** @type {Act[]} */
        const rare = ["discard", "crash", "leave", "beat", "minute", "reconnect", "fortnight"];
        const step = fc.record({
          tab: fc.nat(2),
          act: fc.constantFrom(...often, ...often, ...rare),
          pick: fc.nat(7),
        });
        const story = fc.array(fc.array(step, { minLength: 1, maxLength: 4 }), { maxLength: 30 });
        await fc.assert(
          fc.asyncProperty(story, async (groups) => {
            const world = new World(makeDevice(), hasLocks);
            for (const steps of groups) await world.run(steps);
            await world.settle();
          }),
          { numRuns: Number(process.env.OUTBOX_RUNS ?? RUNS[/** @type {"memory"} */ (name)]) },
        );
      });
    }
  });
}
