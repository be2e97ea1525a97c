// XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), authentication tag last. For seal.ts and wrap.ts alone: they
// draw the nonces, 24 random bytes each.
//
// It is ChaCha20-Poly1305 (RFC 8439) under a key made of the given one and the nonce's first 16 bytes by HChaCha20, with
// four zero bytes and the nonce's last 8 as nonce. Platforms have the former only, many times as fast as JavaScript.

import { hchacha, xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { concatBytes } from "../protocol/encoding.ts";
import { utf8 } from "../protocol/json.ts";
import { type PlatformCrypto, platformCrypto } from "./platform.ts";

const KEY_BYTES = 32;
const NONCE_BYTES = 24;
const TAG_BYTES = 16;
const TAG = { authTagLength: TAG_BYTES };
/** What of the nonce goes into the key. */
const HCHACHA_NONCE_BYTES = 16;
const NONCE_START = new Uint8Array(4);
const CHACHA = "chacha20-poly1305";

/** Bytes as little-endian words. */
function wordsOf(bytes: Uint8Array): Uint32Array {
  const words = new Uint32Array(bytes.length / 4);
  for (let at = 0; at < bytes.length; at++) words[at >> 2]! |= bytes[at]! << (8 * (at & 3));
  return words;
}

function bytesOf(words: Uint32Array): Uint8Array {
  const bytes = new Uint8Array(words.length * 4);
  for (let at = 0; at < bytes.length; at++) bytes[at] = words[at >> 2]! >>> (8 * (at & 3));
  return bytes;
}

/** The constant of ChaCha20 (RFC 8439 §2.3). */
const SIGMA = wordsOf(utf8("expand 32-byte k"));

/** @noble turns the words round where the host's order is the other one. */
const isLittleEndian = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

/** The platform, if it has ChaCha20-Poly1305. */
function chachaOf(platform: PlatformCrypto | undefined): PlatformCrypto | undefined {
  if (!isLittleEndian) return undefined;
  try {
    platform?.createCipheriv(CHACHA, new Uint8Array(KEY_BYTES), new Uint8Array(12), TAG);
    return platform;
  } catch {
    return undefined;
  }
}

const chacha = chachaOf(platformCrypto);

/** Key and nonce for ChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03 §2.3). */
function chachaParts(key: Uint8Array, nonce: Uint8Array): [key: Uint8Array, nonce: Uint8Array] {
  if (key.length !== KEY_BYTES) throw new RangeError(`aead: the key must be ${KEY_BYTES} bytes`);
  if (nonce.length !== NONCE_BYTES) throw new RangeError(`aead: the nonce must be ${NONCE_BYTES} bytes`);
  const subkey = new Uint32Array(KEY_BYTES / 4);
  hchacha(SIGMA, wordsOf(key), wordsOf(nonce.subarray(0, HCHACHA_NONCE_BYTES)), subkey);
  return [bytesOf(subkey), concatBytes(NONCE_START, nonce.subarray(HCHACHA_NONCE_BYTES))];
}

/** Ciphertext followed by the 16-byte tag. `key` is 32 bytes, `nonce` 24. Throws RangeError on other lengths. */
export function encrypt(
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  plaintext: Uint8Array,
): Uint8Array {
  if (chacha === undefined) return xchacha20poly1305(key, nonce, aad).encrypt(plaintext);
  const cipher = chacha.createCipheriv(CHACHA, ...chachaParts(key, nonce), TAG);
  cipher.setAAD(aad);
  const ciphertext = cipher.update(plaintext);
  // A stream cipher keeps nothing back: the call makes the tag.
  cipher.final();
  return concatBytes(ciphertext, cipher.getAuthTag());
}

/** The plaintext; undefined when key, nonce, associated data or any byte is not what was sealed. */
export function decrypt(
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  ciphertext: Uint8Array,
): Uint8Array | undefined {
  try {
    if (chacha === undefined) return xchacha20poly1305(key, nonce, aad).decrypt(ciphertext);
    const length = ciphertext.length - TAG_BYTES;
    if (length < 0) return undefined;
    const decipher = chacha.createDecipheriv(CHACHA, ...chachaParts(key, nonce), TAG);
    decipher.setAAD(aad);
    decipher.setAuthTag(ciphertext.subarray(length));
    const plaintext = decipher.update(ciphertext.subarray(0, length));
    // Throws unless the tag is right: nothing of the plaintext is handed out before.
    decipher.final();
    return new Uint8Array(plaintext.buffer, plaintext.byteOffset, plaintext.length);
  } catch {
    return undefined;
  }
}
