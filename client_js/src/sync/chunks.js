/**
 * Large Transitions come in parts (PROTOCOL.md §9): in order, with nothing but Ping between.
 *
 * @module
 */

/** @import {Chunk} from "./messages.js" */

import { Violation } from "./messages.js";

const MAX_CHARACTERS = 2 ** 28; // of one Transition; the server's own limit is far below

/** The parts of one Transition that have come. */
export class Chunks {
  #id = "";
  #total = 0;
  /** @type {string[]} */
  #parts = [];
  #characters = 0;

  /** Whether a Transition has begun and not ended. */
  get isOpen() {
    return this.#parts.length > 0;
  }

  /**
   * Takes the next part.
   *
   * @param {Chunk} part
   * @returns {string | null} the whole text after the last part
   * @throws {Violation} it is not the next one.
   */
  add({ chunk, partNumber, totalParts, transitionId }) {
    if (partNumber === 0 && !this.isOpen) {
      this.#id = transitionId;
      this.#total = totalParts;
      this.#characters = 0;
    }
    this.#characters += chunk.length;
    const isNext =
      partNumber === this.#parts.length &&
      partNumber < totalParts &&
      totalParts === this.#total &&
      transitionId === this.#id;
    if (!isNext) throw new Violation("TransitionChunk out of order");
    if (this.#characters > MAX_CHARACTERS) throw new Violation("Transition is too large");
    this.#parts.push(chunk);
    if (this.#parts.length < this.#total) return null;
    const text = this.#parts.join("");
    this.#parts = [];
    return text;
  }
}
