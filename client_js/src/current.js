/**
 * The scope of who is here now: opens it, and closes the former one. What the application watches
 * moves along; what it wrote stays with the account under which it was written.
 *
 * @module
 */

/** @import {Account, Env, OptimisticUpdate, QueryCall, QueryToken} from "./types.js" */
/** @import {Write} from "./handle.js" */
/** @import {Store} from "./storage/store.js" */
/** @import {Line} from "./tabs/messages.js" */
/** @import {News} from "./transport.js" */

import { databaseName, registryName } from "./accounts.js";
import { callAll, ParleyError } from "./errors.js";
import { Scope } from "./scope.js";
import { deleteIndexedDB, openIndexedDB } from "./storage/indexeddb.js";
import { deleteMemory, openMemory } from "./storage/memory.js";
import { clearStore } from "./storage/store.js";

// The version of the protocol that is spoken is that of npm's convex.
const SYNC_PATH = "/api/1.48.0/sync?parley=1";
// Who leaves one page for another often asks for the same again.
const LINGER_MS = 50;
const REOPEN_MS = 1000;

const KEEPS_NOTHING = "Nothing can be kept on this device, only until the page is closed:";

/**
 * @typedef {object} CurrentOptions
 * @property {Env} env
 * @property {string} url of the deployment
 * @property {boolean} useDisk
 * @property {boolean} useTabs
 * @property {number} maxCacheBytes
 * @property {Map<string, OptimisticUpdate>} updates by path; may grow
 * @property {Map<string, Write>} writes of this tab by key
 * @property {Record<string, (args: any) => unknown>} localResults
 * @property {() => void} onChange something changed that a person may be told
 * @property {(news: News) => void} onAuth
 * @property {() => Line["needsAuth"]} needsAuth
 */

export class Current {
  #options;
  #tabId;
  /** @type {Map<QueryToken, {query: QueryCall, listeners: Set<() => void>}>} */
  #watched = new Map();
  /** @type {{account: Account | null, use: (scope: Scope) => void, refuse: (error: Error) => void}[]} what waits for a scope; null: for the first of somebody */
  #waiting = [];
  #isClosed = false;
  /** @type {Promise<Store> | null} */
  #registry = null;
  #shelf = new Map();
  /** @type {Map<Promise<unknown>, Account | null>} */
  #closing = new Map();

  /** @param {CurrentOptions} options */
  constructor(options) {
    this.#options = options;
    this.#tabId = options.env.uuid();
    /** @type {Account | null} */
    this.account = null;
    /** @type {Scope | null} null while it opens */
    this.scope = null;
    /** @type {Promise<Scope> | null} */
    this.opening = null;
    /** @type {string | null | undefined} */
    this.token = undefined;
  }

  /**
   * Goes over to an account, unless it is the same.
   *
   * @param {Account} account
   * @param {string | null | undefined} token undefined: not known yet
   */
  enter(account, token) {
    if (this.#isClosed) return;
    this.token = token;
    if (account === this.account) {
      this.scope?.setToken(token);
      return this.catchUp();
    }
    this.leave();
    this.account = account;
    const opening = this.#open(account);
    this.opening = opening;
    opening.then((scope) => this.#onOpen(opening, scope), console.error);
    this.#options.onChange();
  }

  /** Sends nothing more before the next `enter`. */
  hold() {
    this.token = undefined;
    this.scope?.setToken(undefined);
  }

  /** Closes the scope, if there is one: nothing of it is shown any more. */
  leave() {
    const { account } = this;
    const waiting = account === null ? [] : this.#waiting.filter((one) => one.account === account);
    this.#waiting = this.#waiting.filter((one) => !waiting.includes(one));
    // What was written while the database was away is this account's, and nobody else's.
    const opening =
      this.opening ?? (account !== null && waiting.length > 0 ? this.#open(account) : null);
    this.account = null;
    this.scope = null;
    this.opening = null;
    if (!opening) return;
    for (const { use, refuse } of waiting) opening.then(use, refuse);
    /** @type {Promise<unknown>} */
    const closing = opening
      .then((scope) => scope.close())
      .catch(() => {})
      .then(() => this.#closing.delete(closing));
    this.#closing.set(closing, account);
    this.#tell(this.#watched.keys());
  }

  /** Kept when all that was left is closed. */
  async idle() {
    await Promise.all(this.#closing.keys());
  }

  async close() {
    // Nobody is told that nothing is shown any more: that is what was wanted.
    this.#watched.clear();
    this.leave();
    this.#isClosed = true;
    for (const { refuse } of this.#waiting.splice(0)) refuse(closed());
    await this.idle();
    (await this.#registry)?.close();
  }

  /**
   * Calls `use` with the scope of who is here now; with the first one, while nobody is known.
   *
   * @param {(scope: Scope) => void} use
   * @param {(error: Error) => void} [refuse] called instead if there will be none
   */
  use(use, refuse = () => {}) {
    if (this.#isClosed) refuse(closed());
    else if (this.scope) use(this.scope);
    else if (this.opening) this.opening.then(use, refuse);
    else this.#waiting.push({ account: this.account, use, refuse });
  }

  /**
   * Does what was asked for before anybody was known; not as somebody who was only here last,
   * unless it is clear that nobody can be asked.
   */
  catchUp() {
    const { scope, token } = this;
    if (!scope || (token === undefined && !this.#options.needsAuth())) return;
    for (const { use } of this.#waiting.splice(0)) use(scope);
  }

  /**
   * @param {QueryCall} query
   * @param {() => void} listener
   * @returns {() => void} ends it
   */
  watch(query, listener) {
    const { token } = query;
    const watched = this.#watched.get(token) ?? { query, listeners: new Set() };
    const isNew = !this.#watched.has(token);
    this.#watched.set(token, watched);
    const own = () => listener();
    watched.listeners.add(own);
    if (isNew) this.scope?.watch(query);
    return () => {
      if (!watched.listeners.delete(own) || watched.listeners.size > 0) return;
      this.#options.env.after(() => this.#unwatch(token), LINGER_MS);
    };
  }

  /** @param {QueryToken} token */
  #unwatch(token) {
    if (this.#watched.get(token)?.listeners.size !== 0) return;
    this.#watched.delete(token);
    this.scope?.unwatch(token);
  }

  /** The database that knows who was here last. */
  registry() {
    this.#registry ??= this.#openStore(registryName(this.#options.url), () => {
      this.#registry = null;
    });
    return this.#registry;
  }

  /** @param {Account} account */
  openStore(account) {
    return this.#openStore(this.#nameOf(account), () => {});
  }

  /** Removes all that is kept of an account. @param {Account} account */
  async removeStore(account) {
    const name = this.#nameOf(account);
    const { indexedDB, after } = this.#options.env;
    const store = await this.openStore(account);
    await clearStore(store);
    store.close();
    deleteMemory(name, this.#shelf);
    // A tab that sleeps may hold the empty rest of it; it goes when that tab does.
    if (store.isDurable && indexedDB)
      await deleteIndexedDB(name, { indexedDB, after }).catch(() => {});
  }

  /** @param {Account} account */
  #nameOf(account) {
    return databaseName(this.#options.url, account);
  }

  /** @param {string} name @param {() => void} onLost @returns {Promise<Store>} */
  async #openStore(name, onLost) {
    const { env, useDisk } = this.#options;
    const { indexedDB, after } = env;
    if (useDisk && indexedDB) {
      try {
        return await openIndexedDB(name, { indexedDB, after, onLost });
      } catch (error) {
        console.warn(KEEPS_NOTHING, error);
      }
    }
    return openMemory(name, this.#shelf);
  }

  /** @param {Account} account */
  async #open(account) {
    const { env, url, useTabs, maxCacheBytes, updates, writes, localResults } = this.#options;
    const { onChange, onAuth } = this.#options;
    const name = this.#nameOf(account);
    // The same account again: first everything of the former time must be written down.
    const former = [...this.#closing].filter(([, closing]) => closing === account);
    await Promise.all(former.map(([closing]) => closing));
    const store = await this.#openStore(name, () => this.#onLost(account));
    const options = {
      env,
      url: url.replace(/^http/, "ws").replace(/\/+$/, "") + SYNC_PATH,
      account,
      name,
      tabId: this.#tabId,
      useTabs,
      maxCacheBytes,
      updates,
      writes,
      localResults,
      onShown: (/** @type {Set<QueryToken>} */ tokens) => this.#tell(tokens),
      onChange,
      onAuth,
    };
    try {
      return await Scope.open({ ...options, store });
    } catch (error) {
      // A full disk lets nothing be written, not even who we are: better to work without it.
      console.warn(KEEPS_NOTHING, error);
      store.close();
      return Scope.open({ ...options, store: openMemory(name, this.#shelf) });
    }
  }

  /** @param {Promise<Scope>} opening @param {Scope} scope */
  #onOpen(opening, scope) {
    if (opening !== this.opening) return;
    this.scope = scope;
    scope.setToken(this.token);
    this.catchUp();
    for (const { query } of this.#watched.values()) scope.watch(query);
    // What is in the outbox showed before anybody could look.
    this.#tell(this.#watched.keys());
    scope.join(this.#options.needsAuth());
    this.#options.onChange();
  }

  /** Another tab removed the database: the person logged out there. @param {Account} account */
  #onLost(account) {
    if (account !== this.account) return;
    this.leave();
    this.account = account;
    this.#options.env.after(() => {
      if (this.account !== account || this.opening) return;
      this.account = null;
      // With the token by then: one that came meanwhile is not given again.
      this.enter(account, this.token);
    }, REOPEN_MS);
  }

  /** @param {Iterable<QueryToken>} tokens */
  #tell(tokens) {
    for (const token of [...tokens]) callAll(this.#watched.get(token)?.listeners ?? []);
  }
}

/** What is asked for after the end is refused with. */
export const closed = () => new ParleyError("Closed", "The client was closed");
