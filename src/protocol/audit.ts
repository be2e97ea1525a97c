// The entry every operation leaves (PROTOCOL §8).

import { z } from "zod";
import { capabilityName } from "./offer.ts";
import {
  bytesOfLength,
  contractId,
  digest,
  eventId,
  identityId,
  line,
  signature,
  timestamp,
} from "./primitives.ts";

export const AUDIT_SALT_BYTES = 16;
/** What the first entry of a chain names as its predecessor: 32 zero bytes. */
export const CHAIN_START = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/** Flat facts without personal data: ids, status words, counts. */
export const auditSummary = z.record(line(64), z.union([z.string().max(256), z.int(), z.boolean()]));
export type AuditSummary = z.infer<typeof auditSummary>;

export const auditEntry = z.strictObject({
  event_id: eventId,
  timestamp,
  service_id: identityId,
  /** Absent on the service's own chain. */
  user_id: identityId.optional(),
  contract_id: contractId.optional(),
  operation: z
    .string()
    .regex(/^[a-z0-9_]+(\.[a-z0-9_]+)*$/)
    .max(64),
  capability_used: capabilityName.optional(),
  status: z.enum(["success", "denied", "error"]),
  request_summary: auditSummary,
  response_summary: auditSummary,
  salt: bytesOfLength(AUDIT_SALT_BYTES),
  previous_hash: digest,
  event_hash: digest,
  signature,
});
export type AuditEntry = z.infer<typeof auditEntry>;
