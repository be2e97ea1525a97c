// The published log in R2: what /log serves. The object's own SQLite is the truth; this is where others see it, and
// the witness that stays when SQLite is put back to an older point in time.
//
// Trust: whoever can write the bucket can take the log away or show something older, and the log then halts; no one
// can show anything else than what was signed, for the checkpoint carries the log's signature and commits to every
// tile. Consistency: R2 reads see every earlier write, and a conditional put is decided by R2.

import { TILE_WIDTH, type Tile, type TilePlace, tilePath } from "../../src/audit/tiles.ts";
import { equalBytes } from "../../src/protocol/encoding.ts";

/** Objects of the log in its bucket; behind the prefix, paths are those of /log. */
const PREFIX = "log/";
export const CHECKPOINT_KEY = `${PREFIX}checkpoint`;
export const CHECKPOINT_TYPE = "text/plain; charset=utf-8";
export const TILE_TYPE = "application/octet-stream";

export const tileKey = (tile: Tile): string => PREFIX + tilePath(tile);

/** A tile is there already with other hashes: two trees share one bucket. */
export class TileConflict extends Error {
  readonly path: string;
  constructor(path: string) {
    super(`${path} is published with other hashes`);
    this.name = "TileConflict";
    this.path = path;
  }
}

/** Who calls retries. After an error a write may or may not have taken effect; each may be made again. */
export interface LogStore {
  /** The checkpoint as published, and the mark by which it can be replaced. */
  readCheckpoint(): Promise<{ text: string; etag: string } | undefined>;
  /**
   * Replaces the checkpoint that has this mark; null: creates it where there is none. Gives the new mark; undefined,
   * and nothing written, when something else is there.
   */
  swapCheckpoint(text: string, etag: string | null): Promise<string | undefined>;
  /** Writes a tile that is not there yet. One that is there with the same hashes is left; else throws TileConflict. */
  writeTile(tile: Tile, hashes: Uint8Array): Promise<void>;
  readTile(tile: Tile): Promise<Uint8Array | undefined>;
  /** Deletes the partial tiles of a place whose full tile is published (c2sp.org/tlog-tiles, "Partial Tiles"). */
  deletePartials(place: TilePlace): Promise<void>;
}

export class R2LogStore implements LogStore {
  readonly #bucket: R2Bucket;

  constructor(bucket: R2Bucket) {
    this.#bucket = bucket;
  }

  async readCheckpoint(): Promise<{ text: string; etag: string } | undefined> {
    const found = await this.#bucket.get(CHECKPOINT_KEY);
    return found === null ? undefined : { text: await found.text(), etag: found.etag };
  }

  async swapCheckpoint(text: string, etag: string | null): Promise<string | undefined> {
    const written = await this.#bucket.put(CHECKPOINT_KEY, text, {
      onlyIf: etag === null ? { etagDoesNotMatch: "*" } : { etagMatches: etag },
      httpMetadata: { contentType: CHECKPOINT_TYPE },
    });
    // The types leave out that a put whose condition does not hold gives null.
    return (written as R2Object | null)?.etag;
  }

  async writeTile(tile: Tile, hashes: Uint8Array): Promise<void> {
    const key = tileKey(tile);
    const written = await this.#bucket.put(key, hashes, {
      onlyIf: { etagDoesNotMatch: "*" },
      httpMetadata: { contentType: TILE_TYPE },
    });
    if ((written as R2Object | null) !== null) return;
    const there = await this.readTile(tile);
    if (there === undefined || !equalBytes(there, hashes)) throw new TileConflict(key);
  }

  async readTile(tile: Tile): Promise<Uint8Array | undefined> {
    const found = await this.#bucket.get(tileKey(tile));
    return found === null ? undefined : new Uint8Array(await found.arrayBuffer());
  }

  async deletePartials(place: TilePlace): Promise<void> {
    const widths = Array.from({ length: TILE_WIDTH - 1 }, (_, at) => at + 1);
    await this.#bucket.delete(widths.map((width) => tileKey({ ...place, width })));
  }
}
