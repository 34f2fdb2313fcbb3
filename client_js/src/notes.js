/**
 * What dual-write.js knows of the server: a note for each conversation, kept beside the store's own
 * data. Both are measured against it, so it must never be newer than the store that is kept.
 *
 * @module
 */

/** @import {Account} from "./types.js" */
/** @import {Note} from "./in-step.js" */
/** @import {KeyStore} from "./migrate.js" */

/**
 * The notes of one account, by id of the conversation.
 *
 * @extends {Map<string, Note>}
 */
export class Notes extends Map {
  #storage;
  #storeKey;
  #key;
  /** Whether the store's conversations have become others since the notes were saved. */
  #isMoved = false;
  /** What was kept of the store when the notes were saved. @type {string | null} */
  #kept = null;
  /** What was true before notes whose writes failed. @type {WeakMap<Note, Note | undefined>} */
  #undone = new WeakMap();

  /**
   * Reads what was saved.
   *
   * @param {KeyStore} storage
   * @param {string} storeKey under which the store is kept
   * @param {Account} account
   */
  constructor(storage, storeKey, account) {
    super();
    this.#storage = storage;
    this.#storeKey = storeKey;
    this.#key = `${storeKey}:parley:${account}`;
    try {
      const found = JSON.parse(storage.getItem(this.#key) ?? "[]");
      for (const [id, note] of found) this.set(id, note);
    } catch {
      this.clear();
    }
  }

  /** The store has what was kept of it. */
  begin() {
    this.#kept = this.#readStore();
  }

  /** The store has other conversations than before. */
  onStore() {
    this.#isMoved = true;
  }

  /**
   * Takes back what was noted for a write that failed.
   *
   * @param {string} id of the conversation
   * @param {Note | undefined} before
   * @param {Note} [after] undefined: the conversation was to be removed
   */
  undo(id, before, after) {
    if (after) this.#undone.set(after, before);
    // It may come from a write that failed too: what that would have written is not on the server.
    let last = before;
    while (last && this.#undone.has(last)) last = this.#undone.get(last);
    if (last) this.set(id, last);
    else this.delete(id);
  }

  /** Keeps them, unless the store that they belong to could not be kept. */
  save() {
    const kept = this.#readStore();
    // The next page would take what is older there for a change back.
    if (this.#isMoved && kept !== null && kept === this.#kept) return;
    this.#isMoved = false;
    this.#kept = kept;
    try {
      this.#storage.setItem(this.#key, JSON.stringify([...this]));
    } catch {
      // Without notes the next start sends all again, which changes nothing on the server.
    }
  }

  #readStore() {
    try {
      return this.#storage.getItem(this.#storeKey);
    } catch {
      return null;
    }
  }
}
