/**
 * The writes that this tab made, and the outbox as the application sees it.
 *
 * @module
 */

/** @import {Env, Json, OptimisticUpdate, OutboxEntry, Value} from "./types.js" */
/** @import {Scope} from "./scope.js" */

import { fromFailure } from "./errors.js";
import { Write } from "./handle.js";
import { newId } from "./ids.js";
import { decodeValue } from "./values.js";

/**
 * One write that the server is not known to have done.
 *
 * @typedef {object} OutboxItem
 * @property {string} key
 * @property {string} path
 * @property {Value} args
 * @property {OutboxEntry["state"]} state
 * @property {Error | null} error
 * @property {number} storedAt ms since the epoch
 * @property {() => Promise<void>} retry if it failed: at the end, under another key
 * @property {() => Promise<void>} discard if it failed, or was never sent
 */

export class Writes {
  #env;
  #scope;
  /** @type {OutboxEntry[]} what `items` was made of */
  #entries = [];

  /**
   * @param {Env} env
   * @param {() => Promise<Scope> | null} scope of who is here now
   */
  constructor(env, scope) {
    this.#env = env;
    this.#scope = scope;
    /** @type {Map<string, Write>} those that may still change, by key */
    this.byKey = new Map();
    /** @type {OutboxItem[]} the outbox, in order; the same array until something changed */
    this.items = [];
  }

  /**
   * When this tab's writes were made that are not settled, in ms since the epoch.
   *
   * @param {OutboxEntry[]} entries of who is here now: others' wait, but not for the connection
   */
  openedAt(entries) {
    const here = new Set(entries.map(({ key }) => key));
    const open = [...this.byKey.values()].filter(
      ({ key, isSettled, handle }) => !isSettled && (here.has(key) || handle.state === "storing"),
    );
    return open.map(({ at }) => at);
  }

  /**
   * Makes a write, with its handle.
   *
   * @param {string} path
   * @param {Json} json encoded arguments
   * @param {OptimisticUpdate} [update]
   * @param {string} [key]
   */
  make(path, json, update, key = newId()) {
    const call = { key, path, args: decodeValue(json), json, update, at: this.#env.now() };
    return new Write(call, this.#actions(key));
  }

  /**
   * Takes what the outbox holds now.
   *
   * @param {OutboxEntry[]} entries in order
   * @returns {boolean} whether that is something else than before
   */
  show(entries) {
    const former = this.#entries;
    const isSame =
      entries.length === former.length && entries.every((entry, at) => entry === former[at]);
    if (isSame) return false;
    this.#entries = entries;
    this.items = entries.map(({ key, path, args, state, failure, storedAt }) => ({
      key,
      path,
      args: decodeValue(args),
      state,
      error: failure && fromFailure(failure),
      storedAt,
      ...this.#actions(key),
    }));
    return true;
  }

  /** @param {string} key */
  #actions(key) {
    return { retry: () => this.#retry(key), discard: () => this.#discard(key) };
  }

  /** @param {string} key */
  async #retry(key) {
    const update = this.byKey.get(key)?.update;
    await (await this.#scope())?.retry(key, (entry) => {
      const write = this.make(entry.path, entry.args, update, entry.key);
      // Nobody has the new promise: what becomes of it is in the outbox.
      write.handle.catch(() => {});
      return write;
    });
  }

  /** @param {string} key */
  async #discard(key) {
    await (await this.#scope())?.discard(key);
  }
}
