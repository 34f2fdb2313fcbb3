import assert from "node:assert/strict";
import { test } from "node:test";
import { connectionState } from "../src/connection-state.js";

/** @import {Line} from "../src/tabs/messages.js" */

/** @type {Line} */
const LINE = {
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

/** @type {Parameters<typeof connectionState>[0]} */
const FACTS = {
  now: 10,
  isClosed: false,
  isOnline: true,
  isDurable: true,
  account: "i|a",
  role: "leader",
  line: LINE,
  needsAuth: null,
  entries: [],
  writesAt: [],
  actions: 0,
};

const needsAuth = { reason: "why", retryAt: 99 };
const connected = { ...LINE, connected: true, hasConnected: true };
const lost = { ...LINE, hasConnected: true, retries: 1, reason: "Gone", retryAt: 50 };

/** @type {[string, Partial<typeof FACTS>, (string | number | null)[]][]} */
const CASES = [
  ["before anything", { line: null }, ["connecting", null, null]],
  ["the first try", {}, ["connecting", null, null]],
  ["live", { line: connected }, ["connected", null, null]],
  ["broken off", { line: lost }, ["reconnecting", "Gone", 50]],
  ["no network", { line: lost, isOnline: false }, ["offline", null, null]],
  ["the browser is wrong", { line: connected, isOnline: false }, ["connected", null, null]],
  ["no token", { line: { ...connected, needsAuth } }, ["needs-auth", "why", 99]],
  ["no token, no leader", { line: null, needsAuth }, ["needs-auth", "why", 99]],
  ["the leader has a token", { line: connected, needsAuth }, ["connected", null, null]],
  ["told off", { line: { ...lost, broken: "Bad" } }, ["reconnecting", "Bad", 50]],
  ["a guest", { account: "guest", isOnline: false }, ["guest", null, null]],
  ["closed", { isClosed: true }, ["closed", "The client was closed", null]],
];

for (const [name, facts, expected] of CASES) {
  test(`the phase is told: ${name}`, () => {
    const { phase, reason, retryAt } = connectionState({ ...FACTS, ...facts }, null);

    assert.deepEqual([phase, reason, retryAt], expected);
  });
}

test("the same facts give the same object; a phase keeps the time at which it began", () => {
  const first = connectionState(FACTS, null);
  const same = connectionState({ ...FACTS, now: 20 }, first);
  const more = connectionState({ ...FACTS, now: 30, writesAt: [25, 21], actions: 1 }, same);
  const other = connectionState({ ...FACTS, now: 40, line: connected }, more);

  assert.equal(same, first);
  assert.deepEqual([more.since, other.since], [10, 40]);
  assert.deepEqual(more.timeOfOldestInflightRequest, new Date(21));
  assert.deepEqual([more.inflightMutations, more.inflightActions], [2, 1]);
});
