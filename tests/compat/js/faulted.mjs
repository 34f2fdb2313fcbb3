// node faulted.mjs <seed> <count> <first number> <think ms> <convex package> <url>...
// Official clients inside the fault harness. Their sockets are ordinary ones; what passes through them
// is printed, one event a line, as tests/faults/client.py writes its history (and ts as text: JSON's
// numbers end below them). "settle" on the standard input ends the work and waits for every promise.
import { createInterface } from "node:readline";
import { WebSocket } from "ws";

const [seed, count, first, thinkMs, convex, ...rest] = process.argv.slice(2);
const half = rest.length / 2;
const [urls, tokens] = [rest.slice(0, half), rest.slice(half)];
const nodes = [...new Set(urls)];
const { ConvexClient } = await import(`${convex}/browser`);
const { makeFunctionReference } = await import("convex/server");

const now = () => Number(process.hrtime.bigint()) / 1e9;
const emit = (e, fields) => process.stdout.write(`${JSON.stringify({ e, t: now(), ...fields })}\n`);
const tsOf = (text) => Buffer.from(text, "base64").readBigUInt64LE().toString();
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function randomFrom(state) {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Returns a WebSocket class that prints what client number `c`, on node `n`, says and hears. */
function watched(c, n) {
  let session;
  let connection = 0;
  const invoked = new Set();
  const violation = (what) => emit("violation", { what: `official client ${c}: ${what}` });

  const sent = {
    Connect(message, k) {
      session = message.sessionId;
      emit("open", { c, k, n });
    },
    ModifyQuerySet(message, k) {
      const add = message.modifications.filter((each) => each.type === "Add");
      const rm = message.modifications.filter((each) => each.type === "Remove");
      emit("modify", {
        c,
        k,
        v: message.newVersion,
        add: add.map((each) => [each.queryId, each.udfPath, each.args[0]]),
        rm: rm.map((each) => each.queryId),
      });
    },
    Mutation({ requestId: r, udfPath: f, args }) {
      if (invoked.has(r)) return;
      invoked.add(r);
      emit("invoke", { c, s: session, r, f, a: args[0] });
    },
  };

  const heard = {
    Transition(message, k, chain) {
      const { startVersion: start, endVersion: end } = message;
      if (JSON.stringify(start) !== chain.at) violation(`${JSON.stringify(start)} after ${chain.at}`);
      chain.at = JSON.stringify(end);
      emit("transition", {
        c,
        k,
        n,
        w: (performance.timeOrigin + performance.now()) / 1000,
        s: tsOf(start.ts),
        d: tsOf(end.ts),
        v: end.querySet,
        i: end.identity,
        ch: message.modifications.map((each) => {
          if (each.type === "QueryFailed") violation(`${each.queryId} failed: ${each.errorMessage}`);
          if (each.type === "QueryRemoved") return [each.queryId, "r", null];
          return [each.queryId, each.type === "QueryUpdated" ? "v" : "x", each.value ?? null];
        }),
      });
    },
    MutationResponse({ requestId: r, success: ok, result: v, ts }) {
      emit("ack", { c, s: session, r, n, ok, v, ts: ts ? tsOf(ts) : null });
    },
    FatalError: (message) => violation(`FatalError ${message.error}`),
    AuthError: (message) => violation(`AuthError ${message.error}`),
  };

  return class extends WebSocket {
    #connection = ++connection;

    constructor(url, protocols) {
      super(url, protocols);
      // The client sets `onmessage` later: this listener, added first, hears everything before it.
      const chain = { at: '{"querySet":0,"identity":0,"ts":"AAAAAAAAAAA="}' };
      this.addEventListener("message", ({ data }) => {
        for (const owner of data.matchAll(/canary-u(\d+)-/g)) {
          if (Number(owner[1]) !== c) violation(`it was sent a secret of u${owner[1]}`);
        }
        const message = JSON.parse(data);
        heard[message.type]?.(message, this.#connection, chain);
      });
    }

    send(text) {
      const message = JSON.parse(text);
      sent[message.type]?.(message, this.#connection);
      super.send(text);
    }
  };
}

class User {
  #client;
  #random;
  #number;
  #count = 0;
  #held = [];
  #waiting = new Set();
  isWorking = true;

  constructor(number, url, token, node) {
    this.#number = number;
    this.#random = randomFrom(Number(seed) * 1000 + number);
    this.#client = new ConvexClient(url, {
      webSocketConstructor: watched(number, node),
      unsavedChangesWarning: false,
      logger: false,
    });
    this.#client.setAuth(async () => token);
    for (const path of ["app:total", "app:ring", "app:mine"]) this.#watch(path, {});
  }

  #pick = (list) => list[Math.floor(this.#random() * list.length)];

  #watch(path, args) {
    return this.#client.onUpdate(makeFunctionReference(path), args, () => {}, () => {});
  }

  #choose() {
    const value = this.#number * 1_000_000 + ++this.#count;
    const account = Math.floor(this.#random() * 10);
    return this.#pick([
      ["app:append", { topic: `topic${Math.floor(this.#random() * 6)}`, value }],
      ["app:append", { topic: `topic${Math.floor(this.#random() * 6)}`, value }],
      ["app:swap", { at: Math.floor(this.#random() * 12) }],
      ["app:transfer", { source: account, target: (account + 3) % 10, amount: 7 }],
      ["app:keep", { body: `canary-u${this.#number}-${value}` }],
      ["app:pin", { board: `board${Math.floor(this.#random() * 3)}`, title: `${value}` }],
    ]);
  }

  async work() {
    while (this.isWorking) {
      const burst = this.#random() < 0.05 ? 8 : 1;
      for (let each = 0; each < burst; each++) this.#mutate(...this.#choose());
      if (this.#random() < 0.1) this.#look();
      await Promise.all(this.#waiting);
      await pause(-Math.log(1 - this.#random()) * Number(thinkMs));
    }
  }

  #mutate(path, args) {
    const done = this.#client.mutation(makeFunctionReference(path), args).catch(() => {});
    this.#waiting.add(done);
    done.then(() => this.#waiting.delete(done));
  }

  #look() {
    if (this.#held.length > 3) this.#held.shift()();
    else this.#held.push(this.#watch("app:topic", { topic: `topic${Math.floor(this.#random() * 6)}` }));
  }

  /** Ends when every promise has, and the client has seen a query that it never asked before. */
  async settle() {
    await Promise.all(this.#waiting);
    await this.#client.query(makeFunctionReference("app:note"), { name: `barrier-${this.#random()}` });
    await this.#client.close();
  }
}

const users = Array.from({ length: Number(count) }, (_, index) => {
  const url = urls[index];
  return new User(Number(first) + index, url, tokens[index], nodes.indexOf(url));
});
const work = users.map((user) => user.work());
for await (const line of createInterface({ input: process.stdin })) {
  if (line !== "settle") continue;
  for (const user of users) user.isWorking = false;
  await Promise.all(work);
  await Promise.all(users.map((user) => user.settle()));
  emit("settled", {});
  break;
}
process.exit(0);
