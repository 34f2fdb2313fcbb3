import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createClient } from "../src/client.js";
import { append } from "./support/client-world.js";
import { Sim } from "./support/sim.js";
import { SimServer } from "./support/sim-server.js";

/** @import {MutationHandle} from "../src/handle.js" */
/** @import {SimTab} from "./support/sim.js" */

/** @typedef {{id: number, tab: number, page: SimTab, handle: MutationHandle<number>, end: string | number | null}} Made */

/** Several tabs of one browser, in which anything may happen. */
class World {
  sim = new Sim();
  server = new SimServer(this.sim);
  /** @type {{page: SimTab, client: ReturnType<typeof createClient>, shown: number[][], ts: bigint}[]} */
  tabs = [];
  /** @type {Made[]} */
  made = [];
  /** @type {{page: SimTab, end: unknown}[]} actions; their ids are their places */
  acts = [];
  isOnline = true;

  open() {
    const page = this.sim.tab(this.server.openSocket);
    page.isOnline = this.isOnline;
    const client = createClient("https://parley.test", {
      env: page.env,
      optimisticUpdates: { "list:append": append },
    });
    /** @type {number[][]} */
    const shown = [];
    client.subscribe("list:all", {}, ({ value }) => shown.push(value));
    this.tabs.push({ page, client, shown, ts: 0n });
  }

  /** @param {number} tab */
  write(tab) {
    const { page, client } = /** @type {World["tabs"][0]} */ (this.tabs[tab]);
    const id = this.made.length + 1;
    const handle = client.mutation("list:append", { id });
    /** @type {Made} */
    const made = { id, tab, page, handle, end: null };
    handle.then(
      (value) => {
        // It is kept only when its own tab shows it.
        made.end = client.localResult("list:all", {}).includes(id) ? value : "not shown";
      },
      (error) => {
        made.end = error.code;
      },
    );
    this.made.push(made);
  }

  /** @param {number} tab */
  act(tab) {
    const { page, client } = /** @type {World["tabs"][0]} */ (this.tabs[tab]);
    /** @type {World["acts"][0]} */
    const act = { page, end: null };
    client.action("x:y", { id: this.acts.push(act) - 1 }).then(
      (value) => {
        act.end = value;
      },
      (error) => {
        act.end = error.code;
      },
    );
  }

  /** @param {number} tab @param {string} what */
  happen(tab, what) {
    const { page } = this.tabs[tab] ?? {};
    if (!page || page.isDead) return;
    if (what === "kill") page.kill();
    if (what === "freeze") page.freeze();
    if (what === "thaw") page.thaw();
    if (page.isFrozen) return;
    if (what === "show" && !page.isVisible) return page.page("show");
    if (!page.isVisible) return;
    if (what === "write") this.write(tab);
    if (what === "act") this.act(tab);
    if (what === "hide") page.page("hide");
    if (what === "look") page.page("visible");
  }

  /** @param {{tab: number, what: string, ms: number, turns: number}} step */
  async step({ tab, what, ms, turns }) {
    this.sim.turns = turns;
    if (what === "open" && this.tabs.length < 6) this.open();
    else if (what === "elsewhere") this.server.write();
    else if (what === "network") this.network(!this.isOnline);
    else if (what === "drop") for (const link of this.server.links) this.server.drop(link);
    else this.happen(tab, what);
    await this.sim.run(ms);
  }

  /** @param {boolean} isOnline */
  network(isOnline) {
    this.isOnline = isOnline;
    for (const { page } of this.tabs) {
      if (!page.isDead && !page.isFrozen) page.network(isOnline);
      else page.isOnline = isOnline;
    }
  }

  /** All is well from now on for who is awake. */
  async calm() {
    this.sim.turns = Infinity;
    this.network(true);
    for (const { page } of this.awake()) if (!page.isVisible) page.page("show");
    await this.sim.run(60_000);
  }

  awake() {
    return this.tabs.filter(({ page }) => !page.isDead && !page.isFrozen);
  }

  async close() {
    const closing = this.tabs
      .filter(({ page }) => !page.isDead)
      .map(({ client }) => client.close());
    await this.sim.run(100);
    await Promise.all(closing);
  }
}

const step = fc.record({
  tab: fc.nat(3),
  what: fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom("write", "write", "act") },
    { weight: 4, arbitrary: fc.constantFrom("freeze", "thaw", "hide", "show", "look", "open") },
    { weight: 3, arbitrary: fc.constantFrom("kill", "network", "drop", "elsewhere") },
  ),
  ms: fc.oneof(fc.nat(12), fc.nat(900), fc.constant(3000)),
  turns: fc.constantFrom(2, 5, 20, Infinity),
});

/** @param {{tab: number, what: string, ms: number, turns: number}[]} steps */
async function play(steps) {
  const world = new World();
  for (const _ of [1, 2, 3]) world.open();
  await world.sim.run(40);
  for (const one of steps) await world.step(one);
  // A tab that comes would tell the others what they missed.
  if (world.awake().length === 0) world.open();
  await world.calm();
  // Before those that are frozen wake, if they ever do.
  check(world);
  for (const { page } of world.tabs) page.thaw();
  await world.calm();
  check(world);
  await world.close();
}

/** @param {World} world */
function check(world) {
  const { server, made, acts, tabs } = world;
  const { runs } = server.model;
  assert.deepEqual(runs, [...new Set(runs)], "something was done twice");
  const live = made.filter(({ page }) => !page.isDead && !page.isFrozen);
  for (const { id, end } of live) assert.equal(end, id, `handle ${id}`);
  assert.deepEqual(server.acted, [...new Set(server.acted)], "an action ran twice");
  for (const [id, { page, end }] of acts.entries()) {
    if (page.isDead || page.isFrozen) continue;
    if (end !== "ConnectionLost") assert.equal(end, id, `action ${id}`);
  }
  const durable = made.filter(({ handle }) => handle.state !== "storing");
  for (const { id } of durable) assert.ok(runs.includes(id), `${id} was stored, and lost`);
  for (const tab of tabs.keys()) {
    const own = made.filter((one) => one.tab === tab && runs.includes(one.id)).map(({ id }) => id);
    const inOrder = runs.filter((id) => own.includes(id));
    assert.deepEqual(inOrder, own, "one tab's writes changed places");
  }
  const truth = server.model.list(Infinity);
  for (const { page, client, shown } of world.awake()) {
    assert.deepEqual(shown.at(-1), truth, `${page.name} does not show what is true`);
    assert.deepEqual(client.outbox(), []);
    for (const [index, list] of shown.entries()) {
      const lost = (shown[index - 1] ?? []).filter((id) => !list.includes(id));
      assert.deepEqual(lost, [], `${page.name} showed something, and then did not`);
    }
  }
}

test("whatever happens to tabs and the network: each write once, in order, shown without a step back, every handle kept, no action twice", async () => {
  await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 25 }), play), {
    numRuns: Number(process.env.RUNS ?? 30),
    endOnFailure: false,
  });
});
