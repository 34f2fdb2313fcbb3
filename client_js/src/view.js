/**
 * What one tab shows: results, and over them the optimistic layers of mutations that are not done.
 *
 *     update functions    layer 12 ─┐   in the order in which the mutations will run;
 *                         layer 11 ─┤   run anew, all of them, whenever something below changes
 *     results             base ─────┴─> shown
 *
 * Rules
 * 1. All live results are true at `ts`. It never falls; a change that is older than it gives no
 *    results, but its mutations are done all the same: the newer results hold them already.
 * 2. A mutation's layer goes in the very step that brings the results that contain its effect.
 * 3. A cached result is stale, and never covers a live one. Another incarnation of the database
 *    drops what is of the former.
 * 4. An update function that throws counts as if it were not there.
 * 5. What did not change keeps its identity, down to the last object, so that a page draws anew
 *    only what did.
 *
 * @module
 */

/** @import {Change, LocalStore, OptimisticUpdate, QueryChange, QueryToken, Result, Value} from "./types.js" */

import { pathOf } from "./paths.js";
import { isOf, parseToken, queryToken } from "./tokens.js";
import { decodeValue, encodeValue } from "./values.js";

// Completions that are remembered: news of a mutation may come to a tab after that of its end.
const REMEMBERED = 256;

/**
 * @typedef {object} Layer
 * @property {string} key the mutation's
 * @property {number} order its requestId, or Infinity while it has none
 * @property {string} path
 * @property {Value} args
 * @property {OptimisticUpdate} update
 */

/**
 * @typedef {object} Base
 * @property {Result} result
 * @property {string | null} journal
 * @property {string | null} incarnation
 * @property {boolean} isLive
 */

/** What a tab shows. Pure; made anew for each account. */
export class View {
  /** Timestamp of the live results; 0 before there are any. */
  ts = 0n;
  /** @type {string | null} which life of the database `ts` counts in, once known */
  incarnation = null;
  /** @type {Set<QueryToken>} */
  #watched = new Set();
  /** @type {Map<QueryToken, Base>} */
  #base = new Map();
  /** @type {Layer[]} in the order in which they are applied */
  #layers = [];
  /** @type {Map<QueryToken, Result | undefined>} what the layers made of the base */
  #overlay = new Map();
  /** @type {Map<QueryToken, {result: Result, isStale: boolean}>} */
  #shown = new Map();
  /** @type {Set<number>} newest last */
  #completed = new Set();
  /** @type {WeakSet<Layer>} those whose failure was told */
  #reported = new WeakSet();

  /**
   * Applies one step of time.
   *
   * @param {Change} change
   * @returns {Set<QueryToken>} queries that are now shown otherwise
   */
  apply({ ts, incarnation, queries, completed }) {
    const touched = this.#enter(incarnation);
    for (const { requestId } of completed) this.#remember(requestId);
    this.#layers = this.#layers.filter(({ order }) => !this.#completed.has(order));
    if (ts >= this.ts) {
      this.ts = ts;
      for (const query of queries) {
        this.#put(query);
        touched.add(query.token);
      }
    }
    return this.#show(touched);
  }

  /**
   * Says that somebody watches a query from now on: an optimistic update may show it before
   * anything is known of it, such as a page of a conversation that was made offline.
   *
   * @param {QueryToken} token
   * @returns {Set<QueryToken>} queries that are now shown otherwise
   */
  watch(token) {
    if (this.#watched.has(token)) return new Set();
    this.#watched.add(token);
    return this.#layers.length > 0 ? this.#show(new Set()) : new Set();
  }

  /**
   * Takes a result that was kept on this device, unless a live one is there.
   *
   * @param {QueryToken} token
   * @param {{result: Result, ts: bigint, incarnation: string | null, journal: string | null}} cached
   * @returns {Set<QueryToken>} queries that are now shown otherwise
   */
  hydrate(token, { result, incarnation, journal }) {
    const isForeign = this.incarnation !== null && incarnation !== this.incarnation;
    if (this.#base.get(token)?.isLive || isForeign) return new Set();
    this.#base.set(token, { result, journal, incarnation, isLive: false });
    return this.#show(new Set([token]));
  }

  /**
   * Lets go of a query that nobody watches any more.
   *
   * @param {QueryToken} token
   */
  forget(token) {
    this.#watched.delete(token);
    this.#base.delete(token);
    this.#show(new Set([token]));
  }

  /**
   * Adds the optimistic effect of a mutation. One that is there already, or is done already,
   * changes nothing.
   *
   * @param {Layer} layer
   * @returns {Set<QueryToken>} queries that are now shown otherwise
   */
  addLayer(layer) {
    const isKnown = this.#layers.some(({ key }) => key === layer.key);
    if (isKnown || this.#completed.has(layer.order)) return new Set();
    const added = { ...layer };
    const isLast = this.#layers.every(({ order }) => order <= added.order);
    this.#layers.push(added);
    if (!isLast) return this.#sort();
    // What lies below stands: a thousand layers that are built anew after a reload take a
    // thousand runs, not half a million.
    return this.#settle(this.#run(added));
  }

  /**
   * Says which place a mutation has got; its layer goes if that one is done already.
   *
   * @param {string} key
   * @param {number} order
   * @returns {Set<QueryToken>} queries that are now shown otherwise
   */
  orderLayer(key, order) {
    if (this.#completed.has(order)) return this.removeLayer(key);
    const layer = this.#layers.find((one) => one.key === key);
    if (layer === undefined || layer.order === order) return new Set();
    layer.order = order;
    return this.#sort();
  }

  /**
   * Takes the effect of a mutation away that failed.
   *
   * @param {string} key
   * @returns {Set<QueryToken>} queries that are now shown otherwise
   */
  removeLayer(key) {
    const left = this.#layers.filter((layer) => layer.key !== key);
    if (left.length === this.#layers.length) return new Set();
    this.#layers = left;
    return this.#show(new Set());
  }

  /**
   * Returns what to show of a query; undefined while it loads.
   *
   * @param {QueryToken} token
   * @returns {Result | undefined}
   */
  shown(token) {
    return this.#shown.get(token)?.result;
  }

  /**
   * Tells whether what is shown of a query is not known to be true at `ts`: it was kept on this
   * device, or is made of layers alone.
   *
   * @param {QueryToken} token
   */
  isStale(token) {
    return this.#shown.get(token)?.isStale ?? true;
  }

  /**
   * Returns the newest journal of a query, for asking for it again.
   *
   * @param {QueryToken} token
   */
  journal(token) {
    return this.#base.get(token)?.journal ?? null;
  }

  /**
   * Goes over to another incarnation of the database, if it is one.
   *
   * @param {string | null} incarnation null: not said
   * @returns {Set<QueryToken>} queries that were dropped
   */
  #enter(incarnation) {
    /** @type {Set<QueryToken>} */
    const dropped = new Set();
    if (incarnation === null || incarnation === this.incarnation) return dropped;
    for (const [token, base] of this.#base) {
      if (base.incarnation !== null && base.incarnation !== incarnation) {
        this.#base.delete(token);
        dropped.add(token);
      }
    }
    if (this.incarnation !== null) this.ts = 0n;
    this.incarnation = incarnation;
    return dropped;
  }

  /** @param {number} requestId */
  #remember(requestId) {
    this.#completed.add(requestId);
    const [oldest] = this.#completed;
    if (this.#completed.size > REMEMBERED) this.#completed.delete(Number(oldest));
  }

  /** @param {QueryChange} change */
  #put({ token, result, journal }) {
    if (result === null) this.#base.delete(token);
    else this.#base.set(token, { result, journal, incarnation: this.incarnation, isLive: true });
  }

  /** Puts the layers in order, and shows it if it is another one. */
  #sort() {
    const sorted = [...this.#layers].sort(
      (a, b) => Number(a.order > b.order) - Number(a.order < b.order),
    );
    const isSame = sorted.every((layer, index) => layer === this.#layers[index]);
    this.#layers = sorted;
    return isSame ? new Set() : this.#show(new Set());
  }

  /**
   * Runs all layers anew.
   *
   * @param {Set<QueryToken>} touched queries whose base may have changed
   * @returns {Set<QueryToken>} queries that are now shown otherwise
   */
  #show(touched) {
    for (const token of this.#overlay.keys()) touched.add(token);
    this.#overlay = new Map();
    for (const layer of this.#layers) {
      for (const token of this.#run(layer)) touched.add(token);
    }
    return this.#settle(touched);
  }

  /**
   * Runs one layer over those below: whole or, if it throws, not at all.
   *
   * @param {Layer} layer
   * @returns {Set<QueryToken>} queries that it set
   */
  #run(layer) {
    /** @type {Map<QueryToken, Result | undefined>} */
    const writes = new Map();
    try {
      const outcome = /** @type {unknown} */ (layer.update(this.#store(writes), layer.args));
      if (outcome instanceof Promise) throw new TypeError("an optimistic update cannot be async");
    } catch (error) {
      if (!this.#reported.has(layer)) {
        this.#reported.add(layer);
        console.error(`The optimistic update of ${layer.path} failed and is not shown:`, error);
      }
      return new Set();
    }
    for (const [token, result] of writes) this.#overlay.set(token, result);
    return new Set(writes.keys());
  }

  /**
   * @param {Map<QueryToken, Result | undefined>} writes
   * @returns {LocalStore}
   */
  #store(writes) {
    const levels = [writes, this.#overlay];
    /**
     * @param {QueryToken} token
     * @returns {any}
     */
    const read = (token) => {
      const level = levels.find((one) => one.has(token));
      const result = level === undefined ? this.#base.get(token)?.result : level.get(token);
      return result?.status === "success" ? result.value : undefined;
    };
    return {
      getQuery: (query, ...rest) => read(tokenOf(query, rest[0])),
      getAllQueries: (query) => {
        const path = pathOf(query);
        const known = [this.#watched, this.#base, ...levels];
        const tokens = new Set(known.flatMap((level) => [...level.keys()]));
        return [...tokens]
          .filter((token) => isOf(token, path))
          .map((token) => ({
            args: /** @type {any} */ (decodeValue(parseToken(token).args)),
            value: read(token),
          }));
      },
      setQuery: (query, args, value) => {
        writes.set(
          tokenOf(query, args),
          value === undefined
            ? undefined
            : { status: "success", value: /** @type {Value} */ (value) },
        );
      },
    };
  }

  /**
   * @param {Set<QueryToken>} touched
   * @returns {Set<QueryToken>} those of them that are now shown otherwise
   */
  #settle(touched) {
    /** @type {Set<QueryToken>} */
    const changed = new Set();
    for (const token of touched) {
      const base = this.#base.get(token);
      const next = this.#overlay.has(token) ? this.#overlay.get(token) : base?.result;
      const isStale = base?.isLive !== true;
      const old = this.#shown.get(token);
      const result = next && reuse(old?.result, next);
      if (result === old?.result && (old === undefined || isStale === old.isStale)) continue;
      if (result === undefined) this.#shown.delete(token);
      else this.#shown.set(token, { result, isStale });
      changed.add(token);
    }
    return changed;
  }
}

/**
 * @param {unknown} query
 * @param {Record<string, unknown>} [args]
 */
const tokenOf = (query, args = {}) => queryToken(pathOf(query), encodeValue(args));

/** @param {unknown} value */
const isContainer = (value) =>
  typeof value === "object" && value !== null && !(value instanceof ArrayBuffer);

/**
 * Returns `next`, made of parts of `old` wherever they are equal; `old` itself if all is. Elements
 * of arrays are compared at their places.
 *
 * @template Thing
 * @param {unknown} old
 * @param {Thing} next
 * @returns {Thing}
 */
export function reuse(old, next) {
  if (Object.is(old, next)) return next;
  if (!isContainer(old) || !isContainer(next) || Array.isArray(old) !== Array.isArray(next)) {
    return next;
  }
  if (Array.isArray(old)) return /** @type {Thing} */ (reuseItems(old, /** @type {any} */ (next)));
  const before = new Map(Object.entries(/** @type {object} */ (old)));
  const fields = Object.entries(/** @type {object} */ (next)).map(([key, field]) => [
    key,
    reuse(before.get(key), field),
  ]);
  const isSame =
    fields.length === before.size &&
    fields.every(([key, field]) => before.has(key) && Object.is(before.get(key), field));
  if (isSame) return /** @type {Thing} */ (old);
  return /** @type {Thing} */ (Object.fromEntries(fields));
}

/**
 * @param {unknown[]} old
 * @param {unknown[]} next
 */
function reuseItems(old, next) {
  // After a patch, most of a long list are the same objects, only elsewhere.
  const kept = new Set(old);
  const items = next.map((item, at) => (kept.has(item) ? item : reuse(old[at], item)));
  const isSame = items.length === old.length && items.every((item, at) => Object.is(item, old[at]));
  return isSame ? old : items;
}
