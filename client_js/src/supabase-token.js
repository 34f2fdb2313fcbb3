/**
 * Supabase's sign-in for `client.setAuth`, without any framework.
 *
 * @module
 */

/**
 * What we use of Supabase's browser client.
 *
 * @typedef {object} SupabaseClient
 * @property {SupabaseAuth} auth
 */

/**
 * @typedef {{access_token: string, user?: {id: string}}} SupabaseSession
 * @typedef {{data: {session: SupabaseSession | null}, error?: {status?: number} | null}} SupabaseAnswer
 */

/**
 * @typedef {object} SupabaseAuth
 * @property {() => Promise<SupabaseAnswer>} getSession
 * @property {() => Promise<SupabaseAnswer>} refreshSession
 * @property {(listener: (event: string, session: SupabaseSession | null) => void) => {data: {subscription: {unsubscribe: () => void}}}} onAuthStateChange
 */

/**
 * Returns what `client.setAuth` takes: it gives the access token, null when nobody is signed in.
 *
 * @param {SupabaseClient} supabase
 * @returns {(args: {forceRefreshToken: boolean}) => Promise<string | null>} throws when Supabase
 *   cannot be asked; that is no sign-out
 */
export function supabaseToken({ auth }) {
  return async ({ forceRefreshToken }) => {
    const answer = await (forceRefreshToken ? auth.refreshSession() : auth.getSession());
    return sessionOf(answer)?.access_token ?? null;
  };
}

/**
 * Returns the session of an answer; null when nobody is signed in.
 *
 * @param {SupabaseAnswer} answer
 * @returns {SupabaseSession | null}
 * @throws what Supabase's client says when it could not ask: no network, or a server in trouble.
 */
export function sessionOf({ data, error }) {
  const status = error?.status ?? 0;
  const isRefused = status >= 400 && status < 500 && status !== 429;
  if (error && !isRefused) throw error;
  return data.session;
}
