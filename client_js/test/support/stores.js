/**
 * Devices to keep things on: each is empty, and what is opened on it by name is one database.
 *
 * @module
 */

import "fake-indexeddb/auto";
import { IDBFactory } from "fake-indexeddb";
import { deleteIndexedDB, openIndexedDB } from "../../src/storage/indexeddb.js";
import { deleteMemory, openMemory } from "../../src/storage/memory.js";

/** @import {Store} from "../../src/storage/store.js" */
/** @import {Shelf} from "../../src/storage/memory.js" */

/**
 * @typedef {object} Device
 * @property {(name: string) => Promise<Store>} open
 * @property {(name: string) => Promise<void>} delete
 */

/** Never: the deadline of tests that do not wait for one. */
export const never = () => () => {};

/** @returns {Device} */
function memoryDevice() {
  /** @type {Shelf} */
  const shelf = new Map();
  return {
    open: async (name) => openMemory(name, shelf),
    delete: async (name) => deleteMemory(name, shelf),
  };
}

/** @returns {Device} */
function diskDevice() {
  const indexedDB = new IDBFactory();
  return {
    open: (name) => openIndexedDB(name, { indexedDB, after: never }),
    delete: (name) => deleteIndexedDB(name, { indexedDB, after: never }),
  };
}

/** @type {Record<string, () => Device>} */
export const DEVICES = { memory: memoryDevice, "fake-indexeddb": diskDevice };
