/**
 * A scroller that behaves as readers expect: it follows what is new only while its end is in view,
 * and what is loaded above does not move what is being read.
 *
 * @module
 */

import { useCallback, useLayoutEffect, useRef, useState } from "preact/hooks";

/** @import {RefObject} from "preact" */

// Half a line from the end still counts as being there.
const NEAR_PX = 48;

/** @param {HTMLElement} scroller */
const isAtEnd = ({ scrollHeight, scrollTop, clientHeight }) =>
  scrollHeight - scrollTop - clientHeight < NEAR_PX;

/** @param {HTMLElement} scroller */
const toEnd = (scroller) => {
  scroller.scrollTop = scroller.scrollHeight;
};

/**
 * @param {RefObject<HTMLElement | null>} scroller its one child is what grows
 * @param {string | null} firstId of what is on top: another one means that older ones came
 */
export function useStickyScroll(scroller, firstId) {
  const [isFollowing, setFollowing] = useState(true);
  const follows = useRef(true);
  const before = useRef({ firstId, height: 0, top: 0 });

  const follow = useCallback((/** @type {boolean} */ next) => {
    follows.current = next;
    setFollowing(next);
  }, []);

  useLayoutEffect(() => {
    const element = scroller.current;
    if (!element) return;
    const { firstId: firstBefore, height, top } = before.current;
    if (follows.current) toEnd(element);
    else if (firstId !== firstBefore) element.scrollTop = top + element.scrollHeight - height;
    before.current = { firstId, height: element.scrollHeight, top: element.scrollTop };
  });

  useLayoutEffect(() => {
    const element = scroller.current;
    if (!element) return;
    const remember = () => {
      before.current = {
        ...before.current,
        height: element.scrollHeight,
        top: element.scrollTop,
      };
    };
    const onScroll = () => {
      follow(isAtEnd(element));
      remember();
    };
    // Who unfolds something wants to read it, not to be taken to the end of it.
    const onClick = (/** @type {Event} */ event) => {
      if (/** @type {Element} */ (event.target).closest("summary")) follow(false);
    };
    const observer = new ResizeObserver(() => {
      if (follows.current) toEnd(element);
      remember();
    });
    observer.observe(element);
    if (element.firstElementChild) observer.observe(element.firstElementChild);
    element.addEventListener("scroll", onScroll, { passive: true });
    element.addEventListener("click", onClick, { capture: true });
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", onScroll);
      element.removeEventListener("click", onClick, { capture: true });
    };
  }, [scroller, follow]);

  const jump = useCallback(() => {
    follow(true);
    if (scroller.current) toEnd(scroller.current);
  }, [scroller, follow]);

  return { isFollowing, jump };
}

/**
 * Runs `load` whenever the element is about to come into view.
 *
 * @param {RefObject<HTMLElement | null>} element
 * @param {RefObject<HTMLElement | null>} scroller
 * @param {(() => void) | null} load
 */
export function useNearView(element, scroller, load) {
  useLayoutEffect(() => {
    if (!load || !element.current) return;
    const observer = new IntersectionObserver(
      (entries) => {
        if (entries.some((entry) => entry.isIntersecting)) load();
      },
      { root: scroller.current, rootMargin: "400px 0px" },
    );
    observer.observe(element.current);
    return () => observer.disconnect();
  }, [element, scroller, load]);
}
