// The client of a VettID service vault, for backends.

export { ServiceVault, type ServiceVaultOptions } from "./client.ts";
export {
  type AnyServiceVaultError,
  ApiError,
  type ApiRefusal,
  CallTimeoutError,
  CapabilityDeniedError,
  ConflictError,
  ConnectionError,
  ContractRequiredError,
  type ErrorCode,
  ForbiddenError,
  InternalError,
  InvalidRequestError,
  isServiceVaultError,
  NotFoundError,
  PayloadTooLargeError,
  type ProblemDetail,
  RateLimitedError,
  SignatureInvalidError,
  UnauthorizedError,
  UnavailableError,
  UnexpectedAnswerError,
  UnrecognizedError,
  WaitTimeoutError,
} from "./errors.ts";
export type { EventsOptions } from "./event-feed.ts";
export type * from "./generated/types.ts";
export { type Page, PageList } from "./page-list.ts";
export {
  type Accepted,
  isApproved,
  RequestHandle,
  type Settled,
  type WaitOptions,
} from "./request-handle.ts";
export type { CallOptions, Fetch } from "./transport.ts";
export { type ApprovalEvidence, type ExpectedApproval, verifyApproval } from "./verify/approval.ts";
export { type ExpectedProof, type VerifiedProof, verifyAuditProof } from "./verify/audit-proof.ts";
export { CHAIN_START, type ExpectedChain, type VerifiedChain, verifyChain } from "./verify/chain.ts";
export { type ExpectedContract, type VerifiedContract, verifyContractRecord } from "./verify/contract.ts";
export { type Check, type VerificationCode, VerificationError } from "./verify/verification-error.ts";
export {
  type RawDelivery,
  type VerifyWebhookOptions,
  verifyWebhook,
  type WebhookKeys,
} from "./verify/webhook.ts";
export type { AnyEventType, WebhookEvent } from "./webhook-event.ts";
