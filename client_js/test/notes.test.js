import assert from "node:assert/strict";
import { test } from "node:test";
import { Notes } from "../src/notes.js";
import { MemoryStorage } from "./support/chat-model.js";

/** @import {Note} from "../src/in-step.js" */

/** @param {string} title @returns {Note} */
const note = (title) => ({
  settings: { title, isPinned: false, tags: [], model: "" },
  messages: {},
  isSeen: true,
  takenAt: null,
});

/** @param {MemoryStorage} storage */
const open = (storage) => new Notes(storage, "store", "i|alice");

test("notes are there for the next page of the same account, and for no other", () => {
  const storage = new MemoryStorage();
  const notes = open(storage);
  notes.set("a", note("A"));

  notes.save();

  assert.deepEqual([...open(storage)], [["a", note("A")]]);
  assert.equal(new Notes(storage, "store", "i|bob").size, 0);
});

test("what cannot be read, or has no room, is as if there were none", () => {
  for (const kept of ["not JSON", "7", '[["a"],8]']) {
    const storage = new MemoryStorage();
    storage.setItem("store:parley:i|alice", kept);
    assert.equal(open(storage).size, 0);
  }
  const storage = new MemoryStorage();
  const notes = open(storage);
  notes.set("a", note("A"));
  storage.isFull = true;
  notes.save();
  assert.equal(open(storage).size, 0);
});

test("notes of what could not be kept of the store are not kept either", () => {
  const storage = new MemoryStorage({ store: "old" });
  const notes = open(storage);
  notes.begin();
  notes.set("a", note("A"));

  notes.onStore();
  notes.save();
  assert.equal(open(storage).size, 0);

  storage.setItem("store", "new");
  notes.save();
  assert.deepEqual([...open(storage)], [["a", note("A")]]);
});

test("a write that failed takes its note back, and those that built on it", () => {
  const notes = open(new MemoryStorage());
  const [first, second, third] = [note("1"), note("2"), note("3")];
  notes.set("a", third);

  notes.undo("a", first, second);
  assert.equal(notes.get("a"), first);
  notes.undo("a", second, third);
  assert.equal(notes.get("a"), first);
  notes.undo("a", undefined, first);
  notes.undo("a", second, third);
  assert.equal(notes.get("a"), undefined);
});

test("a removal that failed brings the note back", () => {
  const notes = open(new MemoryStorage());
  notes.undo("a", note("A"));

  assert.deepEqual(notes.get("a"), note("A"));
});
