// A chain's heads on their way into the audit log (PROTOCOL §8). The object that owns the chain, a user's or the
// Directory, is the one that remembers: a Journal shard only gathers leaves and passes them on, in memory.
//
// Each entry is stored with the salt its leaf would have, in the entry's own row. So a head's leaf is settled from the
// moment the entry is durable, and offering it again, after whatever died, offers the same leaf: it lands once.
//
//   1. After the commit the leaf is handed over, together with the step's events where it has any. Nobody waits for
//      the log: this object may go to sleep.
//   2. The alarm, which was set in the turn of the entry's transaction, asks where the leaf is. By then it is usually
//      in the log. Where it is not, because this object, the shard or the log died with it, asking has handed it over
//      again, and the alarm comes back. Whoever wants the proof of an entry asks sooner.
//   3. The place is noted. A crash before that asks again; the log answers with the index it has.
//
// Cost: one row for each noted head, however many entries it covers, and one for the alarm where none is set sooner.
// Nothing here is on the path of a request.
//
// The note of a head may confirm more about the entries it covers (`mayNote`): a user's object has their events in the
// same rows, and so needs no row to say that the Journal has them.

import { atPoint } from "../src/at-point.ts";
import { LEAF_SALT_BYTES, type LeafOpening, leafOf } from "../src/audit/leaf.ts";
import { errorText, log } from "../src/log.ts";
import type { AuditEntry } from "../src/protocol/audit.ts";
import { MAX_ROW, parseRoutedId, randomBytes } from "../src/protocol/ids.ts";
import { fromTimestamp } from "../src/protocol/primitives.ts";
import type { AuditStretch, HandedLeaf, LeafPosition, RpcResult } from "../src/rpc.ts";
import { inTime } from "./in-time.ts";

/** The alarm's look after a head: whether the log has it. */
export const RECOVERY_MS = 30_000;
/** The shard and the log answer from memory or a few rows. An alarm waits for it before it looks at what is due. */
const ASK_TIMEOUT_MS = 1_000;
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
  /** Hands a leaf to a shard of the Journal. */
  handOver(leaf: HandedLeaf): Promise<void>;
  /** Where the log has a leaf; hands it over where it has not. */
  ask(leaf: HandedLeaf): Promise<RpcResult<Partial<LeafPosition>>>;
  /** Whether a logged head may be noted; what else its note confirms must be so. */
  mayNote?(n: number): boolean;
}

interface ChainHead extends LeafOpening {
  n: number;
  at: number;
}

const loggedHead = ({ n, head, salt, leaf_index }: HeadRow): LoggedHead => ({
  n,
  head,
  salt: new Uint8Array(salt),
  index: leaf_index,
});

export class HeadCarrier {
  readonly #deps: HeadCarrierDeps;
  #asking: Promise<void> | undefined;
  /** The last entry whose leaf was handed over in this life of the object. */
  #handed = 0;
  /** The newest head known to be in the log, noted or not. */
  #logged: (ChainHead & { index: number }) | undefined;

  constructor(deps: HeadCarrierDeps) {
    this.#deps = deps;
  }

  /** The leaf of the chain's head, for a call to the Journal to take along; undefined when it was handed over. */
  fresh(): HandedLeaf | undefined {
    const next = this.#next();
    if (next === undefined || next.n <= this.#handed) return undefined;
    this.#handed = next.n;
    return this.#leafOf(next);
  }

  /** Hands the chain's head over, if that was not done. A failure is the alarm's to repair, which is set already. */
  async handOver(): Promise<void> {
    const leaf = this.fresh();
    if (leaf === undefined) return;
    try {
      await atPoint("head.offer", () => this.#deps.handOver(leaf));
    } catch (error) {
      this.#report(error);
    }
  }

  /**
   * Asks where the log has the chain's head, and hands over again what it has not. Resolves within about a second;
   * `isBehind` then says what came of it.
   */
  confirm(): Promise<void> {
    if (this.#asking === undefined && (this.isBehind() || this.#isUnnoted()))
      this.#asking = this.#askAll().finally(() => {
        this.#asking = undefined;
      });
    return this.#asking ?? Promise.resolve();
  }

  /** Whether entries are there that no head covers of which the log is known to have it. */
  isBehind(): boolean {
    return this.#next() !== undefined;
  }

  /** The first logged head at or after an entry. */
  covering(n: number): LoggedHead | undefined {
    const [row] = this.#rows<HeadRow>("SELECT * FROM heads WHERE n >= ? ORDER BY n LIMIT 1", n);
    if (row !== undefined) return loggedHead(row);
    return this.#logged !== undefined && this.#logged.n >= n ? this.#logged : undefined;
  }

  /** Logged heads among the entries from `first` to `last`, oldest first. */
  between(first: number, last: number): LoggedHead[] {
    const noted = this.#rows<HeadRow>(
      "SELECT * FROM heads WHERE n >= ? AND n <= ? ORDER BY n",
      first,
      last,
    ).map(loggedHead);
    const newest = this.#logged;
    const isOneMore =
      newest !== undefined && newest.n >= first && newest.n <= last && newest.n > (noted.at(-1)?.n ?? 0);
    return isOneMore ? [...noted, newest] : noted;
  }

  openingOf({ salt, head }: LoggedHead): LeafOpening {
    return { salt, ownerId: this.#deps.ownerId, head };
  }

  /**
   * What shows that an entry is in the log: `not_found`, or `unavailable` while it is not there yet. Whoever wants it
   * has it asked for, and sent on its way where it waited for others.
   */
  async proofOf(eventId: string): Promise<RpcResult<AuditStretch>> {
    const known = this.#stretch(eventId);
    if (known.ok || known.error.code !== "unavailable") return known;
    await this.confirm();
    return this.#stretch(eventId);
  }

  #stretch(eventId: string): RpcResult<AuditStretch> {
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

  async #askAll(): Promise<void> {
    try {
      // One that is known may have had to wait for what else its note confirms.
      this.#note();
      for (let next = this.#next(); next !== undefined; next = this.#next()) {
        const leaf = this.#leafOf(next);
        this.#handed = Math.max(this.#handed, next.n);
        const answer = await inTime(
          atPoint("head.ask", () => this.#deps.ask(leaf)),
          ASK_TIMEOUT_MS,
        );
        if (!answer.ok || answer.value.index === undefined) return;
        this.#logged = { ...next, index: answer.value.index };
        this.#note();
      }
    } catch (error) {
      this.#report(error);
    }
  }

  /** Ids and reasons only. */
  #report(error: unknown): void {
    log("warn", "audit.head_not_logged", { owner_id: this.#deps.ownerId, reason: errorText(error) });
  }

  #isUnnoted(): boolean {
    return this.#logged !== undefined && this.#logged.n > this.#noted();
  }

  #note(): void {
    const { sql, mayNote } = this.#deps;
    const logged = this.#logged;
    if (logged === undefined || !this.#isUnnoted() || mayNote?.(logged.n) === false) return;
    atPoint("head.noted", () =>
      sql.exec(
        // Not where the entry was erased while its head was on its way.
        `INSERT OR IGNORE INTO heads (n, head, salt, leaf_index, at)
         SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM audit WHERE n = ?1)`,
        logged.n,
        logged.head,
        logged.salt.slice().buffer,
        logged.index,
        logged.at,
      ),
    );
  }

  #noted(): number {
    return this.#rows<{ n: number }>("SELECT n FROM heads ORDER BY n DESC LIMIT 1")[0]?.n ?? 0;
  }

  #leafOf({ salt, head }: ChainHead): HandedLeaf {
    const { ownerId } = this.#deps;
    return { ownerId, leaf: leafOf({ salt, ownerId, head }) };
  }

  /** The next head to be logged; undefined when the last entry is. */
  #next(): ChainHead | undefined {
    const noted = this.#noted();
    const [row] = this.#rows<{ n: number; entry: string; salt: ArrayBuffer | null }>(
      "SELECT n, entry, salt FROM audit WHERE n > ? AND n <= ? ORDER BY n DESC LIMIT 1",
      Math.max(noted, this.#logged?.n ?? 0),
      noted + MAX_ENTRIES_PER_HEAD,
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
