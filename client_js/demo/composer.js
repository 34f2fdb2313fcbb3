/**
 * Where messages are written. What is typed survives a reload, for each conversation on its own.
 *
 * @module
 */

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { html } from "./html.js";
import { Icon } from "./icons.js";
import { usePage } from "./page.js";

const MAX_HEIGHT_PX = 220;

/** Makes the box as high as its text. @param {HTMLTextAreaElement} box */
function fit(box) {
  box.style.height = "auto";
  box.style.height = `${Math.min(box.scrollHeight, MAX_HEIGHT_PX)}px`;
}

/**
 * @param {{
 *   who: string,
 *   conversationId: string | null,
 *   onSend: (content: string) => void,
 * }} props `who` owns the draft
 */
export function Composer({ who, conversationId, onSend }) {
  const { drafts } = usePage();
  const [text, setText] = useState(() => drafts.read(who, conversationId));
  const box = useRef(/** @type {HTMLTextAreaElement | null} */ (null));

  useLayoutEffect(() => {
    if (box.current) fit(box.current);
  });

  /** @param {string} next */
  const write = (next) => {
    setText(next);
    drafts.write(who, conversationId, next);
  };

  const send = () => {
    const content = text.trim();
    if (!content) return;
    write("");
    onSend(content);
    box.current?.focus();
  };

  /** @param {KeyboardEvent} event */
  const onKeyDown = (event) => {
    // While an input method composes a character, Enter is its own.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  };

  return html`<form class="composer" onSubmit=${(/** @type {Event} */ event) => {
    event.preventDefault();
    send();
  }}>
    <div class="composer-box">
      <textarea id="composer" ref=${box} rows="1" value=${text} aria-label="Message"
        placeholder="Write a message" enterkeyhint="send" maxlength="100000"
        aria-describedby="composer-hint"
        onInput=${(/** @type {{currentTarget: HTMLTextAreaElement}} */ event) => write(event.currentTarget.value)}
        onKeyDown=${onKeyDown} />
      <button type="submit" class="send" aria-label="Send" title="Send (Enter)"
        disabled=${!text.trim()}><${Icon} name="send" /></button>
    </div>
    <p id="composer-hint" class="visually-hidden">Enter sends, Shift and Enter begins a new line.</p>
  </form>`;
}

/** Puts the cursor where a message is written. */
export function focusComposer() {
  document.getElementById("composer")?.focus();
}
