/**
 * A small server, for tests of the session: one list to which mutations append their number, as the
 * protocol has it (versions, order, repeats). What it does next, and what the network does, says
 * the test, step by step.
 *
 * @module
 */

import { decodeTs } from "../../src/values.js";
import { committed, failed, transition, updated } from "./wire.js";

/**
 * @typedef {object} Connection
 * @property {string[]} up texts of the client that have not been read
 * @property {string[]} down texts that the client has not read
 * @property {{requestId: number, args: {id: number, fails: boolean}}[]} work mutations that wait for their turn
 * @property {string[]} answers that are not written yet
 * @property {Map<number, string | null>} queries ids, and what was sent of each last
 * @property {[number, number, number]} version of the newest Transition
 * @property {number} querySet
 * @property {number} identity
 * @property {boolean} isGreeted
 * @property {number} leastTs below which it may not be told anything
 * @property {boolean} owesTransition
 */

/** The server: one table, one session. */
export class ModelServer {
  ts = 1;
  /** @type {{id: number, ts: number}[]} in order of ts */
  rows = [];
  /** @type {Map<number, {ts: number}>} what is remembered of requests that committed */
  requests = new Map();
  /** @type {number[]} every run of a mutation that committed */
  runs = [];
  /** @type {Set<Connection>} those too that the client has given up */
  connections = new Set();

  /** @returns {Connection} */
  accept() {
    /** @type {Connection} */
    const connection = {
      up: [],
      down: [],
      work: [],
      answers: [],
      queries: new Map(),
      version: [0, 0, 0],
      querySet: 0,
      identity: 0,
      isGreeted: false,
      leastTs: 0,
      owesTransition: false,
    };
    this.connections.add(connection);
    return connection;
  }

  /** What the list was at a ts. @param {number} ts */
  list(ts) {
    return this.rows.filter((row) => row.ts <= ts).map(({ id }) => id);
  }

  /** Somebody else writes. */
  write() {
    this.commit(-this.ts - 1);
  }

  /** @param {number} id */
  commit(id) {
    this.rows.push({ id, ts: ++this.ts });
    for (const connection of this.connections) connection.owesTransition = true;
  }

  /**
   * Reads one text of the client.
   *
   * @param {Connection} connection
   */
  read(connection) {
    const text = connection.up.shift();
    if (text === undefined) return;
    const message = JSON.parse(text);
    const known = {
      Connect: () => {
        connection.isGreeted = true;
        const seen = message.maxObservedTimestamp;
        connection.leastTs = seen === undefined ? 0 : Number(decodeTs(seen));
      },
      Authenticate: () => {
        connection.identity = next(connection.identity, message.baseVersion);
      },
      ModifyQuerySet: () => {
        connection.querySet = next(connection.querySet, message.baseVersion);
        for (const { type, queryId } of message.modifications) {
          if (type === "Add") connection.queries.set(queryId, null);
          else connection.queries.delete(queryId);
        }
      },
      Mutation: () => {
        connection.work.push({ requestId: message.requestId, args: message.args[0] });
      },
    };
    known[/** @type {keyof typeof known} */ (message.type)]();
    connection.owesTransition = true;
  }

  /**
   * Runs the first mutation that waits.
   *
   * @param {Connection} connection
   */
  run(connection) {
    const one = connection.work.shift();
    if (one === undefined) return;
    const { requestId, args } = one;
    const before = this.requests.get(requestId);
    if (before !== undefined) connection.answers.push(committed(requestId, args.id, before.ts));
    else if (args.fails) connection.answers.push(failed(requestId, "no"));
    else {
      this.commit(args.id);
      this.runs.push(args.id);
      this.requests.set(requestId, { ts: this.ts });
      connection.answers.push(committed(requestId, args.id, this.ts));
    }
  }

  /**
   * Writes the oldest answer.
   *
   * @param {Connection} connection
   */
  answer(connection) {
    const text = connection.answers.shift();
    if (text === undefined) return;
    connection.down.push(text);
    connection.owesTransition = true;
  }

  /**
   * Writes a Transition to now, or to a little before, as a node does that lags behind.
   *
   * @param {Connection} connection
   * @param {number} [lag]
   */
  transit(connection, lag = 0) {
    if (!connection.isGreeted || connection.querySet === 0) return;
    const ts = Math.max(this.ts - lag, connection.leastTs);
    const value = this.list(ts);
    const text = JSON.stringify(value);
    const modifications = [...connection.queries]
      .filter(([, sent]) => sent !== text)
      .map(([queryId]) => updated(queryId, value));
    for (const queryId of connection.queries.keys()) connection.queries.set(queryId, text);
    const start = connection.version;
    connection.version = [connection.querySet, connection.identity, ts];
    connection.leastTs = ts;
    connection.down.push(transition(start, connection.version, modifications));
    connection.owesTransition = ts < this.ts;
  }
}

/** @param {number} version @param {number} baseVersion */
function next(version, baseVersion) {
  if (version !== baseVersion) throw new Error(`base version ${baseVersion} at ${version}`);
  return version + 1;
}
