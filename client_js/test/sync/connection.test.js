import assert from "node:assert/strict";
import { test } from "node:test";
import { SILENCE_MS } from "../../src/sync/connection.js";
import { Bench, only, transition } from "../support/wire.js";

const PING = '{"type":"Ping"}';

/** @param {Bench} bench */
const timer = (bench) => only(bench.effects, "timer").at(-1)?.at;

/** @param {Bench} bench */
const phase = (bench) => only(bench.effects, "phase").at(-1);

test("any word of the server keeps a connection alive for another minute", () => {
  const bench = new Bench().connect();
  bench.now += SILENCE_MS - 1;
  bench.hear(PING);

  bench.now += 1;
  bench.do(bench.session.tick());
  assert.deepStrictEqual([bench.session.state, timer(bench)], ["live", bench.now - 1 + SILENCE_MS]);
  bench.now += SILENCE_MS - 1;
  bench.do(bench.session.tick());

  assert.equal(bench.session.state, "waiting");
  assert.equal(phase(bench)?.reason, "InactiveServer");
});

test("a connection that cannot be opened is given up after a minute", () => {
  const bench = new Bench();
  bench.do(bench.session.start());
  assert.equal(timer(bench), bench.now + SILENCE_MS);

  bench.now += SILENCE_MS;
  bench.do(bench.session.tick());

  assert.deepStrictEqual([bench.session.state, timer(bench)], ["waiting", bench.now + 100]);
});

test("a clock that is set back neither ends a connection nor keeps a dead one", () => {
  const bench = new Bench().connect();

  bench.now -= 3_600_000;
  bench.do(bench.session.tick());
  assert.deepStrictEqual([bench.session.state, timer(bench)], ["live", bench.now + SILENCE_MS]);
  bench.now += SILENCE_MS;
  bench.do(bench.session.tick());

  assert.equal(bench.session.state, "waiting");
});

test("a clock that is set back does not delay the next try: the timer fired", () => {
  const bench = new Bench().connect();
  bench.cut();

  bench.now -= 3_600_000;
  bench.do(bench.session.tick());

  assert.equal(bench.session.state, "opening");
});

test("the phase says why it is not connected, and when it tries again", () => {
  const bench = new Bench();
  bench.do(bench.session.start());
  assert.deepStrictEqual(phase(bench), {
    type: "phase",
    connected: false,
    reason: null,
    retryAt: null,
    connectionCount: 0,
    retries: 0,
  });

  bench.do(bench.session.opened());
  assert.equal(phase(bench)?.connected, true);
  bench.cut("TooManyConcurrentRequests");
  assert.deepStrictEqual(phase(bench), {
    type: "phase",
    connected: false,
    reason: "TooManyConcurrentRequests",
    retryAt: bench.now + 3000,
    connectionCount: 0,
    retries: 1,
  });
  bench.do(bench.session.online());

  assert.deepStrictEqual([phase(bench)?.retryAt, phase(bench)?.retries], [null, 1]);
});

test("without a network the connection is left at once, and tried again all the same", () => {
  const bench = new Bench().connect();

  bench.do(bench.session.offline());

  assert.deepStrictEqual([phase(bench)?.reason, timer(bench)], ["Offline", bench.now + 100]);
  bench.do(bench.session.online());
  assert.equal(bench.session.state, "opening");
});

test("the same input twice asks for one socket only", () => {
  const bench = new Bench();

  bench.do(bench.session.start());
  bench.do(bench.session.start());
  bench.do(bench.session.online());

  assert.equal(only(bench.effects, "open").length, 1);
});

test("stopped, it keeps no timer and no socket", () => {
  const bench = new Bench().connect();
  bench.hear(transition([0, 0, 0], [1, 0, 5]));

  const effects = bench.session.stop();

  assert.deepStrictEqual(effects.slice(0, 2), [{ type: "close" }, { type: "timer", at: null }]);
  assert.deepStrictEqual(bench.session.tick(), []);
});
