// Identifiers with 128 random bits, and those given out over HTTP, which carry the user's part and route
// themselves: base58(SHA-256 of the user's key, 32 bytes ‖ row number, 6 bytes ‖ 16 random bytes).

import { concatBytes, fromBase58, toBase58 } from "./encoding.ts";

const RANDOM_BYTES = 16;
const USER_BYTES = 32;
const ROW_BYTES = 6;
/** An id of ours is at most 74 characters; whatever is far longer is not decoded. */
const MAX_ROUTED_CHARACTERS = 96;
/** The largest row number an id can carry. */
export const MAX_ROW = 2 ** (8 * ROW_BYTES) - 1;

export function randomBytes(length: number): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(length));
}

/** `count` decimal digits (at most 9) without bias: draws that would favour the low numbers are thrown away. */
export function randomDigits(count: number): string {
  const span = 10 ** count;
  const limit = Math.floor(2 ** 32 / span) * span;
  for (;;) {
    const drawn = crypto.getRandomValues(new Uint32Array(1))[0]!;
    if (drawn < limit) return String(drawn % span).padStart(count, "0");
  }
}

/** A fresh event id, ref or `message_space`: 128 random bits in base58, 22 or 23 characters. */
export function newEventId(): string {
  // base58 of 16 bytes may be as short as 16 letters; a leading 1 in front of them keeps it at 22 or more.
  const bytes = randomBytes(RANDOM_BYTES + 1);
  bytes[0] = 1;
  return toBase58(bytes);
}

/** An id given out for a row of the user's object. `row` is between 0 and MAX_ROW. */
export function newRoutedId(userId: string, row: number): string {
  const user = fromBase58(userId);
  if (user?.length !== USER_BYTES) throw new TypeError("newRoutedId: not a user id");
  if (!Number.isSafeInteger(row) || row < 0 || row > MAX_ROW)
    throw new RangeError("newRoutedId: row out of range");
  const rowBytes = new Uint8Array(ROW_BYTES);
  for (let at = ROW_BYTES - 1, rest = row; at >= 0; at--, rest = Math.floor(rest / 256))
    rowBytes[at] = rest % 256;
  return toBase58(concatBytes(user, rowBytes, randomBytes(RANDOM_BYTES)));
}

/** Which of `count` shards serves a user: by the id's first bytes, which are uniform. Always the same one. */
export function shardOf(userId: string, count: number): number {
  const id = fromBase58(userId);
  return id === undefined ? 0 : ((id[0]! << 8) | id[1]!) % count;
}

/** The bytes of an id of ours: undefined for what is none. */
function routedBytes(id: string): Uint8Array | undefined {
  if (id.length > MAX_ROUTED_CHARACTERS) return undefined;
  const bytes = fromBase58(id);
  return bytes?.length === USER_BYTES + ROW_BYTES + RANDOM_BYTES ? bytes : undefined;
}

const rowIn = (bytes: Uint8Array): number =>
  bytes.subarray(USER_BYTES, USER_BYTES + ROW_BYTES).reduce((row, byte) => row * 256 + byte, 0);

/** The user and row an id leads to; undefined when it is not an id of ours. The row still has to hold that very id. */
export function parseRoutedId(id: string): { userId: string; row: number } | undefined {
  const bytes = routedBytes(id);
  return bytes && { userId: toBase58(bytes.subarray(0, USER_BYTES)), row: rowIn(bytes) };
}

/** The row alone, for whoever holds it against the row's own id: whose it is then need not be spelled out. */
export function routedRow(id: string): number | undefined {
  const bytes = routedBytes(id);
  return bytes && rowIn(bytes);
}
