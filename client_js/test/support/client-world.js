/**
 * A simulated browser and server, and clients on it that show one list.
 *
 * @module
 */

import { createClient } from "../../src/client.js";
import { Sim } from "./sim.js";
import { SimServer } from "./sim-server.js";

/** @import {ClientOptions} from "../../src/client.js" */
/** @import {LocalStore} from "../../src/types.js" */

export const URL = "https://parley.test";

/** The optimistic update of `list:append`. @param {LocalStore} store @param {{id: number}} args */
export function append(store, { id }) {
  store.setQuery("list:all", {}, [...(store.getQuery("list:all", {}) ?? []), id]);
}

export function world() {
  const sim = new Sim();
  return { sim, server: new SimServer(sim) };
}

/**
 * Opens a client on a page, a new one unless given, and notes what `list:all` shows.
 *
 * @param {ReturnType<typeof world>} world
 * @param {ClientOptions} [options]
 */
export function open({ sim, server }, options, page = sim.tab(server.openSocket)) {
  const client = createClient(URL, {
    env: page.env,
    optimisticUpdates: { "list:append": append },
    ...options,
  });
  /** @type {{value: number[], isStale: boolean}[]} */
  const shown = [];
  client.subscribe("list:all", {}, ({ value, isStale }) => shown.push({ value, isStale }));
  return { page, client, shown, last: () => shown.at(-1) };
}

/** @param {string} sub @param {number} n makes tokens differ @param {number} exp in s */
export const tokenOf = (sub, n = 0, exp = 4_000_000_000) =>
  ["e30", btoa(JSON.stringify({ iss: "i", sub, iat: n, exp })), "x"].join(".");
