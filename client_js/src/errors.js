/**
 * What this client throws.
 *
 * @module
 */

/** @import {Failure, Value} from "./types.js" */

/** Anything that this client throws. `code` says what went wrong, in one word; `message` to people. */
export class ParleyError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   */
  constructor(code, message) {
    super(message);
    this.name = "ParleyError";
    this.code = code;
  }
}

/** What a function of the application threw on purpose; `data` is what it threw, and may be null. */
export class AppError extends ParleyError {
  /**
   * @param {Value} data
   * @param {string} [message] for logs; without it, `data` as text
   */
  constructor(data, message = typeof data === "string" ? data : JSON.stringify(data, asText)) {
    super("AppError", message);
    this.name = "AppError";
    this.data = data;
  }
}

// Convex's name, so that `error instanceof ConvexError` goes on working in code brought over.
export { AppError as ConvexError };

/**
 * @param {string} _key
 * @param {unknown} value
 */
const asText = (_key, value) => (typeof value === "bigint" ? String(value) : value);

/**
 * Returns what of an error can travel between tabs and into storage.
 *
 * @param {unknown} error
 * @returns {Failure}
 */
export function toFailure(error) {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof AppError) return { message, data: error.data };
  return error instanceof ParleyError ? { message, code: error.code } : { message };
}

/**
 * Returns the error that a failure stands for: an `AppError` if it has data.
 *
 * @param {Failure} failure
 * @returns {ParleyError}
 */
export function fromFailure({ message, data, code = "FunctionFailed" }) {
  return data === undefined ? new ParleyError(code, message) : new AppError(data, message);
}

/**
 * Calls listeners of the application back. One that throws is heard of on the console, and takes
 * nothing from the others, nor from us.
 *
 * @template {unknown[]} Args
 * @param {Iterable<(...args: Args) => void>} listeners may change meanwhile
 * @param {Args} args
 */
export function callAll(listeners, ...args) {
  for (const listener of [...listeners]) {
    try {
      listener(...args);
    } catch (error) {
      console.error("A listener failed:", error);
    }
  }
}
