/**
 * React, and preact in its place, in a DOM.
 *
 * @module
 */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";
import { JSDOM } from "jsdom";

/** @import { ReactNode } from "react" */

/**
 * @typedef {object} Flavour
 * @property {typeof import("react")} React
 * @property {typeof import("../../src/react.js")} bindings
 * @property {typeof import("../../src/supabase.js")} supabase
 * @property {(run: () => unknown) => Promise<void>} act runs it, and all rendering that comes of it
 * @property {(element: Element) => {render: (node: ReactNode) => void, unmount: () => void}} createRoot
 */

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const MODULES = `
  export * as bindings from "./src/react.js";
  export * as supabase from "./src/supabase.js";
  export * as React from "react";
  export { act } from "preact/test-utils";
  export { createRoot } from "react-dom/client";
`;
const PREACT = { "react-dom/client": "preact/compat/client", react: "preact/compat" };

/** Makes a browser's globals, as far as rendering needs them. */
function openWindow() {
  const { window } = new JSDOM("<!doctype html>", { pretendToBeVisual: true });
  const { document, navigator, requestAnimationFrame, cancelAnimationFrame } = window;
  const globals = { window, document, navigator, requestAnimationFrame, cancelAnimationFrame };
  for (const [key, value] of Object.entries({ ...globals, IS_REACT_ACT_ENVIRONMENT: true })) {
    Object.defineProperty(globalThis, key, { value, configurable: true, writable: true });
  }
}

/**
 * Loads the bindings with React, or with preact at its place.
 *
 * @param {"react" | "preact"} name
 * @returns {Promise<Flavour>}
 */
export async function loadFlavour(name) {
  openWindow();
  if (name === "preact") return loadPreact();
  const React = await import("react");
  const { createRoot } = await import("react-dom/client");
  const bindings = await import("../../src/react.js");
  const supabase = await import("../../src/supabase.js");
  return { React, createRoot, bindings, supabase, act: React.act };
}

/** @returns {Promise<Flavour>} */
async function loadPreact() {
  const folder = await mkdtemp(join(tmpdir(), "parley-react-"));
  const outfile = join(folder, "preact.mjs");
  try {
    await build({
      stdin: { contents: MODULES, resolveDir: ROOT },
      alias: PREACT,
      outfile,
      bundle: true,
      format: "esm",
      logLevel: "error",
    });
    return await import(pathToFileURL(outfile).href);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/**
 * Makes a component that shows nothing in place of what failed inside, and tells of it.
 *
 * @param {Flavour["React"]} React
 * @param {(error: unknown) => void} onError
 */
export function boundaryOf(React, onError) {
  return class Boundary extends React.Component {
    /** @override */
    state = { hasFailed: false };

    static getDerivedStateFromError() {
      return { hasFailed: true };
    }

    /** @override @param {unknown} error */
    componentDidCatch(error) {
      onError(error);
    }

    /** @override */
    render() {
      return this.state.hasFailed ? null : /** @type {any} */ (this.props).children;
    }
  };
}
