/**
 * References to functions of the server, without generated code.
 *
 * @module
 */

import { ParleyError } from "./errors.js";

const NAME = Symbol.for("functionName");

/** @param {string[]} parts @returns {any} */
const reference = (parts) =>
  new Proxy(
    {},
    {
      get(_target, key) {
        if (typeof key === "string") return reference([...parts, key]);
        if (key === NAME) return nameOf(parts);
        return key === Symbol.toStringTag ? "FunctionReference" : undefined;
      },
    },
  );

/** @param {string[]} parts */
function nameOf(parts) {
  if (parts.length < 2) {
    const found = ["api", ...parts].join(".");
    throw new ParleyError(
      "InvalidPath",
      `A function is named as api.module.function, but this is ${found}`,
    );
  }
  return `${parts.slice(0, -1).join("/")}:${parts.at(-1)}`;
}

/**
 * Names any function: `anyApi.messages.list` is `messages:list`. Nothing is checked; generated
 * `api` objects have types.
 *
 * @type {any}
 */
export const anyApi = reference([]);
