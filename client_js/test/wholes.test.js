import assert from "node:assert/strict";
import { test } from "node:test";
import { Wholes } from "../src/wholes.js";

/** A client that answers when the test says so. */
function makeClient() {
  /** @type {Map<string, (result: {value: any, isStale: boolean}) => void>} */
  const asked = new Map();
  return {
    asked,
    subscribe: (
      /** @type {string} */ _path,
      /** @type {any} */ args,
      /** @type {any} */ listener,
    ) => {
      asked.set(args.conversationId, listener);
      return () => {
        asked.delete(args.conversationId);
      };
    },
  };
}

test("a watched one is asked for once, and given when the server has confirmed it", () => {
  const client = makeClient();
  let changes = 0;
  const wholes = new Wholes(client, () => {
    changes += 1;
  });
  assert.equal(wholes.get("a", true, true), null);
  client.asked.get("a")?.({ value: { _id: "a" }, isStale: true });
  assert.equal(wholes.get("a", true, true), null);

  client.asked.get("a")?.({ value: { _id: "a" }, isStale: false });

  assert.deepEqual(wholes.get("a", true, true), { _id: "a" });
  assert.deepEqual([changes, client.asked.size], [2, 1]);
});

test("one that is not watched is let go once it was given, or is not wanted any more", () => {
  const client = makeClient();
  const wholes = new Wholes(client, () => {});
  for (const id of ["a", "b"]) wholes.get(id, true, false);
  client.asked.get("a")?.({ value: { _id: "a" }, isStale: false });

  assert.deepEqual(wholes.get("a", true, false), { _id: "a" });
  assert.equal(wholes.get("b", false, false), null);

  assert.equal(client.asked.size, 0);
});

test("no more than 30 are asked for at a time, but those to be watched always", () => {
  const client = makeClient();
  const wholes = new Wholes(client, () => {});
  for (let index = 0; index < 50; index++) wholes.get(`${index}`, true, false);
  assert.equal(client.asked.size, 30);

  wholes.get("new", true, true);

  assert.equal(client.asked.has("new"), true);
  wholes.stop();
  assert.equal(client.asked.size, 0);
});
