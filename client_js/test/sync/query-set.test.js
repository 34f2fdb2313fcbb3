import assert from "node:assert/strict";
import { test } from "node:test";
import { QuerySet } from "../../src/sync/query-set.js";
import { query } from "../support/wire.js";

/** @import {Json} from "../../src/types.js" */
/** @import {Modification} from "../../src/sync/messages.js" */

const LIST = query("messages:list");
const COUNT = query("messages:count");

/** @param {QuerySet} queries */
function announced(queries) {
  const text = queries.announce();
  return text === null ? null : JSON.parse(text);
}

/** @param {number} queryId @param {Json} value @param {string} [journal] @returns {Modification} */
const result = (queryId, value, journal) => ({ type: "QueryUpdated", queryId, value, journal });

test("even an empty set is announced on a new connection, and then nothing until it changes", () => {
  const queries = new QuerySet();

  assert.deepStrictEqual(announced(queries), {
    type: "ModifyQuerySet",
    baseVersion: 0,
    newVersion: 1,
    modifications: [],
  });
  assert.equal(announced(queries), null);
});

test("a query that is there already is not added again", () => {
  const queries = new QuerySet();
  queries.add(LIST);
  queries.add(LIST);
  assert.equal(announced(queries).modifications.length, 1);

  queries.add(LIST);

  assert.equal(announced(queries), null);
});

test("ids are never used again", () => {
  const queries = new QuerySet();
  queries.add(LIST);
  announced(queries);
  queries.remove(LIST.token);
  queries.remove(LIST.token);

  queries.add(LIST);

  assert.deepStrictEqual(announced(queries).modifications, [
    { type: "Remove", queryId: 0 },
    { type: "Add", queryId: 1, udfPath: LIST.path, args: [{}], journal: null },
  ]);
  assert.deepStrictEqual(queries.take([result(0, ["late"])]), []);
});

test("a new connection is told all queries, with their newest journals", () => {
  const queries = new QuerySet();
  queries.add({ ...LIST, journal: "kept" });
  queries.add(COUNT);
  announced(queries);
  queries.take([result(1, 5, "newer")]);

  queries.restart();

  const { baseVersion, modifications } = announced(queries);
  assert.equal(baseVersion, 0);
  assert.deepStrictEqual(
    modifications.map((/** @type {{journal: string}} */ { journal }) => journal),
    ["kept", "newer"],
  );
});

test("results stay over a lost connection; those that were removed or never came are not given", () => {
  const queries = new QuerySet();
  queries.add(LIST);
  queries.add(COUNT);
  queries.take([result(0, ["a"]), result(1, 5)]);

  queries.restart();
  queries.take([{ type: "QueryRemoved", queryId: 1 }]);

  assert.deepStrictEqual(queries.results([LIST.token, COUNT.token, "other"]), [
    { token: LIST.token, result: { status: "success", value: ["a"] }, journal: null },
  ]);
});

test("a patch is refused where there is no result of this connection, or none at all", () => {
  /** @type {Modification} */
  const patch = { type: "QueryPatched", queryId: 0, patch: {} };
  const queries = new QuerySet();
  queries.add(LIST);
  assert.throws(() => queries.take([patch]), /patch of no result/);
  queries.take([result(0, ["a"])]);
  assert.throws(() => queries.take([patch]), /does not fit/);

  queries.restart();

  assert.throws(() => queries.take([patch]), /patch of no result/);
});

test("of a Transition with something wrong in it, nothing is taken", () => {
  const queries = new QuerySet();
  queries.add(LIST);
  queries.take([result(0, ["before"])]);

  assert.throws(() =>
    queries.take([result(0, ["after"]), { type: "QueryPatched", queryId: 0, patch: {} }]),
  );

  assert.deepStrictEqual(queries.results([LIST.token])[0]?.result, {
    status: "success",
    value: ["before"],
  });
});

test("a modification that is none is refused", () => {
  const queries = new QuerySet();
  queries.add(LIST);
  const wrong = [
    null,
    {},
    { type: "Ping" },
    { type: "toString", queryId: 0 },
    { type: "QueryUpdated" },
  ];

  for (const one of wrong) {
    assert.throws(() => queries.take([/** @type {Modification} */ (/** @type {unknown} */ (one))]));
  }
});

test("a journal that is no text is none", () => {
  const queries = new QuerySet();
  queries.add(LIST);

  const [change] = queries.take([{ type: "QueryUpdated", queryId: 0, value: 1, journal: 5 }]);

  assert.equal(change?.journal, null);
});
