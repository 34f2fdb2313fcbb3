/**
 * Lets the page open without a connection: a service worker keeps what it is made of.
 *
 * @module
 */

/** Resolves once everything that this page has loaded is kept; where that cannot be, at once. */
export async function keepPage() {
  if (!("serviceWorker" in navigator)) return;
  try {
    await navigator.serviceWorker.register("/demo/service-worker.js", {
      scope: "/",
      type: "module",
      updateViaCache: "none",
    });
    const { active } = await navigator.serviceWorker.ready;
    // The worker was not there yet when these were loaded.
    const loaded = performance.getEntriesByType("resource").map(({ name }) => name);
    active?.postMessage({ type: "keep", urls: [location.origin + location.pathname, ...loaded] });
  } catch (error) {
    console.warn("This page will not open without a connection:", error);
  }
}
