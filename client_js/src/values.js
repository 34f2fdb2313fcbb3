/**
 * Values of applications to and from the wire's JSON (docs/protocol.md; PROTOCOL.md §14).
 *
 * | Value                   | JSON                                                        |
 * |-------------------------|-------------------------------------------------------------|
 * | number                  | number; NaN, ±Infinity and -0 are `{"$float": base64}`      |
 * | bigint, 64 bits, signed | `{"$integer": base64}` of eight bytes, little-endian        |
 * | ArrayBuffer             | `{"$bytes": base64}`                                        |
 * | all else                | as it is; fields that are `undefined` are left out          |
 *
 * Both directions refuse what the other side would: what is sent must be readable everywhere.
 *
 * @module
 */

/** @import {Json, Value} from "./types.js" */

import { ParleyError } from "./errors.js";

const MAX_DEPTH = 64; // containers within one another, as on the server
const KEY = /^(?!\$)[ -~]{0,1024}$/;
const BAD_KEY =
  "expected a key of at most 1024 printable ASCII characters that does not start with $";
const IDENTIFIER = /^[$\w]+$/;
const LONE_SURROGATE = /\p{Surrogate}/u;
const INT64_MIN = -(2n ** 63n);

/** A refusal on its way up; each container adds its step to the path. */
class Refusal {
  /** @param {string} expected */
  constructor(expected) {
    this.expected = expected;
    this.path = "";
  }
}

/**
 * @param {string} expected
 * @returns {never}
 */
function refuse(expected) {
  throw new Refusal(expected);
}

/** @param {string | number} key of a field, or an element's index */
function step(key) {
  if (typeof key === "number") return `[${key}]`;
  const shown = key.slice(0, 60);
  return IDENTIFIER.test(shown) ? `.${shown}` : `[${JSON.stringify(shown)}]`;
}

/**
 * @template Item
 * @param {(value: unknown, depth: number) => Item} convert
 * @param {unknown} value
 * @param {string} at
 */
function converted(convert, value, at) {
  try {
    return convert(value, 1);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    throw new ParleyError("InvalidValue", `Invalid value at ${at}${error.path}: ${error.expected}`);
  }
}

/**
 * Returns bytes as standard base64 with padding.
 *
 * @param {ArrayBuffer} buffer
 */
function toBase64(buffer) {
  let text = "";
  for (const byte of new Uint8Array(buffer)) text += String.fromCharCode(byte);
  return btoa(text);
}

/**
 * @param {unknown} text standard base64 with padding and nothing else
 * @returns {DataView<ArrayBuffer>}
 * @throws {Error} it is something else.
 */
function fromBase64(text) {
  const raw = atob(/** @type {string} */ (text));
  // atob forgives missing padding, spaces and stray bits; other readers do not.
  if (btoa(raw) !== text) throw new Error("base64");
  return new DataView(Uint8Array.from(raw, (letter) => letter.charCodeAt(0)).buffer);
}

/** @param {(view: DataView) => void} write */
function eightBytes(write) {
  const view = new DataView(new ArrayBuffer(8));
  write(view);
  return toBase64(view.buffer);
}

/** @param {unknown} text */
function fromEightBytes(text) {
  const view = fromBase64(text);
  if (view.byteLength !== 8) throw new Error("length");
  return view;
}

/**
 * Returns a timestamp as the wire has it.
 *
 * @param {bigint} ts unsigned, 64 bits
 * @returns {string}
 */
export const encodeTs = (ts) => eightBytes((view) => view.setBigUint64(0, ts, true));

/**
 * Returns the timestamp that a text of the wire stands for.
 *
 * @param {unknown} text
 * @returns {bigint}
 * @throws {Error} not base64 of exactly eight bytes.
 */
export const decodeTs = (text) => fromEightBytes(text).getBigUint64(0, true);

/** @param {number} number whether JSON cannot carry it, or would lose its sign */
const isSpecial = (number) => !Number.isFinite(number) || Object.is(number, -0);

/**
 * What stands behind an object's only key, by that key.
 *
 * @type {Record<string, (text: unknown) => Value>}
 */
const MARKS = {
  $integer: (text) => fromEightBytes(text).getBigInt64(0, true),
  $bytes: (text) => fromBase64(text).buffer,
  $float: specialFloat,
};

/** @param {unknown} text */
function specialFloat(text) {
  const number = fromEightBytes(text).getFloat64(0, true);
  if (Number.isNaN(number)) return Number.NaN; // engines may keep the bits that came
  if (isSpecial(number)) return number;
  throw new Error("ordinary");
}

/**
 * Returns the wire's JSON of a value.
 *
 * @param {unknown} value
 * @param {string} [at] what the value is called in a refusal
 * @returns {Json}
 * @throws {ParleyError} code InvalidValue: no such value; the message names the field and what was
 *   expected there, such as `args.tools[0].$ref`.
 */
export function encodeValue(value, at = "args") {
  return converted(encode, value, at);
}

/**
 * Returns the value that the wire's JSON stands for.
 *
 * @param {unknown} json
 * @param {string} [at] what the value is called in a refusal
 * @returns {Value}
 * @throws {ParleyError} code InvalidValue: see `encodeValue`.
 */
export function decodeValue(json, at = "value") {
  return converted(decode, json, at);
}

/**
 * Returns JSON as text that is equal for equal JSON: keys in order of their UTF-16 units, no spaces.
 *
 * @param {Json} json
 * @returns {string}
 */
export function canonicalJson(json) {
  if (Array.isArray(json)) return `[${json.map(canonicalJson)}]`;
  if (json === null || typeof json !== "object") return JSON.stringify(json);
  const fields = Object.entries(json).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${fields.map(([key, field]) => `${JSON.stringify(key)}:${canonicalJson(field)}`)}}`;
}

/**
 * @param {unknown} value
 * @param {number} depth
 * @returns {Json}
 */
function encode(value, depth) {
  switch (typeof value) {
    case "string":
      return checked(value);
    case "number":
      if (!isSpecial(value)) return value;
      return { $float: eightBytes((view) => view.setFloat64(0, value, true)) };
    case "bigint":
      if (value < INT64_MIN || value >= -INT64_MIN) refuse("expected a bigint of 64 bits");
      return { $integer: eightBytes((view) => view.setBigInt64(0, value, true)) };
    case "boolean":
      return value;
    case "object":
      return value === null ? null : encodeObject(value, depth);
    default:
      return refuse(`expected a value, found ${typeof value}`);
  }
}

/**
 * @param {object} value
 * @param {number} depth
 * @returns {Json}
 */
function encodeObject(value, depth) {
  // Not instanceof: it is false for what comes from another frame.
  const tag = Object.prototype.toString.call(value).slice(8, -1);
  if (tag === "ArrayBuffer") return { $bytes: toBase64(/** @type {ArrayBuffer} */ (value)) };
  if (!Array.isArray(value) && !isPlain(value)) {
    refuse(`expected a plain object, found ${value.constructor?.name ?? tag}`);
  }
  return inside(value, depth, encode);
}

/** @param {object} value */
function isPlain(value) {
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/**
 * @param {unknown} json
 * @param {number} depth
 * @returns {Value}
 */
function decode(json, depth) {
  if (typeof json === "string") return checked(json);
  if (json === null || typeof json === "number" || typeof json === "boolean") return json;
  if (typeof json !== "object") return refuse(`expected JSON, found ${typeof json}`);
  const fields = Array.isArray(json) ? [] : Object.entries(json);
  const [key = "", text] = fields[0] ?? [];
  const mark = fields.length === 1 && key.startsWith("$") && MARKS[key];
  if (!mark) return inside(json, depth, decode);
  try {
    return mark(text);
  } catch {
    return refuse(`expected what ${key} stands for, in base64`);
  }
}

/**
 * Converts what is in an array or an object.
 *
 * @template Item
 * @param {object} container
 * @param {number} depth
 * @param {(item: unknown, depth: number) => Item} convert
 * @returns {Item[] | {[key: string]: Item}}
 */
function inside(container, depth, convert) {
  if (depth > MAX_DEPTH) refuse(`expected at most ${MAX_DEPTH} levels of nesting`);
  /** @type {string | number} */
  let at = "";
  try {
    if (Array.isArray(container)) {
      return Array.from(container, (item, index) => {
        at = index;
        return convert(item, depth + 1);
      });
    }
    /** @type {[string, Item][]} */
    const fields = [];
    for (const [key, field] of Object.entries(container)) {
      at = key;
      if (!KEY.test(key)) refuse(BAD_KEY);
      if (field !== undefined) fields.push([key, convert(field, depth + 1)]);
    }
    return Object.fromEntries(fields); // which makes even `__proto__` a field like any other
  } catch (error) {
    if (error instanceof Refusal) error.path = step(at) + error.path;
    throw error;
  }
}

/** @param {string} text */
function checked(text) {
  if (LONE_SURROGATE.test(text)) refuse("expected Unicode text, found a lone surrogate");
  return text;
}
