/**
 * What the page says about the connection and about unsent writes, in words. Pure.
 *
 * @module
 */

/** @import {ConnectionState} from "../src/types.js" */
/** @import {OutboxItem} from "./types.js" */

/**
 * @typedef {"good" | "busy" | "waiting" | "bad"} Tone
 * @typedef {{tone: Tone, text: string}} Status
 */

/**
 * @param {number} count
 * @param {string} one
 * @param {string} [many]
 */
export const counted = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

/** @param {number} count */
const kept = (count) =>
  count === 1
    ? "1 change is kept on this device and will be sent"
    : `${count} changes are kept on this device and will be sent`;

/**
 * @param {string} state
 * @param {number} unsent
 */
const withKept = (state, unsent) => (unsent > 0 ? `${state}: ${kept(unsent)}` : state);

/**
 * @param {number | null} at
 * @param {number} now
 */
const secondsUntil = (at, now) => (at === null ? 0 : Math.max(0, Math.ceil((at - now) / 1000)));

/**
 * @param {ConnectionState} state
 * @param {number} now
 * @returns {Status}
 */
function phaseStatus(state, now) {
  const seconds = secondsUntil(state.retryAt, now);
  switch (state.phase) {
    case "connected":
      return state.unsent > 0
        ? { tone: "busy", text: `Connected, sending ${counted(state.unsent, "change")}` }
        : { tone: "good", text: "Connected" };
    case "connecting":
      return { tone: "busy", text: withKept("Connecting", state.unsent) };
    case "reconnecting": {
      const when = seconds > 0 ? `Reconnecting in ${seconds} s` : "Reconnecting";
      return { tone: "waiting", text: withKept(when, state.unsent) };
    }
    case "offline":
      return { tone: "waiting", text: withKept("Offline", state.unsent) };
    case "needs-auth": {
      const why = state.reason ? `Not signed in (${state.reason})` : "Signed out";
      const when = seconds > 0 ? `, trying again in ${seconds} s` : "";
      return { tone: "bad", text: withKept(why + when, state.unsent) };
    }
    case "guest":
      return { tone: "good", text: "No account: everything stays on this device" };
    case "closed":
      return { tone: "bad", text: withKept("Disconnected", state.unsent) };
    default:
      return /** @type {never} */ (state.phase);
  }
}

/**
 * Says in one line how things stand.
 *
 * @param {ConnectionState} state
 * @param {number} now ms since the epoch
 * @returns {Status}
 */
export function connectionStatus(state, now) {
  const status = phaseStatus(state, now);
  if (state.failed === 0) return status;
  const failed = `${counted(state.failed, "change")} failed`;
  return { tone: "bad", text: `${status.text} · ${failed}` };
}

/** Says what this tab does for the others. @param {ConnectionState["role"]} role */
export function roleWords(role) {
  if (role === "leader") return "This tab leads: it holds the one connection of all your tabs.";
  if (role === "follower") return "This tab follows: another tab holds the connection for it.";
  return "This tab is on its own: it has its own connection.";
}

/** @type {Record<string, string>} */
const DEEDS = {
  "conversations:create": "New conversation",
  "conversations:addMessage": "Message",
  "conversations:update": "Change of a conversation",
  "conversations:remove": "Deletion of a conversation",
};

/** Says what a write does. @param {Pick<OutboxItem, "path" | "args">} item */
export function deedWords({ path, args }) {
  const deed = DEEDS[path] ?? path;
  const subject = args.title ?? args.content;
  return typeof subject === "string" && subject ? `${deed}: “${shortened(subject, 60)}”` : deed;
}

/** Says why something failed: in the application's words, where it has any. @param {Error | null} error */
export function failureWords(error) {
  const { data, message } = /** @type {{data?: unknown, message?: string}} */ (error ?? {});
  return typeof data === "string" && data ? data : (message ?? "unknown");
}

/**
 * Says how far a message is, or null once there is nothing to say.
 *
 * @param {OutboxItem["state"]} state
 * @param {ConnectionState["phase"]} phase
 */
export function sendingWords(state, phase) {
  if (phase === "guest") return null;
  if (state === "failed") return "Not sent";
  return phase === "connected" ? "Sending" : "Waiting for connection";
}

/**
 * Returns the text's first line, cut between words to at most `limit` characters.
 *
 * @param {string} text
 * @param {number} limit
 */
export function shortened(text, limit) {
  const line = text.trim().split("\n", 1)[0]?.trim() ?? "";
  const points = [...line];
  if (points.length <= limit) return line;
  const cut = points.slice(0, limit - 1).join("");
  const space = cut.lastIndexOf(" ");
  return `${(space > limit / 2 ? cut.slice(0, space) : cut).trimEnd()}…`;
}

/**
 * Names a conversation by its first message: Markdown's marks are left out.
 *
 * @param {string} content
 */
export function titleFrom(content) {
  const plain = content.replace(/^[\s#>*-]+/, "").replace(/[*_`]/g, "");
  return shortened(plain, 60) || "New conversation";
}
