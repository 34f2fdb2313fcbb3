/**
 * Frames as the server writes them, for tests of the session.
 *
 * @module
 */

/** @import {Json} from "../../src/types.js" */
/** @import {Effect} from "../../src/sync/connection.js" */

import { Session } from "../../src/sync/session.js";
import { queryToken } from "../../src/tokens.js";
import { encodeTs } from "../../src/values.js";

export const SESSION_ID = "5c2f9f1e-7f7c-4a39-9f0e-5a2f1f0b7a10";

/** @typedef {[querySet: number, identity: number, ts: number]} At */

/** @param {At} at */
const version = ([querySet, identity, ts]) => ({ querySet, identity, ts: encodeTs(BigInt(ts)) });

/**
 * @param {At} start
 * @param {At} end
 * @param {Record<string, unknown>[]} [modifications]
 * @param {Record<string, unknown>} [more]
 */
export const transition = (start, end, modifications = [], more = {}) =>
  JSON.stringify({
    type: "Transition",
    startVersion: version(start),
    endVersion: version(end),
    modifications,
    ...more,
  });

/**
 * @param {number} queryId
 * @param {Json} value
 * @param {string | null} [journal]
 */
export const updated = (queryId, value, journal = null) => ({
  type: "QueryUpdated",
  queryId,
  value,
  logLines: [],
  journal,
});

/**
 * @param {number} requestId
 * @param {Json} result
 * @param {number} ts
 */
export const committed = (requestId, result, ts) =>
  JSON.stringify({
    type: "MutationResponse",
    requestId,
    success: true,
    result,
    ts: encodeTs(BigInt(ts)),
    logLines: [],
  });

/**
 * @param {number} requestId
 * @param {string} message
 * @param {Json} [errorData]
 */
export const failed = (requestId, message, errorData) =>
  JSON.stringify({
    type: "MutationResponse",
    requestId,
    success: false,
    result: message,
    ts: null,
    logLines: [],
    errorData,
  });

/**
 * @param {string} path
 * @param {Json} [args]
 */
export const query = (path, args = {}) => ({ token: queryToken(path, args), path, args });

/** A session with a clock that stands where it is put, and chance that is always the middle. */
export class Bench {
  now = 1_000_000;
  /** @type {Effect[]} all so far */
  effects = [];

  /** @param {Partial<ConstructorParameters<typeof Session>[0]>} [options] */
  constructor(options = {}) {
    this.session = new Session({
      sessionId: SESSION_ID,
      now: () => this.now,
      random: () => 0.5,
      ...options,
    });
  }

  /**
   * Keeps the effects of an input, and returns them.
   *
   * @param {Effect[]} effects
   */
  do(effects) {
    this.effects.push(...effects);
    return effects;
  }

  /** Returns what the session sent since the last call. */
  sent() {
    const texts = this.effects.flatMap((one) => (one.type === "send" ? [one.text] : []));
    this.effects = [];
    return texts.map((text) => JSON.parse(text));
  }

  /**
   * Opens a connection as nobody, or as whom a token says.
   *
   * @param {string | null} [token]
   */
  connect(token = null) {
    this.do(this.session.setToken(token));
    this.do(this.session.state === "idle" ? this.session.start() : this.session.tick());
    this.do(this.session.opened());
    return this;
  }

  /** @param {string} text */
  hear(text) {
    return this.do(this.session.received(text));
  }

  /** @param {string} [reason] */
  cut(reason = "") {
    return this.do(this.session.closed({ code: 1006, reason }));
  }
}

/**
 * @template {Effect["type"]} Type
 * @param {Effect[]} effects
 * @param {Type} type
 * @returns {Extract<Effect, {type: Type}>[]}
 */
export const only = (effects, type) =>
  /** @type {Extract<Effect, {type: Type}>[]} */ (effects.filter((one) => one.type === type));
