/**
 * What the caller of a mutation holds: a promise that also tells how far it is.
 *
 *     storing ──> stored ──> sent ──> committed
 *        │           │         └────> failed ──retry()──> discarded, and a new one
 *        │           └──discard()──> discarded <──discard()── failed
 *        └──> failed (nothing was stored)
 *
 * @module
 */

/** @import {Json, OptimisticUpdate, OutboxEntry, Value} from "./types.js" */

import { callAll, ParleyError } from "./errors.js";

/** @typedef {"storing" | "stored" | "sent" | "committed" | "failed" | "discarded"} WriteState */

/**
 * A promise of what the mutation returns, that is kept once this tab shows what it did.
 *
 * @template [T=unknown]
 * @typedef {Promise<T> & HandleFields} MutationHandle
 */

/**
 * @typedef {object} HandleFields
 * @property {string} key the same in `client.outbox()`
 * @property {WriteState} state
 * @property {Error | null} error why it failed
 * @property {Promise<void>} stored kept once the write is on disk: it then survives a crash
 * @property {() => Promise<void>} retry after it failed: kept once it is stored anew, at the end, as another one; see `client.outbox()`
 * @property {() => Promise<void>} discard after it failed, or before it was sent
 * @property {(listener: () => void) => () => void} subscribe called when `state` changed
 */

/** One mutation that this tab made. */
export class Write {
  /** @type {OutboxEntry | null} as it was stored */
  entry = null;
  /** @type {WriteState} */
  #state = "storing";
  /** @type {Set<() => void>} */
  #listeners = new Set();
  /** @type {((value: any) => void)} */
  #resolve = () => {};
  /** @type {(error: Error) => void} */
  #reject = () => {};
  /** @type {() => void} */
  #resolveStored = () => {};
  /** @type {(error: Error) => void} */
  #rejectStored = () => {};

  /**
   * @param {object} call
   * @param {string} call.key
   * @param {string} call.path
   * @param {Value} call.args
   * @param {Json} call.json the same arguments, encoded
   * @param {OptimisticUpdate} [call.update]
   * @param {number} call.at ms since the epoch
   * @param {Pick<HandleFields, "retry" | "discard">} actions
   */
  constructor({ key, path, args, json, update, at }, actions) {
    this.key = key;
    this.path = path;
    this.args = args;
    this.json = json;
    this.update = update;
    this.at = at;
    const result = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    const stored = new Promise((resolve, reject) => {
      this.#resolveStored = () => resolve(undefined);
      this.#rejectStored = reject;
    });
    // Who waits for the result hears of it there.
    stored.catch(() => {});
    const fields = { key, stored, error: null, ...actions, subscribe: this.#subscribe };
    this.handle = /** @type {MutationHandle} */ (
      Object.assign(result, fields, { state: "storing" })
    );
  }

  /** Whether nothing more will become of it by itself. */
  get isSettled() {
    return this.#state !== "storing" && this.#state !== "stored" && this.#state !== "sent";
  }

  /** @param {OutboxEntry["state"]} state that the outbox has */
  onEntry(state) {
    if (this.isSettled || state === "failed") return;
    this.#resolveStored();
    // It may be sent before its own tab hears that it is stored.
    if (this.#state !== "sent") this.#setState(state);
  }

  /** @param {Value} value */
  succeed(value) {
    if (this.isSettled) return;
    this.#resolveStored();
    this.#setState("committed");
    this.#resolve(value);
  }

  /** @param {Error} error @param {"failed" | "discarded"} [state] */
  fail(error, state = "failed") {
    if (this.#state === "failed" && state === "discarded") this.#setState(state);
    if (this.isSettled) return;
    this.#rejectStored(error);
    this.handle.error = error;
    this.#setState(state);
    this.#reject(error);
  }

  discarded() {
    this.fail(
      new ParleyError("Discarded", "This write was discarded before it was sent"),
      "discarded",
    );
  }

  /** @param {WriteState} state */
  #setState(state) {
    this.#state = state;
    this.handle.state = state;
    callAll(this.#listeners);
  }

  /** @type {HandleFields["subscribe"]} */
  #subscribe = (listener) => {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  };
}
