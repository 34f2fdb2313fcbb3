import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { supabaseToken } from "../src/supabase-token.js";
import { FakeSupabase } from "./support/supabase.js";

describe("supabaseToken", () => {
  test("gives the token of the session, and a new one when it is asked to", async () => {
    const supabase = new FakeSupabase("token-1", "token-2");
    const fetchToken = supabaseToken(supabase);
    assert.equal(await fetchToken({ forceRefreshToken: false }), "token-1");
    assert.equal(await fetchToken({ forceRefreshToken: false }), "token-1");
    assert.equal(await fetchToken({ forceRefreshToken: true }), "token-2");
  });

  test("gives null when nobody is signed in, also when Supabase refuses the session", async () => {
    const supabase = new FakeSupabase();
    const fetchToken = supabaseToken(supabase);
    assert.equal(await fetchToken({ forceRefreshToken: false }), null);
    supabase.error = Object.assign(new Error("Auth session missing!"), { status: 400 });
    assert.equal(await fetchToken({ forceRefreshToken: true }), null);
  });

  test("throws when Supabase cannot be asked, which is no sign-out", async () => {
    const supabase = new FakeSupabase("token-1");
    const fetchToken = supabaseToken(supabase);
    for (const status of [undefined, 0, 429, 500, 503]) {
      supabase.error = Object.assign(new Error("Failed to fetch"), { status });
      await assert.rejects(fetchToken({ forceRefreshToken: false }), /Failed to fetch/);
    }
  });
});
