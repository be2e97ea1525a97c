// One line of log for each call: who called which route, what came of it and how long it took. The route is its
// pattern (`/api/v1/requests/{id}`), never the path: invite codes and tickets are in paths and queries.

import { createMiddleware } from "hono/factory";
import { matchedRoutes } from "hono/route";
import { log } from "../../log.ts";
import type { AppEnv } from "../app-env.ts";

const SERVER_ERROR = 500;

/** Ends the path of what applies to everything below it, such as this middleware. */
const WILDCARD = "*";

export const requestLog = createMiddleware<AppEnv>(async (c, next) => {
  const began = Date.now();
  await next();
  const { status } = c.res;
  log(status >= SERVER_ERROR ? "error" : "info", "http.request", {
    request_id: c.get("requestId"),
    method: c.req.method,
    route: matchedRoutes(c).findLast(({ path }) => !path.endsWith(WILDCARD))?.path ?? "none",
    status,
    ms: Date.now() - began,
    // Only after its secret was checked: an id that a stranger made up is not written down.
    key_id: c.get("caller")?.keyId,
  });
});
