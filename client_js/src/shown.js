/**
 * What one tab shows of an account's queries: those that it watches, from the leader, from disk, or
 * as a guest has them.
 *
 * @module
 */

/** @import {Change, Completion, Json, QueryCall, QueryToken, Result, Value} from "./types.js" */
/** @import {ResultCache} from "./results.js" */

import { toFailure } from "./errors.js";
import { decodeValue } from "./values.js";
import { View } from "./view.js";

/**
 * @typedef {object} ShownOptions
 * @property {ResultCache} cache
 * @property {Record<string, (args: any) => unknown> | null} localResults of a guest; null: ask the leader
 * @property {(tokens: Set<QueryToken>) => void} onShown called when all has moved
 * @property {(completed: Completion[]) => () => void} onCompleted takes them out of the outbox; what it returns tells of it, when all has moved
 */

export class Shown {
  view = new View();
  #options;
  /** @type {Map<QueryToken, QueryCall>} */
  #watched = new Map();
  /** @type {Completion[]} of which this tab has not seen the results */
  #early = [];

  /** @param {ShownOptions} options */
  constructor(options) {
    this.#options = options;
  }

  /** What is watched, each with the journal that the server gave last. */
  get queries() {
    return [...this.#watched.values()].map((query) => ({
      ...query,
      // One from disk would let a page grow for ever.
      journal: this.view.isStale(query.token) ? null : this.view.journal(query.token),
    }));
  }

  /** @param {QueryCall} query */
  watch(query) {
    const { token, path, args } = query;
    this.#watched.set(token, query);
    this.tell(this.view.watch(token));
    const { localResults } = this.#options;
    if (localResults) this.#showLocal(token, args, localResults[path]);
    else this.#hydrate(token).catch(() => {});
  }

  /** @param {QueryToken} token */
  unwatch(token) {
    this.#watched.delete(token);
    this.view.forget(token);
  }

  /**
   * Takes one step of time.
   *
   * @param {Change} change
   */
  apply(change) {
    const { incarnation } = this.view;
    const isOtherLife = incarnation !== null && change.incarnation !== incarnation;
    const isDue = (/** @type {Completion} */ { ts }) => isOtherLife || ts <= change.ts;
    const completed = [...change.completed, ...this.#early.filter(isDue)];
    this.#early = this.#early.filter((completion) => !isDue(completion));
    const tokens = this.view.apply({ ...change, completed });
    // Everything has moved before anybody is told of anything.
    const tellCompleted = this.#options.onCompleted(completed);
    this.tell(tokens);
    tellCompleted();
  }

  /** @param {Completion[]} done each counts in the step in which this tab has results at its ts */
  complete(done) {
    this.#early.push(...done);
    const { ts, incarnation } = this.view;
    if (ts > 0n) this.apply({ ts, incarnation, queries: [], completed: [] });
  }

  /** @param {Set<QueryToken>} tokens */
  tell(tokens) {
    if (tokens.size > 0) this.#options.onShown(tokens);
  }

  /** @param {QueryToken} token */
  async #hydrate(token) {
    const kept = await this.#options.cache.get(token);
    if (!kept || !this.#watched.has(token)) return;
    /** @type {Result} */
    const result = { status: "success", value: decodeValue(JSON.parse(kept.text)) };
    this.tell(this.view.hydrate(token, { ...kept, result }));
  }

  /** @param {QueryToken} token @param {Json} args @param {((args: any) => unknown) | undefined} local */
  #showLocal(token, args, local) {
    if (!local) return;
    /** @type {Result} */
    let result;
    try {
      result = { status: "success", value: /** @type {Value} */ (local(decodeValue(args))) };
    } catch (error) {
      result = { status: "error", error: toFailure(error) };
    }
    const queries = [{ token, result, journal: null }];
    this.apply({ ts: 1n, incarnation: null, queries, completed: [] });
  }
}
