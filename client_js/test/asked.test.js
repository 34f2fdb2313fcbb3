import assert from "node:assert/strict";
import { test } from "node:test";
import { Asked } from "../src/asked.js";

test("an answer ends what asked for it, once", async () => {
  const asked = new Asked();
  const one = asked.ask("a:b", {});
  const two = asked.ask("a:b", {});

  asked.onActed(one.act.id, { status: "success", value: 1 });
  asked.onActed(one.act.id, { status: "success", value: 2 });
  asked.onActed(two.act.id, { status: "error", error: { message: "no" } });

  assert.equal(await one.result, 1);
  await assert.rejects(two.result, /no/);
  assert.equal(asked.size, 0);
});

test("one leader may run an action, once; it fails when that one is lost", async () => {
  const asked = new Asked();
  const taken = asked.ask("a:b", {});
  const waiting = asked.ask("a:c", {});
  assert.equal(asked.take(taken.act.id), true);
  assert.equal(asked.take(taken.act.id), false);

  assert.deepEqual(asked.waiting, [waiting.act]);
  asked.lose();

  await assert.rejects(taken.result, { code: "ConnectionLost" });
  assert.deepEqual(asked.waiting, [waiting.act]);
  assert.equal(asked.take(taken.act.id), false);
});

test("who leaves the account waits for nothing", async () => {
  const asked = new Asked();
  const { result } = asked.ask("a:b", {});

  asked.end();

  await assert.rejects(result, { code: "Closed" });
});
