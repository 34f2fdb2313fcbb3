/**
 * What the chat's mutations will do to its queries: shown at once, and all there is for a guest.
 *
 *     createClient(url, { optimisticUpdates: chatOptimisticUpdates, localResults: chatLocalResults })
 *
 * Layers are run again and again, also after a reload, so all that is shown follows from the
 * arguments: a new row's time is in its id. A conversation or message without an id of the
 * client's own (`newId()`) shows when the server has it.
 *
 * @module
 */

import { anyApi } from "./api.js";

/** @import { LocalStore, OptimisticUpdate } from "./types.js" */

/**
 * @typedef {object} Message
 * @property {string} _id
 * @property {number} _creationTime
 * @property {string} conversationId
 * @property {"user" | "assistant" | "system"} role
 * @property {string} content
 * @property {number} timestamp ms since the epoch
 */

/**
 * @typedef {object} Conversation
 * @property {string} _id
 * @property {number} _creationTime
 * @property {string} userId
 * @property {string} title
 * @property {boolean} isPinned
 * @property {string[]} tags
 * @property {string} [model]
 * @property {number} createdAt ms since the epoch
 * @property {number} updatedAt ms since the epoch
 */

/** @typedef {{_id: string} | null | undefined} User */
/** @typedef {Conversation & {messages: Message[]}} Opened */

const { conversations, messages, users } = anyApi;

const NO_PAGE = { page: [], isDone: true, continueCursor: "" };

/**
 * What a guest's queries give before the guest has written anything, by path.
 *
 * @type {Record<string, () => unknown>}
 */
export const chatLocalResults = {
  "conversations:list": () => [],
  "conversations:listPage": () => NO_PAGE,
  "conversations:get": () => null,
  "messages:list": () => NO_PAGE,
  "users:me": () => null,
};

/**
 * The optimistic updates of the chat's mutations, by path.
 *
 * @type {Record<string, OptimisticUpdate>}
 */
export const chatOptimisticUpdates = {
  "conversations:create": create,
  "conversations:addMessage": addMessage,
  "conversations:update": update,
  "conversations:remove": remove,
};

/**
 * @param {LocalStore} store
 * @param {{id?: string, title?: string, model?: string}} args
 */
function create(store, { id, title, model }) {
  if (!id) return;
  const time = timeOf(id);
  const user = /** @type {User} */ (store.getQuery(users.me, {}));
  /** @type {Conversation} */
  const conversation = {
    _id: id,
    _creationTime: time,
    userId: user?._id ?? "",
    title: title ?? "New Conversation",
    isPinned: false,
    tags: [],
    ...given({ model }),
    createdAt: time,
    updatedAt: time,
  };
  // What is there already came from the server, and may have more in it.
  if (!open(store, id)) {
    store.setQuery(conversations.get, { conversationId: id }, { ...conversation, messages: [] });
  }
  if (!has(listed(store) ?? [], id)) toFront(store, id, conversation);
  for (const { args, value } of pagesOf(store, id)) {
    if (!value) store.setQuery(messages.list, args, NO_PAGE);
  }
}

/**
 * @param {LocalStore} store
 * @param {{conversationId: string, id?: string, role: Message["role"], content: string,
 *   citations?: unknown, reasoningText?: string, tools?: unknown}} args
 */
function addMessage(store, { conversationId, id, role, content, citations, reasoningText, tools }) {
  change(store, conversationId, {}, id ? timeOf(id) : 0);
  if (!id) return;
  const time = timeOf(id);
  /** @type {Message} */
  const message = {
    _id: id,
    _creationTime: time,
    conversationId,
    role,
    content,
    timestamp: time,
    ...given({ citations, reasoningText, tools }),
  };
  const opened = open(store, conversationId);
  if (opened && !has(opened.messages, id)) {
    const all = [...opened.messages, message];
    store.setQuery(conversations.get, { conversationId }, { ...opened, messages: all });
  }
  for (const { args, value } of pagesOf(store, conversationId)) {
    // The newest messages are on the page that begins without a cursor.
    if (args.paginationOpts.cursor !== null || !value || has(value.page, id)) continue;
    store.setQuery(messages.list, args, { ...value, page: [message, ...value.page] });
  }
}

/**
 * @param {LocalStore} store
 * @param {{conversationId: string, title?: string, isPinned?: boolean, tags?: string[], model?: string}} args
 */
function update(store, { conversationId, title, isPinned, tags, model }) {
  change(store, conversationId, given({ title, isPinned, tags, model }), 0);
}

/**
 * @param {LocalStore} store
 * @param {{conversationId: string}} args
 */
function remove(store, { conversationId }) {
  const list = listed(store);
  const left = list?.filter(({ _id }) => _id !== conversationId);
  if (left) store.setQuery(conversations.list, {}, left);
  store.setQuery(conversations.get, { conversationId }, null);
  for (const { args } of pagesOf(store, conversationId)) {
    store.setQuery(messages.list, args, NO_PAGE);
  }
}

/**
 * Changes a conversation where it is shown, and moves it to the front as its last change does.
 *
 * @param {LocalStore} store
 * @param {string} conversationId
 * @param {Partial<Conversation>} fields
 * @param {number} time of the change in ms, 0 where that is not known
 */
function change(store, conversationId, fields, time) {
  const opened = open(store, conversationId);
  const updatedAt = Math.max(time, newest(store), opened?.updatedAt ?? 0);
  if (opened) {
    const changed = { ...opened, ...fields, updatedAt };
    store.setQuery(conversations.get, { conversationId }, changed);
  }
  const found = listed(store)?.find(({ _id }) => _id === conversationId);
  if (found) toFront(store, conversationId, { ...found, ...fields, updatedAt });
}

/**
 * @param {LocalStore} store
 * @param {string} id
 * @param {Conversation} conversation
 */
function toFront(store, id, conversation) {
  const others = listed(store)?.filter(({ _id }) => _id !== id);
  if (!others) return;
  const updatedAt = Math.max(conversation.updatedAt, newest(store));
  store.setQuery(conversations.list, {}, [{ ...conversation, updatedAt }, ...others]);
}

/**
 * Returns the list, last changed first; undefined while it loads.
 *
 * @param {LocalStore} store
 */
const listed = (store) =>
  /** @type {Conversation[] | undefined} */ (store.getQuery(conversations.list, {}));

/** @param {LocalStore} store */
const newest = (store) => listed(store)?.[0]?.updatedAt ?? 0;

/**
 * @param {LocalStore} store
 * @param {string} conversationId
 */
const open = (store, conversationId) =>
  /** @type {Opened | null | undefined} */ (store.getQuery(conversations.get, { conversationId }));

/**
 * @param {LocalStore} store
 * @param {string} conversationId
 * @returns {{args: {conversationId: string, paginationOpts: {cursor: string | null}},
 *   value: {page: Message[]} | undefined}[]}
 */
function pagesOf(store, conversationId) {
  const pages = /** @type {ReturnType<typeof pagesOf>} */ (store.getAllQueries(messages.list));
  return pages.filter(({ args }) => args.conversationId === conversationId);
}

/**
 * @param {{_id: string}[]} rows
 * @param {string} id
 */
const has = (rows, id) => rows.some(({ _id }) => _id === id);

/**
 * Leaves out what is not given: on the wire an absent field is absent, not undefined.
 *
 * @param {Record<string, unknown>} fields
 */
const given = (fields) =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));

/**
 * Returns when a UUIDv7 was made, in ms since the epoch.
 *
 * @param {string} id
 */
const timeOf = (id) => Number.parseInt(id.replace("-", "").slice(0, 12), 16);
