/**
 * What the server says, and what follows from it. Anything wrong ends the connection, and the next
 * one begins from zero.
 *
 * @module
 */

/** @import {Core} from "./connection.js" */
/** @import {ActionResponse, AuthError, FatalError, MutationResponse, ServerMessage, Transition, Version} from "./messages.js" */

import { flush, leave, tellPhase, ZERO } from "./connection.js";
import { parseMessage, Violation } from "./messages.js";

const nothing = () => {};

/** @type {{[Type in ServerMessage["type"]]: (s: Core, message: Extract<ServerMessage, {type: Type}>) => void}} */
const HEARD = {
  Transition: transition,
  MutationResponse: answer,
  ActionResponse: answer,
  AuthError: authError,
  FatalError: fatalError,
  TransitionChunk: nothing, // some are missing yet
  Ping: nothing,
};

/**
 * @param {Core} s
 * @param {string} text
 */
export function hear(s, text) {
  s.heardAt = s.now;
  try {
    const message = whole(s, parseMessage(text));
    const take = /** @type {(s: Core, message: ServerMessage) => void} */ (HEARD[message.type]);
    take(s, message);
  } catch (error) {
    // Whatever it was, a fault of ours too: to begin anew is right, to go on is not.
    leave(s, `Violation: ${/** @type {Error} */ (error).message}`, false);
  }
  rest(s);
}

/**
 * Returns the message, or the one of which it is the last part.
 *
 * @param {Core} s
 * @param {ServerMessage} message
 * @returns {ServerMessage}
 */
function whole(s, message) {
  if (message.type === "TransitionChunk") {
    const text = s.chunks.add(message);
    if (text === null) return message;
    const joined = parseMessage(text);
    if (joined.type !== "Transition") throw new Violation("chunks of no Transition");
    return joined;
  }
  if (s.chunks.isOpen && message.type !== "Ping") throw new Violation("message between chunks");
  return message;
}

/**
 * @param {Core} s
 * @param {Transition} message
 */
function transition(s, message) {
  const { start, end, modifications } = message;
  checkVersions(s, start, end);
  if (s.version === ZERO) checkTime(s, message);
  const queries = s.queries.take(modifications);
  s.version = end;
  s.ts = end.ts;
  s.clockSkewMs = message.clockSkewMs ?? s.clockSkewMs;
  observe(s, end.ts);
  const completed = s.requests.settle(end.ts);
  if (end.identity > start.identity && end.identity === s.identity && s.token !== null) {
    s.effects.push({ type: "authConfirmed", clockSkewMs: s.clockSkewMs });
  }
  const change = { ts: end.ts, incarnation: s.incarnation, queries, completed };
  s.effects.push({ type: "change", change });
}

/**
 * @param {Core} s
 * @param {Version} start
 * @param {Version} end
 * @throws {Violation} this is not the next step, or one back, or ahead of what was asked.
 */
function checkVersions({ version, identity, queries }, start, end) {
  const isNext =
    start.querySet === version.querySet &&
    start.identity === version.identity &&
    start.ts === version.ts;
  if (!isNext) throw new Violation("broken chain of versions");
  const isForward =
    end.querySet >= start.querySet && end.identity >= start.identity && end.ts >= start.ts;
  if (!isForward) throw new Violation("version goes back");
  if (end.querySet > queries.version || end.identity > identity) {
    throw new Violation("version of nothing that was asked");
  }
}

/**
 * Checks the first Transition of a connection against what was before it.
 *
 * @param {Core} s
 * @param {Transition} message
 * @throws {Violation} it is older than what was shown, or of a database that did not give the
 *   answers that we hold.
 */
function checkTime(s, { end, incarnation }) {
  const isOther = incarnation !== null && s.incarnation !== null && incarnation !== s.incarnation;
  if (!isOther && end.ts < s.maxObservedTs) throw new Violation("older than what was seen");
  s.incarnation = incarnation ?? s.incarnation;
  if (!isOther) return;
  s.maxObservedTs = 0n;
  if (s.requests.forgetOutcomes()) throw new Violation("another incarnation of the database");
}

/**
 * @param {Core} s
 * @param {bigint} ts
 */
function observe(s, ts) {
  if (ts > s.maxObservedTs) s.maxObservedTs = ts;
}

/**
 * @param {Core} s
 * @param {MutationResponse | ActionResponse} message
 */
function answer(s, message) {
  const { type, requestId } = message;
  const result = s.requests.answer(message);
  if (type === "MutationResponse") observe(s, message.ts);
  if (result === null) return;
  if (type === "ActionResponse") s.effects.push({ type: "acted", requestId, result });
  else if (result.status === "error") {
    s.effects.push({ type: "failed", requestId, failure: result.error });
  }
}

/**
 * @param {Core} s
 * @param {AuthError} message
 */
function authError(s, { error, attempted, baseVersion }) {
  // An Authenticate that was sent after the refused one, or while the former token expired, may
  // be good: the server closes, and the next connection tries it.
  const isOld = baseVersion + 1 < s.identity || (!attempted && s.version.identity < s.identity);
  if (isOld || s.token === null) return;
  s.isHeld = true;
  s.effects.push({ type: "authRejected", error, attempted, baseVersion });
  leave(s, "AuthError");
}

/**
 * @param {Core} s
 * @param {FatalError} message
 */
function fatalError(s, { error }) {
  s.effects.push({ type: "broken", message: error });
  leave(s, "FatalError", false);
}

/**
 * After a message that ended nothing: sends what waited for room, and lets the next wait be a
 * short one again once all is answered that the last connection left.
 *
 * @param {Core} s
 */
function rest(s) {
  if (s.state === "live") flush(s);
  const isAnswered = s.version.querySet > 0 && s.version.identity === s.identity;
  const isOpen = s.state === "live" || s.state === "paused";
  if (!isOpen || s.retries === 0 || !isAnswered || !s.requests.isCaughtUp) return;
  s.retries = 0;
  tellPhase(s);
}
