/**
 * The list of conversations.
 *
 * @module
 */

import { memo } from "preact/compat";
import { useMemo, useState } from "preact/hooks";
import { Account } from "./account.js";
import { ConversationMenu } from "./conversation-menu.js";
import { shortTime } from "./dates.js";
import { html } from "./html.js";
import { Icon, Mark } from "./icons.js";
import { InlineEdit } from "./inline-edit.js";
import { filtered, parts } from "./lists.js";
import { useNow } from "./observable.js";
import { usePage } from "./page.js";
import { addressOf } from "./route.js";

/** @import {Conversation} from "./types.js" */

const MINUTE_MS = 60_000;

/** Moves between the list's links with the arrow keys. @param {KeyboardEvent} event */
function moveInList(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const list = /** @type {HTMLElement} */ (event.currentTarget);
  const links = /** @type {HTMLElement[]} */ ([...list.querySelectorAll("a.row-link")]);
  const at = links.indexOf(/** @type {HTMLElement} */ (event.target));
  if (!step || at < 0) return;
  event.preventDefault();
  links[at + step]?.focus();
}

/** Gives the focus to a neighbour of a link that is about to go. @param {EventTarget | null} link */
function focusNeighbour(link) {
  const all = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("a.row-link")]);
  const at = all.indexOf(/** @type {HTMLElement} */ (link));
  (all[at + 1] ?? all[at - 1] ?? document.getElementById("composer"))?.focus();
}

/** @param {{conversation: Conversation, isOpen: boolean, mark: string | undefined, now: number}} props */
function PlainRow({ conversation, isOpen, mark, now }) {
  const { actions, route } = usePage();
  const [isRenaming, setRenaming] = useState(false);
  const { _id, title, isPinned, tags, updatedAt } = conversation;
  if (isRenaming) {
    return html`<li class="row"><${InlineEdit} label=${`New title of ${title}`} text=${title}
      onKeep=${(/** @type {string} */ text) => actions.rename(_id, text)}
      onEnd=${() => setRenaming(false)} /></li>`;
  }
  /** @param {KeyboardEvent} event */
  const onKeyDown = (event) => {
    if (event.key === "F2") setRenaming(true);
    if (event.key !== "Delete") return;
    focusNeighbour(event.currentTarget);
    actions.remove(conversation);
  };
  /** @param {Event} event */
  const onClick = (event) => {
    event.preventDefault();
    route.open(_id);
  };
  return html`<li class=${isOpen ? "row row-open" : "row"}>
    <a class="row-link" href=${addressOf(_id)} aria-current=${isOpen ? "page" : undefined}
      onClick=${onClick} onKeyDown=${onKeyDown}>
      <span class="row-title">${title}</span>
      <span class="row-meta">
        ${isPinned && html`<${Icon} name="pin" filled /><span class="visually-hidden">Pinned,</span>`}
        <span>${shortTime(updatedAt, now)}</span>
        ${mark && html`<span class="row-unsent">${mark}</span>`}
        ${tags.map((tag) => html`<span class="row-tag">${tag}</span>`)}
      </span>
    </a>
    <${ConversationMenu} conversation=${conversation} onRename=${() => setRenaming(true)} />
  </li>`;
}

const Row = memo(PlainRow);

/** @param {{filter: string, phase: string, isListed: boolean, isEmpty: boolean}} props */
function Nothing({ filter, phase, isListed, isEmpty }) {
  if (!isListed && (phase === "connected" || phase === "connecting")) {
    return html`<div class="skeleton" role="status" aria-label="Loading conversations">
      <i class="bone" /><i class="bone bone-half" /><i class="bone" /><i class="bone bone-short" />
    </div>`;
  }
  if (!isListed) {
    return html`<p class="side-note">Your conversations are not on this device yet. They come when there is a connection.</p>`;
  }
  if (isEmpty) {
    return html`<p class="side-note">No conversations yet. Write the first message on the right: it
      is kept on this device at once, with or without a connection.</p>`;
  }
  return html`<p class="side-note">Nothing matches “${filter}”. Titles and tags are searched;
    <code>#work</code> finds a tag only.</p>`;
}

/**
 * @param {{
 *   conversations: Conversation[],
 *   isListed: boolean,
 *   openedId: string | null,
 *   marks: ReadonlyMap<string, string>,
 *   phase: string,
 *   filter: string,
 *   onFilter: (text: string) => void,
 *   onClose: () => void,
 * }} props `conversations` in order; `isListed`: all of them
 */
export function Sidebar({
  conversations,
  isListed,
  openedId,
  marks,
  phase,
  filter,
  onFilter,
  onClose,
}) {
  const { route } = usePage();
  const now = useNow(MINUTE_MS);
  const matching = useMemo(() => filtered(conversations, filter), [conversations, filter]);
  const sections = useMemo(() => parts(matching, now), [matching, now]);

  return html`<aside class="side" id="side" aria-label="Conversations">
    <header class="side-head">
      <span class="brand"><${Mark} />Parley</span>
      <button type="button" class="icon-button side-close" aria-label="Close list" onClick=${onClose}>
        <${Icon} name="close" /></button>
    </header>
    <div class="side-tools">
      <button type="button" class="new" aria-keyshortcuts="Alt+N" title="New conversation (Alt+N)"
        onClick=${() => route.open(null)}><${Icon} name="add" />New conversation</button>
      <label class="filter"><${Icon} name="search" />
        <input type="search" id="filter" aria-label="Filter conversations" placeholder="Filter"
          title="Filter (Ctrl+K)" aria-keyshortcuts="Control+K Meta+K" autocomplete="off" value=${filter}
          onInput=${(/** @type {{currentTarget: HTMLInputElement}} */ event) => onFilter(event.currentTarget.value)} />
      </label>
    </div>
    <nav class="list" aria-label="Conversation list" onKeyDown=${moveInList}>
      ${
        sections.length === 0 &&
        html`<${Nothing} filter=${filter} phase=${phase} isListed=${isListed}
          isEmpty=${conversations.length === 0} />`
      }
      ${sections.map(
        (section) => html`<section key=${section.title} aria-label=${section.title}>
          <h2 class="part">${section.title}</h2>
          <ul>${section.conversations.map(
            (conversation) => html`<${Row} key=${conversation._id} conversation=${conversation}
              isOpen=${conversation._id === openedId} mark=${marks.get(conversation._id)} now=${now} />`,
          )}</ul>
        </section>`,
      )}
    </nav>
    <${Account} />
  </aside>`;
}
