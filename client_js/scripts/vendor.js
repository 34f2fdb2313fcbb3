/**
 * What the pages load of other people's code: whole ES modules out of node_modules, so that no
 * request leaves the machine. `make vendor` writes them to vendor/; bare imports between them stay
 * as they are and resolve through the page's import map, vendor/import-map.json.
 *
 * @module
 */

import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

/** By what a module is imported as: its file in node_modules, and the one in vendor/. */
const MODULES = {
  preact: ["preact/dist/preact.mjs", "preact.js"],
  "preact/hooks": ["preact/hooks/dist/hooks.mjs", "preact-hooks.js"],
  "preact/compat": ["preact/compat/dist/compat.mjs", "preact-compat.js"],
  htm: ["htm/dist/htm.mjs", "htm.js"],
  marked: ["marked/lib/marked.esm.js", "marked.js"],
  dompurify: ["dompurify/dist/purify.es.mjs", "dompurify.js"],
  idb: ["idb/build/index.js", "idb.js"],
};

// src/react.js says `react`; the pages have preact in its place.
const ALIASES = { react: "preact-compat.js" };

const PACKAGES = ["preact", "htm", "marked", "dompurify", "idb"];
const INSTALLED = new URL("../node_modules/", import.meta.url);

/** Directory that the files belong into. */
export const VENDOR = new URL("../vendor/", import.meta.url);

/** @param {string} path below node_modules */
const installed = (path) => readFile(new URL(path, INSTALLED), "utf8");

/** @param {string} text of a module */
const withoutSourceMap = (text) => text.replace(/\n?\/\/# sourceMappingURL=.*\s*$/, "\n");

/**
 * Returns what vendor/ must hold, by path below it.
 *
 * @returns {Promise<Map<string, string>>}
 * @throws {Error} a package is not installed (`npm ci` installs them).
 */
export async function vendored() {
  const files = new Map();
  for (const [source, name] of Object.values(MODULES)) {
    files.set(name, withoutSourceMap(await installed(/** @type {string} */ (source))));
  }
  for (const name of PACKAGES) {
    const { version, license } = JSON.parse(await installed(`${name}/package.json`));
    const terms = await installed(`${name}/LICENSE`);
    files.set(`licenses/${name}.txt`, `${name} ${version} (${license})\n\n${terms}`);
  }
  const names = Object.entries(MODULES).map(([module, [, name]]) => [module, name]);
  const imports = [...names, ...Object.entries(ALIASES)].map(([key, name]) => [
    key,
    `/vendor/${name}`,
  ]);
  const map = { imports: Object.fromEntries(imports) };
  return files.set("import-map.json", `${JSON.stringify(map, null, 2)}\n`);
}

async function write() {
  const files = await vendored();
  await rm(VENDOR, { recursive: true, force: true });
  for (const [path, text] of files) {
    const file = fileURLToPath(new URL(path, VENDOR));
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await write();
