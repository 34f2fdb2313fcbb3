/**
 * Keeps on disk what the server said last, a little later and many at a time.
 *
 * @module
 */

/** @import {Change, Env, QueryToken} from "./types.js" */
/** @import {ResultCache} from "./results.js" */

import { encodeValue } from "./values.js";

const AFTER_MS = 1000;

export class ResultKeeper {
  #options;
  #snapshot;
  /** @type {Set<QueryToken>} */
  #tokens = new Set();
  /** @type {(() => void) | null} */
  #cancel = null;
  /** @type {Promise<unknown>} */
  #keeping = Promise.resolve();

  /**
   * @param {{env: Env, cache: ResultCache, maxCacheBytes: number}} options
   * @param {(tokens: Iterable<QueryToken>) => Change | undefined} snapshot their results by now
   */
  constructor(options, snapshot) {
    this.#options = options;
    this.#snapshot = snapshot;
  }

  /** Time has moved on. @param {QueryToken[]} tokens whose results changed */
  note(tokens) {
    for (const token of tokens) this.#tokens.add(token);
    this.#cancel ??= this.#options.env.after(() => this.#keep(), AFTER_MS);
  }

  /** Nobody will watch a query any more. @param {QueryToken} token */
  end(token) {
    if (this.#tokens.has(token)) this.stop();
  }

  /** Keeps at once what is not kept yet. */
  stop() {
    if (!this.#cancel) return;
    this.#cancel();
    this.#keep();
  }

  /** Kept when nothing is being written. */
  async idle() {
    await this.#keeping;
  }

  #keep() {
    this.#cancel = null;
    const { cache, maxCacheBytes } = this.#options;
    const now = this.#snapshot(this.#tokens);
    if (!now || now.ts === 0n) return;
    this.#tokens.clear();
    const records = now.queries.flatMap(({ token, result, journal }) => {
      if (result?.status !== "success") return [];
      return [{ token, text: JSON.stringify(encodeValue(result.value)), journal }];
    });
    const { ts, incarnation } = now;
    // Without room nothing is kept: results are only a convenience.
    this.#keeping = cache
      .put(records, { ts, incarnation })
      .then(() => cache.trim(maxCacheBytes))
      .catch(() => cache.trim(0))
      .catch(() => {});
  }
}
