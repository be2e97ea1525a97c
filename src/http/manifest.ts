// The handler manifest on the path of an ask: the Directory is one object for all, so each isolate keeps its answer for
// a short while.

import type { Env } from "../env.ts";
import type { HandlerManifest } from "../protocol/offer.ts";
import { directoryOf } from "./objects.ts";

/** As long as keys and endpoints are kept. */
const MANIFEST_CACHE_MS = 30_000;

let kept: { manifest: HandlerManifest; until: number } | undefined;

export async function cachedManifest(env: Env, now = Date.now()): Promise<HandlerManifest> {
  if (kept === undefined || kept.until <= now) {
    const manifest = await directoryOf(env).manifest();
    kept = { manifest, until: now + MANIFEST_CACHE_MS };
  }
  return kept.manifest;
}

/** After a change made here, and when what is looked for is not in the one kept. */
export const forgetManifest = (): void => {
  kept = undefined;
};
