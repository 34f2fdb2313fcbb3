/**
 * What every component of the page can reach.
 *
 * @module
 */

import { createContext } from "preact";
import { useContext } from "preact/hooks";

/** @import {Actions} from "./actions.js" */
/** @import {Client} from "../src/client.js" */
/** @import {createDrafts, Kept} from "./kept.js" */
/** @import {Route} from "./route.js" */
/** @import {SessionKeeper} from "./session.js" */
/** @import {Toasts} from "./toasts.js" */
/** @import {Config} from "./types.js" */

/**
 * @typedef {object} Page
 * @property {Client} client
 * @property {Config} config
 * @property {SessionKeeper} session
 * @property {Actions} actions
 * @property {Toasts} toasts
 * @property {ReturnType<typeof createDrafts>} drafts
 * @property {Route} route
 * @property {Kept} kept
 */

export const PageContext = createContext(/** @type {Page | null} */ (null));

/** @returns {Page} */
export function usePage() {
  const page = useContext(PageContext);
  if (!page) throw new Error("usePage: no PageContext around this component");
  return page;
}
