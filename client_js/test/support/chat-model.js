/**
 * The chat's functions as the server has them (server/parley/chat), and devices that call them
 * whenever a test lets them. The real ones are called in tests/compat/test_migration.py.
 *
 * @module
 */

import { AppError } from "../../src/errors.js";
import { newId } from "../../src/ids.js";
import { decodeValue, encodeValue } from "../../src/values.js";

/** @typedef {Record<string, any>} Row */

export class ChatModel {
  /** @type {Map<string, Row>} */
  conversations = new Map();
  /** @type {Map<string, Row>} */
  messages = new Map();
  /** @type {string[]} paths of what was done */
  done = [];
  /** Refuses what this says something about. @type {(path: string, args: any) => string | undefined} */
  refuse = () => undefined;
  /** @type {Set<() => void>} */
  listeners = new Set();
  now = 2e12;
  /** How often somebody has asked for the time. */
  ticks = 0;

  /** @param {string} account @param {string} path @param {any} args */
  run(account, path, args) {
    const refusal = this.refuse(path, args);
    if (refusal) throw new AppError(refusal);
    this.now += 1;
    this.done.push(path);
    const result = this.#mutations[path]?.(account, args);
    for (const listener of [...this.listeners]) listener();
    return result;
  }

  /** @param {string} account */
  list(account) {
    const own = [...this.conversations.values()].filter((row) => row.userId === account);
    return structuredClone(own.sort((a, b) => b.updatedAt - a.updatedAt));
  }

  /**
   * @param {string} account
   * @param {string} id
   * @returns {Row | null}
   */
  get(account, id) {
    const found = this.conversations.get(id);
    if (found?.userId !== account) return null;
    const own = [...this.messages.values()].filter((row) => row.conversationId === id);
    const messages = own.sort((a, b) => a.timestamp - b.timestamp);
    return structuredClone({ ...found, messages });
  }

  /** @type {Record<string, (account: string, args: any) => unknown>} */
  #mutations = {
    "conversations:importConversation": (userId, { id, ...fields }) => {
      const found = this.conversations.get(id);
      if (found && found.userId !== userId) throw new AppError("Conflict: this id is taken");
      if (!found) this.conversations.set(id, { ...fields, _id: id, userId });
      return id;
    },
    "conversations:importMessages": (userId, { conversationId, messages }) => {
      if (messages.length > 100) throw new AppError("messages: at most 100 a call");
      this.#own(userId, conversationId);
      for (const { id, ...fields } of messages) {
        if (!this.messages.has(id)) this.messages.set(id, { ...fields, conversationId, _id: id });
      }
      return messages.length;
    },
    "conversations:create": (userId, { id = newId(), title = "New Conversation" }) => {
      const times = { createdAt: this.now, updatedAt: this.now };
      this.conversations.set(id, { _id: id, userId, title, isPinned: false, tags: [], ...times });
      return id;
    },
    "conversations:addMessage": (userId, { conversationId, id = newId(), ...fields }) => {
      this.#touch(userId, conversationId, {});
      this.messages.set(id, { ...fields, conversationId, _id: id, timestamp: this.now });
      return id;
    },
    "conversations:update": (userId, { conversationId, ...fields }) =>
      this.#touch(userId, conversationId, fields),
    "conversations:remove": (userId, { conversationId }) => {
      this.#own(userId, conversationId);
      this.conversations.delete(conversationId);
      for (const [id, row] of this.messages) {
        if (row.conversationId === conversationId) this.messages.delete(id);
      }
    },
    "messages:edit": (userId, { messageId, ...fields }) => {
      const message = this.messages.get(messageId) ?? missing();
      this.#touch(userId, message.conversationId, {});
      Object.assign(message, fields);
    },
    "messages:remove": (userId, { messageId }) => {
      const message = this.messages.get(messageId) ?? missing();
      this.#touch(userId, message.conversationId, {});
      this.messages.delete(messageId);
    },
  };

  /** @param {string} userId @param {string} id */
  #own(userId, id) {
    const found = this.conversations.get(id);
    if (found?.userId !== userId) throw new AppError("Conversation not found");
    return found;
  }

  /** @param {string} userId @param {string} id @param {Row} fields */
  #touch(userId, id, fields) {
    Object.assign(this.#own(userId, id), fields, { updatedAt: this.now });
  }
}

/** @returns {never} */
function missing() {
  throw new AppError("Message not found");
}

/** @param {any} value as it comes out at the other end of the wire */
const sent = (value) => /** @type {any} */ (decodeValue(encodeValue(value)));

/** A client on a device: what it writes survives `crash`, and goes out while `isOnline`. */
export class ChatDevice {
  isOnline = true;
  isCrashed = false;
  /** Whether somebody has been seen signed in. */
  isKnown = true;
  /** @type {Set<() => void>} */
  #stateListeners = new Set();
  /** @type {{key: string, path: string, args: any, state: string, error: Error | null, settle: (run: () => unknown) => void, discard: () => Promise<void>}[]} */
  #outbox;

  /**
   * @param {ChatModel} model
   * @param {string | null} account
   * @param {ChatDevice} [before] whose outbox it finds
   */
  constructor(model, account, before) {
    this.model = model;
    this.account = account;
    this.#outbox = (before?.outbox() ?? []).map((former) => {
      const entry = { ...former, discard: () => this.#discard(entry) };
      // Whoever made it is gone: what becomes of it is in the outbox only.
      entry.settle = (run) => {
        try {
          run();
        } catch (error) {
          entry.error = /** @type {Error} */ (error);
        }
      };
      return entry;
    });
  }

  /** @param {object} entry */
  async #discard(entry) {
    this.#outbox = this.#outbox.filter((one) => one !== entry);
  }

  connectionState() {
    return { account: this.account };
  }

  /** @param {(state: {account: string | null}) => void} listener */
  subscribeToConnectionState(listener) {
    const tell = () => listener(this.connectionState());
    this.#stateListeners.add(tell);
    return () => this.#stateListeners.delete(tell);
  }

  /** @param {string | null} account */
  signIn(account) {
    this.account = account;
    for (const listener of [...this.#stateListeners]) listener();
  }

  outbox() {
    return this.#outbox;
  }

  /** @param {string} path @param {any} args */
  mutation(path, args) {
    if (this.isCrashed) return forever();
    const copy = sent(args);
    let entry = /** @type {any} */ (null);
    const result = new Promise((resolve, reject) => {
      /** @param {() => unknown} run */
      const settle = (run) => {
        if (this.isCrashed) return;
        try {
          const value = run();
          // Done by the server, but nobody heard of it.
          if (this.isCrashed) this.#outbox.unshift({ ...entry, state: "stored" });
          else resolve(value);
        } catch (error) {
          entry.error = error;
          reject(error);
        }
      };
      const discard = () => this.#discard(entry);
      entry = { key: newId(), path, args: copy, state: "stored", error: null, settle, discard };
    });
    this.#outbox.push(entry);
    queueMicrotask(() => this.send());
    const { key, discard } = entry;
    return Object.assign(result, { key, stored: Promise.resolve(), discard });
  }

  /** Sends what waits, in order; a crash may come between any two of them. */
  send() {
    while (this.isOnline && !this.isCrashed) {
      const entry = this.#outbox.find(({ state }) => state === "stored");
      if (!entry) return;
      entry.state = "failed";
      entry.settle(() => {
        const value = this.model.run(this.account ?? "", entry.path, entry.args);
        this.#outbox = this.#outbox.filter((one) => one !== entry);
        return value;
      });
    }
  }

  /**
   * @param {string} path
   * @param {any} args
   * @param {(result: {value: any, isStale: boolean}) => void} listener
   */
  subscribe(path, args, listener) {
    /** @type {Record<string, () => unknown>} */
    const queries = {
      "users:me": () => (this.isKnown ? { _id: this.account } : null),
      "conversations:list": () => (this.isKnown ? this.model.list(this.account ?? "") : []),
      "conversations:get": () => this.model.get(this.account ?? "", args.conversationId),
    };
    let last = "";
    const tell = () => {
      const value = queries[path]?.();
      const text = JSON.stringify(encodeValue(value));
      if (!this.isOnline || this.isCrashed || text === last) return;
      last = text;
      listener({ value: sent(value), isStale: false });
    };
    this.model.listeners.add(tell);
    tell();
    return () => {
      this.model.listeners.delete(tell);
    };
  }

  /** The network is back. */
  reconnect() {
    this.isOnline = true;
    this.send();
    for (const listener of [...this.model.listeners]) listener();
  }

  /** Nothing more happens here; what is in the outbox stays for the next. */
  crash() {
    this.isCrashed = true;
  }
}

const forever = () =>
  Object.assign(new Promise(() => {}), {
    key: newId(),
    stored: /** @type {Promise<void>} */ (new Promise(() => {})),
    discard: async () => {},
  });

/** A `localStorage`. */
export class MemoryStorage {
  /** @type {Map<string, string>} */
  #items = new Map();
  /** Whether there is no room for anything more. */
  isFull = false;
  /** Under which there is no room. @type {string | null} */
  fullKey = null;

  /** @param {Record<string, unknown>} [items] kept as JSON */
  constructor(items = {}) {
    for (const [key, value] of Object.entries(items)) this.setItem(key, JSON.stringify(value));
  }

  /** @param {string} key */
  getItem(key) {
    return this.#items.get(key) ?? null;
  }

  /** @param {string} key @param {string} value */
  setItem(key, value) {
    if (this.isFull || key === this.fullKey) throw new DOMException("full", "QuotaExceededError");
    this.#items.set(key, value);
  }

  /** @param {string} key */
  removeItem(key) {
    this.#items.delete(key);
  }
}
