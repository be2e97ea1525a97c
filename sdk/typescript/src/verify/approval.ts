// What a person agreed to, checked from the evidence alone: no vault, no network.

import { identityOf, requestDigestOf } from "../../../../src/crypto/hash.ts";
import { isSoundSigningKey } from "../../../../src/crypto/keys.ts";
import { LABELS } from "../../../../src/protocol/labels.ts";
import type { ApprovalStatement } from "../generated/types.ts";
import { bytesOf, expectSame, formed, isSigned, members, textsOf } from "./form.ts";
import { VerificationError } from "./verification-error.ts";

const KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;

/** What an answered request holds; a view from the API has all of it. Keep the three together. */
export interface ApprovalEvidence {
  /** The person's signed statement. */
  approval?: unknown;
  /** What they saw, as it was sent. Where the ask held members the vault does not keep, put those back first. */
  request_payload?: unknown;
  /** base64. */
  user_signing_key: string;
}

export interface ExpectedApproval {
  /** Whose approval it must be: from your own records, never from the evidence. */
  userId: string;
  serviceId?: string;
  contractId?: string;
  requestId?: string;
  /** `denied` verifies a refusal. Default `approved`. */
  decision?: "approved" | "denied";
  /** Milliseconds since the epoch at which a `valid_until` must not be over; default the clock. */
  now?: number;
}

/**
 * Resolves with the person's statement when they approved this very request; throws VerificationError otherwise, also
 * when they validly signed a no. It does not say that nothing was revoked since.
 */
export async function verifyApproval(
  evidence: ApprovalEvidence,
  expected: ExpectedApproval,
): Promise<ApprovalStatement> {
  if (typeof expected?.userId !== "string" || expected.userId === "")
    throw new TypeError("verifyApproval: say whose approval it must be (userId)");
  const { signature } = textsOf(evidence.approval, "the approval", ["signature"], ["statement"]);
  const { statement } = evidence.approval as { statement: unknown };
  const facts = textsOf(
    statement,
    "the statement",
    [
      "request_id",
      "request_digest",
      "kind",
      "decision",
      "user_id",
      "service_id",
      "contract_id",
      "responded_at",
      "valid_until?",
      "result_digest?",
    ],
    ["v", "constraints"],
  );
  if ((statement as { v?: unknown }).v !== 1)
    throw new VerificationError("malformed", "the statement is of another version");
  if (facts.decision !== "approved" && facts.decision !== "denied")
    throw new VerificationError("malformed", "the statement decides nothing");
  bytesOf(signature, SIGNATURE_BYTES, "the signature");
  const key = bytesOf(evidence.user_signing_key, KEY_BYTES, "user_signing_key");
  const payload = members(evidence.request_payload, "request_payload");

  if (!isSoundSigningKey(key))
    throw new VerificationError("key_refused", "user_signing_key is a key that anyone could sign under");
  if (facts.user_id !== identityOf(key))
    throw new VerificationError("mismatch", "the statement's user has another signing key");
  expectSame(facts.user_id, expected.userId, "user");
  expectSame(facts.service_id, expected.serviceId, "service");
  expectSame(facts.contract_id, expected.contractId, "contract");
  expectSame(facts.request_id, expected.requestId, "request");
  if (
    facts.request_id !== payload.request_id ||
    facts.kind !== payload.kind ||
    facts.request_digest !== formed(() => requestDigestOf(payload), "request_payload")
  )
    throw new VerificationError("mismatch", "the statement is about another request than request_payload");
  const holds = await isSigned(
    evidence.user_signing_key,
    LABELS.approval,
    statement,
    signature,
    "the statement",
  );
  if (!holds) throw new VerificationError("signature_invalid", "the person did not sign this statement");
  if (facts.decision !== (expected.decision ?? "approved"))
    throw new VerificationError(
      "not_approved",
      facts.decision === "denied" ? "the person said no" : "the person said yes",
    );
  if (facts.valid_until !== undefined && !(Date.parse(facts.valid_until) > (expected.now ?? Date.now())))
    throw new VerificationError("lapsed", `the approval was valid until ${facts.valid_until}`);
  return statement as ApprovalStatement;
}
