/**
 * Short notices with one thing to do about them. The clock stands while a notice is pointed at or
 * focused, so that nobody has to hurry.
 *
 * @module
 */

import { Observable } from "./observable.js";

/**
 * @typedef {object} Toast
 * @property {number} id
 * @property {string} text
 * @property {{label: string, run: () => void} | null} action
 * @property {() => void} onEnd runs once: time is up, dismissed or flushed; not after the action
 */

/** A list of notices, each ended once: by its action or by `onEnd`. */
export class Toasts {
  /** @type {Observable<Toast[]>} */
  shown = new Observable(/** @type {Toast[]} */ ([]));
  #lastId = 0;

  /**
   * @param {string} text
   * @param {{action?: Toast["action"], onEnd?: () => void}} [options]
   */
  show(text, { action = null, onEnd = () => {} } = {}) {
    this.#lastId += 1;
    this.shown.set([...this.shown.get(), { id: this.#lastId, text, action, onEnd }]);
  }

  /** @param {number} id */
  act(id) {
    this.#take(id)?.action?.run();
  }

  /** @param {number} id */
  end(id) {
    this.#take(id)?.onEnd();
  }

  /** Ends all of them, because the page goes. */
  flush() {
    for (const { id } of this.shown.get()) this.end(id);
  }

  /** @param {number} id */
  #take(id) {
    const toasts = this.shown.get();
    this.shown.set(toasts.filter((toast) => toast.id !== id));
    return toasts.find((toast) => toast.id === id);
  }
}
