/**
 * The actions that one tab waits for. Each is sent at most once: what was sent when its connection
 * or its leader was lost fails, for nobody knows whether it ran.
 *
 * @module
 */

/** @import {Json, Result, Value} from "./types.js" */
/** @import {Act} from "./tabs/messages.js" */

import { fromFailure, ParleyError } from "./errors.js";
import { LOST } from "./sync/connection.js";

// Over all scopes of the page: an answer to an action from before this account was left must not
// look like one to what was asked since.
let nextId = 0;

export class Asked {
  /** @type {Map<number, {act: Act, isSent: boolean, resolve: (value: any) => void, reject: (error: Error) => void}>} */
  #asked = new Map();

  get size() {
    return this.#asked.size;
  }

  /**
   * @param {string} path
   * @param {Json} args
   * @returns {{act: Act, result: Promise<Value>}}
   */
  ask(path, args) {
    const act = { id: nextId++, path, args };
    const result = new Promise((resolve, reject) => {
      this.#asked.set(act.id, { act, isSent: false, resolve, reject });
    });
    return { act, result };
  }

  /** Another leader has come. @returns {Act[]} what it is to send */
  handOver() {
    for (const [id, { isSent }] of this.#asked) if (isSent) this.onActed(id, LOST);
    return [...this.#asked.values()].map(({ act }) => act);
  }

  /** @param {Iterable<number>} ids all, when this tab will not hear which */
  onSent(ids = this.#asked.keys()) {
    for (const id of ids) {
      const asked = this.#asked.get(id);
      if (asked) asked.isSent = true;
    }
  }

  /** @param {number} id @param {Result} result */
  onActed(id, result) {
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    if (result.status === "success") asked?.resolve(result.value);
    else asked?.reject(fromFailure(result.error));
  }

  /** The account is left: nobody waits for answers any more. */
  end() {
    const error = new ParleyError("Closed", "The client was closed, or the account changed");
    for (const { reject } of this.#asked.values()) reject(error);
    this.#asked.clear();
  }
}
