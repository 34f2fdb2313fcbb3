/**
 * Conversations as the seed's store keeps them (SEED.md), read into what the server takes.
 *
 * Every id follows from the account and the original, so the same data gives the same rows on every
 * device and in every attempt. What the wire cannot carry is written down in another form or, if
 * something is lost by it, reported: nothing here throws because of one odd field.
 *
 * @module
 */

/** @import {Account, Value} from "./types.js" */

import { idFrom } from "./ids.js";
import { decodeValue, encodeValue } from "./values.js";

/**
 * @typedef {object} ConversationArgs what `conversations:importConversation` takes
 * @property {string} id
 * @property {string} [originalId]
 * @property {string} title
 * @property {string} [model]
 * @property {boolean} isPinned
 * @property {string[]} tags
 * @property {number} createdAt ms since the epoch
 * @property {number} updatedAt ms since the epoch
 *
 * @typedef {object} MessageArgs an element of what `conversations:importMessages` takes
 * @property {string} id
 * @property {string} [originalId]
 * @property {"user" | "assistant" | "system"} role
 * @property {string} content
 * @property {number} timestamp ms since the epoch
 * @property {{title: string, url: string, snippet?: string}[]} [citations]
 * @property {string} [reasoningText]
 * @property {{name: string, args: Value, result?: Value}[]} [tools]
 *
 * @typedef {object} Problem something that is not on the server as it was here
 * @property {string} conversation its original id, or its place in the list
 * @property {string} field such as `messages[3].role`; empty if it is the whole conversation
 * @property {string} reason
 *
 * @typedef {object} Import
 * @property {ConversationArgs | null} conversation null if it is none: the problems say why
 * @property {MessageArgs[]} messages in order
 * @property {Problem[]} problems
 *
 * @typedef {Record<string, unknown>} Fields
 * @typedef {(field: string, reason: string) => void} Report
 */

/** @type {Map<unknown, MessageArgs["role"]>} */
const ROLES = new Map([
  ["user", "user"],
  ["assistant", "assistant"],
  ["system", "system"],
  // What AI libraries call the same.
  ["human", "user"],
  ["ai", "assistant"],
  ["bot", "assistant"],
  ["developer", "system"],
]);

const KNOWN = {
  conversation: "id title messages createdAt updatedAt isPinned tags model".split(" "),
  message: "id role content timestamp createdAt citations reasoningText tools".split(" "),
  citation: ["title", "url", "snippet"],
  tool: ["name", "args", "result"],
};
const UUID7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const UNREADABLE = /\p{Surrogate}|\0/gu;
const LOST_FIELD = "the server has no place for it";

/**
 * Returns the id on the server of a conversation that is called `originalId` here.
 *
 * @param {Account} account
 * @param {number} createdAt ms since the epoch
 * @param {string} originalId
 */
export const conversationId = (account, createdAt, originalId) =>
  idFrom(createdAt, `${account}\nconversation\n${originalId}`);

/**
 * Returns the id on the server of a message that is called `originalId` here.
 *
 * @param {Account} account
 * @param {string} conversation its id on the server
 * @param {number} timestamp ms since the epoch
 * @param {string} originalId
 */
export const messageId = (account, conversation, timestamp, originalId) =>
  idFrom(timestamp, `${account}\n${conversation}\nmessage\n${originalId}`);

/**
 * Reads a list of conversations.
 *
 * @param {unknown[]} found
 * @param {Account} account
 * @returns {Import[]} one for each
 */
export function readConversations(found, account) {
  const places = distinct();
  return found.map((one, index) => readConversation(one, account, index, places));
}

/**
 * @param {unknown} found
 * @param {Account} account
 * @param {number} index
 * @param {(key: string) => string} place
 * @returns {Import}
 */
function readConversation(found, account, index, place) {
  /** @type {Problem[]} */
  const problems = [];
  if (!isFields(found)) {
    const reason = `expected a conversation, found ${describe(found)}`;
    return {
      conversation: null,
      messages: [],
      problems: [{ conversation: `[${index}]`, field: "", reason }],
    };
  }
  const originalId = idOf(found);
  const name = originalId ?? `[${index}]`;
  /** @type {Report} */
  const report = (field, reason) => problems.push({ conversation: name, field, reason });
  const rows = listOf(found.messages, "messages", report);
  const first = rows.map((row) => timeOf(isFields(row) ? row.timestamp : null)).find(isKnown);
  // What moves comes last: another time would make another row of it.
  const createdAt = [timeOf(found.createdAt), timeInId(originalId), first, timeOf(found.updatedAt)];
  const created = createdAt.find(isKnown) ?? 0;
  // Without an id, the whole of it is its name.
  const key = place(originalId ?? JSON.stringify(found));
  const id = UUID7.test(key) ? key : conversationId(account, created, key);
  reportOthers(found, KNOWN.conversation, "", report);
  return {
    conversation: {
      id,
      ...(originalId && originalId !== id && { originalId: textOf(originalId, "id", report) }),
      title: isGiven(found.title) ? textOf(found.title, "title", report) : "New Conversation",
      ...(isGiven(found.model) && { model: textOf(found.model, "model", report) }),
      isPinned: Boolean(found.isPinned),
      tags: listOf(found.tags, "tags", report).map((tag) => textOf(tag, "tags", report)),
      createdAt: created,
      updatedAt: timeOf(found.updatedAt) ?? created,
    },
    messages: readMessages(rows, { account, id, created }, report),
    problems,
  };
}

/**
 * @param {unknown[]} rows
 * @param {{account: Account, id: string, created: number}} conversation
 * @param {Report} report
 */
function readMessages(rows, { account, id, created }, report) {
  const place = distinct();
  let last = created;
  return rows.map((row, index) => {
    const path = `messages[${index}]`;
    const fields = isFields(row) ? row : { content: row };
    if (!isFields(row)) report(path, `expected a message, found ${describe(row)}`);
    const originalId = idOf(fields);
    // One without a time was written after the one before it.
    last = timeOf(fields.timestamp) ?? timeOf(fields.createdAt) ?? last;
    const key = place(originalId ?? `#${index}`);
    const isOwn = UUID7.test(key);
    return readMessage(fields, path, report, {
      id: isOwn ? key : messageId(account, id, last, key),
      ...(originalId && !isOwn && { originalId: textOf(originalId, `${path}.id`, report) }),
      timestamp: last,
    });
  });
}

/**
 * @param {Fields} fields
 * @param {string} path
 * @param {Report} report
 * @param {Pick<MessageArgs, "id" | "originalId" | "timestamp">} named
 * @returns {MessageArgs}
 */
function readMessage(fields, path, report, named) {
  const at = (/** @type {string} */ name) => `${path}.${name}`;
  const role = ROLES.get(fields.role);
  if (!role) report(at("role"), `${describe(fields.role)} became "assistant"`);
  const { citations, reasoningText, tools } = fields;
  reportOthers(fields, KNOWN.message, `${path}.`, report);
  return {
    ...named,
    role: role ?? "assistant",
    content: isGiven(fields.content) ? textOf(fields.content, at("content"), report) : "",
    ...(isGiven(citations) && {
      citations: listOf(citations, at("citations"), report).map((one, index) =>
        readCitation(one, `${at("citations")}[${index}]`, report),
      ),
    }),
    ...(isGiven(reasoningText) && {
      reasoningText: textOf(reasoningText, at("reasoningText"), report),
    }),
    ...(isGiven(tools) && {
      tools: listOf(tools, at("tools"), report).map((one, index) =>
        readTool(one, `${at("tools")}[${index}]`, report),
      ),
    }),
  };
}

/**
 * @param {unknown} found
 * @param {string} path
 * @param {Report} report
 */
function readCitation(found, path, report) {
  const fields = isFields(found) ? found : { title: found, url: found };
  reportOthers(fields, KNOWN.citation, `${path}.`, report);
  const { url = "", title = url, snippet } = fields;
  return {
    title: textOf(title, `${path}.title`, report),
    url: textOf(url, `${path}.url`, report),
    ...(isGiven(snippet) && { snippet: textOf(snippet, `${path}.snippet`, report) }),
  };
}

/**
 * @param {unknown} found
 * @param {string} path
 * @param {Report} report
 */
function readTool(found, path, report) {
  const fields = isFields(found) ? found : { args: found };
  reportOthers(fields, KNOWN.tool, `${path}.`, report);
  const { name = "", args = {}, result } = fields;
  return {
    name: textOf(name, `${path}.name`, report),
    args: portable(args),
    ...(result !== undefined && { result: portable(result) }),
  };
}

/**
 * Returns a value as it is if the wire and the database can carry it; what the wire's JSON stands
 * for, which is how a link keeps what other JSON cannot say; else its JSON text. That is so for keys
 * like `$ref` or `größe`, for halves of characters, and for more than 50 levels.
 *
 * @param {unknown} value
 * @returns {Value}
 */
function portable(value) {
  const text = JSON.stringify(value, (_, one) => (typeof one === "bigint" ? `${one}` : one));
  if (!text?.includes("\\u0000")) {
    for (const read of [carried, () => decoded(text)]) {
      try {
        return read(value);
      } catch {
        // The wire refuses it.
      }
    }
  }
  return text ?? null;
}

/** @param {unknown} value */
function carried(value) {
  // It will be within a message, a list, a page of messages and the like.
  encodeValue(/** @type {Value} */ ([[[[[[[[value]]]]]]]]));
  return /** @type {Value} */ (value);
}

/** @param {string} text */
const decoded = (text) => carried(decodeValue(JSON.parse(text)));

/**
 * Returns a text that can be stored: of a list of texts in parts, all of them; of what is no text,
 * its JSON.
 *
 * @param {unknown} value
 * @param {string} field
 * @param {Report} report
 */
function textOf(value, field, report) {
  const parts = (Array.isArray(value) ? value : [value]).map((part) =>
    isFields(part) && part.type === "text" ? part.text : part,
  );
  const isText = parts.every((part) => typeof part === "string");
  const text = isText ? parts.join("") : JSON.stringify(value);
  if (!isText) report(field, `expected a text, found ${describe(value)}: its JSON was taken`);
  const clean = text.replace(UNREADABLE, "\ufffd");
  if (clean !== text) report(field, "characters that no text can hold became \ufffd");
  return clean;
}

/**
 * Reads a time however it was kept: ms, a date, ISO text, or what revivers write such as
 * `{"__type": "Date", "value": …}`.
 *
 * @param {unknown} value
 * @returns {number | null} ms since the epoch
 */
export function timeOf(value) {
  if (isFields(value) && !(value instanceof Date)) {
    return Object.values(value).map(timeOf).find(isKnown) ?? null;
  }
  if (typeof value === "string" && /^\d{9,}$/.test(value)) return timeOf(Number(value));
  const isTime = value instanceof Date || typeof value === "number" || typeof value === "string";
  const ms = isTime ? new Date(value).getTime() : Number.NaN;
  // Ids hold no time before 1970 nor after the year 10889.
  return ms >= 0 && ms < 2 ** 48 ? ms : null;
}

/** `conv-1736423145000-x7k2` tells when it was made. @param {string | undefined} id */
const timeInId = (id) => timeOf(/^\D*(\d{12,14})(?!\d)/.exec(id ?? "")?.[1]);

/**
 * @param {unknown} value
 * @param {string} field
 * @param {Report} report
 * @returns {unknown[]}
 */
function listOf(value, field, report) {
  if (Array.isArray(value)) return value;
  if (isGiven(value)) report(field, `expected a list, found ${describe(value)}`);
  return [];
}

/**
 * @param {Fields} fields
 * @param {string[]} known
 * @param {string} path
 * @param {Report} report
 */
function reportOthers(fields, known, path, report) {
  for (const [name, value] of Object.entries(fields)) {
    if (!known.includes(name) && isGiven(value)) report(path + name, LOST_FIELD);
  }
}

/** Tells equal keys apart, in the order in which they come. */
function distinct() {
  /** @type {Map<string, number>} */
  const seen = new Map();
  return (/** @type {string} */ key) => {
    const count = seen.get(key) ?? 0;
    seen.set(key, count + 1);
    return count === 0 ? key : `${key}#${count}`;
  };
}

/** @param {Fields} fields */
function idOf({ id }) {
  return (typeof id === "string" && id !== "") || typeof id === "number" ? String(id) : undefined;
}

/** @param {unknown} value @returns {value is Fields} */
const isFields = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** @param {unknown} value */
const isGiven = (value) => value !== undefined && value !== null;

/** @param {number | null | undefined} value @returns {value is number} */
const isKnown = (value) => typeof value === "number";

/** @param {unknown} value */
const describe = (value) => (JSON.stringify(value) ?? String(value)).slice(0, 60);
