/**
 * Which conversation is open: the address says it (`#/c/<id>`), so a reload and the back button
 * keep it.
 *
 * @module
 */

import { Observable } from "./observable.js";

/** @param {string} hash @returns {string | null} the conversation's id; null: a new one */
export const openedBy = (hash) => /^#\/c\/([\w-]{1,64})$/.exec(hash)?.[1] ?? null;

/** @param {string | null} conversationId */
export const addressOf = (conversationId) => (conversationId ? `#/c/${conversationId}` : "#/new");

/** @typedef {ReturnType<typeof createRoute>} Route */

/** @param {Window} window */
export function createRoute(window) {
  const opened = new Observable(openedBy(window.location.hash));
  window.addEventListener("hashchange", () => opened.set(openedBy(window.location.hash)));
  return {
    opened,
    /** @param {string | null} conversationId null: a new one */
    open(conversationId) {
      window.location.hash = addressOf(conversationId);
      opened.set(conversationId);
    },
  };
}
