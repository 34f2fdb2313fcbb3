import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { dirname, join, normalize } from "node:path";
import { test } from "node:test";

// What a module may import. A name without an ending is a folder, and all that is in it.
const PURE = ["types.js", "values.js", "errors.js", "paths.js", "tokens.js"];
const CORE = [...PURE, "view.js", "sync"];
const KEPT = ["storage", "outbox.js", "results.js", "accounts.js", "ids.js"];
const PARTS = [
  ...["handle.js", "writes.js", "identity.js", "connection-state.js", "current.js"],
  ...["lead.js", "result-keeper.js", "unsent.js", "asked.js", "shown.js"],
];
const SHELL = [...PARTS, "env.js", "tabs", "transport.js", "scope.js", "client.js", "api.js"];

/** @type {Record<string, string[]>} */
const MAY_IMPORT = {
  "types.js": [],
  "errors.js": PURE,
  "values.js": PURE,
  "paths.js": PURE,
  "tokens.js": PURE,
  "view.js": PURE,
  sync: [...PURE, "sync"],
  "ids.js": PURE,
  storage: [...PURE, "storage", "idb"],
  "outbox.js": [...PURE, "storage", "ids.js"],
  "results.js": [...PURE, "storage"],
  "accounts.js": [...PURE, "storage"],
  "imports.js": [...PURE, "ids.js"],
  "migrate.js": [...PURE, "imports.js"],
  "in-step.js": [...PURE, "imports.js", "migrate.js"],
  "wholes.js": [],
  "notes.js": [],
  "dual-write.js": [...PURE, "imports.js", "in-step.js", "migrate.js", "notes.js", "wholes.js"],
  "env.js": PURE,
  "api.js": PURE,
  tabs: [...PURE, "tabs"],
  "transport.js": CORE,
  "handle.js": PURE,
  "asked.js": [...CORE, "tabs"],
  "shown.js": [...PURE, "view.js", "results.js"],
  "unsent.js": [...PURE, "handle.js", "view.js"],
  "writes.js": [...PURE, "handle.js", "ids.js", "scope.js"],
  "result-keeper.js": [...PURE, "results.js"],
  "connection-state.js": [...PURE, "tabs"],
  "current.js": [...CORE, ...KEPT, "scope.js"],
  "identity.js": [...CORE, ...KEPT],
  "lead.js": [...CORE, ...KEPT, "transport.js", "result-keeper.js", "tabs"],
  "scope.js": [...CORE, ...KEPT, ...SHELL],
  "client.js": [...CORE, ...KEPT, ...SHELL],
  "index.js": [...CORE, ...KEPT, ...SHELL],
  // The leaves: what nobody else imports.
  react: [...PURE, "react", "api.js", "client.js", "react"],
  "react.js": [...PURE, "react", "api.js", "client.js", "supabase.js", "optimistic-chat.js"],
  "zustand.js": [...PURE, "api.js"],
  "supabase.js": [...PURE, "react", "supabase-token.js"],
  "supabase-token.js": PURE,
  "optimistic-chat.js": [...PURE, "api.js", "ids.js"],
};

// Pure means: nothing from outside, and the same every time.
const OUTSIDE =
  /\b(Date\.now|new Date\(\)|Math\.random|crypto|performance|setTimeout|setInterval|queueMicrotask|navigator|window|document|indexedDB|WebSocket|BroadcastChannel|localStorage|sessionStorage|fetch\(|globalThis)/;
const IS_PURE = [...CORE, "outbox.js", "results.js"];

const SRC = new URL("../src/", import.meta.url);
const TEST = new URL("./", import.meta.url);

/** @param {string} source */
const withoutComments = (source) => source.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "");

/** @param {string} path @param {string} rule */
const isUnder = (path, rule) => path === rule || path.startsWith(`${rule}/`);

const found = await readdir(SRC, { recursive: true });
const paths = found.filter((path) => path.endsWith(".js")).sort();
const modules = await Promise.all(
  paths.map(async (path) => {
    const source = withoutComments(await readFile(new URL(path, SRC), "utf8"));
    const named = [...source.matchAll(/\b(?:from|import)\s*\(?\s*["']([^"']+)["']/g)];
    const imports = named.map(([, name = ""]) =>
      name.startsWith(".") ? normalize(join(dirname(path), name)) : name,
    );
    return { path, source, imports };
  }),
);

test("every module imports only what its layer may", () => {
  assert.ok(modules.length > 0);
  for (const { path, imports } of modules) {
    const layer = Object.keys(MAY_IMPORT).find((rule) => isUnder(path, rule));
    assert.ok(layer !== undefined, `src/${path} has no layer: say above what it may import`);
    const allowed = MAY_IMPORT[layer] ?? [];
    const wrong = imports.filter((name) => !allowed.some((rule) => isUnder(name, rule)));
    assert.deepEqual(wrong, [], `src/${path} imports what it may not`);
  }
});

test("what decides takes nothing from outside: no time, chance, storage or network", () => {
  for (const { path, source } of modules) {
    if (IS_PURE.some((rule) => isUnder(path, rule))) {
      assert.doesNotMatch(source, OUTSIDE, `src/${path}`);
    }
  }
});

test("the bindings are leaves: the client knows none of them", () => {
  const leaves = [
    "react",
    "react.js",
    "zustand.js",
    "supabase.js",
    "dual-write.js",
    "migrate.js",
    "imports.js",
    "in-step.js",
    "wholes.js",
    "in-step.js",
    "wholes.js",
  ];
  for (const { path, imports } of modules) {
    if (!leaves.some((leaf) => isUnder(path, leaf))) {
      assert.deepEqual(
        imports.filter((name) => leaves.some((leaf) => isUnder(name, leaf))),
        [],
        `src/${path}`,
      );
    }
  }
});

test("every module has its own test file", async () => {
  const tests = (await readdir(TEST, { recursive: true })).map((path) => path.replaceAll("/", "-"));
  // index.js only names what others export, and what is left of shapes runs nothing.
  const tested = modules.filter(
    ({ path, source }) => path !== "index.js" && source.trim() !== "export {};",
  );
  const wanted = tested.map(({ path }) => path.replaceAll("/", "-").replace(/\.js$/, ".test.js"));
  assert.deepEqual(
    wanted.filter((name) => !tests.includes(name)),
    [],
  );
});
