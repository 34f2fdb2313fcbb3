/**
 * The queries that one session watches, and what of them the server knows.
 *
 * Ids are never used twice, so what still comes for a query that was given up names none of ours.
 *
 * @module
 */

/** @import {QueryCall, QueryChange, QueryToken, Result} from "../types.js" */
/** @import {Modification, QueryModification} from "./messages.js" */

import { checked, failure, modifyQuerySet, success } from "./messages.js";
import { applyPatch } from "./patch.js";

/**
 * @typedef {object} Query
 * @property {QueryCall} call
 * @property {Result | null} result the newest, of whatever connection; null while it loads
 * @property {string | null} journal
 * @property {boolean} isFresh the result is of this connection
 */

/**
 * What a query gives after a modification.
 *
 * @type {{[Type in Modification["type"]]: (modification: Extract<Modification, {type: Type}>, query: Query) => Result | null}}
 */
const RESULTS = {
  QueryUpdated: ({ value }) => success(value),
  QueryFailed: ({ errorMessage, errorData }) => failure(errorMessage, errorData),
  QueryPatched: ({ patch }, { result, isFresh }) => {
    if (!isFresh || result?.status !== "success") throw new Error("patch of no result");
    return { status: "success", value: applyPatch(result.value, patch) };
  },
  QueryRemoved: () => null,
};

/** The queries of one session. */
export class QuerySet {
  /** Number of the newest change that was announced on this connection. */
  version = 0;
  #nextId = 0;
  /** @type {Map<number, Query>} */
  #queries = new Map();
  /** @type {Map<QueryToken, number>} */
  #ids = new Map();
  /** @type {Set<number>} ids that the server knows */
  #announced = new Set();

  /**
   * Adds a query, unless it is there.
   *
   * @param {QueryCall} call
   */
  add(call) {
    if (this.#ids.has(call.token)) return;
    const id = this.#nextId++;
    this.#ids.set(call.token, id);
    this.#queries.set(id, { call, result: null, journal: call.journal ?? null, isFresh: false });
  }

  /**
   * Removes a query, if it is there.
   *
   * @param {QueryToken} token
   */
  remove(token) {
    this.#queries.delete(this.#ids.get(token) ?? -1);
    this.#ids.delete(token);
  }

  /** Begins anew: the server of the next connection knows nothing. Results stay. */
  restart() {
    this.version = 0;
    this.#announced.clear();
    for (const query of this.#queries.values()) query.isFresh = false;
  }

  /**
   * Returns the message that tells the server what it does not know yet; null if there is nothing,
   * except on a new connection, where even an empty one is told.
   *
   * @returns {string | null}
   */
  announce() {
    /** @type {QueryModification[]} */
    const modifications = [];
    for (const queryId of this.#announced) {
      if (!this.#queries.has(queryId)) modifications.push({ type: "Remove", queryId });
    }
    for (const [queryId, { call, journal }] of this.#queries) {
      if (this.#announced.has(queryId)) continue;
      modifications.push({ type: "Add", queryId, udfPath: call.path, args: [call.args], journal });
    }
    if (modifications.length === 0 && this.version > 0) return null;
    this.#announced = new Set(this.#queries.keys());
    return modifyQuerySet(this.version++, modifications);
  }

  /**
   * Takes what a Transition brings: all of it, or nothing.
   *
   * @param {Modification[]} modifications
   * @returns {QueryChange[]} of the queries that are still watched
   * @throws {Error} a patch that fits no result of this connection.
   */
  take(modifications) {
    /** @type {[Query, Result | null, string | null][]} */
    const taken = [];
    for (const modification of modifications) {
      const { type, queryId, journal } = checked(modification);
      if (!Object.hasOwn(RESULTS, type)) throw new Error(`${type} is no modification`);
      const query = this.#queries.get(queryId);
      if (query === undefined) continue;
      const result = RESULTS[type](/** @type {never} */ (modification), query);
      taken.push([query, result, typeof journal === "string" ? journal : null]);
    }
    return taken.map(([query, result, journal]) => {
      Object.assign(query, { result, journal, isFresh: true });
      return { token: query.call.token, result, journal };
    });
  }

  /**
   * Returns the newest results of some queries; those that are loading are left out.
   *
   * @param {Iterable<QueryToken>} tokens
   * @returns {QueryChange[]}
   */
  results(tokens) {
    return [...tokens].flatMap((token) => {
      const query = this.#queries.get(this.#ids.get(token) ?? -1);
      return query?.result ? [{ token, result: query.result, journal: query.journal }] : [];
    });
  }
}
