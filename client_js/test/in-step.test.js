import assert from "node:assert/strict";
import { test } from "node:test";
import { readConversations } from "../src/imports.js";
import { callsFor, isUnsent, take } from "../src/in-step.js";

/** @import {Local, Remote} from "../src/in-step.js" */

const FORM = { account: "alice", toTime: (/** @type {number} */ ms) => ms };

/** @param {string} id @param {object} [fields] */
const message = (id, fields) => ({ id, role: "user", content: id, timestamp: 1e12, ...fields });

/**
 * @param {unknown[]} messages
 * @param {object} [fields]
 * @returns {Local}
 */
function localOf(messages, fields) {
  const times = { createdAt: 1e12, updatedAt: 2e12 };
  const original = {
    id: "c",
    title: "T",
    isPinned: false,
    tags: [],
    ...times,
    messages,
    ...fields,
  };
  const [found] = readConversations([original], "alice");
  if (!found?.conversation) throw new Error("no conversation");
  return { original, conversation: found.conversation, messages: found.messages };
}

/** What the server has when it has all of it. @param {Local} local @returns {Remote} */
const remoteOf = ({ conversation: { id, ...rest }, messages }) => ({
  ...rest,
  _id: id,
  messages: messages.map(({ id, ...fields }) => ({ ...fields, _id: id })),
});

/** @param {Local} local @param {Local} [former] */
const pathsOf = (local, former) => {
  const note = former && callsFor(former, undefined, undefined).note;
  return callsFor(local, former, note).calls.map(({ path }) => path);
};

test("a new conversation is imported with its messages, and nothing more", () => {
  assert.deepEqual(pathsOf(localOf([message("a")])), [
    "conversations:importConversation",
    "conversations:importMessages",
  ]);
  assert.deepEqual(pathsOf(localOf([])), ["conversations:importConversation"]);
});

test("only what differs from the note is written", () => {
  const before = localOf([message("a"), message("b")]);
  const edited = localOf([message("a", { content: "x" }), message("b")], { title: "U" });

  assert.deepEqual(pathsOf(before, before), []);
  const { calls } = callsFor(edited, before, callsFor(before, undefined, undefined).note);
  assert.deepEqual(calls, [
    {
      path: "messages:edit",
      args: {
        messageId: before.messages[0]?.id,
        content: "x",
        reasoningText: "",
        citations: [],
        tools: [],
      },
    },
    {
      path: "conversations:update",
      args: { conversationId: before.conversation.id, title: "U" },
    },
  ]);
});

test("a new message moves the conversation, a time that changed alone does not", () => {
  const before = localOf([message("a")]);

  assert.deepEqual(pathsOf(localOf([message("a"), message("b")]), before), [
    "conversations:importMessages",
    "conversations:update",
  ]);
  assert.deepEqual(pathsOf(localOf([message("a")], { updatedAt: 3e12 }), before), []);
});

test("a message is removed only if it was seen to go", () => {
  const before = localOf([message("a"), message("b")]);
  const after = localOf([message("b")]);
  const { note } = callsFor(before, undefined, undefined);

  assert.deepEqual(pathsOf(after, before), ["messages:remove"]);
  assert.deepEqual(callsFor(after, undefined, note).calls, []);
});

test("the note that comes with the writes is what makes a repeat empty", () => {
  const before = localOf([message("a"), message("b")]);
  const after = localOf([message("b", { content: "x" }), message("c")], { tags: ["t"] });
  const { note } = callsFor(after, before, callsFor(before, undefined, undefined).note);

  assert.deepEqual(callsFor(after, after, note).calls, []);
  assert.equal(isUnsent(after, note), false);
  assert.equal(isUnsent(before, note), true);
});

test("what the server has as the store does is no change, in whatever order its keys are", () => {
  const local = localOf([message("a", { tools: [{ name: "t", args: { b: 1, a: 2 } }] })]);
  const { note } = callsFor(local, undefined, undefined);
  const remote = remoteOf(local);
  remote.messages?.forEach((row) => {
    row.tools = [{ args: { a: 2, b: 1 }, name: "t" }];
  });

  const taken = take(remote, local, note, FORM);

  assert.equal(taken.original, local.original);
  assert.deepEqual(taken.note, { ...note, isSeen: true, takenAt: 2e12 });
});

test("what the server changed is taken, what the store changed stays", () => {
  const noted = localOf([message("a"), message("b")]);
  const { note } = callsFor(noted, undefined, undefined);
  const local = localOf([message("a", { content: "ours" }), message("b")], { title: "ours" });
  const changed = [message("a", { content: "theirs" }), message("b", { content: "theirs" })];
  const remote = remoteOf(localOf(changed, { title: "theirs", isPinned: true }));

  const { original } = take(remote, local, note, FORM);

  assert.deepEqual([original.title, original.isPinned], ["ours", true]);
  assert.deepEqual(
    original.messages.map((/** @type {any} */ one) => one.content),
    ["ours", "theirs"],
  );
});

test("messages that others added come in by time, those they removed go, unsent ones stay", () => {
  const noted = localOf([message("gone"), message("kept", { timestamp: 3e12 })]);
  const { note } = callsFor(noted, undefined, undefined);
  const kept = message("kept", { timestamp: 3e12 });
  const local = localOf([message("gone"), kept, message("unsent", { timestamp: 4e12 })]);
  const remote = remoteOf(localOf([message("added", { timestamp: 2e12 }), kept]));

  const { original } = take(remote, local, note, FORM);

  assert.deepEqual(
    original.messages.map((/** @type {any} */ one) => one.id),
    ["added", "kept", "unsent"],
  );
});

test("a conversation of another device has the id it has there, or that of the server", () => {
  const local = localOf([message("a")]);

  const { original } = take(remoteOf(local), undefined, undefined, FORM);
  const bobs = take(remoteOf(local), undefined, undefined, { ...FORM, account: "bob" }).original;

  assert.deepEqual([original.id, original.messages[0].id], ["c", "a"]);
  assert.deepEqual([bobs.id, bobs.messages[0].id], [local.conversation.id, local.messages[0]?.id]);
  assert.deepEqual(pathsOf(localOf([message("a")]), localOf(original.messages)), []);
});

test("of a conversation that is known from the list only, the messages stay", () => {
  const local = localOf([message("a")]);
  const { note } = callsFor(local, undefined, undefined);
  const { messages: _, ...listed } = remoteOf(localOf([], { title: "U" }));

  const taken = take(listed, local, note, FORM);

  assert.deepEqual([taken.original.title, taken.original.messages], ["U", local.original.messages]);
  assert.deepEqual([taken.note.messages, taken.note.takenAt], [note.messages, null]);
});
