/**
 * Supabase's way to sign in with e-mail and password, over its REST interface (GoTrue).
 *
 * @module
 */

/** @import {Config, SupabaseSession} from "./types.js" */

/** Sign-in was refused: `message` is for people. */
export class SignInRefused extends Error {}

/**
 * Asks for a session.
 *
 * @param {Config} config
 * @param {"password" | "refresh_token"} grant
 * @param {{email: string, password: string} | {refresh_token: string}} body
 * @param {typeof globalThis.fetch} fetch
 * @returns {Promise<SupabaseSession>}
 * @throws {SignInRefused} Supabase said no.
 * @throws {TypeError} Supabase cannot be reached.
 */
export async function requestSession(config, grant, body, fetch) {
  const response = await fetch(`${config.supabaseUrl}/auth/v1/token?grant_type=${grant}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", apikey: config.supabaseAnonKey ?? "" },
    body: JSON.stringify(body),
  });
  const answer = await response.json().catch(() => null);
  const isBusy = response.status >= 500 || response.status === 429;
  // What is no JSON came from somebody on the way.
  if (isBusy || !answer) throw new TypeError(`Supabase answered ${response.status}`);
  if (!response.ok || typeof answer.access_token !== "string") {
    throw new SignInRefused(
      answer.error_description ?? answer.msg ?? "Supabase refused this sign-in.",
    );
  }
  return {
    kind: "supabase",
    name: answer.user?.email ?? "",
    accessToken: answer.access_token,
    refreshToken: answer.refresh_token,
    expiresAt: Date.now() + Number(answer.expires_in ?? 3600) * 1000,
  };
}

/**
 * Ends the session at Supabase too. It ends on this device whatever comes of it.
 *
 * @param {Config} config
 * @param {SupabaseSession} session
 * @param {typeof globalThis.fetch} fetch
 */
export async function revokeSession(config, session, fetch) {
  await fetch(`${config.supabaseUrl}/auth/v1/logout?scope=local`, {
    method: "POST",
    headers: {
      apikey: config.supabaseAnonKey ?? "",
      Authorization: `Bearer ${session.accessToken}`,
    },
  }).catch(() => {});
}
