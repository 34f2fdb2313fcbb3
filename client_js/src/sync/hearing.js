/**
 * What the server says, and what follows from it. Anything wrong ends the connection, and the next
 * one begins from zero.
 *
 * @module
 */

/** @import {Core, Version} from "./connection.js" */
/** @import {ActionResponse, AuthError, FatalError, MutationResponse, ServerMessage, Transition, WireVersion} from "./messages.js" */

import { decodeTs } from "../values.js";
import { flush, leave, tellPhase, ZERO } from "./connection.js";
import { parseMessage } from "./messages.js";

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
    if (joined.type !== "Transition") throw new Error("chunks of no Transition");
    return joined;
  }
  if (s.chunks.isOpen && message.type !== "Ping") throw new Error("message between chunks");
  return message;
}

/**
 * @param {Core} s
 * @param {Transition} message
 */
function transition(s, message) {
  const { modifications, incarnation, clientClockSkew } = message;
  const start = versionOf(message.startVersion);
  const end = versionOf(message.endVersion);
  checkVersions(s, start, end);
  if (s.version === ZERO) checkTime(s, end.ts, incarnation);
  const queries = s.queries.take(modifications);
  s.version = end;
  s.ts = end.ts;
  if (typeof clientClockSkew === "number") s.clockSkewMs = clientClockSkew;
  observe(s, end.ts);
  const completed = s.requests.settle(end.ts);
  if (end.identity > start.identity && end.identity === s.identity && s.token !== null) {
    s.effects.push({ type: "authConfirmed", clockSkewMs: s.clockSkewMs });
  }
  const change = { ts: end.ts, incarnation: s.incarnation, queries, completed };
  s.effects.push({ type: "change", change });
}

/**
 * @param {WireVersion} version
 * @returns {Version}
 */
const versionOf = ({ ts, ...numbers }) => ({ ...numbers, ts: decodeTs(ts) });

/**
 * @param {Core} s
 * @param {Version} start
 * @param {Version} end
 * @throws {Error} this is not the next step, or one back, or ahead of what was asked.
 */
function checkVersions({ version, identity, queries }, start, end) {
  const parts = /** @type {const} */ (["querySet", "identity", "ts"]);
  if (!parts.every((part) => start[part] === version[part])) throw new Error("broken chain");
  const isForward = parts.every((part) => end[part] >= start[part]);
  if (!isForward || end.querySet > queries.version || end.identity > identity) {
    throw new Error("version back, or of nothing that was asked");
  }
}

/**
 * Checks the first Transition of a connection against what was before it.
 *
 * @param {Core} s
 * @param {bigint} ts
 * @param {unknown} incarnation a text, if it is told
 * @throws {Error} it is older than what was shown, or of a database that did not give the
 *   answers that we hold.
 */
function checkTime(s, ts, incarnation) {
  const told = typeof incarnation === "string" ? incarnation : s.incarnation;
  const isOther = s.incarnation !== null && told !== s.incarnation;
  if (!isOther && ts < s.maxObservedTs) throw new Error("older than what was seen");
  s.incarnation = told;
  if (!isOther) return;
  s.maxObservedTs = 0n;
  if (s.requests.forgetOutcomes()) throw new Error("another incarnation of the database");
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
  if (type === "MutationResponse" && message.success) observe(s, decodeTs(message.ts));
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
function authError(s, { error, authUpdateAttempted: attempted, baseVersion }) {
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
