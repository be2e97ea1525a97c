// Everything that was thrown or not found, as problem+json.

import type { ErrorHandler, NotFoundHandler } from "hono";
import { HTTPException } from "hono/http-exception";
import type { z } from "zod";
import { log } from "../../log.ts";
import type { AppEnv } from "../app-env.ts";
import { ApiError, isOverload, isRestart, type ProblemDetail, problemResponse } from "../errors.ts";

/** Problems of a body named at most; a body that is wrong everywhere needs no complete list. */
const MAX_DETAILS = 20;

const pathOf = (path: readonly PropertyKey[]): string =>
  path
    .map((part, at) =>
      typeof part === "number" ? `[${part}]` : at === 0 ? String(part) : `.${String(part)}`,
    )
    .join("");

/** One zod issue as the fields it is about and what to change. Received values are never repeated. */
function detailsOf(issue: z.core.$ZodIssue): ProblemDetail[] {
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({
      path: pathOf([...issue.path, key]),
      message: "is not a field of this call; check its spelling or leave it out",
    }));
  }
  const missing = issue.code === "invalid_type" && issue.message.endsWith("received undefined");
  return [{ path: pathOf(issue.path), message: missing ? "is required" : issue.message }];
}

/** A failed validation as the refusal a caller is shown. */
export function validationError(issues: readonly z.core.$ZodIssue[]): ApiError {
  const details = issues.flatMap(detailsOf).slice(0, MAX_DETAILS);
  const [first] = details;
  const detail =
    first === undefined
      ? "the request is not valid"
      : `${first.path === "" ? "the body" : first.path}: ${first.message}`;
  return new ApiError("invalid_request", detail, { details });
}

/** For the log alone. Messages hold ids and reasons, never contents: that is a rule for whoever throws. */
const describe = (error: unknown) =>
  error instanceof Error
    ? {
        name: error.name,
        message: error.message,
        code: String((error as { code?: unknown }).code ?? ""),
        stack: error.stack,
      }
    : { name: typeof error };

function problemFor(error: unknown, report: (level: "warn" | "error") => void): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof HTTPException) {
    return error.status === 415
      ? new ApiError("invalid_request", "the body must be JSON: send `Content-Type: application/json`")
      : new ApiError(error.status < 500 ? "invalid_request" : "internal_error", "the request cannot be read");
  }
  // An error from an object keeps its `code`, not its class.
  if ((error as { code?: unknown } | null)?.code === "config_invalid") {
    report("error");
    return new ApiError("internal_error", (error as Error).message);
  }
  if (isOverload(error) || (error as { retryable?: boolean } | null)?.retryable === true) {
    report("warn");
    return new ApiError("unavailable", "the vault is busy; try again shortly");
  }
  report("error");
  // A call cut off by a restart of its object may have done its work: the caller repeats it with its
  // Idempotency-Key.
  if ((error as { durableObjectReset?: boolean } | null)?.durableObjectReset === true && isRestart(error))
    return new ApiError("unavailable", "the vault restarted during this call; repeat it");
  return new ApiError("internal_error", "something went wrong here; the X-Request-Id leads to it in the log");
}

export const onError: ErrorHandler<AppEnv> = (error, c) =>
  problemResponse(
    problemFor(error, (level) =>
      log(level, "http.failed", {
        request_id: c.get("requestId"),
        method: c.req.method,
        route: c.req.routePath,
        error: describe(error),
      }),
    ),
  );

export const notFound: NotFoundHandler<AppEnv> = () =>
  problemResponse(new ApiError("not_found", "there is nothing at this path; see /openapi.json"));
