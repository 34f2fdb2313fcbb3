/**
 * The list on a narrow screen: a drawer over the page, which is out of reach as long as it is open.
 *
 * @module
 */

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

// As in styles-frame.css.
const NARROW = "(max-width: 800px)";

/** @param {string} selector */
const focus = (selector) =>
  /** @type {HTMLElement | null} */ (document.querySelector(selector))?.focus();

/**
 * Returns whether the list is open, how to open or close it, and a ref for what lies under it.
 */
export function useDrawer() {
  const [isOpen, setOpen] = useState(false);
  const under = useRef(/** @type {HTMLElement | null} */ (null));

  useLayoutEffect(() => {
    const isDrawer = isOpen && window.matchMedia(NARROW).matches;
    const element = under.current;
    if (!isDrawer || !element) return;
    element.inert = true;
    // Not in this frame: what is hidden cannot have the focus.
    requestAnimationFrame(() => {
      if (!document.activeElement?.closest(".side")) focus(".side-close");
    });
    return () => {
      element.inert = false;
      const { activeElement } = document;
      if (activeElement === document.body || activeElement?.closest(".side")) focus(".to-list");
    };
  }, [isOpen]);

  useEffect(() => {
    const narrow = window.matchMedia(NARROW);
    const close = () => setOpen(false);
    narrow.addEventListener("change", close);
    return () => narrow.removeEventListener("change", close);
  }, []);

  return { isOpen, setOpen, under };
}
