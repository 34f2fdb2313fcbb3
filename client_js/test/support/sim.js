/**
 * A browser with several tabs in one process, whose time stands still between events: Web Locks,
 * BroadcastChannels, timers and pages that can be frozen or killed. Storage is fake-indexeddb.
 *
 * @module
 */

/** @import {Channel, Env, Socket} from "../../src/types.js" */

import "fake-indexeddb/auto";
import { IDBFactory } from "fake-indexeddb";
import { createEnv } from "../../src/env.js";

/**
 * @typedef {object} Waiter
 * @property {SimTab} tab
 * @property {(lock: unknown) => Promise<void>} hold
 * @property {() => void} done
 * @property {(error: Error) => void} fail
 */

/**
 * Lets promises and fake-indexeddb go on until they have nothing to do, or for some turns.
 *
 * @param {number} turns
 */
async function settle(turns) {
  for (let turn = 0; turn < turns; turn++) {
    await new Promise((go) => setImmediate(go));
    if (!process.getActiveResourcesInfo().includes("Immediate")) return;
  }
}

export class Sim {
  now = 1_800_000_000_000;
  indexedDB = new IDBFactory();
  /** @type {SimTab[]} */
  tabs = [];
  /** @type {Map<string, {holder: Waiter | null, queue: Waiter[]}>} */
  locks = new Map();
  /** @type {{at: number, seq: number, tab: SimTab, run: () => void}[]} */
  #events = [];
  #seq = 0;
  /** Delay of each message in ms. */
  delay = () => 1;
  /** How far the disk gets between two events, at most. */
  turns = Infinity;

  /** @param {(url: string, tab: SimTab) => Socket} [openSocket] */
  tab(openSocket) {
    const tab = new SimTab(this, `tab${this.tabs.length}`, openSocket);
    this.tabs.push(tab);
    return tab;
  }

  /** @param {SimTab} tab @param {number} delayMs @param {() => void} run */
  schedule(tab, delayMs, run) {
    const event = { at: this.now + delayMs, seq: this.#seq++, tab, run };
    this.#events.push(event);
    return () => {
      this.#events = this.#events.filter((one) => one !== event);
    };
  }

  /** Lets `ms` pass. @param {number} ms */
  async run(ms) {
    const end = this.now + ms;
    await settle(this.turns);
    for (;;) {
      const next = this.#next(end);
      if (!next) break;
      this.now = Math.max(this.now, next.at);
      next.run();
      await settle(this.turns);
    }
    this.now = end;
  }

  /** @param {number} end */
  #next(end) {
    this.#events = this.#events.filter(({ tab }) => !tab.isDead);
    const due = this.#events.filter(({ tab, at }) => !tab.isFrozen && at <= end);
    due.sort((a, b) => a.at - b.at || a.seq - b.seq);
    const next = due[0];
    this.#events = this.#events.filter((one) => one !== next);
    return next;
  }

  /** @param {string} name */
  lock(name) {
    const lock = this.locks.get(name) ?? { holder: null, queue: [] };
    this.locks.set(name, lock);
    return lock;
  }

  /** @param {string} name */
  grant(name) {
    const lock = this.lock(name);
    const next = lock.holder ? undefined : lock.queue.shift();
    if (!next) return;
    lock.holder = next;
    this.schedule(next.tab, 0, async () => {
      if (lock.holder !== next) return;
      await next.hold({ name });
      if (lock.holder !== next) return;
      lock.holder = null;
      next.done();
      this.grant(name);
    });
  }

  /** @param {SimTab} tab whose locks are free now */
  dropLocks(tab) {
    for (const [name, lock] of this.locks) {
      lock.queue = lock.queue.filter((waiter) => waiter.tab !== tab);
      if (lock.holder?.tab === tab) lock.holder = null;
      this.grant(name);
    }
  }
}

export class SimTab {
  isDead = false;
  isFrozen = false;
  isVisible = true;
  isOnline = true;
  /** @type {Set<{name: string, channel: Channel}>} */
  channels = new Set();
  /** @type {Set<{drop: () => void}>} */
  sockets = new Set();
  /** @type {Set<(event: "hide" | "show" | "visible") => void>} */
  #pageListeners = new Set();
  /** @type {Set<(online: boolean) => void>} */
  #onlineListeners = new Set();

  /** @param {Sim} sim @param {string} name @param {(url: string, tab: SimTab) => Socket} [openSocket] */
  constructor(sim, name, openSocket) {
    this.sim = sim;
    this.name = name;
    /** @type {Env} */
    this.env = createEnv({
      now: () => sim.now,
      after: (run, ms) => sim.schedule(this, Math.max(0, ms), run),
      isOnline: () => this.isOnline,
      isVisible: () => this.isVisible,
      onOnlineChange: (listener) => addTo(this.#onlineListeners, listener),
      onPageChange: (listener) => addTo(this.#pageListeners, listener),
      openSocket: (url) => {
        if (!openSocket) throw new Error("no network here");
        return openSocket(url, this);
      },
      openChannel: (channel) => this.#openChannel(channel),
      locks: { request: (lock, options, hold) => this.#request(lock, options, hold) },
      indexedDB: sim.indexedDB,
    });
  }

  /** The process of the tab ends, without a word. */
  kill() {
    this.isDead = true;
    for (const { drop } of this.sockets) drop();
    this.channels.clear();
    this.sim.dropLocks(this);
  }

  freeze() {
    this.isFrozen = true;
  }

  thaw() {
    this.isFrozen = false;
  }

  /** @param {"hide" | "show" | "visible"} event */
  page(event) {
    this.isVisible = event !== "hide";
    for (const listener of this.#pageListeners) listener(event);
  }

  /** @param {boolean} isOnline */
  network(isOnline) {
    this.isOnline = isOnline;
    if (!isOnline) for (const { drop } of this.sockets) drop();
    for (const listener of this.#onlineListeners) listener(isOnline);
  }

  /** @param {string} name @returns {Channel} */
  #openChannel(name) {
    /** @type {Channel} */
    const channel = { onmessage: null, postMessage: () => {}, close: () => {} };
    const entry = { name, channel };
    channel.close = () => this.channels.delete(entry);
    channel.postMessage = (message) => {
      if (!this.channels.has(entry)) return;
      const data = structuredClone(message);
      for (const tab of this.sim.tabs) {
        for (const other of tab.channels) {
          if (other.name !== name || other === entry) continue;
          this.sim.schedule(tab, this.sim.delay(), () => {
            if (tab.channels.has(other)) other.channel.onmessage?.({ data });
          });
        }
      }
    };
    this.channels.add(entry);
    return channel;
  }

  /** @type {NonNullable<Env["locks"]>["request"]} */
  #request(name, { steal, signal }, hold) {
    const lock = this.sim.lock(name);
    return new Promise((resolve, reject) => {
      /** @type {Waiter} */
      const waiter = { tab: this, hold, done: () => resolve(), fail: reject };
      if (this.isDead) return;
      if (steal) {
        const former = lock.holder;
        lock.holder = null;
        const abort = new DOMException("stolen", "AbortError");
        if (former) this.sim.schedule(former.tab, 0, () => former.fail(abort));
        lock.queue.unshift(waiter);
      } else {
        lock.queue.push(waiter);
      }
      signal?.addEventListener("abort", () => {
        if (!lock.queue.includes(waiter)) return;
        lock.queue = lock.queue.filter((one) => one !== waiter);
        reject(signal.reason);
      });
      this.sim.grant(name);
    });
  }
}

/** @template Listener @param {Set<Listener>} set @param {Listener} listener */
function addTo(set, listener) {
  set.add(listener);
  return () => {
    set.delete(listener);
  };
}
