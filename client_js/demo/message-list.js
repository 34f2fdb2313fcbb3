/**
 * A conversation's messages: the newest first on the wire, the newest last on the screen, older
 * ones page by page.
 *
 * @module
 */

import { usePaginatedQuery } from "parley-client/react";
import { Fragment } from "preact";
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { api } from "./api.js";
import { dayTitle } from "./dates.js";
import { html } from "./html.js";
import { Icon } from "./icons.js";
import { withUnsent } from "./lists.js";
import { MessageView } from "./message.js";
import { useNow } from "./observable.js";
import { useNearView, useStickyScroll } from "./scrolling.js";
import { shortened } from "./words.js";

/** @import {ConnectionState} from "../src/types.js" */
/** @import {Message, OutboxItem, Shown} from "./types.js" */

const PAGE_SIZE = 40;
const MINUTE_MS = 60_000;
const REST_MS = 1000;

/**
 * Tells a screen reader what the assistant says once it has come to rest, and nothing of what was
 * there before.
 *
 * @param {{last: Message | undefined}} props
 */
function Announcer({ last }) {
  const [words, setWords] = useState("");
  const heardId = useRef(/** @type {string | undefined} */ (undefined));
  useEffect(() => {
    if (!last || last._id === heardId.current) return;
    const hear = () => {
      heardId.current = last._id;
      if (last.role === "assistant") setWords(`Assistant: ${shortened(last.content, 200)}`);
    };
    if (heardId.current === undefined) heardId.current = last._id;
    else if (last.role !== "assistant") hear();
    else {
      const timer = setTimeout(hear, REST_MS);
      return () => clearTimeout(timer);
    }
  }, [last]);
  return html`<p class="visually-hidden" role="status">${words}</p>`;
}

/** @param {{shown: Shown[], phase: ConnectionState["phase"], now: number}} props */
function Days({ shown, phase, now }) {
  return shown.map(({ message, unsent }, at) => {
    const day = dayTitle(message.timestamp, now);
    const previous = shown[at - 1];
    const isNewDay = !previous || dayTitle(previous.message.timestamp, now) !== day;
    return html`<${Fragment} key=${message._id}>
      ${isNewDay && html`<h2 class="day"><span>${day}</span></h2>`}
      <${MessageView} message=${message} unsent=${unsent} phase=${phase} />
    <//>`;
  });
}

/** @param {{status: string, phase: ConnectionState["phase"], isEmpty: boolean}} props */
function Top({ status, phase, isEmpty }) {
  if (status === "LoadingMore")
    return html`<p class="top-note" role="status">Loading older messages…</p>`;
  if (status === "Exhausted") {
    return html`<p class="top-note">${isEmpty ? "Nothing has been said here yet." : "The conversation begins here."}</p>`;
  }
  if (status !== "LoadingFirstPage" || !isEmpty) return null;
  if (phase === "connected" || phase === "connecting") {
    return html`<div class="skeleton" role="status" aria-label="Loading messages">
      <i class="bone bone-short" /><i class="bone" /><i class="bone" /><i class="bone bone-half" />
    </div>`;
  }
  return html`<p class="top-note">These messages are not on this device yet. They come when there is a connection.</p>`;
}

/**
 * @param {{
 *   conversationId: string,
 *   outbox: OutboxItem[],
 *   phase: ConnectionState["phase"],
 *   isAnswering: boolean,
 * }} props
 */
export function MessageList({ conversationId, outbox, phase, isAnswering }) {
  const { results, status, loadMore } = usePaginatedQuery(
    api.messages.list,
    { conversationId },
    { initialNumItems: PAGE_SIZE },
  );
  const messages = /** @type {Message[]} */ (results);
  const shown = useMemo(
    () => withUnsent(messages, outbox, conversationId),
    [messages, outbox, conversationId],
  );
  const now = useNow(MINUTE_MS);
  const scroller = useRef(/** @type {HTMLDivElement | null} */ (null));
  const top = useRef(/** @type {HTMLDivElement | null} */ (null));
  const { isFollowing, jump } = useStickyScroll(scroller, shown[0]?.message._id ?? null);
  const canLoadMore = status === "CanLoadMore";
  const more = useCallback(() => loadMore(PAGE_SIZE), [loadMore]);
  useNearView(top, scroller, canLoadMore ? more : null);

  // Whoever sends something wants to see it.
  const lastOwn = shown.findLast(({ unsent }) => unsent)?.message._id;
  useEffect(() => {
    if (lastOwn) jump();
  }, [lastOwn, jump]);

  return html`<div class="messages-frame">
    <div class="messages" ref=${scroller} tabindex="0" role="log" aria-live="off" aria-label="Messages">
      <div class="messages-inner">
        <div class="top" ref=${top}>
          <${Top} status=${status} phase=${phase} isEmpty=${shown.length === 0} />
          ${canLoadMore && html`<button type="button" class="small quiet" onClick=${more}>Load older messages</button>`}
        </div>
        <${Days} shown=${shown} phase=${phase} now=${now} />
        ${isAnswering && html`<p class="answering" role="status"><span class="dots" aria-hidden="true"><i /><i /><i /></span>The assistant is writing</p>`}
      </div>
    </div>
    <${Announcer} last=${messages[0]} />
    ${
      !isFollowing &&
      html`<button type="button" class="jump" onClick=${jump}><${Icon} name="down" />Jump to newest</button>`
    }
  </div>`;
}
