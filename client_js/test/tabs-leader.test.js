import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Tabs } from "../src/tabs/leader.js";
import { Sim } from "./support/sim.js";

/** @import {SimTab} from "./support/sim.js" */

/** @param {SimTab} page @param {string} [scope] */
function join(page, scope = "parley:x") {
  /** @type {{leaders: (string | null)[], heard: any[], gone: string[]}} */
  const seen = { leaders: [], heard: [], gone: [] };
  /** @type {(() => void)[]} */
  const watches = [];
  const tabs = new Tabs(page.env, scope, page.name, {
    onLeader: (leader) => {
      seen.leaders.push(leader);
      for (const stop of watches.splice(0)) stop();
      if (!tabs.isLeader || tabs.isAlone) return;
      for (const { name } of page.sim.tabs) {
        watches.push(tabs.watch(name, () => seen.gone.push(name)));
      }
    },
    onMessage: (message) => seen.heard.push(message),
    onAsked: () => {},
    isWaiting: () => false,
  });
  page.env.onPageChange((event) => {
    if (event === "hide") tabs.stop();
    else if (event === "show") tabs.start();
    else tabs.probe();
  });
  tabs.start();
  return { page, tabs, seen };
}

/** @param {number} count of tabs of which the first leads, and waits for the others to be gone */
async function open(count) {
  const sim = new Sim();
  const pages = Array.from({ length: count }, () => sim.tab());
  const all = pages.map((page) => join(page));
  await sim.run(50);
  return { sim, all };
}

/** @param {Awaited<ReturnType<typeof open>>["all"]} all */
const leaders = (all) => all.filter(({ tabs, page }) => !page.isDead && tabs.isLeader);

test("the first of three tabs leads, and the others know it", async () => {
  const { all } = await open(3);

  assert.deepEqual(
    all.map(({ tabs }) => tabs.isLeader),
    [true, false, false],
  );
  assert.equal(new Set(all.map(({ tabs }) => tabs.leader)).size, 1);
});

test("without locks every tab leads alone", () => {
  const sim = new Sim();
  const page = sim.tab();
  page.env.locks = null;

  const { tabs } = join(page);

  assert.ok(tabs.isAlone && tabs.isLeader);
});

test("where the browser refuses locks every tab leads", async () => {
  const sim = new Sim();
  const page = sim.tab();
  page.env.locks = { request: () => Promise.reject(new Error("SecurityError")) };

  const { tabs } = join(page);
  await sim.run(10);

  assert.ok(tabs.isLeader);
});

test("another tab leads at once when the leader is killed, closed or kept for going back", async () => {
  for (const end of ["kill", "stop", "hide"]) {
    const { sim, all } = await open(3);
    const [first] = all;

    if (end === "kill") first?.page.kill();
    else if (end === "stop") first?.tabs.stop();
    else first?.page.page("hide");
    await sim.run(20);

    const [leader, ...more] = leaders(all);
    assert.equal(more.length, 0);
    assert.ok(leader && leader !== first, end);
    assert.ok(all.slice(1).every(({ tabs }) => tabs.leader === leader.tabs.leader));
  }
});

test("a tab that comes back follows the one that leads meanwhile", async () => {
  const { sim, all } = await open(2);

  all[0]?.page.page("hide");
  await sim.run(20);
  all[0]?.page.page("show");
  await sim.run(20);

  assert.deepEqual(
    all.map(({ tabs }) => tabs.isLeader),
    [false, true],
  );
  assert.equal(all[0]?.tabs.leader, all[1]?.tabs.leader);
});

test("a frozen leader loses the lead within a second to a tab that needs it, and follows when it wakes", async () => {
  const { sim, all } = await open(2);
  const [first, second] = all;

  first?.page.freeze();
  second?.page.page("visible");
  await sim.run(1000);
  assert.ok(second?.tabs.isLeader);

  first?.page.thaw();
  await sim.run(50);
  assert.ok(!first?.tabs.isLeader);
  assert.equal(first?.tabs.leader, second?.tabs.leader);
});

test("the lock passes over a frozen tab that waited for it", async () => {
  const { sim, all } = await open(3);

  all[1]?.page.freeze();
  all[0]?.page.kill();
  await sim.run(2500);

  assert.ok(all[2]?.tabs.isLeader);
});

test("a tab that stood still itself does not take the lead from a leader that answers", async () => {
  const { sim, all } = await open(2);
  const [first, second] = all;

  second?.page.page("visible");
  second?.page.freeze();
  await sim.run(5000);
  second?.page.thaw();
  await sim.run(2000);

  assert.ok(first?.tabs.isLeader);
  assert.deepEqual(second?.seen.leaders.length, 1);
});

test("messages reach the leader, one tab, or all, and none that a former leader sent", async () => {
  const { sim, all } = await open(3);
  const [first, second, third] = all;
  const unwatch = /** @type {const} */ ({ type: "unwatch", tab: "tab1", token: "t" });
  const acted = /** @type {any} */ ({ type: "acted", id: 1 });

  second?.tabs.toLeader(unwatch);
  first?.tabs.toTab("tab2", acted);
  third?.tabs.toAll({ type: "discarded", key: "k" });
  await sim.run(10);

  const types = all.map(({ seen }) => seen.heard.map(({ type }) => type).sort());
  assert.deepEqual(types, [["discarded", "unwatch"], ["discarded"], ["acted"]]);

  sim.delay = () => 700;
  first?.tabs.toTab("tab2", acted);
  sim.delay = () => 1;
  first?.page.kill();
  await sim.run(3000);
  assert.equal(third?.seen.heard.filter(({ type }) => type === "acted").length, 1);
});

test("the leader hears when a tab is gone, not before", async () => {
  const { sim, all } = await open(2);

  await sim.run(5000);
  assert.deepEqual(all[0]?.seen.gone, []);

  all[1]?.page.kill();
  await sim.run(10);
  assert.deepEqual(all[0]?.seen.gone, ["tab1"]);
});

test("a tab that a frozen leader waits to see gone can go and come back", async () => {
  const { sim, all } = await open(3);
  const [first, second, third] = all;
  first?.page.freeze();

  second?.page.page("hide");
  third?.page.page("visible");
  await sim.run(2000);
  second?.page.page("show");
  await sim.run(2000);

  assert.ok(second?.tabs.leader);
  assert.equal(second?.tabs.leader, third?.tabs.leader);
});

test("a hidden tab that has something to say misses a leader that does not answer", async () => {
  const { sim, all } = await open(2);
  const [first, second] = all;
  if (second) second.page.isVisible = false;
  await sim.run(1000);
  first?.page.freeze();
  await sim.run(5000);
  assert.equal(leaders(all.slice(1)).length, 0);

  second?.tabs.toAll({ type: "discarded", key: "k" });
  await sim.run(1000);

  assert.ok(second?.tabs.isLeader);
});

test("of two tabs that take the lead from a frozen one at once, the other follows", async () => {
  const { sim, all } = await open(3);
  const [first, second, third] = all;
  first?.page.freeze();
  sim.delay = () => 10;

  for (const tab of [second, third]) tab?.page.page("visible");
  await sim.run(5000);

  assert.equal(leaders(all.slice(1)).length, 1);
  assert.equal(second?.tabs.leader, third?.tabs.leader);
});

test("what stops holds no lock, channel or timer", async () => {
  const { sim, all } = await open(2);

  for (const { tabs } of all) tabs.stop();
  await sim.run(5000);

  assert.ok([...sim.locks.values()].every(({ holder, queue }) => !holder && queue.length === 0));
  assert.ok(all.every(({ page }) => page.channels.size === 0));
});

/** @param {SimTab} page @param {string} what */
function happen(page, what) {
  const isAwake = !page.isFrozen;
  if (what === "kill" && page.name !== "tab3") page.kill();
  if (what === "freeze") page.freeze();
  if (what === "thaw") page.thaw();
  if (what === "hide" && isAwake && page.isVisible) page.page("hide");
  if (what === "show" && isAwake && !page.isVisible) page.page("show");
  if (what === "visible" && isAwake && page.isVisible) page.page("visible");
}

test("whatever happens to tabs, in the end one that is awake leads and all follow it", async () => {
  const step = fc.record({
    tab: fc.nat(3),
    what: fc.constantFrom("kill", "freeze", "thaw", "hide", "show", "visible", "wait"),
    ms: fc.nat(900),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 14 }), async (steps) => {
      const { sim, all } = await open(4);
      let turn = 0;
      sim.delay = () => (turn++ * 7) % 5;
      for (const { tab, what, ms } of steps) {
        happen(/** @type {SimTab} */ (all[tab]?.page), what);
        await sim.run(ms);
      }
      happen(/** @type {SimTab} */ (all[3]?.page), "thaw");
      for (const { page } of all) {
        happen(page, "show");
        happen(page, "visible");
      }
      await sim.run(5000);

      const awake = all.filter(({ page }) => !page.isDead && !page.isFrozen);
      assert.equal(leaders(awake).length, 1);
      assert.equal(new Set(awake.map(({ tabs }) => tabs.leader)).size, 1);
    }),
    { numRuns: 40 },
  );
});
