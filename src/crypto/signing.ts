// Ed25519 (RFC 8032) through WebCrypto. Verification is strict about S and R; keys are checked once, by
// `isSoundSigningKey`, before they are handed to `verify`.

import { concatBytes, fromBase64, toBase64 } from "../protocol/encoding.ts";
import type { Label } from "../protocol/labels.ts";
import { identityOf, labelledJson } from "./hash.ts";
import { ED25519_KEY_BYTES } from "./keys.ts";

const PKCS8_PREFIX = Uint8Array.from([
  0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
]);
const SIGNATURE_BYTES = 64;

/** A signing key, here or in a remote signer: the seed never leaves the object that made it. */
export interface SigningKey {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** base64 of the public key. */
  readonly publicKeyText: string;
  /** base58 of the public key's SHA-256. */
  readonly id: string;
  /** Ed25519 over the bytes as given, 64 bytes. */
  sign(bytes: Uint8Array): Promise<Uint8Array>;
}

/** Imports an Ed25519 seed. Throws RangeError unless it is 32 bytes. */
export async function importSigningKey(seed: Uint8Array): Promise<SigningKey> {
  if (seed.length !== ED25519_KEY_BYTES) throw new RangeError("importSigningKey: the seed must be 32 bytes");
  const pkcs8 = concatBytes(PKCS8_PREFIX, seed);
  // Exported once for its public half; the key that stays in memory cannot be exported.
  const exportable = await crypto.subtle.importKey("pkcs8", pkcs8, "Ed25519", true, ["sign"]);
  const key = await crypto.subtle.importKey("pkcs8", pkcs8, "Ed25519", false, ["sign"]);
  const jwk = (await crypto.subtle.exportKey("jwk", exportable)) as JsonWebKey;
  const publicKey = fromBase64(`${jwk.x!.replaceAll("-", "+").replaceAll("_", "/")}=`)!;
  return {
    publicKey,
    publicKeyText: toBase64(publicKey),
    id: identityOf(publicKey),
    sign: async (bytes) => new Uint8Array(await crypto.subtle.sign("Ed25519", key, bytes as BufferSource)),
  };
}

/** Imported verification keys kept, most recently used last; importing costs a third of verifying. */
const CACHED_KEYS = 4_096;
const verificationKeys = new Map<string, CryptoKey>();

async function verificationKey(publicKey: Uint8Array): Promise<CryptoKey> {
  const name = toBase64(publicKey);
  let key = verificationKeys.get(name);
  if (key === undefined) {
    key = await crypto.subtle.importKey("raw", publicKey as BufferSource, "Ed25519", false, ["verify"]);
    const oldest = verificationKeys.keys().next();
    if (verificationKeys.size >= CACHED_KEYS && !oldest.done) verificationKeys.delete(oldest.value);
  } else {
    verificationKeys.delete(name);
  }
  verificationKeys.set(name, key);
  return key;
}

/** Verifies an Ed25519 signature over bytes. False for anything malformed. */
export async function verify(
  publicKey: Uint8Array,
  bytes: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  if (signature.length !== SIGNATURE_BYTES) return false;
  try {
    const key = await verificationKey(publicKey);
    return await crypto.subtle.verify("Ed25519", key, signature as BufferSource, bytes as BufferSource);
  } catch {
    return false;
  }
}

/** `Sign(label, x)` of PROTOCOL §1, base64. */
export async function signJson(key: SigningKey, label: Label, value: unknown): Promise<string> {
  return toBase64(await key.sign(labelledJson(label, value)));
}

/** Checks `Sign(label, x)`; key and signature as base64. False for anything malformed. */
export async function verifyJson(
  publicKey: string,
  label: Label,
  value: unknown,
  signature: string,
): Promise<boolean> {
  const keyBytes = fromBase64(publicKey);
  const signatureBytes = fromBase64(signature);
  if (keyBytes === undefined || signatureBytes === undefined) return false;
  return verify(keyBytes, labelledJson(label, value), signatureBytes);
}
