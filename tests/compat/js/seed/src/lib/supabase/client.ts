// Stands in for Supabase (not for Convex): the calls that `useSupabaseAuth` makes, answered from the
// tokens that the test put into `window.supabaseTokens`. Like the real browser client, one per page.

type Session = { access_token: string };
type Listener = (event: string, session: Session | null) => void;

declare global {
  interface Window {
    /** Tokens that are still to be given out, oldest first; the last one is kept. None: signed out. */
    supabaseTokens: string[];
  }
}

const listeners = new Set<Listener>();

function currentSession(): Session | null {
  const token = window.supabaseTokens[0];
  return token ? { access_token: token } : null;
}

const client = {
  auth: {
    async getSession() {
      return { data: { session: currentSession() }, error: null };
    },
    async refreshSession() {
      if (window.supabaseTokens.length > 1) window.supabaseTokens.shift();
      return { data: { session: currentSession() } };
    },
    onAuthStateChange(listener: Listener) {
      listeners.add(listener);
      return { data: { subscription: { unsubscribe: () => listeners.delete(listener) } } };
    },
    async signOut() {
      window.supabaseTokens = [];
      for (const listener of listeners) listener("SIGNED_OUT", null);
    },
  },
};

export function createClient() {
  return client;
}
