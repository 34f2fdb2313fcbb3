/**
 * A question that has to be answered first.
 *
 * @module
 */

import { useEffect, useId, useRef } from "preact/hooks";
import { html } from "./html.js";

/** @import {ComponentChildren} from "preact" */

/**
 * @param {{
 *   title: string,
 *   children: ComponentChildren,
 *   choices: {label: string, className?: string, run: () => void}[],
 *   onCancel: () => void,
 * }} props Escape cancels; the first choice has the focus
 */
export function Dialog({ title, children, choices, onCancel }) {
  const id = useId();
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  useEffect(() => dialog.current?.showModal(), []);
  return html`<dialog class="dialog" ref=${dialog} aria-labelledby=${id}
    onCancel=${(/** @type {Event} */ event) => {
      event.preventDefault();
      onCancel();
    }}>
    <h2 id=${id}>${title}</h2>
    <div class="dialog-text">${children}</div>
    <div class="choices">${choices.map(
      ({ label, className, run }) =>
        html`<button type="button" class=${className} onClick=${run}>${label}</button>`,
    )}</div>
  </dialog>`;
}
