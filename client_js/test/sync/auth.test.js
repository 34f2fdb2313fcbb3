import assert from "node:assert/strict";
import { test } from "node:test";
import { claimsOf, FETCH_DEADLINE_MS, TokenKeeper } from "../../src/sync/auth.js";

/** @import {AuthEffect} from "../../src/sync/auth.js" */

/** @param {Record<string, unknown>} claims */
const jwt = (claims) =>
  `e30.${Buffer.from(JSON.stringify({ iss: "https://me", sub: "jörg", ...claims })).toString("base64url")}.x`;

const NOW = 1_000_000_000;
const HOUR = 3_600_000;
const FIRST = jwt({ iat: NOW / 1000, exp: (NOW + HOUR) / 1000 });
const SECOND = jwt({ iat: NOW / 1000, exp: (NOW + 2 * HOUR) / 1000 });

class Bench {
  keeper = new TokenKeeper({ random: () => 0.5 });
  now = NOW;
  /** @type {AuthEffect[]} */
  effects = [];

  /** @param {AuthEffect[]} effects */
  do(effects) {
    this.effects.push(...effects);
    return this;
  }

  begin() {
    return this.do(this.keeper.setFetcher(this.now));
  }

  /** @param {unknown} token */
  give(token) {
    return this.do(this.keeper.fetched({ id: this.#newest().id, token }, this.now));
  }

  /** @param {unknown} error */
  fail(error) {
    return this.do(this.keeper.fetched({ id: this.#newest().id, error }, this.now));
  }

  /** @param {number | null} [clockSkewMs] */
  confirm(clockSkewMs = 0) {
    return this.do(this.keeper.confirmed({ clockSkewMs }, this.now));
  }

  reject() {
    return this.do(this.keeper.rejected({ error: "bad" }, this.now));
  }

  /** Lets the timer fire when it was set for. */
  timer() {
    this.now = this.at("timer")?.at ?? assert.fail("no timer");
    return this.do(this.keeper.tick(this.now));
  }

  online() {
    return this.do(this.keeper.online(this.now));
  }

  /**
   * Returns the newest effect of a type.
   *
   * @template {AuthEffect["type"]} Type
   * @param {Type} type
   * @returns {Extract<AuthEffect, {type: Type}> | undefined}
   */
  at(type) {
    return /** @type {Extract<AuthEffect, {type: Type}> | undefined} */ (
      this.effects.findLast((effect) => effect.type === type)
    );
  }

  #newest() {
    return this.at("fetch") ?? assert.fail("nothing was fetched");
  }

  /** Returns what was asked for since the last call, in short. */
  said() {
    const fresh = this.effects.slice(this.#told);
    this.#told = this.effects.length;
    return fresh.map(inShort).filter(Boolean).join(" ");
  }

  #told = 0;
}

/** @param {AuthEffect} effect */
function inShort(effect) {
  if (effect.type === "fetch") return effect.force ? "force" : "fetch";
  if (effect.type === "state") return effect.status;
  if (effect.type === "token") return effect.token === null ? "nobody" : "token";
  return effect.type === "timer" ? "" : effect.type;
}

/** A bench whose first token is confirmed. */
function trusted() {
  const bench = new Bench().begin().give(FIRST).confirm();
  bench.said();
  return bench;
}

/** @type {Record<string, () => Bench>} */
const REACH = {
  none: () => new Bench(),
  fetching: () => new Bench().begin(),
  confirming: () => new Bench().begin().give(FIRST),
  trusted,
  waiting: () => new Bench().begin().fail("no"),
};

/** @type {Record<string, (bench: Bench) => Bench>} */
const INPUTS = {
  setFetcher: (bench) => bench.begin(),
  clear: (bench) => bench.do(bench.keeper.clear()),
  token: (bench) => bench.do(bench.keeper.fetched({ id: 0, token: SECOND }, bench.now)),
  null: (bench) => bench.do(bench.keeper.fetched({ id: 0, token: null }, bench.now)),
  throws: (bench) => bench.do(bench.keeper.fetched({ id: 0, error: "no" }, bench.now)),
  confirmed: (bench) => bench.confirm(),
  rejected: (bench) => bench.reject(),
  tick: (bench) => bench.do(bench.keeper.tick(bench.now)),
  online: (bench) => bench.online(),
};

const ANY = { setFetcher: "loading hold fetch", clear: "nobody anonymous" };

// What is asked for after each input in each state. What is not here asks for nothing.
/** @type {Record<string, Record<string, string>>} */
const WANTED = {
  none: { ...ANY, rejected: "nobody" },
  fetching: {
    ...ANY,
    token: "loading token",
    null: "force",
    throws: "needs-auth",
    tick: "needs-auth",
  },
  confirming: { ...ANY, confirmed: "authenticated", rejected: "force" },
  trusted: { ...ANY, confirmed: "authenticated", rejected: "force", tick: "force" },
  waiting: { ...ANY, token: "loading token", tick: "fetch", online: "fetch" },
};

for (const [state, reach] of Object.entries(REACH)) {
  for (const [name, input] of Object.entries(INPUTS)) {
    const wanted = WANTED[state]?.[name] ?? "";
    test(`${name} in ${state} asks for ${wanted || "nothing"}`, () => {
      const bench = reach();
      bench.said();

      assert.equal(input(bench).said(), wanted);
    });
  }
}

test("a token is fetched, given to the session of its account, and trusted when it is confirmed", () => {
  const bench = new Bench().begin();
  assert.equal(bench.said(), "loading hold fetch");

  bench.give(FIRST);

  assert.deepStrictEqual(bench.at("token"), {
    type: "token",
    token: FIRST,
    account: "https://me|jörg",
  });
  bench.confirm();
  assert.equal(bench.at("state")?.status, "authenticated");
});

/** @type {[string, (bench: Bench) => Bench, RegExp][]} */
const FAILURES = [
  ["throws", (bench) => bench.fail(new Error("no network")), /no network/],
  ["throws no Error", (bench) => bench.fail("no network"), /no network/],
  ["hangs", (bench) => bench.timer(), /10 s/],
  ["gives no text", (bench) => bench.give({ token: FIRST }), /no JSON Web Token/],
  ["gives a text that is no token", (bench) => bench.give("secret"), /no JSON Web Token/],
];

for (const [name, input, reason] of FAILURES) {
  test(`a fetchToken that ${name} is told, and asked again after longer and longer waits`, () => {
    const bench = new Bench().begin();
    const waits = [];
    for (let round = 0; round < 8; round++) {
      input(bench);
      assert.equal(bench.at("state")?.status, "needs-auth");
      assert.match(bench.at("state")?.reason ?? "", reason);
      assert.equal(bench.at("state")?.retryAt, bench.at("timer")?.at);
      waits.push((bench.at("timer")?.at ?? 0) - bench.now);
      bench.timer();
    }
    assert.deepStrictEqual(waits, [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
    bench.said();

    assert.equal(bench.give(FIRST).said(), "loading token");
    assert.equal(bench.confirm().said(), "authenticated");
  });
}

test("an answer that comes too late is taken if there is none yet", () => {
  const bench = new Bench().begin().timer();
  bench.said();

  assert.equal(bench.give(FIRST).said(), "loading token");
});

test("an answer of a former fetchToken is passed over", () => {
  const bench = new Bench().begin().begin();
  bench.said();

  bench.do(bench.keeper.fetched({ id: 0, token: FIRST }, bench.now));
  assert.equal(bench.said(), "");
  bench.do(bench.keeper.clear());
  bench.do(bench.keeper.fetched({ id: 1, token: FIRST }, bench.now));

  assert.equal(bench.said(), "nobody anonymous");
});

test("null, and null again by force, is signed out; it is asked again later", () => {
  const bench = new Bench().begin();
  bench.said();

  assert.equal(bench.give(null).said(), "force");
  assert.equal(bench.give(undefined).said(), "nobody signed-out");
  assert.equal(bench.timer().said(), "fetch");
  assert.equal(bench.give(null).said(), "signed-out");
  bench.timer();
  bench.said();
  assert.equal(bench.give(FIRST).said(), "loading token");
});

test("null once is not signed out", () => {
  const bench = new Bench().begin().give(null);
  bench.said();

  assert.equal(bench.give(FIRST).said(), "loading token");
});

test("a token that was refused is asked for again by force, and not taken a second time", () => {
  const bench = trusted();

  assert.equal(bench.reject().said(), "force");
  assert.equal(bench.give(FIRST).said(), "needs-auth");
  assert.match(bench.at("state")?.reason ?? "", /server refused/);
  assert.equal(bench.timer().said(), "force");
  assert.equal(bench.give(SECOND).said(), "loading token");
  assert.equal(bench.confirm().said(), "authenticated");
});

test("token after token refused is told, with longer and longer waits", () => {
  const bench = new Bench().begin();
  const waits = [];
  for (let round = 0; round < 4; round++) {
    bench.give(jwt({ round }));
    bench.said();
    bench.reject();
    if (round === 0) assert.equal(bench.said(), "force");
    else {
      assert.equal(bench.said(), "needs-auth");
      waits.push((bench.at("timer")?.at ?? 0) - bench.now);
      bench.timer();
    }
  }

  assert.deepStrictEqual(waits, [2000, 4000, 8000]);
  assert.match(bench.at("state")?.reason ?? "", /bad/);
});

test("the same token again is told, while the old one goes on", () => {
  const bench = trusted();

  assert.equal(bench.timer().said(), "force");
  assert.equal(bench.give(FIRST).said(), "needs-auth");
  assert.match(bench.at("state")?.reason ?? "", /same token/);
  assert.equal(bench.confirm().said(), "");
  assert.equal(bench.timer().said(), "force");
  assert.equal(bench.give(SECOND).said(), "loading token");
});

test("a token that is fetched anew in time changes nothing that is told", () => {
  const bench = trusted();

  assert.equal(bench.timer().said(), "force");
  assert.equal(bench.give(SECOND).said(), "token");
  assert.equal(bench.confirm().said(), "authenticated");
});

test("a rejection while a token is being fetched waits for that one", () => {
  const bench = trusted().timer();
  bench.said();

  assert.equal(bench.reject().said(), "");
  assert.equal(bench.give(SECOND).said(), "token");
});

test("another account's token is given as such", () => {
  const bench = trusted().timer();

  bench.give(jwt({ iss: "https://other", sub: "b" }));

  assert.equal(bench.at("token")?.account, "https://other|b");
});

/** @type {[string, string, number | null, number | null][]} */
const REFRESHES = [
  ["an hour, by the server's clock", FIRST, 0, HOUR - 10_000],
  [
    "an hour, though our clock is an hour behind",
    jwt({ exp: (NOW + 2 * HOUR) / 1000 }),
    -HOUR,
    HOUR - 10_000,
  ],
  ["an hour, by our clock where the server's is not known", FIRST, null, HOUR - 10_000],
  ["10 s: half of that", jwt({ exp: NOW / 1000 + 10 }), 0, 5000],
  ["nothing any more: not in a tight loop", jwt({ exp: NOW / 1000 - 10 }), 0, 1000],
  ["a year: before timers overflow", jwt({ exp: NOW / 1000 + 31_536_000 }), 0, 20 * 24 * HOUR],
  ["no end", jwt({}), 0, null],
];

for (const [name, token, skew, wanted] of REFRESHES) {
  test(`a token that is good for ${name} is fetched anew in time`, () => {
    const bench = new Bench().begin().give(token).confirm(skew);

    const at = bench.at("timer")?.at ?? null;
    assert.equal(at === null ? null : at - bench.now, wanted);
  });
}

test("a token that was just made lives its whole life, whatever our clock says", () => {
  const bench = new Bench().begin().fail("no").timer().give(null);
  const made = jwt({ iat: (NOW - 5 * HOUR) / 1000, exp: (NOW - 4 * HOUR) / 1000 });

  bench.give(made).confirm(null);

  assert.equal((bench.at("timer")?.at ?? 0) - bench.now, HOUR - 10_000);
});

test("what is no token says nothing of itself", () => {
  for (const wrong of [null, 5, "", "a.b.c", `a.${btoa("[]")}.c`, `a.${btoa("{}")}.c`]) {
    assert.equal(claimsOf(wrong), null);
  }
  assert.deepStrictEqual(claimsOf(jwt({ iat: 1, exp: 2 })), {
    account: "https://me|jörg",
    issuedAt: 1000,
    expiresAt: 2000,
  });
});

test("a token without an issuer names an account all the same", () => {
  assert.equal(claimsOf(jwt({ iss: undefined }))?.account, "|jörg");
});

test("the deadline is what it says", () => {
  const bench = new Bench().begin();

  assert.equal(bench.at("timer")?.at, NOW + FETCH_DEADLINE_MS);
});
