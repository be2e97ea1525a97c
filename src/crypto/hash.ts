// SHA-256, HKDF and the labelled hash of PROTOCOL §1.

import { hkdf } from "@noble/hashes/hkdf.js";
import { sha256 as nobleSha256 } from "@noble/hashes/sha2.js";
import { toBase58, toBase64 } from "../protocol/encoding.ts";
import { canonicalJson, utf8 } from "../protocol/json.ts";
import { LABELS, type Label } from "../protocol/labels.ts";
import { platformCrypto } from "./platform.ts";

/**
 * SHA-256 (FIPS 180-4), 32 bytes. `createHash` for every length: in workerd @noble is a little quicker up to some 100
 * bytes once it is compiled, and slower before and beyond; `crypto.hash` makes the same stream there.
 */
export const sha256 = (bytes: Uint8Array): Uint8Array<ArrayBuffer> =>
  new Uint8Array(
    platformCrypto === undefined
      ? nobleSha256(bytes)
      : platformCrypto.createHash("sha256").update(bytes).digest(),
  );

/** label ‖ LF ‖ text: the form under which everything is hashed or signed. */
export const labelled = (label: Label, text: string): Uint8Array<ArrayBuffer> => utf8(`${label}\n${text}`);

/** label ‖ LF ‖ JCS(value). */
export const labelledJson = (label: Label, value: unknown): Uint8Array<ArrayBuffer> =>
  labelled(label, canonicalJson(value));

/** `H(label, x)` of PROTOCOL §1, 32 bytes. */
export const hashOf = (label: Label, value: unknown): Uint8Array<ArrayBuffer> =>
  sha256(labelledJson(label, value));

/** HKDF-SHA256 (RFC 5869). */
export const deriveKey = (
  secret: Uint8Array,
  salt: Uint8Array,
  info: Uint8Array,
  lengthBytes: number,
): Uint8Array<ArrayBuffer> =>
  new Uint8Array(
    platformCrypto === undefined
      ? hkdf(nobleSha256, secret, salt, info, lengthBytes)
      : platformCrypto.hkdfSync("sha256", secret, salt, info, lengthBytes),
  );

/** HMAC-SHA256 (RFC 2104) through WebCrypto, 32 bytes. */
export async function hmacSha256(key: Uint8Array, bytes: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const imported = await crypto.subtle.importKey(
    "raw",
    key as BufferSource,
    { name: "HMAC", hash: "SHA-256" },
    false,
    ["sign"],
  );
  return new Uint8Array(await crypto.subtle.sign("HMAC", imported, bytes as BufferSource));
}

/** `service_id` or `user_id`: base58 of the SHA-256 of an Ed25519 public key, all 32 bytes. */
export const identityOf = (publicKey: Uint8Array): string => toBase58(sha256(publicKey));

/** base58 of the first 8 bytes of the SHA-256 of an X25519 public key. */
export const keyIdOf = (publicKey: Uint8Array): string => toBase58(sha256(publicKey).subarray(0, 8));

const without = (value: object, ...names: string[]): Record<string, unknown> =>
  Object.fromEntries(Object.entries(value).filter(([name]) => !names.includes(name)));

/** `offer_id` of an offer, whether or not it already carries the id and the signature. */
export const offerIdOf = (offer: object): string =>
  toBase58(hashOf(LABELS.offerId, without(offer, "offer_id", "signature")));

export const contractIdOf = (contract: object): string => toBase58(hashOf(LABELS.contractId, contract));

/** `event_hash` of an audit entry, base64, whether or not it already carries hash and signature. */
export const auditHashOf = (entry: object): string =>
  toBase64(hashOf(LABELS.auditId, without(entry, "event_hash", "signature")));

/** `request_digest`, base64, over the payload as received. */
export const requestDigestOf = (payload: unknown): string => toBase64(hashOf(LABELS.request, payload));

/** `result_digest`, base64. The 32-byte salt keeps a guessable result from being confirmed by its digest. */
export const resultDigestOf = (result: unknown, salt: string): string =>
  toBase64(hashOf(LABELS.result, { salt, result }));
