import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { anyApi as api } from "../../src/api.js";
import { Session } from "../../src/sync/session.js";
import { View } from "../../src/view.js";
import { ModelServer } from "../support/model-server.js";
import { query, SESSION_ID } from "../support/wire.js";

/** @import {Effect} from "../../src/sync/connection.js" */
/** @import {OptimisticUpdate, Value} from "../../src/types.js" */
/** @import {Connection} from "../support/model-server.js" */

const LIST = query("list:all");

/** @type {OptimisticUpdate} */
const append = (store, { id }) => {
  const list = /** @type {Value[]} */ (store.getQuery(api.list.all, {}) ?? []);
  store.setQuery(api.list.all, {}, [...list, id]);
};

// A device: its outbox, the session of the tab that leads, a tab's view; and the server, and the
// network between. Each method is a step that may happen at any time.
class World {
  server = new ModelServer();
  view = new View();
  /** @type {{id: number, fails: boolean, state: "waiting" | "done" | "failed"}[]} by requestId */
  outbox = [];
  /** @type {Connection | null} */
  socket = null;
  isOpen = false;
  isLoaded = false;
  now = 0;

  session = this.newSession();

  constructor() {
    this.lead();
  }

  newSession() {
    return new Session({
      sessionId: SESSION_ID,
      now: () => this.now,
      random: () => 0.5,
      maxObservedTs: this.view.ts,
    });
  }

  lead() {
    this.do(this.session.setToken(null));
    this.do(this.session.subscribe(LIST));
    for (const [requestId, entry] of this.outbox.entries()) {
      if (entry.state === "waiting") this.send(requestId);
    }
    this.do(this.session.start());
  }

  /** @param {number} requestId */
  send(requestId) {
    const { id, fails } = /** @type {World["outbox"][0]} */ (this.outbox[requestId]);
    this.do(this.session.mutate({ requestId, path: "list:append", args: { id, fails } }));
  }

  /** @param {Effect[]} effects */
  do(effects) {
    for (const effect of effects) this.#do(effect);
    this.check();
  }

  /** @param {Effect} effect */
  #do(effect) {
    switch (effect.type) {
      case "open":
        this.socket = this.server.accept();
        this.isOpen = false;
        break;
      case "close":
        this.socket = null;
        break;
      case "send":
        assert.ok(this.isOpen);
        this.socket?.up.push(effect.text);
        break;
      case "failed":
        this.end(effect.requestId, "failed");
        this.view.removeLayer(`${effect.requestId}`);
        break;
      case "change":
        assert.ok(effect.change.ts >= this.view.ts, "time went back");
        for (const { requestId } of effect.change.completed) this.end(requestId, "done");
        this.isLoaded ||= effect.change.queries.length > 0;
        this.view.apply(effect.change);
        break;
    }
  }

  /** @param {number} requestId @param {"done" | "failed"} state */
  end(requestId, state) {
    const entry = /** @type {World["outbox"][0]} */ (this.outbox[requestId]);
    assert.deepStrictEqual([entry.state, entry.fails], ["waiting", state === "failed"]);
    const before = state === "failed" ? [] : this.outbox.slice(0, requestId);
    assert.ok(
      before.every((one) => one.state !== "waiting"),
      "one was overtaken",
    );
    entry.state = state;
  }

  /** What is shown: what the server had at the view's ts, and over it what is not done, in order. */
  check() {
    const result = this.view.shown(LIST.token);
    const shown = result?.status === "success" ? result.value : [];
    const layers = this.outbox.filter(({ state }) => state === "waiting").map(({ id }) => id);
    const base = this.isLoaded ? this.server.list(Number(this.view.ts)) : [];
    assert.deepStrictEqual(shown, [...base, ...layers]);
    const done = this.outbox.filter(({ state }) => state === "done").map(({ id }) => id);
    assert.ok(!this.isLoaded || done.every((id) => base.includes(id)), "one flickered");
  }

  // --- steps of the device

  /** @param {boolean} fails */
  mutate(fails) {
    const requestId = this.outbox.length;
    const id = requestId + 1;
    this.outbox.push({ id, fails, state: "waiting" });
    const key = `${requestId}`;
    this.view.addLayer({ key, order: requestId, path: "", args: { id }, update: append });
    this.send(requestId);
  }

  /** The page is left, and come back to. */
  resubscribe() {
    this.isLoaded = false;
    this.view.forget(LIST.token);
    this.do(this.session.unsubscribe(LIST.token));
    this.do(this.session.subscribe(LIST));
  }

  /** Another tab takes over; what was on its way to the server may still arrive. */
  takeOver() {
    this.socket = null;
    this.session = this.newSession();
    this.lead();
  }

  timer() {
    this.now += 60_000;
    this.do(this.session.tick());
  }

  hold() {
    this.do(this.session.holdForToken());
  }

  token() {
    this.do(this.session.setToken(this.now % 2 ? null : `token ${this.now++}`));
  }

  // --- steps of the network

  open() {
    if (this.socket === null || this.isOpen) return;
    this.isOpen = true;
    this.do(this.session.opened());
  }

  receive() {
    const text = this.socket?.down.shift();
    if (text !== undefined && this.isOpen) this.do(this.session.received(text));
  }

  /** A Transition never arrives. */
  lose() {
    const lost = this.socket?.down.findIndex((text) => text.includes('"Transition"')) ?? -1;
    if (lost >= 0) this.socket?.down.splice(lost, 1);
  }

  twice() {
    const text = this.socket?.down[0];
    if (text !== undefined) this.socket?.down.unshift(text);
  }

  garble() {
    const text = this.socket?.down[0];
    if (text !== undefined) this.socket?.down.splice(0, 1, text.slice(0, -1));
  }

  cut() {
    if (this.socket === null) return;
    this.socket = null;
    this.do(this.session.closed({ code: 1006, reason: "" }));
  }

  // --- the end: everything works, for as long as it takes

  settle() {
    for (let round = 0; round < 200; round++) {
      this.token();
      if (this.socket === null) this.timer();
      this.open();
      for (const connection of this.server.connections) drain(this.server, connection);
      while (this.socket !== null && this.socket.down.length > 0) this.receive();
      const isDone = this.outbox.every(({ state }) => state !== "waiting");
      if (isDone && Number(this.view.ts) === this.server.ts) return;
    }
    assert.fail("it never came to rest");
  }
}

/** @param {ModelServer} server @param {Connection} connection */
function drain(server, connection) {
  while (connection.up.length > 0) server.read(connection);
  while (connection.work.length > 0) server.run(connection);
  while (connection.answers.length > 0) server.answer(connection);
  if (connection.owesTransition) server.transit(connection);
}

/** @type {[number, (world: World, which: number) => void][]} */
const STEPS = [
  [60, (world) => world.mutate(false)],
  [10, (world) => world.mutate(true)],
  [5, (world) => world.resubscribe()],
  [5, (world) => world.takeOver()],
  [3, (world) => world.hold()],
  [10, (world) => world.token()],
  [5, (world) => world.timer()],
  [60, (world) => world.open()],
  [120, (world) => world.receive()],
  [2, (world) => world.lose()],
  [2, (world) => world.twice()],
  [2, (world) => world.garble()],
  [8, (world) => world.cut()],
  [20, (world) => world.server.write()],
  [120, (world, which) => world.server.read(oneOf(world, which))],
  [90, (world, which) => world.server.run(oneOf(world, which))],
  [90, (world, which) => world.server.answer(oneOf(world, which))],
  [20, (world, which) => world.server.transit(oneOf(world, which))],
  [40, (world, which) => world.server.transit(oneOf(world, which), 1 + which)],
];

/** @param {World} world @param {number} which 0 is the newest connection */
function oneOf({ server }, which) {
  const all = [...server.connections].reverse();
  return /** @type {Connection} */ (all[which % all.length]);
}

const step = fc.tuple(
  fc.oneof(
    ...STEPS.map(([weight, run], index) => ({ weight, arbitrary: fc.constant({ index, run }) })),
  ),
  fc.oneof({ weight: 9, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(3) }),
);

test("whatever the network does: no mutation is lost or run twice, order stands, time only rises, and what is shown never flickers", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200, size: "max" }), (steps) => {
      const world = new World();
      for (const [{ run }, which] of steps) {
        run(world, which);
        world.check();
      }
      world.settle();

      const wanted = world.outbox.filter(({ fails }) => !fails).map(({ id }) => id);
      assert.deepStrictEqual(world.server.runs, wanted);
      assert.deepStrictEqual(
        world.outbox.map(({ state }) => state),
        world.outbox.map(({ fails }) => (fails ? "failed" : "done")),
      );
    }),
    { numRuns: 600 },
  );
});
