// An abuse brake per address, for whatever can be called without a key. The binding counts per location and
// roughly; exact limits are in the objects.

import type { Context } from "hono";
import { createMiddleware } from "hono/factory";
import type { AppEnv } from "../app-env.ts";
import { ApiError } from "../errors.ts";

/** The window of the PUBLIC_RATE_LIMIT binding (wrangler.toml), in seconds. */
const WINDOW_SECONDS = 60;

/** Counts one call of this caller's address for a purpose; throws `rate_limited` beyond the limit. */
export async function countCall(c: Context<AppEnv>, purpose: "public" | "key"): Promise<void> {
  // Set by the edge, which does not let a caller set it; absent in local development.
  const address = c.req.header("cf-connecting-ip") ?? "local";
  const { success } = await c.env.PUBLIC_RATE_LIMIT.limit({ key: `${purpose}:${address}` });
  if (!success) {
    throw new ApiError("rate_limited", "too many calls from this address; wait a minute", {
      retryAfterSeconds: WINDOW_SECONDS,
    });
  }
}

export const limitPublicRate = createMiddleware<AppEnv>(async (c, next) => {
  await countCall(c, "public");
  await next();
});
