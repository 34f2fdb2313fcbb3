import "fake-indexeddb/auto";
import assert from "node:assert/strict";
import { test } from "node:test";
import { forceCloseDatabase, IDBFactory } from "fake-indexeddb";
import { deleteIndexedDB, openIndexedDB } from "../src/storage/indexeddb.js";
import { never } from "./support/stores.js";

/** @import {TestContext} from "node:test" */
/** @import {Store} from "../src/storage/store.js" */

// What all stores do is in storage-store.test.js.

/** @param {Store} store */
const read = (store) => store.read(["meta"], (tx) => tx.get("meta", "k"));

/** @param {Store} store @param {unknown} value */
const put = (store, value) => store.write(["meta"], (tx) => tx.put("meta", "k", value));

/** Opens databases as an app without manners does: it gives nothing up. */
const openRudely = (/** @type {IDBFactory} */ indexedDB) =>
  new Promise((resolve) => {
    indexedDB.open("a", 1).onsuccess = (event) =>
      resolve(/** @type {IDBOpenDBRequest} */ (event.target).result);
  });

/**
 * The connection that a store has used.
 *
 * @param {{mock: {calls: {this: unknown}[]}}} begin
 * @returns {any} an IDBDatabase, and one of fake-indexeddb's
 */
const connectionOf = (begin) => begin.mock.calls[0]?.this;

/**
 * A deadline that comes when the test says so.
 */
function makeDeadline() {
  /** @type {() => void} */
  let run = () => {};
  let isCancelled = false;
  return {
    after: (/** @type {() => void} */ callback) => {
      run = callback;
      return () => {
        isCancelled = true;
      };
    },
    come: () => run(),
    isCancelled: () => isCancelled,
  };
}

/**
 * Lets the disk be full from the second row on that is put.
 *
 * @param {TestContext} t
 * @param {(store: IDBObjectStore, error: DOMException) => void} fail
 */
function fillDisk(t, fail) {
  let puts = 0;
  const original = IDBObjectStore.prototype.put;
  t.mock.method(
    IDBObjectStore.prototype,
    "put",
    /** @this {IDBObjectStore} @param {[unknown, IDBValidKey]} args */
    function (...args) {
      puts += 1;
      if (puts === 2) fail(this, new DOMException("full", "QuotaExceededError"));
      return original.apply(this, args);
    },
  );
}

/** @param {Store} store */
const putTwo = (store) =>
  store.write(["meta", "outbox"], async (tx) => {
    await tx.put("meta", "k", "half");
    await tx.put("outbox", 1, "other half");
  });

test("says that it outlives the page", async () => {
  const store = await openIndexedDB("a", { indexedDB: new IDBFactory(), after: never });

  assert.equal(store.isDurable, true);
});

test("asks for strict durability when told, and for no more than needed else", async (t) => {
  const store = await openIndexedDB("a", { indexedDB: new IDBFactory(), after: never });
  const begin = t.mock.method(IDBDatabase.prototype, "transaction");

  await store.write(["meta"], (tx) => tx.put("meta", "k", 1), { isStrict: true });
  await put(store, 2);

  assert.deepEqual(
    begin.mock.calls.map((call) => call.arguments[2]),
    [{ durability: "strict" }, { durability: "relaxed" }],
  );
});

test("a disk that is full while a row is put gives StorageFull, and nothing is written", async (t) => {
  const store = await openIndexedDB("a", { indexedDB: new IDBFactory(), after: never });
  fillDisk(t, (_, error) => {
    throw error;
  });

  await assert.rejects(putTwo(store), { code: "StorageFull" });

  assert.equal(await read(store), undefined);
});

test("a disk that is full at the commit gives StorageFull, and nothing is written", async (t) => {
  const store = await openIndexedDB("a", { indexedDB: new IDBFactory(), after: never });
  // As browsers do it: the transaction aborts with the reason, its requests only with AbortError.
  fillDisk(t, ({ transaction }, error) => {
    queueMicrotask(() => {
      transaction.abort();
      Object.defineProperty(transaction, "error", { value: error });
    });
  });

  await assert.rejects(putTwo(store), { code: "StorageFull" });

  assert.equal(await read(store), undefined);
  t.mock.restoreAll();
  await put(store, "there is room again");
  assert.equal(await read(store), "there is room again");
});

test("a newer version in another tab gets the database at once, and the old tab hears of it", async () => {
  const indexedDB = new IDBFactory();
  /** @type {string[]} */
  const lost = [];
  const old = await openIndexedDB("a", {
    indexedDB,
    after: never,
    onLost: (error) => lost.push(error.code),
  });
  await put(old, "kept");

  const newer = await openIndexedDB("a", { indexedDB, after: never, version: 2 });

  assert.equal(await read(newer), "kept");
  assert.deepEqual(lost, ["StorageLost"]);
  await assert.rejects(read(old), { code: "StorageLost" });
});

test("a write under way is finished before another tab gets the database", async () => {
  const indexedDB = new IDBFactory();
  const old = await openIndexedDB("a", { indexedDB, after: never });

  const writing = put(old, "in time");
  const newer = await openIndexedDB("a", { indexedDB, after: never, version: 2 });

  await writing;
  assert.equal(await read(newer), "in time");
});

test("the old version cannot open what a newer one has changed", async () => {
  const indexedDB = new IDBFactory();
  await openIndexedDB("a", { indexedDB, after: never, version: 2 });

  const opening = openIndexedDB("a", { indexedDB, after: never, version: 1 });

  await assert.rejects(opening, { code: "StorageLost" });
});

test("a tab that gives nothing up blocks an opening only until the deadline", async () => {
  const indexedDB = new IDBFactory();
  const rude = await openRudely(indexedDB);
  const deadline = makeDeadline();

  const opening = openIndexedDB("a", { indexedDB, after: deadline.after, version: 2 });
  deadline.come();

  await assert.rejects(opening, { code: "StorageBlocked" });
  // What then opens after all must block nobody either.
  rude.close();
  const third = await openIndexedDB("a", { indexedDB, after: never, version: 3 });
  await put(third, 1);
});

test("a tab that gives nothing up blocks a deletion only until the deadline", async () => {
  const indexedDB = new IDBFactory();
  const rude = await openRudely(indexedDB);
  const deadline = makeDeadline();

  const deleting = deleteIndexedDB("a", { indexedDB, after: deadline.after });
  deadline.come();

  await assert.rejects(deleting, { code: "StorageBlocked" });
  rude.close();
});

test("an opening in time cancels its deadline", async () => {
  const deadline = makeDeadline();

  await openIndexedDB("a", { indexedDB: new IDBFactory(), after: deadline.after });

  assert.equal(deadline.isCancelled(), true);
});

test("a browser that refuses to open gives StorageLost", async (t) => {
  const indexedDB = new IDBFactory();
  t.mock.method(indexedDB, "open", () => {
    throw new DOMException("denied", "SecurityError");
  });

  await assert.rejects(openIndexedDB("a", { indexedDB, after: never }), { code: "StorageLost" });
});

test("a connection that the browser cut is opened again by the next call", async (t) => {
  const indexedDB = new IDBFactory();
  const begin = t.mock.method(IDBDatabase.prototype, "transaction");
  const store = await openIndexedDB("a", { indexedDB, after: never });
  await put(store, "kept");

  forceCloseDatabase(connectionOf(begin));

  assert.equal(await read(store), "kept");
});

test("a connection that ended without a word is opened again by the next call", async (t) => {
  const indexedDB = new IDBFactory();
  const begin = t.mock.method(IDBDatabase.prototype, "transaction");
  const store = await openIndexedDB("a", { indexedDB, after: never });
  await put(store, "kept");

  connectionOf(begin).close();

  assert.equal(await read(store), "kept");
});

test("a store closed while a write asks for it stays closed, and blocks nobody", async () => {
  const indexedDB = new IDBFactory();
  const store = await openIndexedDB("a", { indexedDB, after: never });
  const writing = put(store, 1);
  store.close();

  await assert.rejects(writing, { code: "StorageLost" });
  await deleteIndexedDB("a", { indexedDB, after: never });
});
