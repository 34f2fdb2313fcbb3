import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { SignInRefused } from "../../demo/gotrue.js";
import { createDeletions, createDrafts, createKept } from "../../demo/kept.js";
import { SESSION_KEY, SessionKeeper } from "../../demo/session.js";

/** @import {Config} from "../../demo/types.js" */

/** @type {Config} */
const SUPABASE = {
  mode: "supabase",
  hasAssistant: false,
  supabaseUrl: "https://project.example",
  supabaseAnonKey: "anon",
};
/** @type {Config} */
const DEVELOPMENT = { mode: "development", hasAssistant: true };

/** A browser's storage, as several tabs share it. */
function createStorage() {
  /** @type {Record<string, unknown>} */
  const held = {};
  Object.defineProperties(held, {
    getItem: { value: (/** @type {string} */ key) => held[key] ?? null },
    setItem: {
      value: (/** @type {string} */ key, /** @type {string} */ text) => (held[key] = text),
    },
    removeItem: { value: (/** @type {string} */ key) => delete held[key] },
  });
  return /** @type {Storage} */ (/** @type {unknown} */ (held));
}

/** @type {Storage} */
let storage;
/** @type {{url: string, init: RequestInit | undefined}[]} */
let asked;
/** @type {() => Response} */
let answer;
let now = 0;

beforeEach(() => {
  storage = createStorage();
  asked = [];
  now = 1_000_000;
});

/** @param {Config} config */
function createKeeper(config) {
  return new SessionKeeper(config, {
    kept: createKept(() => storage),
    async fetch(url, init) {
      asked.push({ url: String(url), init });
      return answer();
    },
    now: () => now,
    alone: (run) => run(),
  });
}

/** @param {string} token */
const granted = (token) => () =>
  Response.json({
    access_token: token,
    refresh_token: `refresh ${token}`,
    expires_in: 3600,
    user: { email: "a@example.com" },
  });

const refused = () => Response.json({ error_description: "Wrong password" }, { status: 400 });

describe("in development mode", () => {
  test("a name is enough, and it is remembered", async () => {
    answer = () => Response.json({ token: "dev" });

    createKeeper(DEVELOPMENT).signInAs("bob & co");
    const again = createKeeper(DEVELOPMENT);

    assert.equal(again.current.get()?.name, "bob & co");
    assert.equal(await again.fetchToken({ forceRefreshToken: false }), "dev");
    assert.equal(asked[0]?.url, "/dev/token?sub=bob%20%26%20co");
  });

  test("a server that gives no token is an error to try again, not a sign-out", async () => {
    answer = () => new Response("", { status: 503 });
    const keeper = createKeeper(DEVELOPMENT);
    keeper.signInAs("alice");

    await assert.rejects(keeper.fetchToken({ forceRefreshToken: false }), TypeError);
    assert.equal(keeper.current.get()?.name, "alice");
  });
});

describe("with Supabase", () => {
  test("signing in asks GoTrue, and its token is used until it is old", async () => {
    const keeper = createKeeper(SUPABASE);
    answer = granted("one");

    await keeper.signIn("a@example.com", "secret");

    assert.equal(asked[0]?.url, "https://project.example/auth/v1/token?grant_type=password");
    assert.equal(new Headers(asked[0]?.init?.headers).get("apikey"), "anon");
    assert.equal(await keeper.fetchToken({ forceRefreshToken: false }), "one");
    assert.equal(asked.length, 1);
  });

  test("a wrong password says what Supabase says, and keeps nothing", async () => {
    const keeper = createKeeper(SUPABASE);
    answer = refused;

    await assert.rejects(keeper.signIn("a@example.com", "no"), /Wrong password/);
    assert.equal(keeper.current.get(), null);
  });

  test("an old token is refreshed with the refresh token", async () => {
    const keeper = createKeeper(SUPABASE);
    answer = granted("one");
    await keeper.signIn("a@example.com", "secret");
    answer = granted("two");

    const token = await keeper.fetchToken({ forceRefreshToken: true });

    assert.equal(token, "two");
    assert.deepEqual(JSON.parse(String(asked[1]?.init?.body)), { refresh_token: "refresh one" });
  });

  test("what another tab refreshed meanwhile is used, for a refresh token works once", async () => {
    const here = createKeeper(SUPABASE);
    answer = granted("one");
    await here.signIn("a@example.com", "secret");
    const there = createKeeper(SUPABASE);
    answer = granted("two");
    await there.fetchToken({ forceRefreshToken: true });

    const token = await here.fetchToken({ forceRefreshToken: true });

    assert.equal(token, "two");
    assert.equal(asked.length, 2);
  });

  test("a refresh that gets no answer is an error to try again, not a sign-out", async () => {
    const keeper = createKeeper(SUPABASE);
    answer = granted("one");
    await keeper.signIn("a@example.com", "secret");

    for (const status of [502, 429, 403]) {
      answer = () => new Response("<p>Not now</p>", { status });
      await assert.rejects(keeper.fetchToken({ forceRefreshToken: true }), (error) => {
        return error instanceof TypeError && !(error instanceof SignInRefused);
      });
    }
    assert.equal(keeper.current.get()?.name, "a@example.com");
  });

  test("a refresh that is refused ends the session: the person can sign in again", async () => {
    const keeper = createKeeper(SUPABASE);
    answer = granted("one");
    await keeper.signIn("a@example.com", "secret");

    answer = refused;
    assert.equal(await keeper.fetchToken({ forceRefreshToken: true }), null);
    assert.equal(keeper.current.get(), null);
    assert.equal(storage.getItem(SESSION_KEY), null);
  });

  test("the end is the end here, even if Supabase cannot be told", async () => {
    const keeper = createKeeper(SUPABASE);
    answer = granted("one");
    await keeper.signIn("a@example.com", "secret");
    answer = () => {
      throw new TypeError("no network");
    };

    keeper.end();

    assert.equal(keeper.current.get(), null);
    assert.equal(storage.getItem(SESSION_KEY), null);
  });
});

test("a tab follows what another tab did", () => {
  const [here, there] = [createKeeper(DEVELOPMENT), createKeeper(DEVELOPMENT)];

  there.signInAs("alice");
  here.reload();

  assert.equal(here.current.get()?.name, "alice");
});

test("what is kept of a session and makes no sense counts as none", () => {
  storage.setItem(SESSION_KEY, "{not json");
  assert.equal(createKeeper(DEVELOPMENT).current.get(), null);
  storage.setItem(SESSION_KEY, '{"kind": 3}');
  assert.equal(createKeeper(DEVELOPMENT).current.get(), null);
});

describe("a storage that refuses", () => {
  const kept = createKept(() => {
    throw new Error("denied");
  });

  test("costs only what outlives the page", () => {
    kept.write("a", "text");
    assert.equal(kept.read("a"), "text");
    kept.write("a", null);
    assert.equal(kept.read("a"), null);
  });
});

describe("drafts", () => {
  test("belong to one person and one conversation, and go with the person", () => {
    const drafts = createDrafts(createKept(() => storage));
    drafts.write("alice", "c1", "half a thought");
    drafts.write("alice", null, "a beginning");
    drafts.write("bob", "c1", "another");

    assert.equal(drafts.read("alice", "c1"), "half a thought");
    drafts.forget("alice");

    assert.equal(drafts.read("alice", "c1"), "");
    assert.equal(drafts.read("alice", null), "");
    assert.equal(drafts.read("bob", "c1"), "another");
  });
});

describe("deletions that a page did not finish", () => {
  test("are found by the next page of the same person, until they are done", () => {
    const deletions = createDeletions(createKept(() => storage));
    deletions.add("alice", "c1");
    deletions.add("alice", "c2");

    const next = createDeletions(createKept(() => storage));
    assert.deepEqual(next.list("alice"), ["c1", "c2"]);
    assert.deepEqual(next.list("bob"), []);
    next.remove("alice", "c1");
    next.remove("alice", "c2");

    assert.deepEqual(next.list("alice"), []);
    assert.equal(storage.getItem("parley-deletions:alice"), null);
  });

  test("are none where what is kept makes no sense", () => {
    storage.setItem("parley-deletions:alice", '{"c1": 1}');
    storage.setItem("parley-deletions:bob", "[1, ");

    const deletions = createDeletions(createKept(() => storage));

    assert.deepEqual([deletions.list("alice"), deletions.list("bob")], [[], []]);
  });
});
