// The floor's Worker in a workerd of its own, on the same two clusters.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { type Bundle, bundleWorkerOptions } from "../stack/bundle.ts";
import { PROJECT_ROOT } from "../stack/files.ts";
import type { Stack } from "../stack/stack.ts";
import { WorkerProcess } from "../stack/worker.ts";
import { ownerCreds, platformCreds } from "./crowd-handle.ts";

/** Bundles a Worker of the bench's own; `options` are Miniflare's. */
export async function bundleBenchWorker(
  entry: string,
  dir: string,
  options: Record<string, unknown>,
): Promise<Bundle> {
  mkdirSync(dir, { recursive: true });
  await build({
    entryPoints: [join(PROJECT_ROOT, "scripts", "bench", entry)],
    outfile: join(dir, "index.js"),
    bundle: true,
    format: "esm",
    target: "esnext",
    conditions: ["workerd", "worker", "browser"],
    external: ["cloudflare:*", "node:*", "crypto", "./built-vault.js"],
    logLevel: "error",
  });
  writeFileSync(join(dir, "miniflare.json"), JSON.stringify({ bindings: {}, ...options }));
  return { dir };
}

/** The date and flags the vault runs under: a floor under others would be another platform's. */
export function compatibilityOf(bundle: Bundle): Record<string, unknown> {
  const { compatibilityDate, compatibilityFlags } = bundleWorkerOptions(bundle);
  return { compatibilityDate, compatibilityFlags };
}

export async function startFloor(stack: Stack, vault: Bundle): Promise<WorkerProcess> {
  const dir = join(stack.dir, "floor");
  const bundle = await bundleBenchWorker("floors/worker.ts", join(dir, "bundle"), {
    ...compatibilityOf(vault),
    durableObjects: {
      FLOOR_USER: { className: "FloorUser", useSQLite: true },
      FLOOR_BRIDGE: { className: "FloorBridge", useSQLite: true },
    },
  });
  const worker = new WorkerProcess({
    dir,
    bundle,
    direct: true,
    cronIntervalMs: NEVER_MS,
    bindings: {
      SERVICESPACE_URL: stack.serviceSpace.server.wsUrl,
      SERVICESPACE_CREDS: await ownerCreds(stack),
      MESSAGESPACE_URL: stack.messageSpace.server.wsUrl,
      MESSAGESPACE_CREDS: await platformCreds(stack),
    },
  });
  await worker.start();
  return worker;
}

const NEVER_MS = 2 ** 31 - 1;
