/**
 * Serves the page's own files: from the server, and from what was kept when it does not answer.
 * Nothing else is touched: no tokens, no data.
 *
 * @module
 */

/**
 * What is used of a worker: the types of documents and of workers exclude each other.
 * @typedef {Event & {waitUntil: (work: Promise<unknown>) => void}} WorkerEvent
 * @typedef {object} Worker
 * @property {Location} location
 * @property {() => Promise<void>} skipWaiting
 * @property {{claim: () => Promise<void>}} clients
 * @property {((event: WorkerEvent) => void) | null} oninstall
 * @property {((event: WorkerEvent) => void) | null} onactivate
 * @property {((event: WorkerEvent & {request: Request, respondWith: (response: Promise<Response>) => void}) => void) | null} onfetch
 * @property {((event: WorkerEvent & {data: {type: string, urls: string[]}}) => void) | null} onmessage
 */

const KEPT = "parley-pages";
const PATIENCE_MS = 3000;
const FILES = /^\/(?:$|demo\/|client\/|vendor\/)/;

const worker = /** @type {Worker} */ (/** @type {unknown} */ (self));

/** @param {string} url */
const isOurs = (url) => {
  const { origin, pathname } = new URL(url);
  return origin === worker.location.origin && FILES.test(pathname);
};

/** @param {Request | string} request */
async function fetchAndKeep(request) {
  const response = await fetch(request);
  if (response.ok) {
    const cache = await caches.open(KEPT);
    await cache.put(request, response.clone());
  }
  return response;
}

/**
 * A network that neither works nor fails must not hold the page up.
 *
 * @param {Promise<Response>} fetched
 * @param {Response} kept
 */
const inTime = (fetched, kept) =>
  Promise.race([
    fetched.then((response) => (response.ok ? response : kept)).catch(() => kept),
    new Promise((resolve) => setTimeout(resolve, PATIENCE_MS, kept)),
  ]);

/** @param {Request} request @returns {Promise<Response>} */
async function answer(request) {
  const fetched = fetchAndKeep(request);
  const kept = await caches.match(request, { ignoreSearch: true, ignoreVary: true });
  return kept ? inTime(fetched, kept) : fetched;
}

worker.oninstall = (event) => event.waitUntil(worker.skipWaiting());
worker.onactivate = (event) => event.waitUntil(worker.clients.claim());
worker.onfetch = (event) => {
  const { method, url } = event.request;
  if (method === "GET" && isOurs(url)) event.respondWith(answer(event.request));
};
worker.onmessage = (event) => {
  if (event.data?.type !== "keep") return;
  const urls = new Set(event.data.urls.filter(isOurs));
  event.waitUntil(Promise.allSettled([...urls].map(fetchAndKeep)));
};
