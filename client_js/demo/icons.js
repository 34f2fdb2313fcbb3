/**
 * The page's icons, drawn on a grid of 20 with strokes of 1.5. They are decoration: the control
 * around one has the words.
 *
 * @module
 */

import { html } from "./html.js";

const SHAPES = {
  add: "M10 4v12M4 10h12",
  back: "M12.5 4.5 7 10l5.5 5.5",
  book: "M10 5.2C8.6 4.2 6.6 3.8 3.5 4v11.2c3.1-.2 5.1.2 6.5 1.2 1.4-1 3.4-1.4 6.5-1.2V4c-3.1-.2-5.1.2-6.5 1.2Zm0 0v11.2",
  check: "m4.5 10.5 3.6 3.6 7.4-8",
  close: "m5 5 10 10M15 5 5 15",
  copy: "M7.5 7.5h8v8h-8zM12.5 4.5h-8v8",
  down: "M10 4v12m-5-5 5 5 5-5",
  dots: "M4.5 10h.01M10 10h.01M15.5 10h.01",
  leave: "M8 4H4.5v12H8m3.5-9 3 3-3 3m3-3H8",
  menu: "M3.5 6h13M3.5 10h13M3.5 14h9",
  pencil: "m4 16 .8-3.4 8.3-8.3a1.6 1.6 0 0 1 2.3 0l.3.3a1.6 1.6 0 0 1 0 2.3L7.4 15.2 4 16Z",
  pin: "M7.2 3.5h5.6l-.7 5 2.4 2.6H5.5l2.4-2.6-.7-5ZM10 11.1v5.4",
  retry: "M15.6 8.2A6 6 0 1 0 16 11.5M15.8 4.4v3.9h-3.9",
  search: "M9 14.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11Zm4-1.5 3.5 3.5",
  send: "M10 16V4.5m-5 5 5-5 5 5",
  tag: "M10.6 3.8 16 4l.2 5.4-6.7 6.8L3.8 10.5l6.8-6.7ZM13 7h.01",
  think: "M10 3.5a4.7 4.7 0 0 0-2.6 8.6v1.6h5.2v-1.6A4.7 4.7 0 0 0 10 3.5ZM8 16.5h4",
  tool: "M12.6 3.7a4 4 0 0 0-4.9 5.2l-4 4 1.4 2.5 1.4 1.2 4.6-4.4a4 4 0 0 0 5.2-4.9l-2.3 2.2-2.6-.8-.7-2.6 1.9-2.4Z",
  trash: "M4 5.5h12M8 5.5v-2h4v2m-6.5 0 .7 11h7.6l.7-11M8.6 8.5v5M11.4 8.5v5",
};

/** @typedef {keyof typeof SHAPES} IconName */

/** @param {{name: IconName, filled?: boolean}} props */
export function Icon({ name, filled = false }) {
  return html`<svg class="icon" viewBox="0 0 20 20" width="20" height="20" aria-hidden="true"
    focusable="false"><path d=${SHAPES[name]} fill=${filled ? "currentColor" : "none"}
    stroke="currentColor" stroke-width=${name === "dots" ? 2.2 : 1.5} stroke-linecap="round"
    stroke-linejoin="round"/></svg>`;
}

/** The product's sign: two voices that meet. */
export function Mark() {
  return html`<svg class="mark" viewBox="0 0 32 32" width="32" height="32" aria-hidden="true"
    focusable="false"><path class="mark-one" d="M4 4h15a5 5 0 0 1 5 5v4a5 5 0 0 1-5 5h-8l-7 6z"/><path
    class="mark-two" d="M28 28H16a5 5 0 0 1-5-5v-2.4h8.5A7 7 0 0 0 26.4 13H28z"/></svg>`;
}
