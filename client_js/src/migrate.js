/**
 * Brings conversations that an app kept in localStorage to the server, once.
 *
 *     await migrateLocalStorage(client, { key: "siam-conversations" });
 *
 * It may break off anywhere, run again, and run on several devices and in several tabs: ids follow
 * from the data, and what is on the server already stays as it is there. What was brought over is
 * noted beside the data, so that a conversation which somebody deletes later does not come back.
 *
 * @module
 */

/** @import {Account, ConnectionState, Value} from "./types.js" */
/** @import {Import, MessageArgs, Problem} from "./imports.js" */

import { AppError, ParleyError } from "./errors.js";
import { readConversations } from "./imports.js";

/**
 * What is used of a client.
 * @typedef {object} Writer
 * @property {(ref: string, args: any) => Promise<unknown> & {key: string, stored: Promise<void>, discard: () => Promise<unknown>}} mutation
 * @property {() => Pick<ConnectionState, "account">} connectionState
 */

/**
 * @typedef {object} Progress
 * @property {number} done conversations, those that had been brought over before included
 * @property {number} total conversations
 * @property {Problem[]} problems what is not on the server as it is here
 */

/** @typedef {Pick<Storage, "getItem" | "setItem" | "removeItem">} KeyStore */

const NOTHING = { conversations: [], isKnown: false };

// What the server takes in one call, and what keeps a call small enough to be sent beside others.
const MAX_MESSAGES = 100;
const MAX_CHARS = 200_000;

/**
 * Brings the conversations over that zustand's `persist` keeps under `key`. Resolves when the
 * server has them; offline that may take until another day, or another call.
 *
 * @param {Writer} client signed in
 * @param {object} [options]
 * @param {string} [options.key]
 * @param {KeyStore} [options.storage]
 * @param {boolean} [options.removeLocal] take the conversations out of `key` when the server has all of them, without any problem; other state under `key` stays
 * @param {(progress: Progress) => void} [options.onProgress] called before the first and after each conversation
 * @returns {Promise<Progress & {isRemoved: boolean}>}
 * @throws {ParleyError} "SignedOut"; "BadLocalData": what is under `key` is not understood; "AccountChanged" on the way. All of it stays as it is, and may be tried again.
 */
export async function migrateLocalStorage(
  client,
  { key = "siam-conversations", storage = localStorage, removeLocal = false, onProgress } = {},
) {
  const account = accountOf(client);
  const text = storage.getItem(key);
  const found = text === null ? NOTHING : parseKept(text);
  const imports = readConversations(found.conversations, account);
  const notesKey = `${key}:migrated:${account}`;
  const notes = readNotes(storage, notesKey);
  const progress = { done: 0, total: imports.length, problems: /** @type {Problem[]} */ ([]) };
  onProgress?.({ ...progress });
  for (const one of imports) {
    const signature = signatureOf(one);
    const id = one.conversation?.id ?? "";
    const isKnown = notes.get(id) === signature;
    const refused = isKnown ? [] : await bring(client, account, one);
    // What the server refused is tried again by the next run.
    if (!isKnown && refused.length === 0) notes.set(id, signature);
    writeNotes(storage, notesKey, notes);
    progress.done += 1;
    progress.problems = [...progress.problems, ...one.problems, ...refused];
    onProgress?.({ ...progress });
  }
  // What was written meanwhile has not been brought over.
  const isSame = text !== null && storage.getItem(key) === text;
  const isRemoved = removeLocal && isSame && found.isKnown && progress.problems.length === 0;
  if (isRemoved) removeKept(storage, key, text);
  return { ...progress, isRemoved };
}

/**
 * Sends a conversation and its messages, and resolves when the server has them.
 *
 * @param {Writer} client
 * @param {Account} account
 * @param {Import} found
 * @returns {Promise<Problem[]>} what the server refused
 */
async function bring(client, account, { conversation, messages }) {
  if (!conversation) return [];
  const name = conversation.originalId ?? conversation.id;
  const refused = await send(client, account, "conversations:importConversation", conversation);
  if (refused) return [{ conversation: name, field: "", reason: refused }];
  const found = [];
  for (const batch of inBatches(messages)) {
    for (const [message, reason] of await sendMessages(client, account, conversation.id, batch)) {
      const field = `messages[${messages.indexOf(message)}]`;
      found.push({ conversation: name, field, reason });
    }
  }
  return found;
}

/**
 * Sends messages in one call; if the server refuses it, in ever smaller ones, to find the bad one.
 *
 * @param {Writer} client
 * @param {Account} account
 * @param {string} conversationId
 * @param {MessageArgs[]} messages
 * @returns {Promise<[MessageArgs, string][]>} what was refused, and why
 */
async function sendMessages(client, account, conversationId, messages) {
  const args = { conversationId, messages };
  const refused = await send(client, account, "conversations:importMessages", args);
  const [first] = messages;
  if (!refused || !first) return [];
  if (messages.length === 1) return [[first, refused]];
  const half = Math.ceil(messages.length / 2);
  return [
    ...(await sendMessages(client, account, conversationId, messages.slice(0, half))),
    ...(await sendMessages(client, account, conversationId, messages.slice(half))),
  ];
}

/**
 * @param {Writer} client
 * @param {Account} account
 * @param {string} path
 * @param {object} args
 * @returns {Promise<string | null>} why the server refused it
 */
async function send(client, account, path, args) {
  if (accountOf(client) !== account) {
    throw new ParleyError("AccountChanged", "Somebody else has signed in: migrate again for them");
  }
  const write = client.mutation(path, args);
  try {
    await write;
    return null;
  } catch (error) {
    if (!isRefusal(error)) throw error;
    // It is reported; nobody can do anything about it in the outbox.
    await write.discard();
    return error.message;
  }
}

/** Whether the call itself was at fault. @param {unknown} error @returns {error is Error} */
export const isRefusal = (error) =>
  error instanceof AppError ||
  (error instanceof ParleyError && ["FunctionFailed", "InvalidValue"].includes(error.code));

/**
 * Cuts messages into what one call takes.
 *
 * @param {MessageArgs[]} messages
 */
export function inBatches(messages) {
  /** @type {MessageArgs[][]} */
  const batches = [];
  let room = 0;
  for (const message of messages) {
    const size = JSON.stringify(message, (_, value) =>
      typeof value === "bigint" ? `${value}` : value,
    ).length;
    const batch = batches.at(-1);
    if (!batch || batch.length === MAX_MESSAGES || size > room) {
      batches.push([message]);
      room = MAX_CHARS - size;
    } else {
      batch.push(message);
      room -= size;
    }
  }
  return batches;
}

/**
 * @param {Pick<Writer, "connectionState">} client
 * @returns {Account}
 */
export function accountOf(client) {
  const { account } = client.connectionState();
  if (account === null || account === "anonymous" || account === "guest") {
    throw new ParleyError("SignedOut", "Sign in first: conversations belong to somebody");
  }
  return account;
}

/**
 * Finds the conversations in what an app keeps: `{state: {conversations}, version}` of zustand's
 * `persist`, or that without its wrapping; a list, or an object by id.
 *
 * @param {string} text
 * @returns {{root: any, holder: Record<string, unknown> | null, conversations: unknown[], isKnown: boolean}}
 *   `isKnown`: there is a place for conversations in it, also if that is empty
 */
function parseKept(text) {
  let root;
  try {
    root = JSON.parse(text);
  } catch {
    throw new ParleyError("BadLocalData", "The local conversations are no JSON text");
  }
  const holder = [root?.state, root?.json?.state, root?.json, root].find((at) => at?.conversations);
  const found = holder?.conversations ?? (Array.isArray(root) ? root : []);
  // Of an object by id the key may be all there is of the id.
  const conversations = Array.isArray(found)
    ? found
    : Object.entries(found).map(([id, one]) => (one instanceof Object ? { id, ...one } : one));
  return {
    root,
    holder: holder ?? null,
    conversations,
    isKnown: Boolean(holder) || Array.isArray(root),
  };
}

/**
 * @param {KeyStore} storage
 * @param {string} key
 * @param {string} text
 */
function removeKept(storage, key, text) {
  const { root, holder } = parseKept(text);
  const isAlone = !holder || Object.keys(holder).every((name) => name === "conversations");
  if (isAlone) return storage.removeItem(key);
  holder.conversations = Array.isArray(holder.conversations) ? [] : {};
  storage.setItem(key, JSON.stringify(root));
}

// Changes when the conversation has grown or was changed: it is then brought over again.
/** @param {Import} found */
const signatureOf = ({ conversation, messages }) =>
  [conversation?.updatedAt, messages.length, messages.at(-1)?.content.length].join(" ");

/**
 * @param {KeyStore} storage
 * @param {string} key
 * @returns {Map<string, string>}
 */
function readNotes(storage, key) {
  try {
    return new Map(Object.entries(JSON.parse(storage.getItem(key) ?? "{}")));
  } catch {
    return new Map();
  }
}

/**
 * @param {KeyStore} storage
 * @param {string} key
 * @param {Map<string, string>} notes
 */
function writeNotes(storage, key, notes) {
  try {
    storage.setItem(key, JSON.stringify(Object.fromEntries(notes)));
  } catch {
    // There is no room, which is why people migrate. Without notes the next run does it all again.
  }
}
