/**
 * The one place where a changed result is made of the former one and what changed in it.
 *
 * @module
 */

/** @import {Json, Value} from "../types.js" */

/**
 * Returns the result after a change. No server sends any yet.
 *
 * @param {Value} _value
 * @param {Json} _patch
 * @returns {Value}
 * @throws {Error} always: the connection begins anew, and gets the result whole.
 */
export function applyPatch(_value, _patch) {
  throw new Error("unknown patch");
}
