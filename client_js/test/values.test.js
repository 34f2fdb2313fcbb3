import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { canonicalJson, decodeTs, decodeValue, encodeTs, encodeValue } from "../src/values.js";

/** @import {Json, Value} from "../src/types.js" */

/** @typedef {{name: string, wire: Json, ok: boolean, type: string, text: string, hex: string, canonical: string, path: string}} Vector */

/** @type {Vector[]} */
const vectors = JSON.parse(
  await readFile(new URL("../../tests/vectors/values.json", import.meta.url), "utf8"),
);

/** @type {Record<string, (vector: Vector) => unknown>} */
const MEANINGS = {
  json: ({ wire }) => wire,
  int64: ({ text }) => BigInt(text),
  float: ({ text }) => Number(text),
  bytes: ({ hex }) => Uint8Array.from(Buffer.from(hex, "hex")).buffer,
};

const key = fc.stringMatching(/^[ -#%-~][ -~]{0,8}$|^$/);
const scalar = fc.oneof(
  fc.constantFrom(null, true, false),
  fc.double(),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.string({ unit: "binary" }),
  fc.uint8Array().map((bytes) => Uint8Array.from(bytes).buffer),
);
const list = fc.array(scalar);
const object = fc.dictionary(key, fc.oneof(scalar, list), { noNullPrototype: true });
const anything = fc.oneof(scalar, list, object, fc.array(object));

/** @param {number} depth */
function nested(depth) {
  /** @type {Value} */
  let value = [];
  for (let level = 1; level < depth; level++) value = [value];
  return value;
}

for (const vector of vectors.filter(({ ok }) => ok)) {
  test(`decodes and encodes: ${vector.name}`, () => {
    const value = decodeValue(vector.wire);

    assert.deepStrictEqual(value, MEANINGS[vector.type]?.(vector));
    assert.equal(canonicalJson(encodeValue(value)), vector.canonical);
  });
}

for (const vector of vectors.filter(({ ok }) => !ok)) {
  test(`refuses and says where: ${vector.name}`, () => {
    assert.throws(
      () => decodeValue(vector.wire),
      ({ code, message }) =>
        code === "InvalidValue" && message.startsWith(`Invalid value at value${vector.path}`),
    );
  });
}

test("what is encoded decodes to the same, through text", () => {
  fc.assert(
    fc.property(anything, (value) => {
      const text = JSON.stringify(encodeValue(value));

      assert.deepStrictEqual(decodeValue(JSON.parse(text)), value);
    }),
  );
});

test("canonical JSON is equal for fields in any order, and is the same JSON", () => {
  fc.assert(
    fc.property(object, (value) => {
      const json = encodeValue(value);
      const turned = Object.fromEntries(Object.entries(value).reverse());

      assert.equal(canonicalJson(encodeValue(turned)), canonicalJson(json));
      assert.deepStrictEqual(JSON.parse(canonicalJson(json)), JSON.parse(JSON.stringify(json)));
    }),
  );
});

test("canonical JSON puts keys that look like numbers in order of their letters", () => {
  assert.equal(
    canonicalJson({ 9: 0, 10: 1, b: { d: 0, c: 1 } }),
    '{"10":1,"9":0,"b":{"c":1,"d":0}}',
  );
});

class Person {}

/** @type {[string, unknown, string][]} */
const REFUSED = [
  ["a key with a dollar", { tools: [{ $ref: 1 }] }, "args.tools[0].$ref: expected a key"],
  ["a key that is not ASCII", { größe: 1 }, 'args["größe"]: expected a key'],
  ["a key that is too long", { ["k".repeat(1025)]: 1 }, `args.${"k".repeat(60)}: expected a key`],
  [
    "undefined in an array",
    { list: [1, undefined] },
    "args.list[1]: expected a value, found undefined",
  ],
  ["a hole in an array", { list: new Array(1) }, "args.list[0]: expected a value, found undefined"],
  ["a function", { f: () => 1 }, "args.f: expected a value, found function"],
  ["a symbol", { s: Symbol("x") }, "args.s: expected a value, found symbol"],
  ["a date", { at: new Date(0) }, "args.at: expected a plain object, found Date"],
  ["a map", { all: new Map() }, "args.all: expected a plain object, found Map"],
  [
    "bytes in another clothing",
    { b: new Uint8Array(1) },
    "args.b: expected a plain object, found Uint8Array",
  ],
  [
    "an object of a class",
    { who: new Person() },
    "args.who: expected a plain object, found Person",
  ],
  ["a bigint that is too large", { n: 2n ** 63n }, "args.n: expected a bigint of 64 bits"],
  ["a bigint that is too small", { n: -(2n ** 63n) - 1n }, "args.n: expected a bigint of 64 bits"],
  ["a lone surrogate", { "a b": "\ud800" }, 'args["a b"]: expected Unicode text'],
  ["too much nesting", nested(65), `args${"[0]".repeat(64)}: expected at most 64 levels`],
];

for (const [name, value, message] of REFUSED) {
  test(`names the field when asked to encode ${name}`, () => {
    assert.throws(
      () => encodeValue(value),
      (error) => error instanceof Error && error.message.startsWith(`Invalid value at ${message}`),
    );
  });
}

test("an object that holds itself is refused, not followed for ever", () => {
  /** @type {Record<string, unknown>} */
  const loop = {};
  loop.again = loop;

  assert.throws(() => encodeValue(loop), /levels of nesting/);
});

test("64 levels of nesting are taken both ways", () => {
  assert.deepStrictEqual(decodeValue(encodeValue(nested(64))), nested(64));
});

test("fields that are undefined are left out", () => {
  assert.deepStrictEqual(encodeValue({ a: undefined, b: 1 }), { b: 1 });
});

test("what comes from another frame is a value as well", () => {
  const foreign = runInNewContext(
    "({list: [1], bytes: new ArrayBuffer(1), none: Object.create(null)})",
  );

  assert.deepStrictEqual(encodeValue(foreign), { list: [1], bytes: { $bytes: "AA==" }, none: {} });
});

test("a field called __proto__ is a field and touches no prototype", () => {
  const value = decodeValue(JSON.parse('{"__proto__": {"isAdmin": true}}'));

  assert.equal(/** @type {{isAdmin?: boolean}} */ (value).isAdmin, undefined);
  assert.equal(canonicalJson(encodeValue(value)), '{"__proto__":{"isAdmin":true}}');
});

test("what is no JSON at all is refused", () => {
  assert.throws(
    () => decodeValue(undefined),
    /Invalid value at value: expected JSON, found undefined/,
  );
});

test("timestamps are eight bytes, the lowest first", () => {
  assert.equal(encodeTs(256n), "AAEAAAAAAAA=");
  assert.equal(decodeTs("/////////38="), 2n ** 63n - 1n);
  for (const wrong of ["AAAAAA==", "AAEAAAAAAAA", 5, null, undefined]) {
    assert.throws(() => decodeTs(wrong));
  }
});
