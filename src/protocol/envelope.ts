// The envelope (PROTOCOL §4): a header anyone on the way may read, a ciphertext and a signature over both.

import { z } from "zod";
import { fromBase64 } from "./encoding.ts";
import { type JsonFault, parseJson } from "./json.ts";
import { MAX_ENVELOPE_BYTES, MAX_ENVELOPE_LIFETIME_MS } from "./limits.ts";
import {
  bytesOfLength,
  bytesUpTo,
  contractId,
  eventId,
  eventType,
  fromTimestamp,
  identityId,
  keyId,
  publicKey,
  signature,
  timestamp,
} from "./primitives.ts";
import { err, ok, type Result } from "./result.ts";

export const NONCE_BYTES = 24;

export const envelopeHeader = z.strictObject({
  v: z.literal(1),
  event_id: eventId,
  event_type: eventType,
  /** The event answered, or the session. */
  ref: eventId.optional(),
  from: identityId,
  to: identityId,
  /** Absent in setup. */
  contract_id: contractId.optional(),
  /** In `contract.submit` only; hashes to `from`. */
  signing_key: publicKey.optional(),
  /** Per contract and direction, from 1, no gaps; 0 in setup and receipts. */
  seq: z.int().min(0),
  timestamp,
  expires_at: timestamp,
  key_id: keyId,
  ephemeral_public_key: publicKey,
  nonce: bytesOfLength(NONCE_BYTES),
});
export type EnvelopeHeader = z.infer<typeof envelopeHeader>;

const envelopeShape = envelopeHeader.extend({
  ciphertext: bytesUpTo(MAX_ENVELOPE_BYTES),
  signature,
});

export interface Envelope {
  readonly header: EnvelopeHeader;
  /** Authentication tag last, 16 bytes. */
  readonly ciphertext: Uint8Array;
  /** Ed25519, 64 bytes. */
  readonly signature: Uint8Array;
}

export type EnvelopeFault = "too_large" | "schema" | JsonFault;

/** The first two steps of acceptance: size, then schema. */
export function parseEnvelope(bytes: Uint8Array): Result<Envelope, EnvelopeFault> {
  if (bytes.length > MAX_ENVELOPE_BYTES) return err("too_large");
  const json = parseJson(bytes);
  if (!json.ok) return json;
  const parsed = envelopeShape.safeParse(json.value);
  if (!parsed.success) return err("schema");
  const { ciphertext, signature: signed, ...header } = parsed.data;
  const lifetime = fromTimestamp(header.expires_at) - fromTimestamp(header.timestamp);
  if (lifetime < 0 || lifetime > MAX_ENVELOPE_LIFETIME_MS) return err("schema");
  if (header.signing_key !== undefined && header.event_type !== "contract.submit") return err("schema");
  return ok({ header, ciphertext: fromBase64(ciphertext)!, signature: fromBase64(signed)! });
}
