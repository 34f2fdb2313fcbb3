/**
 * A page with nothing but a client, and what tests need to drive it. The fragment of its address
 * holds options as JSON: `user` to sign in as, `client` for createClient.
 */

import { createClient } from "/client/src/index.js";

const options = location.hash ? JSON.parse(decodeURIComponent(location.hash.slice(1))) : {};

/** By name: every result that a watched query has shown. */
const shown = {};
/** By key: the handle of every mutation that this page began. */
const handles = {};
/** Every state of authentication and of the connection that was told. */
const told = { auth: [], phases: [] };

function watch(name, path, args) {
  shown[name] = [];
  return client.subscribe(path, args, (result) => shown[name].push({ ...result }));
}

/** Compares what is given, so that a value may be awaited with or without `isStale`. */
function isShown(name, wanted) {
  const result = shown[name]?.at(-1);
  if (!result) return false;
  return Object.entries(wanted).every(([key, value]) => isEqual(result[key], value));
}

function hasState(wanted) {
  const state = client.connectionState();
  return Object.entries(wanted).every(([key, value]) => isEqual(state[key], value));
}

const isEqual = (one, other) => JSON.stringify(one) === JSON.stringify(other);

async function send(path, args, mutationOptions) {
  const handle = client.mutation(path, args, mutationOptions);
  handles[handle.key] = handle;
  handle.catch(() => {}); // tests look at its state
  await handle.stored;
  return handle.key;
}

/** How the next fetches of a token behave: `ok`, `throws`, `hangs`, `null` or `same`. */
let tokenMode = "ok";
let lastToken = null;
let fetches = 0;

async function fetchToken(user) {
  fetches += 1;
  if (tokenMode === "throws") throw new Error("the issuer is away");
  if (tokenMode === "hangs") return new Promise(() => {});
  if (tokenMode === "null") return null;
  if (tokenMode === "same" && lastToken !== null) return lastToken;
  const response = await fetch(`/dev/token?sub=${encodeURIComponent(user)}`);
  lastToken = (await response.json()).token;
  return lastToken;
}

function signIn(user) {
  client.setAuth(
    () => fetchToken(user),
    (isAuthenticated) => told.auth.push(isAuthenticated),
  );
}

/** What the tests' mutations are expected to do. */
const optimisticUpdates = {
  "probe:append": (store, { topic, body }) => {
    const bodies = store.getQuery("probe:bodies", { topic }) ?? [];
    store.setQuery("probe:bodies", { topic }, [...bodies, body]);
  },
  "conversations:create": (store, { id, title }) => {
    const list = store.getQuery("conversations:list", {}) ?? [];
    store.setQuery("conversations:list", {}, [{ _id: id, title }, ...list]);
  },
};

const client = createClient(location.origin, { optimisticUpdates, ...options.client });
client.subscribeToConnectionState((state) => told.phases.push(state.phase));
if (options.user) signIn(options.user);

Object.assign(window, {
  client,
  shown,
  handles,
  told,
  watch,
  isShown,
  hasState,
  send,
  signIn,
  setTokenMode: (mode) => {
    tokenMode = mode;
  },
  tokenFetches: () => fetches,
  outbox: () => client.outbox().map(({ path, args, state }) => ({ path, args, state })),
  isReady: true,
});
