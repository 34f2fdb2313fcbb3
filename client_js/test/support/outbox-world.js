/**
 * Several tabs over one database, a server that remembers what it has done, and a ledger of what
 * must have become of every write.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Outbox } from "../../src/outbox.js";

/** @import {OutboxEntry} from "../../src/types.js" */
/** @import {Device} from "./stores.js" */

const DAY_MS = 24 * 3600 * 1000;
const ACCOUNTS = ["alice", "bob"];
// What one tab does may come too late for another: these say so, and nothing is wrong.
const TOO_LATE = ["NotFailed", "AlreadySent"];

/**
 * @typedef {object} Tab
 * @property {Outbox} outbox
 * @property {string} account
 * @property {number} sentUpTo
 * @property {OutboxEntry[]} queue read, and not sent yet
 *
 * @typedef {"append" | "appendBad" | "read" | "send" | "sendUnheard" | "reconnect" | "retry"
 *   | "discard" | "crash" | "leave" | "beat" | "minute" | "fortnight"} Act
 * @typedef {{tab: number, act: Act, pick: number}} Step
 *
 * @typedef {object} Write
 * @property {string} account
 * @property {string} sessionId
 * @property {number} order writes of one session with different orders were made one after the other
 * @property {boolean} isMoved retried, so that its place is another
 * @property {"open" | "discarded" | "unknown"} fate "unknown": given up after a fortnight
 */

/** Does each request of a session once, and none below one that it has done. */
class Server {
  /** @type {{account: string, sessionId: string, requestId: number, name: string}[]} */
  log = [];
  /** @type {Map<string, Map<number, string>>} */
  #done = new Map();
  /** @type {Map<string, number>} */
  #refused = new Map();

  /**
   * @param {string} account
   * @param {OutboxEntry} entry
   * @returns {boolean} whether it is done
   */
  submit(account, { sessionId, requestId, args }) {
    const { name, isBad } = /** @type {{name: string, isBad: boolean}} */ (args);
    const done = this.#done.get(sessionId) ?? new Map();
    this.#done.set(sessionId, done);
    if (done.has(requestId)) {
      assert.equal(done.get(requestId), name, "a number stands for two writes");
      return true;
    }
    // A bad one fails under its first number.
    const first = this.#refused.get(name);
    if (isBad && (first === undefined || first === requestId)) {
      this.#refused.set(name, requestId);
      return false;
    }
    assert.ok(requestId > Math.max(-1, ...done.keys()), "came behind one that is done: lost");
    done.set(requestId, name);
    this.log.push({ account, sessionId, requestId, name });
    return true;
  }

  forget() {
    this.#done.clear();
  }
}

export class World {
  #device;
  #hasLocks;
  #now = 1e12;
  #ids = 0;
  #order = 0;
  /** @type {(Tab | null)[]} */
  #tabs = [null, null, null];
  /** @type {Map<string, Write>} */
  #writes = new Map();
  #server = new Server();

  /**
   * @param {Device} device
   * @param {boolean} hasLocks
   */
  constructor(device, hasLocks) {
    this.#device = device;
    this.#hasLocks = hasLocks;
  }

  /**
   * Runs steps at the same time, each over transactions of its own.
   *
   * @param {Step[]} steps
   */
  async run(steps) {
    this.#order += 1;
    const running = steps.map((step) => this.#step(step).catch(passTooLate));
    await Promise.all(running);
  }

  /** Lets everything that can still be sent be sent, and compares all with the ledger. */
  async settle() {
    this.#tabs.fill(null);
    const left = [];
    for (const account of ACCOUNTS) left.push(...(await this.#sendAll(account)));
    this.#checkFates(left);
    this.#checkOrder();
  }

  /** @param {string} account */
  async #sendAll(account) {
    for (;;) {
      // Without locks every session needs a tab that takes it over.
      this.#now += 61_000;
      const tab = await this.#open(account);
      const unsent = (await tab.outbox.list()).filter((entry) => entry.state !== "failed");
      if (unsent.length === 0) return tab.outbox.list();
      await this.#read(tab);
      assert.ok(tab.queue.length > 0, "what is left is sent by nobody");
      await this.#send(tab, true);
    }
  }

  /** @param {OutboxEntry[]} left */
  #checkFates(left) {
    for (const entry of left) this.#isGivenUp(entry);
    for (const [name, { account, fate }] of this.#writes) {
      const committed = this.#server.log.filter((row) => row.name === name);
      assert.ok(committed.length <= 1, `${name} was done twice`);
      assert.ok(
        committed.every((row) => row.account === account),
        `${name} done as another`,
      );
      const isLeft = left.filter((entry) => nameOf(entry) === name).length;
      if (fate === "unknown") continue;
      assert.equal(committed.length + isLeft + Number(fate === "discarded"), 1, `${name} is lost`);
    }
  }

  #checkOrder() {
    /** @type {Map<string, Write>} */
    const last = new Map();
    for (const { name, sessionId } of this.#server.log) {
      const write = this.#writes.get(name);
      if (!write || write.isMoved) continue;
      assert.equal(write.sessionId, sessionId);
      assert.ok(write.order >= (last.get(sessionId)?.order ?? 0), `${name} overtook another`);
      last.set(sessionId, write);
    }
  }

  /** @param {string} account */
  async #open(account) {
    const outbox = await Outbox.open(await this.#device.open("a"), {
      account,
      now: () => this.#now,
      uuid: () => `session ${this.#ids++}`,
      hasLocks: this.#hasLocks,
    });
    return { outbox, account, sentUpTo: -1, queue: [] };
  }

  /** @param {Step} step */
  async #step({ tab: place, act, pick }) {
    this.#tabs[place] ??= await this.#open(ACCOUNTS[pick % ACCOUNTS.length] ?? "");
    const tab = this.#tabs[place] ?? (await this.#open("alice"));
    const acts = {
      append: () => this.#append(tab, false),
      appendBad: () => this.#append(tab, true),
      read: () => this.#read(tab),
      send: () => this.#send(tab, true),
      sendUnheard: () => this.#send(tab, false),
      reconnect: async () => {
        tab.sentUpTo = -1;
        tab.queue = [];
      },
      retry: () => this.#retry(tab, pick),
      discard: () => this.#discard(tab, pick),
      crash: async () => {
        this.#tabs[place] = null;
      },
      leave: async () => {
        this.#tabs[place] = null;
        await tab.outbox.release();
      },
      beat: () => tab.outbox.beat(),
      minute: async () => {
        this.#now += 61_000;
      },
      fortnight: async () => {
        this.#now += 14 * DAY_MS;
        this.#server.forget();
      },
    };
    await acts[act]();
  }

  /** @param {Tab} tab @param {boolean} isBad */
  async #append({ outbox, account }, isBad) {
    const name = `write ${this.#ids++}`;
    const order = this.#order;
    const entry = await outbox.append({ key: name, path: "a:b", args: { name, isBad } });
    const { sessionId } = entry;
    this.#writes.set(name, { account, sessionId, order, isMoved: false, fate: "open" });
  }

  /** @param {Tab} tab */
  async #read(tab) {
    const entries = await tab.outbox.after(tab.sentUpTo);
    assert.ok(
      entries.every((entry) => entry.user === tab.account),
      "handed out another account's",
    );
    tab.queue = entries;
  }

  /** @param {Tab} tab @param {boolean} isHeard whether the server's answers arrive */
  async #send(tab, isHeard) {
    const queue = tab.queue;
    tab.queue = [];
    const open = new Set(await tab.outbox.sent(queue.map((entry) => entry.requestId)));
    for (const entry of queue.filter(({ requestId }) => open.has(requestId))) {
      tab.sentUpTo = Math.max(tab.sentUpTo, entry.requestId);
      const isDone = this.#server.submit(tab.account, entry);
      if (!isHeard) continue;
      await (isDone
        ? tab.outbox.done([entry.requestId])
        : tab.outbox.fail(entry.requestId, { message: "bad" }));
    }
  }

  /** @param {Tab} tab @param {number} pick */
  async #retry({ outbox }, pick) {
    const failed = (await outbox.list()).filter((entry) => entry.state === "failed");
    const entry = failed[pick % failed.length];
    if (!entry || this.#isGivenUp(entry)) return;
    await outbox.retry(entry.key);
    const write = this.#writes.get(nameOf(entry));
    if (write) write.isMoved = true;
  }

  /** @param {Tab} tab @param {number} pick */
  async #discard({ outbox }, pick) {
    const entries = await outbox.list();
    const entry = entries[pick % entries.length];
    const discarded = entry && (await outbox.discard(entry.key));
    if (!discarded || this.#isGivenUp(discarded)) return;
    const write = this.#writes.get(nameOf(discarded)) ?? assert.fail("unknown write");
    assert.equal(write.fate, "open");
    write.fate = "discarded";
  }

  /** @param {OutboxEntry} entry */
  #isGivenUp(entry) {
    const write = this.#writes.get(nameOf(entry));
    if (entry.failure?.code !== "OutcomeUnknown" || !write) return false;
    write.fate = "unknown";
    return true;
  }
}

/** @param {OutboxEntry} entry */
const nameOf = (entry) => /** @type {{name: string}} */ (entry.args).name;

/** @param {{code?: string}} error */
function passTooLate(error) {
  if (!TOO_LATE.includes(error.code ?? "")) throw error;
}
