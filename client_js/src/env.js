/**
 * The outside as a browser has it. In Node.js the same works with what there is: no tabs, no
 * page, memory for a disk.
 *
 * @module
 */

/** @import {Channel, Env, Socket} from "./types.js" */

const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * Calls `listener` for each of `names` on a target, if there is such a target here.
 *
 * @param {EventTarget | undefined} target
 * @param {string[]} names
 * @param {(event: Event) => void} listener
 * @returns {() => void} ends it
 */
function listen(target, names, listener) {
  for (const name of names) target?.addEventListener(name, listener);
  return () => {
    for (const name of names) target?.removeEventListener(name, listener);
  };
}

/** @type {Env["after"]} */
function after(run, delayMs) {
  const id = setTimeout(run, Math.min(Math.max(0, delayMs), LONGEST_TIMER_MS));
  return () => clearTimeout(id);
}

/** @type {Env["onPageChange"]} */
function onPageChange(listener) {
  const page = /** @type {Document | undefined} */ (globalThis.document);
  // A page that is left for good loses its locks anyway; one that is kept must give them up, or
  // it would hold the lead in its sleep.
  const onWindow = listen(page && window, ["pagehide", "pageshow"], (event) => {
    if (event.type === "pagehide") listener("hide");
    else if (/** @type {PageTransitionEvent} */ (event).persisted) listener("show");
  });
  const onDocument = listen(page, ["freeze", "resume", "visibilitychange"], (event) => {
    if (event.type === "freeze") listener("hide");
    else if (event.type === "resume") listener("show");
    else if (page?.visibilityState === "visible") listener("visible");
  });
  return () => {
    onWindow();
    onDocument();
  };
}

/**
 * Returns the outside as it is here.
 *
 * @param {Partial<Env>} [given] replaces parts of it: `openSocket` where there is no `WebSocket`
 * @returns {Env}
 */
export function createEnv(given) {
  const { navigator, indexedDB, BroadcastChannel } = globalThis;
  const isPage = typeof document === "object";
  return {
    now: () => Date.now(),
    random: () => Math.random(),
    uuid: randomUuid,
    after,
    isOnline: () => navigator?.onLine !== false,
    onOnlineChange: (listener) =>
      listen(isPage ? window : undefined, ["online", "offline"], (event) =>
        listener(event.type === "online"),
      ),
    isVisible: () => isPage && document.visibilityState === "visible",
    onPageChange,
    openSocket: (url) => /** @type {Socket} */ (new WebSocket(url)),
    locks: (isPage && /** @type {any} */ (navigator).locks) || null,
    openChannel:
      isPage && BroadcastChannel
        ? (name) => /** @type {Channel} */ (new BroadcastChannel(name))
        : null,
    indexedDB: indexedDB ?? null,
    ...given,
  };
}

/** A random UUID, also on pages without TLS, where `crypto.randomUUID` is not to be had. */
function randomUuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
