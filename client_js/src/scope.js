/**
 * All that belongs to one account on one deployment, as one tab has it: what it shows, its part of
 * the outbox, its place among the tabs. Another account is another scope, and shares nothing.
 *
 * Rules
 * - A Change goes into the view whole, before anybody is told of any part of it; then the
 *   mutations that it completes are settled.
 * - Whoever leads, messages that came too late or twice change nothing.
 * - When another leader comes, this tab tells it all that it watches and waits for, and goes on
 *   showing what it has.
 *
 * @module
 */

/** @import {Account, Completion, Env, Json, OptimisticUpdate, OutboxEntry, QueryCall, QueryToken, Result, Value} from "./types.js" */
/** @import {Write} from "./handle.js" */
/** @import {Store} from "./storage/store.js" */
/** @import {Act, Line, Notice, ToLeader, ToTab} from "./tabs/messages.js" */
/** @import {News} from "./transport.js" */

import { Asked } from "./asked.js";
import { ParleyError } from "./errors.js";
import { Lead } from "./lead.js";
import { Outbox } from "./outbox.js";
import { ResultCache } from "./results.js";
import { Shown } from "./shown.js";
import { Tabs } from "./tabs/leader.js";
import { Unsent } from "./unsent.js";

const BEAT_MS = 20_000;

/**
 * @typedef {object} ScopeOptions
 * @property {Env} env
 * @property {string} url of the sync socket
 * @property {Account} account
 * @property {string} name of the scope, the same in all tabs
 * @property {string} tabId
 * @property {boolean} useTabs
 * @property {number} maxCacheBytes
 * @property {Store} store
 * @property {Map<string, OptimisticUpdate>} updates by path; may grow
 * @property {Map<string, Write>} writes of this tab by key; outlive the scope
 * @property {Record<string, (args: any) => unknown>} localResults for a guest
 * @property {(tokens: Set<QueryToken>) => void} onShown
 * @property {() => void} onChange something changed that a person may be told
 * @property {(news: News) => void} onAuth
 */

export class Scope {
  #options;
  #outbox;
  #cache;
  #tabs;
  /** @type {Lead | null} */
  #lead = null;
  #shown;
  #unsent;
  #asked = new Asked();
  /** @type {string | null | undefined} */
  #token;
  /** @type {string | null | undefined} the last token with which it was tried to lead */
  #tried;
  /** @type {Line["needsAuth"]} */
  #needsAuth = null;
  /** @type {(() => void)[]} */
  #ends = [];
  /** @type {() => void} */
  #stopBeat = () => {};
  #isClosed = false;
  /** @type {Set<Promise<unknown>>} what is being written to disk */
  #busy = new Set();

  /**
   * Opens a scope: what is in its outbox shows at once, what is watched comes from disk.
   *
   * @param {ScopeOptions} options
   */
  static async open(options) {
    const { env, account, store, useTabs } = options;
    // Who keeps things in memory has nothing to share, and cannot send for others.
    const isShared = useTabs && store.isDurable && !!env.locks && !!env.openChannel;
    const { now, uuid } = env;
    const outbox = await Outbox.open(store, { account, now, uuid, hasLocks: isShared });
    const scope = new Scope(options, outbox, isShared);
    if (isShared) scope.#unsent.resume(account, outbox.sessionId);
    await scope.refresh();
    return scope;
  }

  /**
   * @param {ScopeOptions} options
   * @param {Outbox} outbox
   * @param {boolean} isShared
   */
  constructor(options, outbox, isShared) {
    this.#options = options;
    this.#outbox = outbox;
    this.#cache = new ResultCache(options.store, options.env.now);
    this.account = options.account;
    this.isGuest = options.account === "guest";
    this.isDurable = options.store.isDurable;
    const { updates, writes, onShown, onChange } = options;
    this.#shown = new Shown({
      cache: this.#cache,
      localResults: this.isGuest ? options.localResults : null,
      onShown,
      onCompleted: (completed) => this.#onCompleted(completed),
    });
    this.view = this.#shown.view;
    this.#unsent = new Unsent({ view: this.view, updates, writes, onShown, onChange });
    /** @type {Line | null} the leader's connection, as far as it is known */
    this.line = null;
    const env = isShared ? options.env : { ...options.env, locks: null };
    this.#tabs = new Tabs(env, options.name, options.tabId, {
      onLeader: () => this.#onLeader(),
      onMessage: (message) => this.#hear(message),
      onAsked: () => this.#lead?.tick(),
      isWaiting: () => this.#asked.size > 0 || this.#unsent.waiting.length > 0,
    });
  }

  /** @returns {"leader" | "follower" | "alone"} */
  get role() {
    if (this.#tabs.isAlone) return "alone";
    return this.#tabs.isLeader ? "leader" : "follower";
  }

  /** Entries of the outbox, in order. */
  get entries() {
    return this.#unsent.entries;
  }

  /**
   * Takes its place among the tabs.
   *
   * @param {Line["needsAuth"]} needsAuth why there is no token, if so
   */
  join(needsAuth) {
    this.#needsAuth = needsAuth;
    this.#ends.push(
      this.#options.env.onPageChange((event) => {
        if (event === "hide") this.#leave();
        else if (event === "show") this.#enter();
        else this.#tabs.probe();
      }),
    );
    this.#enter();
  }

  #enter() {
    if (this.#isClosed || this.#tabs.leader) return;
    this.#tabs.start();
    if (this.#tabs.isAlone) this.#beat();
  }

  #beat() {
    this.#stopBeat();
    this.#stopBeat = this.#options.env.after(() => {
      this.#outbox.beat().catch(() => {});
      // Tabs that have no locks say nothing to each other. What another one has just stored shows
      // when it is done: should that tab stop now, its effect would be shown twice.
      this.refresh(false).catch(() => {});
      this.#beat();
    }, BEAT_MS);
  }

  #leave() {
    this.#stopBeat();
    if (this.#tabs.isAlone) this.#outbox.release().catch(() => {});
    this.#tabs.stop();
  }

  /** Lets go of locks, channels, timers and the socket. What is unsent stays for the next time. */
  async close() {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const end of this.#ends) end();
    const lead = this.#lead;
    this.#leave();
    this.#asked.end();
    // What was begun is written down.
    await Promise.allSettled([...this.#busy, lead?.idle()]);
    this.#options.store.close();
  }

  /**
   * Begins to watch a query; shows what is kept of it, until the server answers.
   *
   * @param {QueryCall} query
   */
  watch(query) {
    this.#shown.watch(query);
    this.#toLeader({ type: "watch", tab: this.#tabs.id, query });
  }

  /** @param {QueryToken} token */
  unwatch(token) {
    this.#shown.unwatch(token);
    this.#toLeader({ type: "unwatch", tab: this.#tabs.id, token });
  }

  /**
   * Stores a mutation, to be sent in its order. Settles the write.
   *
   * @param {Write} write
   */
  async write(write) {
    const { key, path, json } = write;
    this.#options.writes.set(key, write);
    this.#unsent.show(key, Infinity, path, write.args);
    const storing = this.#outbox.append({ key, path, args: json });
    this.#busy.add(storing);
    try {
      const entry = await storing;
      this.#tabs.toAll({ type: "stored", entry });
      this.#onStored(entry);
    } catch (error) {
      this.#options.writes.delete(key);
      this.#unsent.hide(key);
      write.fail(/** @type {Error} */ (error));
    } finally {
      this.#busy.delete(storing);
    }
  }

  /**
   * Runs an action on the server, at most once.
   *
   * @param {string} path
   * @param {Json} args
   * @returns {Promise<Value>}
   */
  act(path, args) {
    if (this.isGuest) {
      return Promise.reject(new ParleyError("SignedOut", "Guests cannot run actions"));
    }
    const { act, result } = this.#asked.ask(path, args);
    this.#toLeader({ type: "act", tab: this.#tabs.id, act });
    this.#options.onChange();
    return result;
  }

  /** Number of actions that this tab waits for. */
  get actions() {
    return this.#asked.size;
  }

  /**
   * Tries a failed mutation again, as a new one.
   *
   * @param {string} key
   * @param {(entry: OutboxEntry) => Write} follow makes the new one's handle
   */
  async retry(key, follow) {
    const entry = await this.#outbox.retry(key);
    const write = follow(entry);
    this.#options.writes.set(entry.key, write);
    this.#tell({ type: "retried", key, entry });
  }

  /** @param {string} key */
  async discard(key) {
    await this.#outbox.discard(key);
    this.#tell({ type: "discarded", key });
  }

  /** Shows the effect of entries whose update became known now. @param {string} path */
  showUpdates(path) {
    this.#unsent.showUpdates(path);
  }

  /** @param {string | null | undefined} token null: nobody's; undefined: not known */
  setToken(token) {
    this.#token = token;
    this.#lead?.setToken(token);
    if (this.line) this.#onLine(this.line);
  }

  /** @param {Line["needsAuth"]} needsAuth why there is no token */
  setNeedsAuth(needsAuth) {
    this.#needsAuth = needsAuth;
    this.#lead?.setNeedsAuth(needsAuth);
  }

  /** Removes the results that are kept on this device. */
  clearResults() {
    const clearing = this.#cache.clear();
    this.#busy.add(clearing);
    return clearing.finally(() => this.#busy.delete(clearing));
  }

  /** Closes a guest's outbox, to move it. */
  seal() {
    return this.#outbox.seal();
  }

  /**
   * @param {OutboxEntry[]} entries of a guest
   * @param {string} marker
   */
  async adopt(entries, marker) {
    for (const entry of await this.#outbox.adopt(entries, marker)) {
      this.#tell({ type: "stored", entry });
    }
  }

  // --- Among the tabs ---

  #onLeader() {
    const { env, url, maxCacheBytes, onAuth, onChange } = this.#options;
    this.#lead?.stop();
    this.#lead = null;
    if (this.#tabs.isLeader && !this.isGuest) {
      const { ts, incarnation } = this.view;
      this.#lead = new Lead({
        env,
        url,
        tabs: this.#tabs,
        outbox: this.#outbox,
        cache: this.#cache,
        maxCacheBytes,
        seen: { ts, incarnation },
        token: this.#token,
        onAuth,
      });
      this.#lead.setNeedsAuth(this.#needsAuth);
      this.#lead.start();
    }
    if (this.#tabs.leader) {
      this.#asked.lose();
      this.#joinLeader();
    }
    onChange();
  }

  /** Tells the leader all that this tab watches and waits for. */
  #joinLeader() {
    const { ts, incarnation } = this.view;
    const { queries } = this.#shown;
    const waiting = this.#unsent.waiting;
    const actions = this.#asked.waiting;
    const tab = this.#tabs.id;
    this.#toLeader({ type: "join", tab, queries, ts, incarnation, waiting, actions });
    // What other tabs wrote while this one had no ears.
    this.refresh().catch(() => {});
  }

  /** @param {ToLeader} message */
  #toLeader(message) {
    if (!this.isGuest) this.#tabs.toLeader(message);
  }

  /** @param {Notice} notice for all tabs, this one too */
  #tell(notice) {
    this.#tabs.toAll(notice);
    this.#hear(notice);
  }

  /** @param {ToLeader | ToTab | Notice} message */
  #hear(message) {
    switch (message.type) {
      case "change":
        return this.#shown.apply(message.change);
      case "settled":
        return this.#onSettled(message.done, message.unknown);
      case "sent":
        return this.#unsent.onSent(message.requestIds);
      case "mayRun":
        if (!this.#asked.take(message.id)) return;
        return this.#toLeader({ type: "run", tab: this.#tabs.id, id: message.id });
      case "acted":
        return this.#onActed(message.id, message.result);
      case "line":
        return this.#onLine(message.line);
      case "stored":
        return this.#onStored(message.entry);
      case "retried":
        this.#unsent.onDiscarded(message.key);
        return this.#onStored(message.entry);
      case "discarded":
        return this.#unsent.onDiscarded(message.key);
      case "failed":
        this.#unsent.onFailed(message.requestId, message.failure);
        // The tab that wrote it may have ended before it could tell of it.
        return void this.refresh().catch(() => {});
      default:
        return this.#lead?.receive(message);
    }
  }

  /** @param {Line} line */
  #onLine(line) {
    const isBack = line.connected && !this.line?.connected;
    this.line = { ...line };
    if (line.needsAuth && !line.isConfirmed && this.#token !== this.#tried) {
      // Its leader has no token, and this tab may have a good one; once for each.
      this.#tried = this.#token;
      if (this.#tabs.leader && !this.#tabs.isLeader && this.#token) this.#tabs.take();
    }
    // While it could not read along, another one may have sent what this tab waits for.
    if (isBack && this.#unsent.waiting.length > 0) this.#joinLeader();
    this.#options.onChange();
  }

  // --- The outbox ---

  /** Reads anew what is in the outbox. @param {boolean} [isAll] false: not what is new */
  async refresh(isAll = true) {
    const gone = new Map(this.entries.map((entry) => [entry.key, entry]));
    for (const entry of await this.#outbox.list()) {
      gone.delete(entry.key);
      if (isAll) this.#onStored(entry);
      if (entry.failure) this.#unsent.onFailed(entry.requestId, entry.failure);
    }
    // What this session waits for, its leader tells. Of the rest nobody may have told this tab.
    for (const { key, requestId, state, sessionId } of gone.values()) {
      if (state === "failed") this.#unsent.onDiscarded(key);
      else if (sessionId !== this.#outbox.sessionId) this.#unsent.onUnknown([requestId]);
    }
  }

  /** @param {OutboxEntry} entry */
  #onStored(entry) {
    this.#unsent.onStored(entry);
    this.#lead?.read();
  }

  /** @param {Completion[]} completed @returns {() => void} tells of it */
  #onCompleted(completed) {
    if (completed.length === 0) return () => {};
    const writes = completed.map(({ requestId, value }) =>
      this.#unsent.remove(requestId, { value }),
    );
    return () => {
      for (const [index, { value }] of completed.entries()) writes[index]?.succeed(value);
      this.#options.onChange();
    };
  }

  /** @param {Completion[]} done @param {number[]} unknown */
  #onSettled(done, unknown) {
    this.#shown.complete(done);
    this.#unsent.onUnknown(unknown);
  }

  /** @param {number} id @param {Result} result */
  #onActed(id, result) {
    this.#asked.onActed(id, result);
    this.#options.onChange();
  }
}
