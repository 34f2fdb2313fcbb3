/**
 * A button with a menu of things to do, usable with arrow keys, Home, End and Escape.
 *
 * @module
 */

import { useId, useRef, useState } from "preact/hooks";
import { html } from "./html.js";
import { Icon } from "./icons.js";

/** @import {ComponentChildren} from "preact" */
/** @import {IconName} from "./icons.js" */

/**
 * @typedef {object} MenuItem
 * @property {string} label
 * @property {IconName} icon
 * @property {() => void} run
 * @property {boolean} [isDangerous]
 */

const GAP_PX = 6;

/** @type {Record<string, (at: number, count: number) => number>} */
const MOVES = {
  ArrowDown: (at, count) => (at + 1) % count,
  ArrowUp: (at, count) => (at - 1 + count) % count,
  Home: () => 0,
  End: (_at, count) => count - 1,
};

/**
 * Puts a panel below or above its button, inside the window.
 *
 * @param {HTMLElement} panel
 * @param {HTMLElement} button
 * @param {boolean} [isCentred] in the middle of the button, not at its edge
 */
export function place(panel, button, isCentred = false) {
  const { left, right, top, bottom } = button.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = panel;
  const fitsBelow = bottom + GAP_PX + height <= window.innerHeight;
  const fitsRight = left + width <= window.innerWidth - GAP_PX;
  const x = isCentred ? (left + right - width) / 2 : fitsRight ? left : right - width;
  panel.style.left = `${Math.max(GAP_PX, Math.min(x, window.innerWidth - GAP_PX - width))}px`;
  panel.style.top = `${Math.max(GAP_PX, fitsBelow ? bottom + GAP_PX : top - GAP_PX - height)}px`;
}

/**
 * @param {{
 *   label: string,
 *   items: MenuItem[],
 *   className?: string,
 *   children?: ComponentChildren,
 * }} props `label` names the button; its children are what it shows
 */
export function Menu({ label, items, className = "icon-button", children }) {
  const id = useId();
  const panel = useRef(/** @type {HTMLDivElement | null} */ (null));
  const button = useRef(/** @type {HTMLButtonElement | null} */ (null));
  // A list has hundreds of menus: they are made for who comes near.
  const [isNear, setNear] = useState(false);
  const comeNear = () => setNear(true);
  const buttons = () => /** @type {HTMLElement[]} */ ([...(panel.current?.children ?? [])]);

  /** @param {ToggleEvent} event */
  const onToggle = (event) => {
    const isOpen = event.newState === "open";
    comeNear();
    button.current?.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen || !panel.current || !button.current) return;
    place(panel.current, button.current);
    buttons()[0]?.focus();
  };

  /** @param {KeyboardEvent} event */
  const onKeyDown = (event) => {
    const move = MOVES[event.key];
    if (event.key === "Tab") panel.current?.hidePopover();
    if (!move) return;
    event.preventDefault();
    const all = buttons();
    all[
      move(all.indexOf(/** @type {HTMLElement} */ (document.activeElement)), all.length)
    ]?.focus();
  };

  return html`
    <button type="button" class=${className} ref=${button} onPointerEnter=${comeNear} onFocus=${comeNear} popovertarget=${id} aria-haspopup="menu"
      aria-expanded="false" aria-label=${children ? undefined : label} title=${children ? undefined : label}>
      ${children ?? html`<${Icon} name="dots" />`}
    </button>
    <div class="menu" id=${id} ref=${panel} popover="auto" role="menu" aria-label=${label}
      onToggle=${onToggle} onKeyDown=${onKeyDown}>
      ${
        isNear &&
        items.map(
          ({ label: words, icon, run, isDangerous }) => html`<button type="button" role="menuitem"
          tabindex="-1" class=${isDangerous ? "menu-item danger" : "menu-item"}
          onClick=${() => {
            panel.current?.hidePopover();
            run();
          }}><${Icon} name=${icon} />${words}</button>`,
        )
      }
    </div>`;
}
