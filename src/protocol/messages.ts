// Which payload travels under which event type, and in which direction (PROTOCOL §6, the two tables).
// `<kind>.request` and `<kind>.response` belong to the registry of kinds; every other type is a row here.

import { z } from "zod";
import { responsePayload } from "./asking.ts";
import { auditEntry } from "./audit.ts";
import {
  capabilityRevoke,
  contractAccepted,
  contractExpiring,
  contractPause,
  contractRejected,
  contractSubmit,
  contractUpdate,
  profile,
  revocation,
} from "./contract.ts";
import { canonicalJson, utf8 } from "./json.ts";
import { digest, eventId, keyId, line, prose, publicKey, timestamp } from "./primitives.ts";

export const receipt = z.strictObject({
  event_id: eventId,
  received_at: timestamp,
  outcome: z.enum(["stored", "refused"]),
  /** Why it was refused, for the sender's log. */
  reason: line(64).optional(),
  /** How the service counted an answer. */
  request_status: z.string().max(32).optional(),
  /** Numbers of the sender that have not arrived, lowest first. */
  missing_seq: z.array(z.int().min(1)).max(64).optional(),
  /** The audit entry that records the message. */
  event_hash: digest.optional(),
});
export type Receipt = z.infer<typeof receipt>;

const keyRotate = z.strictObject({ connection_key: publicKey, previous_key_id: keyId });
export type KeyRotate = z.infer<typeof keyRotate>;
const keyRotated = z.strictObject({ key_id: keyId });
export type KeyRotated = z.infer<typeof keyRotated>;

/** Entries on one page of `audit.response`. */
export const MAX_AUDIT_ENTRIES = 200;
/** A note of 64 signatures and a path of 63 hashes. */
const MAX_LOG_PROOF_CHARACTERS = 160_000;

const auditRequest = z.strictObject({ after: eventId.optional() });
export type AuditRequest = z.infer<typeof auditRequest>;

const auditResponse = z.strictObject({
  /** In order, from the one behind `after`. */
  entries: z.array(auditEntry).max(MAX_AUDIT_ENTRIES),
  /** c2sp.org/tlog-proof, with its opening, of the last of them that was a logged head. */
  proof: z.string().max(MAX_LOG_PROOF_CHARACTERS).optional(),
  /** There is more: what to ask for next. */
  next_after: eventId.optional(),
  /** On the first page, where the beginning was pruned: `event_hash` of the last entry that was. */
  pruned_to: digest.optional(),
});
export type AuditResponse = z.infer<typeof auditResponse>;

/** What a user sends, beside `<kind>.response`. */
export const userPayloads = {
  "call.request": z.strictObject({ purpose: prose(500), type: z.enum(["text", "voice", "video"]) }),
  receipt,
  "contract.submit": contractSubmit,
  "contract.update.denied": z.strictObject({ reason: line(128).optional() }),
  "contract.revoke": revocation,
  "capability.revoke": capabilityRevoke,
  "profile.update": z.strictObject({ profile }),
  "key.rotate": keyRotate,
  "key.rotated": keyRotated,
  "audit.request": auditRequest,
} as const;
export type UserEventType = keyof typeof userPayloads;

/** What a service sends, beside `<kind>.request`. */
export const servicePayloads = {
  receipt,
  "contract.accepted": contractAccepted,
  "contract.rejected": contractRejected,
  "contract.update": contractUpdate,
  "contract.expiring": contractExpiring,
  "contract.cancelled": revocation,
  "contract.paused": contractPause,
  "contract.resumed": contractPause,
  "request.cancelled": z.strictObject({ request_id: eventId }),
  "key.rotate": keyRotate,
  "key.rotated": keyRotated,
  "audit.response": auditResponse,
} as const;
export type ServiceEventType = keyof typeof servicePayloads;

/** What a user's event may carry, in bytes of canonical JSON. */
export const MAX_USER_EVENT_BYTES = 65_536;

/** The payload of `events.<type>`. */
export const userEvent = z.strictObject({
  data: z
    .json()
    .refine(
      (value) => utf8(canonicalJson(value)).length <= MAX_USER_EVENT_BYTES,
      `must be at most ${MAX_USER_EVENT_BYTES} bytes of canonical JSON`,
    ),
});
export type UserEvent = z.infer<typeof userEvent>;

const USER_EVENT = /^events\.([a-z0-9_]{1,32})$/;

/** The name in `events.<name>`; undefined for any other event type. */
export const userEventName = (eventType: string): string | undefined => USER_EVENT.exec(eventType)?.[1];

/** Never answered by a receipt (PROTOCOL §4). */
export const isReceipted = (eventType: string): boolean =>
  eventType !== "receipt" && eventType !== "contract.rejected";

const RESPONSE = /^([a-z0-9_]{1,32}(?:\.[a-z0-9_]{1,32})?)\.response$/;
const REQUEST = /^([a-z0-9_]{1,32}(?:\.[a-z0-9_]{1,32})?)\.request$/;

/** The kind of a `<kind>.response`; undefined for any other event type. */
export const kindOfResponse = (eventType: string): string | undefined => RESPONSE.exec(eventType)?.[1];
/** The kind of a `<kind>.request`; undefined for any other event type. */
export const kindOfRequest = (eventType: string): string | undefined => REQUEST.exec(eventType)?.[1];

/** The payload's schema for something a user sends; undefined for a type no user sends. */
export function userPayloadSchema(eventType: string): z.ZodType | undefined {
  if (kindOfResponse(eventType) !== undefined) return responsePayload;
  if (userEventName(eventType) !== undefined) return userEvent;
  return Object.hasOwn(userPayloads, eventType) ? userPayloads[eventType as UserEventType] : undefined;
}
