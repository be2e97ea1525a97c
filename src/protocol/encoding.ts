// Bytes as text: standard base64 with padding, one spelling per value, and base58 (Bitcoin alphabet).

import { base64 } from "@scure/base";
import bs58 from "bs58";

/** Standard base64 with padding (RFC 4648 §4). */
export const toBase64 = (bytes: Uint8Array): string => base64.encode(bytes);

/** Decodes standard base64; undefined for anything but the canonical spelling (padding, zero trailing bits). */
export function fromBase64(text: string): Uint8Array | undefined {
  try {
    return base64.decode(text);
  } catch {
    return undefined;
  }
}

export const toBase58 = (bytes: Uint8Array): string => bs58.encode(bytes);

/** Longer than any base58 text of the protocol: decoding takes time by the square of the length. */
const MAX_BASE58_CHARACTERS = 128;

/** Texts decoded lately. The same few ids come again and again, and decoding one takes as long as hashing it twice. */
const decoded = new Map<string, Uint8Array | undefined>();
const MAX_DECODED = 1_000;

/** Decodes base58; undefined for a letter outside the alphabet and for text longer than 128 characters. */
export function fromBase58(text: string): Uint8Array | undefined {
  if (text.length > MAX_BASE58_CHARACTERS) return undefined;
  let bytes = decoded.get(text);
  if (bytes === undefined && !decoded.has(text)) {
    bytes = bs58.decodeUnsafe(text);
    if (decoded.size >= MAX_DECODED) decoded.clear();
    decoded.set(text, bytes);
  }
  // A copy: what a caller does with it must not reach the next.
  return bytes?.slice();
}

/** Joins byte strings in order. */
export function concatBytes(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** Equality whose time depends on the lengths only. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let at = 0; at < a.length; at++) difference |= a[at]! ^ b[at]!;
  return difference === 0;
}
