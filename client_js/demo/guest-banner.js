/**
 * Offers to move what was written without an account into the account.
 *
 * @module
 */

import { useState } from "preact/hooks";
import { html } from "./html.js";
import { usePage } from "./page.js";

/** @import {Session} from "./types.js" */

export const GUEST_KEY = "parley-guest";

/** @param {{session: Session}} props */
export function GuestBanner({ session }) {
  const { client, kept, toasts } = usePage();
  const [isOffered, setOffered] = useState(() => kept.read(GUEST_KEY) !== null);
  const [isBusy, setBusy] = useState(false);
  if (!isOffered || session.kind === "guest") return null;

  const move = async () => {
    setBusy(true);
    try {
      await client.adoptGuest();
      kept.write(GUEST_KEY, null);
      setOffered(false);
      toasts.show(`Moved into the account of ${session.name}`);
    } catch (error) {
      toasts.show(`Moving failed: ${/** @type {Error} */ (error).message}`);
      setBusy(false);
    }
  };
  return html`<section class="banner" aria-label="Without an account">
    <p>On this device there are conversations that were written without an account.</p>
    <button type="button" class="primary small" disabled=${isBusy} onClick=${move}>Move them to ${session.name}</button>
    <button type="button" class="small quiet" onClick=${() => setOffered(false)}>Not now</button>
  </section>`;
}
