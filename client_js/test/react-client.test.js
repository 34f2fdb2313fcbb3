import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { createClient } from "../src/client.js";
import { append } from "./support/client-world.js";
import { loadFlavour } from "./support/react.js";
import { Sim } from "./support/sim.js";
import { SimServer } from "./support/sim-server.js";

/** @import { Flavour } from "./support/react.js" */
/** @import { SimTab } from "./support/sim.js" */

for (const name of /** @type {const} */ (["react", "preact"])) {
  describe(`the client under ${name}`, () => {
    /** @type {Flavour} */
    let flavour;
    /** @type {ReturnType<Flavour["createRoot"]>[]} */
    let roots = [];

    before(async () => {
      flavour = await loadFlavour(name);
    });

    afterEach(async () => {
      await flavour.act(() => {
        for (const root of roots) root.unmount();
      });
      roots = [];
    });

    after(() => globalThis.window.close());

    /**
     * Opens a tab in which the list is shown by two components, and can be added to.
     *
     * @param {SimTab} page
     */
    async function open(page) {
      const { React, bindings, createRoot, act } = flavour;
      const client = createClient("https://parley.test", { env: page.env });
      /** @type {{list: number[] | undefined, isStale: boolean, unsent: number, inner?: number[]}[]} */
      const seen = [];
      /** @type {(args: {id: number}) => Promise<unknown>} */
      let add = async () => {};
      const inner = (/** @type {typeof seen[number]} */ outer) => {
        seen.push({ ...outer, inner: bindings.useQuery("list:all", {}) });
        return null;
      };
      const outer = () => {
        const list = bindings.useQuery("list:all", {});
        const isStale = bindings.useIsStale("list:all", {});
        add = bindings.useMutation("list:append").withOptimisticUpdate(append);
        const unsent = bindings.useOutbox().length;
        return React.createElement(inner, { list, isStale, unsent });
      };
      const root = createRoot(document.createElement("div"));
      roots.push(root);
      await act(() =>
        root.render(
          React.createElement(bindings.ParleyProvider, { client }, React.createElement(outer)),
        ),
      );
      return { seen, last: () => seen.at(-1), add: (/** @type {number} */ id) => add({ id }) };
    }

    test("shows a write at once and never takes it back, in both components alike", async () => {
      const sim = new Sim();
      const server = new SimServer(sim);
      const run = (/** @type {number} */ ms) => flavour.act(() => sim.run(ms));
      const tab = await open(sim.tab(server.openSocket));
      const other = await open(sim.tab(server.openSocket));
      await run(200);

      await flavour.act(() => void tab.add(1));
      await flavour.act(() => void tab.add(2));
      await flavour.act(() => void other.add(3));
      await run(300);

      const lengths = tab.seen.map(({ list }) => list?.length ?? 0);
      assert.deepEqual(
        lengths,
        [...lengths].sort((a, b) => a - b),
      );
      assert.deepEqual([...(tab.last()?.list ?? [])].sort(), [1, 2, 3]);
      assert.deepEqual(tab.last()?.list, other.last()?.list);
      assert.deepEqual(
        [...tab.seen, ...other.seen].filter(({ list, inner }) => list !== inner),
        [],
      );
      assert.equal(tab.last()?.unsent, 0);
    });

    test("shows after a reload offline what was there, with what was written", async () => {
      const sim = new Sim();
      const server = new SimServer(sim);
      const run = (/** @type {number} */ ms) => flavour.act(() => sim.run(ms));
      const first = sim.tab(server.openSocket);
      const before = await open(first);
      await run(200);
      await flavour.act(() => void before.add(1));
      await run(10_000);
      server.isDown = true;
      for (const link of [...server.links]) server.drop(link);
      await flavour.act(() => void before.add(2));
      await run(100);
      first.kill();

      const again = await open(sim.tab(server.openSocket));
      await run(2000);
      assert.deepEqual(again.last()?.list, [1, 2]);
      assert.equal(again.last()?.isStale, true);
      assert.equal(again.last()?.unsent, 1);

      server.isDown = false;
      await run(60_000);
      assert.deepEqual(again.last()?.list, [1, 2]);
      assert.equal(again.last()?.isStale, false);
      assert.equal(again.last()?.unsent, 0);
      assert.deepEqual(server.model.runs, [1, 2]);
    });
  });
}
