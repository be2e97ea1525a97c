// Puts the reader of /docs, as its package has it, beside our own files in public/, from where it is served.
// Wrangler runs this before each build (wrangler.toml), the local stack before it starts anything.

import { copyFileSync, existsSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const FILES = ["swagger-ui-bundle.js", "swagger-ui.css"];

/** Copies what is not there, or of another version. */
export function ensureDocsAssets(): void {
  const from = dirname(createRequire(import.meta.url).resolve("swagger-ui-dist/package.json"));
  for (const file of FILES) {
    const source = join(from, file);
    const target = join(ROOT, "public", "docs", file);
    if (!existsSync(target) || statSync(target).size !== statSync(source).size) copyFileSync(source, target);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) ensureDocsAssets();
