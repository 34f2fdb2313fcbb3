/**
 * Makes a changed result of the former one and what changed in it (docs/protocol.md, "Patches").
 *
 * @module
 */

/** @import {Json, Value} from "../types.js" */

import { decodeValue } from "../values.js";

/** @typedef {string | number} Step a field's name, or an element's place */
/** @typedef {(container: any, step: Step, ...rest: any[]) => void} Operation */

/**
 * @param {unknown} fits
 * @returns {asserts fits}
 */
function check(fits) {
  if (!fits) throw new Error("patch that does not fit");
}

/** @param {unknown} value */
const isObject = (value) => Object.prototype.toString.call(value) === "[object Object]";

/**
 * @param {any} container
 * @param {Step} step
 * @returns {boolean} whether there is something
 */
const has = (container, step) =>
  typeof step === "string"
    ? isObject(container) && Object.hasOwn(container, step)
    : Array.isArray(container) && step >= 0 && step in container;

/** @type {Operation} */
const put = (container, step, value) =>
  // Not by assignment: `__proto__` is a field like any other.
  Object.defineProperty(container, step, {
    value,
    configurable: true,
    enumerable: true,
    writable: true,
  });

/** @type {Record<string, Operation>} what each does to a container that is a copy already */
const OPERATIONS = {
  set(container, step, json) {
    check(has(container, step) || (isObject(container) && typeof step === "string"));
    put(container, step, decodeValue(json));
  },
  unset(container, step) {
    check(isObject(container) && has(container, step));
    delete container[step];
  },
  append(container, step, text) {
    check(has(container, step) && typeof container[step] === "string" && typeof text === "string");
    put(container, step, container[step] + text);
  },
};

/**
 * Returns the result after a change. The former stays as it is; what did not change is the same
 * object in both.
 *
 * @param {Value} value
 * @param {Json} patch operations, one after the other
 * @returns {Value}
 * @throws {Error} it does not fit: the connection begins anew, and gets the result whole.
 */
export function applyPatch(value, patch) {
  /** @type {WeakSet<object>} */
  const copies = new WeakSet();
  /** @param {any} container */
  const copied = (container) => {
    check(Array.isArray(container) || isObject(container));
    if (copies.has(container)) return container;
    const copy = Array.isArray(container) ? container.slice() : { ...container };
    copies.add(copy);
    return copy;
  };
  const root = copied([value]);
  check(Array.isArray(patch));
  for (const operation of patch) {
    check(Array.isArray(operation) && Array.isArray(operation[1]));
    const [name, path, ...rest] = /** @type {[string, Step[], ...any[]]} */ (operation);
    const isSplice = name === "splice";
    const above = [0, ...path];
    const last = isSplice ? 0 : above.pop();
    let container = root;
    for (const step of above) {
      check(has(container, step));
      const next = copied(container[step]);
      put(container, step, next);
      container = next;
    }
    if (isSplice) splice(container, rest);
    else {
      check(Object.hasOwn(OPERATIONS, name) && above.length > 0);
      OPERATIONS[name]?.(container, /** @type {Step} */ (last), rest[0]);
    }
  }
  return root[0];
}

/**
 * @param {any} array
 * @param {any[]} change
 */
function splice(array, [index, count, items]) {
  check(Array.isArray(array) && Array.isArray(items));
  check(Number.isInteger(index) && Number.isInteger(count) && index >= 0 && count >= 0);
  check(index + count <= array.length);
  const added = items.map((item) => decodeValue(item));
  // Not `splice(index, count, ...added)`: a function takes only so many arguments.
  const rest = array.splice(index).slice(count);
  for (const item of [...added, ...rest]) array.push(item);
}
