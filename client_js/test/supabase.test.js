import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { loadFlavour } from "./support/react.js";
import { FakeSupabase } from "./support/supabase.js";

/** @import { AuthProvider } from "../src/react.js" */
/** @import { Flavour } from "./support/react.js" */

for (const name of /** @type {const} */ (["react", "preact"])) {
  describe(`Supabase's sign-in under ${name}`, () => {
    /** @type {Flavour} */
    let flavour;
    /** @type {ReturnType<Flavour["createRoot"]>} */
    let root;
    /** @type {AuthProvider[]} */
    let seen;

    before(async () => {
      flavour = await loadFlavour(name);
    });

    afterEach(async () => {
      await flavour.act(() => root.unmount());
    });

    after(() => globalThis.window.close());

    /** @param {FakeSupabase} supabase */
    async function show(supabase) {
      const { React, createRoot, act } = flavour;
      seen = [];
      const page = () => {
        seen.push(flavour.supabase.useSupabaseAuth(supabase));
        return null;
      };
      root = createRoot(document.createElement("div"));
      await act(() => root.render(React.createElement(page)));
      // Its answers are promises, and all of them are kept by then.
      await act(() => new Promise(setImmediate));
    }

    const states = () =>
      seen.map(({ isLoading, isAuthenticated }) =>
        isLoading ? "loading" : isAuthenticated ? "signed in" : "signed out",
      );
    const newest = () => /** @type {AuthProvider} */ (seen.at(-1));

    test("is loading at first, and then gives the session's token", async () => {
      const supabase = new FakeSupabase("token-1", "token-2");
      await show(supabase);
      assert.deepEqual([states()[0], states().at(-1)], ["loading", "signed in"]);
      const { fetchAccessToken } = newest();
      assert.equal(await fetchAccessToken({ forceRefreshToken: false }), "token-1");
      assert.equal(await fetchAccessToken({ forceRefreshToken: true }), "token-2");
    });

    test("is signed out without a session, and after the person signed out", async () => {
      const supabase = new FakeSupabase();
      await show(supabase);
      assert.equal(states().at(-1), "signed out");
      await flavour.act(() => supabase.signIn("alice", "token-1"));
      assert.equal(states().at(-1), "signed in");
      await flavour.act(() => supabase.signOut());
      assert.equal(states().at(-1), "signed out");
    });

    test("asks with another function when another person signs in, not for a new token", async () => {
      const supabase = new FakeSupabase("token-1");
      await show(supabase);
      const former = newest();
      await flavour.act(() => supabase.signIn("alice", "token-2"));
      assert.equal(newest(), former);
      await flavour.act(() => supabase.signIn("bob", "token-3"));
      assert.notEqual(newest().fetchAccessToken, former.fetchAccessToken);
      assert.equal(states().at(-1), "signed in");
    });

    test("takes it that somebody is signed in while it cannot ask", async () => {
      const supabase = new FakeSupabase("token-1");
      supabase.error = new Error("Failed to fetch");
      await show(supabase);
      assert.equal(states().at(-1), "signed in");
      await assert.rejects(newest().fetchAccessToken({ forceRefreshToken: false }), /Failed/);
    });

    test("stops listening when it is not shown any more", async () => {
      const supabase = new FakeSupabase("token-1");
      await show(supabase);
      assert.equal(supabase.listeners.size, 1);
      await flavour.act(() => root.render(null));
      assert.equal(supabase.listeners.size, 0);
    });
  });
}
