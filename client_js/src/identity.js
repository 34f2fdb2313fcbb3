/**
 * Who is here: calls the application's `fetchToken` as the token keeper wants it, and says whose
 * data to show. While nobody has answered, that is who was here last.
 *
 * @module
 */

/** @import {Account, Env} from "./types.js" */
/** @import {Store} from "./storage/store.js" */
/** @import {AuthEffect, AuthStatus} from "./sync/auth.js" */

import { forgetAccount, lastAccount, rememberAccount } from "./accounts.js";
import { TokenKeeper } from "./sync/auth.js";

// A person looks at an empty page for no longer than this.
const PATIENCE_MS = 1000;

/** @typedef {(options: {forceRefreshToken: boolean}) => Promise<string | null | undefined>} FetchToken */

/**
 * @typedef {object} IdentityEvents
 * @property {(account: Account, token: string | null | undefined) => void} onAccount undefined: not known yet; all that is kept may be shown
 * @property {() => void} onHold nothing may be sent before the next token
 * @property {() => void} onState
 */

export class Identity {
  #env;
  #events;
  #registry;
  #keeper;
  /** @type {FetchToken | null} */
  #fetchToken = null;
  #cancelTimer = () => {};
  #cancelPatience = () => {};
  /** @type {() => void} */
  #stopOnline;
  /** @type {() => void} */
  #stopPage;

  /**
   * @param {Env} env
   * @param {() => Promise<Store>} registry opens it
   * @param {IdentityEvents} events
   */
  constructor(env, registry, events) {
    this.#env = env;
    this.#events = events;
    this.#registry = registry;
    this.#keeper = new TokenKeeper({ random: env.random });
    /** @type {Account | null} whose token there is; null while that is not known */
    this.account = null;
    /** @type {AuthStatus} */
    this.status = "anonymous";
    /** @type {{reason: string, retryAt: number | null} | null} */
    this.needsAuth = null;
    const retry = () => this.#run(this.#keeper.online(env.now()));
    this.#stopOnline = env.onOnlineChange((isOnline) => isOnline && retry());
    this.#stopPage = env.onPageChange((event) => event !== "hide" && retry());
  }

  /** @param {FetchToken} fetchToken */
  setAuth(fetchToken) {
    this.#fetchToken = fetchToken;
    this.#cancelPatience();
    this.#cancelPatience = this.#env.after(() => this.#showLast(), PATIENCE_MS);
    this.#run(this.#keeper.setFetcher(this.#env.now()));
  }

  /** Nobody is signed in any more. @param {"anonymous" | "guest"} account who is here then */
  clearAuth(account) {
    this.#fetchToken = null;
    this.#cancelPatience();
    const effects = this.#keeper.clear();
    this.#run(effects.map((one) => (one.type === "token" ? { ...one, account } : one)));
  }

  /** @param {string} error why the server took the token no more */
  rejected(error) {
    this.#run(this.#keeper.rejected({ error }, this.#env.now()));
  }

  /** @param {number | null} clockSkewMs */
  confirmed(clockSkewMs) {
    this.#run(this.#keeper.confirmed({ clockSkewMs }, this.#env.now()));
  }

  /** @param {Account} account of which nothing is kept any more */
  async forget(account) {
    await forgetAccount(await this.#registry(), account);
  }

  close() {
    this.#fetchToken = null;
    this.#cancelTimer();
    this.#cancelPatience();
    this.#stopOnline();
    this.#stopPage();
  }

  /** @param {AuthEffect[]} effects */
  #run(effects) {
    for (const effect of effects) this.#do(effect);
  }

  /** @param {AuthEffect} effect */
  #do(effect) {
    switch (effect.type) {
      case "fetch":
        return void this.#fetch(effect.id, effect.force);
      case "hold":
        return this.#events.onHold();
      case "token":
        return this.#onToken(effect.account, effect.token);
      case "state":
        return this.#onState(effect);
      default:
        this.#cancelTimer();
        if (effect.at === null) return;
        this.#cancelTimer = this.#env.after(
          () => this.#run(this.#keeper.tick(this.#env.now())),
          effect.at - this.#env.now(),
        );
    }
  }

  /** @param {number} id @param {boolean} forceRefreshToken */
  async #fetch(id, forceRefreshToken) {
    const fetchToken = this.#fetchToken;
    if (!fetchToken) return;
    /** @type {{id: number, token?: unknown, error?: unknown}} */
    let answer;
    try {
      answer = { id, token: await fetchToken({ forceRefreshToken }) };
    } catch (error) {
      answer = { id, error: error ?? "unknown" };
    }
    if (this.#fetchToken === fetchToken) this.#run(this.#keeper.fetched(answer, this.#env.now()));
  }

  /** @param {Account} account @param {string | null} token */
  #onToken(account, token) {
    this.#cancelPatience();
    this.account = account;
    // Who signed out was not here last: the next person must not see what is left of them.
    this.#registry()
      .then((registry) => rememberAccount(registry, token === null ? null : account))
      .catch(() => {});
    this.#events.onAccount(account, token);
  }

  /** @param {Extract<AuthEffect, {type: "state"}>} effect */
  #onState({ status, reason, retryAt }) {
    this.status = status;
    this.needsAuth = status === "needs-auth" ? { reason: reason ?? "", retryAt } : null;
    if (this.needsAuth && this.account === null) this.#showLast();
    this.#events.onState();
  }

  /** Shows what is kept of who was here last, as long as nobody is known. */
  async #showLast() {
    const fetchToken = this.#fetchToken;
    try {
      const account = await lastAccount(await this.#registry());
      const isStillOpen = fetchToken && this.#fetchToken === fetchToken && this.account === null;
      if (account && isStillOpen) this.#events.onAccount(account, undefined);
    } catch {
      // Nothing is known of anybody then.
    }
  }
}
