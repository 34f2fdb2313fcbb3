/**
 * The mutations and actions of one session that are not done.
 *
 *     mutation   waiting ──send──> sent ──response──> answered ──Transition at >= its ts──> done
 *                   ^                │                    │  (in the very step that shows it)
 *                   └── connection lost: sent again, in order; the server runs each once
 *     action     waiting ──send──> sent ──response──> done;  connection lost: failed, for nobody
 *                                                             knows whether it ran
 *
 * @module
 */

/** @import {Completion, Json, Result, Value} from "../types.js" */
/** @import {ActionResponse, MutationResponse} from "./messages.js" */

import { decodeTs } from "../values.js";
import { failure, request, success } from "./messages.js";

// Mutations on their way at once. Servers refuse, or stop reading, above 1000.
const WINDOW = 500;

/**
 * @typedef {object} Request
 * @property {"Mutation" | "Action"} type
 * @property {number} requestId
 * @property {string} path
 * @property {Json} args
 * @property {boolean} isSent on this connection
 * @property {{value: Value, ts: bigint} | null} outcome of a mutation that was answered
 */

/** The requests of one session, in the order in which they were made. */
export class Requests {
  /** @type {Map<number, Request>} */
  #requests = new Map();
  /** @type {Set<number>} mutations from before this connection that it has not answered */
  #owed = new Set();

  /** Whether all that an earlier connection left behind is answered. */
  get isCaughtUp() {
    return this.#owed.size === 0;
  }

  /**
   * Adds a request, unless its number is there.
   *
   * @param {"Mutation" | "Action"} type
   * @param {{requestId: number, path: string, args: Json}} call
   */
  add(type, call) {
    if (this.#requests.has(call.requestId)) return;
    const { requestId, path, args } = call;
    const fields = { isSent: false, outcome: null };
    this.#requests.set(requestId, { type, requestId, path, args, ...fields });
  }

  /**
   * Returns what may be sent now, and takes it as sent.
   *
   * @returns {{requestId: number, text: string}[]}
   */
  send() {
    let open = 0;
    const sendable = [];
    for (const one of this.#requests.values()) {
      const isMutation = one.type === "Mutation";
      if (isMutation && open >= WINDOW) continue;
      if (isMutation && one.outcome === null) open++;
      if (!one.isSent) sendable.push(one);
    }
    return sendable.map((one) => {
      const { type, requestId, path, args } = one;
      one.isSent = true;
      return { requestId, text: request(type, requestId, path, args) };
    });
  }

  /**
   * Takes an answer to an action, or a mutation's that failed or committed.
   *
   * @param {MutationResponse | ActionResponse} message
   * @returns {Result | null} what ends the request; null if it goes on, or is none of ours
   * @throws {Error} the request was not sent here, or is of the other kind.
   */
  answer(message) {
    const { requestId } = message;
    const one = this.#requests.get(requestId);
    if (one === undefined) return null; // seen already, with the Transition of a later connection
    if (!one.isSent || `${one.type}Response` !== message.type) {
      throw new Error("answer to no such request");
    }
    this.#owed.delete(requestId);
    if (one.outcome !== null) return null;
    const outcome = message.success
      ? success(message.result)
      : failure(message.result, message.errorData);
    if (message.type === "MutationResponse" && message.success) {
      // It is committed, even if what it returned cannot be read.
      const value = outcome.status === "success" ? outcome.value : null;
      one.outcome = { value, ts: decodeTs(message.ts) };
      return null;
    }
    this.#delete(requestId);
    return outcome;
  }

  /**
   * Ends the mutations whose effect is in what is shown now.
   *
   * @param {bigint} ts of what is shown
   * @returns {Completion[]} in order
   */
  settle(ts) {
    /** @type {Completion[]} */
    const completed = [];
    for (const { requestId, outcome } of this.#requests.values()) {
      if (outcome !== null && outcome.ts <= ts) completed.push({ requestId, ...outcome });
    }
    for (const { requestId } of completed) this.#delete(requestId);
    return completed;
  }

  /**
   * Begins anew after a connection was lost.
   *
   * @returns {number[]} actions that were on their way, and are lost
   */
  restart() {
    const lost = [];
    for (const one of this.#requests.values()) {
      if (one.type === "Action" && one.isSent) lost.push(one.requestId);
      one.isSent = false;
    }
    for (const requestId of lost) this.#delete(requestId);
    const mutations = [...this.#requests.values()].filter(({ type }) => type === "Mutation");
    this.#owed = new Set(mutations.map(({ requestId }) => requestId));
    return lost;
  }

  /**
   * Forgets all answers whose effect was not shown: the database that gave them is gone.
   *
   * @returns {boolean} whether there were any
   */
  forgetOutcomes() {
    const answered = [...this.#requests.values()].filter(({ outcome }) => outcome !== null);
    for (const one of answered) one.outcome = null;
    return answered.length > 0;
  }

  /** @param {number} requestId */
  #delete(requestId) {
    this.#owed.delete(requestId);
    this.#requests.delete(requestId);
  }
}
