/**
 * The outside for tests in Node.js: sockets of `ws`; no tabs and no disk unless given.
 *
 * @module
 */

/** @import {Env, Socket} from "../../src/types.js" */

// @ts-expect-error: it has no types.
import { WebSocket } from "ws";
import { createEnv } from "../../src/env.js";

/**
 * @param {Partial<Env>} [given] replaces parts of it
 * @returns {Env}
 */
export const nodeEnv = (given) =>
  createEnv({
    openSocket: (url) => {
      const socket = new WebSocket(url);
      // A close follows, which says all that is needed.
      socket.on("error", () => {});
      return /** @type {Socket} */ (/** @type {unknown} */ (socket));
    },
    indexedDB: null,
    ...given,
  });
