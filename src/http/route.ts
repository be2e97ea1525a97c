// How a route is declared: with the scope it needs or as public, and with the refusals that follow from that. The
// declaration is what runs (middleware) and what /openapi.json says.

import { createRoute, type RouteConfig } from "@hono/zod-openapi";
import type { MiddlewareHandler } from "hono";
import type { Scope } from "../rpc.ts";
import type { AppEnv } from "./app-env.ts";
import { type ApiErrorCode, PROBLEMS } from "./errors.ts";
import { authenticate } from "./middleware/authenticate.ts";
import { MAX_BODY_BYTES, MAX_PUBLIC_BODY_BYTES, readBody } from "./middleware/body.ts";
import { classify } from "./middleware/measure.ts";
import { limitPublicRate } from "./middleware/rate-limit.ts";
import { problemSchema } from "./schemas.ts";

export const API_PREFIX = "/api/v1";
/** The security scheme's name in /openapi.json. */
export const API_KEY_SCHEME = "apiKey";

type RouteOptions<Path extends string> = Omit<RouteConfig, "path" | "security" | "middleware"> & {
  path: Path;
  /** Of a body larger than others may be. */
  maxBodyBytes?: number;
};

/** Refusals by status: several codes may share one. */
function problemResponses(codes: readonly ApiErrorCode[]) {
  const byStatus = new Map<number, ApiErrorCode[]>();
  for (const code of codes) {
    const { status } = PROBLEMS[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  return Object.fromEntries(
    [...byStatus].map(([status, shared]) => [
      status,
      {
        description: shared.map((code) => `\`${code}\`: ${PROBLEMS[code].title}.`).join(" "),
        content: { "application/problem+json": { schema: problemSchema } },
      },
    ]),
  );
}

/**
 * A route's declaration. `scope` is what the caller's key must hold; `"public"` is said out loud, so that no route is
 * open by omission. `refusals` are the codes beyond those every such route has.
 */
export function defineRoute<const Path extends string, const Options extends RouteOptions<Path>>(
  scope: Scope | "public",
  options: Options,
  refusals: readonly ApiErrorCode[] = [],
) {
  const isPublic = scope === "public";
  const takesInput = options.request !== undefined;
  const takesBody = options.request?.body !== undefined;
  const codes: ApiErrorCode[] = [
    ...(takesInput ? (["invalid_request"] as const) : []),
    ...(isPublic ? [] : (["unauthorized", "forbidden"] as const)),
    ...(takesBody ? (["payload_too_large"] as const) : []),
    "rate_limited",
    "internal_error",
    "unavailable",
    ...refusals,
  ];
  // Before validation: nothing of a body is read for a caller who may not send one.
  const middleware: MiddlewareHandler<AppEnv>[] = [
    classify(scope),
    isPublic ? limitPublicRate : authenticate(scope),
    ...(takesBody
      ? [readBody(options.maxBodyBytes ?? (isPublic ? MAX_PUBLIC_BODY_BYTES : MAX_BODY_BYTES))]
      : []),
  ];
  const { responses, maxBodyBytes: _, ...rest } = options;
  return createRoute({
    ...(rest as Omit<Options, "responses">),
    responses: { ...problemResponses([...new Set(codes)]), ...responses } as Options["responses"],
    security: isPublic ? [] : [{ [API_KEY_SCHEME]: [scope] }],
    middleware,
  } as Omit<Options, "responses"> & {
    path: Path;
    responses: Options["responses"];
    method: Options["method"];
  });
}
