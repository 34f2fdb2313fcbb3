/**
 * Prints how much a page loads of the client, minified and compressed; ends with 1 if it is too
 * much. The bindings are counted without what they share with the core.
 *
 * Why these limits: docs/decisions/0022-the-size-of-the-client.md.
 *
 * @module
 */

import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const LIMITS = { "src/index.js": 25_000, "src/react.js": 3_000 };

/** @type {string[]} */
let counted = [];
for (const [entry, limit] of Object.entries(LIMITS)) {
  const { outputFiles, metafile } = await build({
    entryPoints: [entry],
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    write: false,
    metafile: true,
    external: ["react", ...counted.map((path) => `./${path}`)],
  });
  const size = gzipSync(outputFiles[0]?.contents ?? "", { level: 9 }).length;
  console.log(`${entry}: ${size} of ${limit} bytes`);
  if (size > limit) process.exitCode = 1;
  counted = Object.keys(metafile.inputs);
}
