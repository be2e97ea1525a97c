// The key under which the audit log's checkpoints are checked: a C2SP signed-note verifier key.
// https://c2sp.org/signed-note ("Verifier keys"), Ed25519.

import { sha256 } from "../crypto/hash.ts";
import { concatBytes, fromBase64, toBase64 } from "../protocol/encoding.ts";
import { utf8 } from "../protocol/json.ts";

/** Signature type of plain Ed25519 in the signed-note registry. */
const ED25519 = 0x01;
const ED25519_KEY_BYTES = 32;
const KEY_ID_BYTES = 4;

/** A key name is printed before the signature and ends at the first space or plus. */
const KEY_NAME = /^[^\s+]{1,253}$/;

const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** The first 4 bytes of SHA-256(name ‖ LF ‖ 0x01 ‖ public key). */
export const noteKeyId = (name: string, publicKey: Uint8Array): Uint8Array =>
  sha256(concatBytes(utf8(name), Uint8Array.of(0x0a, ED25519), publicKey)).subarray(0, KEY_ID_BYTES);

/**
 * `<name>+<key id, 8 hex digits>+<base64(0x01 ‖ public key)>`. The name is the log's origin. Throws RangeError for a
 * key that is not 32 bytes and TypeError for a name with spaces or a plus.
 */
export function noteVerifierKey(name: string, publicKey: Uint8Array): string {
  if (publicKey.length !== ED25519_KEY_BYTES)
    throw new RangeError("noteVerifierKey: the key must be 32 bytes");
  if (!KEY_NAME.test(name)) throw new TypeError("noteVerifierKey: the name must have no space and no plus");
  return `${name}+${hex(noteKeyId(name, publicKey))}+${toBase64(concatBytes(Uint8Array.of(ED25519), publicKey))}`;
}

/** Reads a verifier key; undefined for anything that is not one of an Ed25519 key or whose id does not match. */
export function parseNoteVerifierKey(text: string): { name: string; publicKey: Uint8Array } | undefined {
  // The base64 part may itself hold a plus.
  const [name = "", keyId = "", ...rest] = text.split("+");
  const bytes = fromBase64(rest.join("+"));
  if (!KEY_NAME.test(name) || bytes?.length !== 1 + ED25519_KEY_BYTES || bytes[0] !== ED25519)
    return undefined;
  const publicKey = bytes.slice(1);
  return hex(noteKeyId(name, publicKey)) === keyId ? { name, publicKey } : undefined;
}
