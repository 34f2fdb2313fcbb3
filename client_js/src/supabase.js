/**
 * Supabase's sign-in for React:
 *
 *     const useAuth = () => useSupabaseAuth(supabase);
 *     <ParleyProviderWithAuth client={client} useAuth={useAuth}>…</ParleyProviderWithAuth>
 *
 * @module
 */

import { useEffect, useMemo, useState } from "react";
import { sessionOf, supabaseToken } from "./supabase-token.js";

export { supabaseToken };

/** @import { SupabaseClient, SupabaseSession } from "./supabase-token.js" */

/**
 * Returns who is signed in, as `ParleyProviderWithAuth` takes it. `fetchAccessToken` is another
 * function when another person signs in.
 *
 * @param {SupabaseClient} supabase the same one in every render
 */
export function useSupabaseAuth(supabase) {
  // The person's id; "" when nobody is signed in; null while that is not known.
  const [user, setUser] = useState(/** @type {string | null} */ (null));

  useEffect(() => {
    let isCurrent = true;
    /** @param {SupabaseSession | null} session */
    const take = (session) => {
      if (isCurrent) setUser(session ? (session.user?.id ?? "somebody") : "");
    };
    const { data } = supabase.auth.onAuthStateChange((event, session) => {
      // At the start it says "nobody" also when it could not ask, which is told apart below.
      if (session || event === "SIGNED_OUT") take(session);
    });
    supabase.auth
      .getSession()
      .then(sessionOf)
      .then(take, () => {
        // Who was signed in still is, as far as anybody knows; the client goes on asking for a token.
        if (isCurrent) setUser((known) => known ?? "somebody");
      });
    return () => {
      isCurrent = false;
      data.subscription.unsubscribe();
    };
  }, [supabase]);

  return useMemo(() => {
    const fetchAccessToken = supabaseToken(supabase);
    return { isLoading: user === null, isAuthenticated: Boolean(user), fetchAccessToken };
  }, [supabase, user]);
}
