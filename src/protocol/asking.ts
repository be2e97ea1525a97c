// An ask, its answer and the approval that outlives both (PROTOCOL §6).

import { z } from "zod";
import { matchCode } from "./contract.ts";
import {
  bytesOfLength,
  contractId,
  digest,
  eventId,
  freeName,
  identityId,
  line,
  prose,
  signature,
  timestamp,
} from "./primitives.ts";

/** `auth`, `payment`, `custom.loyalty`. */
export const kindName = z.string().regex(/^[a-z0-9_]{1,32}(\.[a-z0-9_]{1,32})?$/);

export const purpose = prose(500);

/** What surrounds the ask, as the person sees it: device, place, order number. Flat and short. */
export const askContext = z
  .record(freeName, z.union([line(256), z.int(), z.boolean()]))
  .refine((fields) => Object.keys(fields).length <= 16, { message: "at most 16 fields" });

export const CHALLENGE_BYTES = 32;
export const MATCH_CODE_DIGITS = 2;

/** The fields every `<kind>.request` payload has; a kind extends it by its own. */
export const requestPayloadBase = z.strictObject({
  request_id: eventId,
  kind: kindName,
  purpose: purpose.optional(),
  context: askContext.optional(),
  challenge: bytesOfLength(CHALLENGE_BYTES),
  expires_at: timestamp,
  offline_grace_seconds: z.int().min(0),
  match_code_required: z.boolean().optional(),
});
export type RequestPayload = z.infer<typeof requestPayloadBase> & Record<string, unknown>;

export const decision = z.enum(["approved", "denied"]);
export type Decision = z.infer<typeof decision>;

export const approvalStatement = z.strictObject({
  v: z.literal(1),
  request_id: eventId,
  request_digest: digest,
  kind: kindName,
  decision,
  user_id: identityId,
  service_id: identityId,
  contract_id: contractId,
  responded_at: timestamp,
  valid_until: timestamp.optional(),
  constraints: z.record(freeName, z.json()).optional(),
  result_digest: digest.optional(),
});
export type ApprovalStatement = z.infer<typeof approvalStatement>;

export const approval = z.strictObject({ statement: approvalStatement, signature });
export type Approval = z.infer<typeof approval>;

export const RESULT_SALT_BYTES = 32;

/** A `<kind>.response` payload; `result` is checked against the kind's schema afterwards. */
export const responsePayload = z
  .strictObject({
    request_id: eventId,
    decision,
    reason: line(128).optional(),
    /** "This was not me." */
    report: z.boolean().optional(),
    match_code: matchCode.optional(),
    result: z.json().optional(),
    salt: bytesOfLength(RESULT_SALT_BYTES).optional(),
    approval,
  })
  .refine((answer) => (answer.result === undefined) === (answer.salt === undefined), {
    message: "result and salt come together",
  });
export type ResponsePayload = z.infer<typeof responsePayload>;

export const requestStatus = z.enum([
  "pending",
  "approved",
  "offline_approved",
  "denied",
  "expired",
  "cancelled",
  /** Of what nobody answers, a notification: the user's vault has it. */
  "delivered",
]);
export type RequestStatus = z.infer<typeof requestStatus>;
