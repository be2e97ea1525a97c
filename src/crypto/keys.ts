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

const FIELD_PRIME = 2n ** 255n - 19n;
/** Any scalar will do to find out whether a point is of small order: every multiple of it is then zero. */
const PROBE_SCALAR = new Uint8Array(X25519_KEY_BYTES).fill(0x42);

/** Whether an X25519 public key is 32 bytes and canonical: below 2^255 − 19, high bit clear. */
export function isCanonicalAgreementKey(publicKey: Uint8Array): boolean {
  if (publicKey.length !== X25519_KEY_BYTES) return false;
  let value = 0n;
  for (let at = X25519_KEY_BYTES - 1; at >= 0; at--) value = value * 256n + BigInt(publicKey[at]!);
  return value < FIELD_PRIME;
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
