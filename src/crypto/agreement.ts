// X25519 (RFC 7748) through WebCrypto. A shared secret never leaves crypto/ without HKDF.

import { concatBytes, fromBase64, toBase64 } from "../protocol/encoding.ts";
import { keyIdOf } from "./hash.ts";
import { isCanonicalAgreementKey, X25519_KEY_BYTES } from "./keys.ts";

const PKCS8_PREFIX = Uint8Array.from([
  0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x04, 0x22, 0x04, 0x20,
]);

/** A private key for sealing and opening, with its public half. */
export interface AgreementKey {
  readonly privateKey: CryptoKey;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly publicKeyText: string;
  /** base58 of the first 8 bytes of the public key's hash. */
  readonly keyId: string;
}

const agreementKey = (privateKey: CryptoKey, publicKey: Uint8Array): AgreementKey => ({
  privateKey,
  publicKey,
  publicKeyText: toBase64(publicKey),
  keyId: keyIdOf(publicKey),
});

/** Imports a 32-byte X25519 private key. Throws RangeError on another length. */
export async function importAgreementKey(secret: Uint8Array): Promise<AgreementKey> {
  if (secret.length !== X25519_KEY_BYTES)
    throw new RangeError("importAgreementKey: the key must be 32 bytes");
  const pkcs8 = concatBytes(PKCS8_PREFIX, secret);
  // Exported once for its public half; the key that stays in memory cannot be exported.
  const exportable = await crypto.subtle.importKey("pkcs8", pkcs8, "X25519", true, ["deriveBits"]);
  const key = await crypto.subtle.importKey("pkcs8", pkcs8, "X25519", false, ["deriveBits"]);
  const jwk = (await crypto.subtle.exportKey("jwk", exportable)) as JsonWebKey;
  return agreementKey(key, fromBase64(`${jwk.x!.replaceAll("-", "+").replaceAll("_", "/")}=`)!);
}

/** A fresh pair; `secret` is the 32-byte private key, to be wrapped before it is stored and then forgotten. */
export async function newAgreementKey(): Promise<{ key: AgreementKey; secret: Uint8Array }> {
  const secret = crypto.getRandomValues(new Uint8Array(X25519_KEY_BYTES));
  return { key: await importAgreementKey(secret), secret };
}

/** A fresh pair for one message; its private half cannot be exported. */
export async function ephemeralKey(): Promise<{ privateKey: CryptoKey; publicKey: Uint8Array }> {
  const pair = (await crypto.subtle.generateKey("X25519", false, ["deriveBits"])) as CryptoKeyPair;
  const raw = (await crypto.subtle.exportKey("raw", pair.publicKey)) as ArrayBuffer;
  return { privateKey: pair.privateKey, publicKey: new Uint8Array(raw) };
}

/**
 * The 32-byte X25519 shared secret; undefined when it would be all zero or the public key is malformed or not
 * canonical. Ephemeral keys are presented for the first time here (PROTOCOL §2).
 */
export async function sharedSecret(
  privateKey: CryptoKey,
  publicKey: Uint8Array,
): Promise<Uint8Array | undefined> {
  if (!isCanonicalAgreementKey(publicKey)) return undefined;
  try {
    const theirs = await crypto.subtle.importKey("raw", publicKey as BufferSource, "X25519", false, []);
    const bits = await crypto.subtle.deriveBits({ name: "X25519", public: theirs }, privateKey, 256);
    const shared = new Uint8Array(bits);
    return shared.some((byte) => byte !== 0) ? shared : undefined;
  } catch {
    return undefined;
  }
}
