import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { anyApi } from "../src/api.js";
import { HandClient } from "./support/hand-client.js";
import { boundaryOf, loadFlavour } from "./support/react.js";

/** @import { ReactNode } from "react" */
/** @import { Flavour } from "./support/react.js" */

for (const name of /** @type {const} */ (["react", "preact"])) {
  describe(`the bindings under ${name}`, () => {
    /** @type {Flavour} */
    let flavour;
    /** @type {ReturnType<Flavour["createRoot"]>} */
    let root;
    /** @type {HandClient} */
    let client;

    before(async () => {
      flavour = await loadFlavour(name);
    });

    afterEach(async () => {
      await flavour.act(() => root.unmount());
    });

    after(() => globalThis.window.close());

    /**
     * Renders a component inside of a provider, with a new client.
     *
     * @template Props
     * @param {(props: Props) => ReactNode} component
     * @param {Props} props
     */
    async function show(component, props) {
      const { React, createRoot, act, bindings } = flavour;
      client = new HandClient();
      root = createRoot(document.createElement("div"));
      const render = (/** @type {Props} */ next) =>
        act(() =>
          root.render(
            React.createElement(
              bindings.ParleyProvider,
              { client: /** @type {any} */ (client) },
              React.createElement(/** @type {any} */ (component), /** @type {any} */ (next)),
            ),
          ),
        );
      await render(props);
      return render;
    }

    test("a query is undefined until it is known, and one object until it changes", async () => {
      /** @type {unknown[]} */
      const seen = [];
      const render = await show(() => {
        seen.push(flavour.bindings.useQuery(anyApi.chat.list));
        return null;
      }, {});
      const rows = [{ title: "First" }];
      await flavour.act(() => client.change(["chat:list", {}, rows]));
      await render({});
      assert.equal(seen[0], undefined);
      assert.equal(seen.at(-1), rows);
      assert.equal(seen.at(-2), rows);
    });

    test("equal arguments are one query, others another, and skip is none", async () => {
      /** @type {unknown[]} */
      const seen = [];
      const render = await show(
        (/** @type {{of: string | null}} */ { of }) => {
          seen.push(flavour.bindings.useQuery(anyApi.chat.get, of ? { of } : "skip"));
          return null;
        },
        /** @type {{of: string | null}} */ ({ of: null }),
      );
      assert.deepEqual(client.asked, []);
      await render({ of: "a" });
      const first = client.asked[0];
      await flavour.act(() => client.change(["chat:get", { of: "a" }, "A"]));
      await render({ of: "a" });
      assert.deepEqual(client.asked, [first]);
      assert.equal(seen.at(-1), "A");
      await render({ of: "b" });
      assert.equal(seen.at(-1), undefined);
      assert.equal(client.asked.length, 1);
      assert.notEqual(client.asked[0], first);
      await render({ of: null });
      assert.deepEqual(client.asked, []);
    });

    test("a failure is thrown while rendering, to the error boundary around", async (context) => {
      context.mock.method(console, "error", () => {});
      const { React, bindings } = flavour;
      /** @type {unknown[]} */
      const caught = [];
      const boundary = boundaryOf(React, (error) => caught.push(error));
      const row = () => bindings.useQuery(anyApi.chat.get, {});
      await show(() => React.createElement(boundary, {}, React.createElement(row)), {});
      const failure = new Error("Conversation not found");
      await flavour.act(() => client.change(["chat:get", {}, failure]));
      assert.deepEqual(caught, [failure]);
    });

    test("what one commit changed is seen at once by all components", async () => {
      const { React, bindings } = flavour;
      /** @type {unknown[][]} */
      const seen = [];
      const child = (/** @type {{list: string}} */ { list }) => {
        seen.push([list, bindings.useQuery(anyApi.chat.get, {})]);
        return null;
      };
      const parent = () =>
        React.createElement(child, { list: bindings.useQuery(anyApi.chat.list) });
      await show(parent, {});
      await flavour.act(() => client.change(["chat:list", {}, "1"], ["chat:get", {}, "1"]));
      await flavour.act(() => client.change(["chat:get", {}, "2"], ["chat:list", {}, "2"]));
      const mixed = seen.filter(([list, row]) => list !== row);
      assert.deepEqual(mixed, []);
      assert.deepEqual(seen.at(-1), ["2", "2"]);
    });

    test("what is known by the time of asking is shown though nothing changes any more", async () => {
      /** @type {unknown[]} */
      const seen = [];
      const { bindings } = flavour;
      await show(() => {
        client.change(["chat:list", {}, "early"]);
        seen.push([bindings.useQuery(anyApi.chat.list), bindings.useIsStale(anyApi.chat.list)]);
        return null;
      }, {});
      assert.deepEqual(seen.at(-1), ["early", false]);
    });

    test("mutations and actions are the same function in every render", async () => {
      /** @type {unknown[][]} */
      const seen = [];
      const { bindings } = flavour;
      const render = await show(() => {
        seen.push([bindings.useMutation(anyApi.chat.add), bindings.useAction(anyApi.chat.think)]);
        return null;
      }, {});
      await render({});
      const [add, think] = /** @type {any[]} */ (seen[0]);
      assert.equal(seen.at(-1)?.[0], add);
      assert.equal(seen.at(-1)?.[1], think);
      const handle = add({ title: "First" });
      assert.equal(handle.state, "stored");
      assert.equal(await think(), "done");
      assert.deepEqual(client.calls, [
        ["mutation", "chat:add", { title: "First" }, { optimisticUpdate: undefined }],
        ["action", "chat:think", {}],
      ]);
    });

    test("an optimistic update goes with its mutation, and is known for other tabs' too", async () => {
      const update = () => {};
      await show(() => {
        const add = flavour.bindings.useMutation(anyApi.chat.add).withOptimisticUpdate(update);
        flavour.React.useEffect(() => void add({ title: "First" }), []);
        return null;
      }, {});
      const call = client.calls.find(([kind]) => kind === "mutation");
      assert.deepEqual(call?.at(-1), { optimisticUpdate: update });
      assert.deepEqual(
        client.calls.find(([kind]) => kind === "register"),
        ["register", "chat:add", update],
      );
    });

    test("lists load by pages, and begin anew with other arguments", async () => {
      /** @type {import("../src/react/live-pages.js").ShownPages[]} */
      const seen = [];
      const render = await show(
        (/** @type {{of: string | null}} */ { of }) => {
          seen.push(
            flavour.bindings.usePaginatedQuery(anyApi.chat.page, of ? { of } : "skip", {
              initialNumItems: 2,
            }),
          );
          return null;
        },
        /** @type {{of: string | null}} */ ({ of: null }),
      );
      const shown = () => [seen.at(-1)?.status, ...(seen.at(-1)?.results ?? [])];
      /** @param {string} of @param {string | null} cursor @param {number} numItems */
      const args = (of, cursor, numItems) => ({ of, paginationOpts: { cursor, numItems, id: 0 } });

      assert.deepEqual(shown(), ["LoadingFirstPage"]);
      await render({ of: "a" });
      const first = { page: [1, 2], isDone: false, continueCursor: "2" };
      await flavour.act(() => client.change(["chat:page", args("a", null, 2), first]));
      assert.deepEqual(shown(), ["CanLoadMore", 1, 2]);
      await flavour.act(() => seen.at(-1)?.loadMore(5));
      assert.deepEqual(shown(), ["LoadingMore", 1, 2]);
      const last = { page: [3], isDone: true, continueCursor: "end" };
      await flavour.act(() => client.change(["chat:page", args("a", "2", 5), last]));
      assert.deepEqual(shown(), ["Exhausted", 1, 2, 3]);
      const before = seen.at(-1);
      await render({ of: "a" });
      assert.equal(seen.at(-1), before);
      await render({ of: "b" });
      assert.deepEqual(shown(), ["LoadingFirstPage"]);
      assert.equal(client.asked.length, 1);
    });

    test("the connection and the outbox are shown as they are", async () => {
      /** @type {unknown[][]} */
      const seen = [];
      await show(() => {
        seen.push([flavour.bindings.useConnectionState(), flavour.bindings.useOutbox()]);
        return null;
      }, {});
      const [state, entries] = [{ phase: "offline" }, [{ key: "a" }]];
      await flavour.act(() => client.setState(state));
      await flavour.act(() => client.setOutbox(entries));
      assert.deepEqual(seen.at(-1), [state, entries]);
      assert.equal(seen.at(-1)?.[0], state);
    });

    test("a hook without its provider says which one is missing", async (context) => {
      context.mock.method(console, "error", () => {});
      const { React, bindings } = flavour;
      /** @type {unknown[]} */
      const caught = [];
      const boundary = boundaryOf(React, (error) => caught.push(error));
      const row = () => bindings.useParleyAuth().isLoading;
      await show(() => React.createElement(boundary, {}, React.createElement(row)), {});
      assert.match(String(caught[0]), /needs a <ParleyProviderWithAuth client=\{…\}> around it/);
    });

    test("nothing is asked for any more once nobody shows it", async () => {
      await show(() => {
        flavour.bindings.useQuery(anyApi.chat.list);
        flavour.bindings.usePaginatedQuery(anyApi.chat.page, {}, { initialNumItems: 2 });
        return null;
      }, {});
      assert.equal(client.asked.length, 2);
      await flavour.act(() => root.render(null));
      assert.deepEqual(client.asked, []);
    });
  });
}

test("a server shows what nobody has asked for yet", async () => {
  const React = await import("react");
  const { renderToString } = await import("react-dom/server");
  const bindings = await import("../src/react.js");
  const client = new HandClient();
  client.change(["chat:list", {}, ["known here"]]);
  const row = () => {
    const options = { initialNumItems: 2 };
    const { status, results } = bindings.usePaginatedQuery(anyApi.chat.page, {}, options);
    return JSON.stringify([
      bindings.useQuery(anyApi.chat.list) ?? null,
      bindings.useIsStale(anyApi.chat.list),
      bindings.useIsStale(anyApi.chat.list, "skip"),
      [status, results],
      bindings.useConnectionState().phase,
      bindings.useOutbox(),
    ]);
  };

  const provided = { client: /** @type {any} */ (client) };
  const text = renderToString(
    React.createElement(bindings.ParleyProvider, provided, React.createElement(row)),
  );

  const seen = JSON.parse(text.replaceAll("&quot;", '"'));
  assert.deepEqual(seen, [null, true, false, ["LoadingFirstPage", []], "connecting", []]);
  assert.deepEqual(client.asked, []);
});
