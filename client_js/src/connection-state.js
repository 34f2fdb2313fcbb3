/**
 * What a person may be told about the connection, made of what the parts know.
 *
 * @module
 */

/** @import {Account, ConnectionState, OutboxEntry, Phase} from "./types.js" */
/** @import {Line} from "./tabs/messages.js" */

/**
 * @typedef {object} Facts
 * @property {number} now ms since the epoch
 * @property {boolean} isClosed
 * @property {boolean} isOnline
 * @property {boolean} isDurable
 * @property {Account | null} account
 * @property {ConnectionState["role"]} role
 * @property {Line | null} line the leader's connection
 * @property {Line["needsAuth"]} needsAuth this tab's, while it knows no leader
 * @property {OutboxEntry[]} entries
 * @property {number[]} writesAt ms since the epoch; of this tab's mutations that are not settled
 * @property {number} actions
 */

/**
 * @param {Facts} facts
 * @returns {{phase: Phase, reason: string | null, retryAt: number | null}}
 */
function phaseOf({ isClosed, isOnline, account, line, needsAuth }) {
  const auth = line ? line.needsAuth : needsAuth;
  if (isClosed) return { phase: "closed", reason: "The client was closed", retryAt: null };
  if (account === "guest") return { phase: "guest", reason: null, retryAt: null };
  if (!isOnline && !line?.connected) return { phase: "offline", reason: null, retryAt: null };
  if (auth) return { phase: "needs-auth", ...auth };
  if (line?.connected) return { phase: "connected", reason: null, retryAt: null };
  const isFirst = !line || (!line.hasConnected && line.retries === 0);
  if (isFirst) return { phase: "connecting", reason: null, retryAt: null };
  return { phase: "reconnecting", reason: line.broken ?? line.reason, retryAt: line.retryAt };
}

/**
 * Returns the state, the former one if it says the same.
 *
 * @param {Facts} facts
 * @param {ConnectionState | null} former
 * @returns {ConnectionState}
 */
export function connectionState(facts, former) {
  const { now, line, entries, writesAt, actions, account, role, isDurable } = facts;
  const { phase, reason, retryAt } = phaseOf(facts);
  const failed = entries.filter(({ state }) => state === "failed").length;
  const oldestAt = Math.min(...writesAt);
  /** @type {ConnectionState} */
  const state = {
    hasInflightRequests: writesAt.length + actions > 0,
    isWebSocketConnected: line?.connected ?? false,
    timeOfOldestInflightRequest: writesAt.length > 0 ? new Date(oldestAt) : null,
    hasEverConnected: line?.hasConnected ?? false,
    connectionCount: line?.connectionCount ?? 0,
    connectionRetries: line?.retries ?? 0,
    inflightMutations: writesAt.length,
    inflightActions: actions,
    phase,
    since: former?.phase === phase ? former.since : now,
    reason,
    retryAt,
    role,
    unsent: entries.length - failed,
    failed,
    account,
    durable: isDurable,
  };
  return former && JSON.stringify(former) === JSON.stringify(state) ? former : state;
}
