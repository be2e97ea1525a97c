// XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), authentication tag last. For seal.ts and wrap.ts alone: they
// draw the nonces, 24 random bytes each.

import { xchacha20poly1305 } from "@noble/ciphers/chacha.js";

/** Ciphertext followed by the 16-byte tag. `key` is 32 bytes, `nonce` 24. Throws RangeError on other lengths. */
export const encrypt = (
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  plaintext: Uint8Array,
): Uint8Array => xchacha20poly1305(key, nonce, aad).encrypt(plaintext);

/** The plaintext; undefined when key, nonce, associated data or any byte is not what was sealed. */
export function decrypt(
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  ciphertext: Uint8Array,
): Uint8Array | undefined {
  try {
    return xchacha20poly1305(key, nonce, aad).decrypt(ciphertext);
  } catch {
    return undefined;
  }
}
