/**
 * What a place to keep things in must offer. `indexeddb.js` keeps them on disk, `memory.js` until
 * the page goes; one suite of tests is run over both.
 *
 * @module
 */

/**
 * @typedef {"meta" | "sessions" | "outbox" | "results" | "usage"} Table
 * @typedef {string | number} Key
 */

/**
 * One transaction. All of it happens, or nothing; nobody sees half of it.
 * @typedef {object} Tx
 * @property {(table: Table, key: Key) => Promise<any>} get undefined if there is none
 * @property {(table: Table, key: Key, value: unknown) => Promise<unknown>} put
 * @property {(table: Table, key: Key) => Promise<unknown>} delete
 * @property {(table: Table, range?: {from?: Key, to?: Key, limit?: number}) => Promise<[Key, any][]>} entries by key, numbers before texts; `from` and `to` are within
 * @property {(table: Table) => Promise<unknown>} clear
 */

/**
 * `work` may await nothing but calls of its `tx`: IndexedDB commits a transaction that has nothing
 * to do. Transactions that write to a common table run one after the other, in all tabs.
 *
 * What `work` throws is thrown on, and nothing is written. Besides, `ParleyError` is thrown with
 * code "StorageFull" (no room; nothing is written) or "StorageLost" (closed, deleted, or wanted by
 * a newer version of the app in another tab; it stays so).
 * @typedef {object} Store
 * @property {boolean} isDurable whether what is written outlives the page
 * @property {<T>(tables: Table[], work: (tx: Tx) => Promise<T>) => Promise<T>} read
 * @property {<T>(tables: Table[], work: (tx: Tx) => Promise<T>, options?: {isStrict?: boolean}) => Promise<T>} write strict: on disk, not only handed to the operating system, when it resolves
 * @property {() => void} close
 */

/** @type {Table[]} */
export const TABLES = ["meta", "sessions", "outbox", "results", "usage"];

/**
 * Removes all that a store holds, at once and from the disk: a deletion of the whole database may
 * have to wait for other tabs.
 *
 * @param {Store} store
 */
export async function clearStore(store) {
  await store.write(TABLES, (tx) => Promise.all(TABLES.map((table) => tx.clear(table))), {
    isStrict: true,
  });
}
