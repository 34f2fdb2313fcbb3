// node bundle.mjs <out dir>: bundles each page against each version of the convex package, which is
// not modified: only the name it is imported by changes.
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const pages = { seed: "seed/src/page.jsx", probe: "probe/page.jsx" };

for (const convex of ["convex", "convex-old"]) {
  await build({
    entryPoints: pages,
    entryNames: `[name]-${convex}`,
    absWorkingDir: here,
    outdir: process.argv[2],
    bundle: true,
    platform: "browser",
    format: "iife",
    jsx: "automatic",
    alias: { convex },
    define: {
      // The page's own URL of the deployment, which Next.js would put in at build time.
      "process.env.NEXT_PUBLIC_CONVEX_URL": "window.NEXT_PUBLIC_CONVEX_URL",
      "process.env.NODE_ENV": '"production"',
    },
    logLevel: "error",
  });
}
