// The parsed settings for the handlers. A deployment with incomplete ones answers nothing but what is missing.

import { createMiddleware } from "hono/factory";
import { configOf } from "../../config.ts";
import type { AppEnv } from "../app-env.ts";

export const settings = createMiddleware<AppEnv>(async (c, next) => {
  c.set("config", await configOf(c.env));
  await next();
});
