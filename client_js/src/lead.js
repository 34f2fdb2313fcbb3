/**
 * The leading tab's work for all tabs of a scope: one session on one socket, the queries of all
 * tabs merged, the outbox sent in order, results kept on disk.
 *
 *     tabs ──join, watch, act──> Lead ──> Session ──> socket
 *     outbox ──after(last)─────>  │
 *       tabs <──change, settled──┘ <── results, answers
 *
 * Rules
 * - What is sent is read from the outbox, in its order, never taken from notices, which may
 *   overtake each other. It is marked as sent first: so it was never sent what is not marked.
 * - A tab gets every change whole, its own queries' part of it. One that comes with results from
 *   a former leader gets nothing until all its queries are here and not older: a part would mix
 *   two points in time.
 * - An action is sent when there is a connection and its tab, asked anew, says so: it may have given
 *   it to another leader, of which one that stood still hears late.
 * - Changes are handed to the tabs before their mutations leave the outbox: a leader that dies in
 *   between has them sent again, which the server knows.
 *
 * @module
 */

/** @import {Change, Completion, Env, Failure, QueryCall, QueryToken} from "./types.js" */
/** @import {Outbox} from "./outbox.js" */
/** @import {Position, ResultCache} from "./results.js" */
/** @import {Tabs} from "./tabs/leader.js" */
/** @import {Act, Join, Line, Notice, ToLeader, ToTab} from "./tabs/messages.js" */
/** @import {News} from "./transport.js" */

import { newest } from "./outbox.js";
import { ResultKeeper } from "./result-keeper.js";
import { Session } from "./sync/session.js";
import { Transport } from "./transport.js";

// Mutations and actions share the wire's numbers; the outbox counts from 0.
const FIRST_ACTION = 2 ** 31;
const READ_AGAIN_MS = 5000;

/** @type {Position} */
const NOTHING_SEEN = { ts: 0n, incarnation: null };

/**
 * @typedef {object} Member one tab
 * @property {Set<QueryToken>} tokens
 * @property {bigint} ts what it has seen
 * @property {string | null} incarnation
 * @property {boolean} isSynced whether it gets changes; not before it had all at once
 * @property {number[] | null} unknown what it waits for and nobody knows; null: not looked up yet
 * @property {Map<number, Act>} acts what it wants run, and was not yet told to
 * @property {() => void} stopWatch
 */

/**
 * @typedef {object} LeadOptions
 * @property {Env} env
 * @property {string} url of the sync socket
 * @property {Tabs} tabs
 * @property {Outbox} outbox
 * @property {ResultCache} cache
 * @property {number} maxCacheBytes
 * @property {Position} seen how far this tab has shown time
 * @property {string | null | undefined} token undefined: not known yet, nothing is sent
 * @property {(news: News) => void} onAuth
 */

export class Lead {
  #options;
  /** @type {Map<string, Member>} */
  #members = new Map();
  /** @type {Map<QueryToken, Set<string>>} the tabs that watch a query */
  #watchers = new Map();
  /** @type {Map<number, {tab: string, id: number}>} */
  #actions = new Map();
  #nextAction = FIRST_ACTION;
  /** @type {Completion[]} oldest first */
  #recent = [];
  /** @type {ToLeader[]} what came before the session could begin */
  #early = [];
  /** @type {{session: Session, transport: Transport} | null} */
  #running = null;
  #isStopped = false;
  #lastRead = -1;
  #isToRead = false;
  /** @type {Promise<void>} */
  #reading = Promise.resolve();
  #keeper;
  /** @type {Set<Promise<unknown>>} what is being written to disk */
  #busy = new Set();
  #stopOnline = () => {};
  #stopReading = () => {};
  /** @type {Line} */
  #line;

  /** @param {LeadOptions} options */
  constructor(options) {
    this.#options = options;
    this.#keeper = new ResultKeeper(options, (tokens) => this.#running?.session.snapshot(tokens));
    this.#line = {
      connected: false,
      hasConnected: false,
      connectionCount: 0,
      retries: 0,
      reason: null,
      retryAt: null,
      broken: null,
      isConfirmed: false,
      needsAuth: null,
    };
  }

  /** Connects, as soon as it is known what was seen before. */
  async start() {
    const { env, url, cache, outbox, seen } = this.#options;
    const kept = await cache.position().catch(() => NOTHING_SEEN);
    const recent = await outbox.recent().catch(() => []);
    if (this.#isStopped) return;
    this.#recent = recent;
    const newest = seen.ts > kept.ts ? seen : kept;
    // What is done is seen: whoever comes to know of it must find it in the results.
    const [maxObservedTs = 0n] = [newest.ts, ...recent.map(({ ts }) => ts)].sort(descending);
    const session = new Session({
      sessionId: outbox.sessionId,
      now: env.now,
      random: env.random,
      maxObservedTs,
      incarnation: newest.incarnation,
    });
    const transport = new Transport(env, url, session, (news) => this.#onNews(news));
    this.#running = { session, transport };
    this.#stopOnline = env.onOnlineChange((isOnline) =>
      transport.run(isOnline ? session.online(env.now()) : session.offline(env.now())),
    );
    this.setToken(this.#options.token);
    transport.run(session.start(env.now()));
    for (const message of this.#early.splice(0)) this.receive(message);
  }

  /** Closes the socket; tells nobody. */
  stop() {
    this.#isStopped = true;
    this.#stopOnline();
    this.#stopReading();
    for (const { stopWatch } of this.#members.values()) stopWatch();
    if (this.#running) {
      this.#running.transport.run(this.#running.session.stop());
      this.#running.transport.stop();
    }
    this.#keeper.stop();
  }

  /** Kept when all is on disk that was begun. */
  async idle() {
    await Promise.allSettled([this.#reading, this.#keeper.idle(), ...this.#busy]);
  }

  /** @param {string | null | undefined} token null: nobody's; undefined: wait for one */
  setToken(token) {
    this.#options.token = token;
    this.#line.isConfirmed = false;
    const running = this.#running;
    if (!running) return;
    const { session, transport } = running;
    transport.run(token === undefined ? session.holdForToken() : session.setToken(token));
    this.read();
  }

  /** @param {Line["needsAuth"]} needsAuth why there is no token, for people */
  setNeedsAuth(needsAuth) {
    this.#setLine({ needsAuth });
  }

  /** Runs timers that are late. */
  tick() {
    this.#running?.transport.tick();
  }

  /** Reads the outbox; called whenever something may be new in it. */
  read() {
    if (!this.#isToRead) {
      this.#isToRead = true;
      this.#reading = this.#reading.then(() => this.#read()).catch(() => this.#readLater());
    }
  }

  /** The disk is full, or in trouble: results make room, and what is unsent is tried again. */
  async #readLater() {
    if (this.#isStopped) return;
    this.#stopReading();
    this.#stopReading = this.#options.env.after(() => this.read(), READ_AGAIN_MS);
    await this.#options.cache.trim(0).catch(() => {});
  }

  /** @param {ToLeader} message */
  receive(message) {
    if (!this.#running) return void this.#early.push(message);
    const { tab } = message;
    const member = this.#members.get(tab);
    if (message.type === "join") this.#join(message);
    else if (!member) return;
    else if (message.type === "watch") this.#watch(tab, member, message.query);
    else if (message.type === "unwatch") this.#unwatch(tab, member, message.token);
    else if (message.type === "act") this.#ask(tab, member, message.act);
    else this.#act(tab, member, message.id);
  }

  /** @param {Join} message */
  #join({ tab, queries, ts, incarnation, waiting, actions }) {
    const former = this.#members.get(tab);
    former?.stopWatch();
    /** @type {Member} */
    const member = {
      tokens: new Set(),
      ts,
      incarnation,
      isSynced: false,
      unknown: waiting.length > 0 ? null : [],
      acts: new Map(),
      stopWatch: this.#options.tabs.watch(tab, () => this.#leave(tab)),
    };
    this.#members.set(tab, member);
    for (const query of queries) this.#watch(tab, member, query);
    for (const token of former?.tokens ?? []) {
      if (!member.tokens.has(token)) this.#unwatch(tab, member, token);
    }
    this.#tell(tab, { type: "line", line: this.#line });
    for (const act of actions) this.#ask(tab, member, act);
    const isSameLife = this.#running?.session.snapshot([]).incarnation === incarnation;
    if (isSameLife) this.#run((session) => session.observe(ts));
    if (waiting.length > 0) this.#lookUp(tab, member, waiting);
    else this.#sync(tab, member);
  }

  /** @param {string} tab that is gone */
  #leave(tab) {
    // Its last write may be on disk without its having had the time to say so.
    this.read();
    const member = this.#members.get(tab);
    this.#members.delete(tab);
    for (const token of member?.tokens ?? []) {
      this.#unwatch(tab, /** @type {Member} */ (member), token);
    }
  }

  /**
   * Finds out what became of the mutations that a tab still waits for.
   *
   * @param {string} tab
   * @param {Member} member
   * @param {number[]} waiting
   */
  async #lookUp(tab, member, waiting) {
    const { outbox } = this.#options;
    // What is there after this was either sent from here, or is still to be.
    this.read();
    await this.#reading;
    const entries = await outbox.list().catch(() => null);
    // A leader that was thought dead may have seen to some of them meanwhile.
    const known = await outbox.recent().catch(() => []);
    const isDone = (/** @type {number} */ id) => this.#recent.some((one) => one.requestId === id);
    this.#recent.push(...known.filter(({ requestId }) => !isDone(requestId)));
    const kept = new Set(entries?.map(({ requestId }) => requestId) ?? waiting);
    member.unknown = waiting.filter((id) => !kept.has(id) && !isDone(id));
    if (this.#members.get(tab) === member) this.#sync(tab, member);
  }

  /** @param {string} tab @param {Member} member @param {QueryCall} call */
  #watch(tab, member, call) {
    const watchers = this.#watchers.get(call.token) ?? new Set();
    this.#watchers.set(call.token, watchers.add(tab));
    member.tokens.add(call.token);
    if (watchers.size === 1) this.#run((session) => session.subscribe(call));
    else if (member.isSynced) this.#tellResults(tab, [call.token]);
  }

  /** @param {string} tab @param {Member} member @param {QueryToken} token */
  #unwatch(tab, member, token) {
    member.tokens.delete(token);
    const watchers = this.#watchers.get(token);
    watchers?.delete(tab);
    if (watchers?.size !== 0) return;
    this.#keeper.end(token);
    this.#watchers.delete(token);
    this.#run((session) => session.unsubscribe(token));
  }

  /** @param {string} tab @param {Member} member @param {Act} act */
  #ask(tab, { acts }, act) {
    acts.set(act.id, act);
    if (this.#line.connected) this.#tell(tab, { type: "mayRun", id: act.id });
  }

  /** @param {string} tab @param {Member} member @param {number} id */
  #act(tab, { acts }, id) {
    const act = acts.get(id);
    acts.delete(id);
    if (!act) return;
    const { path, args } = act;
    const requestId = this.#nextAction++;
    this.#actions.set(requestId, { tab, id });
    this.#run((session) => session.act({ requestId, path, args }));
  }

  /** @param {(session: Session) => ReturnType<Session["stop"]>} input */
  #run(input) {
    if (this.#running) this.#running.transport.run(input(this.#running.session));
  }

  /** Hands what is new in the outbox to the session, once there is a connection to send it on. */
  async #read() {
    this.#isToRead = false;
    const { outbox, token } = this.#options;
    if (this.#isStopped || !this.#line.connected || token === undefined) return;
    const entries = await outbox.after(this.#lastRead);
    const ids = entries.map(({ requestId }) => requestId);
    // On a full disk nothing can be marked; what is sent makes room.
    const toSend = new Set(await outbox.sent(ids).catch(() => ids));
    if (this.#isStopped || entries.length === 0) return;
    this.#lastRead = entries.at(-1)?.requestId ?? this.#lastRead;
    this.#tellAll({ type: "sent", requestIds: [...toSend] });
    for (const entry of entries) {
      if (toSend.has(entry.requestId)) this.#run((session) => session.mutate(entry));
    }
  }

  /** @param {News} news */
  #onNews(news) {
    switch (news.type) {
      case "change":
        return this.#onChange(news.change);
      case "failed":
        return void this.#onFailed(news.requestId, news.failure);
      case "acted": {
        const asker = this.#actions.get(news.requestId);
        this.#actions.delete(news.requestId);
        if (asker) this.#tell(asker.tab, { type: "acted", id: asker.id, result: news.result });
        return;
      }
      case "phase":
        return this.#onPhase(news);
      case "broken":
        return this.#setLine({ broken: news.message });
      default:
        this.#setLine({ isConfirmed: news.type === "authConfirmed" });
        return this.#options.onAuth(news);
    }
  }

  /** @param {Extract<News, {type: "phase"}>} news */
  #onPhase({ connected, reason, retryAt, connectionCount, retries }) {
    const isNew = connected && !this.#line.connected;
    const hasConnected = this.#line.hasConnected || connected;
    // All is well again: what was said to be wrong is over.
    const broken = connected && retries === 0 ? null : this.#line.broken;
    this.#setLine({ connected, hasConnected, connectionCount, retries, reason, retryAt, broken });
    if (!connected) return;
    for (const [tab, { acts }] of isNew ? this.#members : []) {
      for (const id of acts.keys()) this.#tell(tab, { type: "mayRun", id });
    }
    // A device that was away for days has writes that may not be sent any more.
    const { outbox } = this.#options;
    const telling = outbox.expire().then((expired) => {
      for (const { requestId, failure } of expired) {
        if (failure) this.#notify({ type: "failed", requestId, failure });
      }
    });
    telling.catch(() => {}).then(() => this.read());
  }

  /** @param {Change} change */
  #onChange(change) {
    const { queries, completed } = change;
    this.#keeper.note(queries.map(({ token }) => token));
    if (completed.length > 0) this.#recent = newest([...this.#recent, ...completed]);
    for (const [tab, member] of [...this.#members]) {
      if (member.isSynced) {
        const own = queries.filter(({ token }) => member.tokens.has(token));
        this.#tell(tab, { type: "change", change: { ...change, queries: own } });
      } else {
        if (completed.length > 0)
          this.#tell(tab, { type: "settled", done: completed, unknown: [] });
        this.#sync(tab, member);
      }
    }
    if (completed.length > 0) {
      const done = completed.map(({ requestId }) => requestId);
      const { outbox } = this.#options;
      // Without room for what they gave: they must go all the same, or are sent again for ever.
      this.#keepBusy(outbox.done(done, completed).catch(() => outbox.done(done)));
    }
  }

  /**
   * Gives a tab that came with results of its own all of them anew, as soon as that is possible.
   *
   * @param {string} tab
   * @param {Member} member
   */
  #sync(tab, member) {
    const now = this.#running?.session.snapshot(member.tokens);
    if (member.isSynced || !now || !member.unknown) return;
    const isSameLife = member.incarnation === now.incarnation;
    const isBehind = isSameLife && now.ts < member.ts;
    if (member.ts > 0n && (isBehind || now.queries.length < member.tokens.size)) return;
    member.isSynced = true;
    // The tab takes each of them in the step in which it has results at its ts.
    if (this.#recent.length > 0) {
      this.#tell(tab, { type: "settled", done: this.#recent, unknown: [] });
    }
    if (now.ts > 0n) this.#tell(tab, { type: "change", change: now });
    if (member.unknown.length > 0) {
      this.#tell(tab, { type: "settled", done: [], unknown: member.unknown });
    }
  }

  /** @param {string} tab @param {Iterable<QueryToken>} tokens */
  #tellResults(tab, tokens) {
    const change = this.#running?.session.snapshot(tokens);
    if (change && change.ts > 0n) this.#tell(tab, { type: "change", change });
  }

  /** @param {number} requestId @param {Failure} failure */
  async #onFailed(requestId, failure) {
    const failing = this.#options.outbox.fail(requestId, failure);
    this.#keepBusy(failing);
    await failing.catch(() => {});
    this.#notify({ type: "failed", requestId, failure });
  }

  /** @param {Partial<Line>} fields */
  #setLine(fields) {
    Object.assign(this.#line, fields);
    this.#tellAll({ type: "line", line: this.#line });
  }

  /** @param {string} tab @param {ToTab | Notice} message */
  #tell(tab, message) {
    if (!this.#isStopped) this.#options.tabs.toTab(tab, message);
  }

  /** @param {ToTab} message */
  #tellAll(message) {
    for (const tab of [...this.#members.keys()]) this.#tell(tab, message);
  }

  /** @param {Notice} notice for all tabs, also for those that have not joined */
  #notify(notice) {
    const { tabs } = this.#options;
    tabs.toAll(notice);
    tabs.toTab(tabs.id, notice);
  }

  /** @param {Promise<unknown>} work whose failure matters to nobody: it is done again, or can be missed */
  #keepBusy(work) {
    /** @type {Promise<unknown>} */
    const quiet = work.catch(() => {}).then(() => this.#busy.delete(quiet));
    this.#busy.add(quiet);
  }
}

/** @param {bigint} a @param {bigint} b */
const descending = (a, b) => Number(a < b) - Number(a > b);
