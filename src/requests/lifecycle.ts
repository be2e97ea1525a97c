// The life of a request: what is sent, which answer counts and as what (PROTOCOL §6). Pure.

import { identityOf, requestDigestOf, resultDigestOf } from "../crypto/hash.ts";
import { isSoundSigningKey } from "../crypto/keys.ts";
import { type SigningKey, signJson, verifyJson } from "../crypto/signing.ts";
import {
  type Approval,
  type ApprovalStatement,
  approval as approvalSchema,
  CHALLENGE_BYTES,
  MATCH_CODE_DIGITS,
  type RequestPayload,
  type RequestStatus,
  type ResponsePayload,
} from "../protocol/asking.ts";
import { fromBase64, toBase64 } from "../protocol/encoding.ts";
import { randomBytes, randomDigits } from "../protocol/ids.ts";
import { LABELS } from "../protocol/labels.ts";
import { toTimestamp } from "../protocol/primitives.ts";
import { err, ok, type Result } from "../protocol/result.ts";
import type { About, CheckFacts, Kind, KindOperation } from "./kind.ts";

export interface AskTerms {
  requestId: string;
  purpose?: string;
  context?: Record<string, string | number | boolean>;
  expiresAt: number;
  graceSeconds: number;
  matchCodeRequired: boolean;
}

/** The payload the user sees and signs the digest of. */
export function buildPayload(
  kind: Kind,
  operation: KindOperation,
  terms: AskTerms,
  input: unknown,
  about?: About,
): RequestPayload {
  return {
    request_id: terms.requestId,
    kind: kind.name,
    ...(kind.operations.length > 1 && operation.unnamed !== true ? { operation: operation.name } : {}),
    ...(terms.purpose === undefined ? {} : { purpose: terms.purpose }),
    ...(terms.context === undefined ? {} : { context: terms.context }),
    challenge: toBase64(randomBytes(CHALLENGE_BYTES)),
    expires_at: toTimestamp(terms.expiresAt),
    offline_grace_seconds: terms.graceSeconds,
    ...(terms.matchCodeRequired ? { match_code_required: true } : {}),
    ...(operation.toPayload(input, about) as Record<string, unknown>),
  };
}

/** A number to show where the person logs in. */
export const newMatchCode = (): string => randomDigits(MATCH_CODE_DIGITS);

/** How an answer committed at `now` counts; `late` when neither expiry nor grace admits it. */
export function countAnswer(
  decision: "approved" | "denied",
  { expiresAt, graceUntil, now }: { expiresAt: number; graceUntil: number; now: number },
): Extract<RequestStatus, "approved" | "offline_approved" | "denied"> | "late" {
  if (now >= graceUntil) return "late";
  if (decision === "denied") return "denied";
  return now < expiresAt ? "approved" : "offline_approved";
}

/** A payload or input without what is for the user alone. */
export const withoutWithheld = <T extends object>(operation: KindOperation, value: T): T =>
  operation.withheld === undefined
    ? value
    : (Object.fromEntries(
        Object.entries(value).filter(([name]) => operation.withheld?.includes(name) !== true),
      ) as T);

export interface AskedRequest {
  payload: RequestPayload;
  /** Of the payload as it was sent, where the one here lacks what was withheld. */
  requestDigest?: string;
  operation: KindOperation;
  /** As it was validated; what an operation's `check` may hold the result against. */
  input?: unknown;
  userId: string;
  serviceId: string;
  contractId: string;
  userSigningKey: string;
}

export type AnswerFault =
  | "statement_mismatch"
  | "signature_invalid"
  | "result_missing"
  | "result_unexpected"
  | "result_invalid"
  | "result_digest_mismatch";

/** Whether an answer is this user's signed word on this very request. A fault leaves the request open. */
export async function verifyAnswer(
  answer: ResponsePayload,
  asked: AskedRequest,
): Promise<Result<{ statement: ApprovalStatement }, AnswerFault>> {
  const { statement, signature } = answer.approval;
  if (
    answer.request_id !== asked.payload.request_id ||
    statement.request_id !== asked.payload.request_id ||
    statement.request_digest !== (asked.requestDigest ?? requestDigestOf(asked.payload)) ||
    statement.kind !== asked.payload.kind ||
    statement.decision !== answer.decision ||
    statement.user_id !== asked.userId ||
    statement.service_id !== asked.serviceId ||
    statement.contract_id !== asked.contractId
  )
    return err("statement_mismatch");
  if (!(await verifyJson(asked.userSigningKey, LABELS.approval, statement, signature)))
    return err("signature_invalid");

  const wanted = answer.decision === "approved" ? asked.operation.result : undefined;
  if (answer.result === undefined || answer.salt === undefined) {
    if (statement.result_digest !== undefined) return err("result_digest_mismatch");
    return wanted === undefined ? ok({ statement }) : err("result_missing");
  }
  if (wanted === undefined) return err("result_unexpected");
  if (statement.result_digest !== resultDigestOf(answer.result, answer.salt))
    return err("result_digest_mismatch");
  const fits =
    wanted.safeParse(answer.result).success && (await isFitting(asked.operation, answer.result, asked));
  return fits ? ok({ statement }) : err("result_invalid");
}

/** Whether a result of the right form is also right for what was asked. */
export const isFitting = async (
  operation: KindOperation,
  result: unknown,
  facts: CheckFacts,
): Promise<boolean> => operation.check === undefined || operation.check(result, facts);

/** The user's side: signs an approval or a denial. */
export async function signApproval(key: SigningKey, statement: ApprovalStatement): Promise<Approval> {
  return { statement, signature: await signJson(key, LABELS.approval, statement) };
}

/**
 * Anyone's check, offline: what this user agreed to, from the request's payload, the approval and the user's key
 * (base64) alone. The statement must be about this very request, by the user whose key this is. It does not say that
 * nothing was revoked since.
 */
export async function verifyApproval(
  approval: unknown,
  payload: unknown,
  userSigningKey: string,
): Promise<boolean> {
  const parsed = approvalSchema.safeParse(approval);
  const key = fromBase64(userSigningKey);
  if (!parsed.success || key === undefined || typeof payload !== "object" || payload === null) return false;
  const { statement, signature } = parsed.data;
  const asked: Partial<RequestPayload> = payload;
  return (
    statement.request_id === asked.request_id &&
    statement.kind === asked.kind &&
    statement.request_digest === requestDigestOf(payload) &&
    statement.user_id === identityOf(key) &&
    isSoundSigningKey(key) &&
    (await verifyJson(userSigningKey, LABELS.approval, statement, signature))
  );
}

const MINUTE_MS = 60_000;
/**
 * Pauses between sendings of an unreceipted message. A phone that is merely asleep reads the first copy from its
 * stream; the repeats are for a broker that lost what it had acknowledged.
 */
const RESEND_PAUSES_MS = [
  20_000,
  MINUTE_MS,
  5 * MINUTE_MS,
  30 * MINUTE_MS,
  2 * 60 * MINUTE_MS,
  6 * 60 * MINUTE_MS,
];

/** How long to wait after the `sendings`-th sending (from 1) before the next. */
export const resendPauseMs = (sendings: number): number =>
  RESEND_PAUSES_MS[Math.min(Math.max(sendings, 1), RESEND_PAUSES_MS.length) - 1]!;
