/**
 * How things stand, always in sight and in words; details on demand.
 *
 * @module
 */

import { useConnectionState } from "parley-client/react";
import { useRef } from "preact/hooks";
import { clockTime } from "./dates.js";
import { html } from "./html.js";
import { Icon } from "./icons.js";
import { place } from "./menu.js";
import { useNow, useObserved } from "./observable.js";
import { usePage } from "./page.js";
import { connectionStatus, deedWords, failureWords, roleWords } from "./words.js";

/** @import {ConnectionState} from "../src/types.js" */
/** @import {OutboxItem} from "./types.js" */

const SECOND_MS = 1000;

/** @param {{item: OutboxItem}} props */
function Write({ item }) {
  const isFailed = item.state === "failed";
  return html`<li class=${isFailed ? "write write-failed" : "write"}>
    <span>${deedWords(item)}</span>
    <small>${isFailed ? `Failed: ${failureWords(item.error)}` : `Kept at ${clockTime(item.storedAt)}${item.state === "sent" ? ", sent, not confirmed yet" : ""}`}</small>
    ${
      isFailed &&
      html`<span class="write-choices">
        <button type="button" class="small" onClick=${() => item.retry()}><${Icon} name="retry" />Try again</button>
        <button type="button" class="small quiet" onClick=${() => item.discard()}>Discard</button>
      </span>`
    }
  </li>`;
}

const SHOWN_WRITES = 30;

/** @param {{state: ConnectionState, outbox: OutboxItem[]}} props */
function Details({ state, outbox }) {
  const { session } = usePage();
  const current = useObserved(session.current);
  const isGuest = state.phase === "guest";
  // The failed ones need somebody: they come first.
  const writes = [...outbox].sort(
    (a, b) => Number(b.state === "failed") - Number(a.state === "failed"),
  );
  return html`
    <h2>Connection</h2>
    <p>${connectionStatus(state, Date.now()).text}, since ${clockTime(state.since)}.</p>
    ${state.reason && html`<p class="muted">${state.reason}</p>`}
    ${!isGuest && html`<p class="muted">${roleWords(state.role)}</p>`}
    <p class="muted">${
      state.durable
        ? "What you write is on this device's disk before anything is sent."
        : "This browser keeps nothing on disk here: unsent changes are lost when the last tab closes."
    }</p>
    ${current && html`<p class="muted">Account: ${current.name}</p>`}
    ${
      !isGuest &&
      html`<h2>Not confirmed yet</h2>
        ${
          writes.length === 0
            ? html`<p class="muted">Nothing: the server has everything.</p>`
            : html`<ul class="writes">${writes
                .slice(0, SHOWN_WRITES)
                .map((item) => html`<${Write} key=${item.key} item=${item} />`)}</ul>`
        }
        ${writes.length > SHOWN_WRITES && html`<p class="muted">and ${writes.length - SHOWN_WRITES} more</p>`}`
    }`;
}

/** @param {{outbox: OutboxItem[]}} props */
export function StatusBar({ outbox }) {
  const { session } = usePage();
  const state = useConnectionState();
  const panel = useRef(/** @type {HTMLDivElement | null} */ (null));
  const button = useRef(/** @type {HTMLButtonElement | null} */ (null));
  const now = useNow(state.retryAt === null ? null : SECOND_MS);
  const { tone, text } = connectionStatus(state, now);

  /** @param {ToggleEvent} event */
  const onToggle = (event) => {
    const isOpen = event.newState === "open";
    button.current?.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen || !panel.current || !button.current) return;
    place(panel.current, button.current, true);
    panel.current.focus();
  };

  return html`<footer class=${`status status-${tone}`}>
    <button type="button" class="status-button" ref=${button} popovertarget="status-details"
      aria-expanded="false">
      <span class="status-dot" aria-hidden="true" /><span class="visually-hidden">Connection: </span>
      <span class="status-text">${text}</span><span class="status-more" aria-hidden="true">Details</span>
    </button>
    ${
      state.phase === "needs-auth" &&
      html`<button type="button" class="small" onClick=${() => session.end()}>Sign in again</button>`
    }
    <div class="panel" id="status-details" ref=${panel} popover="auto" tabindex="-1" role="dialog"
      aria-label="Connection details" onToggle=${onToggle}>
      <${Details} state=${state} outbox=${outbox} />
    </div>
    <${Spoken} state=${state} />
  </footer>`;
}

/** Speaks changes, but not each second of a countdown or each write. @param {{state: ConnectionState}} props */
function Spoken({ state }) {
  const unsent = state.phase === "connected" ? 0 : state.unsent;
  const { text } = connectionStatus({ ...state, retryAt: null, unsent }, 0);
  return html`<p class="visually-hidden" role="status">${text}</p>`;
}
