import assert from "node:assert/strict";
import { test } from "node:test";
import { Transport } from "../src/transport.js";
import { Sim } from "./support/sim.js";

/** @import {Socket} from "../src/types.js" */
/** @import {Effect, Session} from "../src/sync/session.js" */

/** @param {Partial<Record<keyof Session, (...data: any[]) => Effect[]>>} [session] */
function open(session) {
  const sim = new Sim();
  /** @type {Socket[]} */
  const sockets = [];
  /** @type {string[]} */
  const log = [];
  const page = sim.tab((url) => {
    log.push(`open ${url}`);
    /** @type {Socket} */
    const socket = {
      onopen: null,
      onmessage: null,
      onclose: null,
      send: (text) => log.push(`send ${text}`),
      close: () => log.push("close"),
    };
    sockets.push(socket);
    return socket;
  });
  /** @param {string} name */
  const input =
    (name) =>
    /** @param {any[]} data */
    (...data) => {
      log.push(`${name} ${JSON.stringify(data)}`);
      return /** @type {Effect[]} */ ([]);
    };
  const inputs = { opened: input("opened"), received: input("received"), closed: input("closed") };
  const fake = /** @type {Session} */ (
    /** @type {unknown} */ ({ ...inputs, tick: input("tick"), ...session })
  );
  const transport = new Transport(page.env, "ws://x", fake, ({ type }) => log.push(type));
  return { sim, page, sockets, log, transport };
}

test("what a socket tells reaches the session, until the session has it closed", () => {
  const { sim, sockets, log, transport } = open();
  transport.run([{ type: "open" }]);
  const socket = /** @type {Socket} */ (sockets[0]);
  const message = socket.onmessage;

  socket.onopen?.();
  message?.({ data: "hello" });
  transport.run([{ type: "send", text: "hi" }, { type: "close" }]);

  const { now } = sim;
  assert.deepEqual(log, [
    "open ws://x",
    `opened [${now}]`,
    `received ["hello",${now}]`,
    "send hi",
    "close",
  ]);
  assert.equal(socket.onmessage, null);
  assert.equal(socket.onclose, null);
});

test("a socket that is lost, or cannot be made, is told once", () => {
  const { sim, page, sockets, log, transport } = open();
  transport.run([{ type: "open" }]);
  sockets[0]?.onclose?.({ code: 1006, reason: "" });
  transport.run([{ type: "send", text: "nobody hears" }]);
  page.env.openSocket = () => {
    throw new Error("not allowed");
  };
  transport.run([{ type: "open" }]);

  assert.deepEqual(log, [
    "open ws://x",
    `closed [{"code":1006,"reason":""},${sim.now}]`,
    `closed [{"code":1006,"reason":"Error: not allowed"},${sim.now}]`,
  ]);
});

test("one timer runs, the last that was set; a late one when a message wakes the tab", async () => {
  const { sim, page, log, transport } = open();
  transport.run([
    { type: "timer", at: sim.now + 10 },
    { type: "timer", at: sim.now + 100 },
  ]);
  await sim.run(50);
  assert.deepEqual(log, []);

  page.freeze();
  await sim.run(1000);
  transport.tick();
  transport.tick();
  assert.deepEqual(log, [`tick [${sim.now}]`]);
});

test("what is asked for while something is told is done after it", () => {
  const { log, transport } = open();
  const { run } = transport;
  const reentrant = new Transport(
    open().page.env,
    "ws://x",
    /** @type {Session} */ (/** @type {unknown} */ ({})),
    ({ type }) => {
      log.push(type);
      if (type === "acted") reentrant.run([{ type: "broken", message: "" }]);
    },
  );

  run.call(reentrant, [
    { type: "acted", requestId: 1, result: { status: "success", value: 1 } },
    { type: "failed", requestId: 2, failure: { message: "" } },
  ]);

  assert.deepEqual(log, ["acted", "failed", "broken"]);
});
