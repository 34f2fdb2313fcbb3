/**
 * The wire's messages (docs/protocol.md; PROTOCOL.md §3, §4): texts to and from what the session
 * works with. A text that is no message is a `Violation`; the connection begins anew then.
 *
 * A *value* that cannot be read is not one. It would come again on every connection, so it fails
 * its own query or call and no other.
 *
 * @module
 */

/** @import {Failure, Json, Result} from "../types.js" */

import { decodeTs, decodeValue, encodeTs } from "../values.js";

/** Something that the server must not say. The message is the reason with which we close. */
export class Violation extends Error {}

/**
 * Where a connection stands: numbers of the query set and of the identity, and the timestamp.
 *
 * @typedef {{querySet: number, identity: number, ts: bigint}} Version
 */

/**
 * @typedef {{queryId: number, journal: string | null} & ({type: "result", result: Result} | {type: "patch", patch: Json} | {type: "removed"})} Modification
 */

/**
 * @typedef {object} Transition
 * @property {"Transition"} type
 * @property {Version} start
 * @property {Version} end
 * @property {Modification[]} modifications
 * @property {string | null} incarnation
 * @property {number | null} clockSkewMs by how much our clock is ahead of the server's
 */

/**
 * @typedef {{type: "MutationResponse", requestId: number, result: Result, ts: bigint}} MutationResponse `ts` is 0 where it failed
 * @typedef {{type: "ActionResponse", requestId: number, result: Result}} ActionResponse
 * @typedef {{type: "AuthError", error: string, baseVersion: number, attempted: boolean}} AuthError
 * @typedef {{type: "FatalError", error: string}} FatalError
 * @typedef {{type: "TransitionChunk", chunk: string, partNumber: number, totalParts: number, transitionId: string}} Chunk
 * @typedef {{type: "Ping"}} Ping
 * @typedef {Transition | MutationResponse | ActionResponse | AuthError | FatalError | Chunk | Ping} ServerMessage
 */

/**
 * @typedef {{type: "Add", queryId: number, udfPath: string, args: Json[], journal: string | null} | {type: "Remove", queryId: number}} QueryModification
 */

/**
 * @typedef {Record<string, unknown>} Fields
 * @typedef {{string: string, number: number, boolean: boolean}} Types
 */

/**
 * Returns a field that must be of a type.
 *
 * @template {keyof Types} Name
 * @param {Fields} fields
 * @param {string} name
 * @param {Name} type
 * @returns {Types[Name]}
 */
function field(fields, name, type) {
  const found = fields[name];
  if (typeof found !== type) throw new Violation(`${name} is no ${type}`);
  return /** @type {Types[Name]} */ (found);
}

/**
 * Returns a whole number of the wire: an id, a version.
 *
 * @param {Fields} fields
 * @param {string} name
 */
function whole(fields, name) {
  const found = field(fields, name, "number");
  if (!Number.isInteger(found) || found < 0) throw new Violation(`${name} is no whole number`);
  return found;
}

/**
 * @param {unknown} json
 * @param {string} name
 * @returns {Fields}
 */
function object(json, name) {
  if (typeof json === "object" && json !== null && !Array.isArray(json)) {
    return /** @type {Fields} */ (json);
  }
  throw new Violation(`${name} is no object`);
}

/**
 * @param {Fields} fields
 * @param {string} name
 */
function timestamp(fields, name) {
  try {
    return decodeTs(fields[name]);
  } catch {
    throw new Violation(`${name} is no timestamp`);
  }
}

/**
 * @param {Fields} fields
 * @param {string} name
 * @returns {Version}
 */
function version(fields, name) {
  const found = object(fields[name], name);
  return {
    querySet: whole(found, "querySet"),
    identity: whole(found, "identity"),
    ts: timestamp(found, "ts"),
  };
}

/**
 * @param {unknown} json
 * @returns {Result}
 */
function success(json) {
  try {
    return { status: "success", value: decodeValue(json ?? null, "result") };
  } catch (error) {
    const message = `The server's answer cannot be read. ${/** @type {Error} */ (error).message}`;
    return { status: "error", error: { message, code: "UnreadableValue" } };
  }
}

/**
 * @param {string} message
 * @param {Fields} fields `errorData` only if the application threw it; null is data too
 * @returns {Result}
 */
function failure(message, fields) {
  /** @type {Failure} */
  const error = { message };
  if (fields.errorData !== undefined) {
    const data = success(fields.errorData);
    if (data.status === "success") error.data = data.value;
  }
  return { status: "error", error };
}

/**
 * Returns the type that `fields` say, if a table has it.
 *
 * @template {object} Table
 * @param {Table} table
 * @param {Fields} fields
 */
function known(table, fields) {
  const type = field(fields, "type", "string");
  if (!Object.hasOwn(table, type)) throw new Violation(`unknown ${type}`);
  return /** @type {keyof Table} */ (type);
}

const MODIFICATIONS = {
  QueryUpdated: (/** @type {Fields} */ fields) => ({
    type: "result",
    result: success(fields.value),
  }),
  QueryFailed: (/** @type {Fields} */ fields) => ({
    type: "result",
    result: failure(field(fields, "errorMessage", "string"), fields),
  }),
  QueryPatched: (/** @type {Fields} */ fields) => ({ type: "patch", patch: fields.patch }),
  QueryRemoved: () => ({ type: "removed" }),
};

/**
 * @param {unknown} json
 * @returns {Modification}
 */
function modification(json) {
  const fields = object(json, "modification");
  const read = MODIFICATIONS[known(MODIFICATIONS, fields)];
  const journal = fields.journal ?? null;
  if (journal !== null) field(fields, "journal", "string");
  return /** @type {Modification} */ ({
    ...read(fields),
    queryId: whole(fields, "queryId"),
    journal,
  });
}

/** @param {Fields} fields */
function response(fields) {
  const result = field(fields, "success", "boolean")
    ? success(fields.result)
    : failure(field(fields, "result", "string"), fields);
  return { requestId: whole(fields, "requestId"), result };
}

/** @type {{[Type in ServerMessage["type"]]: (fields: Fields) => Omit<Extract<ServerMessage, {type: Type}>, "type">}} */
const MESSAGES = {
  Transition: (fields) => {
    const { modifications, incarnation = null, clientClockSkew } = fields;
    if (!Array.isArray(modifications)) throw new Violation("modifications is no array");
    if (incarnation !== null) field(fields, "incarnation", "string");
    return {
      start: version(fields, "startVersion"),
      end: version(fields, "endVersion"),
      modifications: modifications.map(modification),
      incarnation: /** @type {string | null} */ (incarnation),
      clockSkewMs: typeof clientClockSkew === "number" ? clientClockSkew : null,
    };
  },
  MutationResponse: (fields) => ({
    ...response(fields),
    ts: fields.success ? timestamp(fields, "ts") : 0n,
  }),
  ActionResponse: response,
  AuthError: (fields) => ({
    error: field(fields, "error", "string"),
    baseVersion: whole(fields, "baseVersion"),
    attempted: field(fields, "authUpdateAttempted", "boolean"),
  }),
  FatalError: (fields) => ({ error: field(fields, "error", "string") }),
  TransitionChunk: (fields) => ({
    chunk: field(fields, "chunk", "string"),
    partNumber: whole(fields, "partNumber"),
    totalParts: whole(fields, "totalParts"),
    transitionId: field(fields, "transitionId", "string"),
  }),
  Ping: () => ({}),
};

/**
 * Returns the message that a text of the server is.
 *
 * @param {unknown} text
 * @returns {ServerMessage}
 * @throws {Violation} it is none.
 */
export function parseMessage(text) {
  let json;
  try {
    json = JSON.parse(/** @type {string} */ (text));
  } catch {
    throw new Violation("no JSON");
  }
  const fields = object(json, "message");
  const type = known(MESSAGES, fields);
  return /** @type {ServerMessage} */ ({ type, ...MESSAGES[type](fields) });
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
  JSON.stringify(
    token === null
      ? { type: "Authenticate", baseVersion, tokenType: "None" }
      : { type: "Authenticate", baseVersion, tokenType: "User", value: token },
  );

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
