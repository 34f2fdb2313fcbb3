/**
 * What two-way linking decides for one conversation: which writes bring the server to where the
 * store is, and what the store becomes with what the server has. Pure.
 *
 * Both are measured against a note of what the server has once the outbox is empty. What differs
 * from it on one side is a change of that side; where both changed, the store's stays.
 *
 * @module
 */

/** @import {Account, Json, Value} from "./types.js" */
/** @import {ConversationArgs, MessageArgs} from "./imports.js" */

import { conversationId, messageId, timeOf } from "./imports.js";
import { inBatches } from "./migrate.js";
import { canonicalJson, encodeValue } from "./values.js";

/**
 * @typedef {{title: string, isPinned: boolean, tags: string[], model: string}} Settings
 *
 * @typedef {object} Note what the server has of a conversation
 * @property {Settings} settings
 * @property {Record<string, string>} messages fingerprints, by id
 * @property {boolean} isSeen whether it was in the server's list
 * @property {number | null} takenAt its `updatedAt` when all of it was last taken from the server
 * @property {string[]} [writes] keys of those of which this is what the server has, if it is not seen yet
 *
 * @typedef {object} Local a conversation of the store
 * @property {any} original the store's object
 * @property {ConversationArgs} conversation
 * @property {MessageArgs[]} messages of the same places as those of `original`
 *
 * @typedef {{path: string, args: Record<string, unknown>}} Call
 *
 * @typedef {object} Remote a conversation of the server
 * @property {string} _id
 * @property {string} [originalId]
 * @property {number} createdAt
 * @property {number} updatedAt
 * @property {any[]} [messages] unless it comes from the list
 *
 * @typedef {object} Form how the store keeps things
 * @property {Account} account
 * @property {(ms: number) => unknown} toTime
 */

/** @type {(keyof Settings)[]} */
const SETTINGS = ["title", "isPinned", "tags", "model"];
const CONTENT = /** @type {const} */ (["content", "reasoningText", "citations", "tools"]);
// What an absent one is the same as.
const EMPTY = { content: "", reasoningText: "", citations: [], tools: [] };

/**
 * Returns the writes that bring a conversation of the store to the server, in order, and the note
 * that is right once they are done.
 *
 * @param {Local} local
 * @param {Local | undefined} former what the store had before, if it was open
 * @param {Note | undefined} note
 * @returns {{calls: Call[], note: Note}}
 */
export function callsFor({ conversation, messages }, former, note) {
  const { id } = conversation;
  const known = note?.messages ?? {};
  const settings = settingsOf(conversation);
  const now = Object.fromEntries(messages.map((message) => [message.id, fingerprint(message)]));
  const removed = (former?.messages ?? []).filter((one) => one.id in known && !(one.id in now));
  const added = messages.filter((message) => !(message.id in known));
  const edited = messages.filter((one) => one.id in known && known[one.id] !== now[one.id]);
  const changed = note ? changes(note.settings, settings) : {};
  /** @type {Call[]} */
  const calls = [];
  const call = (/** @type {string} */ path, /** @type {object} */ args) =>
    calls.push({ path, args: { ...args } });
  if (!note) call("conversations:importConversation", conversation);
  for (const batch of inBatches(added)) {
    call("conversations:importMessages", { conversationId: id, messages: batch });
  }
  for (const message of edited) call("messages:edit", editOf(message));
  for (const message of removed) call("messages:remove", { messageId: message.id });
  // Imports leave the time of the last change as it was; this one moves it.
  if (Object.keys(changed).length > 0 || (note && added.length > 0)) {
    call("conversations:update", { conversationId: id, ...changed });
  }
  const kept = { ...known, ...now };
  for (const message of removed) delete kept[message.id];
  return { calls, note: { isSeen: false, takenAt: null, ...note, settings, messages: kept } };
}

/**
 * Returns whether the store has something that the note does not know.
 *
 * @param {Local} local
 * @param {Note} note
 */
export const isUnsent = (local, note) => callsFor(local, undefined, note).calls.length > 0;

/**
 * Returns a conversation as the store is to have it with what the server has, the same object if
 * nothing is different; and the new note.
 *
 * @param {Remote} remote
 * @param {Local | undefined} local
 * @param {Note | undefined} note
 * @param {Form} form
 * @returns {{original: any, note: Note}}
 */
export function take(remote, local, note, form) {
  const rows = remote.messages;
  /** @type {Note} */
  const taken = {
    settings: settingsOf(remote),
    messages: rows ? fingerprints(rows) : (note?.messages ?? {}),
    isSeen: true,
    takenAt: rows ? remote.updatedAt : (note?.takenAt ?? null),
  };
  const known = isOlder(remote, local, note) ? taken : note;
  /** @type {Record<string, unknown>} */
  const next = {
    ...takeSettings(remote, local, known),
    ...(rows && takeMessages(rows, local, known, { ...form, conversation: remote._id })),
  };
  const original = local?.original ?? emptyOf(remote, form);
  if (timeOf(original.updatedAt) !== remote.updatedAt) {
    next.updatedAt = form.toTime(remote.updatedAt);
  }
  return {
    original: Object.keys(next).length > 0 ? { ...original, ...next } : original,
    note: taken,
  };
}

/**
 * Returns whether the server had a conversation before the store was linked, as it was before it
 * was last changed in the store: an import leaves what is there as it is.
 *
 * @param {Remote} remote
 * @param {Local | undefined} local
 * @param {Note | undefined} note
 */
const isOlder = (remote, local, note) =>
  !note?.isSeen && (local?.conversation.updatedAt ?? 0) > remote.updatedAt;

/**
 * @param {Remote} remote
 * @param {Local | undefined} local
 * @param {Note | undefined} note
 * @returns {Record<string, unknown>} what becomes different
 */
function takeSettings(remote, local, note) {
  const theirs = settingsOf(remote);
  if (!local) return { ...theirs, model: theirs.model || undefined };
  const ours = settingsOf(local.conversation);
  const own = note ? changes(note.settings, ours) : {};
  const other = Object.entries(changes(ours, theirs)).filter(([name]) => !(name in own));
  return Object.fromEntries(other);
}

/**
 * @param {any[]} rows of the server
 * @param {Local | undefined} local
 * @param {Note | undefined} note
 * @param {Form & {conversation: string}} form
 * @returns {{messages?: any[]}} nothing if they stay as they are
 */
function takeMessages(rows, local, note, form) {
  const remote = new Map(rows.map((row) => [row._id, row]));
  const known = note?.messages ?? {};
  const before = local?.messages ?? [];
  const messages = before.flatMap((message, index) => {
    const original = local?.original.messages[index];
    const row = remote.get(message.id);
    const noted = known[message.id];
    const isOwn = noted !== undefined && noted !== fingerprint(message);
    // Gone from the server, where it was once.
    if (!row && noted !== undefined && !isOwn) return [];
    const isOther = row && !isOwn && fingerprint(row) !== fingerprint(message);
    const taken = isOther ? { ...original, ...contentOf(row) } : original;
    return [{ at: message.timestamp, original: taken }];
  });
  for (const { id } of before) remote.delete(id);
  for (const row of remote.values()) {
    messages.push({ at: row.timestamp, original: messageFrom(row, form) });
  }
  if (remote.size > 0) messages.sort((a, b) => a.at - b.at);
  const originals = messages.map(({ original }) => original);
  const former = local?.original.messages ?? [];
  const isSame =
    originals.length === former.length && originals.every((one, at) => one === former[at]);
  return isSame ? {} : { messages: originals };
}

/** @param {Remote} remote @param {Form} form */
function emptyOf({ _id, originalId, createdAt }, { account, toTime }) {
  const isOurs = originalId && conversationId(account, createdAt, originalId) === _id;
  return { id: isOurs ? originalId : _id, createdAt: toTime(createdAt), messages: [] };
}

/** @param {any} row @param {Form & {conversation: string}} form */
function messageFrom(row, { account, conversation, toTime }) {
  const { _id, originalId, role, timestamp } = row;
  const isOurs = originalId && messageId(account, conversation, timestamp, originalId) === _id;
  const id = isOurs ? originalId : _id;
  return { id, role, timestamp: toTime(timestamp), ...contentOf(row) };
}

// As the wire's JSON: a store that is kept as JSON throws at a bigint.
/** @param {any} row */
const contentOf = (row) =>
  Object.fromEntries(
    CONTENT.filter((name) => name in row).map((name) => [name, encodeValue(row[name])]),
  );

/** @param {MessageArgs} message */
const editOf = ({ id, ...message }) => ({
  messageId: id,
  ...Object.fromEntries(CONTENT.map((name) => [name, message[name] ?? EMPTY[name]])),
});

/** @param {any[]} rows of the server */
const fingerprints = (rows) => Object.fromEntries(rows.map((row) => [row._id, fingerprint(row)]));

/** @type {WeakMap<object, string>} */
const known = new WeakMap();

/**
 * Returns a short text that is equal for equal content, and hardly ever for other.
 *
 * @param {any} message of either side
 * @returns {string}
 */
function fingerprint(message) {
  const before = known.get(message);
  if (before !== undefined) return before;
  const text = textOf(CONTENT.map((name) => message[name] ?? EMPTY[name]));
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  const found = `${text.length.toString(36)}.${(hash >>> 0).toString(36)}`;
  known.set(message, found);
  return found;
}

/**
 * @param {any} conversation of either side
 * @returns {Settings}
 */
const settingsOf = ({ title, isPinned, tags, model = "" }) => ({ title, isPinned, tags, model });

/**
 * @param {Settings} from
 * @param {Settings} to
 * @returns {Partial<Settings>}
 */
const changes = (from, to) =>
  Object.fromEntries(
    SETTINGS.filter((name) => !isSame(from[name], to[name])).map((name) => [name, to[name]]),
  );

/** @param {unknown} a @param {unknown} b */
const isSame = (a, b) => textOf(a) === textOf(b);

// Databases keep the keys of objects in an order of their own.
/** @param {unknown} value */
const textOf = (value) =>
  canonicalJson(/** @type {Json} */ (encodeValue(/** @type {Value} */ (value))));
