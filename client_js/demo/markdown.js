/**
 * Messages' Markdown as elements: what others wrote can never run, load or move anything.
 *
 * Three walls: raw HTML is shown as text; only the elements that Markdown makes get through
 * DOMPurify; and images are links, so that reading a message tells nobody.
 *
 * @module
 */

import DOMPurify from "dompurify";
import { Marked } from "marked";

const MAX_KEPT = 300;

const TAGS =
  "a blockquote br button code del div em h2 h3 h4 h5 h6 hr input li ol p pre span strong table tbody td th thead tr ul";
const NO_ADDRESSES =
  "align aria-label checked class data-copy disabled role start tabindex title type";
const ATTRIBUTES = `href ${NO_ADDRESSES}`;

/** @type {Record<string, string>} */
const ENTITIES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

/** @param {string} text */
const escaped = (text) => text.replace(/[&<>"']/g, (mark) => ENTITIES[mark] ?? mark);

/** Names that a fence may give its language; anything else is not shown. */
const language = (/** @type {string | undefined} */ lang) =>
  /^[\w+#.-]{1,20}/.exec(lang ?? "")?.[0] ?? "";

const marked = new Marked({
  gfm: true,
  async: false,
  renderer: {
    html: ({ text }) => escaped(text),
    image: ({ href, text }) => `<a href="${escaped(href)}">Image: ${escaped(text || href)}</a>`,
    heading({ tokens, depth }) {
      // The page has the first level.
      const level = Math.min(depth + 1, 6);
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`;
    },
    code: ({ text, lang }) =>
      `<div class="code"><div class="code-head"><span>${escaped(language(lang) || "text")}</span>` +
      `<button type="button" class="quiet small" data-copy>Copy</button></div>` +
      `<pre tabindex="0" role="group" aria-label="Code"><code>${escaped(text)}</code></pre></div>`,
    checkbox: ({ checked }) =>
      `<input type="checkbox" disabled aria-label="${checked ? "done" : "open"}"` +
      `${checked ? " checked" : ""}> `,
  },
});

const purify = DOMPurify(window);
purify.addHook("afterSanitizeAttributes", (node) => {
  if (node.nodeName !== "A") return;
  node.setAttribute("target", "_blank");
  node.setAttribute("rel", "noopener noreferrer nofollow");
});

/** @type {Map<string, DocumentFragment>} the least recently used first */
const kept = new Map();

/** @param {string} text @param {boolean} breaks */
function made(text, breaks) {
  const fragment = purify.sanitize(/** @type {string} */ (marked.parse(text, { breaks })), {
    ALLOWED_TAGS: TAGS.split(" "),
    ALLOWED_ATTR: ATTRIBUTES.split(" "),
    ADD_URI_SAFE_ATTR: NO_ADDRESSES.split(" "),
    ALLOWED_URI_REGEXP: /^(?:https?|mailto|tel):/i,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    RETURN_DOM_FRAGMENT: true,
  });
  for (const table of fragment.querySelectorAll("table")) framed(table);
  return fragment;
}

/** A wide table scrolls in a frame of its own. @param {Element} table */
function framed(table) {
  const frame = table.ownerDocument.createElement("div");
  frame.className = "table";
  frame.tabIndex = 0;
  frame.setAttribute("role", "group");
  frame.setAttribute("aria-label", "Table");
  table.replaceWith(frame);
  frame.append(table);
}

/**
 * Returns new elements for a text.
 *
 * @param {string} text Markdown, of any origin
 * @param {{breaks: boolean}} options whether lines end where they end in the text, as people mean
 *     it; otherwise where there is no more room, as Markdown has it
 * @returns {DocumentFragment}
 */
export function renderMarkdown(text, { breaks }) {
  const key = `${breaks}${text}`;
  const fragment = kept.get(key) ?? made(text, breaks);
  kept.delete(key);
  kept.set(key, fragment);
  if (kept.size > MAX_KEPT) kept.delete(/** @type {string} */ (kept.keys().next().value));
  return /** @type {DocumentFragment} */ (fragment.cloneNode(true));
}
