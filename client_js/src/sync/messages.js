/**
 * The wire's messages (docs/protocol.md; PROTOCOL.md §3, §4). What is read keeps the wire's names
 * and its JSON; what a session does not need is passed over.
 *
 * @module
 */

/** @import {Json, Result} from "../types.js" */

import { decodeValue, encodeTs } from "../values.js";

/**
 * @typedef {{querySet: number, identity: number, ts: string}} WireVersion
 *
 * @typedef {{type: "QueryUpdated", queryId: number, value?: Json, journal?: unknown}
 *   | {type: "QueryFailed", queryId: number, errorMessage: string, errorData?: Json, journal?: unknown}
 *   | {type: "QueryPatched", queryId: number, patch: Json, journal?: unknown}
 *   | {type: "QueryRemoved", queryId: number, journal?: undefined}} Modification
 *
 * @typedef {{type: "Transition", startVersion: WireVersion, endVersion: WireVersion, modifications: Modification[], incarnation?: unknown, clientClockSkew?: unknown}} Transition
 * @typedef {{type: "MutationResponse", requestId: number, success: boolean, result: Json, ts: string, errorData?: Json}} MutationResponse
 * @typedef {{type: "ActionResponse", requestId: number, success: boolean, result: Json, errorData?: Json}} ActionResponse
 * @typedef {{type: "AuthError", error: string, baseVersion: number, authUpdateAttempted: boolean}} AuthError
 * @typedef {{type: "FatalError", error: string}} FatalError
 * @typedef {{type: "TransitionChunk", chunk: string, partNumber: number, totalParts: number, transitionId: string}} Chunk
 * @typedef {Transition | MutationResponse | ActionResponse | AuthError | FatalError | Chunk | {type: "Ping"}} ServerMessage
 *
 * @typedef {{type: "Add", queryId: number, udfPath: string, args: Json[], journal: string | null} | {type: "Remove", queryId: number}} QueryModification
 */

const RESPONSE = { requestId: "number", success: "boolean" };
const QUERY = { queryId: "number" };

/** Fields on which something depends, with their types, of all that has a type itself. */
const SHAPES = new Map(
  Object.entries({
    Transition: { startVersion: "object", endVersion: "object", modifications: "object" },
    QueryUpdated: QUERY,
    QueryFailed: { ...QUERY, errorMessage: "string" },
    QueryPatched: QUERY,
    QueryRemoved: QUERY,
    MutationResponse: RESPONSE,
    ActionResponse: RESPONSE,
    AuthError: { error: "string", baseVersion: "number", authUpdateAttempted: "boolean" },
    FatalError: { error: "string" },
    TransitionChunk: {
      chunk: "string",
      partNumber: "number",
      totalParts: "number",
      transitionId: "string",
    },
    Ping: {},
  }),
);

/**
 * Returns what it is given, if that has all fields of its type.
 *
 * @template {{type: string}} Message
 * @param {Message} json
 * @returns {Message}
 * @throws {Error} it has not, or its type is unknown.
 */
export function checked(json) {
  for (const [name, type] of Object.entries(SHAPES.get(json.type) ?? { type: "known" })) {
    const found = /** @type {Record<string, unknown>} */ (json)[name];
    if (typeof found !== type) throw new Error(`${json.type} with wrong ${name}`);
  }
  return json;
}

/**
 * Returns the message that a text of the server is.
 *
 * @param {string} text
 * @returns {ServerMessage}
 * @throws {Error} it is none.
 */
export const parseMessage = (text) => checked(JSON.parse(text));

/**
 * Returns a function's result. A value that cannot be read is its failure, and nobody else's: on
 * the next connection it would come again.
 *
 * @param {unknown} json
 * @returns {Result}
 */
export function success(json) {
  try {
    return { status: "success", value: decodeValue(json ?? null, "result") };
  } catch (error) {
    const message = `The server's answer cannot be read. ${/** @type {Error} */ (error).message}`;
    return { status: "error", error: { message, code: "UnreadableValue" } };
  }
}

/**
 * Returns a function's failure.
 *
 * @param {unknown} message
 * @param {Json} [errorData] only if the application threw it; null is data too
 * @returns {Result}
 */
export function failure(message, errorData) {
  const data = errorData === undefined ? undefined : success(errorData);
  const more = data?.status === "success" ? { data: data.value } : {};
  return { status: "error", error: { message: String(message), ...more } };
}

/**
 * @param {object} fields
 * @param {string} fields.sessionId
 * @param {number} fields.connectionCount earlier connections of this session object
 * @param {string} fields.lastCloseReason
 * @param {bigint} fields.maxObservedTs 0: none
 * @param {number} fields.clientTs our clock, ms
 */
export const connect = ({ maxObservedTs, clientTs, ...fields }) =>
  JSON.stringify({
    type: "Connect",
    ...fields,
    maxObservedTimestamp: maxObservedTs > 0n ? encodeTs(maxObservedTs) : undefined,
    clientTs: Math.round(clientTs),
  });

/**
 * @param {number} baseVersion
 * @param {string | null} token null: nobody
 */
export const authenticate = (baseVersion, token) =>
  JSON.stringify({
    type: "Authenticate",
    baseVersion,
    tokenType: token === null ? "None" : "User",
    value: token ?? undefined,
  });

/**
 * @param {number} baseVersion
 * @param {QueryModification[]} modifications may be empty
 */
export const modifyQuerySet = (baseVersion, modifications) =>
  JSON.stringify({
    type: "ModifyQuerySet",
    baseVersion,
    newVersion: baseVersion + 1,
    modifications,
  });

/**
 * @param {"Mutation" | "Action"} type
 * @param {number} requestId
 * @param {string} udfPath
 * @param {Json} args encoded, one object
 */
export const request = (type, requestId, udfPath, args) =>
  JSON.stringify({ type, requestId, udfPath, args: [args] });
