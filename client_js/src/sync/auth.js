/**
 * Keeps a usable token at hand, whatever the application's `fetchToken` does. Sans-IO, like the
 * session: every input returns the effects to carry out.
 *
 *                 setFetcher              a token             confirmed
 *       none ───────────────> fetching ───────────> confirming ────────> trusted
 *        ^                     ^    │ throws, hangs,     │                 │ │
 *        │ clear               │    │ null, no token,    │ rejected        │ │ confirmed on a new
 *        │ (from all)          │    v the same again     v                 │ v connection
 *                              └─ waiting            fetching <────────────┘
 *                     tick, online                   (forced)  tick: it will expire soon; rejected
 *
 * Rules
 * 1. No state is final but `none`: what fails is tried again, after 1 s at first, 60 s at most, and
 *    at once when the network or the person comes back.
 * 2. A token that the server refused is not offered twice. Nobody is signed out by a failure: the
 *    session stays silent, and says why.
 * 3. Only null, and null again when asked by force, means signed out; then we connect as nobody.
 * 4. A token is used as long as it is good: it is fetched anew only shortly before it expires, by
 *    the server's clock where that is known.
 * 5. `tick` comes when the timer fires, and then only: what it was set for is due.
 *
 * @module
 */

/** @import {Account} from "../types.js" */

import { backoff } from "./backoff.js";

/** Time that `fetchToken` has. A later answer is taken too, if there is none yet. */
export const FETCH_DEADLINE_MS = 10_000;

const WAIT = { baseMs: 1000, maxMs: 60_000 };
const LEEWAY_MS = 10_000; // before expiry, for fetching and telling
const SHORTEST_MS = 1000;
const LONGEST_MS = 20 * 86_400_000; // timers of browsers overflow at 24.8 days

/**
 * `anonymous`     no `fetchToken`
 * `loading`       no token yet, and no failure
 * `authenticated` the server took the token
 * `needs-auth`    no usable token: `reason` says why
 * `signed-out`    `fetchToken` says that nobody is signed in
 *
 * @typedef {"anonymous" | "loading" | "authenticated" | "needs-auth" | "signed-out"} AuthStatus
 */

/**
 * What the outside must do.
 *
 * `fetch` call `fetchToken({forceRefreshToken: force})`, and hand in what comes as `fetched`
 * `hold`  have the session say nothing before the next `token`
 * `token` give it to the session of this account; null: connect as nobody
 * `state` tell people
 * `timer` call `tick` at this time instead of at any former one; null: never
 *
 * @typedef {{type: "fetch", id: number, force: boolean} | {type: "hold"}
 *   | {type: "token", token: string | null, account: Account}
 *   | {type: "state", status: AuthStatus, reason: string | null, retryAt: number | null}
 *   | {type: "timer", at: number | null}} AuthEffect
 */

/** @typedef {{account: Account, issuedAt: number | null, expiresAt: number | null}} Claims times in ms */

/** Asks for tokens and judges what comes. */
export class TokenKeeper {
  #random;
  /** @type {"none" | "fetching" | "confirming" | "trusted" | "waiting"} */
  #state = "none";
  /** @type {AuthStatus} */
  #status = "anonymous";
  /** @type {AuthEffect[]} */
  #effects = [];
  #nextId = 0;
  #oldestId = 0; // of the current fetcher
  #isForced = false; // the newest fetch
  #nulls = 0; // in a row
  #tries = 0; // that failed since the server last took a token
  /** @type {string | null} what the session was given */
  #token = null;
  /** @type {string | null} what the server refused */
  #refused = null;
  /** @type {Claims} of the token */
  #claims = { account: "anonymous", issuedAt: null, expiresAt: null };
  #givenAt = 0;

  /** @param {{random: () => number}} options in [0, 1) */
  constructor({ random }) {
    this.#random = random;
  }

  /**
   * There is a `fetchToken`, instead of any former one.
   *
   * @param {number} now
   */
  setFetcher(now) {
    this.#forget();
    this.#tell("loading");
    this.#effects.push({ type: "hold" });
    this.#ask(false, now);
    return this.#done();
  }

  /** There is no `fetchToken` any more: connect as nobody. */
  clear() {
    this.#forget();
    this.#state = "none";
    this.#giveNobody();
    this.#tell("anonymous");
    this.#timer(null);
    return this.#done();
  }

  /**
   * `fetchToken` gave something, or threw.
   *
   * @param {{id: number, token?: unknown, error?: unknown}} answer `token` null: nobody is signed in
   * @param {number} now
   */
  fetched({ id, token, error }, now) {
    // What was given up on may come late: a token is welcome then, all else is known already.
    const isAwaited = this.#state === "fetching" || (this.#state === "waiting" && token);
    if (id >= this.#oldestId && isAwaited) {
      if (error !== undefined) this.#fail(`fetchToken failed: ${textOf(error)}`, now);
      else if (token === null || token === undefined) this.#takeNull(now);
      else this.#take(token, now);
    }
    return this.#done();
  }

  /**
   * The server took the token.
   *
   * @param {{clockSkewMs: number | null}} confirmation by how much our clock is ahead of the server's
   * @param {number} now
   */
  confirmed({ clockSkewMs }, now) {
    if (this.#state === "confirming" || this.#state === "trusted") {
      this.#state = "trusted";
      this.#tries = 0;
      this.#tell("authenticated");
      this.#timer(this.#refreshAt(clockSkewMs, now));
    }
    return this.#done();
  }

  /**
   * The server refused the token, or it has expired.
   *
   * @param {{error: string}} rejection
   * @param {number} now
   */
  rejected({ error }, now) {
    this.#refused = this.#token;
    this.#token = null;
    if (this.#state === "none") this.#giveNobody();
    else if (this.#state === "confirming" || this.#state === "trusted") {
      // To expire is usual. To be refused again and again is not.
      if (this.#tries > 0) this.#fail(`The server refused the token: ${error}`, now);
      else {
        this.#tries = 1;
        this.#ask(true, now);
      }
    }
    return this.#done();
  }

  /**
   * The timer fired.
   *
   * @param {number} now
   */
  tick(now) {
    if (this.#state === "fetching") {
      this.#fail(`fetchToken did not answer within ${FETCH_DEADLINE_MS / 1000} s`, now);
    } else if (this.#state === "trusted") this.#ask(true, now);
    else if (this.#state === "waiting") this.#retry(now);
    return this.#done();
  }

  /**
   * The network is back, or the person.
   *
   * @param {number} now
   */
  online(now) {
    if (this.#state === "waiting") this.#retry(now);
    return this.#done();
  }

  #done() {
    return this.#effects.splice(0);
  }

  #forget() {
    this.#oldestId = this.#nextId;
    this.#token = null;
    this.#refused = null;
    this.#nulls = 0;
    this.#tries = 0;
  }

  /**
   * @param {boolean} force
   * @param {number} now
   */
  #ask(force, now) {
    this.#state = "fetching";
    this.#isForced = force;
    this.#effects.push({ type: "fetch", id: this.#nextId++, force });
    this.#timer(now + FETCH_DEADLINE_MS);
  }

  /** @param {number} now */
  #retry(now) {
    this.#ask(this.#token !== null || this.#refused !== null, now);
  }

  /**
   * @param {string} reason
   * @param {number} now
   * @param {AuthStatus} [status]
   */
  #fail(reason, now, status = "needs-auth") {
    this.#state = "waiting";
    const retryAt = now + backoff(WAIT, this.#tries++, this.#random());
    this.#tell(status, reason, retryAt);
    this.#timer(retryAt);
  }

  /** @param {number} now */
  #takeNull(now) {
    if (this.#nulls++ === 0) {
      this.#ask(true, now);
      return;
    }
    this.#token = null;
    this.#refused = null;
    if (this.#status !== "signed-out") this.#giveNobody();
    this.#fail("Nobody is signed in", now, "signed-out");
  }

  /**
   * @param {unknown} token
   * @param {number} now
   */
  #take(token, now) {
    this.#nulls = 0;
    const claims = claimsOf(token);
    if (claims === null) this.#fail("fetchToken gave no JSON Web Token", now);
    else if (token === this.#refused) {
      this.#fail("fetchToken gave the token again that the server refused", now);
    } else if (token === this.#token) this.#fail("fetchToken gave the same token again", now);
    else this.#give(/** @type {string} */ (token), claims, now);
  }

  /**
   * @param {string} token
   * @param {Claims} claims
   * @param {number} now
   */
  #give(token, claims, now) {
    this.#state = "confirming";
    this.#token = token;
    this.#claims = claims;
    this.#givenAt = now;
    if (this.#status !== "authenticated") this.#tell("loading");
    this.#timer(null);
    this.#effects.push({ type: "token", token, account: claims.account });
  }

  #giveNobody() {
    this.#effects.push({ type: "token", token: null, account: "anonymous" });
  }

  /**
   * Returns when to fetch the next token; null: never.
   *
   * @param {number | null} clockSkewMs
   * @param {number} now
   */
  #refreshAt(clockSkewMs, now) {
    const { issuedAt, expiresAt } = this.#claims;
    if (expiresAt === null) return null;
    let at = expiresAt + (clockSkewMs ?? 0);
    // A token that was just made has its whole life before it, whatever our clock says.
    if (clockSkewMs === null && this.#isForced && issuedAt !== null) {
      at = this.#givenAt + expiresAt - issuedAt;
    }
    const leftMs = Math.max(at - now - LEEWAY_MS, (at - now) / 2, SHORTEST_MS);
    return now + Math.min(leftMs, LONGEST_MS);
  }

  /**
   * @param {AuthStatus} status
   * @param {string | null} [reason]
   * @param {number | null} [retryAt]
   */
  #tell(status, reason = null, retryAt = null) {
    this.#status = status;
    this.#effects.push({ type: "state", status, reason, retryAt });
  }

  /** @param {number | null} at */
  #timer(at) {
    this.#effects.push({ type: "timer", at });
  }
}

/** @param {unknown} error */
const textOf = (error) => (error instanceof Error ? error.message : String(error));

/**
 * Returns what a token says of itself; null if it is no JSON Web Token with a subject. Nothing is
 * verified here: that is the server's.
 *
 * @param {unknown} token
 * @returns {Claims | null}
 */
export function claimsOf(token) {
  try {
    const payload = /** @type {string} */ (token).split(".")[1] ?? "";
    const raw = atob(payload.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(raw, (letter) => letter.charCodeAt(0));
    const { iss, sub, iat, exp } = JSON.parse(new TextDecoder().decode(bytes));
    if (typeof sub !== "string") return null;
    // Tokens of development, and of servers with one issuer only, name none.
    return { account: `${iss ?? ""}|${sub}`, issuedAt: msOf(iat), expiresAt: msOf(exp) };
  } catch {
    return null;
  }
}

/** @param {unknown} seconds */
const msOf = (seconds) => (typeof seconds === "number" ? seconds * 1000 : null);
