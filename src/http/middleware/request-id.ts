// Gives each call an id of ours. One the caller sends is not taken over: it would let callers mix up our log.

import { createMiddleware } from "hono/factory";
import { newEventId } from "../../protocol/ids.ts";
import type { AppEnv } from "../app-env.ts";

export const requestId = createMiddleware<AppEnv>(async (c, next) => {
  const id = newEventId();
  c.set("requestId", id);
  await next();
  c.res.headers.set("X-Request-Id", id);
});
