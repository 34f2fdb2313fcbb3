/**
 * How long to wait before the next try (PROTOCOL.md §10.2).
 *
 * @module
 */

const MAX_MS = 16_000;

// Whom we left ourselves is likely there still; one that says it is overloaded needs longer.
const OWN_MS = 100;
const USUAL_MS = 1000;
const OVERLOADED_MS = 3000;
const OVERLOADED =
  /^(SubscriptionsWorkerFullError|TooManyConcurrentRequests|CommitterFullError|AwsTooManyRequestsException|ExecuteFullError|SystemTimeoutError|ExpiredInQueue|VectorIndexTooLarge|SearchIndexTooLarge|TooManyWritesInTimePeriod)/;

/**
 * Returns a waiting time that grows with every try, scattered so that clients do not come together.
 *
 * @param {object} wait
 * @param {number} wait.baseMs of the first one, before it is scattered by half of it
 * @param {number} wait.maxMs likewise of the longest
 * @param {number} tries that failed before
 * @param {number} random in [0, 1)
 */
export const backoff = ({ baseMs, maxMs }, tries, random) =>
  Math.min(baseMs * 2 ** tries, maxMs) * (0.5 + random);

/**
 * Returns the wait after a connection ended.
 *
 * @param {string} reason as the server gave it, or ours
 * @param {boolean} isOwn we closed it
 */
export function waitAfter(reason, isOwn) {
  const usual = OVERLOADED.test(reason) ? OVERLOADED_MS : USUAL_MS;
  return { baseMs: isOwn ? OWN_MS : usual, maxMs: MAX_MS };
}
