/**
 * Does what a session asks for: one socket, one timer. It decides nothing.
 *
 * @module
 */

/** @import {Env, Socket} from "./types.js" */
/** @import {Effect, Session} from "./sync/session.js" */

/**
 * @typedef {Exclude<Effect, {type: "open" | "close" | "send" | "timer"}>} News what a session tells, beyond what it wants done
 */

/** Connects a session with the outside. */
export class Transport {
  #env;
  #url;
  #session;
  #onNews;
  /** @type {Socket | null} */
  #socket = null;
  /** @type {Effect[]} */
  #queue = [];
  #isRunning = false;
  /** @type {number | null} */
  #dueAt = null;
  /** @type {() => void} */
  #cancelTimer = () => {};

  /**
   * @param {Env} env
   * @param {string} url of the sync socket
   * @param {Session} session
   * @param {(news: News) => void} onNews may call the session again, and `run`
   */
  constructor(env, url, session, onNews) {
    this.#env = env;
    this.#url = url;
    this.#session = session;
    this.#onNews = onNews;
  }

  /**
   * Does what the session asked for, in order; what is asked for meanwhile comes after.
   *
   * @param {Effect[]} effects
   */
  run(effects) {
    this.#queue.push(...effects);
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      for (let effect = this.#queue.shift(); effect; effect = this.#queue.shift()) this.#do(effect);
    } finally {
      this.#isRunning = false;
    }
  }

  /** Runs the timer now if it is late: a hidden tab's timers sleep, messages wake it. */
  tick() {
    if (this.#dueAt !== null && this.#dueAt <= this.#env.now()) this.#onTimer();
  }

  /** Lets go of the socket and the timer. */
  stop() {
    this.#close();
    this.#setTimer(null);
  }

  /** @param {Effect} effect */
  #do(effect) {
    switch (effect.type) {
      case "open":
        return this.#open();
      case "close":
        return this.#close();
      case "send":
        return this.#socket?.send(effect.text);
      case "timer":
        return this.#setTimer(effect.at);
      default:
        return this.#onNews(effect);
    }
  }

  #open() {
    this.#close();
    const { now } = this.#env;
    /** @type {Socket} */
    let socket;
    try {
      socket = this.#env.openSocket(this.#url);
    } catch (error) {
      // A page of https may not open ws at all, and such.
      return this.run(this.#session.closed({ code: 1006, reason: String(error) }, now()));
    }
    this.#socket = socket;
    socket.onopen = () => this.run(this.#session.opened(now()));
    socket.onmessage = ({ data }) => this.run(this.#session.received(String(data), now()));
    socket.onclose = ({ code, reason }) => {
      this.#socket = null;
      this.run(this.#session.closed({ code, reason }, now()));
    };
  }

  /** Closes without a word to the session: it wanted so, and has gone on already. */
  #close() {
    const socket = this.#socket;
    if (!socket) return;
    this.#socket = null;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  /** @param {number | null} at ms since the epoch */
  #setTimer(at) {
    this.#cancelTimer();
    this.#dueAt = at;
    this.#cancelTimer =
      at === null
        ? () => {}
        : this.#env.after(() => this.#onTimer(), Math.max(0, at - this.#env.now()));
  }

  #onTimer() {
    // It is due, whatever the clock says: that may have been set back by a day.
    this.#setTimer(null);
    this.run(this.#session.tick(this.#env.now()));
  }
}
