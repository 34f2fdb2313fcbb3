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

test("the next leader gets what was never sent; what was sent fails", async () => {
  const asked = new Asked();
  const sent = asked.ask("a:b", {});
  const waiting = asked.ask("a:c", {});
  asked.onSent([sent.act.id]);

  assert.deepEqual(asked.handOver(), [waiting.act]);
  await assert.rejects(sent.result, { code: "ConnectionLost" });
});

test("who leaves the account waits for nothing", async () => {
  const asked = new Asked();
  const { result } = asked.ask("a:b", {});

  asked.end();

  await assert.rejects(result, { code: "Closed" });
});
