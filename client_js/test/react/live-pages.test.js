import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { LivePages } from "../../src/react/live-pages.js";

/** @import { PageResult, PaginationOptions } from "../../src/react/live-pages.js" */

/**
 * Stands at the place of the client: rows in order, read by pages as the server does. A cursor is
 * the last row before it; "end" is the end of all rows.
 */
class Table {
  /** @type {Map<string, {options: PaginationOptions, end: string | null, listeners: Set<() => void>}>} */
  #asked = new Map();
  /** Cursors that are not valid any more. */
  refused = new Set();
  /** Cursors whose pages are still loading. */
  held = new Set();
  /** How many rows may be read at once. */
  limit = Number.POSITIVE_INFINITY;
  /** Whether the list does not exist any more. */
  isGone = false;

  /** @param {number[]} rows */
  constructor(rows) {
    this.rows = rows;
  }

  /** Everything that is asked for now, in the order in which it was. */
  get asked() {
    return [...this.#asked.values()].map(({ options }) => options);
  }

  /** @param {PaginationOptions} options */
  watch = (options) => {
    const token = JSON.stringify(options);
    return {
      token,
      localResult: () => this.#read(options, token),
      isStale: () => false,
      journal: () => null,
      /** @param {() => void} listener */
      onUpdate: (listener) => {
        const asked = this.#asked.get(token) ?? {
          options,
          end: options.endCursor ?? null,
          listeners: new Set(),
        };
        this.#asked.set(token, asked);
        const own = () => listener();
        asked.listeners.add(own);
        return () => {
          asked.listeners.delete(own);
          if (asked.listeners.size === 0) this.#asked.delete(token);
        };
      },
    };
  };

  /** @param {...number} rows */
  add(...rows) {
    this.rows = [...this.rows, ...rows].sort((a, b) => a - b);
    this.tell();
  }

  tell() {
    for (const { listeners } of [...this.#asked.values()]) {
      for (const listener of listeners) listener();
    }
  }

  /** Lets go of the borders of pages, as when they come from this device and no server has them. */
  forgetBorders() {
    for (const asked of this.#asked.values()) asked.end = asked.options.endCursor ?? null;
  }

  /**
   * @param {PaginationOptions} options
   * @param {string} token
   * @returns {PageResult | undefined}
   */
  #read(options, token) {
    const asked = this.#asked.get(token);
    const { cursor, numItems } = options;
    if (!asked || this.held.has(cursor)) return undefined;
    if (this.isGone) return { page: [], isDone: true, continueCursor: "" };
    if (this.refused.has(cursor)) throw new Error("InvalidCursor: it is of another query");
    const after = this.rows.filter((row) => cursor === null || row > Number(cursor));
    const end = asked.end;
    const page =
      end === null
        ? after.slice(0, numItems)
        : after.filter((row) => end === "end" || row <= Number(end));
    if (end === null) asked.end = page.length < numItems ? "end" : String(page.at(-1));
    const read = page.slice(0, this.limit);
    const isCut = read.length < page.length;
    const last = isCut ? String(read.at(-1)) : asked.end;
    return {
      page: read,
      isDone: last === "end",
      continueCursor: String(last),
      splitCursor: page.length > 2 ? String(read[Math.floor((read.length - 1) / 2)]) : null,
      pageStatus: isCut ? "SplitRequired" : null,
    };
  }
}

/**
 * @param {Table} table
 * @param {number} [firstItems]
 */
function opened(table, firstItems = 3) {
  const pages = new LivePages(table.watch, firstItems);
  /** @type {unknown[][]} */
  const seen = [];
  const stop = pages.subscribe(() => seen.push(pages.snapshot().results));
  return { pages, seen, stop };
}

/** @param {any} a @param {any} b */
const byNumber = (a, b) => a - b;

describe("pages", () => {
  test("load one after the other, and say when there is no more", () => {
    const table = new Table([1, 2, 3, 4, 5]);
    table.held = new Set([null, "3"]);
    const { pages } = opened(table);
    const shown = () => {
      const { status, isLoading, results } = pages.snapshot();
      return [status, isLoading, ...results];
    };
    /** @param {null | string} cursor */
    const answer = (cursor) => {
      table.held.delete(cursor);
      table.tell();
    };

    assert.deepEqual(shown(), ["LoadingFirstPage", true]);
    pages.loadMore(2);
    answer(null);
    assert.deepEqual(shown(), ["CanLoadMore", false, 1, 2, 3]);
    pages.loadMore(2);
    pages.loadMore(2);
    assert.deepEqual(shown(), ["LoadingMore", true, 1, 2, 3]);
    answer("3");
    assert.deepEqual(shown(), ["CanLoadMore", false, 1, 2, 3, 4, 5]);
    pages.loadMore(2);
    assert.deepEqual(shown(), ["Exhausted", false, 1, 2, 3, 4, 5]);
    pages.loadMore(2);
    assert.equal(table.asked.length, 3);
  });

  test("keep one object until something changes, and the same rows in it", () => {
    const table = new Table([1, 2, 3]);
    const { pages } = opened(table);
    const before = pages.snapshot();
    table.tell();
    assert.equal(pages.snapshot(), before);
    table.add(1.5);
    assert.notEqual(pages.snapshot(), before);
    assert.equal(pages.snapshot().loadMore, before.loadMore);
  });

  test("stay without gaps while rows come into each of them", () => {
    const table = new Table([10, 20, 30, 40, 50, 60, 70]);
    const { pages } = opened(table);
    pages.loadMore(2);
    table.add(15);
    table.add(30.5);
    table.add(45);
    assert.deepEqual(pages.snapshot().results, [10, 15, 20, 30, 30.5, 40, 45, 50]);
    table.add(65);
    assert.equal(pages.snapshot().results.length, 8);
  });

  test("are split when they have grown, and show the whole until both halves are there", () => {
    const table = new Table([1, 2, 3, 4]);
    const { pages, seen } = opened(table);
    table.held.add("1.3");
    table.add(1.1, 1.2, 1.3, 1.4, 1.5);
    assert.deepEqual(table.asked, [
      { cursor: null, numItems: 3, id: 0 },
      { cursor: null, endCursor: "1.3", numItems: 3, id: 0 },
      { cursor: "1.3", endCursor: "3", numItems: 3, id: 0 },
    ]);
    table.add(1.05);
    table.held.clear();
    table.add(2.5);
    assert.equal(table.asked.length, 2);
    assert.deepEqual(pages.snapshot().results, [1, 1.05, 1.1, 1.2, 1.3, 1.4, 1.5, 2, 2.5, 3]);
    assert.deepEqual([...new Set(seen.map((rows) => rows.length))], [3, 8, 9, 10]);
  });

  test("that had to be cut are not shown, and their halves reach to where the next begins", () => {
    const table = new Table([1, 2, 3, 4]);
    const { pages } = opened(table);
    pages.loadMore(1);
    table.held.add("1");
    table.limit = 2;
    table.tell();
    assert.deepEqual(pages.snapshot().results, []);
    assert.equal(pages.snapshot().status, "LoadingFirstPage");
    table.held.clear();
    table.tell();
    assert.deepEqual(pages.snapshot().results, [1, 2, 3, 4]);
    assert.deepEqual(
      table.asked.map(({ cursor, endCursor }) => [cursor, endCursor]),
      [
        ["3", undefined],
        [null, "1"],
        ["1", "3"],
      ],
    );
  });

  test("begin anew when the server does not know their cursors any more", () => {
    const table = new Table([1, 2, 3, 4, 5]);
    const { pages } = opened(table);
    pages.loadMore(1);
    table.refused.add("3");
    table.rows = [2, 3, 4, 5];
    table.tell();
    assert.deepEqual(pages.snapshot().results, [2, 3, 4]);
    assert.deepEqual(table.asked, [{ cursor: null, numItems: 3, id: 1 }]);
  });

  test("throw a failure, also one of cursors when even the first page is refused", () => {
    const table = new Table([1, 2, 3]);
    table.refused.add(null);
    const pages = new LivePages(table.watch, 3);
    pages.subscribe(() => {});
    assert.throws(() => pages.snapshot(), /InvalidCursor/);
    assert.equal(table.asked.length, 1);
    table.refused.clear();
    table.tell();
    assert.deepEqual(pages.snapshot().results, [1, 2, 3]);
  });

  test("that do not meet are asked for again from where the former ends", () => {
    const table = new Table([1, 2, 3, 4, 5, 6]);
    const { pages } = opened(table, 2);
    pages.loadMore(2);
    table.rows = [0, 1, 2, 3, 4, 5, 6];
    table.forgetBorders();
    table.tell();
    assert.deepEqual(pages.snapshot().results, [0, 1, 2, 3]);
    assert.deepEqual(
      table.asked.map(({ cursor }) => cursor),
      [null, "1"],
    );
  });

  test("that are long and do not meet the next are split at their own end: no row is there twice", () => {
    const table = new Table([10, 20, 30, 40, 50, 60, 70, 80]);
    const { pages, stop } = opened(table, 1);
    pages.loadMore(3);
    table.rows = table.rows.slice(1);
    table.tell();
    stop();
    pages.subscribe(() => {});
    assert.deepEqual(pages.snapshot().results, table.rows);
  });

  test("whatever becomes of their rows and borders, show the list's beginning, each row once", () => {
    const rows = fc.uniqueArray(fc.nat(99), { maxLength: 12 });
    const act = fc.constantFrom("more", "forget", "hold", "release", "again");
    const steps = fc.array(fc.tuple(act, rows), { maxLength: 12 });
    const firstItems = fc.integer({ min: 1, max: 4 });
    const property = fc.property(firstItems, steps, (first, story) => {
      const table = new Table([]);
      const pages = new LivePages(table.watch, first);
      const look = () => {
        const { results } = pages.snapshot();
        assert.deepEqual(results, [...new Set(results)].sort(byNumber));
      };
      let stop = pages.subscribe(look);
      const acts = {
        more: () => pages.loadMore(3),
        forget: () => table.forgetBorders(),
        hold: () => {
          table.held = new Set(table.asked.map(({ cursor }) => cursor));
        },
        release: () => table.held.clear(),
        again: () => {
          stop();
          stop = pages.subscribe(look);
        },
      };
      for (const [act, next] of story) {
        table.rows = next.sort(byNumber);
        table.tell();
        acts[act]();
        table.tell();
      }
      table.held.clear();
      table.tell();
      const { results, isLoading } = pages.snapshot();
      assert.deepEqual([results, isLoading], [table.rows.slice(0, results.length), false]);
    });
    fc.assert(property);
  });

  test("after the last one are let go of", () => {
    const table = new Table([1, 2, 3, 4]);
    const { pages } = opened(table, 2);
    pages.loadMore(2);
    table.isGone = true;
    table.tell();
    assert.deepEqual(pages.snapshot().results, []);
    assert.equal(table.asked.length, 1);
  });

  test("ask for nothing once they are not watched, and go on where they were", () => {
    const table = new Table([1, 2, 3, 4]);
    const { pages, stop } = opened(table, 2);
    pages.loadMore(1);
    stop();
    assert.deepEqual(table.asked, []);
    pages.subscribe(() => {});
    assert.deepEqual(pages.snapshot().results, [1, 2, 3]);
  });
});
