// Headers that keep a browser from doing more with an answer than it should. Pages set their own
// Content-Security-Policy; anything else may load nothing.

import { createMiddleware } from "hono/factory";
import type { AppEnv } from "../app-env.ts";

const ONE_YEAR_SECONDS = 365 * 24 * 3_600;

const HEADERS = Object.entries({
  "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
  "X-Content-Type-Options": "nosniff",
  "X-Frame-Options": "DENY",
  // An invite's link is a secret: it must not travel on in a Referer.
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cache-Control": "no-store",
});

export const securityHeaders = createMiddleware<AppEnv>(async (c, next) => {
  await next();
  const { headers } = c.res;
  for (const [name, value] of HEADERS) if (!headers.has(name)) headers.set(name, value);
  if (c.req.url.startsWith("https:")) headers.set("Strict-Transport-Security", `max-age=${ONE_YEAR_SECONDS}`);
});
