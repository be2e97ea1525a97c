// The Merkle tree of RFC 6962 §2.1 with SHA-256: hashes, roots, proofs and their verification. Pure: whoever has
// the tree hands in a reader of its nodes.
//
// Sizes and indexes are JavaScript integers up to 2^53−1. Bit operators would cut them to 32 bits, so halving is
// written as division.

import { sha256 } from "../crypto/hash.ts";
import { concatBytes, equalBytes } from "../protocol/encoding.ts";

export const HASH_BYTES = 32;
/** No path through a tree of at most 2^53−1 leaves is longer; c2sp.org/tlog-witness allows up to 63. */
export const MAX_PROOF_HASHES = 63;

// RFC 6962 §2.1: without different first bytes a node could be passed off as a leaf.
const LEAF_PREFIX = Uint8Array.of(0x00);
const NODE_PREFIX = Uint8Array.of(0x01);

/** MTH({}), the root of the tree without leaves: SHA-256 of nothing. */
export const EMPTY_ROOT: Uint8Array = sha256(new Uint8Array(0));

/** MTH({d}): SHA-256(0x00 ‖ d). */
export const leafHash = (data: Uint8Array): Uint8Array => sha256(concatBytes(LEAF_PREFIX, data));

/** SHA-256(0x01 ‖ left ‖ right). */
export const nodeHash = (left: Uint8Array, right: Uint8Array): Uint8Array =>
  sha256(concatBytes(NODE_PREFIX, left, right));

/** The 2^level leaves from index · 2^level on. Once these exist their hash never changes. */
export interface Subtree {
  level: number;
  index: number;
}

/** The hash of a perfect subtree. Throws when the tree does not reach that far. */
export type ReadSubtree = (subtree: Subtree) => Uint8Array;

const half = (n: number): number => Math.floor(n / 2);
const isOdd = (n: number): boolean => n % 2 === 1;
const isSize = (n: number): boolean => Number.isSafeInteger(n) && n >= 0;

/** The largest power of two below n, for n > 1: where RFC 6962 §2.1 splits n leaves. */
function splitOf(n: number): number {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

/** D[start:end] of RFC 6962, as it comes out of splitting: `start` is a multiple of a power of two ≥ end − start. */
interface Range {
  start: number;
  end: number;
}

/** The perfect subtrees a range consists of, left to right, each smaller than the one before. */
function subtreesOf({ start, end }: Range): Subtree[] {
  const subtrees: Subtree[] = [];
  for (let from = start; from < end; ) {
    let level = 0;
    let width = 1;
    while (from + width * 2 <= end) {
      width *= 2;
      level++;
    }
    subtrees.push({ level, index: from / width });
    from += width;
  }
  return subtrees;
}

/** MTH(D[start:end]). Splitting leaves the largest perfect subtree on the left, so the rest folds in from the right. */
function rangeHash(range: Range, read: ReadSubtree): Uint8Array {
  return subtreesOf(range)
    .map(read)
    .reduceRight((right, left) => nodeHash(left, right));
}

function checkSize(size: number, caller: string): void {
  if (!isSize(size)) throw new RangeError(`${caller}: the size must be an integer from 0 to 2^53−1`);
}

/** PATH(index, D[0:size]) as ranges, RFC 6962 §2.1.1: the leaf's sibling first, the root's child last. */
function inclusionRanges(index: number, size: number): Range[] {
  checkSize(size, "inclusionProof");
  if (!isSize(index) || index >= size)
    throw new RangeError("inclusionProof: the index must be below the size");
  const ranges: Range[] = [];
  let [start, end] = [0, size];
  while (end - start > 1) {
    const middle = start + splitOf(end - start);
    if (index < middle) {
      ranges.push({ start: middle, end });
      end = middle;
    } else {
      ranges.push({ start, end: middle });
      start = middle;
    }
  }
  return ranges.reverse();
}

/** PROOF(from, D[0:to]) as ranges, RFC 6962 §2.1.2. */
function consistencyRanges(from: number, to: number): Range[] {
  checkSize(from, "consistencyProof");
  checkSize(to, "consistencyProof");
  if (from > to) throw new RangeError("consistencyProof: the first size must not exceed the second");
  if (from === 0 || from === to) return [];
  const ranges: Range[] = [];
  let [start, end] = [0, to];
  /** Whether D[start:from] is the whole old tree, whose root the verifier has. */
  let isOldTree = true;
  while (from !== end) {
    const middle = start + splitOf(end - start);
    if (from <= middle) {
      ranges.push({ start: middle, end });
      end = middle;
    } else {
      ranges.push({ start, end: middle });
      start = middle;
      isOldTree = false;
    }
  }
  if (!isOldTree) ranges.push({ start, end });
  return ranges.reverse();
}

/** MTH(D[0:size]). */
export function rootHash(size: number, read: ReadSubtree): Uint8Array {
  checkSize(size, "rootHash");
  return size === 0 ? EMPTY_ROOT : rangeHash({ start: 0, end: size }, read);
}

/** The proof that leaf `index` is in the tree of `size` leaves. Throws RangeError when it is not. */
export const inclusionProof = (index: number, size: number, read: ReadSubtree): Uint8Array[] =>
  inclusionRanges(index, size).map((range) => rangeHash(range, read));

/** The proof that the tree of `to` leaves begins with the tree of `from`. Empty for 0 and for equal sizes. */
export const consistencyProof = (from: number, to: number, read: ReadSubtree): Uint8Array[] =>
  consistencyRanges(from, to).map((range) => rangeHash(range, read));

// What a reader will be asked for, so that whoever has to fetch can fetch first.
export const rootSubtrees = (size: number): Subtree[] => subtreesOf({ start: 0, end: size });
export const inclusionSubtrees = (index: number, size: number): Subtree[] =>
  inclusionRanges(index, size).flatMap(subtreesOf);
export const consistencySubtrees = (from: number, to: number): Subtree[] =>
  consistencyRanges(from, to).flatMap(subtreesOf);

const areHashes = (hashes: readonly Uint8Array[]): boolean =>
  hashes.length <= MAX_PROOF_HASHES && hashes.every(({ length }) => length === HASH_BYTES);

/**
 * Whether `proof` shows that `leaf` (its leaf hash) is at `index` in the tree of this size and root. The algorithm
 * is that of RFC 9162 §2.1.3.2, over the same proofs as RFC 6962 §2.1.1.
 */
export function verifyInclusion(
  leaf: Uint8Array,
  index: number,
  size: number,
  root: Uint8Array,
  proof: readonly Uint8Array[],
): boolean {
  if (!isSize(index) || !isSize(size) || index >= size || !areHashes([leaf, root, ...proof])) return false;
  let position = index;
  let last = size - 1;
  let hash = leaf;
  for (const sibling of proof) {
    if (last === 0) return false;
    if (isOdd(position) || position === last) {
      hash = nodeHash(sibling, hash);
      while (!isOdd(position) && position !== 0) {
        position = half(position);
        last = half(last);
      }
    } else {
      hash = nodeHash(hash, sibling);
    }
    position = half(position);
    last = half(last);
  }
  return last === 0 && equalBytes(hash, root);
}

/**
 * Whether `proof` shows that the tree of size and root `to` begins with the tree of `from`. The algorithm is that of
 * RFC 9162 §2.1.4.2. Every tree begins with the empty one, whose root must be EMPTY_ROOT.
 */
export function verifyConsistency(
  from: { size: number; root: Uint8Array },
  to: { size: number; root: Uint8Array },
  proof: readonly Uint8Array[],
): boolean {
  if (!isSize(from.size) || !isSize(to.size) || from.size > to.size) return false;
  if (from.size === 0 && !equalBytes(from.root, EMPTY_ROOT)) return false;
  if (from.size === to.size) return proof.length === 0 && equalBytes(from.root, to.root);
  if (!areHashes([from.root, to.root, ...proof])) return false;
  if (from.size === 0) return proof.length === 0;
  let position = from.size - 1;
  let last = to.size - 1;
  while (isOdd(position)) {
    position = half(position);
    last = half(last);
  }
  // A `from` that is a power of two is itself the first node of the path.
  const path = position === 0 ? [from.root, ...proof] : proof;
  const [first, ...rest] = path;
  if (first === undefined) return false;
  let [oldHash, newHash] = [first, first];
  for (const sibling of rest) {
    if (last === 0) return false;
    if (isOdd(position) || position === last) {
      oldHash = nodeHash(sibling, oldHash);
      newHash = nodeHash(sibling, newHash);
      while (!isOdd(position) && position !== 0) {
        position = half(position);
        last = half(last);
      }
    } else {
      newHash = nodeHash(newHash, sibling);
    }
    position = half(position);
    last = half(last);
  }
  return last === 0 && equalBytes(oldHash, from.root) && equalBytes(newHash, to.root);
}
