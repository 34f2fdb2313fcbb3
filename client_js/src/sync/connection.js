/**
 * What a session does, step by step. Which step is taken when, says the table in session.js.
 *
 * @module
 */

/** @import {Change, Failure, Result} from "../types.js" */
/** @import {QuerySet} from "./query-set.js" */
/** @import {Requests} from "./requests.js" */

import { backoff, waitAfter } from "./backoff.js";
import { Chunks } from "./chunks.js";
import { authenticate, connect } from "./messages.js";

/** Silence after which a connection counts as dead. */
export const SILENCE_MS = 60_000;

/**
 * What comes of an action whose answer can no longer come; the text is the official client's.
 *
 * @type {Result}
 */
export const LOST = {
  status: "error",
  error: { message: "Connection lost while action was in flight", code: "ConnectionLost" },
};

/** Where every connection begins. */
export const ZERO = { querySet: 0, identity: 0, ts: 0n };

/**
 * Where a connection stands: numbers of the query set and of the identity, and the timestamp.
 *
 * @typedef {{querySet: number, identity: number, ts: bigint}} Version
 */

/** @typedef {"idle" | "waiting" | "opening" | "silent" | "live" | "paused"} State */

/**
 * What the outside must do.
 *
 * `open`          open a socket; its events are `opened`, `received`, `closed`
 * `close`         close it, and hand in nothing more from it
 * `send`          send a text
 * `timer`         call `tick` at this time instead of at any former one; null: never
 * `change`        a step of time for all tabs
 * `failed`        this mutation failed for good
 * `acted`         what came of this action
 * `authRejected`  the server took not, or no longer, the token; nothing is sent before `setToken`
 * `authConfirmed` the server took the token
 * `phase`         what a person may be told; `reason` is null before the first connection ended
 * `broken`        the server says that this client is wrong; it goes on, but somebody should know
 *
 * @typedef {{type: "open"} | {type: "close"} | {type: "send", text: string}
 *   | {type: "timer", at: number | null}
 *   | {type: "change", change: Change}
 *   | {type: "failed", requestId: number, failure: Failure}
 *   | {type: "acted", requestId: number, result: Result}
 *   | {type: "authRejected", error: string, attempted: boolean, baseVersion: number}
 *   | {type: "authConfirmed", clockSkewMs: number | null}
 *   | {type: "phase", connected: boolean, reason: string | null, retryAt: number | null, connectionCount: number, retries: number}
 *   | {type: "broken", message: string}} Effect
 */

/**
 * @typedef {object} Core
 * @property {State} state
 * @property {string} sessionId
 * @property {() => number} random
 * @property {number} now of the current input, ms
 * @property {Effect[]} effects of the current input
 * @property {QuerySet} queries
 * @property {Requests} requests
 * @property {Chunks} chunks
 * @property {string | null} token null: nobody
 * @property {boolean} isHeld nothing may be said before `setToken`
 * @property {string | null} toldToken what this connection was told last
 * @property {number} identity number of Authenticates on this connection
 * @property {Version} version where this connection stands
 * @property {number | null} clockSkewMs by how much our clock is ahead of the server's, once known
 * @property {bigint} ts of the newest results, of whatever connection
 * @property {bigint} maxObservedTs
 * @property {string | null} incarnation
 * @property {number} heardAt when the server spoke last, or the socket was opened
 * @property {number | null} retryAt
 * @property {string | null} closeReason of the last connection
 * @property {number} connectionCount that were greeted
 * @property {number} retries
 */

/** @param {Core} s */
export function open(s) {
  s.state = "opening";
  s.heardAt = s.now;
  s.retryAt = null;
  s.effects.push({ type: "open" }, { type: "timer", at: s.now + SILENCE_MS });
  tellPhase(s);
}

/** @param {Core} s */
export function enter(s) {
  s.state = "silent";
  s.heardAt = s.now;
  s.toldToken = null;
  s.identity = 0;
  s.version = ZERO;
  s.queries.restart();
  tellPhase(s);
  if (!s.isHeld) greet(s);
}

/** @param {Core} s */
export function greet(s) {
  const { sessionId, connectionCount, maxObservedTs } = s;
  const lastCloseReason = s.closeReason ?? "InitialConnect";
  const fields = { sessionId, connectionCount, lastCloseReason, maxObservedTs, clientTs: s.now };
  send(s, connect(fields));
  s.connectionCount++;
  s.state = "live";
  flush(s);
}

/** @param {Core} s */
export function pause(s) {
  s.state = "paused";
}

/**
 * Goes on with a token: maybe with the same one, which the server has taken already.
 *
 * @param {Core} s
 */
export function resume(s) {
  const isTaken = s.token !== null && s.token === s.toldToken && s.version.identity === s.identity;
  s.state = "live";
  if (isTaken) s.effects.push({ type: "authConfirmed", clockSkewMs: s.clockSkewMs });
  flush(s);
}

/**
 * Tells all that the server does not know yet.
 *
 * @param {Core} s
 */
export function flush(s) {
  if (s.token !== s.toldToken) {
    send(s, authenticate(s.identity++, s.token));
    s.toldToken = s.token;
  }
  const announcement = s.queries.announce();
  if (announcement !== null) send(s, announcement);
  for (const { text } of s.requests.send()) send(s, text);
}

/** @param {Core} s */
export function watch(s) {
  s.heardAt = Math.min(s.heardAt, s.now); // the clock may have been set back
  if (s.now - s.heardAt >= SILENCE_MS) leave(s, "InactiveServer");
  else s.effects.push({ type: "timer", at: s.heardAt + SILENCE_MS });
}

/** @param {string} reason */
export const leaveAs = (reason) => (/** @type {Core} */ s) => leave(s, reason);

/** @param {Core} s */
export function end(s) {
  if (s.state !== "waiting") s.effects.push({ type: "close" });
  drop(s, "Stopped");
  s.state = "idle";
  s.effects.push({ type: "timer", at: null });
  tellPhase(s);
}

/**
 * Ends the connection, to begin a new one soon.
 *
 * @param {Core} s
 * @param {string} reason
 * @param {boolean} [isOwn] the server did nothing wrong: the next try may come sooner
 */
export function leave(s, reason, isOwn = true) {
  s.effects.push({ type: "close" });
  wait(s, reason, isOwn);
}

/**
 * @param {Core} s
 * @param {string} reason
 */
export function lost(s, reason) {
  wait(s, reason, false);
}

/** @param {Core} s */
export function tellPhase(s) {
  const { state, closeReason: reason, retryAt, connectionCount, retries } = s;
  const connected = state === "silent" || state === "live" || state === "paused";
  s.effects.push({ type: "phase", connected, reason, retryAt, connectionCount, retries });
}

/**
 * @param {Core} s
 * @param {string} text
 */
function send(s, text) {
  s.effects.push({ type: "send", text });
}

/**
 * @param {Core} s
 * @param {string} reason
 * @param {boolean} isOwn
 */
function wait(s, reason, isOwn) {
  drop(s, reason);
  s.state = "waiting";
  s.retryAt = s.now + backoff(waitAfter(reason, isOwn), s.retries++, s.random());
  s.effects.push({ type: "timer", at: s.retryAt });
  tellPhase(s);
}

/**
 * Forgets the connection.
 *
 * @param {Core} s
 * @param {string} reason
 */
function drop(s, reason) {
  s.closeReason = reason;
  s.retryAt = null;
  s.chunks = new Chunks();
  for (const requestId of s.requests.restart()) {
    s.effects.push({ type: "acted", requestId, result: LOST });
  }
}
