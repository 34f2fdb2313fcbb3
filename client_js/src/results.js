/**
 * The newest results of queries on this device, to be shown (as stale) before the server answers.
 *
 * @module
 */

/** @import {QueryToken} from "./types.js" */
/** @import {Store, Table, Tx} from "./storage/store.js" */

/**
 * @typedef {object} CachedResult
 * @property {QueryToken} token
 * @property {string} text the encoded value, as JSON text
 * @property {string | null} journal
 */

/**
 * A point in time: `ts` counts within a life of the database.
 * @typedef {{ts: bigint, incarnation: string | null}} Position
 */

/**
 * What trimming needs to know of a result, without loading it.
 * @typedef {{bytes: number, usedAt: number, ts: bigint}} Usage
 */

/** @type {Table[]} */
const TABLES = ["meta", "results", "usage"];

export class ResultCache {
  #store;
  #now;
  /** @type {Set<QueryToken>} */
  #used = new Set();
  #isCleared = false;

  /**
   * @param {Store} store
   * @param {() => number} now ms since the epoch
   */
  constructor(store, now) {
    this.#store = store;
    this.#now = now;
  }

  /**
   * Returns what is known of a query. That it was used is noted by the next `put` or `trim`.
   *
   * @param {QueryToken} token
   * @returns {Promise<(CachedResult & Position) | undefined>}
   */
  async get(token) {
    this.#used.add(token);
    return this.#store.read(["results"], (tx) => tx.get("results", token));
  }

  /**
   * Keeps results that are true at one position, and that it was seen. Results of another life of
   * the database go; a newer result stays (a tab that slept may come with old ones).
   *
   * @param {CachedResult[]} records
   * @param {Position} position
   * @throws {ParleyError} "StorageFull": nothing was kept
   */
  put(records, position) {
    return this.#write(async (tx) => {
      if (this.#isCleared) return;
      const seen = /** @type {Position | undefined} */ (await tx.get("meta", "position"));
      const isSameLife = seen?.incarnation === position.incarnation;
      if (!isSameLife) await dropAll(tx);
      if (!seen || !isSameLife || seen.ts < position.ts) await tx.put("meta", "position", position);
      for (const { token, text, journal } of records) {
        const usage = /** @type {Usage | undefined} */ (await tx.get("usage", token));
        if (usage && usage.ts > position.ts) continue;
        await tx.put("results", token, { token, text, journal, ...position });
        // The most that a browser needs for a character.
        const bytes = 2 * (token.length + text.length + (journal?.length ?? 0));
        await tx.put("usage", token, { bytes, usedAt: this.#now(), ts: position.ts });
      }
    });
  }

  /**
   * Removes the results not used for longest, until the rest is small enough.
   *
   * @param {number} maxBytes two per character
   */
  trim(maxBytes) {
    return this.#write(async (tx) => {
      const rows = /** @type {[QueryToken, Usage][]} */ (await tx.entries("usage"));
      let bytes = rows.reduce((sum, [, usage]) => sum + usage.bytes, 0);
      for (const [token, usage] of rows.sort(([, a], [, b]) => a.usedAt - b.usedAt)) {
        if (bytes <= maxBytes) return;
        bytes -= usage.bytes;
        await tx.delete("results", token);
        await tx.delete("usage", token);
      }
    });
  }

  /**
   * Returns how far time was ever shown here: the largest ts of the newest life of the database.
   *
   * @returns {Promise<Position>} ts is 0 if there was none
   */
  async position() {
    const seen = await this.#store.read(["meta"], (tx) => tx.get("meta", "position"));
    return seen ?? { ts: 0n, incarnation: null };
  }

  /** Removes all results, and keeps none from now on: the person signed out. */
  clear() {
    this.#isCleared = true;
    return this.#write(dropAll);
  }

  /** @param {(tx: Tx) => Promise<void>} work */
  #write(work) {
    const used = [...this.#used];
    this.#used.clear();
    return this.#store.write(TABLES, async (tx) => {
      for (const token of used) {
        const usage = await tx.get("usage", token);
        if (usage) await tx.put("usage", token, { ...usage, usedAt: this.#now() });
      }
      await work(tx);
    });
  }
}

/** @param {Tx} tx */
async function dropAll(tx) {
  await tx.clear("results");
  await tx.clear("usage");
}
