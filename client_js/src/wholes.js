/**
 * Conversations with all their messages, as dual-write.js needs them: the newest all the time,
 * others until the place is needed, since the messages of an imported one come after it, and do not
 * move it in the list.
 *
 * @module
 */

/** @import {Remote} from "./in-step.js" */

/**
 * What is used of a client.
 * @typedef {object} Reader
 * @property {(ref: string, args: any, listener: (result: {value: any, isStale: boolean}) => void) => () => void} subscribe
 */

/**
 * @typedef {object} Opened
 * @property {Remote | null} remote
 * @property {boolean} isNeeded whether it is watched, or wanted and not known yet
 * @property {() => void} stop
 */

const MAX_OPENED = 30;

export class Wholes {
  #client;
  #onChange;
  /** @type {Map<string, Opened>} */
  #opened = new Map();

  /**
   * @param {Reader} client
   * @param {() => void} onChange called when `get` would give something else
   */
  constructor(client, onChange) {
    this.#client = client;
    this.#onChange = onChange;
  }

  /**
   * Returns a conversation, if it is known whole; asks for it if it is wanted.
   *
   * @param {string} id
   * @param {boolean} isWanted
   * @param {boolean} isWatched whether it is to be kept up to date from now on
   * @returns {Remote | null}
   */
  get(id, isWanted, isWatched) {
    const opened = this.#opened.get(id);
    if (!opened) {
      if (isWanted && (this.#hasRoom() || isWatched)) this.#open(id);
      return null;
    }
    opened.isNeeded = isWatched || (isWanted && !opened.remote);
    return opened.remote;
  }

  /** Lets go of the one that was opened first, if it is not needed and there is no room else. */
  #hasRoom() {
    if (this.#opened.size < MAX_OPENED) return true;
    const found = [...this.#opened].find(([, { isNeeded }]) => !isNeeded);
    if (!found) return false;
    found[1].stop();
    return this.#opened.delete(found[0]);
  }

  stop() {
    for (const { stop } of this.#opened.values()) stop();
    this.#opened.clear();
  }

  /** @param {string} id */
  #open(id) {
    /** @type {Opened} */
    const opened = { remote: null, isNeeded: true, stop: () => {} };
    this.#opened.set(id, opened);
    const args = { conversationId: id };
    opened.stop = this.#client.subscribe("conversations:get", args, ({ value, isStale }) => {
      opened.remote = isStale ? null : (value ?? null);
      // It was removed: nobody will ask for it any more.
      if (!isStale && !value) opened.isNeeded = false;
      this.#onChange();
    });
  }
}
