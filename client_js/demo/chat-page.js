/**
 * The page of somebody who is in: the list, the open conversation, shortcuts and notices.
 *
 * @module
 */

import { useConnectionState, useOutbox, useQuery } from "parley-client/react";
import { useEffect, useMemo, useState } from "preact/hooks";
import { api } from "./api.js";
import { Chat } from "./chat.js";
import { focusComposer } from "./composer.js";
import { useDrawer } from "./drawer.js";
import { ErrorBoundary } from "./error-boundary.js";
import { GuestBanner } from "./guest-banner.js";
import { html } from "./html.js";
import { ordered, withBegun } from "./lists.js";
import { useObserved } from "./observable.js";
import { usePage } from "./page.js";
import { Sidebar } from "./sidebar.js";
import { ToastList } from "./toast-view.js";

/** @import {ConnectionState} from "../src/types.js" */
/** @import {Conversation, OutboxItem, Session} from "./types.js" */

/** @param {KeyboardEvent} event @returns {"filter" | "new" | "close" | null} */
function shortcut({ key, code, ctrlKey, metaKey, altKey }) {
  if (key === "Escape") return "close";
  if ((ctrlKey || metaKey) && !altKey && key.toLowerCase() === "k") return "filter";
  // By its place: with Alt, some layouts make another letter of it.
  return altKey && !ctrlKey && !metaKey && code === "KeyN" ? "new" : null;
}

/**
 * Returns what a row says of its conversation's writes. Connected, they are sent before anybody
 * has read it.
 *
 * @param {OutboxItem[]} outbox
 * @param {ConnectionState["phase"]} phase
 * @returns {ReadonlyMap<string, string>} by the conversation's id
 */
function rowMarks(outbox, phase) {
  const isQuiet = phase === "connected" || phase === "guest";
  const marked = outbox.filter(({ state }) => state === "failed" || !isQuiet);
  return new Map(
    marked.map(({ path, args, state }) => [
      String(path === "conversations:create" ? args.id : args.conversationId),
      state === "failed" ? "Failed" : "Not sent yet",
    ]),
  );
}

/**
 * Returns the conversations in order, and whether these are all: the list may not be known yet.
 *
 * @param {OutboxItem[]} outbox
 */
function useConversations(outbox) {
  const { actions } = usePage();
  const hidden = useObserved(actions.hidden);
  const listed = /** @type {Conversation[] | undefined} */ (useQuery(api.conversations.list, {}));
  const all = useMemo(() => withBegun(listed, outbox), [listed, outbox]);
  const conversations = useMemo(
    () => ordered(all.filter(({ _id }) => !hidden.has(_id))),
    [all, hidden],
  );
  return { conversations, isListed: listed !== undefined };
}

/** @param {Record<"filter" | "new" | "close", () => void>} deeds */
function useShortcuts(deeds) {
  useEffect(() => {
    /** @param {KeyboardEvent} event */
    const onKeyDown = (event) => {
      const name = event.defaultPrevented ? null : shortcut(event);
      if (!name) return;
      if (name !== "close") event.preventDefault();
      deeds[name]();
    };
    window.addEventListener("keydown", onKeyDown);
    return () => window.removeEventListener("keydown", onKeyDown);
  }, [deeds]);
}

/** @param {{session: Session}} props */
function Inside({ session }) {
  const { actions, route } = usePage();
  const openedId = useObserved(route.opened);
  const outbox = /** @type {OutboxItem[]} */ (useOutbox());
  const { conversations, isListed } = useConversations(outbox);
  const { phase } = useConnectionState();
  const [filter, setFilter] = useState("");
  const { isOpen: isListOpen, setOpen: setListOpen, under } = useDrawer();
  const marks = useMemo(() => rowMarks(outbox, phase), [outbox, phase]);

  useEffect(() => actions.finishDeletions(), [actions]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: whenever another one is opened
  useEffect(() => setListOpen(false), [openedId]);
  const deeds = useMemo(
    () => ({
      filter() {
        setListOpen(true);
        requestAnimationFrame(() => document.getElementById("filter")?.focus());
      },
      new() {
        route.open(null);
        setListOpen(false);
        requestAnimationFrame(focusComposer);
      },
      close() {
        setFilter("");
        setListOpen(false);
      },
    }),
    [route, setListOpen],
  );
  useShortcuts(deeds);

  /** @param {string} tag */
  const pickTag = (tag) => {
    setFilter(`#${tag}`);
    setListOpen(true);
  };
  return html`<div class=${isListOpen ? "page page-list" : "page"}>
    <button type="button" class="skip" onClick=${focusComposer}>Skip to the message box</button>
    <${Sidebar} conversations=${conversations} isListed=${isListed} openedId=${openedId} marks=${marks} phase=${phase}
      filter=${filter} onFilter=${setFilter} onClose=${() => setListOpen(false)} />
    <div class="scrim" onClick=${() => setListOpen(false)} />
    <div class="stage" ref=${under}>
      <${GuestBanner} session=${session} />
      <${Chat} session=${session} openedId=${openedId} conversations=${conversations} isListed=${isListed} outbox=${outbox}
        phase=${phase} onMenu=${() => setListOpen(true)} onPickTag=${pickTag} />
    </div>
    <${ToastList} />
  </div>`;
}

/** @param {{error: Error, retry: () => void}} props */
function Broken({ error, retry }) {
  return html`<main class="sign-in" role="alert"><div class="sign-in-card">
    <h1>The page stopped</h1>
    <p>${error.message}</p>
    <p class="muted">Nothing is lost: what you wrote is kept on this device.</p>
    <button type="button" class="primary wide" onClick=${retry}>Try again</button>
  </div></main>`;
}

/** @param {{session: Session}} props */
export function ChatPage({ session }) {
  const fallback = (/** @type {Error} */ error, /** @type {() => void} */ retry) =>
    html`<${Broken} error=${error} retry=${retry} />`;
  return html`<${ErrorBoundary} fallback=${fallback}><${Inside} session=${session} /><//>`;
}
