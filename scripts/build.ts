// Bundles the Worker as a deploy would, offline, and keeps its size in check.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { gzipSync } from "node:zlib";
import { environmentNames } from "./deploy/settings.ts";
import { bundleModules, runWranglerBuild } from "./stack/bundle.ts";
import { PROJECT_ROOT } from "./stack/files.ts";

/** Well under Cloudflare's limit of 3 MB for free accounts: start-up time grows with every byte. */
const MAX_BUNDLE_GZIP_BYTES = 1_000_000;

const outdir = join(PROJECT_ROOT, "dist");
rmSync(outdir, { recursive: true, force: true });
try {
  await runWranglerBuild(outdir);
  const scratch = mkdtempSync(join(tmpdir(), "service-vault-build-"));
  try {
    for (const environment of environmentNames()) await runWranglerBuild(scratch, environment);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
} catch (error) {
  console.error((error as Error).message);
  process.exit(1);
}

let rawBytes = 0;
let gzipBytes = 0;
for (const { path } of bundleModules({ dir: outdir })) {
  const content = readFileSync(path);
  rawBytes += content.length;
  gzipBytes += gzipSync(content).length;
}
const count = (bytes: number) => bytes.toLocaleString("en-US");
console.log(
  `bundle: ${count(rawBytes)} bytes, ${count(gzipBytes)} gzipped (at most ${count(MAX_BUNDLE_GZIP_BYTES)}), in ${relative(PROJECT_ROOT, outdir)}/`,
);
if (gzipBytes > MAX_BUNDLE_GZIP_BYTES) {
  console.error("the bundle is too large: see what was added to src/ or to the dependencies");
  process.exitCode = 1;
}
