/**
 * Markup without a build step: `html` makes preact's nodes out of a template.
 *
 * @module
 */

import htm from "htm";
import { h } from "preact";

/** @import {VNode} from "preact" */

/** @typedef {(strings: TemplateStringsArray, ...values: unknown[]) => VNode} Html */

// Its types are those of a CommonJS module, and say less.
const { bind } = /** @type {{bind: (this: unknown, make: typeof h) => Html}} */ (
  /** @type {unknown} */ (htm)
);

export const html = bind.call(htm, h);
