// What a call can end with instead of an answer. Each class has one `code`, so that a `switch` over it narrows.

import { ServiceVaultError } from "./base-error.ts";
import type { VerificationError } from "./verify/verification-error.ts";

/** One field of a body that is wrong, and what it must be. */
export interface ProblemDetail {
  path: string;
  message: string;
}

/** What the vault said along with the code. */
export interface Refusal {
  /** The HTTP status. */
  status: number;
  /** What happened and what to change. */
  detail: string;
  /** `X-Request-Id`: leads to the call in the vault's log. */
  requestId?: string | undefined;
  /** `Retry-After`: the same call before then is refused again. */
  retryAfterSeconds?: number | undefined;
  details?: ProblemDetail[] | undefined;
}

/** The vault answered, and refused. */
export abstract class ApiError extends ServiceVaultError {
  readonly status: number;
  readonly requestId: string | undefined;
  readonly retryAfterSeconds: number | undefined;
  /** Of a body that is not valid: which fields. */
  readonly details: readonly ProblemDetail[];

  constructor({ detail, status, requestId, retryAfterSeconds, details }: Refusal) {
    super(detail);
    this.status = status;
    this.requestId = requestId;
    this.retryAfterSeconds = retryAfterSeconds;
    this.details = details ?? [];
  }
}

/** A field is missing or wrong; `details` names which. */
export class InvalidRequestError extends ApiError {
  override readonly name = "InvalidRequestError";
  readonly code = "invalid_request";
}
/** A signature that was sent does not hold. */
export class SignatureInvalidError extends ApiError {
  override readonly name = "SignatureInvalidError";
  readonly code = "signature_invalid";
}
/** The API key is missing, wrong, expired or deleted. */
export class UnauthorizedError extends ApiError {
  override readonly name = "UnauthorizedError";
  readonly code = "unauthorized";
}
/** The API key lacks the scope. */
export class ForbiddenError extends ApiError {
  override readonly name = "ForbiddenError";
  readonly code = "forbidden";
}
/** The user has no active contract with the service: invite them. */
export class ContractRequiredError extends ApiError {
  override readonly name = "ContractRequiredError";
  readonly code = "contract_required";
}
/** The contract does not grant this, or not to this extent. Nothing reached the user. */
export class CapabilityDeniedError extends ApiError {
  override readonly name = "CapabilityDeniedError";
  readonly code = "capability_denied";
}
export class NotFoundError extends ApiError {
  override readonly name = "NotFoundError";
  readonly code = "not_found";
}
/** It is not in a state that allows this, or an Idempotency-Key came again with another body. */
export class ConflictError extends ApiError {
  override readonly name = "ConflictError";
  readonly code = "conflict";
}
export class PayloadTooLargeError extends ApiError {
  override readonly name = "PayloadTooLargeError";
  readonly code = "payload_too_large";
}
/** Too many calls, or the same ask again right after a denial; `retryAfterSeconds` says when. */
export class RateLimitedError extends ApiError {
  override readonly name = "RateLimitedError";
  readonly code = "rate_limited";
}
/** Something broke in the vault; `requestId` leads to it. */
export class InternalError extends ApiError {
  override readonly name = "InternalError";
  readonly code = "internal_error";
}
/** Not available right now, and not after the retries either. */
export class UnavailableError extends ApiError {
  override readonly name = "UnavailableError";
  readonly code = "unavailable";
}
/** A refusal this version of the package does not know; `serverCode` is what the vault called it. */
export class UnrecognizedError extends ApiError {
  override readonly name = "UnrecognizedError";
  readonly code = "unrecognized";
  readonly serverCode: string | undefined;

  constructor(refusal: Refusal, serverCode?: string) {
    super(refusal);
    this.serverCode = serverCode;
  }
}

/** The vault could not be reached; `cause` says why. Whether a call that changes something did so is not known. */
export class ConnectionError extends ServiceVaultError {
  override readonly name = "ConnectionError";
  readonly code = "connection_failed";
}
/** A call was not answered in `timeoutMs`. Whether it did what it was to do is not known. */
export class CallTimeoutError extends ServiceVaultError {
  override readonly name = "CallTimeoutError";
  readonly code = "call_timeout";
}
/** `wait` was given a time, and it is over. The request goes on: wait again, or cancel it. */
export class WaitTimeoutError extends ServiceVaultError {
  override readonly name = "WaitTimeoutError";
  readonly code = "wait_timeout";
  readonly vaultRequestId: string;

  constructor(vaultRequestId: string) {
    super("the request is still pending; wait again, or cancel it");
    this.vaultRequestId = vaultRequestId;
  }
}
/** What answered is not a service vault: a proxy's page, a redirect. */
export class UnexpectedAnswerError extends ServiceVaultError {
  override readonly name = "UnexpectedAnswerError";
  readonly code = "unexpected_answer";
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** A refusal by the vault: `switch (error.code)` narrows. */
export type ApiRefusal =
  | InvalidRequestError
  | SignatureInvalidError
  | UnauthorizedError
  | ForbiddenError
  | ContractRequiredError
  | CapabilityDeniedError
  | NotFoundError
  | ConflictError
  | PayloadTooLargeError
  | RateLimitedError
  | InternalError
  | UnavailableError
  | UnrecognizedError;

/** Everything this package throws on purpose. A wrong argument is a TypeError; an aborted signal throws its reason. */
export type AnyServiceVaultError =
  | ApiRefusal
  | ConnectionError
  | CallTimeoutError
  | WaitTimeoutError
  | UnexpectedAnswerError
  | VerificationError;

export type ErrorCode = AnyServiceVaultError["code"];

const REFUSALS: ReadonlyMap<string, new (refusal: Refusal) => ApiRefusal> = new Map<
  string,
  new (
    refusal: Refusal,
  ) => ApiRefusal
>([
  ["invalid_request", InvalidRequestError],
  ["signature_invalid", SignatureInvalidError],
  ["unauthorized", UnauthorizedError],
  ["forbidden", ForbiddenError],
  ["contract_required", ContractRequiredError],
  ["capability_denied", CapabilityDeniedError],
  ["not_found", NotFoundError],
  ["conflict", ConflictError],
  ["payload_too_large", PayloadTooLargeError],
  ["rate_limited", RateLimitedError],
  ["internal_error", InternalError],
  ["unavailable", UnavailableError],
]);

/** The codes refusals are known by: a test holds them against the vault's own table. */
export const refusalCodes = (): string[] => [...REFUSALS.keys()];

/** The class that stands for a code. */
export function refusalOf(code: string | undefined, refusal: Refusal): ApiRefusal {
  const known = code === undefined ? undefined : REFUSALS.get(code);
  return known === undefined ? new UnrecognizedError(refusal, code) : new known(refusal);
}

/** Whether something caught was thrown by this package on purpose; it may then be switched over by `code`. */
export const isServiceVaultError = (error: unknown): error is AnyServiceVaultError =>
  error instanceof ServiceVaultError;
