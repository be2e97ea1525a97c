// The Worker as Cloudflare would get it: bundled by wrangler, offline.

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, join, relative } from "node:path";
import { ensureDocsAssets } from "../docs-assets.ts";
import { PROJECT_ROOT } from "./files.ts";

/** Where a bundle lies: the folder holds index.js, the modules it imports, and miniflare.json. */
export interface Bundle {
  dir: string;
}

/** One file of the bundle, typed as the runtime wants it. */
export interface BundleModule {
  type: "ESModule" | "Text" | "Data" | "CompiledWasm";
  path: string;
}

/** Everything that decides what the bundle is. */
const SOURCES = [
  "src",
  "durable-objects",
  "sdk",
  "wrangler.toml",
  "tsconfig.json",
  "package.json",
  "package-lock.json",
];
const CACHE_DIR = join(PROJECT_ROOT, "node_modules", ".cache", "service-vault-bundle");
const MAX_CACHED_BUNDLES = 10;
const HASH_CHARACTERS = 20;
const OPTIONS_FILE = "miniflare.json";

/** No account, no network, no questions; the banner would look for updates, logs would go to the home folder. */
export const OFFLINE_ENV = {
  CLOUDFLARE_CF_FETCH_ENABLED: "false",
  WRANGLER_SEND_METRICS: "false",
  WRANGLER_HIDE_BANNER: "true",
  WRANGLER_WRITE_LOGS: "false",
  CI: "true",
};

/** Runs `wrangler deploy --dry-run`, of an environment or of the top of wrangler.toml. The error holds what wrangler said. */
export async function runWranglerBuild(outdir: string, environment = ""): Promise<void> {
  const wrangler = join(PROJECT_ROOT, "node_modules", "wrangler", "bin", "wrangler.js");
  const child = spawn(
    process.execPath,
    [wrangler, "deploy", "--dry-run", "--env", environment, "--outdir", outdir],
    {
      cwd: PROJECT_ROOT,
      env: { ...process.env, ...OFFLINE_ENV },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  let said = "";
  child.stdout.on("data", (chunk) => {
    said += chunk;
  });
  child.stderr.on("data", (chunk) => {
    said += chunk;
  });
  const code = await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  if (code !== 0) throw new Error(`wrangler could not bundle the Worker:\n${said.trim()}`);
}

/**
 * Gives a bundle of the sources as they are now, built only when they changed. Safe to call from
 * several processes at once: each builds in a folder of its own, and the first to finish wins.
 */
export async function ensureBundle(): Promise<Bundle> {
  ensureDocsAssets();
  const dir = join(CACHE_DIR, hashSources());
  if (existsSync(join(dir, OPTIONS_FILE))) return { dir };
  const building = `${dir}.${process.pid}.building`;
  rmSync(building, { recursive: true, force: true });
  mkdirSync(building, { recursive: true });
  try {
    await runWranglerBuild(building);
    writeFileSync(join(building, OPTIONS_FILE), JSON.stringify(await workerOptions(), null, 2));
    try {
      renameSync(building, dir);
    } catch (error) {
      if (!existsSync(join(dir, OPTIONS_FILE))) throw error; // else another process was faster
    }
  } finally {
    rmSync(building, { recursive: true, force: true });
  }
  pruneCache();
  return { dir };
}

/** The bundle's modules, entry first. */
export function bundleModules({ dir }: Bundle): BundleModule[] {
  const types: Record<string, BundleModule["type"]> = {
    ".js": "ESModule",
    ".txt": "Text",
    ".html": "Text",
    ".sql": "Text",
    ".bin": "Data",
    ".wasm": "CompiledWasm",
  };
  const entry = join(dir, "index.js");
  const modules: BundleModule[] = [{ type: "ESModule", path: entry }];
  for (const path of filesUnder(dir)) {
    const type = types[path.slice(path.lastIndexOf("."))];
    if (type && path !== entry) modules.push({ type, path });
  }
  return modules;
}

/** What wrangler.toml says of the Worker, in Miniflare's terms. */
export function bundleWorkerOptions({
  dir,
}: Bundle): Record<string, unknown> & { bindings: Record<string, string> } {
  return JSON.parse(readFileSync(join(dir, OPTIONS_FILE), "utf8"));
}

async function workerOptions(): Promise<Record<string, unknown>> {
  // Loaded only to build: wrangler takes half a second to import.
  const { unstable_getMiniflareWorkerOptions, unstable_readConfig } = await import("wrangler");
  const config = unstable_readConfig({ config: join(PROJECT_ROOT, "wrangler.toml") });
  const { workerOptions } = unstable_getMiniflareWorkerOptions(config);
  // Only what wrangler.toml holds: a developer's .dev.vars must not leak into a test's Worker.
  return { ...workerOptions, bindings: config.vars };
}

function hashSources(): string {
  const hash = createHash("sha256");
  for (const source of SOURCES) {
    const path = join(PROJECT_ROOT, source);
    if (!existsSync(path)) continue;
    for (const file of statSync(path).isDirectory() ? filesUnder(path) : [path]) {
      hash
        .update(`${relative(PROJECT_ROOT, file)}\0`)
        .update(readFileSync(file))
        .update("\0");
    }
  }
  return hash.digest("hex").slice(0, HASH_CHARACTERS);
}

function filesUnder(dir: string): string[] {
  return readdirSync(dir, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

function pruneCache(): void {
  const newestFirst = readdirSync(CACHE_DIR)
    .filter((name) => !name.endsWith(".building"))
    .map((name) => ({ path: join(CACHE_DIR, basename(name)), at: statSync(join(CACHE_DIR, name)).mtimeMs }))
    .sort((a, b) => b.at - a.at);
  for (const { path } of newestFirst.slice(MAX_CACHED_BUNDLES))
    rmSync(path, { recursive: true, force: true });
}
