// An abuse brake per address, for whatever can be called without a key. The binding counts per location and
// roughly; exact limits are in the objects.

import type { Context } from "hono";
import { createMiddleware } from "hono/factory";
import type { AppEnv } from "../app-env.ts";
import { ApiError } from "../errors.ts";

/** What the bindings PUBLIC_RATE_LIMIT and LOG_RATE_LIMIT count to (wrangler.toml), and in how many seconds. */
const QUOTA = 120;
const LOG_QUOTA = 3_000;
const WINDOW_SECONDS = 60;

/** Set by the edge, which does not let a caller set it; absent in local development. */
const addressOf = (c: Context<AppEnv>): string => c.req.header("cf-connecting-ip") ?? "local";

/** Counts one call of this caller's address for a purpose; throws `rate_limited` beyond the limit. */
export const countCall = (c: Context<AppEnv>, purpose: "public" | "key"): Promise<void> =>
  brake(c.env.PUBLIC_RATE_LIMIT, QUOTA, `${purpose}:${addressOf(c)}`);

async function brake(binding: RateLimit, quota: number, key: string): Promise<void> {
  const { success } = await binding.limit({ key });
  if (!success) {
    const policy = { name: "address", quota, windowSeconds: WINDOW_SECONDS };
    throw new ApiError("rate_limited", "too many calls from this address; wait a minute", {
      retryAfterSeconds: WINDOW_SECONDS,
      rate: [{ ...policy, remaining: 0, resetSeconds: WINDOW_SECONDS }],
    });
  }
}

/**
 * A wider brake, where static bytes are read: an auditor reads many tiles, and nobody reads more than LOG_QUOTA in a
 * minute that has read what the one before brought.
 */
export const limitLogRate = createMiddleware<AppEnv>(async (c, next) => {
  await brake(c.env.LOG_RATE_LIMIT, LOG_QUOTA, addressOf(c));
  await next();
});

export const limitPublicRate = createMiddleware<AppEnv>(async (c, next) => {
  await countCall(c, "public");
  await next();
});
