/**
 * A store in memory, for browsers that refuse to keep anything, and for tests.
 *
 * @module
 */

/** @import {Key, Store, Table, Tx} from "./store.js" */

import { ParleyError } from "../errors.js";
import { TABLES } from "./store.js";

/** @typedef {Map<Table, Map<Key, unknown>>} Rows */

/**
 * What several stores may be in, by name: it plays the disk.
 * @typedef {Map<string, {rows: Rows, last: Promise<unknown>}>} Shelf
 */

/**
 * Opens a store by its name, an empty one if there is none.
 *
 * @param {string} name
 * @param {Shelf} [shelf]
 * @returns {Store}
 */
export function openMemory(name, shelf = new Map()) {
  const kept = shelf.get(name) ?? {
    rows: new Map(TABLES.map((table) => [table, new Map()])),
    last: Promise.resolve(),
  };
  shelf.set(name, kept);
  let isClosed = false;

  /** @type {Store["write"]} */
  const transact = (tables, work) => {
    const run = async () => {
      if (isClosed || shelf.get(name) !== kept) {
        throw new ParleyError("StorageLost", "The local database was closed");
      }
      /** @type {Rows} */
      const draft = new Map(tables.map((table) => [table, new Map(kept.rows.get(table))]));
      const result = await work(operations(draft));
      for (const [table, rows] of draft) kept.rows.set(table, rows);
      return result;
    };
    const running = kept.last.then(run);
    kept.last = running.catch(() => {});
    return running;
  };

  return {
    isDurable: false,
    read: transact,
    write: transact,
    close() {
      isClosed = true;
    },
  };
}

/**
 * Removes a store; who has it open loses it.
 *
 * @param {string} name
 * @param {Shelf} shelf
 */
export function deleteMemory(name, shelf) {
  shelf.delete(name);
}

/** @param {Key} a @param {Key} b */
const byKey = (a, b) => {
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return a < b ? -1 : Number(a > b);
};

/**
 * @param {Rows} draft
 * @returns {Tx}
 */
function operations(draft) {
  /** @param {Table} table */
  const rowsOf = (table) => {
    const rows = draft.get(table);
    if (!rows) throw new Error(`${table} is not in this transaction`);
    return rows;
  };
  return {
    get: async (table, key) => structuredClone(rowsOf(table).get(key)),
    put: async (table, key, value) => rowsOf(table).set(key, structuredClone(value)),
    delete: async (table, key) => rowsOf(table).delete(key),
    clear: async (table) => rowsOf(table).clear(),
    async entries(table, { from, to, limit } = {}) {
      const isWithin = (/** @type {Key} */ key) =>
        (from === undefined || byKey(key, from) >= 0) && (to === undefined || byKey(key, to) <= 0);
      const rows = [...rowsOf(table)].filter(([key]) => isWithin(key));
      return structuredClone(rows.sort(([a], [b]) => byKey(a, b)).slice(0, limit));
    },
  };
}
