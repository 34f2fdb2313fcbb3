import assert from "node:assert/strict";
import { mock, test } from "node:test";
import fc from "fast-check";
import { anyApi as api } from "../src/api.js";
import { queryToken } from "../src/tokens.js";
import { reuse, View } from "../src/view.js";

/** @import {OptimisticUpdate, QueryToken, Value} from "../src/types.js" */

const LIST = queryToken("messages:list", {});
const OTHER = queryToken("messages:list", { channel: "b" });
const COUNT = queryToken("messages:count", {});

/** @param {Value} value */
const success = (value) => /** @type {const} */ ({ status: "success", value });

/**
 * @param {number} ts
 * @param {Record<QueryToken, Value>} values
 * @param {number[]} [completed]
 * @param {string | null} [incarnation]
 */
const change = (ts, values, completed = [], incarnation = "x") => ({
  ts: BigInt(ts),
  incarnation,
  queries: Object.entries(values).map(([token, value]) => ({
    token,
    result: success(value),
    journal: null,
  })),
  completed: completed.map((requestId) => ({ requestId, value: null, ts: BigInt(ts) })),
});

/** @param {Value} value @param {string} [incarnation] */
const cached = (value, incarnation = "x") => ({
  result: success(value),
  ts: 1n,
  incarnation,
  journal: "j",
});

/** @type {OptimisticUpdate} */
const append = (store, { text }) => {
  const list = /** @type {Value[]} */ (store.getQuery(api.messages.list, {}) ?? []);
  store.setQuery(api.messages.list, {}, [...list, text]);
};

/**
 * @param {string} key
 * @param {number} order
 * @param {OptimisticUpdate} [update]
 */
const layer = (key, order, update = append) => ({
  key,
  order,
  path: "messages:send",
  args: { text: key },
  update,
});

/** @param {View} view @param {QueryToken} [token] */
function shown(view, token = LIST) {
  const result = view.shown(token);
  return result?.status === "success" ? result.value : result?.error.message;
}

test("results are shown as they come, and only what changed is named", () => {
  const view = new View();

  assert.deepStrictEqual(
    view.apply(change(5, { [LIST]: ["a"], [COUNT]: 1 })),
    new Set([LIST, COUNT]),
  );
  assert.deepStrictEqual(view.apply(change(6, { [LIST]: ["a"], [COUNT]: 2 })), new Set([COUNT]));
  assert.deepStrictEqual([shown(view), shown(view, COUNT), view.ts], [["a"], 2, 6n]);
  assert.equal(view.shown(OTHER), undefined);
});

test("a query that failed is shown as failed, one that was removed not at all", () => {
  const view = new View();
  view.apply(change(5, { [LIST]: ["a"], [COUNT]: 1 }));

  const error = { message: "no", data: null };
  view.apply({
    ...change(6, {}),
    queries: [
      { token: LIST, result: { status: "error", error }, journal: null },
      { token: COUNT, result: null, journal: null },
    ],
  });

  assert.deepStrictEqual(view.shown(LIST), { status: "error", error });
  assert.equal(view.shown(COUNT), undefined);
});

test("what is older than what is shown brings no results, but ends its mutations", () => {
  const view = new View();
  view.apply(change(6, { [LIST]: ["a", "b"] }));
  view.addLayer(layer("b", 1));

  const changed = view.apply(change(5, { [LIST]: ["a"] }, [1]));

  assert.deepStrictEqual(changed, new Set([LIST]));
  assert.deepStrictEqual([shown(view), view.ts], [["a", "b"], 6n]);
});

test("a mutation's layer goes in the very step that brings its result", () => {
  const view = new View();
  view.apply(change(5, { [LIST]: ["a"] }));

  assert.deepStrictEqual(view.addLayer(layer("b", 0)), new Set([LIST]));
  assert.deepStrictEqual(shown(view), ["a", "b"]);
  const changed = view.apply(change(6, { [LIST]: ["a", "b"] }, [0]));

  assert.deepStrictEqual(shown(view), ["a", "b"]);
  assert.deepStrictEqual(changed, new Set());
});

test("layers are run anew over results that change below them", () => {
  const view = new View();
  view.apply(change(5, { [LIST]: ["a"] }));
  view.addLayer(layer("c", 1));

  view.apply(change(6, { [LIST]: ["a", "b"] }));

  assert.deepStrictEqual(shown(view), ["a", "b", "c"]);
});

test("layers lie in the order of their mutations; those without a place yet come last", () => {
  const view = new View();
  view.apply(change(5, { [LIST]: [] }));
  view.addLayer(layer("new", Infinity));
  view.addLayer(layer("second", 2));
  view.addLayer(layer("newer", Infinity));
  view.addLayer(layer("first", 1));
  assert.deepStrictEqual(shown(view), ["first", "second", "new", "newer"]);

  assert.deepStrictEqual(view.orderLayer("new", 3), new Set());
  view.orderLayer("newer", 0);

  assert.deepStrictEqual(shown(view), ["newer", "first", "second", "new"]);
});

test("a layer that failed goes, and those above it are run anew", () => {
  const view = new View();
  view.apply(change(5, { [LIST]: [] }));
  for (const [order, key] of ["a", "b", "c"].entries()) view.addLayer(layer(key, order));

  assert.deepStrictEqual(view.removeLayer("b"), new Set([LIST]));

  assert.deepStrictEqual(shown(view), ["a", "c"]);
  assert.deepStrictEqual(view.removeLayer("b"), new Set());
});

test("a layer is there once, however often it is added", () => {
  const view = new View();
  view.addLayer(layer("a", 0));

  assert.deepStrictEqual(view.addLayer(layer("a", 0)), new Set());
  assert.deepStrictEqual(shown(view), ["a"]);
});

test("news of a mutation that come after that of its end bring no layer back", () => {
  const view = new View();
  view.addLayer(layer("late", Infinity));
  view.apply(change(5, { [LIST]: ["late", "other"] }, [0, 1]));

  view.orderLayer("late", 0);
  view.addLayer(layer("other", 1));

  assert.deepStrictEqual(shown(view), ["late", "other"]);
});

test("ends that are long ago are forgotten", () => {
  const view = new View();
  view.apply(
    change(
      5,
      { [LIST]: [] },
      Array.from({ length: 300 }, (_, id) => id),
    ),
  );

  view.addLayer(layer("old", 0));
  view.addLayer(layer("recent", 299));

  assert.deepStrictEqual(shown(view), ["old"]);
});

test("a query that was never loaded can be set, and loads beneath", () => {
  const view = new View();

  view.addLayer(layer("mine", 0));
  assert.deepStrictEqual([shown(view), view.isStale(LIST)], [["mine"], true]);
  view.apply(change(5, { [LIST]: ["theirs"] }));

  assert.deepStrictEqual([shown(view), view.isStale(LIST)], [["theirs", "mine"], false]);
});

test("a layer may hide a query, which then loads", () => {
  const view = new View();
  view.apply(change(5, { [LIST]: ["a"] }));

  view.addLayer(layer("x", 0, (store) => store.setQuery(api.messages.list, {}, undefined)));

  assert.equal(view.shown(LIST), undefined);
});

test("a layer sees what those below it made, and all queries of a function", () => {
  const view = new View();
  view.apply(change(5, { [LIST]: ["a"], [OTHER]: ["b"], [COUNT]: 2 }));
  view.addLayer(layer("c", 0));
  /** @type {unknown} */
  let seen;

  view.addLayer(
    layer("look", 1, (store) => {
      store.setQuery(api.messages.list, { channel: "new" }, []);
      seen = [store.getAllQueries(api.messages.list), store.getQuery(api.messages.count, {})];
    }),
  );

  assert.deepStrictEqual(seen, [
    [
      { args: {}, value: ["a", "c"] },
      { args: { channel: "b" }, value: ["b"] },
      { args: { channel: "new" }, value: [] },
    ],
    2,
  ]);
});

test("a query that failed looks to layers as if it were loading", () => {
  const view = new View();
  const result = /** @type {const} */ ({ status: "error", error: { message: "no" } });
  view.apply({ ...change(5, {}), queries: [{ token: LIST, result, journal: null }] });

  view.addLayer(layer("a", 0));

  assert.deepStrictEqual(shown(view), ["a"]);
});

test("an update that throws is as if it were not there, and is told of once", () => {
  const report = mock.method(console, "error", () => {});
  const view = new View();
  view.apply(change(5, { [LIST]: ["a"] }));
  view.addLayer(layer("b", 0));

  view.addLayer(
    layer("broken", 1, (store, args) => {
      append(store, args);
      throw new Error("broken");
    }),
  );
  view.addLayer(layer("c", 2));
  view.apply(change(6, { [LIST]: ["a", "z"] }));

  assert.deepStrictEqual(shown(view), ["a", "z", "b", "c"]);
  assert.equal(report.mock.callCount(), 1);
  report.mock.restore();
});

test("an update that is async is refused: what it does later could not be undone", () => {
  const report = mock.method(console, "error", () => {});
  const view = new View();

  view.addLayer(layer("a", 0, /** @type {OptimisticUpdate} */ (async (s, a) => append(s, a))));

  assert.equal(shown(view), undefined);
  assert.equal(report.mock.callCount(), 1);
  report.mock.restore();
});

test("an update that names no function, or gives no value for an argument, is refused", () => {
  const report = mock.method(console, "error", () => {});
  const view = new View();

  view.addLayer(layer("a", 0, (store) => store.setQuery(/** @type {any} */ ({}), {}, 1)));
  view.addLayer(layer("b", 1, (store) => store.setQuery(api.a.b, { at: new Date(0) }, 1)));

  assert.deepStrictEqual(
    report.mock.calls.map(({ arguments: [, error] }) => error.code),
    ["InvalidPath", "InvalidValue"],
  );
  report.mock.restore();
});

test("a cached result is shown as stale until a live one comes, even the same", () => {
  const view = new View();

  assert.deepStrictEqual(view.hydrate(LIST, cached(["a"])), new Set([LIST]));
  assert.deepStrictEqual([shown(view), view.isStale(LIST), view.journal(LIST)], [["a"], true, "j"]);
  assert.deepStrictEqual(view.apply(change(5, { [LIST]: ["a"] })), new Set([LIST]));

  assert.deepStrictEqual(
    [shown(view), view.isStale(LIST), view.journal(LIST)],
    [["a"], false, null],
  );
});

test("a cached result that comes late does not cover a live one", () => {
  const view = new View();
  view.apply(change(5, { [LIST]: ["live"] }));

  assert.deepStrictEqual(view.hydrate(LIST, cached(["old"])), new Set());
  assert.deepStrictEqual(shown(view), ["live"]);
});

test("layers lie over cached results too", () => {
  const view = new View();
  view.addLayer(layer("b", 0));

  view.hydrate(LIST, cached(["a"]));

  assert.deepStrictEqual(shown(view), ["a", "b"]);
});

test("another incarnation drops all that is of the former, and its time starts anew", () => {
  const view = new View();
  view.hydrate(OTHER, cached(["old"], "x"));
  view.apply(change(500, { [LIST]: ["old"], [COUNT]: 1 }, [], "x"));
  view.addLayer(layer("mine", 0));

  const changed = view.apply(change(7, { [LIST]: ["new"] }, [], "y"));

  assert.deepStrictEqual(changed, new Set([LIST, OTHER, COUNT]));
  assert.deepStrictEqual([shown(view), view.ts, view.incarnation], [["new", "mine"], 7n, "y"]);
  assert.deepStrictEqual([view.shown(OTHER), view.shown(COUNT)], [undefined, undefined]);
  assert.deepStrictEqual(view.hydrate(OTHER, cached(["old"], "x")), new Set());
});

test("a cached result of another incarnation goes when the first live ones come", () => {
  const view = new View();
  view.hydrate(OTHER, cached(["old"], "x"));

  view.apply(change(7, {}, [], "y"));

  assert.equal(view.shown(OTHER), undefined);
});

test("a server that tells no incarnation changes none", () => {
  const view = new View();
  view.apply(change(5, { [LIST]: ["a"] }, [], "x"));

  view.apply(change(6, {}, [], null));

  assert.deepStrictEqual([shown(view), view.incarnation], [["a"], "x"]);
});

test("what nobody watches is let go", () => {
  const view = new View();
  view.apply(change(5, { [LIST]: ["a"] }));

  view.forget(LIST);

  assert.deepStrictEqual(
    [view.shown(LIST), view.journal(LIST), view.isStale(LIST)],
    [undefined, null, true],
  );
});

test("what did not change keeps its identity, within what did as well", () => {
  const view = new View();
  view.apply(change(5, { [LIST]: [{ id: 1 }, { id: 2 }], [COUNT]: { n: 1n } }));
  const [before, count] = [shown(view), view.shown(COUNT)];

  view.apply(change(6, { [LIST]: [{ id: 1 }, { id: 3 }], [COUNT]: { n: 1n } }));

  const [after] = [/** @type {Value[]} */ (shown(view))];
  assert.equal(after[0], /** @type {Value[]} */ (before)[0]);
  assert.deepStrictEqual(after, [{ id: 1 }, { id: 3 }]);
  assert.equal(view.shown(COUNT), count);
});

test("what is reused is equal to the new, and the old itself if they are equal", () => {
  const leaf = fc.constantFrom(0, -0, Number.NaN, 1n, "a", null, true, undefined);
  const key = fc.constantFrom("a", "b", "__proto__", "0");
  const { thing } = fc.letrec(
    /** @param {fc.LetrecLooselyTypedTie} tie */ (tie) => ({
      thing: fc.oneof(
        { maxDepth: 3 },
        leaf,
        fc.array(tie("thing"), { maxLength: 3 }),
        fc.dictionary(key, tie("thing"), { maxKeys: 3, noNullPrototype: true }),
      ),
    }),
  );
  const arbitrary = /** @type {fc.Arbitrary<unknown>} */ (thing);
  fc.assert(
    fc.property(arbitrary, arbitrary, (old, next) => {
      assert.deepStrictEqual(reuse(old, next), next);
      const copy = structuredClone(next);
      assert.ok(Object.is(reuse(next, copy), next));
    }),
  );
});

test("a query that is watched can be found by layers before anything is known of it", () => {
  const view = new View();
  view.addLayer(
    layer("open", 0, (store) => {
      for (const { args } of store.getAllQueries(api.messages.list)) {
        store.setQuery(api.messages.list, args, ["made offline"]);
      }
    }),
  );
  assert.equal(view.shown(OTHER), undefined);

  assert.deepStrictEqual(view.watch(OTHER), new Set([OTHER]));

  assert.deepStrictEqual(shown(view, OTHER), ["made offline"]);
  assert.deepStrictEqual(view.watch(OTHER), new Set());
  assert.deepStrictEqual(new View().watch(OTHER), new Set());
  view.forget(OTHER);
  assert.equal(view.shown(OTHER), undefined);
});

// A view beside what it must be: the newest ts, mutations that are done, and layers with their
// places. Mutation 2 is called "2", and its place is 2 once it is known.
class Model {
  view = new View();
  ts = -1;
  /** @type {Set<number>} */
  done = new Set();
  /** @type {Map<number, number>} */
  layers = new Map();

  /** @param {{ts: number, done: number[]}} event */
  change({ ts, done }) {
    this.view.apply(change(ts, { [LIST]: [ts] }, done));
    this.ts = Math.max(this.ts, ts);
    for (const id of done) {
      this.done.add(id);
      if (this.layers.get(id) === id) this.layers.delete(id);
    }
  }

  /** @param {{id: number, order: number}} event */
  add({ id, order }) {
    this.view.addLayer(layer(`${id}`, order));
    if (!this.layers.has(id) && !this.done.has(order)) this.layers.set(id, order);
  }

  /** @param {{id: number}} event */
  place({ id }) {
    this.view.orderLayer(`${id}`, id);
    if (this.done.has(id)) this.layers.delete(id);
    else if (this.layers.has(id)) this.layers.set(id, id);
  }

  /** @param {{id: number}} event */
  fail({ id }) {
    this.view.removeLayer(`${id}`);
    this.layers.delete(id);
  }

  /** What must be shown; layers without a place in the order in which they came. */
  get wanted() {
    const placed = [...this.layers]
      .filter(([, order]) => order < Infinity)
      .sort(([a], [b]) => a - b);
    const others = [...this.layers].filter(([, order]) => order === Infinity);
    const texts = [...placed, ...others].map(([id]) => `${id}`);
    return this.ts < 0 ? texts : [this.ts, ...texts];
  }
}

const id = fc.nat(3);
const event = fc.oneof(
  fc
    .record({ ts: fc.nat(9), done: fc.subarray([0, 1, 2, 3]) })
    .map((data) => (/** @type {Model} */ model) => model.change(data)),
  fc
    .record({ id, isPlaced: fc.boolean() })
    .map(({ id: one, isPlaced }) => (/** @type {Model} */ model) => {
      model.add({ id: one, order: isPlaced ? one : Infinity });
    }),
  id.map((one) => (/** @type {Model} */ model) => model.place({ id: one })),
  id.map((one) => (/** @type {Model} */ model) => model.fail({ id: one })),
);

test("whatever comes in whatever order, the layers that are left lie over the newest results", () => {
  fc.assert(
    fc.property(fc.array(event), (events) => {
      const model = new Model();
      for (const apply of events) {
        const before = model.view.ts;
        apply(model);

        assert.deepStrictEqual(shown(model.view) ?? [], model.wanted);
        assert.ok(model.view.ts >= before);
      }
    }),
  );
});

test("elements of a list that are the same objects stay so, wherever they are now", () => {
  const rows = [{ _id: "1" }, { _id: "2" }, { _id: "3" }];
  const next = [{ _id: "new" }, rows[0], rows[2]];

  const shown = reuse(rows, next);

  assert.deepStrictEqual(shown, next);
  assert.ok(shown[1] === rows[0] && shown[2] === rows[2]);
  assert.equal(reuse(rows, [{ _id: "1" }, rows[1], { _id: "3" }]), rows);
});
