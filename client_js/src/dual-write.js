/**
 * Keeps an old zustand store and the server in step while an app moves from one to the other.
 *
 *     const link = dualWrite(client, useConversationStore);
 *     link.stop();
 *
 * What changes in the store is written to the server (through the outbox, so also offline); what
 * changes on the server comes into the store. The notes that tell one from the other (in-step.js)
 * are kept beside the store's own data, so what was changed shortly before a crash is found after
 * it, and nothing goes round in circles.
 *
 * Never taken for a wish to delete: a conversation that is missing when the page opens, and a store
 * of several that is emptied at once, or filled with others, as apps do when somebody signs out. A
 * list that the server gives to nobody in particular removes nothing here.
 *
 * @module
 */

/** @import {Account, ConnectionState} from "./types.js" */
/** @import {Problem} from "./imports.js" */
/** @import {Local, Note, Remote} from "./in-step.js" */
/** @import {KeyStore, Writer} from "./migrate.js" */

import { readConversations } from "./imports.js";
import { callsFor, isUnsent, take } from "./in-step.js";
import { accountOf, isRefusal } from "./migrate.js";
import { Notes } from "./notes.js";
import { Wholes } from "./wholes.js";

/**
 * What is used of a client.
 * @typedef {Writer & {
 *   subscribe: (ref: string, args: any, listener: (result: {value: any, isStale: boolean}) => void) => () => void,
 *   outbox: () => readonly Unsent[],
 *   subscribeToConnectionState: (listener: (state: Pick<ConnectionState, "account">) => void) => () => void,
 * }} Linked
 */

/** @typedef {{key: string, path: string, args: any, state: string, error: Error | null, discard: () => Promise<unknown>}} Unsent */

/**
 * What is used of a store of zustand.
 * @typedef {object} OldStore
 * @property {() => any} getState
 * @property {(state: any) => void} setState
 * @property {(listener: () => void) => () => void} subscribe
 * @property {{hasHydrated: () => boolean, onFinishHydration: (listener: () => void) => () => void}} [persist]
 */

/**
 * @typedef {object} Options
 * @property {string} key under which the store is kept; the notes are beside it
 * @property {KeyStore} storage
 * @property {(state: any) => any[]} select the conversations in the state
 * @property {(conversations: any[], state: any) => object} put the part of the state that changes
 * @property {(ms: number) => unknown} toTime how the store keeps times
 * @property {number} delayMs how long changes are gathered before they are written
 * @property {(run: () => void, delayMs: number) => () => void} after
 * @property {boolean} mayRemoveAll whether an emptied store means that all is to be deleted
 * @property {(problem: Problem) => void} onProblem called once for each
 */

// That many of the newest conversations are watched; others are looked up when they have moved.
const WATCHED = 20;

/**
 * Links a store with the account that is signed in, until `stop` is called or somebody else is.
 *
 * @param {Linked} client
 * @param {OldStore} store
 * @param {Partial<Options>} [options]
 * @returns {{stop: () => void, flush: () => Promise<void>}} flush: writes what is gathered, and resolves when it is in the outbox
 * @throws {ParleyError} "SignedOut"
 */
export function dualWrite(client, store, options = {}) {
  const link = new Link(client, store, {
    key: "siam-conversations",
    storage: options.storage ?? localStorage,
    select: (state) => state.conversations ?? [],
    put: (conversations) => ({ conversations }),
    toTime: (ms) => new Date(ms),
    delayMs: 1000,
    after: laterByTimer,
    mayRemoveAll: false,
    onProblem: () => {},
    ...options,
  });
  link.start();
  return { stop: () => link.stop(), flush: () => link.flush() };
}

class Link {
  #client;
  #store;
  #options;
  /** @type {Account} */
  #account;
  #notes;
  /** What the store had when it was last looked at. @type {Map<string, Local>} */
  #locals = new Map();
  /** @type {WeakMap<object, Local>} */
  #read = new WeakMap();
  /** The store's conversations, to tell when they are others. @type {any[]} */
  #seen = [];
  /** Whether the store was changed, and with it what is kept, since it was last looked at. */
  #isTouched = false;
  /** Conversations to be pushed though they are as they were. @type {Set<string>} */
  #again = new Set();
  /** Writes under way, by conversation. @type {Map<string, number>} */
  #writing = new Map();
  /** @type {Set<string>} */
  #reported = new Set();
  /** @type {Remote[] | null} */
  #list = null;
  #isKnown = false;
  #wholes;
  /** @type {() => void} */
  #cancel = () => {};
  #isGathering = false;
  /** @type {(() => void)[]} */
  #stops = [];
  #isStopped = false;

  /**
   * @param {Linked} client
   * @param {OldStore} store
   * @param {Options} options
   */
  constructor(client, store, options) {
    this.#client = client;
    this.#store = store;
    this.#options = options;
    this.#account = accountOf(client);
    this.#notes = new Notes(options.storage, options.key, this.#account);
    this.#wholes = new Wholes(client, () => this.#now());
  }

  start() {
    const { persist } = this.#store;
    // Before it has its data, a store looks empty.
    if (!persist || persist.hasHydrated()) this.#start();
    else this.#stops.push(persist.onFinishHydration(() => this.#start()));
  }

  stop() {
    this.#isStopped = true;
    this.#cancel();
    for (const stop of this.#stops.splice(0)) stop();
    this.#wholes.stop();
  }

  async flush() {
    if (this.#isStopped) return;
    const before = this.#locals;
    const again = this.#again;
    this.#again = new Set();
    this.#locals = this.#readAll(this.#options.select(this.#store.getState()));
    if (this.#isEmptied(before)) return;
    const writes = [...this.#locals.values()].flatMap((local) => {
      const former = before.get(local.conversation.id);
      const isSame = local === former && !again.has(local.conversation.id);
      return isSame ? [] : this.#push(local, former);
    });
    writes.push(...this.#pushRemovals(before));
    const isTouched = this.#isTouched;
    this.#isTouched = false;
    await Promise.all(writes);
    // Another tab's notes may be newer than what this tab's store has just kept.
    if (writes.length > 0 || isTouched) this.#notes.save();
  }

  #start() {
    const client = this.#client;
    // Its data may have come when somebody else is here already.
    if (client.connectionState().account !== this.#account) return this.stop();
    this.#seen = this.#options.select(this.#store.getState());
    this.#notes.begin();
    this.#stops.push(
      this.#store.subscribe(() => this.#onStore()),
      client.subscribe("users:me", {}, ({ value, isStale }) => {
        this.#isKnown = Boolean(value) && !isStale;
        this.#now();
      }),
      client.subscribe("conversations:list", {}, ({ value, isStale }) => {
        this.#list = isStale ? null : (value ?? null);
        this.#now();
      }),
      client.subscribeToConnectionState(({ account }) => {
        if (account !== this.#account) this.stop();
      }),
    );
    this.#now();
  }

  #onStore() {
    const found = this.#options.select(this.#store.getState());
    if (found !== this.#seen) this.#notes.onStore();
    this.#seen = found;
    this.#isTouched = true;
    if (!this.#isGathering) this.#schedule(this.#options.delayMs);
  }

  #now() {
    this.#schedule(0);
  }

  /** @param {number} delayMs */
  #schedule(delayMs) {
    if (this.#isStopped) return;
    this.#cancel();
    this.#isGathering = true;
    this.#cancel = this.#options.after(() => {
      this.#isGathering = false;
      // First what the store has: the server's must not be taken over it.
      this.flush().catch(() => {});
      this.#pull();
    }, delayMs);
  }

  // --- From the store to the server ---

  /**
   * @param {any[]} conversations of the store
   * @returns {Map<string, Local>}
   */
  #readAll(conversations) {
    const locals = conversations.map((one) => this.#readLocal(one));
    return new Map(locals.flatMap((local) => (local ? [[local.conversation.id, local]] : [])));
  }

  /**
   * @param {any} original
   * @returns {Local | undefined}
   */
  #readLocal(original) {
    const known = this.#read.get(Object(original));
    const [found] = known ? [] : readConversations([original], this.#account);
    if (!found) return known;
    for (const problem of found.problems) this.#report(problem);
    const { conversation, messages } = found;
    // Without an id it would be another one with every change.
    if (!conversation || !original.id) return undefined;
    const local = { original, conversation, messages };
    this.#read.set(original, local);
    return local;
  }

  /**
   * @param {Local} local
   * @param {Local | undefined} former
   * @returns {Promise<void>[]} kept when the writes are in the outbox
   */
  #push(local, former) {
    const { id } = local.conversation;
    const before = this.#notes.get(id);
    const { calls, note } = callsFor(local, former, before);
    this.#notes.set(id, note);
    const writes = calls.map(({ path, args }) =>
      this.#write(id, path, args, { before, after: note }),
    );
    note.writes = [...(before?.writes ?? []), ...writes.map(({ key }) => key)];
    return writes.map(({ stored }) => stored);
  }

  /**
   * Ends it if nothing is left of several conversations: then nobody wished to delete them, nor is
   * what is there instead known to be this account's.
   *
   * @param {Map<string, Local>} before
   */
  #isEmptied(before) {
    const isLeft = before.size < 2 || [...before.keys()].some((id) => this.#locals.has(id));
    if (isLeft || this.#options.mayRemoveAll) return false;
    const reason = "the store was emptied at once: on the server all stays";
    this.#report({ conversation: "", field: "", reason });
    // Nor is it filled again while this page is open.
    this.stop();
    return true;
  }

  /** @param {Map<string, Local>} before */
  #pushRemovals(before) {
    const removed = [...before.keys()].filter((id) => !this.#locals.has(id) && this.#notes.has(id));
    return removed.map((id) => {
      const before = this.#notes.get(id);
      this.#notes.delete(id);
      return this.#write(id, "conversations:remove", { conversationId: id }, { before }).stored;
    });
  }

  /**
   * @param {string} id of the conversation
   * @param {string} path
   * @param {Record<string, unknown>} args
   * @param {{before: Note | undefined, after?: Note}} notes `before` is true again if it fails: the
   *   next change tries again
   * @returns {{key: string, stored: Promise<void>}} `stored` is kept when it is in the outbox, or never will be
   */
  #write(id, path, args, { before, after }) {
    this.#writing.set(id, (this.#writing.get(id) ?? 0) + 1);
    const handle = this.#client.mutation(path, args);
    const settled = handle.catch((error) => {
      const isRefused = isRefusal(error);
      const parts = isRefused ? this.#partsOf(id, args) : [];
      for (const part of parts) {
        after?.writes?.push(this.#write(id, path, part, { before, after }).key);
      }
      if (parts.length === 0) this.#onFailure(id, path, error, { before, after });
      return isRefused ? handle.discard() : undefined;
    });
    settled
      .catch(() => {})
      .then(() => {
        this.#writing.set(id, (this.#writing.get(id) ?? 1) - 1);
        this.#notes.save();
        this.#now();
      });
    return { key: handle.key, stored: handle.stored.catch(() => {}) };
  }

  /**
   * Returns a refused call as smaller ones: one bad message must not keep the others back.
   *
   * @param {string} id of the conversation
   * @param {{messages?: any}} args
   * @returns {Record<string, unknown>[]} none if it is not the messages that were refused
   */
  #partsOf(id, { messages, ...args }) {
    const isThere = this.#list?.some(({ _id }) => _id === id);
    if (!isThere || !messages || messages.length < 2) return [];
    const half = Math.ceil(messages.length / 2);
    return [messages.slice(0, half), messages.slice(half)].map((part) => ({
      ...args,
      messages: part,
    }));
  }

  /**
   * @param {string} id of the conversation
   * @param {string} path
   * @param {Error} error
   * @param {{before: Note | undefined, after?: Note}} notes
   */
  #onFailure(id, path, error, { before, after }) {
    this.#notes.undo(id, before, after);
    this.#report({ conversation: id, field: path, reason: error.message });
  }

  /** Takes back what a page before this one wrote in vain: nobody else will. */
  #forgetRefused() {
    const refused = this.#client
      .outbox()
      .filter(({ state, error }) => state === "failed" && isRefusal(error));
    const owned = refused.flatMap((item) => {
      const [id] = [...this.#notes].find(([, note]) => note.writes?.includes(item.key)) ?? [];
      return id === undefined || this.#writing.get(id) ? [] : [{ id, item }];
    });
    for (const { id, item } of owned) {
      this.#report({ conversation: id, field: item.path, reason: item.error?.message ?? "" });
      // What the server has of it is not known any more.
      this.#notes.delete(id);
      this.#again.add(id);
      item.discard().then(
        () => this.#now(),
        () => {},
      );
    }
  }

  // --- From the server to the store ---

  #pull() {
    if (this.#isStopped || !this.#list || !this.#isKnown) return;
    this.#forgetRefused();
    const busy = this.#busy();
    const next = new Map([...this.#locals].map(([id, local]) => [id, local.original]));
    for (const id of this.#gone(this.#list, busy)) next.delete(id);
    /** @type {any[]} */
    const added = [];
    for (const [index, listed] of this.#list.entries()) {
      const original = busy.has(listed._id) ? undefined : this.#take(listed, index);
      if (original && next.has(listed._id)) next.set(listed._id, original);
      else if (original) added.push(original);
    }
    this.#putIntoStore(next, added);
    if (this.#again.size > 0) this.#now();
  }

  /**
   * Conversations that are gone from the server, not only not there yet. One that was never seen
   * there is not gone: what would have brought it was lost, with a browser that keeps nothing.
   *
   * @param {Remote[]} list
   * @param {Set<string | undefined>} busy
   */
  #gone(list, busy) {
    const there = new Set(list.map(({ _id }) => _id));
    const noted = [...this.#notes].filter(([id]) => !there.has(id));
    return noted.flatMap(([id, note]) => {
      if (busy.has(id)) return [];
      this.#notes.delete(id);
      const local = this.#locals.get(id);
      if (!local || (note.isSeen && !isUnsent(local, note))) return [id];
      // What was changed here meanwhile comes back as a new one.
      this.#again.add(id);
      return [];
    });
  }

  /** Conversations that the server has not yet as the notes say. */
  #busy() {
    /** @type {Set<string | undefined>} */
    const busy = new Set();
    for (const [id, count] of this.#writing) if (count > 0) busy.add(id);
    for (const { path, args } of this.#client.outbox()) {
      const isOwner = (/** @type {[string, Note]} */ [, note]) => args.messageId in note.messages;
      if (path === "conversations:importConversation") busy.add(args.id);
      else busy.add(args.conversationId ?? [...this.#notes].find(isOwner)?.[0]);
    }
    return busy;
  }

  /**
   * Returns a conversation as the store is to have it; undefined while it is not known whole.
   *
   * @param {Remote} listed
   * @param {number} index in the list
   */
  #take(listed, index) {
    const id = listed._id;
    const local = this.#locals.get(id);
    const note = this.#notes.get(id);
    const isWanted = index < WATCHED || !local || note?.takenAt !== listed.updatedAt;
    const whole = this.#wholes.get(id, isWanted, index < WATCHED);
    // The first time both are compared as wholes: what was there before the link may differ.
    if (!whole && (!local || !note?.isSeen)) return undefined;
    const { toTime } = this.#options;
    const taken = take(whole ?? listed, local, note, { account: this.#account, toTime });
    this.#notes.set(id, taken.note);
    const isGone = (/** @type {{id: string}} */ message) =>
      note && message.id in note.messages && !(message.id in taken.note.messages);
    // Something older was on the server already, or a message that was changed here is gone there.
    const isNews = note && (!note.isSeen || local?.messages.some(isGone));
    if (isNews && local && isUnsent(local, taken.note)) this.#again.add(id);
    return taken.original;
  }

  /**
   * @param {Map<string, any>} next what stays, by id
   * @param {any[]} added newest first
   */
  #putIntoStore(next, added) {
    const { select, put } = this.#options;
    const state = this.#store.getState();
    const before = select(state);
    const kept = before.flatMap((original) => {
      const id = this.#readLocal(original)?.conversation.id;
      // What cannot be read is not ours to remove.
      if (id === undefined) return [original];
      return next.has(id) ? [next.get(id)] : [];
    });
    const after = [...added, ...kept];
    const isSame = after.length === before.length && after.every((one, at) => one === before[at]);
    // Before others hear of it: what they change at once is a change.
    this.#locals = this.#readAll(after);
    try {
      if (!isSame) this.#store.setState(put(after, state));
    } catch (error) {
      // There is no room to keep it: it is in the store, and comes again after the next start.
      this.#report({ conversation: "", field: "", reason: /** @type {Error} */ (error).message });
    }
    this.#notes.save();
  }

  /** @param {Problem} problem */
  #report(problem) {
    const text = JSON.stringify(problem);
    if (this.#reported.has(text)) return;
    this.#reported.add(text);
    this.#options.onProblem(problem);
  }
}

/** @type {Options["after"]} */
const laterByTimer = (run, delayMs) => {
  const timer = setTimeout(run, delayMs);
  return () => clearTimeout(timer);
};
