/**
 * Stands in for Supabase's browser client, which needs Supabase to answer.
 *
 * @module
 */

/** @import { SupabaseSession } from "../../src/supabase-token.js" */

/** @typedef {(event: string, session: SupabaseSession | null) => void} Listener */

/** One browser's sign-in. */
export class FakeSupabase {
  /** @type {Set<Listener>} */
  listeners = new Set();
  /** @type {(Error & {status?: number}) | null} what every call answers with */
  error = null;
  user = "alice";
  #tokens;

  /** @param {string[]} tokens the first one is that of the session; none: nobody is signed in */
  constructor(...tokens) {
    this.#tokens = tokens;
  }

  auth = {
    getSession: async () => this.#answer(),
    refreshSession: async () => {
      if (this.#tokens.length > 1) this.#tokens.shift();
      return this.#answer();
    },
    /** @param {Listener} listener */
    onAuthStateChange: (listener) => {
      this.listeners.add(listener);
      // As the real one: its first event says "nobody" also when it could not ask.
      queueMicrotask(() => this.#tell(listener, "INITIAL_SESSION"));
      const unsubscribe = () => void this.listeners.delete(listener);
      return { data: { subscription: { unsubscribe } } };
    },
  };

  /** @param {string} user @param {string[]} tokens */
  signIn(user, ...tokens) {
    this.user = user;
    this.#tokens = tokens;
    for (const listener of this.listeners) this.#tell(listener, "SIGNED_IN");
  }

  signOut() {
    this.#tokens = [];
    for (const listener of this.listeners) this.#tell(listener, "SIGNED_OUT");
  }

  /** @returns {SupabaseSession | null} */
  #session() {
    const [token] = this.#tokens;
    return token === undefined || this.error
      ? null
      : { access_token: token, user: { id: this.user } };
  }

  #answer() {
    return { data: { session: this.#session() }, error: this.error };
  }

  /** @param {Listener} listener @param {string} event */
  #tell(listener, event) {
    if (this.listeners.has(listener)) listener(event, this.#session());
  }
}
