/**
 * A text in Markdown, and a value as JSON.
 *
 * @module
 */

import { useLayoutEffect, useRef } from "preact/hooks";
import { html } from "./html.js";
import { renderMarkdown } from "./markdown.js";

const COPIED_MS = 1500;

/** Copies a code block's text when its button is pressed. @param {Event} event */
async function copyCode(event) {
  const button = /** @type {Element} */ (event.target).closest("button[data-copy]");
  const code = button?.closest(".code")?.querySelector("pre");
  if (!button || !code) return;
  const isCopied = await navigator.clipboard.writeText(code.textContent ?? "").then(
    () => true,
    () => false,
  );
  button.textContent = isCopied ? "Copied" : "Cannot copy";
  setTimeout(() => {
    button.textContent = "Copy";
  }, COPIED_MS);
}

/** @param {{text: string, breaks?: boolean}} props `breaks` as in `renderMarkdown` */
export function Prose({ text, breaks = false }) {
  const root = useRef(/** @type {HTMLDivElement | null} */ (null));
  useLayoutEffect(
    () => root.current?.replaceChildren(renderMarkdown(text, { breaks })),
    [text, breaks],
  );
  return html`<div class="prose" ref=${root} onClick=${copyCode} />`;
}

/** JSON has no big numbers and no bytes; a tool's arguments may. @param {string} _key @param {unknown} value */
function plain(_key, value) {
  if (typeof value === "bigint") return `${value}n`;
  if (value instanceof ArrayBuffer) return `${value.byteLength} bytes`;
  return value;
}

/** @param {{label: string, value: unknown}} props */
export function Data({ label, value }) {
  const text = typeof value === "string" ? value : JSON.stringify(value, plain, 2);
  return html`<div class="data">
    <div class="data-label">${label}</div>
    <pre tabindex="0" role="group" aria-label=${label}>${text}</pre>
  </div>`;
}
