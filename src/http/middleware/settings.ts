// The parsed settings for the handlers. A deployment with incomplete ones answers nothing but what is missing; one in
// maintenance nothing but what maintenance is for.

import { createMiddleware } from "hono/factory";
import { configOf } from "../../config.ts";
import type { AppEnv } from "../app-env.ts";
import { ApiError } from "../errors.ts";

const MAINTENANCE_RETRY_SECONDS = 60;
const DURING_MAINTENANCE = /^\/(?:health$|api\/v1\/transfer(?:\/|$))/;

export const settings = createMiddleware<AppEnv>(async (c, next) => {
  const config = await configOf(c.env);
  c.set("config", config);
  if (config.MAINTENANCE === "on" && !DURING_MAINTENANCE.test(c.req.path))
    throw new ApiError("unavailable", "the vault is in maintenance; come back in a minute", {
      retryAfterSeconds: MAINTENANCE_RETRY_SECONDS,
    });
  await next();
});
