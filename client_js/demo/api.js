/**
 * References to the server's functions.
 *
 * @module
 */

import { anyApi } from "parley-client";

export const api = anyApi;
