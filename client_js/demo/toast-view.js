/**
 * Shows the notices of `Toasts`.
 *
 * @module
 */

import { useEffect, useState } from "preact/hooks";
import { html } from "./html.js";
import { Icon } from "./icons.js";
import { useObserved } from "./observable.js";
import { usePage } from "./page.js";

/** @import {Toast} from "./toasts.js" */

const SHOWN_MS = 6000;

/** @param {{toast: Toast}} props */
function ToastView({ toast: { id, text, action } }) {
  const { toasts } = usePage();
  const [isHeld, setHeld] = useState(false);
  useEffect(() => {
    if (isHeld) return;
    const timer = setTimeout(() => toasts.end(id), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [toasts, id, isHeld]);
  const hold = () => setHeld(true);
  const release = () => setHeld(false);
  return html`<li class=${isHeld ? "toast toast-held" : "toast"} onPointerEnter=${hold}
    onPointerLeave=${release} onFocusIn=${hold} onFocusOut=${release}>
    <span class="toast-text">${text}</span>
    ${action && html`<button type="button" class="toast-action" onClick=${() => toasts.act(id)}>${action.label}</button>`}
    <button type="button" class="icon-button" aria-label="Dismiss" onClick=${() => toasts.end(id)}>
      <${Icon} name="close" /></button>
  </li>`;
}

/** All notices, spoken as they come. */
export function ToastList() {
  const { toasts } = usePage();
  const shown = useObserved(toasts.shown);
  return html`<div class="toasts" role="status" aria-label="Notices"><ul>
    ${shown.map((toast) => html`<${ToastView} key=${toast.id} toast=${toast} />`)}
  </ul></div>`;
}
