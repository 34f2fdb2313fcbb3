/**
 * The writes of one account on this device that the server is not yet known to have done.
 *
 * All tabs use one database, each through an Outbox of its own. What must not happen twice happens
 * within one transaction, so none of them needs to know of the others:
 * - A write gets its number (`requestId`) where it is stored. Numbers only grow, over all sessions
 *   of the database; who reads number n has been able to read all below it.
 * - The server does a number of a session once, and none below one that it has done. So two tabs
 *   may send the same entries, as long as each sends all of `after()`, in that order.
 *
 * With Web Locks all tabs use one session, and one of them sends. Without, each tab has a session
 * and sends for itself; a session whose tab is silent for a minute goes to the next tab that opens,
 * with its unsent writes. Should its tab only have slept, both send, which is harmless.
 *
 * @module
 */

/** @import {Account, Completion, Failure, Json, OutboxEntry} from "./types.js" */
/** @import {Store, Table, Tx} from "./storage/store.js" */

import { ParleyError } from "./errors.js";
import { newId } from "./ids.js";
import { encodeValue } from "./values.js";

/**
 * @typedef {object} Session
 * @property {string} sessionId
 * @property {Account} user
 * @property {boolean} isShared by all tabs
 * @property {number} beatAt ms since the epoch; when its tab was last heard of
 */

const SILENCE_MS = 60_000;
const RECENT = 256;
const RECENT_CHARS = 2 ** 18;
// The server remembers a request for 14 days; one day is left for clocks that differ.
const REMEMBERED_MS = 13 * 24 * 3600 * 1000;

/** @type {Failure} */
const UNKNOWN_OUTCOME = {
  code: "OutcomeUnknown",
  message: "It is not known whether this was done: look, then try it again or discard it",
};

/** @type {Table[]} */
const TABLES = ["meta", "sessions", "outbox"];

export class Outbox {
  #store;
  #user;
  #now;

  /**
   * @param {Store} store
   * @param {Account} user
   * @param {() => number} now
   */
  constructor(store, user, now) {
    this.#store = store;
    this.#user = user;
    this.#now = now;
    /** What this tab sends under: all tabs' with Web Locks, else its own. */
    this.sessionId = "";
  }

  /**
   * Opens the outbox of an account, and finds the session that this tab sends under.
   *
   * @param {Store} store
   * @param {object} options
   * @param {Account} options.account
   * @param {() => number} options.now ms since the epoch
   * @param {() => string} options.uuid
   * @param {boolean} options.hasLocks whether one tab sends for all
   */
  static async open(store, { account, now, uuid, hasLocks }) {
    const outbox = new Outbox(store, account, now);
    await outbox.#write(async (tx) => {
      await outbox.#giveUpOld(tx);
      const [first, ...others] = await outbox.#sessions(tx, hasLocks);
      const sessionId = first?.sessionId ?? uuid();
      const row = { sessionId, user: account, isShared: hasLocks, beatAt: now() };
      // On a full disk what is there already can be sent, as long as nothing needs to be written.
      if (!hasLocks || !first?.isShared) await tx.put("sessions", sessionId, row);
      outbox.sessionId = sessionId;
      // Left by tabs that had no locks: nobody will send under their sessions any more.
      const left = new Set(hasLocks ? others.map((other) => other.sessionId) : []);
      await outbox.#giveUp(tx, (entry) => left.has(entry.sessionId));
    });
    return outbox;
  }

  /**
   * Stores a write. When this resolves it is on disk, and its place in the order is fixed.
   *
   * @param {{key: string, path: string, args: Json}} call
   * @returns {Promise<OutboxEntry>}
   * @throws {ParleyError} "StorageFull": nothing was stored; "Moved": see `seal`
   */
  append(call) {
    return this.#write(async (tx) => {
      if (await tx.get("meta", "sealed")) {
        throw new ParleyError("Moved", "What was written before signing in has moved; reload");
      }
      return this.#add(tx, call);
    });
  }

  /**
   * Returns what is to be sent behind `requestId` (-1: from the beginning), in order.
   *
   * @param {number} requestId
   * @returns {Promise<OutboxEntry[]>}
   */
  async after(requestId) {
    const isToSend = (/** @type {OutboxEntry} */ entry) =>
      entry.requestId > requestId && entry.sessionId === this.sessionId && entry.state !== "failed";
    const found = (await this.list()).filter(isToSend);
    if (!found.some((entry) => this.#isForgotten(entry))) return found;
    await this.expire();
    return (await this.list()).filter(isToSend);
  }

  /**
   * Returns all entries of the account, failed ones and those of other tabs too, in order.
   *
   * @returns {Promise<OutboxEntry[]>}
   */
  list() {
    return this.#store.read(["outbox"], (tx) => this.#entries(tx));
  }

  /**
   * Notes that entries are handed to a socket. If this is awaited before they are, then nothing is
   * sent that was discarded or has failed meanwhile, or that is too old to be sent again.
   *
   * @param {number[]} requestIds
   * @returns {Promise<number[]>} those that are still to be sent
   */
  async sent(requestIds) {
    const sentAt = this.#now();
    const noted = await this.#write(
      (tx) =>
        this.#change(tx, requestIds, (entry) =>
          entry.state === "failed" || this.#isForgotten(entry)
            ? null
            : { state: "sent", sentAt: entry.sentAt ?? sentAt },
        ),
      false,
    );
    return noted.map((entry) => entry.requestId);
  }

  /**
   * Removes what the server has done.
   *
   * @param {number[]} requestIds
   * @param {Completion[]} [completed] what they gave, for `recent`
   */
  done(requestIds, completed = []) {
    // Not strict: what comes back after a power cut is sent again, and done once.
    return this.#write(async (tx) => {
      const recent = (await tx.get("meta", "recent")) ?? [];
      if (completed[0]) await tx.put("meta", "recent", newest([...recent, ...completed]));
      for (const { requestId } of await this.#find(tx, requestIds)) {
        await tx.delete("outbox", requestId);
      }
    }, false);
  }

  /**
   * Returns the mutations that were done last, for tabs that did not hear of it.
   *
   * @returns {Promise<Completion[]>}
   */
  async recent() {
    return (await this.#store.read(["meta"], (tx) => tx.get("meta", "recent"))) ?? [];
  }

  /**
   * Notes that the server refused a write. It stays until it is tried again or discarded; nobody
   * waits behind it.
   *
   * @param {number} requestId
   * @param {Failure} failure
   * @returns {Promise<OutboxEntry | null>} null if it is not there any more
   */
  async fail(requestId, failure) {
    const [entry] = await this.#write((tx) =>
      this.#change(tx, [requestId], () => ({ state: "failed", failure })),
    );
    return entry ?? null;
  }

  /**
   * Puts a failed write to the end, as a new one with a key of its own.
   *
   * @param {string} key of the failed one
   * @returns {Promise<OutboxEntry>}
   * @throws {ParleyError} "NotFailed": it is not here, or has not failed
   */
  retry(key) {
    return this.#write(async (tx) => {
      const entry = await this.#byKey(tx, key);
      if (entry?.state !== "failed") {
        throw new ParleyError("NotFailed", "Only a write that failed can be tried again");
      }
      await tx.delete("outbox", entry.requestId);
      return this.#add(tx, { key: newId(), path: entry.path, args: entry.args });
    });
  }

  /**
   * Removes a write that failed, or was never sent.
   *
   * @param {string} key
   * @returns {Promise<OutboxEntry | null>} null if it is not there any more
   * @throws {ParleyError} "AlreadySent": the server may have done it
   */
  discard(key) {
    return this.#write(async (tx) => {
      const entry = await this.#byKey(tx, key);
      if (entry?.state === "sent") {
        throw new ParleyError("AlreadySent", "This was sent already: it cannot be discarded");
      }
      if (entry) await tx.delete("outbox", entry.requestId);
      return entry ?? null;
    });
  }

  /**
   * Closes an outbox whose entries move elsewhere: nobody can add to it any more, so that nothing
   * is left behind. Called again (after a crash) it returns the same.
   *
   * @returns {Promise<{marker: string, entries: OutboxEntry[]}>} what `adopt` takes
   */
  seal() {
    return this.#write(async (tx) => {
      const marker = (await tx.get("meta", "sealed")) ?? newId();
      await tx.put("meta", "sealed", marker);
      return { marker, entries: await this.#entries(tx) };
    });
  }

  /**
   * Takes over the entries of another outbox, in order, to the end of this one; once for a marker.
   *
   * @param {{key: string, path: string, args: Json}[]} entries
   * @param {string} marker
   * @returns {Promise<OutboxEntry[]>} none if they were taken over before
   */
  adopt(entries, marker) {
    return this.#write(async (tx) => {
      if (await tx.get("meta", `adopted ${marker}`)) return [];
      await tx.put("meta", `adopted ${marker}`, true);
      const added = [];
      for (const call of entries) added.push(await this.#add(tx, call));
      return added;
    });
  }

  /**
   * Gives up what was sent so long ago that the server may have forgotten it: sent again it might
   * happen twice. Clients that were away for days call it before they connect.
   *
   * @returns {Promise<OutboxEntry[]>} what has failed by this
   */
  expire() {
    return this.#write((tx) => this.#giveUpOld(tx), false);
  }

  /** Says that this tab lives; without Web Locks, to be called a few times in a minute. */
  beat() {
    return this.#beat(this.#now());
  }

  /** Lets the next tab have this one's session at once; to be called when the page goes. */
  release() {
    return this.#beat(0);
  }

  /**
   * Returns the sessions that this tab may send under, the best first.
   *
   * @param {Tx} tx
   * @param {boolean} hasLocks
   * @returns {Promise<Session[]>}
   */
  async #sessions(tx, hasLocks) {
    const rows = (await tx.entries("sessions")).map(([, row]) => /** @type {Session} */ (row));
    const own = rows.filter((row) => row.user === this.#user);
    const unsent = (await this.#entries(tx)).filter((entry) => entry.state !== "failed");
    // Before all that of a tab which left writes behind.
    const rank = (/** @type {Session} */ row) =>
      unsent.some((entry) => entry.sessionId === row.sessionId) ? 0 : 1;
    const shared = own.filter((row) => hasLocks && row.isShared);
    const silent = own.filter((row) => !shared.includes(row) && isSilent(row, this.#now()));
    return [...shared, ...silent.sort((a, b) => rank(a) - rank(b))];
  }

  /** @param {Tx} tx */
  #giveUpOld(tx) {
    return this.#giveUp(tx, (entry) => this.#isForgotten(entry));
  }

  /**
   * @param {Tx} tx
   * @param {(entry: OutboxEntry) => boolean} isLost
   */
  async #giveUp(tx, isLost) {
    const lost = (await this.#entries(tx)).filter((e) => e.state !== "failed" && isLost(e));
    return this.#change(
      tx,
      lost.map((entry) => entry.requestId),
      () => ({ state: "failed", failure: UNKNOWN_OUTCOME }),
    );
  }

  /** @param {number} beatAt */
  #beat(beatAt) {
    return this.#write(async (tx) => {
      const row = await tx.get("sessions", this.sessionId);
      await tx.put("sessions", this.sessionId, { ...row, beatAt });
    }, false);
  }

  /**
   * @template T
   * @param {(tx: Tx) => Promise<T>} work
   * @param {boolean} [isStrict]
   */
  #write(work, isStrict = true) {
    return this.#store.write(TABLES, work, { isStrict });
  }

  /**
   * @param {Tx} tx
   * @param {{key: string, path: string, args: Json}} call
   * @returns {Promise<OutboxEntry>}
   */
  async #add(tx, { key, path, args }) {
    const requestId = (await tx.get("meta", "nextRequestId")) ?? 0;
    /** @type {OutboxEntry} */
    const entry = {
      key,
      requestId,
      sessionId: this.sessionId,
      user: this.#user,
      path,
      args,
      state: "stored",
      storedAt: this.#now(),
      sentAt: null,
      failure: null,
    };
    await tx.put("meta", "nextRequestId", requestId + 1);
    await tx.put("outbox", requestId, entry);
    return entry;
  }

  /**
   * @param {Tx} tx
   * @returns {Promise<OutboxEntry[]>}
   */
  async #entries(tx) {
    const rows = await tx.entries("outbox");
    return rows.map(([, entry]) => entry).filter((entry) => entry.user === this.#user);
  }

  /** @param {Tx} tx @param {string} key */
  async #byKey(tx, key) {
    return (await this.#entries(tx)).find((entry) => entry.key === key);
  }

  /**
   * @param {Tx} tx
   * @param {number[]} requestIds
   * @returns {Promise<OutboxEntry[]>}
   */
  async #find(tx, requestIds) {
    const found = [];
    for (const requestId of requestIds) {
      const entry = await tx.get("outbox", requestId);
      if (entry?.user === this.#user) found.push(entry);
    }
    return found;
  }

  /**
   * @param {Tx} tx
   * @param {number[]} requestIds
   * @param {(entry: OutboxEntry) => Partial<OutboxEntry> | null} change
   */
  async #change(tx, requestIds, change) {
    const changed = [];
    for (const entry of await this.#find(tx, requestIds)) {
      const fields = change(entry);
      if (!fields) continue;
      const next = { ...entry, ...fields };
      await tx.put("outbox", entry.requestId, next);
      changed.push(next);
    }
    return changed;
  }

  /** @param {OutboxEntry} entry */
  #isForgotten({ state, sentAt }) {
    return state === "sent" && this.#now() - (sentAt ?? 0) > REMEMBERED_MS;
  }
}

// A clock that was set back must not make a session look alive for ever.
/** @param {Session} row @param {number} now */
const isSilent = (row, now) => Math.abs(now - row.beatAt) > SILENCE_MS;

/**
 * Returns the last of some completions, for tabs that did not hear of them: no more than may be
 * written with each that comes, but always one.
 *
 * @param {Completion[]} completions oldest first
 */
export function newest(completions) {
  const last = completions.slice(-RECENT);
  let room = RECENT_CHARS;
  const older = last.findLastIndex(({ value }) => {
    room -= JSON.stringify(encodeValue(value)).length;
    return room < 0;
  });
  return last.slice(Math.min(older + 1, last.length - 1));
}
