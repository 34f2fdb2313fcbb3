/**
 * Who leads: the tab that holds the scope's lock.
 *
 *     start ──> follow ──lock granted──> lead ──lock stolen, or a newer lead heard of──> follow
 *                 │ no sign of life twice in a row: takes the lock by force ──> lead
 *
 * Rules
 * - A tab holds a lock of its own before it says a word, so that a leader who waits for that lock
 *   gets it only when the tab is gone.
 * - Locks decide who should send, not who may: for a moment two tabs can believe to lead. The
 *   server knows a write sent twice, and a tab listens to one leader only, the newest.
 * - Timers of hidden tabs run once a minute, messages arrive at once: so nobody beats, who needs
 *   the leader asks.
 *
 * @module
 */

/** @import {Channel, Env} from "../types.js" */
/** @import {Finding, Leader, Message, Notice, ToLeader, ToTab} from "./messages.js" */

// A leader must answer one of two questions; a tab that stood still itself asks the second one
// after it has read what came meanwhile.
const ANSWER_MS = 300;
const QUESTIONS = 2;
// With the answers, a visible tab notices within a second that nobody leads.
const NEXT_PROBE_MS = 350;

/**
 * @typedef {object} TabEvents
 * @property {(leader: Leader | null) => void} onLeader another one leads; null: not known who
 * @property {(message: ToLeader | ToTab | Notice) => void} onMessage
 * @property {() => void} onAsked this tab leads, and a tab is awake: late timers may be run
 * @property {() => boolean} isWaiting whether a silent leader would be missed though nobody looks
 */

/** This tab among the tabs of one scope. Without Web Locks or channels there are no others. */
export class Tabs {
  #env;
  #name;
  #events;
  #turn = 0;
  /** @type {Leader | null} */
  #mine = null;
  /** @type {Channel[]} */
  #channels = [];
  /** @type {Map<string, Channel>} */
  #posts = new Map();
  /** @type {Set<() => void>} */
  #holds = new Set();
  /** @type {(() => void) | null} lets go of the leader's lock, or of waiting for it */
  #letGo = null;
  /** @type {(() => void) | null} */
  #stopProbe = null;
  #isAsking = false;

  /**
   * @param {Env} env
   * @param {string} name of the scope, the same in all its tabs
   * @param {string} id of this tab, fresh for each load of the page
   * @param {TabEvents} events
   */
  constructor(env, name, id, events) {
    this.#env = env;
    this.#name = name;
    this.#events = events;
    this.id = id;
    this.isAlone = !env.locks || !env.openChannel;
    /** @type {Leader | null} */
    this.leader = null;
  }

  get isLeader() {
    return this.leader !== null && this.leader === this.#mine;
  }

  /** Takes part from now on, as a tab that has just come. */
  start() {
    // A page that comes back may be told so twice: by `resume`, and by `pageshow`.
    this.stop();
    const turn = this.#turn;
    if (this.isAlone) return this.#lead();
    this.#listen(this.#name);
    this.#listen(`${this.#name}:${this.id}`);
    // By force: when this tab let go of it before, a leader that waited for it may have got it, and
    // if that one is frozen it gives it to nobody.
    const own = this.#hold(`${this.#name}:tab:${this.id}`, true, () => {
      this.#seek(false);
      this.probe();
    });
    own.isOver.catch(() => turn === this.#turn && this.#lead());
  }

  /** Leaves: gives up its locks, and the lead if it has it. Heard of by the others at once. */
  stop() {
    this.#turn++;
    this.#setProbe(null);
    if (this.isLeader && !this.isAlone) {
      this.#post({ type: "resign", leader: /** @type {Leader} */ (this.leader) });
    }
    this.#setLeader(null);
    this.#letGo = null;
    for (const letGo of this.#holds) letGo();
    this.#holds.clear();
    for (const channel of this.#channels.splice(0)) channel.close();
    for (const channel of this.#posts.values()) channel.close();
    this.#posts.clear();
  }

  /** Asks the leader for a sign of life, and takes its place if there is none. */
  probe() {
    if (!this.isLeader && this.#channels.length > 0 && !this.#isAsking) this.#ask(QUESTIONS);
  }

  /** Takes the lead by force. */
  take() {
    this.#setProbe(null);
    this.#seek(true);
  }

  /** @param {ToLeader} message lost while nobody leads: `join` says all again */
  toLeader(message) {
    const { leader } = this;
    if (this.isLeader) return this.#events.onMessage(message);
    if (leader) this.#post({ ...message, leader });
    this.probe();
  }

  /**
   * @param {string} tab
   * @param {ToTab | Notice} message
   */
  toTab(tab, message) {
    const { leader } = this;
    if (tab === this.id) this.#events.onMessage(message);
    else if (leader) this.#postTo(tab, /** @type {Message} */ ({ ...message, leader }));
  }

  /** @param {Notice} message heard by all other tabs */
  toAll(message) {
    if (!this.isAlone) this.#post(message);
    this.probe();
  }

  /**
   * Calls back once when a tab is gone.
   *
   * @param {string} tab
   * @param {() => void} onGone
   * @returns {() => void} ends the waiting
   */
  watch(tab, onGone) {
    if (tab === this.id) return () => {};
    const waiting = new AbortController();
    const isOver = this.#env.locks?.request(
      `${this.#name}:tab:${tab}`,
      { signal: waiting.signal },
      async () => {
        this.#posts.get(tab)?.close();
        this.#posts.delete(tab);
        if (!waiting.signal.aborted) onGone();
      },
    );
    isOver?.catch(() => {});
    return () => waiting.abort();
  }

  /** @param {string} name */
  #listen(name) {
    const channel = /** @type {Channel} */ (this.#env.openChannel?.(name));
    channel.onmessage = ({ data }) => {
      if (this.#channels.includes(channel)) this.#hear(data);
    };
    this.#channels.push(channel);
  }

  /** @param {Finding | Message} message */
  #post(message) {
    this.#channels[0]?.postMessage(message);
  }

  /**
   * @param {string} tab
   * @param {Finding | Message} message
   */
  #postTo(tab, message) {
    const channel = this.#posts.get(tab) ?? this.#env.openChannel?.(`${this.#name}:${tab}`);
    if (channel) this.#posts.set(tab, channel).get(tab)?.postMessage(message);
  }

  /**
   * Holds a lock until it is let go or stolen.
   *
   * @param {string} name
   * @param {boolean} steal
   * @param {() => void} onHeld
   * @returns {{isOver: Promise<void>, letGo: () => void}} rejected when it was stolen or refused
   */
  #hold(name, steal, onHeld) {
    const waiting = new AbortController();
    /** @type {(() => void) | undefined} */
    let release;
    const letGo = () => {
      waiting.abort();
      release?.();
    };
    this.#holds.add(letGo);
    const locks = /** @type {NonNullable<Env["locks"]>} */ (this.#env.locks);
    // A lock that is stolen is had at once: the signal is for those who wait.
    const how = steal ? { steal } : { signal: waiting.signal };
    const isOver = locks.request(name, how, async () => {
      if (waiting.signal.aborted) return;
      const isReleased = new Promise((resolve) => {
        release = () => resolve(undefined);
      });
      onHeld();
      await isReleased;
    });
    return { isOver, letGo };
  }

  /** @param {boolean} steal */
  #seek(steal) {
    this.#letGo?.();
    let wasHeld = false;
    const { isOver, letGo } = this.#hold(`${this.#name}:leader`, steal, () => {
      wasHeld = true;
      this.#lead();
    });
    this.#letGo = letGo;
    const onEnd = () => {
      if (letGo !== this.#letGo) return;
      // Where locks are refused altogether, every tab leads: more sockets, nothing else.
      if (wasHeld) this.start();
      else this.#lead();
    };
    isOver.then(onEnd, onEnd);
  }

  #lead() {
    this.#setProbe(null);
    this.#mine = `${String(this.#env.now()).padStart(15, "0")}.${this.id}`;
    this.#setLeader(this.#mine);
    if (!this.isAlone) this.#post({ type: "lead", leader: this.#mine });
  }

  /** @param {Leader | null} leader */
  #setLeader(leader) {
    if (leader === this.leader) return;
    this.leader = leader;
    this.#events.onLeader(leader);
  }

  /** @param {(() => void) | null} stop */
  #setProbe(stop) {
    this.#stopProbe?.();
    this.#stopProbe = stop;
    this.#isAsking = false;
  }

  /** @param {number} questions left, with this one */
  #ask(questions) {
    this.#post({ type: "who", tab: this.id });
    this.#setProbe(
      this.#env.after(() => {
        if (questions > 1) return this.#ask(questions - 1);
        this.take();
      }, ANSWER_MS),
    );
    this.#isAsking = true;
  }

  #onAnswer() {
    this.#setProbe(null);
    if (!this.#env.isVisible() && !this.#events.isWaiting()) return;
    this.#setProbe(this.#env.after(() => this.probe(), NEXT_PROBE_MS));
  }

  /** @param {Finding | Message} message */
  #hear(message) {
    switch (message.type) {
      case "who":
        if (!this.isLeader) return;
        this.#postTo(message.tab, { type: "lead", leader: /** @type {Leader} */ (this.leader) });
        return this.#events.onAsked();
      case "lead":
        return this.#hearLead(message.leader);
      case "resign":
        if (message.leader !== this.leader) return;
        this.#setLeader(null);
        return this.probe();
      default:
        if ("leader" in message && message.leader !== this.leader) return;
        // What is for the leader says from which tab it is, and is heard by all.
        if (!("tab" in message) || this.isLeader) this.#events.onMessage(message);
    }
  }

  /** @param {Leader} leader */
  #hearLead(leader) {
    if (this.leader !== null && leader < this.leader) return;
    // A leader that was asleep hears of its successor before it hears of its lock.
    if (this.isLeader && leader !== this.leader) return this.start();
    this.#onAnswer();
    this.#setLeader(leader);
  }
}
