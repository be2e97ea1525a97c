// The tree in SQLite: tiles, and where each leaf is.

import type { ReadSubtree } from "../../src/audit/merkle.ts";
import { appendLeaves, type ChangedTile, type ReadTile, readerOver } from "../../src/audit/tiles.ts";

export class StoredTree {
  readonly #sql: SqlStorage;
  readonly readTile: ReadTile;
  /** Reads a tree of any size up to the stored one: what a tile holds beyond it is not looked at. */
  readonly read: ReadSubtree;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    this.readTile = ({ level, n }) => {
      const [row] = sql
        .exec<{ hashes: ArrayBuffer }>("SELECT hashes FROM tiles WHERE level = ? AND n = ?", level, n)
        .toArray();
      return row === undefined ? undefined : new Uint8Array(row.hashes);
    };
    this.read = readerOver(this.readTile);
  }

  /** The leaf's index; undefined when it was never sequenced. */
  position(leafHash: Uint8Array): number | undefined {
    const [row] = this.#sql
      .exec<{ position: number }>("SELECT position FROM positions WHERE leaf_hash = ?", leafHash)
      .toArray();
    return row?.position;
  }

  /** What appending would change, and a reader of the tree as it would then be. Writes nothing. */
  plan(size: number, leafHashes: readonly Uint8Array[]): { changed: ChangedTile[]; read: ReadSubtree } {
    const changed = appendLeaves(size, leafHashes, this.readTile);
    const byPlace = new Map(changed.map((tile) => [`${tile.level}/${tile.n}`, tile.hashes]));
    const read = readerOver((place) => byPlace.get(`${place.level}/${place.n}`) ?? this.readTile(place));
    return { changed, read };
  }

  /** Writes a plan. Belongs in one transaction with the log's new size. */
  write(size: number, leafHashes: readonly Uint8Array[], changed: readonly ChangedTile[]): void {
    for (const [at, leafHash] of leafHashes.entries())
      this.#sql.exec("INSERT INTO positions (leaf_hash, position) VALUES (?, ?)", leafHash, size + at);
    for (const { level, n, hashes } of changed)
      this.#sql.exec("INSERT OR REPLACE INTO tiles (level, n, hashes) VALUES (?, ?, ?)", level, n, hashes);
  }
}
