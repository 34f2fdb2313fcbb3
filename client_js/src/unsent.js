/**
 * What one tab knows of its account's outbox: the entries, the layers that show their effect, and
 * this tab's own handles. News may come late, twice or in any order; each changes things once.
 *
 * @module
 */

/** @import {Account, Failure, OptimisticUpdate, OutboxEntry, QueryToken, Value} from "./types.js" */
/** @import {Write} from "./handle.js" */
/** @import {View} from "./view.js" */

import { fromFailure } from "./errors.js";
import { decodeValue } from "./values.js";

const REMEMBERED = 256;

/** @type {Failure} */
const UNKNOWN = {
  code: "OutcomeUnknown",
  message: "This write left the outbox while this page was not heard of: it was done or discarded",
};

/** @typedef {{value: Value} | {failure: Failure} | null} Outcome null: not known, or nobody's concern */

/**
 * @typedef {object} UnsentOptions
 * @property {View} view
 * @property {Map<string, OptimisticUpdate>} updates by path; may grow
 * @property {Map<string, Write>} writes of this tab by key; outlive the scope
 * @property {(tokens: Set<QueryToken>) => void} onShown
 * @property {() => void} onChange
 */

export class Unsent {
  #options;
  /** @type {Map<number, OutboxEntry>} by requestId */
  #entries = new Map();
  /** @type {Map<number, Outcome>} of entries that left the outbox: late news bring none back */
  #gone = new Map();

  /** @param {UnsentOptions} options */
  constructor(options) {
    this.#options = options;
  }

  /**
   * Waits anew for what this tab wrote before it left the account: it may be done, as the leader
   * knows; or its database was removed.
   *
   * @param {Account} account
   * @param {string} sessionId of its outbox now
   */
  resume(account, sessionId) {
    for (const write of this.#options.writes.values()) {
      const { entry } = write;
      if (entry?.sessionId === sessionId) this.onStored(entry);
      else if (entry?.user === account) write.fail(fromFailure(UNKNOWN));
    }
  }

  /** All entries, in order. */
  get entries() {
    return [...this.#entries.values()].sort((a, b) => a.requestId - b.requestId);
  }

  /** Request ids of those that are to be done yet. */
  get waiting() {
    const entries = [...this.#entries.values()].filter(({ state }) => state !== "failed");
    return entries.map(({ requestId }) => requestId);
  }

  /** Shows the effect of entries whose update became known now. @param {string} path */
  showUpdates(path) {
    for (const entry of this.#entries.values()) {
      if (entry.path === path) this.#showEntry(entry);
    }
  }

  /** @param {string} key @param {number} order @param {string} path @param {Value} args */
  show(key, order, path, args) {
    const { view, writes, updates } = this.#options;
    const update = writes.get(key)?.update ?? updates.get(path);
    if (update) this.#shown(view.addLayer({ key, order, path, args, update }));
  }

  /** @param {string} key whose effect is to be shown no more */
  hide(key) {
    this.#shown(this.#options.view.removeLayer(key));
  }

  /** @param {OutboxEntry} entry */
  onStored(entry) {
    const { key, requestId, state } = entry;
    const outcome = this.#gone.get(requestId);
    const write = this.#options.writes.get(key);
    if (outcome !== undefined) {
      // Its end was heard of before its beginning.
      this.hide(key);
      if (outcome && "value" in outcome) write?.succeed(outcome.value);
      if (!outcome || !("failure" in outcome)) return;
    }
    if (this.#entries.has(requestId)) return;
    this.#entries.set(requestId, entry);
    this.#showEntry(entry);
    this.#shown(this.#options.view.orderLayer(key, requestId));
    if (write) {
      write.entry = entry;
      write.onEntry(state);
    }
    if (outcome) this.onFailed(requestId, outcome.failure);
    this.#options.onChange();
  }

  /** @param {number[]} requestIds */
  onSent(requestIds) {
    for (const requestId of requestIds) {
      const entry = this.#entries.get(requestId);
      if (entry?.state !== "stored") continue;
      this.#entries.set(requestId, { ...entry, state: "sent" });
      this.#options.writes.get(entry.key)?.onEntry("sent");
    }
    this.#options.onChange();
  }

  /** @param {number[]} requestIds of entries that are there no more, and nobody knows why */
  onUnknown(requestIds) {
    for (const requestId of requestIds) {
      const key = this.#entries.get(requestId)?.key;
      const write = this.remove(requestId, null);
      if (key) this.hide(key);
      write?.fail(fromFailure(UNKNOWN));
    }
    this.#options.onChange();
  }

  /** @param {number} requestId @param {Failure} failure */
  onFailed(requestId, failure) {
    const entry = this.#entries.get(requestId);
    if (!entry) return this.#remember(requestId, { failure });
    if (entry.state === "failed") return;
    this.#entries.set(requestId, { ...entry, state: "failed", failure });
    this.hide(entry.key);
    this.#options.writes.get(entry.key)?.fail(fromFailure(failure));
    this.#options.onChange();
  }

  /** @param {string} key discarded, or tried again under another key */
  onDiscarded(key) {
    this.#options.writes.get(key)?.discarded();
    const entry = this.entries.find((one) => one.key === key);
    if (entry) this.remove(entry.requestId, null);
    this.hide(key);
    this.#options.onChange();
  }

  /**
   * Takes an entry out that is in the outbox no more.
   *
   * @param {number} requestId
   * @param {Outcome} outcome
   * @returns {Write | undefined} this tab's, to be told
   */
  remove(requestId, outcome) {
    this.#remember(requestId, outcome);
    const entry = this.#entries.get(requestId);
    this.#entries.delete(requestId);
    const write = this.#options.writes.get(entry?.key ?? "");
    this.#options.writes.delete(entry?.key ?? "");
    return write;
  }

  /** @param {number} requestId @param {Outcome} outcome */
  #remember(requestId, outcome) {
    this.#gone.set(requestId, outcome);
    for (const oldest of this.#gone.keys()) {
      if (this.#gone.size <= REMEMBERED) return;
      this.#gone.delete(oldest);
    }
  }

  /** @param {OutboxEntry} entry */
  #showEntry({ key, requestId, path, args, state }) {
    if (state !== "failed") this.show(key, requestId, path, decodeValue(args));
  }

  /** @param {Set<QueryToken>} tokens */
  #shown(tokens) {
    if (tokens.size > 0) this.#options.onShown(tokens);
  }
}
