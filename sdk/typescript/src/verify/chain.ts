// The signed chain of everything that was done, walked from one end to the other.

import { auditHashOf, identityOf } from "../../../../src/crypto/hash.ts";
import { isSoundSigningKey } from "../../../../src/crypto/keys.ts";
import { LABELS } from "../../../../src/protocol/labels.ts";
import type { AuditEntry } from "../generated/types.ts";
import { bytesOf, formed, isSigned, members, textsOf } from "./form.ts";
import { VerificationError } from "./verification-error.ts";

const KEY_BYTES = 32;
/** What the first entry of a chain names as its predecessor: 32 zero bytes. */
export const CHAIN_START = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

export interface ExpectedChain {
  serviceId: string;
  /** The service's signing key, base64; its hash must be `serviceId`. */
  publicKey: string;
  /** Whose chain; absent: the service's own. */
  userId?: string;
  /** `event_hash` of the entry before the first one given; absent: the chain is given from its beginning. */
  after?: string;
}

export interface VerifiedChain {
  entries: number;
  /**
   * `event_hash` of the last entry. A chain cut at its end shows only against a head that someone else holds: the
   * person's receipts, the public log, your own notes.
   */
  head: string;
}

/**
 * Walks a chain: entries in order, as the API lists them (`vault.audit.list({ user_id })` may be given as it is).
 * Throws VerificationError `chain_broken` at an entry that was changed, removed, inserted or moved.
 */
export async function verifyChain(
  entries: Iterable<unknown> | AsyncIterable<unknown>,
  { serviceId, publicKey, userId, after = CHAIN_START }: ExpectedChain,
): Promise<VerifiedChain> {
  const key = bytesOf(publicKey, KEY_BYTES, "publicKey");
  if (!isSoundSigningKey(key))
    throw new VerificationError("key_refused", "publicKey is a key that anyone could sign under");
  if (identityOf(key) !== serviceId)
    throw new VerificationError("mismatch", "publicKey is not the key of serviceId");
  let head = after;
  let count = 0;
  for await (const candidate of entries) {
    const place = `entry ${count}`;
    const entry = textsOf(
      candidate,
      place,
      [
        "event_id",
        "timestamp",
        "service_id",
        "user_id?",
        "contract_id?",
        "operation",
        "capability_used?",
        "status",
        "salt",
        "previous_hash",
        "event_hash",
        "signature",
      ],
      ["request_summary", "response_summary"],
    );
    members((candidate as AuditEntry).request_summary, `${place}: request_summary`);
    members((candidate as AuditEntry).response_summary, `${place}: response_summary`);
    const broken = (what: string) => new VerificationError("chain_broken", `${place}: ${what}`);
    if (entry.service_id !== serviceId) throw broken("is of another service");
    if (entry.user_id !== userId) throw broken("is of another chain");
    if (entry.previous_hash !== head) throw broken("does not follow the entry before it");
    if (formed(() => auditHashOf(candidate as object), place) !== entry.event_hash)
      throw broken("was changed after it was signed");
    const signed = { event_hash: entry.event_hash };
    if (!(await isSigned(publicKey, LABELS.audit, signed, entry.signature, place)))
      throw broken("is not signed by the service");
    head = entry.event_hash;
    count++;
  }
  return { entries: count, head };
}
