/**
 * What applications import.
 *
 * @module
 */

export { anyApi } from "./api.js";
export { Client, createClient } from "./client.js";
export { AppError, ConvexError, ParleyError } from "./errors.js";
export { newId } from "./ids.js";
export { pathOf as functionName } from "./paths.js";

/**
 * @template [T=unknown]
 * @typedef {import("./handle.js").MutationHandle<T>} MutationHandle
 */
/**
 * @template [T=any]
 * @typedef {import("./client.js").QueryResult<T>} QueryResult
 */
/** @typedef {import("./client.js").ClientOptions} ClientOptions */
/** @typedef {import("./client.js").OutboxItem} OutboxItem */
/** @typedef {import("./types.js").ConnectionState} ConnectionState */
/** @typedef {import("./types.js").LocalStore} LocalStore */
