/**
 * What the tabs of one scope say to each other.
 *
 * There is one channel that all hear, and one for each tab. What a leader says to a tab goes over
 * that tab's own channel, where it arrives in order. Messages with `leader` count only while
 * sender and receiver agree on who leads.
 *
 * @module
 */

/** @import {Change, Completion, Failure, Json, OutboxEntry, QueryCall, QueryToken, Result} from "../types.js" */

/**
 * Names one lead of one tab. They sort by when they began.
 * @typedef {string} Leader
 */

/**
 * How tabs find their leader. `who` is answered with `lead`, and so is also a sign of life asked for.
 * @typedef {{type: "who", tab: string} | {type: "lead", leader: Leader} | {type: "resign", leader: Leader}} Finding
 */

/**
 * An action that a tab waits for; `id` counts in that tab.
 * @typedef {{id: number, path: string, args: Json}} Act
 */

/**
 * What a tab says to its leader. `join` comes first, and says all that the tab has.
 * @typedef {object} Join
 * @property {"join"} type
 * @property {string} tab
 * @property {QueryCall[]} queries
 * @property {bigint} ts what its results are true at; 0 when it has none
 * @property {string | null} incarnation
 * @property {number[]} waiting request ids that it knows as unsent or under way
 * @property {Act[]} actions that nobody was told to run
 *
 * @typedef {Join
 *   | {type: "watch", tab: string, query: QueryCall}
 *   | {type: "unwatch", tab: string, token: QueryToken}
 *   | {type: "act", tab: string, act: Act}
 *   | {type: "run", tab: string, id: number}} ToLeader
 */

/**
 * The leader's connection.
 * @typedef {object} Line
 * @property {boolean} connected
 * @property {boolean} hasConnected
 * @property {number} connectionCount
 * @property {number} retries
 * @property {string | null} reason
 * @property {number | null} retryAt
 * @property {string | null} broken what the server said is wrong with this client, if it did
 * @property {boolean} isConfirmed whether the server accepted the token
 * @property {{reason: string, retryAt: number | null} | null} needsAuth
 */

/**
 * What a leader says to a tab. `settled` is what became of mutations, beside the results: done
 * ones count when the tab has results at their ts; `unknown` are in the outbox no more, and it is
 * not known why. `mayRun` asks for `run`, without which no action is sent.
 * @typedef {{type: "change", change: Change}
 *   | {type: "settled", done: Completion[], unknown: number[]}
 *   | {type: "sent", requestIds: number[]}
 *   | {type: "mayRun", id: number}
 *   | {type: "acted", id: number, result: Result}
 *   | {type: "line", line: Line}} ToTab
 */

/**
 * What any tab says to all: what happened to the outbox. The leader looks into it when it hears so.
 * @typedef {{type: "stored", entry: OutboxEntry} | {type: "discarded", key: string}
 *   | {type: "retried", key: string, entry: OutboxEntry} | {type: "failed", requestId: number, failure: Failure}} Notice
 */

/** @typedef {(ToLeader | ToTab) & {leader: Leader} | Notice} Message */

export {};
