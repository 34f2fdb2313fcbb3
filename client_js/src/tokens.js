/**
 * Query tokens: one text for each distinct query.
 *
 * @module
 */

/** @import {Json, QueryToken} from "./types.js" */

import { canonicalPath } from "./paths.js";
import { canonicalJson } from "./values.js";

/**
 * Returns the token of a query.
 *
 * @param {string} path in any form
 * @param {Json} args encoded, one object; the order of its keys does not matter
 * @returns {QueryToken}
 */
export const queryToken = (path, args) => canonicalJson({ args, path: canonicalPath(path) });

/**
 * Returns what a token was made of.
 *
 * @param {QueryToken} token
 * @returns {{path: string, args: Json}}
 */
export const parseToken = (token) => JSON.parse(token);

/**
 * Tells whether a token is one of this function's.
 *
 * @param {QueryToken} token
 * @param {string} path canonical
 */
export const isOf = (token, path) => token.endsWith(`,"path":${JSON.stringify(path)}}`);
