/**
 * A store on disk, in the browser's IndexedDB.
 *
 * Another tab may want the database for itself, for a newer version of the app or to delete it: it
 * then gets it at once, and everything here fails with "StorageLost" from then on. A connection
 * that the browser itself cut (it does, above all on phones) is opened again by the next call.
 *
 * @module
 */

/** @import {IDBPDatabase, IDBPTransaction} from "idb" */
/** @import {Env} from "../types.js" */
/** @import {Key, Store, Table, Tx} from "./store.js" */

import { wrap } from "idb";
import { ParleyError } from "../errors.js";
import { TABLES } from "./store.js";

// A new table needs a new version, and nothing else: tables are made where they are missing.
const VERSION = 1;
// A tab that is frozen with the database open cannot give it up. Nobody waits longer for it.
const DEADLINE_MS = 5000;

const FULL = "There is no room left on this device for this site";
const CODES = new Map([
  ["QuotaExceededError", ["StorageFull", FULL]],
  ["AbortError", ["StorageLost", "The local database was closed"]],
  ["InvalidStateError", ["StorageLost", "The local database was closed"]],
  ["UnknownError", ["StorageLost", "The local database cannot be read"]],
  ["VersionError", ["StorageLost", "A newer version of this page has changed the local database"]],
  ["SecurityError", ["StorageLost", "This browser keeps nothing for this site"]],
]);

/**
 * @typedef {object} Options
 * @property {IDBFactory} indexedDB
 * @property {Env["after"]} after
 * @property {(error: ParleyError) => void} [onLost] called once, when another tab takes the database away
 * @property {number} [version]
 */

/**
 * Opens a database, an empty one if there is none.
 *
 * @param {string} name
 * @param {Options} options
 * @returns {Promise<Store>}
 * @throws {ParleyError} "StorageBlocked": another tab does not give it up in time; or as `Store`
 */
export async function openIndexedDB(name, options) {
  const store = new IndexedDBStore(name, options);
  await store.connect();
  return store;
}

/**
 * Deletes a database. Tabs that have it open lose it.
 *
 * @param {string} name
 * @param {Options} options
 * @throws {ParleyError} "StorageBlocked": a tab holds it; it will be gone when that tab is
 */
export async function deleteIndexedDB(name, { indexedDB, after }) {
  await inTime(() => indexedDB.deleteDatabase(name), after);
}

/** @implements {Store} */
class IndexedDBStore {
  isDurable = true;
  #name;
  #options;
  /** @type {Promise<IDBPDatabase> | null} */
  #opening = null;
  /** @type {ParleyError | null} */
  #lost = null;

  /**
   * @param {string} name
   * @param {Options} options
   */
  constructor(name, options) {
    this.#name = name;
    this.#options = options;
  }

  /** @returns {Promise<IDBPDatabase>} */
  connect() {
    this.#opening ??= this.#connect().catch((error) => {
      this.#opening = null;
      throw error;
    });
    return this.#opening;
  }

  /** @type {Store["read"]} */
  async read(tables, work) {
    return this.#run(await this.#begin(tables, "readonly"), work);
  }

  /** @type {Store["write"]} */
  async write(tables, work, { isStrict = false } = {}) {
    const durability = isStrict ? "strict" : "relaxed";
    return this.#run(await this.#begin(tables, "readwrite", { durability }), work);
  }

  close() {
    this.#lose("The local database was closed");
  }

  async #connect() {
    const { indexedDB, after, version = VERSION } = this.#options;
    const open = () => {
      const request = indexedDB.open(this.#name, version);
      request.onupgradeneeded = () => {
        const missing = TABLES.filter((table) => !request.result.objectStoreNames.contains(table));
        for (const table of missing) request.result.createObjectStore(table);
      };
      return request;
    };
    const db = /** @type {IDBPDatabase} */ (await inTime(open, after, (late) => late?.close()));
    db.addEventListener("close", () => {
      this.#opening = null;
    });
    db.addEventListener("versionchange", () => {
      const error = this.#lose("Another tab has changed or removed the local database");
      this.#options.onLost?.(error);
    });
    // Closed while it was being opened.
    if (this.#lost) db.close();
    return db;
  }

  /** @param {string} message */
  #lose(message) {
    this.#lost ??= new ParleyError("StorageLost", message);
    // It closes when the running transactions have ended; they are not cut.
    this.#opening?.then((db) => db.close()).catch(() => {});
    return this.#lost;
  }

  /**
   * @param {Table[]} tables
   * @param {IDBTransactionMode} mode
   * @param {IDBTransactionOptions} [options]
   */
  async #begin(tables, mode, options) {
    for (let isSecond = false; ; isSecond = true) {
      // Asked again after the wait; and a database that is lost must not be made anew.
      const db = this.#lost ? null : await this.connect();
      if (!db || this.#lost) throw this.#lost;
      try {
        return db.transaction(tables, mode, options);
      } catch (error) {
        // The browser closed it without a word: nothing has begun, so once more is safe.
        if (isSecond || this.#lost) throw this.#lost ?? toStorageError(error);
        this.#opening = null;
      }
    }
  }

  /**
   * @template T
   * @param {IDBPTransaction<unknown, string[], IDBTransactionMode>} tx
   * @param {(tx: Tx) => Promise<T>} work
   * @returns {Promise<T>}
   */
  async #run(tx, work) {
    const done = tx.done;
    // What goes wrong is thrown below, with the reason that the transaction gives.
    done.catch(() => {});
    try {
      const result = await work(operations(tx));
      await done;
      return result;
    } catch (error) {
      try {
        tx.abort();
      } catch {
        // It has ended by itself.
      }
      await done.catch(() => {});
      throw toStorageError(tx.error ?? error);
    }
  }
}

/**
 * @param {IDBPTransaction<unknown, string[], IDBTransactionMode>} tx
 * @returns {Tx}
 */
function operations(tx) {
  const plain = /** @type {IDBPTransaction<unknown, string[], "readwrite">} */ (tx);
  return {
    get: (table, key) => plain.objectStore(table).get(key),
    put: (table, key, value) => plain.objectStore(table).put(value, key),
    delete: (table, key) => plain.objectStore(table).delete(key),
    clear: (table) => plain.objectStore(table).clear(),
    async entries(table, { from, to, limit } = {}) {
      const range = toRange(from, to);
      const rows = plain.objectStore(table);
      const [keys, values] = await Promise.all([
        rows.getAllKeys(range, limit),
        rows.getAll(range, limit),
      ]);
      return keys.map((key, index) => [/** @type {Key} */ (key), values[index]]);
    },
  };
}

/**
 * @param {Key | undefined} from
 * @param {Key | undefined} to
 */
function toRange(from, to) {
  if (from === undefined) return to === undefined ? undefined : IDBKeyRange.upperBound(to);
  return to === undefined ? IDBKeyRange.lowerBound(from) : IDBKeyRange.bound(from, to);
}

/**
 * Resolves with what a request gives, or rejects at the deadline.
 *
 * @template T
 * @param {() => IDBRequest<T>} request
 * @param {Env["after"]} after
 * @param {(late: any) => void} [onLate] gets what came after the deadline
 * @returns {Promise<unknown>}
 */
function inTime(request, after, onLate) {
  return new Promise((resolve, reject) => {
    let isLate = false;
    const cancel = after(() => {
      isLate = true;
      reject(new ParleyError("StorageBlocked", "Another tab does not release the local database"));
    }, DEADLINE_MS);
    // In a function, because some browsers throw at once.
    (async () => wrap(request()))()
      .finally(cancel)
      .then(
        (result) => (isLate ? onLate?.(result) : resolve(result)),
        (error) => reject(toStorageError(error)),
      );
  });
}

/** @param {unknown} error */
function toStorageError(error) {
  const known = error instanceof Error ? CODES.get(error.name) : undefined;
  return known ? new ParleyError(known[0] ?? "", known[1] ?? "") : error;
}
