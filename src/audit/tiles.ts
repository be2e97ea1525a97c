// The tree as tiles: c2sp.org/tlog-tiles. A tile holds up to 256 hashes of one level of a tree in which eight levels
// of RFC 6962 are one; the levels between are hashed from them.

import { concatBytes } from "../protocol/encoding.ts";
import { HASH_BYTES, nodeHash, type ReadSubtree, type Subtree } from "./merkle.ts";

/** Levels of the tree that one level of tiles stands for. */
export const TILE_HEIGHT = 8;
/** Hashes in a full tile. */
export const TILE_WIDTH = 2 ** TILE_HEIGHT;
export const FULL_TILE_BYTES = TILE_WIDTH * HASH_BYTES;
/** The highest level a path may name. */
const MAX_TILE_LEVEL = 63;

export interface TilePlace {
  level: number;
  n: number;
}

/** A tile as it is published: `width` hashes, 256 when it is full. */
export interface Tile extends TilePlace {
  width: number;
}

/** The hashes of a tile as far as they are known, joined; undefined when nothing is. */
export type ReadTile = (place: TilePlace) => Uint8Array | undefined;

/** `001`, `x001/x234/067`: the index in groups of three digits, all but the last marked. */
function indexPath(n: number): string {
  const digits = String(n);
  const groups = digits.padStart(Math.ceil(digits.length / 3) * 3, "0").match(/\d{3}/g) as string[];
  return groups.map((group, at) => (at < groups.length - 1 ? `x${group}` : group)).join("/");
}

/** `tile/<L>/<N>[.p/<W>]`. */
export const tilePath = ({ level, n, width }: Tile): string =>
  `tile/${level}/${indexPath(n)}${width === TILE_WIDTH ? "" : `.p/${width}`}`;

const TILE_PATH = /^tile\/(0|[1-9]\d?)\/((?:x\d{3}\/)*\d{3})(?:\.p\/([1-9]\d{0,2}))?$/;

/** Reads a tile's path; undefined for anything `tilePath` would not write. */
export function parseTilePath(path: string): Tile | undefined {
  const [, level, index, width] = TILE_PATH.exec(path) ?? [];
  if (level === undefined || index === undefined) return undefined;
  const tile = {
    level: Number(level),
    n: Number(index.replaceAll(/[x/]/g, "")),
    width: width === undefined ? TILE_WIDTH : Number(width),
  };
  const isValid =
    tile.level <= MAX_TILE_LEVEL &&
    Number.isSafeInteger(tile.n) &&
    (width === undefined || tile.width < TILE_WIDTH) &&
    // One spelling: no more groups of digits than the index needs.
    tilePath(tile) === path;
  return isValid ? tile : undefined;
}

/** How many hashes a tree has on a level of tiles: floor(size / 256^level). */
const hashesOn = (level: number, size: number): number => Math.floor(size / TILE_WIDTH ** level);

/** How wide the tree's tile at this place is: 256, less at the right edge, 0 beyond it. */
export const tileWidth = ({ level, n }: TilePlace, size: number): number =>
  Math.min(TILE_WIDTH, Math.max(0, hashesOn(level, size) - n * TILE_WIDTH));

/**
 * The tiles of a tree of `to` leaves that the tree of `from` leaves did not have: those that filled up, and the
 * right edge's partial ones. What was published for `from` stays as it is.
 */
export function tilesBetween(from: number, to: number): Tile[] {
  const tiles: Tile[] = [];
  for (let level = 0; hashesOn(level, to) > hashesOn(level, from); level++) {
    const end = hashesOn(level, to);
    for (let n = Math.floor(hashesOn(level, from) / TILE_WIDTH); n * TILE_WIDTH < end; n++)
      tiles.push({ level, n, width: tileWidth({ level, n }, to) });
  }
  return tiles;
}

/** The root of 2^k joined hashes. */
function perfectRoot(hashes: Uint8Array): Uint8Array {
  let row: Uint8Array[] = [];
  for (let at = 0; at < hashes.length; at += HASH_BYTES) row.push(hashes.subarray(at, at + HASH_BYTES));
  while (row.length > 1) {
    const above: Uint8Array[] = [];
    for (let at = 0; at < row.length; at += 2) above.push(nodeHash(row[at]!, row[at + 1]!));
    row = above;
  }
  return row[0]!.slice();
}

/** Where in the tiles a subtree's hash comes from: `count` hashes from `first` on. */
function tileOf({ level, index }: Subtree): TilePlace & { first: number; count: number } {
  const tileLevel = Math.floor(level / TILE_HEIGHT);
  const count = 2 ** (level % TILE_HEIGHT);
  const position = index * count;
  return { level: tileLevel, n: Math.floor(position / TILE_WIDTH), first: position % TILE_WIDTH, count };
}

/** A reader of subtrees over tiles. It throws RangeError where a tile is missing or too short. */
export function readerOver(readTile: ReadTile): ReadSubtree {
  return (subtree) => {
    const { level, n, first, count } = tileOf(subtree);
    const hashes = readTile({ level, n })?.subarray(first * HASH_BYTES, (first + count) * HASH_BYTES);
    if (hashes?.length !== count * HASH_BYTES)
      throw new RangeError(
        `readerOver: tile ${level}/${n} does not hold hashes ${first} to ${first + count - 1}`,
      );
    return perfectRoot(hashes);
  };
}

/** The tiles of a tree of `size` leaves that hold these subtrees, each once: what a client has to fetch. */
export function tilesHolding(subtrees: readonly Subtree[], size: number): Tile[] {
  const tiles = new Map<string, Tile>();
  for (const subtree of subtrees) {
    const { level, n } = tileOf(subtree);
    tiles.set(`${level}/${n}`, { level, n, width: tileWidth({ level, n }, size) });
  }
  return [...tiles.values()];
}

/** A tile's new content. */
export interface ChangedTile extends TilePlace {
  hashes: Uint8Array;
}

/**
 * Appends leaf hashes to a tree of `size` leaves. Gives every tile that changes, with all its hashes; a tile that
 * fills up goes as one hash into the tile above. `readTile` must know the tree's right edge.
 */
export function appendLeaves(size: number, leaves: readonly Uint8Array[], readTile: ReadTile): ChangedTile[] {
  const changed: ChangedTile[] = [];
  let added = leaves;
  for (let level = 0; added.length > 0; level++) {
    const filled: Uint8Array[] = [];
    let count = hashesOn(level, size);
    for (let at = 0; at < added.length; ) {
      const n = Math.floor(count / TILE_WIDTH);
      const width = count % TILE_WIDTH;
      const before =
        width === 0 ? new Uint8Array(0) : readTile({ level, n })?.subarray(0, width * HASH_BYTES);
      if (before?.length !== width * HASH_BYTES)
        throw new RangeError(`appendLeaves: tile ${level}/${n} does not hold ${width} hashes`);
      const taken = added.slice(at, at + TILE_WIDTH - width);
      const hashes = concatBytes(before, ...taken);
      changed.push({ level, n, hashes });
      if (hashes.length === FULL_TILE_BYTES) filled.push(perfectRoot(hashes));
      count += taken.length;
      at += taken.length;
    }
    added = filled;
  }
  return changed;
}
