// The envelope (PROTOCOL §4): a header anyone on the way may read, a ciphertext and a signature over both.

import { z } from "zod";
import { type Json, type JsonFault, parseJson } from "./json.ts";
import { MAX_ENVELOPE_BYTES, MAX_ENVELOPE_LIFETIME_MS } from "./limits.ts";
import {
  bytesOfLength,
  bytesUpTo,
  contractId,
  decodedOfLength,
  decodedUpTo,
  eventId,
  eventType,
  fromTimestamp,
  identityId,
  isEventId,
  isEventType,
  isHashId,
  isKeyId,
  isTimestamp,
  keyId,
  PUBLIC_KEY_BYTES,
  publicKey,
  SIGNATURE_BYTES,
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

export const envelopeShape = envelopeHeader.extend({
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

type Holds = (value: Json) => boolean;
const text =
  (holds: (text: string) => boolean): Holds =>
  (value) =>
    typeof value === "string" && holds(value);
const bytes = (length: number): Holds => text((value) => decodedOfLength(length, value) !== undefined);

/**
 * `envelopeHeader` once more, as plain code: every message passes here, and zod takes several times as long. A test
 * holds the two against each other.
 */
const HEADER: Readonly<Record<keyof EnvelopeHeader, Holds>> = {
  v: (value) => value === 1,
  event_id: text(isEventId),
  event_type: text(isEventType),
  ref: text(isEventId),
  from: text(isHashId),
  to: text(isHashId),
  contract_id: text(isHashId),
  signing_key: bytes(PUBLIC_KEY_BYTES),
  seq: (value) => Number.isSafeInteger(value) && (value as number) >= 0,
  timestamp: text(isTimestamp),
  expires_at: text(isTimestamp),
  key_id: text(isKeyId),
  ephemeral_public_key: bytes(PUBLIC_KEY_BYTES),
  nonce: bytes(NONCE_BYTES),
};
const MEMBERS = Object.keys(HEADER) as (keyof EnvelopeHeader)[];
const MAY_BE_ABSENT: ReadonlySet<string> = new Set(["ref", "contract_id", "signing_key"]);

/** An envelope of the form `envelopeShape`; undefined for anything else. */
function readEnvelope(value: Json): Envelope | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const { ciphertext, signature: signed, ...header } = value;
  if (typeof ciphertext !== "string" || typeof signed !== "string") return undefined;
  let present = 0;
  for (const name of MEMBERS) {
    if (Object.hasOwn(header, name)) {
      if (!HEADER[name](header[name]!)) return undefined;
      present += 1;
    } else if (!MAY_BE_ABSENT.has(name)) return undefined;
  }
  // One that is not in the table.
  if (present !== Object.keys(header).length) return undefined;
  const ciphertextBytes = decodedUpTo(MAX_ENVELOPE_BYTES, ciphertext);
  const signatureBytes = decodedOfLength(SIGNATURE_BYTES, signed);
  if (ciphertextBytes === undefined || signatureBytes === undefined) return undefined;
  return {
    header: header as unknown as EnvelopeHeader,
    ciphertext: ciphertextBytes,
    signature: signatureBytes,
  };
}

const SORTED_MEMBERS = MEMBERS.toSorted();

/**
 * The header's canonical form, as `canonicalJson` makes it: RFC 8785 writes values as JSON.stringify does and puts
 * members in order, and a header has no objects in it.
 */
export const canonicalHeader = (header: EnvelopeHeader): string => JSON.stringify(header, SORTED_MEMBERS);

/** The first two steps of acceptance: size, then schema. */
export function parseEnvelope(bytes: Uint8Array): Result<Envelope, EnvelopeFault> {
  if (bytes.length > MAX_ENVELOPE_BYTES) return err("too_large");
  const json = parseJson(bytes);
  if (!json.ok) return json;
  const envelope = readEnvelope(json.value);
  if (envelope === undefined) return err("schema");
  const { header } = envelope;
  const lifetime = fromTimestamp(header.expires_at) - fromTimestamp(header.timestamp);
  if (lifetime < 0 || lifetime > MAX_ENVELOPE_LIFETIME_MS) return err("schema");
  if (header.signing_key !== undefined && header.event_type !== "contract.submit") return err("schema");
  return ok(envelope);
}
