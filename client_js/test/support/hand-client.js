/**
 * A client whose results a test sets by hand, to stop time between any two of them.
 *
 * @module
 */

import { pathOf } from "../../src/paths.js";
import { queryToken } from "../../src/tokens.js";
import { encodeValue } from "../../src/values.js";

/** @import { ConnectionState, OptimisticUpdate, Watch } from "../../src/types.js" */

/** What bindings use of a client. */
export class HandClient {
  /** @type {Map<string, {value?: unknown, error?: unknown}>} */
  #results = new Map();
  /** @type {Map<string, Set<() => void>>} */
  #listeners = new Map();
  /** @type {unknown[][]} what was called, in order */
  calls = [];
  /** @type {any[]} */
  entries = [];
  /** @type {any} */
  state = { phase: "connecting", account: null };
  /** @type {((isAuthenticated: boolean) => void) | undefined} */
  confirm;

  /** Tokens of the queries that are asked for. */
  get asked() {
    return [...this.#listeners.keys()].filter((token) => token.startsWith("{"));
  }

  /**
   * Sets results in one step, as one commit of the server does.
   *
   * @param {[path: string, args: Record<string, any>, value: unknown][]} results
   */
  change(...results) {
    for (const [path, args, value] of results) {
      const result = value instanceof Error ? { error: value } : { value };
      this.#results.set(tokenOf(path, args), result);
    }
    for (const [path, args] of results) this.#tell(tokenOf(path, args));
  }

  /**
   * @param {unknown} ref
   * @param {Record<string, any>} args
   * @returns {Watch<any>}
   */
  watch(ref, args) {
    const token = tokenOf(ref, args);
    return {
      token,
      isStale: () => !this.#results.has(token),
      journal: () => null,
      onUpdate: (listener) => this.#listen(token, listener),
      localResult: () => {
        const { value, error } = this.#results.get(token) ?? {};
        if (error) throw error;
        return value;
      },
    };
  }

  /** @param {ConnectionState | Record<string, unknown>} state */
  setState(state) {
    this.state = state;
    this.#tell("state");
  }

  /** @param {any[]} entries */
  setOutbox(entries) {
    this.entries = entries;
    this.#tell("outbox");
  }

  connectionState() {
    return this.state;
  }

  outbox() {
    return this.entries;
  }

  /** @param {() => void} listener */
  subscribeToConnectionState(listener) {
    return this.#listen("state", listener);
  }

  /** @param {() => void} listener */
  subscribeToOutbox(listener) {
    return this.#listen("outbox", listener);
  }

  /** @param {unknown[]} call */
  mutation(...call) {
    this.calls.push(["mutation", ...call]);
    return Object.assign(Promise.resolve("done"), { state: "stored", stored: Promise.resolve() });
  }

  /** @param {unknown[]} call */
  async action(...call) {
    this.calls.push(["action", ...call]);
    return "done";
  }

  /** @param {string} path @param {OptimisticUpdate} update */
  registerOptimisticUpdate(path, update) {
    this.calls.push(["register", path, update]);
  }

  /** @param {unknown} fetchToken @param {(isAuthenticated: boolean) => void} onChange */
  setAuth(fetchToken, onChange) {
    this.calls.push(["setAuth", fetchToken]);
    this.confirm = onChange;
  }

  clearAuth() {
    this.calls.push(["clearAuth"]);
  }

  /** @param {string} topic @param {() => void} listener */
  #listen(topic, listener) {
    const listeners = this.#listeners.get(topic) ?? new Set();
    this.#listeners.set(topic, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0) this.#listeners.delete(topic);
    };
  }

  /** @param {string} topic */
  #tell(topic) {
    for (const listener of [...(this.#listeners.get(topic) ?? [])]) listener();
  }
}

/** @param {unknown} ref @param {Record<string, any>} args */
const tokenOf = (ref, args) => queryToken(pathOf(ref), encodeValue(args));
