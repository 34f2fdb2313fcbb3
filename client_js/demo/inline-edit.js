/**
 * A text that is edited where it stands: Enter keeps, Escape gives up, leaving keeps.
 *
 * @module
 */

import { useLayoutEffect, useRef } from "preact/hooks";
import { html } from "./html.js";

/**
 * @param {{
 *   label: string,
 *   text: string,
 *   className?: string,
 *   placeholder?: string,
 *   maxLength?: number,
 *   onKeep: (text: string) => void,
 *   onEnd: () => void,
 * }} props `onKeep` is called before `onEnd`, and only with a text that is new and not empty
 */
export function InlineEdit({
  label,
  text,
  className = "",
  placeholder,
  maxLength = 200,
  onKeep,
  onEnd,
}) {
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  const isDone = useRef(false);
  // Before anything else is typed.
  useLayoutEffect(() => {
    input.current?.focus();
    input.current?.select();
  }, []);

  /** @param {boolean} isKept */
  const end = (isKept) => {
    // Taking the field away blurs it, which would end it a second time.
    if (isDone.current) return;
    isDone.current = true;
    const next = input.current?.value.trim() ?? "";
    if (isKept && next && next !== text) onKeep(next);
    onEnd();
  };

  /** @param {KeyboardEvent} event */
  const onKeyDown = (event) => {
    if (event.isComposing) return;
    if (event.key === "Enter" || event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      end(event.key === "Enter");
    }
  };

  return html`<input class=${`inline-edit ${className}`} ref=${input} value=${text} aria-label=${label}
    placeholder=${placeholder} maxlength=${maxLength} autocomplete="off" enterkeyhint="done"
    onKeyDown=${onKeyDown} onBlur=${() => end(true)} />`;
}
