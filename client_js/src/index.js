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
