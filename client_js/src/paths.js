/**
 * Names of functions.
 *
 * @module
 */

import { ParleyError } from "./errors.js";

// The key under which Convex's references keep their name, so that its `api` objects work too.
const NAME = Symbol.for("functionName");

/**
 * Returns a path in its one form, `dir/module:function`: without `.js`, `default` where no
 * function is named. Whether there is such a function is the server's to say.
 *
 * @param {string} path
 * @returns {string}
 */
export function canonicalPath(path) {
  const colon = path.lastIndexOf(":");
  const [module, name] =
    colon < 0 ? [path, "default"] : [path.slice(0, colon), path.slice(colon + 1)];
  return `${module.replace(/\.js$/, "")}:${name}`;
}

/**
 * Returns the canonical path of what an application names a function by.
 *
 * @param {unknown} ref a path, or a reference such as `api.messages.list`
 * @returns {string}
 * @throws {ParleyError} code InvalidPath: neither.
 */
export function pathOf(ref) {
  const name =
    typeof ref === "string"
      ? ref
      : /** @type {{[NAME]?: unknown} | null | undefined} */ (ref)?.[NAME];
  if (typeof name === "string" && name !== "") return canonicalPath(name);
  throw new ParleyError(
    "InvalidPath",
    'A function is named by a text such as "messages:list", or by a reference such as api.messages.list',
  );
}
