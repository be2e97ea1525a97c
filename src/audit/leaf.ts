// What the log holds of a chain: a commitment that says nothing to whoever does not know its salt (PROTOCOL §8).

import { sha256 } from "../crypto/hash.ts";
import { concatBytes, fromBase58, fromBase64, toBase58, toBase64 } from "../protocol/encoding.ts";

export const LEAF_SALT_BYTES = 32;
export const LEAF_BYTES = 32;
const ID_BYTES = 32;
const HEAD_BYTES = 32;
export const LEAF_OPENING_BYTES = LEAF_SALT_BYTES + ID_BYTES + HEAD_BYTES;

/** What a leaf commits to. */
export interface LeafOpening {
  /** 32 random bytes, for this leaf alone: whoever is shown one opening must not be able to test another leaf. */
  salt: Uint8Array;
  /** `user_id`, or `service_id` for the service's own chain. */
  ownerId: string;
  /** `event_hash` (base64) of the chain's entry that was its head. */
  head: string;
}

/**
 * The 96 bytes a leaf is the SHA-256 of: salt (32) ‖ the id's 32 decoded bytes ‖ the head's 32 decoded bytes. The id
 * enters decoded, not as its base58 text: its length is then fixed, so that no two openings join to the same bytes,
 * and hashes enter formulas outside JSON as bytes (PROTOCOL §1). A user's and the service's id are hashes of
 * different keys, so that the two kinds of chain need no marker.
 *
 * These bytes are also the `extra` line of a tlog-proof handed out (c2sp.org/tlog-proof): with it the proof says by
 * itself which entry it is about. Throws TypeError for anything of another form.
 */
export function openingBytes({ salt, ownerId, head }: LeafOpening): Uint8Array<ArrayBuffer> {
  const id = fromBase58(ownerId);
  const headBytes = fromBase64(head);
  if (salt.length !== LEAF_SALT_BYTES)
    throw new TypeError(`openingBytes: the salt must be ${LEAF_SALT_BYTES} bytes`);
  if (id?.length !== ID_BYTES) throw new TypeError("openingBytes: the owner must be base58 of 32 bytes");
  if (headBytes?.length !== HEAD_BYTES)
    throw new TypeError("openingBytes: the head must be base64 of 32 bytes");
  return concatBytes(salt, id, headBytes);
}

/** Reads what `openingBytes` wrote; undefined unless it is 96 bytes. */
export function parseOpening(bytes: Uint8Array): LeafOpening | undefined {
  if (bytes.length !== LEAF_OPENING_BYTES) return undefined;
  return {
    salt: bytes.slice(0, LEAF_SALT_BYTES),
    ownerId: toBase58(bytes.subarray(LEAF_SALT_BYTES, LEAF_SALT_BYTES + ID_BYTES)),
    head: toBase64(bytes.subarray(LEAF_SALT_BYTES + ID_BYTES)),
  };
}

/** The log's entry for a chain's head. The tree holds its leaf hash, SHA-256(0x00 ‖ entry): merkle.ts, `leafHash`. */
export const leafOf = (opening: LeafOpening): Uint8Array => sha256(openingBytes(opening));
