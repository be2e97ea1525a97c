// A chain's heads on their way into the audit log (PROTOCOL §8). The object that owns the chain, a user's or the
// Directory, is the one that remembers: a Journal shard only gathers leaves and passes them on, in memory.
//
// Each entry is stored with the salt its leaf would have, in the entry's own row. So a head's leaf is settled from the
// moment the entry is durable, and offering it again, after whatever died, offers the same leaf: it lands once.
//
//   - A crash before the offer, or with the offer under way: the alarm, which was set in the turn of the entry's
//     transaction, finds a head that is not confirmed and offers it.
//   - A crash after the log has the leaf and before `heads` says so: the same; the log answers with the index it has.
//
// Cost: one row for each confirmed head, however many entries it covers, and one for the alarm where none is set
// sooner. Nothing here is on the path of a request: it begins after the commit and no step waits for it.
//
// The note of a head may confirm more about the entries it covers (`mayNote`): a user's object has their events in the
// same rows, and so needs no row to say that the Journal has them.

import { atPoint } from "../src/at-point.ts";
import { LEAF_SALT_BYTES, type LeafOpening, leafOf } from "../src/audit/leaf.ts";
import { errorText, log } from "../src/log.ts";
import type { AuditEntry } from "../src/protocol/audit.ts";
import { MAX_ROW, parseRoutedId, randomBytes } from "../src/protocol/ids.ts";
import { fromTimestamp } from "../src/protocol/primitives.ts";
import type { AuditStretch, LeafPosition, OfferedLeaf, RpcResult } from "../src/rpc.ts";
import { inTime } from "./in-time.ts";

/** What a head waits for further entries of the same burst: together they are one leaf. */
export const GATHER_MS = 250;
/** The alarm's look after a head that a crash may have left behind. */
export const RECOVERY_MS = 30_000;
/** A batch takes some seconds, more while R2 is slow. */
const OFFER_TIMEOUT_MS = 30_000;
/** After the Journal or the log took no leaves. */
const RETRY_MS = 10_000;
/**
 * Entries one leaf stands for at most. After an outage of the log, the entries since are logged as several heads, one
 * after the other: the proof of an entry is the chain up to such a head, and stays this short.
 */
export const MAX_ENTRIES_PER_HEAD = 200;

/** When to ask again for the proof of an entry just written. */
const LOGGED_AFTER_SECONDS = 3;

/** One schema step of an object that has a table `audit (n INTEGER PRIMARY KEY, entry TEXT)`. */
export const HEADS_SCHEMA = `
   -- 32 random bytes: the salt of the leaf that this entry becomes if it is the head when heads are gathered.
   ALTER TABLE audit ADD COLUMN salt BLOB;

   -- Heads under a published checkpoint of the audit log.
   CREATE TABLE heads (
     n INTEGER PRIMARY KEY,               -- of the entry
     head TEXT NOT NULL,                  -- its event_hash
     salt BLOB NOT NULL,
     leaf_index INTEGER NOT NULL,         -- in the log, from 0
     at INTEGER NOT NULL                  -- the entry's time, milliseconds since the epoch
   );`;

/** A head in the log. */
export interface LoggedHead {
  n: number;
  /** base64. */
  head: string;
  salt: Uint8Array;
  index: number;
}

interface HeadRow extends Record<string, SqlStorageValue> {
  n: number;
  head: string;
  salt: ArrayBuffer;
  leaf_index: number;
  at: number;
}

export interface HeadCarrierDeps {
  sql: SqlStorage;
  /** `user_id`, or `service_id` for the service's own chain. */
  ownerId: string;
  /** Whether the tables are there: an object that was only asked about has none. */
  exists(): boolean;
  /** Hands leaves to a shard of the Journal. */
  offer(leaves: OfferedLeaf[]): Promise<RpcResult<LeafPosition[]>>;
  /** Whether a logged head may be noted; what else its note confirms must be so. Asked again with the next `carry`. */
  mayNote?(n: number): boolean;
  /** Makes sure the alarm fires no later than this, and that `carry` is called then. */
  wakeBy(at: number): void;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const loggedHead = ({ n, head, salt, leaf_index }: HeadRow): LoggedHead => ({
  n,
  head,
  salt: new Uint8Array(salt),
  index: leaf_index,
});

export class HeadCarrier {
  readonly #deps: HeadCarrierDeps;
  #running: Promise<void> | undefined;

  constructor(deps: HeadCarrierDeps) {
    this.#deps = deps;
  }

  /**
   * Brings the chain's head into the log, and whatever becomes the head meanwhile, until there is nothing to bring.
   * One run at a time. Resolves when done, or when the log takes nothing now: then the alarm is set.
   */
  carry(): Promise<void> {
    // A run begins by waiting, so it is noted before it can end.
    if (this.#running === undefined && this.isBehind()) this.#running = this.#run();
    return this.#running ?? Promise.resolve();
  }

  /** Whether entries are there that no logged head covers. */
  isBehind(): boolean {
    return this.#next() !== undefined;
  }

  /** The first logged head at or after an entry. */
  covering(n: number): LoggedHead | undefined {
    const [row] = this.#rows<HeadRow>("SELECT * FROM heads WHERE n >= ? ORDER BY n LIMIT 1", n);
    return row && loggedHead(row);
  }

  /** Logged heads among the entries from `first` to `last`, oldest first. */
  between(first: number, last: number): LoggedHead[] {
    return this.#rows<HeadRow>("SELECT * FROM heads WHERE n >= ? AND n <= ? ORDER BY n", first, last).map(
      loggedHead,
    );
  }

  openingOf({ salt, head }: LoggedHead): LeafOpening {
    return { salt, ownerId: this.#deps.ownerId, head };
  }

  /** What shows that an entry is in the log: `not_found`, or `unavailable` while it is not there yet. */
  stretch(eventId: string): RpcResult<AuditStretch> {
    const place = parseRoutedId(eventId);
    const entries =
      place?.userId === this.#deps.ownerId
        ? this.#entries(place.row, this.covering(place.row)?.n ?? place.row)
        : [];
    if (place === undefined || entries[0]?.event_id !== eventId)
      return { ok: false, error: { code: "not_found", detail: "there is no such entry in this chain" } };
    const head = this.covering(place.row);
    if (head === undefined) {
      const detail = "the audit log does not hold the entry yet; it takes a few seconds";
      return { ok: false, error: { code: "unavailable", detail, retryAfterSeconds: LOGGED_AFTER_SECONDS } };
    }
    return { ok: true, value: { entries, opening: this.openingOf(head), index: head.index } };
  }

  #entries(first: number, last: number): AuditEntry[] {
    return this.#rows<{ entry: string }>(
      "SELECT entry FROM audit WHERE n >= ? AND n <= ? ORDER BY n",
      first,
      last,
    ).map(({ entry }) => JSON.parse(entry) as AuditEntry);
  }

  /** Hash of the last entry that was pruned; undefined when none was. */
  prunedTo(): string | undefined {
    return this.#rows<{ head: string }>(
      "SELECT head FROM heads WHERE n = (SELECT min(n) FROM audit) - 1 LIMIT 1",
    )[0]?.head;
  }

  /** When the oldest logged head that `prune` could go up to was written; undefined when there is none. */
  prunableAt(): number | undefined {
    return this.#rows<{ at: number }>(
      `SELECT at FROM heads WHERE n >= (SELECT min(n) FROM audit) AND n < (SELECT max(n) FROM heads)
       ORDER BY n LIMIT 1`,
    )[0]?.at;
  }

  /**
   * Deletes entries older than an instant, up to a logged head: that head's row stays, so that the log goes on
   * vouching for all that was before it, and the rest of the chain verifies from its hash on. The newest logged head
   * keeps its entry, whatever its age; so does every entry behind `lastEntry`. Called in a transaction. True when something
   * was deleted.
   */
  prune(before: number, lastEntry = Number.POSITIVE_INFINITY): boolean {
    const [newest] = this.#rows<HeadRow>("SELECT * FROM heads ORDER BY n DESC LIMIT 1");
    const [last] = this.#rows<HeadRow>(
      "SELECT * FROM heads WHERE at < ? AND n < ? AND n <= ? ORDER BY n DESC LIMIT 1",
      before,
      newest?.n ?? 0,
      Math.min(lastEntry, MAX_ROW),
    );
    if (last === undefined) return false;
    const { sql } = this.#deps;
    const pruned = sql.exec("DELETE FROM audit WHERE n <= ?", last.n).rowsWritten > 0;
    sql.exec("DELETE FROM heads WHERE n < ?", last.n);
    return pruned;
  }

  #rows<Row extends Record<string, SqlStorageValue>>(query: string, ...bindings: SqlStorageValue[]): Row[] {
    return this.#deps.exists() ? this.#deps.sql.exec<Row>(query, ...bindings).toArray() : [];
  }

  async #run(): Promise<void> {
    const { ownerId, offer, mayNote, sql, wakeBy } = this.#deps;
    try {
      while (this.#next() !== undefined) {
        await sleep(GATHER_MS);
        const next = this.#next();
        if (next === undefined) return;
        const leaf = leafOf({ salt: next.salt, ownerId, head: next.head });
        const answer = await inTime(
          atPoint("head.offer", () => offer([{ leaf }])),
          OFFER_TIMEOUT_MS,
        );
        if (!answer.ok) return wakeBy(Date.now() + RETRY_MS);
        const [{ index } = {}] = answer.value;
        if (index === undefined) throw new Error("the log answered for no leaf");
        if (mayNote?.(next.n) === false) return wakeBy(Date.now() + RETRY_MS);
        atPoint("head.noted", () =>
          sql.exec(
            // Not where the entry was erased while its head was on its way.
            `INSERT OR IGNORE INTO heads (n, head, salt, leaf_index, at)
             SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM audit WHERE n = ?1)`,
            next.n,
            next.head,
            next.salt.slice().buffer,
            index,
            next.at,
          ),
        );
      }
    } catch (error) {
      // The shard or the log died under the call. Ids and reasons only.
      log("warn", "audit.head_not_logged", { owner_id: ownerId, reason: errorText(error) });
      wakeBy(Date.now() + RETRY_MS);
    } finally {
      // In the turn of the last look: an entry that comes after it begins a run of its own.
      this.#running = undefined;
    }
  }

  /** The next head to be logged; undefined when the last entry is. */
  #next(): (LeafOpening & { n: number; at: number }) | undefined {
    const [logged] = this.#rows<{ n: number }>("SELECT n FROM heads ORDER BY n DESC LIMIT 1");
    const [row] = this.#rows<{ n: number; entry: string; salt: ArrayBuffer | null }>(
      "SELECT n, entry, salt FROM audit WHERE n > ?1 AND n <= ?1 + ?2 ORDER BY n DESC LIMIT 1",
      logged?.n ?? 0,
      MAX_ENTRIES_PER_HEAD,
    );
    if (row === undefined) return undefined;
    const entry = JSON.parse(row.entry) as AuditEntry;
    return {
      n: row.n,
      ownerId: this.#deps.ownerId,
      head: entry.event_hash,
      salt: row.salt === null ? this.#newSalt(row.n) : new Uint8Array(row.salt),
      at: fromTimestamp(entry.timestamp),
    };
  }

  /** An entry written by a version that knew no salts gets one before it is offered. */
  #newSalt(n: number): Uint8Array {
    const salt = randomBytes(LEAF_SALT_BYTES);
    this.#deps.sql.exec("UPDATE audit SET salt = ? WHERE n = ?", salt.buffer, n);
    return salt;
  }
}
