// Refusals as problem+json (RFC 9457). What is said outside names what to change; what broke inside goes to the log.

import type { RateState } from "../rate/quota.ts";
import type { ApiFault, RpcResult } from "../rpc.ts";
import { rateHeaders } from "./rate-headers.ts";

export type ApiErrorCode = ApiFault["code"] | "unauthorized" | "internal_error";

/** HTTP status and title by code; `code` is what clients switch on. */
export const PROBLEMS = {
  invalid_request: { status: 400, title: "The request is not valid" },
  signature_invalid: { status: 400, title: "A signature does not hold" },
  unauthorized: { status: 401, title: "The API key is missing or wrong" },
  forbidden: { status: 403, title: "The API key does not allow this" },
  contract_required: { status: 403, title: "The user has no active contract" },
  capability_denied: { status: 403, title: "The contract does not allow this" },
  not_found: { status: 404, title: "Not found" },
  conflict: { status: 409, title: "This conflicts with what is there" },
  payload_too_large: { status: 413, title: "The body is too large" },
  rate_limited: { status: 429, title: "Too many calls" },
  internal_error: { status: 500, title: "Something went wrong here" },
  unavailable: { status: 503, title: "Not available right now" },
} as const satisfies Record<ApiErrorCode, { status: number; title: string }>;

/** Seconds a caller should wait where the refusal does not say. */
const DEFAULT_RETRY_AFTER_SECONDS: Partial<Record<ApiErrorCode, number>> = {
  rate_limited: 60,
  internal_error: 30,
  unavailable: 5,
};

export interface ProblemDetail {
  path: string;
  message: string;
}

/** A refusal the caller is shown. */
export class ApiError extends Error {
  readonly code: ApiErrorCode;
  readonly details: ProblemDetail[] | undefined;
  readonly retryAfterSeconds: number | undefined;
  readonly rate: readonly RateState[];

  constructor(
    code: ApiErrorCode,
    detail: string,
    options: { details?: ProblemDetail[]; retryAfterSeconds?: number; rate?: readonly RateState[] } = {},
  ) {
    super(detail);
    this.name = "ApiError";
    this.code = code;
    this.details = options.details;
    this.retryAfterSeconds = options.retryAfterSeconds ?? DEFAULT_RETRY_AFTER_SECONDS[code];
    this.rate = options.rate ?? [];
  }
}

export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: ApiErrorCode;
  /** The same as `detail`, for older clients. */
  message: string;
  details?: ProblemDetail[];
}

/** The body of a refusal. */
export function problemOf(error: ApiError): Problem {
  const { status, title } = PROBLEMS[error.code];
  return {
    type: `urn:vettid:problem:${error.code}`,
    title,
    status,
    detail: error.message,
    code: error.code,
    message: error.message,
    ...(error.details === undefined ? {} : { details: error.details }),
  };
}

/** A refusal as a response. */
export function problemResponse(error: ApiError): Response {
  const headers = new Headers({
    "Content-Type": "application/problem+json",
    "Cache-Control": "no-store",
    ...rateHeaders(error.rate),
  });
  if (error.retryAfterSeconds !== undefined)
    headers.set("Retry-After", String(Math.max(1, Math.ceil(error.retryAfterSeconds))));
  if (error.code === "unauthorized") headers.set("WWW-Authenticate", 'Bearer realm="vettid-service-vault"');
  return new Response(JSON.stringify(problemOf(error)), { status: PROBLEMS[error.code].status, headers });
}

/** One field that is wrong, and what it must be. */
export const invalidField = (path: string, message: string): ApiError =>
  new ApiError("invalid_request", `${path} ${message}`, { details: [{ path, message }] });

/** What an object answered; throws its refusal. */
export function unwrap<T>(result: RpcResult<T>): T {
  if (result.ok) return result.value;
  const { code, detail, details, retryAfterSeconds } = result.error;
  throw new ApiError(code, detail, {
    ...(details === undefined ? {} : { details }),
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
    ...(result.rate === undefined ? {} : { rate: result.rate }),
  });
}

/** What the runtime tells about an error that crossed from an object. */
interface ObjectError {
  /** Thrown by the object's own code, rather than by the way to it. */
  remote?: boolean;
  retryable?: boolean;
  overloaded?: boolean;
  durableObjectReset?: boolean;
}

/** The object takes no more calls now; another at once would make it worse. */
export const isOverload = (error: unknown): boolean => (error as ObjectError | null)?.overloaded === true;

/**
 * The object went away under the call (restart, deploy, lost connection), so that a new stub reaches it again. An
 * exception of its own code says `remote` and comes again at each repetition.
 */
export function isRestart(error: unknown): boolean {
  if (!(error instanceof Error) || isOverload(error)) return false;
  const { retryable, durableObjectReset, remote } = error as ObjectError;
  return retryable === true || durableObjectReset === true || remote !== true;
}
