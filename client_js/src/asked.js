/**
 * The actions that one tab waits for. Each is run at most once: a leader asks before it sends one,
 * and is told to run it by a tab that has told nobody before. What somebody was told to run when
 * the connection or the leader is lost fails, for nobody knows whether it ran.
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
  /** @type {Map<number, {act: Act, isTaken: boolean, resolve: (value: any) => void, reject: (error: Error) => void}>} */
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
      this.#asked.set(act.id, { act, isTaken: false, resolve, reject });
    });
    return { act, result };
  }

  /** @returns {Act[]} what nobody was told to run */
  get waiting() {
    return [...this.#asked.values()].flatMap(({ act, isTaken }) => (isTaken ? [] : [act]));
  }

  /**
   * A leader asks whether it may run an action.
   *
   * @param {number} id
   * @returns {boolean} for one leader only, and once
   */
  take(id) {
    const asked = this.#asked.get(id);
    if (!asked || asked.isTaken) return false;
    asked.isTaken = true;
    return true;
  }

  /** The leader that was told to run some is lost. */
  lose() {
    for (const [id, { isTaken }] of this.#asked) if (isTaken) this.onActed(id, LOST);
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
