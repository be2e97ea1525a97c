// What a public key must be before it is trusted with anything (PROTOCOL §2). Native verification accepts keys of
// small order, under which anyone can sign; so each key is checked once, when it is first presented.

import { ed25519, x25519 } from "@noble/curves/ed25519.js";

export const ED25519_KEY_BYTES = 32;
export const X25519_KEY_BYTES = 32;

/** Whether an Ed25519 public key is canonical (RFC 8032 §5.1.3), of prime order and not of small order. */
export function isSoundSigningKey(publicKey: Uint8Array): boolean {
  if (publicKey.length !== ED25519_KEY_BYTES) return false;
  try {
    const point = ed25519.Point.fromBytes(publicKey, false);
    return !point.isSmallOrder() && point.isTorsionFree();
  } catch {
    return false;
  }
}

/** Any scalar will do to find out whether a point is of small order: every multiple of it is then zero. */
const PROBE_SCALAR = new Uint8Array(X25519_KEY_BYTES).fill(0x42);

/** 2^255 − 19, little-endian: 0xed, thirty times 0xff, 0x7f. */
const FIELD_PRIME = Uint8Array.from({ length: X25519_KEY_BYTES }, (_, at) =>
  at === 0 ? 0xed : at === X25519_KEY_BYTES - 1 ? 0x7f : 0xff,
);

/** Whether an X25519 public key is 32 bytes and canonical: below 2^255 − 19, high bit clear. */
export function isCanonicalAgreementKey(publicKey: Uint8Array): boolean {
  if (publicKey.length !== X25519_KEY_BYTES) return false;
  // The highest byte that differs from the prime's decides.
  for (let at = X25519_KEY_BYTES - 1; at >= 0; at--)
    if (publicKey[at] !== FIELD_PRIME[at]) return publicKey[at]! < FIELD_PRIME[at]!;
  return false;
}

/** Whether an X25519 public key is canonical and not of small order (RFC 7748 §6.1). */
export function isSoundAgreementKey(publicKey: Uint8Array): boolean {
  if (!isCanonicalAgreementKey(publicKey)) return false;
  try {
    return x25519.getSharedSecret(PROBE_SCALAR, publicKey).some((byte) => byte !== 0);
  } catch {
    return false;
  }
}
