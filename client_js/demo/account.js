/**
 * Who is signed in, and signing out without losing anything by accident.
 *
 * @module
 */

import { useConnectionState } from "parley-client/react";
import { useState } from "preact/hooks";
import { Dialog } from "./dialog.js";
import { html } from "./html.js";
import { Menu } from "./menu.js";
import { useObserved } from "./observable.js";
import { usePage } from "./page.js";
import { counted } from "./words.js";

/** @param {{unsent: number, onEnd: () => void}} props */
function UnsentDialog({ unsent, onEnd }) {
  const { client, session, toasts, drafts } = usePage();
  const who = session.current.get()?.name ?? "";
  /** @param {() => Promise<unknown> | void} leave */
  const signOut = async (leave) => {
    onEnd();
    try {
      await leave();
      session.end();
    } catch (error) {
      toasts.show(`Signing out failed: ${/** @type {Error} */ (error).message}`);
    }
  };
  const choices = [
    { label: "Stay signed in", className: "primary", run: onEnd },
    { label: "Sign out, keep them here", run: () => signOut(() => client.clearAuth()) },
    {
      label: "Sign out and discard them",
      className: "danger",
      run: () =>
        signOut(async () => {
          await client.logout({ discardUnsent: true });
          drafts.forget(who);
        }),
    },
  ];
  return html`<${Dialog} title="Some changes have not been sent" choices=${choices} onCancel=${onEnd}>
    <p>${counted(unsent, "change")} of ${who} ${unsent === 1 ? "is" : "are"} only on this device so
      far. Kept here, ${unsent === 1 ? "it is" : "they are"} sent when ${who} signs in on this device again.</p>
  <//>`;
}

/** The end of the list: the person, and how to leave. */
export function Account() {
  const { client, session, toasts, drafts, kept } = usePage();
  const { unsent, failed } = useConnectionState();
  const current = useObserved(session.current);
  const [isAsking, setAsking] = useState(false);
  if (!current) return null;

  const signOut = async () => {
    try {
      toasts.flush();
      await client.logout();
      drafts.forget(current.name);
      session.end();
    } catch (error) {
      if (/** @type {{code?: string}} */ (error).code === "UnsentWrites") setAsking(true);
      else toasts.show(`Signing out failed: ${/** @type {Error} */ (error).message}`);
    }
  };
  const signIn = () => {
    toasts.flush();
    if (client.outbox().length > 0) kept.write("parley-guest", "kept");
    session.end();
  };
  const isGuest = current.kind === "guest";
  const items = isGuest
    ? [{ label: "Sign in", icon: "leave", run: signIn }]
    : [{ label: "Sign out", icon: "leave", run: signOut }];
  return html`<footer class="account">
    <${Menu} label="Account" className="account-button" items=${items}>
      <span class="avatar" aria-hidden="true">${current.name.slice(0, 1).toUpperCase()}</span>
      <span class="account-name"><span class="visually-hidden">Account: </span>${current.name}
        ${isGuest && html`<small>Only on this device</small>`}</span>
    <//>
    ${isAsking && html`<${UnsentDialog} unsent=${unsent + failed} onEnd=${() => setAsking(false)} />`}
  </footer>`;
}
