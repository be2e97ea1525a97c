// NATS nkeys as text: prefix, 32 bytes of an Ed25519 key or seed, CRC-16/XMODEM (little endian), all in base32
// without padding. The prefix is chosen so that the first letter tells what the key is.

import { base32nopad } from "@scure/base";
import { concatBytes } from "../protocol/encoding.ts";

const KEY_BYTES = 32;
const CHECKSUM_BYTES = 2;

/** Five-bit letters, left aligned in a byte: U, A and O name the holder, S in front of them makes it a seed. */
const KIND_PREFIX = { user: 20 << 3, account: 0 << 3, operator: 14 << 3 } as const;
const SEED_PREFIX = 18 << 3;

/** Who a key belongs to: `user` (U…, SU…), `account` (A…, SA…) or `operator` (O…, SO…). */
export type NkeyKind = keyof typeof KIND_PREFIX;

/** CRC-16/XMODEM: polynomial 0x1021, initial value 0, not reflected. */
function crc16(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff;
  }
  return crc;
}

function encode(prefix: Uint8Array, key: Uint8Array): string {
  if (key.length !== KEY_BYTES) throw new RangeError("an nkey holds 32 bytes");
  const body = concatBytes(prefix, key);
  const crc = crc16(body);
  return base32nopad.encode(concatBytes(body, Uint8Array.of(crc & 0xff, crc >> 8)));
}

function decode(prefix: Uint8Array, text: string): Uint8Array | undefined {
  let bytes: Uint8Array;
  try {
    bytes = base32nopad.decode(text);
  } catch {
    return undefined;
  }
  if (bytes.length !== prefix.length + KEY_BYTES + CHECKSUM_BYTES) return undefined;
  if (prefix.some((byte, at) => bytes[at] !== byte)) return undefined;
  const body = bytes.subarray(0, prefix.length + KEY_BYTES);
  const crc = crc16(body);
  if (bytes[body.length] !== (crc & 0xff) || bytes[body.length + 1] !== crc >> 8) return undefined;
  return body.slice(prefix.length);
}

const publicPrefix = (kind: NkeyKind): Uint8Array => Uint8Array.of(KIND_PREFIX[kind]);

/** A seed has two prefixes, of five bits each, packed into two bytes. */
const seedPrefix = (kind: NkeyKind): Uint8Array =>
  Uint8Array.of(SEED_PREFIX | (KIND_PREFIX[kind] >> 5), (KIND_PREFIX[kind] & 31) << 3);

/** The text of a public key (32 bytes): `U…`, `A…` or `O…`. Throws RangeError on another length. */
export const encodeNkey = (kind: NkeyKind, publicKey: Uint8Array): string =>
  encode(publicPrefix(kind), publicKey);

/** The 32 bytes of a public key; undefined for another kind, a wrong checksum or anything malformed. */
export const decodeNkey = (kind: NkeyKind, text: string): Uint8Array | undefined =>
  decode(publicPrefix(kind), text);

/** The text of a seed (32 bytes): `SU…`, `SA…` or `SO…`. Throws RangeError on another length. */
export const encodeSeed = (kind: NkeyKind, seed: Uint8Array): string => encode(seedPrefix(kind), seed);

/** The 32 bytes of a seed; undefined for another kind, a wrong checksum or anything malformed. */
export const decodeSeed = (kind: NkeyKind, text: string): Uint8Array | undefined =>
  decode(seedPrefix(kind), text);
