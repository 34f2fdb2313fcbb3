/**
 * An app as it was before: conversations in a zustand store that persists itself (SEED.md), on a
 * device whose time stands still between the events of a test.
 *
 * @module
 */

import { createJSONStorage, persist } from "zustand/middleware";
import { createStore } from "zustand/vanilla";
import { dualWrite } from "../../src/dual-write.js";
import { ChatDevice, MemoryStorage } from "./chat-model.js";

/** @import {ChatModel} from "./chat-model.js" */
/** @import {Problem} from "../../src/imports.js" */

export const KEY = "siam-conversations";

/** @typedef {{conversations: any[]}} State */

/** Dates, as the seed keeps them. @param {string} key @param {unknown} value */
const reviver = (key, value) =>
  /(At|timestamp)$/.test(key) ? new Date(/** @type {string} */ (value)) : value;

export class OldApp {
  /** @type {Problem[]} */
  problems = [];
  /** @type {Set<() => void>} */
  #timers = new Set();

  /**
   * @param {ChatModel} model
   * @param {{account?: string, storage?: MemoryStorage, before?: ChatDevice, options?: object, name?: string}} [given]
   */
  constructor(model, given = {}) {
    const { account = "alice", storage = new MemoryStorage(), before, name = "x" } = given;
    this.name = name;
    this.storage = storage;
    this.options = given.options;
    this.device = new ChatDevice(model, account, before);
    this.store = createStore(
      persist(() => /** @type {State} */ ({ conversations: [] }), {
        name: KEY,
        version: 2,
        storage: createJSONStorage(() => storage, { reviver }),
      }),
    );
  }

  link() {
    this.linked = dualWrite(this.device, this.store, {
      storage: this.storage,
      onProblem: (problem) => this.problems.push(problem),
      after: (run) => {
        this.#timers.add(run);
        return () => this.#timers.delete(run);
      },
      ...this.options,
    });
    return this;
  }

  /** Lets all that waits happen. */
  async settle() {
    for (let turn = 0; turn < 12; turn++) {
      const due = [...this.#timers];
      this.#timers.clear();
      for (const run of due) run();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** The page is loaded again, linked again. @param {object} [given] */
  reload(given) {
    this.device.crash();
    this.linked?.stop();
    const { storage, name, options } = this;
    const account = this.device.account ?? "";
    const before = this.device;
    return new OldApp(before.model, { storage, name, options, account, before, ...given }).link();
  }

  get conversations() {
    return this.store.getState().conversations;
  }

  /** What a person sees: titles, and what is said in each. */
  get seen() {
    const seen = this.conversations.map(({ title, messages }) => [
      title,
      messages.map((/** @type {any} */ message) => message.content),
    ]);
    return Object.fromEntries(seen);
  }

  /** @param {string} title */
  create(title) {
    const id = `conv-${this.name}-${this.device.model.ticks}`;
    const [createdAt, updatedAt] = [this.#time(), this.#time()];
    const conversation = { id, title, messages: [], createdAt, updatedAt, tags: [] };
    this.#set([conversation, ...this.conversations]);
  }

  /** @param {string} title @param {string} content @param {object} [fields] */
  say(title, content, fields = {}) {
    const id = `msg-${this.name}-${this.device.model.ticks}`;
    const message = { id, role: "user", content, timestamp: this.#time(), ...fields };
    this.change(title, ({ messages }) => ({ messages: [...messages, message] }));
  }

  /** @param {string} title @param {number} index @param {object} fields */
  edit(title, index, fields) {
    this.change(title, ({ messages }) => ({
      messages: messages.map((/** @type {any} */ message, /** @type {number} */ at) =>
        at === index ? { ...message, ...fields } : message,
      ),
    }));
  }

  /** @param {string} title @param {(conversation: any) => object} change */
  change(title, change) {
    this.#set(
      this.conversations.map((one) =>
        one.title === title ? { ...one, ...change(one), updatedAt: this.#time() } : one,
      ),
    );
  }

  /** @param {string} title */
  remove(title) {
    this.#set(this.conversations.filter((one) => one.title !== title));
  }

  /** @param {any[]} conversations */
  #set(conversations) {
    this.store.setState({ conversations });
  }

  #time() {
    this.device.model.ticks += 1;
    return new Date(1_736_423_145_000 + this.device.model.ticks);
  }
}
