import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  consistencyProof,
  consistencySubtrees,
  inclusionProof,
  inclusionSubtrees,
  leafHash,
  rootHash,
  rootSubtrees,
} from "../../../src/audit/merkle.ts";
import {
  appendLeaves,
  FULL_TILE_BYTES,
  parseTilePath,
  type ReadTile,
  readerOver,
  TILE_WIDTH,
  type Tile,
  type TilePlace,
  tilePath,
  tilesBetween,
  tilesHolding,
  tileWidth,
} from "../../../src/audit/tiles.ts";
import { entriesOf, mth, path, proof } from "./tree.ts";

const HASH = 32;
const key = ({ level, n }: TilePlace) => `${level}/${n}`;

/** A tree kept as tiles alone. */
class Tree {
  readonly tiles = new Map<string, Uint8Array>();
  size = 0;
  readonly read: ReadTile = (place) => this.tiles.get(key(place));

  append(leaves: Uint8Array[]): TilePlace[] {
    const changed = appendLeaves(this.size, leaves, this.read);
    for (const { hashes, ...place } of changed) this.tiles.set(key(place), hashes);
    this.size += leaves.length;
    return changed;
  }
}

describe("a tile's path", () => {
  const known: [Tile, string][] = [
    [{ level: 0, n: 0, width: 256 }, "tile/0/000"],
    [{ level: 0, n: 999, width: 256 }, "tile/0/999"],
    [{ level: 0, n: 1_000, width: 256 }, "tile/0/x001/000"],
    [{ level: 1, n: 1_234_067, width: 256 }, "tile/1/x001/x234/067"],
    [{ level: 0, n: 273, width: 112 }, "tile/0/273.p/112"],
    [{ level: 63, n: 0, width: 1 }, "tile/63/000.p/1"],
    [{ level: 0, n: 1_234_067, width: 255 }, "tile/0/x001/x234/067.p/255"],
  ];

  it.each(known)("of %o is %s, both ways", (tile, text) => {
    expect(tilePath(tile)).toBe(text);
    expect(parseTilePath(text)).toEqual(tile);
  });

  it("is read back for any tile", () => {
    fc.assert(
      fc.property(
        fc.record({
          level: fc.nat(63),
          n: fc.oneof(fc.nat(2_000), fc.maxSafeNat()),
          width: fc.integer({ min: 1, max: 256 }),
        }),
        (tile) => {
          expect(parseTilePath(tilePath(tile))).toEqual(tile);
        },
      ),
    );
  });

  it.each([
    "tile/0/0",
    "tile/0/1000",
    "tile/0/x000/001",
    "tile/0/001/000",
    "tile/00/000",
    "tile/01/000",
    "tile/64/000",
    "tile/-1/000",
    "tile/0/000.p/0",
    "tile/0/000.p/256",
    "tile/0/000.p/01",
    "tile/0/000.p/",
    "tile/0/000/",
    "tile/0/X001/000",
    "/tile/0/000",
    "tile/0/000\n",
    "tile/entries/000",
    "tile/0/x999/x999/x999/x999/x999/x999/999",
  ])("%j is none", (text) => {
    expect(parseTilePath(text)).toBeUndefined();
  });
});

describe("the tiles of a tree", () => {
  it("are those of the specification's examples", () => {
    const of70k = tilesBetween(0, 70_000);
    const count = (level: number, width: number) =>
      of70k.filter((tile) => tile.level === level && tile.width === width).length;
    expect([count(0, 256), count(0, 112), count(1, 256), count(1, 17), count(2, 1)]).toEqual([
      273, 1, 1, 1, 1,
    ]);
    expect(of70k).toHaveLength(277);
    expect(tilesBetween(0, 256)).toEqual([
      { level: 0, n: 0, width: 256 },
      { level: 1, n: 0, width: 1 },
    ]);
  });

  it("after an append are those that changed: partial ones are never written twice at one width", () => {
    fc.assert(
      fc.property(fc.nat(70_000), fc.nat(700), (from, added) => {
        const to = from + added;
        const before = new Set(tilesBetween(0, from).map(tilePath));
        const after = tilesBetween(0, to).map(tilePath);
        expect(tilesBetween(from, to).map(tilePath)).toEqual(after.filter((tile) => !before.has(tile)));
      }),
      { numRuns: 60 },
    );
  });

  it("of no growth are none", () => {
    expect(tilesBetween(300, 300)).toEqual([]);
    expect(tilesBetween(0, 0)).toEqual([]);
  });
});

describe("a tree kept as tiles", () => {
  const entries = entriesOf(1_400);
  const leaves = entries.map(leafHash);

  it("has the roots and proofs of the recursive definition, however its leaves came in", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 4 }),
        fc.nat(),
        (batches, seed) => {
          const tree = new Tree();
          for (const count of batches) {
            const kept = leaves.slice(tree.size, tree.size + count);
            const [from, to] = [tree.size, tree.size + kept.length];
            const changed = tree.append(kept);
            expect(new Set(changed.map(key))).toEqual(new Set(tilesBetween(from, to).map(key)));
          }
          const read = readerOver(tree.read);
          const known = entries.slice(0, tree.size);
          expect(rootHash(tree.size, read)).toEqual(mth(known));
          const index = seed % tree.size;
          expect(inclusionProof(index, tree.size, read)).toEqual(path(index, known));
          expect(consistencyProof(index + 1, tree.size, read)).toEqual(proof(index + 1, known));
          for (const tile of tilesBetween(0, tree.size))
            expect(tree.read(tile)).toHaveLength(tileWidth(tile, tree.size) * HASH);
        },
      ),
      { numRuns: 15 },
    );
  });

  it("gives every proof of an older size too, from the tiles of the newest", () => {
    const tree = new Tree();
    tree.append(leaves.slice(0, 700));
    const read = readerOver(tree.read);
    for (const size of [1, 255, 256, 257, 511, 512, 600]) {
      expect(rootHash(size, read)).toEqual(mth(entries.slice(0, size)));
      expect(inclusionProof(size - 1, size, read)).toEqual(path(size - 1, entries.slice(0, size)));
    }
  });

  it("needs no other tiles for a proof than it names, at the width that is published", () => {
    const tree = new Tree();
    tree.append(leaves.slice(0, 1_300));
    const size = 1_300;
    const fetched = (tiles: Tile[]): ReadTile => {
      const known = new Map(
        tiles.map((tile) => [key(tile), tree.read(tile)!.subarray(0, tile.width * HASH)]),
      );
      return (place) => known.get(key(place));
    };
    const inclusion = fetched(tilesHolding(inclusionSubtrees(700, size), size));
    expect(inclusionProof(700, size, readerOver(inclusion))).toEqual(path(700, entries.slice(0, size)));
    const consistency = fetched(tilesHolding(consistencySubtrees(513, size), size));
    expect(consistencyProof(513, size, readerOver(consistency))).toEqual(proof(513, entries.slice(0, size)));
    const whole = tilesHolding(rootSubtrees(size), size);
    expect(rootHash(size, readerOver(fetched(whole)))).toEqual(mth(entries.slice(0, size)));
    for (const tile of whole) expect(tilesBetween(0, size)).toContainEqual(tile);
  });

  it("fails where a tile is missing or cut short, instead of hashing what is there", () => {
    const tree = new Tree();
    tree.append(leaves.slice(0, 300));
    tree.tiles.set("0/1", tree.tiles.get("0/1")!.subarray(0, 40 * HASH));
    expect(() => rootHash(300, readerOver(tree.read))).toThrow(RangeError);
    expect(() => appendLeaves(300, [leaves[300]!], tree.read)).toThrow(RangeError);
    expect(() => appendLeaves(300, [leaves[300]!], () => undefined)).toThrow(RangeError);
  });

  it("has full tiles of 8,192 bytes", () => {
    const tree = new Tree();
    tree.append(leaves.slice(0, TILE_WIDTH));
    expect(tree.read({ level: 0, n: 0 })).toHaveLength(FULL_TILE_BYTES);
    expect(FULL_TILE_BYTES).toBe(8_192);
  });
});
