/**
 * Starts the chat page.
 *
 * @module
 */

import { createClient } from "parley-client";
import { chatLocalResults, chatOptimisticUpdates } from "parley-client/optimistic-chat";
import { ParleyProvider } from "parley-client/react";
import { render } from "preact";
import { Actions } from "./actions.js";
import { ChatPage } from "./chat-page.js";
import { html } from "./html.js";
import { createDeletions, createDrafts, createKept } from "./kept.js";
import { useObserved } from "./observable.js";
import { PageContext } from "./page.js";
import { keepPage } from "./page-keeper.js";
import { createRoute } from "./route.js";
import { SESSION_KEY, SessionKeeper } from "./session.js";
import { SignIn } from "./sign-in.js";
import { Toasts } from "./toasts.js";

/** @import {Page} from "./page.js" */
/** @import {Config, Session} from "./types.js" */

/** @returns {Promise<Config>} */
async function loadConfig() {
  const response = await fetch("/demo/config.json");
  if (!response.ok) throw new Error(`/demo/config.json: ${response.status}`);
  return response.json();
}

/** @template T @param {() => Promise<T>} run */
const alone = (run) => (navigator.locks ? navigator.locks.request("parley-refresh", run) : run());

/** @param {Config} config @returns {Page} */
function createPage(config) {
  const kept = createKept(() => localStorage);
  const session = new SessionKeeper(config, {
    kept,
    fetch: (input, init) => fetch(input, init),
    now: Date.now,
    alone,
  });
  const client = createClient(location.origin, {
    optimisticUpdates: chatOptimisticUpdates,
    localResults: chatLocalResults,
    guest: session.current.get()?.kind === "guest",
    // Nobody is anonymous here: before somebody has signed in, nothing is asked for.
    expectAuth: true,
  });
  const toasts = new Toasts();
  const hasAssistant = () => config.hasAssistant && session.current.get()?.kind !== "guest";
  const route = createRoute(window);
  const who = () => session.current.get()?.name ?? "";
  const deletions = createDeletions(kept);
  const actions = new Actions({ client, toasts, route, deletions, who, hasAssistant });
  return { client, config, session, actions, toasts, route, kept, drafts: createDrafts(kept) };
}

/** Makes the client follow who is signed in, in this tab or another. @param {Page} page */
function followSession({ client, session, route }) {
  /** @type {Session | null} */
  let followed = null;
  const follow = () => {
    const [before, current] = [followed, session.current.get()];
    followed = current;
    // A token that was refreshed is still the same person.
    if (before?.kind === current?.kind && before?.name === current?.name) return;
    if (before) route.open(null);
    if (current?.kind === "guest") return client.setGuest();
    // Whoever signed out in another tab did so here too, also if somebody else is in by now: until
    // their token came, who was here before would still be.
    if (before ? before.kind !== "guest" : !current) client.clearAuth();
    if (current) client.setAuth(session.fetchToken);
  };
  follow();
  session.current.subscribe(follow);
  window.addEventListener("storage", (event) => {
    if (event.key === SESSION_KEY || event.key === null) session.reload();
  });
  // A page that slept in the browser's cache has not heard of it.
  window.addEventListener("pageshow", () => session.reload());
}

/** @param {{page: Page}} props */
function App({ page }) {
  const session = useObserved(page.session.current);
  return html`<${ParleyProvider} client=${page.client}>
    <${PageContext.Provider} value=${page}>
      ${
        session
          ? html`<${ChatPage} key=${`${session.kind}:${session.name}`} session=${session} />`
          : html`<${SignIn} />`
      }
    <//>
  <//>`;
}

const page = createPage(await loadConfig());
followSession(page);
// A deletion that may still be undone happens before the page can go.
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "hidden") page.toasts.flush();
});
render(html`<${App} page=${page} />`, /** @type {HTMLElement} */ (document.getElementById("app")));
keepPage();
