/**
 * Conversations with all their messages, as dual-write.js needs them: the newest all the time,
 * others once, a few at a time.
 *
 * @module
 */

/** @import {Remote} from "./in-step.js" */

/**
 * What is used of a client.
 * @typedef {object} Reader
 * @property {(ref: string, args: any, listener: (result: {value: any, isStale: boolean}) => void) => () => void} subscribe
 */

/** @typedef {{remote: Remote | null, stop: () => void}} Opened */

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
      if (isWanted && (isWatched || this.#opened.size < MAX_OPENED)) this.#open(id);
      return null;
    }
    if (!isWatched && (opened.remote || !isWanted)) {
      opened.stop();
      this.#opened.delete(id);
    }
    return opened.remote;
  }

  stop() {
    for (const { stop } of this.#opened.values()) stop();
    this.#opened.clear();
  }

  /** @param {string} id */
  #open(id) {
    /** @type {Opened} */
    const opened = { remote: null, stop: () => {} };
    this.#opened.set(id, opened);
    const args = { conversationId: id };
    opened.stop = this.#client.subscribe("conversations:get", args, ({ value, isStale }) => {
      opened.remote = isStale ? null : (value ?? null);
      this.#onChange();
    });
  }
}
