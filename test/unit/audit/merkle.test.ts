import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  consistencyProof,
  consistencySubtrees,
  EMPTY_ROOT,
  inclusionProof,
  inclusionSubtrees,
  leafHash,
  nodeHash,
  type ReadSubtree,
  rootHash,
  rootSubtrees,
  type Subtree,
  verifyConsistency,
  verifyInclusion,
} from "../../../src/audit/merkle.ts";
import { entriesOf, knownEntries, mth, path, proof } from "./tree.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const RUNS = 200;
const MAX_SIZE = 300;
const sizes = fc.integer({ min: 1, max: MAX_SIZE });

const all = entriesOf(MAX_SIZE);
const hashes = all.map(leafHash);

/** Every perfect subtree, a row for each level. */
const rows = [hashes];
while (rows.at(-1)!.length > 1) {
  const below = rows.at(-1)!;
  rows.push(
    Array.from({ length: Math.floor(below.length / 2) }, (_, at) =>
      nodeHash(below[2 * at]!, below[2 * at + 1]!),
    ),
  );
}

/** Reads subtrees, and refuses to look beyond the tree. */
const readerOf =
  (size: number): ReadSubtree =>
  ({ level, index }: Subtree) => {
    if ((index + 1) * 2 ** level > size) throw new Error(`asked for ${index} on level ${level} of ${size}`);
    return rows[level]![index]!;
  };
const rootAt = (size: number) => rootHash(size, readerOf(size));

describe("the Merkle tree of RFC 6962", () => {
  it("has the roots everyone knows", () => {
    expect(hex(EMPTY_ROOT)).toBe("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    const leaves = knownEntries.map(leafHash);
    expect(hex(leaves[0]!)).toBe("6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    const quads = [0, 4].map((at) =>
      nodeHash(nodeHash(leaves[at]!, leaves[at + 1]!), nodeHash(leaves[at + 2]!, leaves[at + 3]!)),
    );
    const root = rootHash(8, ({ level }) => (level === 3 ? nodeHash(quads[0]!, quads[1]!) : EMPTY_ROOT));
    expect(hex(root)).toBe("5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
  });

  it("has at every size the root of the recursive definition", () => {
    for (let size = 0; size <= MAX_SIZE; size++) expect(rootAt(size)).toEqual(mth(all.slice(0, size)));
  });

  it("gives the inclusion proofs of the recursive definition, and they hold", () => {
    fc.assert(
      fc.property(sizes, fc.nat(), (size, seed) => {
        const index = seed % size;
        const made = inclusionProof(index, size, readerOf(size));
        expect(made).toEqual(path(index, all.slice(0, size)));
        expect(verifyInclusion(hashes[index]!, index, size, rootAt(size), made)).toBe(true);
      }),
      { numRuns: RUNS },
    );
  });

  it("gives the consistency proofs of the recursive definition, and they hold", () => {
    fc.assert(
      fc.property(sizes, fc.nat(), (to, seed) => {
        const from = 1 + (seed % to);
        const made = consistencyProof(from, to, readerOf(to));
        expect(made).toEqual(proof(from, all.slice(0, to)));
        expect(
          verifyConsistency({ size: from, root: rootAt(from) }, { size: to, root: rootAt(to) }, made),
        ).toBe(true);
      }),
      { numRuns: RUNS },
    );
  });

  it("asks its reader for exactly what it says beforehand", () => {
    const asked = (size: number, use: (read: ReadSubtree) => unknown): Subtree[] => {
      const subtrees: Subtree[] = [];
      use((subtree) => {
        subtrees.push(subtree);
        return readerOf(size)(subtree);
      });
      return subtrees;
    };
    for (const [from, to] of [
      [1, 1],
      [1, 7],
      [6, 7],
      [64, 100],
      [99, 300],
    ] as const) {
      expect(asked(to, (read) => rootHash(to, read))).toEqual(rootSubtrees(to));
      expect(asked(to, (read) => inclusionProof(from - 1, to, read))).toEqual(
        inclusionSubtrees(from - 1, to),
      );
      expect(asked(to, (read) => consistencyProof(from, to, read))).toEqual(consistencySubtrees(from, to));
    }
  });

  it("counts beyond 32 bits", () => {
    const [index, size] = [2 ** 40 + 5, 2 ** 45 + 3];
    // Every perfect subtree of the same level looks the same, so the whole tree follows from one hash per level.
    const levels: Uint8Array[] = [leafHash(new Uint8Array(0))];
    for (let level = 1; level <= 46; level++) levels.push(nodeHash(levels[level - 1]!, levels[level - 1]!));
    const read: ReadSubtree = ({ level, index }) => {
      expect(Number.isSafeInteger(index)).toBe(true);
      return levels[level]!;
    };
    const root = rootHash(size, read);
    expect(verifyInclusion(levels[0]!, index, size, root, inclusionProof(index, size, read))).toBe(true);
    const [from, to] = [
      { size: index, root: rootHash(index, read) },
      { size, root },
    ];
    expect(verifyConsistency(from, to, consistencyProof(index, size, read))).toBe(true);
    expect(verifyInclusion(levels[0]!, index, size * 2, root, inclusionProof(index, size, read))).toBe(false);
  });

  it("refuses to prove what is not there", () => {
    expect(() => inclusionProof(3, 3, readerOf(3))).toThrow(RangeError);
    expect(() => inclusionProof(-1, 3, readerOf(3))).toThrow(RangeError);
    expect(() => inclusionProof(0.5, 3, readerOf(3))).toThrow(RangeError);
    expect(() => consistencyProof(4, 3, readerOf(3))).toThrow(RangeError);
    expect(() => rootHash(2 ** 53, readerOf(3))).toThrow(RangeError);
  });
});

describe("a proof that was touched", () => {
  const bit = fc.record({ byte: fc.nat(31), mask: fc.integer({ min: 1, max: 255 }) });
  const flipped = (bytes: Uint8Array, { byte, mask }: { byte: number; mask: number }) =>
    bytes.map((value, at) => (at === byte ? value ^ mask : value));

  it("of inclusion does not hold: any bit, any length, any other place or size", () => {
    fc.assert(
      fc.property(sizes, fc.nat(), fc.nat(), bit, (size, seed, which, change) => {
        const index = seed % size;
        const [leaf, root] = [hashes[index]!, rootAt(size)];
        const good = inclusionProof(index, size, readerOf(size));
        const refused = (...args: Parameters<typeof verifyInclusion>) =>
          expect(verifyInclusion(...args)).toBe(false);
        refused(flipped(leaf, change), index, size, root, good);
        refused(leaf, index, size, flipped(root, change), good);
        refused(leaf, index, size, root, [...good, leaf]);
        refused(leaf, index, size, root, [leaf, ...good]);
        if (good.length > 0) {
          const at = which % good.length;
          refused(leaf, index, size, root, good.with(at, flipped(good[at]!, change)));
          refused(leaf, index, size, root, good.toSpliced(at, 1));
          refused(leaf, index, size, root, good.with(at, good[at]!.subarray(0, 31)));
        }
        const elsewhere = which % size;
        if (elsewhere !== index) refused(leaf, elsewhere, size, root, good);
        refused(leaf, size, size, root, good);
      }),
      { numRuns: RUNS },
    );
  });

  it("of consistency does not hold", () => {
    fc.assert(
      fc.property(sizes, fc.nat(), fc.nat(), bit, (to, seed, which, change) => {
        const from = 1 + (seed % to);
        const [older, newer] = [
          { size: from, root: rootAt(from) },
          { size: to, root: rootAt(to) },
        ];
        const good = consistencyProof(from, to, readerOf(to));
        const refused = (...args: Parameters<typeof verifyConsistency>) =>
          expect(verifyConsistency(...args)).toBe(false);
        refused({ ...older, root: flipped(older.root, change) }, newer, good);
        refused(older, { ...newer, root: flipped(newer.root, change) }, good);
        refused(older, newer, [...good, older.root]);
        if (from !== to) refused(newer, older, good);
        if (good.length > 0) {
          const at = which % good.length;
          refused(older, newer, good.with(at, flipped(good[at]!, change)));
          refused(older, newer, good.toSpliced(at, 1));
        }
      }),
      { numRuns: RUNS },
    );
  });

  it("from the empty tree needs its root and no hashes", () => {
    const to = { size: 3, root: rootAt(3) };
    expect(verifyConsistency({ size: 0, root: EMPTY_ROOT }, to, [])).toBe(true);
    expect(verifyConsistency({ size: 0, root: rootAt(1) }, to, [])).toBe(false);
    expect(verifyConsistency({ size: 0, root: EMPTY_ROOT }, to, [rootAt(1)])).toBe(false);
  });
});
