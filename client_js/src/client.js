/**
 * The client: one for each tab. It knows who is here, opens that account's scope, and moves what
 * the application watches over when it becomes another one.
 *
 * @module
 */

/** @import {ArgsAndOptions, ConnectionState, Env, FunctionArgs, FunctionReturnType, Json, OptimisticUpdate, OptionalArgs, OutboxEntry, QueryToken, Reference, Value, Watch} from "./types.js" */
/** @import {MutationHandle} from "./handle.js" */
/** @import {FetchToken} from "./identity.js" */
/** @import {News} from "./transport.js" */

import { connectionState } from "./connection-state.js";
import { Current, closed } from "./current.js";
import { createEnv } from "./env.js";
import { callAll, fromFailure, ParleyError } from "./errors.js";
import { Identity } from "./identity.js";
import { Outbox } from "./outbox.js";
import { pathOf } from "./paths.js";
import { queryToken } from "./tokens.js";
import { encodeValue } from "./values.js";
import { Writes } from "./writes.js";

const MAX_CACHE_BYTES = 32 * 2 ** 20;

/**
 * @typedef {object} ClientOptions
 * @property {Record<string, OptimisticUpdate>} [optimisticUpdates] by path of the mutation
 * @property {Record<string, (args: any) => unknown>} [localResults] by path of the query: what a guest has who wrote nothing
 * @property {"auto" | "memory"} [storage] memory: nothing outlives the page
 * @property {boolean} [tabs] false: this tab has a socket of its own
 * @property {number} [maxCacheBytes] of results kept on this device, for each account; 32 MiB if not given
 * @property {boolean} [guest] begins as a guest: nothing is sent
 * @property {boolean} [expectAuth] sends and shows nothing before `setAuth`
 * @property {Partial<Env>} [env] replaces parts of the outside
 */

/** @typedef {import("./writes.js").OutboxItem} OutboxItem */

/**
 * What a listener of a query is given: `value`, or `error` if it failed.
 *
 * @template [T=any]
 * @typedef {{value: T, error: null, isStale: boolean}
 *   | {value: undefined, error: Error, isStale: boolean}} QueryResult
 */

/** See `createClient`. */
export class Client {
  #env;
  #current;
  #identity;
  #isClosed = false;
  /** @type {Set<(error: Error) => void>} of queries that wait for the server */
  #refusals = new Set();
  #writes;
  /** @type {Map<string, OptimisticUpdate>} */
  #updates = new Map();
  /** @type {Set<() => void>} */
  #stateListeners = new Set();
  /** @type {Set<() => void>} */
  #outboxListeners = new Set();
  /** @type {ConnectionState} */
  #state;
  /** @type {((isAuthenticated: boolean) => void) | null} */
  #onAuthChange = null;
  /** @type {boolean | null} */
  #isAuthenticated = null;
  #cancelStart = () => {};
  #stopOnline;

  /**
   * @param {string} url of the deployment
   * @param {ClientOptions} options
   */
  constructor(url, options) {
    const { tabs = true, storage, maxCacheBytes = MAX_CACHE_BYTES, localResults = {} } = options;
    this.#env = createEnv(options.env);
    for (const [path, update] of Object.entries(options.optimisticUpdates ?? {})) {
      this.#updates.set(pathOf(path), update);
    }
    this.#writes = new Writes(this.#env, () => this.#current.opening);
    this.#current = new Current({
      env: this.#env,
      url,
      useDisk: storage !== "memory",
      useTabs: tabs,
      maxCacheBytes,
      updates: this.#updates,
      writes: this.#writes.byKey,
      localResults,
      onChange: () => this.#update(),
      onAuth: (news) => this.#onAuth(news),
      needsAuth: () => this.#identity.needsAuth,
    });
    this.#identity = new Identity(this.#env, () => this.#current.registry(), {
      onAccount: (account, token) => this.#current.enter(account, token),
      onHold: () => this.#current.hold(),
      onState: () => {
        this.#current.scope?.setNeedsAuth(this.#identity.needsAuth);
        this.#current.catchUp();
        this.#update();
      },
    });
    this.#state = this.#makeState(null);
    this.#stopOnline = this.#env.onOnlineChange(() => this.#update());
    if (options.guest) this.setGuest();
    // An application that signs in says so at once: nothing is asked as nobody before.
    else if (!options.expectAuth) {
      this.#cancelStart = this.#env.after(() => this.#current.enter("anonymous", null), 0);
    }
  }

  // --- Queries, mutations, actions ---

  /**
   * Watches a query: `listener` is called at once when something is known of it, and whenever that
   * changed, after everything else that changed with it did. Its `value` is undefined when nothing
   * is known any more: somebody else is here now.
   *
   * @template {Reference<"query">} Ref
   * @param {Ref} ref
   * @param {FunctionArgs<Ref>} args
   * @param {(result: QueryResult<FunctionReturnType<Ref>>) => void} listener
   * @returns {() => void} ends it
   */
  subscribe(ref, args, listener) {
    const { token, onUpdate } = this.#query(ref, args);
    let isKnown = false;
    const tell = () => {
      const { scope } = this.#current;
      const result = scope?.view.shown(token);
      // Told once when nothing is known any more: another account's data must not stay in sight.
      if (!result && !isKnown) return;
      isKnown = result !== undefined;
      const isStale = !result || (scope?.view.isStale(token) ?? true);
      if (result?.status === "error") {
        listener({ value: undefined, error: fromFailure(result.error), isStale });
      } else listener({ value: /** @type {any} */ (result?.value), error: null, isStale });
    };
    const stop = onUpdate(tell);
    tell();
    return stop;
  }

  /**
   * Returns the first result that the server confirms.
   *
   * @template {Reference<"query">} Ref
   * @param {Ref} ref
   * @param {OptionalArgs<Ref>} rest the arguments
   * @returns {Promise<FunctionReturnType<Ref>>}
   */
  query(ref, ...rest) {
    const [args = {}] = rest;
    return new Promise((resolve, reject) => {
      if (this.#isClosed) return reject(closed());
      this.#refusals.add(reject);
      const stop = this.subscribe(pathOf(ref), args, ({ value, error, isStale }) => {
        if (isStale) return;
        this.#refusals.delete(reject);
        queueMicrotask(() => stop());
        if (error) reject(error);
        else resolve(value);
      });
    });
  }

  /**
   * Runs a mutation: shows its optimistic effect at once, stores it, sends it when that is
   * possible. The handle is a promise of its value.
   *
   * @template {Reference<"mutation">} Ref
   * @param {Ref} ref
   * @param {ArgsAndOptions<Ref, {optimisticUpdate?: OptimisticUpdate<FunctionArgs<Ref>>}>} rest the
   *   arguments, and options
   * @returns {MutationHandle<FunctionReturnType<Ref>>}
   * @throws {ParleyError} code InvalidValue: an argument is none; the message names it.
   */
  mutation(ref, ...rest) {
    const [args = {}, { optimisticUpdate } = {}] = rest;
    const json = encodeValue(args);
    const write = this.#writes.make(pathOf(ref), json, optimisticUpdate);
    this.#current.use(
      (scope) => scope.write(write),
      (error) => write.fail(error),
    );
    return /** @type {MutationHandle<any>} */ (write.handle);
  }

  /**
   * Runs an action, at most once; not while there is no connection.
   *
   * @template {Reference<"action">} Ref
   * @param {Ref} ref
   * @param {OptionalArgs<Ref>} rest the arguments
   * @returns {Promise<FunctionReturnType<Ref>>}
   */
  action(ref, ...rest) {
    const [args = {}] = rest;
    const path = pathOf(ref);
    const json = encodeValue(args);
    return new Promise((resolve, reject) => {
      this.#current.use((scope) => resolve(/** @type {any} */ (scope.act(path, json))), reject);
    });
  }

  /**
   * Returns one query, for bindings; asks for nothing before somebody calls its `onUpdate`.
   *
   * @template {Reference<"query">} Ref
   * @param {Ref} ref
   * @param {OptionalArgs<Ref>} rest the arguments
   * @returns {Watch<FunctionReturnType<Ref>>}
   */
  watch(ref, ...rest) {
    return this.#query(ref, rest[0]);
  }

  /**
   * @param {Reference} ref
   * @param {Record<string, any>} [args]
   * @returns {Watch<any>}
   */
  #query(ref, args = {}) {
    const path = pathOf(ref);
    const json = encodeValue(args);
    const token = queryToken(path, json);
    const query = { token, path, args: json };
    return {
      token,
      localResult: () => this.#localResult(token),
      isStale: () => this.#current.scope?.view.isStale(token) ?? true,
      journal: () => this.#current.scope?.view.journal(token) ?? null,
      onUpdate: (listener) => this.#current.watch(query, listener),
    };
  }

  /**
   * Returns what is shown of a query that somebody watches; undefined while nothing is known.
   *
   * @template {Reference<"query">} Ref
   * @param {Ref} ref
   * @param {OptionalArgs<Ref>} rest the arguments
   * @returns {FunctionReturnType<Ref> | undefined}
   * @throws {ParleyError} the query failed.
   */
  localResult(ref, ...rest) {
    return this.#query(ref, rest[0]).localResult();
  }

  /**
   * Says what a mutation is expected to do, so that it shows at once: in all tabs that know it,
   * and again after a reload.
   *
   * @template {Reference<"mutation">} Ref
   * @param {Ref} ref
   * @param {OptimisticUpdate<FunctionArgs<Ref>>} update
   */
  registerOptimisticUpdate(ref, update) {
    const path = pathOf(ref);
    this.#updates.set(path, update);
    this.#current.scope?.showUpdates(path);
  }

  // --- Who is here ---

  /**
   * Signs in: tokens are asked for with `fetchToken`, now and whenever a new one is needed.
   *
   * @param {FetchToken} fetchToken null from it: nobody is signed in
   * @param {(isAuthenticated: boolean) => void} [onChange] what the server says, or that there is no token
   */
  setAuth(fetchToken, onChange) {
    if (this.#isClosed) return;
    this.#cancelStart();
    this.#onAuthChange = onChange ?? null;
    this.#isAuthenticated = null;
    this.#identity.setAuth(fetchToken);
  }

  /** Signs out. Results kept on this device go; what is unsent stays, until that account is back. */
  clearAuth() {
    this.#cancelStart();
    this.#onAuthChange = null;
    this.#current.opening?.then((scope) => scope.clearResults()).catch(() => {});
    this.#identity.clearAuth("anonymous");
  }

  /**
   * Signs out, and removes all that is kept of the account on this device.
   *
   * @param {{discardUnsent?: boolean}} [options]
   * @throws {ParleyError} code UnsentWrites: there are writes that would be lost; nothing is removed.
   */
  async logout({ discardUnsent = false } = {}) {
    const scope = await this.#current.opening;
    // Also what other tabs wrote, and what is just being stored.
    await scope?.refresh().catch(() => {});
    const { length } = scope?.entries ?? [];
    if (length > 0 && !discardUnsent) {
      throw new ParleyError("UnsentWrites", `${length} changes have not reached the server yet`);
    }
    for (const { key } of scope?.entries ?? []) this.#writes.byKey.get(key)?.discarded();
    this.clearAuth();
    await this.#current.idle();
    if (!scope) return;
    await this.#identity.forget(scope.account);
    await this.#current.removeStore(scope.account);
  }

  /** Becomes a guest: writes are kept on this device and shown, nothing is sent. */
  setGuest() {
    this.#cancelStart();
    this.#onAuthChange = null;
    this.#identity.clearAuth("guest");
  }

  /**
   * Moves what a guest wrote on this device into the account that is signed in now: once, in order.
   *
   * @returns {Promise<void>} kept when it is in the account's outbox
   * @throws {ParleyError} code SignedOut: there is no account to move it to.
   */
  async adoptGuest() {
    const scope = await this.#current.opening;
    const isNobody = !scope || scope.isGuest || scope.account === "anonymous";
    if (isNobody) throw new ParleyError("SignedOut", "Sign in first");
    const store = await this.#current.openStore("guest");
    const { now, uuid } = this.#env;
    const guest = await Outbox.open(store, { account: "guest", now, uuid, hasLocks: true });
    const { entries, marker } = await guest.seal();
    await scope.adopt(entries, marker);
    store.close();
    await this.#current.removeStore("guest");
  }

  // --- What a person is told ---

  /** @returns {ConnectionState} the same object until something changed */
  connectionState() {
    return /** @type {ConnectionState} */ (this.#state);
  }

  /**
   * @param {(state: ConnectionState) => void} listener
   * @returns {() => void} ends it
   */
  subscribeToConnectionState(listener) {
    return addTo(this.#stateListeners, () => listener(this.connectionState()));
  }

  /** @returns {OutboxItem[]} in order; the same array until something changed */
  outbox() {
    return this.#writes.items;
  }

  /**
   * @param {(items: OutboxItem[]) => void} listener
   * @returns {() => void} ends it
   */
  subscribeToOutbox(listener) {
    return addTo(this.#outboxListeners, () => listener(this.#writes.items));
  }

  /** Ends everything here: what is unsent stays on this device. */
  async close() {
    this.#isClosed = true;
    this.#cancelStart();
    this.#identity.close();
    this.#stopOnline();
    const closing = this.#current.close();
    callAll(this.#refusals, closed());
    this.#refusals.clear();
    this.#update();
    await closing;
  }

  // --- Inside ---

  /** @param {QueryToken} token */
  #localResult(token) {
    const result = this.#current.scope?.view.shown(token);
    if (result?.status === "error") throw fromFailure(result.error);
    return result?.value;
  }

  /** @param {News} news */
  #onAuth(news) {
    if (news.type === "authRejected") this.#identity.rejected(news.error);
    else if (news.type === "authConfirmed") this.#identity.confirmed(news.clockSkewMs);
  }

  /** Tells what changed. */
  #update() {
    const { scope } = this.#current;
    const state = this.#makeState(this.#state);
    const isOtherState = state !== this.#state;
    this.#state = state;
    const isOther = this.#writes.show(scope?.entries ?? []);
    if (isOther) callAll(this.#outboxListeners);
    if (isOtherState) callAll(this.#stateListeners);
    this.#tellAuth();
  }

  /** @param {ConnectionState | null} former */
  #makeState(former) {
    const { scope, account } = this.#current;
    return connectionState(
      {
        now: this.#env.now(),
        isClosed: this.#isClosed,
        isOnline: this.#env.isOnline(),
        isDurable: scope?.isDurable ?? false,
        account,
        role: scope?.role ?? "follower",
        line: scope?.line ?? null,
        needsAuth: this.#identity.needsAuth,
        entries: scope?.entries ?? [],
        writesAt: this.#writes.openedAt(scope?.entries ?? []),
        actions: scope?.actions ?? 0,
      },
      former,
    );
  }

  /** Says whether the server took the token, which in a following tab the leader knows. */
  #tellAuth() {
    const { status, account } = this.#identity;
    const { scope } = this.#current;
    if (status === "anonymous") return;
    const isConfirmed =
      status === "authenticated" ||
      (status === "loading" && scope?.account === account && scope?.line?.isConfirmed === true);
    if (status === "loading" && !isConfirmed) return;
    if (isConfirmed === this.#isAuthenticated) return;
    this.#isAuthenticated = isConfirmed;
    if (this.#onAuthChange) callAll([this.#onAuthChange], isConfirmed);
  }
}

/** @template Listener @param {Set<Listener>} set @param {Listener} listener */
function addTo(set, listener) {
  set.add(listener);
  return () => {
    set.delete(listener);
  };
}

/**
 * Makes the client of a tab. It connects by itself, and keeps trying.
 *
 * @param {string} url of the deployment, `https://…`
 * @param {ClientOptions} [options]
 * @returns {Client}
 * @throws {ParleyError} code InvalidUrl
 */
export function createClient(url, options = {}) {
  if (!/^https?:\/\/./.test(url)) {
    throw new ParleyError("InvalidUrl", `url: expected http://… or https://…, not ${url}`);
  }
  return new Client(url, options);
}
