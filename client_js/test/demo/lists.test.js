import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { cleanTags, filtered, ordered, parts, withBegun, withUnsent } from "../../demo/lists.js";

/** @import {Conversation, Message, OutboxItem} from "../../demo/types.js" */

const NOW = new Date(2026, 5, 15, 12).getTime();
const DAY_MS = 86_400_000;

/** @param {string} title @param {Partial<Conversation>} [changes] @returns {Conversation} */
const conversation = (title, changes) => ({
  _id: title,
  title,
  isPinned: false,
  tags: [],
  createdAt: NOW,
  updatedAt: NOW,
  ...changes,
});

/** @param {string} _id @returns {Message} */
const message = (_id) => ({ _id, role: "user", content: _id, timestamp: NOW });

/** @param {string} path @param {Record<string, unknown>} args @param {OutboxItem["state"]} [state] @returns {OutboxItem} */
const write = (path, args, state = "stored") => ({
  key: `key ${args.id}`,
  path,
  args,
  state,
  error: null,
  storedAt: NOW,
  retry: () => {},
  discard: () => {},
});

/** @param {Conversation[]} conversations */
const titles = (conversations) => conversations.map(({ title }) => title);

test("pinned conversations come first, then the last changed", () => {
  const list = [
    conversation("old", { updatedAt: 1 }),
    conversation("new", { updatedAt: 3 }),
    conversation("pinned", { updatedAt: 2, isPinned: true }),
  ];

  assert.deepEqual(titles(ordered(list)), ["pinned", "new", "old"]);
  assert.deepEqual(titles(list), ["old", "new", "pinned"]);
});

describe("the filter", () => {
  const list = [
    conversation("Trip to Chiang Mai", { tags: ["Travel"] }),
    conversation("Travel money", { tags: ["work"] }),
    conversation("Bread"),
  ];

  test("finds every word in titles and tags, in any case", () => {
    assert.deepEqual(titles(filtered(list, "TRAVEL")), ["Trip to Chiang Mai", "Travel money"]);
    assert.deepEqual(titles(filtered(list, "travel money")), ["Travel money"]);
  });

  test("finds tags alone after a #", () => {
    assert.deepEqual(titles(filtered(list, "#trav")), ["Trip to Chiang Mai"]);
  });

  test("keeps all when it is empty", () => {
    assert.equal(filtered(list, "  ").length, 3);
  });
});

test("the list has a part for each age, the pinned ones above", () => {
  const list = ordered([
    conversation("a", { updatedAt: NOW }),
    conversation("b", { updatedAt: NOW - DAY_MS }),
    conversation("c", { updatedAt: NOW - 5 * DAY_MS }),
    conversation("d", { updatedAt: NOW - 20 * DAY_MS }),
    conversation("e", { updatedAt: NOW - 400 * DAY_MS }),
    conversation("f", { updatedAt: NOW - 400 * DAY_MS, isPinned: true }),
  ]);

  assert.deepEqual(
    parts(list, NOW).map((part) => [part.title, ...titles(part.conversations)]),
    [
      ["Pinned", "f"],
      ["Today", "a"],
      ["Yesterday", "b"],
      ["Last 7 days", "c"],
      ["Last 30 days", "d"],
      ["Older", "e"],
    ],
  );
});

describe("a conversation's messages", () => {
  const path = "conversations:addMessage";

  test("stand oldest first, each with its write as long as it is unsent", () => {
    const item = write(path, { conversationId: "c", id: "2", role: "user", content: "2" });

    const shown = withUnsent([message("2"), message("1")], [item], "c");

    assert.deepEqual(
      shown.map((each) => [each.message._id, each.unsent]),
      [
        ["1", null],
        ["2", item],
      ],
    );
  });

  test("end with writes that the results do not have, such as failed ones", () => {
    const args = { conversationId: "c", id: "3", role: "user", content: "three" };
    const item = write(path, args, "failed");

    const shown = withUnsent([message("1")], [item], "c");

    assert.deepEqual(shown[1]?.message.content, "three");
    assert.equal(shown[1]?.unsent, item);
  });

  test("do not have those of other conversations", () => {
    const item = write(path, { conversationId: "other", id: "3", role: "user", content: "3" });

    assert.equal(withUnsent([message("1")], [item], "c").length, 1);
  });
});

describe("conversations that are only in the outbox", () => {
  const begun = write("conversations:create", { id: "x", title: "Begun" });

  test("are shown as long as the list is not known", () => {
    assert.deepEqual(titles(withBegun(undefined, [begun])), ["Begun"]);
    assert.deepEqual(withBegun(undefined, []), []);
  });

  test("leave a known list as it is", () => {
    const list = [conversation("known")];

    assert.equal(withBegun(list, [begun]), list);
  });

  test("are not shown when they failed", () => {
    assert.deepEqual(withBegun(undefined, [{ ...begun, state: "failed" }]), []);
  });
});

test("tags are trimmed, without #, and each once", () => {
  assert.deepEqual(cleanTags([" #Work ", "work", "", "##", "home"]), ["work", "home"]);
});
