import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { test } from "node:test";
import { VENDOR, vendored } from "../scripts/vendor.js";

const wanted = await vendored();

test("vendor/ holds what the packages of package-lock.json have (else: make vendor)", async () => {
  const found = await readdir(VENDOR, { recursive: true, withFileTypes: true });
  const files = found.filter((entry) => entry.isFile());
  assert.deepEqual(new Set(files.map((entry) => entry.name)).size, wanted.size);
  for (const [path, text] of wanted) {
    assert.equal(await readFile(new URL(path, VENDOR), "utf8"), text, path);
  }
});

test("the import map leads every import between vendored modules to a vendored module", () => {
  const { imports } = JSON.parse(wanted.get("import-map.json") ?? "");
  const modules = [...wanted].filter(([path]) => path.endsWith(".js"));
  const bare = modules.flatMap(([, text]) =>
    [...text.matchAll(/\bfrom\s*["']([^"']+)["']/g)].map((found) => found[1]),
  );

  assert.ok(bare.length > 0);
  assert.deepEqual(
    bare.filter((name) => name === undefined || imports[name] === undefined),
    [],
  );
  for (const path of Object.values(imports)) {
    assert.ok(wanted.has(String(path).replace("/vendor/", "")), String(path));
  }
});

test("a vendored module loads nothing else, not even a source map", () => {
  for (const [path, text] of wanted) {
    assert.doesNotMatch(text, /sourceMappingURL|\bimport\(/, path);
  }
});
