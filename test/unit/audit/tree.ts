// The Merkle tree a second time, as RFC 6962 §2.1 writes it down: recursive, over the entries themselves, with
// another SHA-256. What the shipped code is held against.

import { createHash } from "node:crypto";

const digest = (...parts: Uint8Array[]): Uint8Array => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
};
const split = (n: number): number => 2 ** Math.ceil(Math.log2(n) - 1);

/** MTH(D). */
export function mth(entries: readonly Uint8Array[]): Uint8Array {
  if (entries.length === 0) return digest();
  if (entries.length === 1) return digest(Uint8Array.of(0), entries[0]!);
  const k = split(entries.length);
  return digest(Uint8Array.of(1), mth(entries.slice(0, k)), mth(entries.slice(k)));
}

/** PATH(m, D). */
export function path(m: number, entries: readonly Uint8Array[]): Uint8Array[] {
  if (entries.length === 1) return [];
  const k = split(entries.length);
  return m < k
    ? [...path(m, entries.slice(0, k)), mth(entries.slice(k))]
    : [...path(m - k, entries.slice(k)), mth(entries.slice(0, k))];
}

function subproof(m: number, entries: readonly Uint8Array[], isWhole: boolean): Uint8Array[] {
  if (m === entries.length) return isWhole ? [] : [mth(entries)];
  const k = split(entries.length);
  return m <= k
    ? [...subproof(m, entries.slice(0, k), isWhole), mth(entries.slice(k))]
    : [...subproof(m - k, entries.slice(k), false), mth(entries.slice(0, k))];
}

/** PROOF(m, D), for 0 < m ≤ |D|. */
export const proof = (m: number, entries: readonly Uint8Array[]): Uint8Array[] => subproof(m, entries, true);

/** Entries that differ, `count` of them. */
export const entriesOf = (count: number): Uint8Array[] =>
  Array.from({ length: count }, (_, at) => new TextEncoder().encode(`entry ${at}`));

/** The well-known entries of the transparency projects' test trees. */
export const knownEntries: Uint8Array[] = [
  "",
  "00",
  "10",
  "2021",
  "3031",
  "40414243",
  "5051525354555657",
  "606162636465666768696a6b6c6d6e6f",
].map((hex) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16)));
