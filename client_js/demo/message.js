/**
 * One message: who, what, where it is from, and how far it got.
 *
 * @module
 */

import { memo } from "preact/compat";
import { clockTime, wholeTime } from "./dates.js";
import { ErrorBoundary } from "./error-boundary.js";
import { html } from "./html.js";
import { Icon } from "./icons.js";
import { Data, Prose } from "./prose.js";
import { failureWords, sendingWords } from "./words.js";

/** @import {Citation, Message, OutboxItem, ToolInvocation} from "./types.js" */
/** @import {ConnectionState} from "../src/types.js" */

const SPEAKERS = { user: "You", assistant: "Assistant", system: "System" };

/** @param {string} url */
function hostOf(url) {
  try {
    const { protocol, host } = new URL(url);
    return protocol === "https:" || protocol === "http:" ? host.replace(/^www\./, "") : null;
  } catch {
    return null;
  }
}

/** @param {{citation: Citation, number: number}} props */
function Source({ citation: { title, url, snippet }, number }) {
  const host = hostOf(url);
  const name = html`<span class="source-number">${number}</span>
    <span class="source-title">${title || url}</span>`;
  return html`<li class="source">
    ${
      host
        ? html`<a href=${url} target="_blank" rel="noopener noreferrer nofollow">${name}
            <span class="source-host">${host}</span></a>`
        : html`<span class="source-plain">${name}</span>`
    }
    ${snippet && html`<p class="source-snippet">${snippet}</p>`}
  </li>`;
}

/** @param {{citations: Citation[]}} props */
function Sources({ citations }) {
  return html`<details class="fold">
    <summary><${Icon} name="book" />${citations.length === 1 ? "1 source" : `${citations.length} sources`}</summary>
    <ol class="sources">
      ${citations.map((citation, at) => html`<${Source} citation=${citation} number=${at + 1} />`)}
    </ol>
  </details>`;
}

/** @param {{text: string}} props */
function Reasoning({ text }) {
  return html`<details class="fold">
    <summary><${Icon} name="think" />Reasoning</summary>
    <div class="fold-body"><${Prose} text=${text} /></div>
  </details>`;
}

/** @param {{tool: ToolInvocation}} props */
function Tool({ tool }) {
  return html`<details class="fold">
    <summary><${Icon} name="tool" />Used <code>${tool.name}</code></summary>
    <div class="fold-body">
      <${Data} label="Arguments" value=${tool.args} />
      ${tool.result !== undefined && html`<${Data} label="Result" value=${tool.result} />`}
    </div>
  </details>`;
}

/** @param {{unsent: OutboxItem, phase: ConnectionState["phase"]}} props */
function Unsent({ unsent, phase }) {
  const words = sendingWords(unsent.state, phase);
  if (!words) return null;
  if (unsent.state !== "failed") {
    return html`<p class=${`unsent ${phase === "connected" ? "unsent-soon" : ""}`}>${words}…</p>`;
  }
  return html`<div class="unsent unsent-failed" role="alert">
    <p><strong>${words}.</strong> ${failureWords(unsent.error)}.</p>
    <button type="button" class="small" onClick=${() => unsent.retry()}>
      <${Icon} name="retry" />Try again</button>
    <button type="button" class="small quiet" onClick=${() => unsent.discard()}>Discard</button>
  </div>`;
}

/** @param {{message: Message}} props */
function Content({ message: { role, content, citations, reasoningText, tools } }) {
  return html`
    ${reasoningText && html`<${Reasoning} text=${reasoningText} />`}
    ${tools?.map((tool) => html`<${Tool} tool=${tool} />`)}
    <${Prose} text=${content} breaks=${role === "user"} />
    ${citations && citations.length > 0 && html`<${Sources} citations=${citations} />`}
  `;
}

/** @param {{message: Message, error: Error}} props */
function Broken({ message, error }) {
  return html`<div class="broken">
    <p>This message cannot be shown as it was meant (${error.message}). Its text:</p>
    <pre tabindex="0" role="group" aria-label="Text of the message">${String(message.content)}</pre>
  </div>`;
}

/**
 * @typedef {object} MessageProps
 * @property {Message} message
 * @property {OutboxItem | null} unsent its write, until the server confirmed it
 * @property {ConnectionState["phase"]} phase
 */

/** @param {MessageProps} props */
function Speech({ message, unsent, phase }) {
  const speaker = SPEAKERS[message.role] ?? message.role;
  const at = clockTime(message.timestamp);
  const isWaiting = unsent !== null && unsent.state !== "failed" && phase !== "guest";
  return html`<article class=${`message message-${message.role} ${isWaiting ? "message-waiting" : ""}`} aria-label=${`${speaker}, ${at}`}
    data-state=${unsent?.state ?? "committed"}>
    <header class="message-head">
      <span class="speaker">${speaker}</span>
      <time datetime=${new Date(message.timestamp).toISOString()} title=${wholeTime(message.timestamp)}>${at}</time>
    </header>
    <div class="message-body"><${Content} message=${message} /></div>
    ${unsent && html`<${Unsent} unsent=${unsent} phase=${phase} />`}
  </article>`;
}

/** @param {MessageProps} props */
function Guarded(props) {
  const { message } = props;
  const fallback = (/** @type {Error} */ error) =>
    html`<${Broken} message=${message} error=${error} />`;
  return html`<${ErrorBoundary} resetKey=${message} fallback=${fallback}><${Speech} ...${props} /><//>`;
}

export const MessageView = memo(Guarded);
