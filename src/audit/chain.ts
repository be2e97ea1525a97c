// The chain of signed entries that every operation extends (PROTOCOL §8).

import { auditHashOf } from "../crypto/hash.ts";
import { type SigningKey, signJson, verifyJson } from "../crypto/signing.ts";
import { AUDIT_SALT_BYTES, type AuditEntry, auditEntry, CHAIN_START } from "../protocol/audit.ts";
import { toBase64 } from "../protocol/encoding.ts";
import { randomBytes } from "../protocol/ids.ts";
import { LABELS } from "../protocol/labels.ts";

export type AuditContent = Omit<AuditEntry, "salt" | "previous_hash" | "event_hash" | "signature">;

/** The entry that follows `previousHash` (base64; CHAIN_START for the first). */
export async function signEntry(
  key: SigningKey,
  content: AuditContent,
  previousHash: string,
): Promise<AuditEntry> {
  const unsigned = { ...content, salt: toBase64(randomBytes(AUDIT_SALT_BYTES)), previous_hash: previousHash };
  const event_hash = auditHashOf(unsigned);
  return { ...unsigned, event_hash, signature: await signJson(key, LABELS.audit, { event_hash }) };
}

export type ChainFault = "schema" | "previous_hash" | "event_hash" | "signature" | "service_id";

export interface ChainReport {
  valid: boolean;
  entries: number;
  /** `event_hash` of the last entry that held. */
  head: string;
  /** Where the chain first breaks, counted from 0, and how. */
  fault?: { index: number; reason: ChainFault };
}

/**
 * Walks a chain from `after` (CHAIN_START unless an earlier part was verified before). Finds a changed, removed,
 * inserted or reordered entry; a chain cut at its end, or rewritten whole with the service's key, shows only
 * against a head someone else holds.
 */
export async function verifyChain(
  entries: readonly unknown[],
  { serviceId, publicKey, after = CHAIN_START }: { serviceId: string; publicKey: string; after?: string },
): Promise<ChainReport> {
  let head = after;
  for (const [index, candidate] of entries.entries()) {
    const broken = (reason: ChainFault): ChainReport => ({
      valid: false,
      entries: entries.length,
      head,
      fault: { index, reason },
    });
    const parsed = auditEntry.safeParse(candidate);
    if (!parsed.success) return broken("schema");
    const entry = parsed.data;
    if (entry.service_id !== serviceId) return broken("service_id");
    if (entry.previous_hash !== head) return broken("previous_hash");
    if (auditHashOf(entry) !== entry.event_hash) return broken("event_hash");
    if (!(await verifyJson(publicKey, LABELS.audit, { event_hash: entry.event_hash }, entry.signature)))
      return broken("signature");
    head = entry.event_hash;
  }
  return { valid: true, entries: entries.length, head };
}
