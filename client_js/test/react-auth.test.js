import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { HandClient } from "./support/hand-client.js";
import { loadFlavour } from "./support/react.js";

/** @import { AuthProvider, AuthState } from "../src/react.js" */
/** @import { Flavour } from "./support/react.js" */

const LOADING = { isLoading: true, isAuthenticated: false };
const SIGNED_OUT = { isLoading: false, isAuthenticated: false };
const SIGNED_IN = { isLoading: false, isAuthenticated: true };

for (const name of /** @type {const} */ (["react", "preact"])) {
  describe(`signing in under ${name}`, () => {
    /** @type {Flavour} */
    let flavour;
    /** @type {ReturnType<Flavour["createRoot"]>} */
    let root;
    /** @type {HandClient} */
    let client;
    /** @type {AuthState[]} */
    let seen;

    before(async () => {
      flavour = await loadFlavour(name);
    });

    afterEach(async () => {
      await flavour.act(() => root.unmount());
    });

    after(() => globalThis.window.close());

    /**
     * @param {() => AuthProvider} useAuth
     * @param {Record<string, unknown>} [state] of the connection
     */
    async function show(useAuth, state = { phase: "connecting", account: null }) {
      const { React, bindings, createRoot, act } = flavour;
      client = new HandClient();
      client.setState(state);
      seen = [];
      const page = () => {
        seen.push(bindings.useParleyAuth());
        bindings.useQuery(/** @type {any} */ ("chat:list"));
        return null;
      };
      root = createRoot(document.createElement("div"));
      const watch = client.watch.bind(client);
      client.watch = (ref, args) => {
        const watched = watch(ref, args);
        const onUpdate = (/** @type {() => void} */ listener) => {
          client.calls.push(["asks"]);
          return watched.onUpdate(listener);
        };
        return { ...watched, onUpdate };
      };
      const render = () =>
        act(() =>
          root.render(
            React.createElement(
              bindings.ParleyProviderWithAuth,
              { client: /** @type {any} */ (client), useAuth },
              React.createElement(page),
            ),
          ),
        );
      await render();
      return render;
    }

    const fetchAccessToken = async () => "token";
    const kinds = () => client.calls.map(([kind]) => kind);

    test("is confirmed by the server, not by the provider", async () => {
      await show(() => ({ ...SIGNED_IN, fetchAccessToken }));
      assert.deepEqual(seen.at(-1), LOADING);
      assert.deepEqual(client.calls[0], ["setAuth", fetchAccessToken]);
      await flavour.act(() => client.confirm?.(true));
      assert.deepEqual(seen.at(-1), SIGNED_IN);
      await flavour.act(() => client.confirm?.(false));
      assert.deepEqual(seen.at(-1), SIGNED_OUT);
      assert.deepEqual(kinds(), ["setAuth", "asks"]);
    });

    test("holds everything back while the provider is loading", async () => {
      let auth = { ...LOADING, fetchAccessToken: async () => "token" };
      const render = await show(() => auth);
      assert.deepEqual(seen.at(-1), LOADING);
      assert.deepEqual(kinds(), ["setAuth", "asks"]);
      auth = { ...auth, ...SIGNED_IN };
      await render();
      await flavour.act(() => client.confirm?.(true));
      assert.deepEqual(seen.at(-1), SIGNED_IN);
      auth = { ...auth, isLoading: true };
      await render();
      assert.deepEqual(kinds(), ["setAuth", "asks", "setAuth"]);
    });

    test("removes somebody's data when they sign out, and not when nobody was here", async () => {
      let auth = { ...SIGNED_OUT, fetchAccessToken: async () => "token" };
      const render = await show(() => auth);
      assert.deepEqual(seen.at(-1), SIGNED_OUT);
      const nobody = /** @type {() => Promise<null>} */ (client.calls[0]?.[1]);
      assert.equal(await nobody(), null);
      auth = { ...auth, isAuthenticated: true };
      await render();
      await flavour.act(() => client.confirm?.(true));
      auth = { ...auth, isAuthenticated: false };
      await render();
      assert.deepEqual(seen.at(-1), SIGNED_OUT);
      assert.deepEqual(kinds(), ["setAuth", "asks", "setAuth", "clearAuth"]);
    });

    test("leaves a guest a guest until somebody signs in", async () => {
      let auth = { ...LOADING, fetchAccessToken };
      const guest = { phase: "guest", account: "guest" };
      const render = await show(() => auth, guest);
      auth = { ...auth, isLoading: false };
      await render();
      assert.deepEqual(kinds(), ["asks"]);
      auth = { ...auth, isAuthenticated: true };
      await render();
      assert.deepEqual(client.calls.at(-1), ["setAuth", fetchAccessToken]);
    });

    test("begins anew with another fetchAccessToken; what comes of the former counts no more", async () => {
      let auth = { ...SIGNED_IN, fetchAccessToken: async () => "a" };
      const render = await show(() => auth);
      const { confirm } = client;
      await flavour.act(() => confirm?.(true));
      auth = { ...auth, fetchAccessToken: async () => "b" };
      await render();
      assert.deepEqual(seen.at(-1), LOADING);
      await flavour.act(() => confirm?.(true));
      assert.deepEqual(seen.at(-1), LOADING);
      await flavour.act(() => client.confirm?.(true));
      assert.deepEqual(seen.at(-1), SIGNED_IN);
    });

    test("counts whose data is shown as authenticated while nobody can be asked", async () => {
      await show(() => ({ ...SIGNED_IN, fetchAccessToken }));
      await flavour.act(() => client.setState({ phase: "offline", account: null }));
      assert.deepEqual(seen.at(-1), LOADING);
      await flavour.act(() => client.setState({ phase: "offline", account: "issuer|alice" }));
      assert.deepEqual(seen.at(-1), SIGNED_IN);
      await flavour.act(() => client.setState({ phase: "connected", account: "issuer|alice" }));
      assert.deepEqual(seen.at(-1), LOADING);
    });
  });
}
