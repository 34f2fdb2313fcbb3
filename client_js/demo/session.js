/**
 * Who uses this page, on this device, in all its tabs; and where their tokens come from.
 *
 * @module
 */

import { requestSession, revokeSession, SignInRefused } from "./gotrue.js";
import { Observable } from "./observable.js";

/** @import {Config, Session, SupabaseSession} from "./types.js" */
/** @import {Kept} from "./kept.js" */

export const SESSION_KEY = "parley-session";

// A token that ends within this is not worth sending.
const LEEWAY_MS = 30_000;

/**
 * @typedef {object} SessionEnv
 * @property {Kept} kept
 * @property {typeof fetch} fetch
 * @property {() => number} now
 * @property {<T>(run: () => Promise<T>) => Promise<T>} alone runs one at a time over all tabs
 */

/** Keeps the session, and fetches its tokens. */
export class SessionKeeper {
  #config;
  #env;
  /** @type {Observable<Session | null>} */
  current;

  /**
   * @param {Config} config
   * @param {SessionEnv} env
   */
  constructor(config, env) {
    this.#config = config;
    this.#env = env;
    this.current = new Observable(this.#stored());
  }

  /** Takes over what another tab wrote. */
  reload() {
    const stored = this.#stored();
    if (JSON.stringify(stored) !== JSON.stringify(this.current.get())) this.current.set(stored);
  }

  /** @param {string} name the subject of tokens of development mode */
  signInAs(name) {
    this.#keep({ kind: "development", name });
  }

  beGuest() {
    this.#keep({ kind: "guest", name: "Guest" });
  }

  /**
   * @param {string} email
   * @param {string} password
   * @throws {SignInRefused}
   * @throws {TypeError} Supabase cannot be reached.
   */
  async signIn(email, password) {
    const session = await requestSession(
      this.#config,
      "password",
      { email, password },
      this.#env.fetch,
    );
    this.#keep({ ...session, name: session.name || email });
  }

  end() {
    const session = this.current.get();
    this.#keep(null);
    if (session?.kind === "supabase") revokeSession(this.#config, session, this.#env.fetch);
  }

  /**
   * Returns a token, as `client.setAuth` asks for one; null when the session is over.
   *
   * @param {{forceRefreshToken: boolean}} options
   * @returns {Promise<string | null>}
   * @throws {TypeError} nobody could be asked.
   */
  fetchToken = async ({ forceRefreshToken }) => {
    const session = this.current.get();
    if (session?.kind === "development") return this.#developmentToken(session.name);
    if (session?.kind !== "supabase") return null;
    if (!forceRefreshToken && this.#isFresh(session)) return session.accessToken;
    return this.#env.alone(() => this.#refreshed(session.accessToken));
  };

  /** @param {string} name */
  async #developmentToken(name) {
    const response = await this.#env.fetch(`/dev/token?sub=${encodeURIComponent(name)}`);
    if (!response.ok) throw new TypeError(`The server gave no token (${response.status})`);
    return (await response.json()).token;
  }

  /**
   * A refresh token works once: another tab may just have used it, and kept what it got.
   *
   * @param {string} usedToken
   */
  async #refreshed(usedToken) {
    const session = this.#stored();
    if (session?.kind !== "supabase") return null;
    if (session.accessToken !== usedToken && this.#isFresh(session)) return session.accessToken;
    const body = { refresh_token: session.refreshToken };
    try {
      const next = await requestSession(this.#config, "refresh_token", body, this.#env.fetch);
      this.#keep({ ...next, name: next.name || session.name });
      return next.accessToken;
    } catch (error) {
      if (!(error instanceof SignInRefused)) throw error;
      // It is over, unless somebody has signed in meanwhile: nobody would be asked to sign in else.
      const now = this.#stored();
      if (now?.kind === "supabase" && now.refreshToken === session.refreshToken) this.#keep(null);
      return null;
    }
  }

  /** @param {SupabaseSession} session */
  #isFresh(session) {
    return session.expiresAt - LEEWAY_MS > this.#env.now();
  }

  /** @returns {Session | null} */
  #stored() {
    try {
      const session = JSON.parse(this.#env.kept.read(SESSION_KEY) ?? "null");
      return typeof session?.kind === "string" && typeof session.name === "string" ? session : null;
    } catch {
      return null;
    }
  }

  /** @param {Session | null} session */
  #keep(session) {
    this.#env.kept.write(SESSION_KEY, session && JSON.stringify(session));
    this.current.set(session);
  }
}
