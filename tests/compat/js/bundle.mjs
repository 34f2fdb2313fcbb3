// node bundle.mjs <out dir>: bundles each page against each version of the convex package, which is
// not modified, and against our own client: only the name that is imported changes.
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const pages = { seed: "seed/src/page.jsx", probe: "probe/page.jsx" };
const clients = {
  convex: {},
  "convex-old": { convex: "convex-old" },
  // One React for the page and the client, which has one of its own for its tests.
  parley: {
    "convex/react": fileURLToPath(new URL("../../../client_js/src/react.js", import.meta.url)),
    react: fileURLToPath(new URL("node_modules/react", import.meta.url)),
  },
};

for (const [name, alias] of Object.entries(clients)) {
  await build({
    entryPoints: pages,
    entryNames: `[name]-${name}`,
    absWorkingDir: here,
    outdir: process.argv[2],
    bundle: true,
    platform: "browser",
    format: "iife",
    jsx: "automatic",
    alias,
    define: {
      // The page's own URL of the deployment, which Next.js would put in at build time.
      "process.env.NEXT_PUBLIC_CONVEX_URL": "window.NEXT_PUBLIC_CONVEX_URL",
      "process.env.NODE_ENV": '"production"',
    },
    logLevel: "error",
  });
}
