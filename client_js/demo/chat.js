/**
 * The open conversation, or the place where one begins.
 *
 * @module
 */

import { useEffect, useState } from "preact/hooks";
import { Composer, focusComposer } from "./composer.js";
import { ConversationMenu } from "./conversation-menu.js";
import { ErrorBoundary } from "./error-boundary.js";
import { html } from "./html.js";
import { Icon, Mark } from "./icons.js";
import { InlineEdit } from "./inline-edit.js";
import { MessageList } from "./message-list.js";
import { useObserved } from "./observable.js";
import { usePage } from "./page.js";
import { StatusBar } from "./status.js";
import { Tags } from "./tags.js";

/** @import {ConnectionState} from "../src/types.js" */
/** @import {Conversation, OutboxItem, Session} from "./types.js" */

/**
 * @param {{
 *   conversation: Conversation | null,
 *   placeholder: string,
 *   onPickTag: (tag: string) => void,
 * }} props `placeholder` stands where there is no conversation
 */
function Title({ conversation, placeholder, onPickTag }) {
  const { actions } = usePage();
  const [isRenaming, setRenaming] = useState(false);
  if (!conversation) return html`<h1 class="chat-title">${placeholder}</h1>`;
  const { _id, title, isPinned } = conversation;
  const beginRenaming = () => setRenaming(true);
  return html`
    <div class="chat-heading">
      <h1 class="chat-title">${
        isRenaming
          ? html`<${InlineEdit} label="Title" text=${title}
              onKeep=${(/** @type {string} */ text) => actions.rename(_id, text)}
              onEnd=${() => setRenaming(false)} />`
          : html`<button type="button" class="title-button" title="Rename" onClick=${beginRenaming}>
              ${title}</button>`
      }</h1>
      <${Tags} conversation=${conversation} onPick=${onPickTag} />
    </div>
    <button type="button" class="icon-button" aria-pressed=${isPinned} aria-label="Pinned"
      title=${isPinned ? "Unpin" : "Pin"} onClick=${() => actions.togglePin(conversation)}>
      <${Icon} name="pin" filled=${isPinned} /></button>
    <${ConversationMenu} conversation=${conversation} onRename=${beginRenaming} />`;
}

const EXAMPLES = [
  "Compare three ways to back up a laptop, in a table.",
  "What changed in the last release? List the sources.",
  "Write a short Python function that merges two sorted lists.",
];

/** @param {{isGuest: boolean, onTry: (text: string) => void}} props */
function Welcome({ isGuest, onTry }) {
  return html`<div class="welcome">
    <div class="welcome-inner">
      <${Mark} />
      <h2>What is on your mind?</h2>
      <p>Write below. A message is kept on this device the moment you send it; ${
        isGuest
          ? "it stays here until you sign in and move it."
          : "without a connection it waits, and goes out by itself, once and in order."
      }</p>
      <ul class="examples" aria-label="Examples">${EXAMPLES.map(
        (text) =>
          html`<li><button type="button" onClick=${() => onTry(text)}>${text}</button></li>`,
      )}</ul>
      <p class="keys"><span><kbd>Enter</kbd> send</span><span><kbd>Shift</kbd> <kbd>Enter</kbd> new line</span>
        <span><kbd>Ctrl</kbd> <kbd>K</kbd> filter</span><span><kbd>Alt</kbd> <kbd>N</kbd> new</span></p>
    </div>
  </div>`;
}

/** @param {{onNew: () => void}} props */
function Gone({ onNew }) {
  return html`<div class="welcome"><div class="welcome-inner">
    <h2>This conversation is not there</h2>
    <p>It was deleted, or it belongs to another account.</p>
    <p><button type="button" class="primary" onClick=${onNew}>New conversation</button></p>
  </div></div>`;
}

/** @param {{error: Error, retry: () => void}} props */
function Failed({ error, retry }) {
  return html`<div class="welcome" role="alert"><div class="welcome-inner">
    <h2>These messages cannot be shown</h2>
    <p>${error.message}</p>
    <p><button type="button" class="primary" onClick=${retry}>Try again</button></p>
  </div></div>`;
}

/**
 * @param {{
 *   session: Session,
 *   openedId: string | null,
 *   conversations: Conversation[],
 *   isListed: boolean,
 *   outbox: OutboxItem[],
 *   phase: ConnectionState["phase"],
 *   onMenu: () => void,
 *   onPickTag: (tag: string) => void,
 * }} props `isListed`: `conversations` has all of them
 */
export function Chat({
  session,
  openedId,
  conversations,
  isListed,
  outbox,
  phase,
  onMenu,
  onPickTag,
}) {
  const { actions, route } = usePage();
  const answering = useObserved(actions.answering);
  const conversation = conversations.find(({ _id }) => _id === openedId) ?? null;
  const hasUnsent = outbox.some(({ args }) => openedId && args.conversationId === openedId);
  const isMissing = openedId !== null && isListed && !conversation;
  // Failed messages to a conversation that was deleted elsewhere are still somebody's words.
  const isGone = isMissing && !hasUnsent;
  const placeholder = isMissing
    ? "Deleted conversation"
    : openedId
      ? "Loading"
      : "New conversation";

  // biome-ignore lint/correctness/useExhaustiveDependencies: whenever another one is opened
  useEffect(() => {
    // On a touch screen the keyboard would cover what is to be read.
    if (window.matchMedia("(pointer: fine)").matches) focusComposer();
  }, [openedId]);

  /** @param {string} content */
  const send = (content) => {
    const sentTo = actions.send(openedId, content);
    if (sentTo !== openedId) route.open(sentTo);
  };

  const fallback = (/** @type {Error} */ error, /** @type {() => void} */ retry) =>
    html`<${Failed} error=${error} retry=${retry} />`;

  return html`<main class="chat">
    <header class="chat-head">
      <button type="button" class="icon-button to-list" aria-label="Open list" aria-controls="side" onClick=${onMenu}>
        <${Icon} name="menu" /></button>
      <${Title} key=${openedId} conversation=${conversation} placeholder=${placeholder} onPickTag=${onPickTag} />
    </header>
    ${openedId === null && html`<${Welcome} isGuest=${session.kind === "guest"} onTry=${send} />`}
    ${isGone && html`<${Gone} onNew=${() => route.open(null)} />`}
    ${
      openedId !== null &&
      !isGone &&
      html`<${ErrorBoundary} key=${openedId} resetKey=${phase} fallback=${fallback}>
        <${MessageList} key=${openedId} conversationId=${openedId} outbox=${outbox} phase=${phase}
          isAnswering=${answering.has(openedId)} />
      <//>`
    }
    ${
      !isMissing &&
      html`<${Composer} key=${openedId} who=${session.name} conversationId=${openedId} onSend=${send} />`
    }
    <${StatusBar} outbox=${outbox} />
  </main>`;
}
