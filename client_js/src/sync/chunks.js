/**
 * Large Transitions come in parts (PROTOCOL.md §9): in order, with nothing but Ping between.
 *
 * @module
 */

/** @import {Chunk} from "./messages.js" */

const MAX_CHARACTERS = 2 ** 28; // of one Transition; the server's own limit is far below

/** The parts of one Transition that have come. */
export class Chunks {
  #name = "";
  #count = 0;
  #text = "";

  /** Whether a Transition has begun and not ended. */
  get isOpen() {
    return this.#count > 0;
  }

  /**
   * Takes the next part.
   *
   * @param {Chunk} part
   * @returns {string | null} the whole text after the last part
   * @throws {Error} it is not the next one.
   */
  add({ chunk, partNumber, totalParts, transitionId }) {
    const name = `${totalParts} ${transitionId}`;
    if (!this.isOpen) this.#name = name;
    const isNext = partNumber === this.#count && partNumber < totalParts && name === this.#name;
    if (!isNext) throw new Error("TransitionChunk out of order");
    this.#text += chunk;
    if (this.#text.length > MAX_CHARACTERS) throw new Error("Transition is too large");
    if (++this.#count < totalParts) return null;
    const text = this.#text;
    this.#count = 0;
    this.#text = "";
    return text;
  }
}
