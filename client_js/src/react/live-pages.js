/**
 * A list that is loaded page by page and stays live.
 *
 * Each page is a query of its own. The server keeps a page's borders while its rows come and go, so
 * pages stay adjacent; a page that has grown is asked for again as two halves, and shown until both
 * are there. Pages that do not meet (the first was shown from this device, and the server has newer
 * borders) are asked for again from where the former ends. Source: PROTOCOL.md, section 13.
 *
 * @module
 */

/** @import { Watch } from "../types.js" */

/**
 * @typedef {object} PaginationOptions
 * @property {number} numItems
 * @property {string | null} cursor where the page begins; null is the beginning of the list
 * @property {string | null} [endCursor] where it ends, if that is settled
 * @property {number} [id] tells pages of different generations apart
 */

/**
 * @typedef {object} PageResult
 * @property {unknown[]} page
 * @property {boolean} isDone
 * @property {string} continueCursor
 * @property {string | null} [splitCursor]
 * @property {"SplitRecommended" | "SplitRequired" | null} [pageStatus]
 */

/**
 * @typedef {object} Page
 * @property {PaginationOptions} options
 * @property {Watch<PageResult>} watch
 * @property {(() => void) | null} stop null until it is asked for
 * @property {[Page, Page] | null} halves what is to take its place, once both are loaded
 */

/**
 * @typedef {{status: "LoadingFirstPage" | "LoadingMore", isLoading: true}
 *   | {status: "CanLoadMore" | "Exhausted", isLoading: false}} PagesStatus
 */

/**
 * What is shown. The object is the same until something changes.
 * @template [Item=unknown]
 * @typedef {PagesStatus & {results: Item[], loadMore: (numItems: number) => void}} ShownPages
 */

/** The rows of all pages, as one external store of React. */
export class LivePages {
  #ask;
  #firstItems;
  #generation = 0;
  /** Whether the first page has not been seen since the pages were begun. */
  #isFresh = true;
  /** @type {Page[]} */
  #pages;
  /** @type {(() => void) | null} */
  #listener = null;
  /** @type {ShownPages | null} */
  #shown = null;
  #isOld = true;

  /**
   * @param {(options: PaginationOptions) => Watch<PageResult>} ask
   * @param {number} firstItems how many rows the first page has
   */
  constructor(ask, firstItems) {
    this.#ask = ask;
    this.#firstItems = firstItems;
    this.#pages = [this.#page({ cursor: null, numItems: firstItems })];
  }

  /**
   * Asks for the pages until the returned function is called.
   *
   * @param {() => void} listener called when what is shown may have changed
   */
  subscribe = (listener) => {
    this.#listener = listener;
    this.#update();
    return () => {
      this.#listener = null;
      this.#pages.forEach(stop);
    };
  };

  /**
   * Returns what is shown now; throws the failure of a page.
   *
   * @returns {ShownPages}
   */
  snapshot = () => {
    if (this.#isOld) {
      const now = this.#show();
      if (!this.#shown || !isSame(this.#shown, now)) this.#shown = now;
      this.#isOld = false;
    }
    return /** @type {ShownPages} */ (this.#shown);
  };

  /**
   * Adds a page, if there is more and nothing else is loading.
   *
   * @param {number} numItems
   */
  loadMore = (numItems) => {
    const last = this.#pages.at(-1);
    const value = last && peek(last).value;
    if (!value || this.snapshot().status !== "CanLoadMore") return;
    this.#pages.push(this.#page({ cursor: value.continueCursor, numItems }));
    this.#update();
  };

  /** Lets the pages follow from their results; each step may find results that call for another. */
  #update = () => {
    do {
      if (this.#listener) this.#pages.forEach(this.#open);
    } while (this.#restart() || this.#pages.some((page, index) => this.#step(page, index)));
    this.#isOld = true;
    this.#listener?.();
  };

  /** @param {Page} page */
  #open = (page) => {
    page.stop ??= page.watch.onUpdate(this.#update);
    page.halves?.forEach(this.#open);
  };

  /** Begins anew if the server refuses a cursor; returns whether it did. */
  #restart() {
    // A beginning that is refused at once is a failure to show, not one to repeat for ever.
    if (this.#isFresh || !this.#pages.some(isRefused)) return false;
    this.#generation++;
    this.#isFresh = true;
    const first = this.#page({ cursor: null, numItems: this.#firstItems });
    return this.#replace(0, this.#pages.length, [first]);
  }

  /**
   * Returns whether it changed the pages.
   *
   * @param {Page} page
   * @param {number} index
   */
  #step(page, index) {
    const { value } = peek(page);
    if (!value) return false;
    this.#isFresh = false;
    if (page.halves?.every((half) => peek(half).value)) return this.#replace(index, 1, page.halves);
    const next = this.#pages[index + 1];
    const end = page.options.endCursor ?? value.continueCursor;
    if (!page.halves && value.splitCursor && this.#isLong(value)) {
      // A page that had to be cut ends early: its second half goes on to where the next one begins.
      const cutEnd = value.pageStatus === "SplitRequired" && next?.options.cursor;
      page.halves = this.#split(page.options, value.splitCursor, cutEnd || end);
      return true;
    }
    if (!next || page.halves) return false;
    if (value.isDone) return this.#replace(index + 1, this.#pages.length, []);
    if (next.options.cursor === end) return false;
    const { numItems } = next.options;
    return this.#replace(index + 1, 1, [this.#page({ cursor: end, numItems })]);
  }

  /** @param {PageResult} value */
  #isLong(value) {
    return Boolean(value.pageStatus) || value.page.length > 2 * this.#firstItems;
  }

  /**
   * @param {PaginationOptions} options
   * @param {string} middle
   * @param {string} endCursor
   * @returns {[Page, Page]}
   */
  #split({ cursor, numItems }, middle, endCursor) {
    return [
      this.#page({ cursor, endCursor: middle, numItems }),
      this.#page({ cursor: middle, endCursor, numItems }),
    ];
  }

  /**
   * @param {number} index
   * @param {number} count
   * @param {Page[]} pages
   */
  #replace(index, count, pages) {
    // Those that come are asked for before those that go are not: they may be the same query.
    if (this.#listener) pages.forEach(this.#open);
    this.#pages.splice(index, count, ...pages).forEach((page) => {
      if (pages === page.halves) page.halves = null;
      stop(page);
    });
    return true;
  }

  /**
   * @param {PaginationOptions} options
   * @returns {Page}
   */
  #page(options) {
    const watch = this.#ask({ ...options, id: this.#generation });
    return { options, watch, stop: null, halves: null };
  }

  /** @returns {ShownPages} */
  #show() {
    const { loadMore } = this;
    const results = [];
    for (const page of this.#pages) {
      const { value, error } = peek(page);
      if (error && !(isInvalidCursor(error) && !this.#isFresh)) throw error;
      if (!value || value.pageStatus === "SplitRequired") {
        const status = page === this.#pages[0] ? "LoadingFirstPage" : "LoadingMore";
        return { results, status, isLoading: true, loadMore };
      }
      results.push(...value.page);
      if (value.isDone) return { results, status: "Exhausted", isLoading: false, loadMore };
    }
    return { results, status: "CanLoadMore", isLoading: false, loadMore };
  }
}

/** @param {Page} page */
function stop(page) {
  page.stop?.();
  page.stop = null;
  page.halves?.forEach(stop);
}

/**
 * @param {Page} page
 * @returns {{value?: PageResult, error?: unknown}}
 */
function peek({ watch }) {
  try {
    return { value: watch.localResult() };
  } catch (error) {
    return { error };
  }
}

/**
 * @param {Page} page
 * @returns {boolean}
 */
const isRefused = (page) =>
  isInvalidCursor(peek(page).error) || (page.halves?.some(isRefused) ?? false);

/**
 * Returns whether the server does not know a page's borders any more. An official server's message
 * has the word in it, an error of ours says so in its data.
 *
 * @param {any} error
 */
function isInvalidCursor(error) {
  return (
    error?.data?.paginationError === "InvalidCursor" ||
    String(error?.message).includes("InvalidCursor")
  );
}

/**
 * @param {ShownPages} a
 * @param {ShownPages} b
 */
function isSame(a, b) {
  return (
    a.status === b.status &&
    a.results.length === b.results.length &&
    a.results.every((row, index) => row === b.results[index])
  );
}
