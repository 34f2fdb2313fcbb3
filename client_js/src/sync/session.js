/**
 * One client's session with the server, over all its connections (PROTOCOL.md §3 to §10). Sans-IO:
 * every input returns the effects to carry out, in order; nothing happens inside.
 *
 *              start                 opened, no token yet
 *       idle ────────> opening ───────────────────────────> silent
 *        ^             ^     │ opened, token known             │ setToken
 *        │        tick │     └──────────────┐  ┌───────────────┘
 *        │      online │                    v  v     holdForToken
 *        │             │                    live ──────────────────> paused
 *        │ stop        │                     │   <──────────────────   │
 *        │ (from all)  │     closed, offline, silence, anything wrong  │ setToken
 *        └────────── waiting <──────────(from opening too)─────────────┘
 *
 * Rules
 * 1. One socket at a time. After `close` nothing that comes from that socket may be handed in.
 * 2. A new connection begins with: Connect, Authenticate if there is a token, the whole query set,
 *    every mutation that is not done, every action never sent. Nothing is said before it is known
 *    as whom (silent), nor while a new token is awaited (paused).
 * 3. Transitions form a chain from (0, 0, 0). What breaks it, or is no message, closes the
 *    connection, and the next one begins from zero: a client never stalls, whatever it is told.
 * 4. No Transition is older than what was ever shown; only another incarnation starts a new time.
 * 5. A mutation is completed by the first Transition at or above its ts that follows its answer,
 *    in one change with the results that hold it.
 * 6. Waits between connections grow until all that the last one left behind is answered.
 * 7. 60 s without a word end a connection: the server speaks every 10 to 15 s.
 * 8. There is one timer. If it fires in `waiting` it is due, whatever the clock says by then.
 *
 * @module
 */

/** @import {Change, Json, QueryCall, QueryToken} from "../types.js" */
/** @import {Core, State} from "./connection.js" */

import { Chunks } from "./chunks.js";
import {
  end,
  enter,
  flush,
  greet,
  leaveAs,
  lost,
  open,
  pause,
  resume,
  watch,
  ZERO,
} from "./connection.js";
import { hear } from "./hearing.js";
import { QuerySet } from "./query-set.js";
import { Requests } from "./requests.js";

/** @typedef {import("./connection.js").Effect} Effect */

/** @typedef {"start" | "opened" | "received" | "closed" | "tick" | "online" | "offline" | "setToken" | "holdForToken" | "work" | "observe" | "stop"} Input */

/**
 * What each input does in each state; what is not here does nothing (what it says is remembered
 * all the same). `work` stands for all that gives something to tell: subscribe, unsubscribe,
 * mutate, act.
 *
 * @type {Record<State, {[Name in Input]?: (s: Core, text: string) => void}>}
 */
export const TABLE = {
  idle: { start: open },
  waiting: { tick: open, online: open, stop: end },
  opening: { opened: enter, closed: lost, tick: watch, offline: leaveAs("Offline"), stop: end },
  silent: {
    received: hear,
    closed: lost,
    tick: watch,
    offline: leaveAs("Offline"),
    setToken: greet,
    stop: end,
  },
  live: {
    received: hear,
    closed: lost,
    tick: watch,
    offline: leaveAs("Offline"),
    setToken: resume,
    holdForToken: pause,
    work: flush,
    observe: leaveAs("BehindOtherTabs"),
    stop: end,
  },
  paused: {
    received: hear,
    closed: lost,
    tick: watch,
    offline: leaveAs("Offline"),
    setToken: resume,
    observe: leaveAs("BehindOtherTabs"),
    stop: end,
  },
};

/** The session of an account, in the tab that leads. See the rules above. */
export class Session {
  /** @type {Core} */
  #core;
  /** @type {() => number} */
  #now;

  /**
   * @param {object} options
   * @param {string} options.sessionId UUID; with a requestId it is what the server knows a repeated mutation by
   * @param {() => number} options.now ms since the epoch
   * @param {() => number} options.random in [0, 1)
   * @param {bigint} [options.maxObservedTs] the newest ts ever shown; what comes is never older
   * @param {string | null} [options.incarnation] the one in which that was
   */
  constructor({ sessionId, now, random, maxObservedTs = 0n, incarnation = null }) {
    this.#now = now;
    this.#core = {
      state: "idle",
      sessionId,
      random,
      now: 0,
      effects: [],
      queries: new QuerySet(),
      requests: new Requests(),
      chunks: new Chunks(),
      token: null,
      isHeld: true,
      toldToken: null,
      identity: 0,
      version: ZERO,
      clockSkewMs: null,
      ts: 0n,
      maxObservedTs,
      incarnation,
      heardAt: 0,
      retryAt: null,
      closeReason: null,
      connectionCount: 0,
      retries: 0,
    };
  }

  /** @returns {State} */
  get state() {
    return this.#core.state;
  }

  /**
   * Hands an input to the table.
   *
   * @param {Input} input
   * @param {number} [now]
   * @param {string} [text] that came with it
   * @returns {Effect[]}
   */
  #input(input, now = this.#now(), text = "") {
    const core = this.#core;
    core.now = now;
    TABLE[core.state][input]?.(core, text);
    return core.effects.splice(0);
  }

  /** Begins to connect. @param {number} [now] */
  start(now) {
    return this.#input("start", now);
  }

  /** Ends the connection, if there is one, and stays so. */
  stop() {
    return this.#input("stop");
  }

  /** The socket is open. @param {number} [now] */
  opened(now) {
    return this.#input("opened", now);
  }

  /**
   * The socket brought something.
   *
   * @param {string} text
   * @param {number} [now]
   */
  received(text, now) {
    return this.#input("received", now, text);
  }

  /**
   * The socket is closed, or could not be opened.
   *
   * @param {{code: number, reason: string}} close
   * @param {number} [now]
   */
  closed({ code, reason }, now) {
    return this.#input("closed", now, reason || `closed with code ${code}`);
  }

  /** The timer fired. @param {number} [now] */
  tick(now) {
    return this.#input("tick", now);
  }

  /** The browser says that there is a network again. @param {number} [now] */
  online(now) {
    return this.#input("online", now);
  }

  /** The browser says that there is no network. Tries go on: it is not always right. @param {number} [now] */
  offline(now) {
    return this.#input("offline", now);
  }

  /**
   * Watches a query; one that is watched already stays as it is (see `snapshot`).
   *
   * @param {QueryCall} call
   */
  subscribe(call) {
    this.#core.queries.add(call);
    return this.#input("work");
  }

  /** @param {QueryToken} token */
  unsubscribe(token) {
    this.#core.queries.remove(token);
    return this.#input("work");
  }

  /**
   * Runs a mutation once. To be called in the order of requestIds; again for one that it has
   * already is nothing.
   *
   * @param {{requestId: number, path: string, args: Json}} call
   */
  mutate(call) {
    this.#core.requests.add("Mutation", call);
    return this.#input("work");
  }

  /**
   * Runs an action at most once.
   *
   * @param {{requestId: number, path: string, args: Json}} call
   */
  act(call) {
    this.#core.requests.add("Action", call);
    return this.#input("work");
  }

  /**
   * Says who we are: before the first time, nothing is sent.
   *
   * @param {string | null} token null: nobody
   */
  setToken(token) {
    this.#core.token = token;
    this.#core.isHeld = false;
    return this.#input("setToken");
  }

  /** Sends nothing more before `setToken`. */
  holdForToken() {
    this.#core.isHeld = true;
    return this.#input("holdForToken");
  }

  /**
   * Learns what another tab was shown. If that is newer than all that was known, the connection
   * begins anew, so that nothing older comes.
   *
   * @param {bigint} ts
   * @param {number} [now]
   */
  observe(ts, now) {
    if (ts <= this.#core.maxObservedTs) return [];
    this.#core.maxObservedTs = ts;
    return this.#input("observe", now);
  }

  /**
   * Returns what is known of some queries, for a tab that comes to watch them.
   *
   * @param {Iterable<QueryToken>} tokens
   * @returns {Change}
   */
  snapshot(tokens) {
    const { ts, incarnation, queries } = this.#core;
    return { ts, incarnation, queries: queries.results(tokens), completed: [] };
  }
}
