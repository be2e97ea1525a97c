// Wrapping at rest: XChaCha20-Poly1305 under a key derived per user from VAULT_KEK, so that a copied database
// says nothing and one user's rows cannot be read with another's key.
//
// A wrapped value: version (1 byte) ‖ id of the KEK (4 bytes) ‖ nonce (24 bytes) ‖ ciphertext and tag.

import { concatBytes, toBase58 } from "../protocol/encoding.ts";
import { NONCE_BYTES } from "../protocol/envelope.ts";
import { type Json, utf8 } from "../protocol/json.ts";
import { decrypt, encrypt } from "./aead.ts";
import { deriveKey, sha256 } from "./hash.ts";

const VERSION = 1;
const KEK_BYTES = 32;
const KEK_ID_BYTES = 4;
export const HEADER_BYTES = 1 + KEK_ID_BYTES;
const KEY_INFO = "vettid-wrap-v1";

/** A stored value that cannot be read: another key, another place, or changed bytes. */
export class UnwrapFailed extends Error {
  readonly code = "unwrap_failed";
}

/** Seals and opens what is stored about one owner. `place` names table, column and row: a value moved elsewhere does not open. */
export interface Wrapper {
  wrap(value: unknown, place: string): Uint8Array<ArrayBuffer>;
  wrapBytes(value: Uint8Array, place: string): Uint8Array<ArrayBuffer>;
  unwrap(stored: Uint8Array, place: string): Json;
  unwrapBytes(stored: Uint8Array, place: string): Uint8Array;
  /** The same value under the newest key. Throws UnwrapFailed. */
  rewrap(stored: Uint8Array, place: string): Uint8Array<ArrayBuffer>;
  /** Whether a stored value is under the newest key. */
  isCurrent(stored: Uint8Array): boolean;
  /** What values under the older keys begin with, so that SQL can find them. */
  readonly olderHeaders: readonly Uint8Array<ArrayBuffer>[];
}

const idBytesOf = (kek: Uint8Array): Uint8Array =>
  sha256(concatBytes(utf8("vettid-kek-id-v1\n"), kek)).subarray(0, KEK_ID_BYTES);

/** The id that each value under a KEK carries, as text. */
export const kekIdOf = (kek: Uint8Array): string => toBase58(idBytesOf(kek));

/** base for `place` strings: KEKs in order, the newest first; all of them open, the newest seals. */
export function wrapperFor(keks: readonly Uint8Array[], owner: string): Wrapper {
  const ring = keks.map((kek) => {
    if (kek.length !== KEK_BYTES) throw new RangeError("wrapperFor: a KEK must be 32 bytes");
    return {
      id: idBytesOf(kek),
      key: deriveKey(kek, utf8(owner), utf8(KEY_INFO), 32),
    };
  });
  const newest = ring[0];
  if (newest === undefined) throw new RangeError("wrapperFor: no KEK");
  const keyOf = (stored: Uint8Array) =>
    ring.find(({ id }) => stored[0] === VERSION && id.every((byte, at) => byte === stored[1 + at]));
  const aad = (header: Uint8Array, place: string) => concatBytes(header, utf8(place));

  const [newestHeader, ...olderHeaders] = ring.map(({ id }) => concatBytes(Uint8Array.of(VERSION), id));

  const wrapBytes = (value: Uint8Array, place: string) => {
    const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
    return concatBytes(newestHeader!, nonce, encrypt(newest.key, nonce, aad(newestHeader!, place), value));
  };
  const unwrapBytes = (stored: Uint8Array, place: string) => {
    const key = keyOf(stored)?.key;
    if (key === undefined)
      throw new UnwrapFailed("the value is wrapped under a VAULT_KEK this Worker does not have");
    const header = stored.subarray(0, HEADER_BYTES);
    const nonce = stored.subarray(HEADER_BYTES, HEADER_BYTES + NONCE_BYTES);
    const value = decrypt(key, nonce, aad(header, place), stored.subarray(HEADER_BYTES + NONCE_BYTES));
    if (value === undefined) throw new UnwrapFailed("the value was changed or moved since it was stored");
    return value;
  };
  return {
    wrapBytes,
    unwrapBytes,
    wrap: (value, place) => {
      const text = JSON.stringify(value);
      if (text === undefined) throw new TypeError("wrap: the value has no JSON form");
      return wrapBytes(utf8(text), place);
    },
    unwrap: (stored, place) => {
      // Not parseJson: the bytes are our own, and nest deeper than a message that was stored as a part of them.
      try {
        return JSON.parse(new TextDecoder().decode(unwrapBytes(stored, place))) as Json;
      } catch (error) {
        if (error instanceof UnwrapFailed) throw error;
        throw new UnwrapFailed("the value is not the JSON that was stored");
      }
    },
    rewrap: (stored, place) => wrapBytes(unwrapBytes(stored, place), place),
    isCurrent: (stored) => keyOf(stored) === newest,
    olderHeaders,
  };
}
