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

test("one that is not watched stays asked for until another one needs the place", () => {
  const client = makeClient();
  const wholes = new Wholes(client, () => {});
  const ids = Array.from({ length: 30 }, (_, index) => `${index}`);
  for (const id of ids) wholes.get(id, true, false);
  assert.equal(wholes.get("new", true, false), null);
  assert.equal(client.asked.has("new"), false);
  for (const id of ["3", "5"]) {
    client.asked.get(id)?.({ value: { _id: id }, isStale: false });
    assert.deepEqual(wholes.get(id, true, false), { _id: id });
  }

  wholes.get("new", true, false);

  assert.deepEqual(
    ["3", "5", "new"].map((id) => client.asked.has(id)),
    [false, true, true],
  );
  wholes.get("7", false, false);
  for (const id of ["newer", "newest"]) wholes.get(id, true, false);
  assert.deepEqual([client.asked.size, client.asked.has("7")], [30, false]);
});

test("those that were removed make room for others", () => {
  const client = makeClient();
  const wholes = new Wholes(client, () => {});
  const ids = Array.from({ length: 30 }, (_, index) => `${index}`);
  for (const id of ids) wholes.get(id, true, true);
  client.asked.get("4")?.({ value: null, isStale: false });

  wholes.get("new", true, false);

  assert.deepEqual([client.asked.size, client.asked.has("new")], [30, true]);
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
