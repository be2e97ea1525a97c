// The queue of audit entries for the sinks, and its delivery. Each sink walks the queue by itself, one batch at a time
// and in order, with its own position, timeout and pauses; it waits for nobody and nobody waits for it. What cannot be
// delivered stays in the queue for as long as it takes.
//
// Crashes. An entry is in the queue from the moment `take` resolves. A sink's position is written after its batch was
// taken: a crash in between sends the batch again, perhaps with more behind it. Positions are written before rows are
// deleted, in one transaction.
//
// Cost: a row for a hand-over and one when it is deleted; for each sink a row for a batch, and one for a failure.

import {
  BATCH_LIMITS,
  type Batch,
  SINK_NAMES,
  SINK_TIMEOUT_MS,
  type SinkName,
  type SinkOutcome,
  sinkPauseMs,
} from "../../src/audit/sinks.ts";
import { errorText, log } from "../../src/log.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import type { HandOver, RpcResult, SinkState } from "../../src/rpc.ts";
import { type AttemptResult, isSuccess, retryAfterMs } from "../../src/webhooks/schedule.ts";
import { inTime } from "../in-time.ts";

/** While entries wait, the alarm brings a crashed object back within this. */
const RECOVERY_MS = 15_000;
/** Waits up to this are spent awake; for longer ones the alarm is set. */
const MAX_AWAKE_MS = 15_000;
/** Characters that may wait here, of the 10 GB an object can hold; more is refused and stays with its owners. */
export const MAX_QUEUED_CHARACTERS = 2_000_000_000;
/** Hand-overs read for one batch. */
const READ_ROWS = 1_000;
const FULL_RETRY_SECONDS = 600;
const PAYLOAD_TOO_LARGE = 413;

interface ExportRow extends Record<string, SqlStorageValue> {
  n: number;
  sinks: string | null;
  at: number;
  entries: number;
  lines: string;
}

interface SinkRow extends Record<string, SqlStorageValue> {
  sink: SinkName;
  position: number;
  delivered: number;
  delivered_at: number | null;
  failures: number;
  failing_since: number | null;
  last_error: string | null;
  next_at: number;
}

export interface SinksDeps {
  storage: DurableObjectStorage;
  /** Names this queue among its like. */
  shard: string;
  /** The configured sinks and how a batch gets there. May reject. */
  targets: Partial<Record<SinkName, (batch: Batch) => Promise<SinkOutcome>>>;
  now(): number;
  /** In [0, 1). */
  random(): number;
  /** Makes sure the alarm fires no later than this, and that `wake` is called then. */
  wakeBy(at: number): void;
}

/** An HTTP attempt, as what it means for a sink. */
export function outcomeOf(result: AttemptResult, now: number): SinkOutcome {
  if (!("status" in result)) return { ok: false, error: result.error };
  if (isSuccess(result.status)) return { ok: true };
  const asked = retryAfterMs(result.retryAfter, now);
  return {
    ok: false,
    error: `status_${result.status}`,
    ...(asked === undefined ? {} : { retryAfterMs: asked }),
    ...(result.status === PAYLOAD_TOO_LARGE ? { tooLarge: true } : {}),
  };
}

export class Sinks {
  readonly #deps: SinksDeps;
  readonly #sql: SqlStorage;
  readonly #configured: readonly SinkName[];
  /** Sinks whose loop runs. */
  readonly #running = new Set<SinkName>();
  /** Entries of one batch where a receiver has said that more is too much. */
  readonly #atMost = new Map<SinkName, number>();
  #characters: number;
  #last: number;

  constructor(deps: SinksDeps) {
    this.#deps = deps;
    this.#sql = deps.storage.sql;
    this.#configured = SINK_NAMES.filter((sink) => deps.targets[sink] !== undefined);
    const { characters, last } = this.#sql
      .exec<{ characters: number; last: number }>(
        `SELECT coalesce(sum(length(lines)), 0) AS characters,
           max(coalesce(max(n), 0), (SELECT coalesce(max(position), 0) FROM sinks)) AS last FROM exports`,
      )
      .one();
    this.#characters = characters;
    this.#last = last;
    // No sink is configured any more: nobody waits for what is left.
    if (this.#configured.length === 0 && characters > 0) {
      this.#sql.exec("DELETE FROM exports");
      this.#characters = 0;
    }
  }

  /** Queues what an owner hands over; durable when this returns. */
  take({ ownerId, sinks, lines }: HandOver): RpcResult<null> {
    const wanted = this.#configured.filter((sink) => sinks.includes(sink));
    // Settings differ while a deployment spreads: what no sink here wants is done with.
    if (wanted.length === 0 || lines.length === 0) return { ok: true, value: null };
    const text = lines.join("\n");
    if (this.#characters + text.length > MAX_QUEUED_CHARACTERS) {
      const detail = "too many entries wait for a sink";
      return { ok: false, error: { code: "unavailable", detail, retryAfterSeconds: FULL_RETRY_SECONDS } };
    }
    const { now, storage, wakeBy } = this.#deps;
    const n = this.#last + 1;
    storage.transactionSync(() => {
      for (const sink of this.#configured) this.#row(sink);
      this.#sql.exec(
        "INSERT INTO exports (n, owner, sinks, at, entries, lines) VALUES (?, ?, ?, ?, ?, ?)",
        n,
        ownerId,
        wanted.length === this.#configured.length ? null : JSON.stringify(wanted),
        now(),
        lines.length,
        text,
      );
    });
    this.#last = n;
    this.#characters += text.length;
    // No await since the transaction: rows and alarm become durable together.
    wakeBy(now() + RECOVERY_MS);
    this.wake();
    return { ok: true, value: null };
  }

  /** To be called when something has happened from outside: a hand-over, an alarm. */
  wake(): void {
    for (const sink of this.#configured) {
      if (this.#running.has(sink)) continue;
      this.#running.add(sink);
      void this.#run(sink)
        .catch((error: unknown) => {
          log("error", "audit.sink_stopped", { sink, reason: errorText(error) });
          this.#deps.wakeBy(this.#deps.now() + RECOVERY_MS);
        })
        .finally(() => this.#running.delete(sink));
    }
  }

  /** Deletes what waits of one owner: nothing of it goes out any more. Called in a transaction. */
  forget(ownerId: string): void {
    this.#sql.exec("DELETE FROM exports WHERE owner = ?", ownerId);
    this.#characters = this.#sql
      .exec<{ characters: number }>("SELECT coalesce(sum(length(lines)), 0) AS characters FROM exports")
      .one().characters;
  }

  states(): SinkState[] {
    return this.#configured.map((sink) => {
      const row = this.#known(sink);
      const { entries, since } = this.#sql
        .exec<{ entries: number; since: number | null }>(
          `SELECT coalesce(sum(entries), 0) AS entries, min(at) AS since FROM exports
           WHERE n > ?1 AND (sinks IS NULL OR ?2 IN (SELECT value FROM json_each(sinks)))`,
          row?.position ?? 0,
          sink,
        )
        .one();
      const time = (name: string, ms: number | null | undefined) =>
        ms === null || ms === undefined ? {} : { [name]: toTimestamp(ms) };
      const isFailing = row !== undefined && row.failures > 0;
      return {
        sink,
        status: isFailing ? "failing" : "ok",
        waiting: entries,
        delivered: row?.delivered ?? 0,
        ...time("waiting_since", since),
        ...time("delivered_at", row?.delivered_at),
        ...(isFailing
          ? {
              ...time("failing_since", row.failing_since),
              ...time("next_attempt_at", row.next_at),
              ...(row.last_error === null ? {} : { last_error: row.last_error }),
            }
          : {}),
      };
    });
  }

  #known(sink: SinkName): SinkRow | undefined {
    return this.#sql.exec<SinkRow>("SELECT * FROM sinks WHERE sink = ?", sink).toArray()[0];
  }

  /** A sink that is new here begins behind what was queued for others. */
  #row(sink: SinkName): SinkRow {
    const known = this.#known(sink);
    if (known !== undefined) return known;
    this.#sql.exec("INSERT INTO sinks (sink, position) VALUES (?, ?)", sink, this.#last);
    return this.#known(sink)!;
  }

  async #run(sink: SinkName): Promise<void> {
    const { now, wakeBy, targets, random } = this.#deps;
    const limits = BATCH_LIMITS[sink];
    for (;;) {
      const row = this.#known(sink);
      const oldest = row && this.#read(sink, row.position, 1)[0];
      if (row === undefined || oldest === undefined) return;
      const wait = Math.max(row.next_at, oldest.at + limits.gatherMs) - now();
      if (wait > MAX_AWAKE_MS) return wakeBy(now() + wait);
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
      const found = this.#batch(sink, row.position);
      // Forgotten meanwhile.
      if (found === undefined) continue;
      const { batch, upTo } = found;
      const outcome = await inTime(targets[sink]!(batch), SINK_TIMEOUT_MS).catch(
        (error: unknown): SinkOutcome => {
          log("warn", "audit.sink_unreachable", { sink, reason: errorText(error) });
          return { ok: false, error: "unreachable" };
        },
      );
      if (outcome.ok) {
        this.#atMost.delete(sink);
        this.#advance(sink, upTo, batch.lines.length);
        continue;
      }
      if (outcome.tooLarge) this.#atMost.set(sink, Math.max(1, batch.lines.length >> 1));
      const failures = row.failures + 1;
      const pause = sinkPauseMs(failures, outcome.retryAfterMs, random());
      this.#sql.exec(
        `UPDATE sinks SET failures = ?, failing_since = coalesce(failing_since, ?), last_error = ?, next_at = ?
         WHERE sink = ?`,
        failures,
        now(),
        outcome.error,
        now() + pause,
        sink,
      );
      log("warn", "audit.sink_failed", { sink, error: outcome.error, failures });
      wakeBy(now() + Math.max(pause, RECOVERY_MS));
    }
  }

  /** Rows of the queue behind `position` that are for a sink. */
  #read(sink: SinkName, position: number, limit: number): ExportRow[] {
    return this.#sql
      .exec<ExportRow>(
        `SELECT n, sinks, at, entries, lines FROM exports
         WHERE n > ?1 AND (sinks IS NULL OR ?2 IN (SELECT value FROM json_each(sinks))) ORDER BY n LIMIT ?3`,
        position,
        sink,
        limit,
      )
      .toArray();
  }

  /**
   * The next batch, of whole hand-overs; `upTo` is the position once it is delivered. A hand-over that is too much by
   * itself goes out whole all the same: its size is bounded where it is made.
   */
  #batch(sink: SinkName, position: number): { batch: Batch; upTo: number } | undefined {
    const limits = BATCH_LIMITS[sink];
    const most = Math.min(limits.entries, this.#atMost.get(sink) ?? limits.entries);
    const taken: ExportRow[] = [];
    let entries = 0;
    let characters = 0;
    for (const row of this.#read(sink, position, READ_ROWS)) {
      entries += row.entries;
      characters += row.lines.length;
      if (taken.length > 0 && (entries > most || characters > limits.characters)) break;
      taken.push(row);
    }
    const last = taken.at(-1);
    if (last === undefined) return undefined;
    const lines = taken.flatMap((row) => row.lines.split("\n"));
    return { batch: { shard: this.#deps.shard, first: taken[0]!.n, last: last.n, lines }, upTo: last.n };
  }

  #advance(sink: SinkName, position: number, entries: number): void {
    const now = this.#deps.now();
    this.#deps.storage.transactionSync(() => {
      this.#sql.exec(
        `UPDATE sinks SET position = ?, delivered = delivered + ?, delivered_at = ?, failures = 0,
           failing_since = NULL, last_error = NULL, next_at = 0 WHERE sink = ?`,
        position,
        entries,
        now,
        sink,
      );
      const done = Math.min(...this.#configured.map((name) => this.#doneTo(name)));
      const deleted = this.#sql
        .exec<{ characters: number }>(
          "SELECT coalesce(sum(length(lines)), 0) AS characters FROM exports WHERE n <= ?",
          done,
        )
        .one();
      this.#sql.exec("DELETE FROM exports WHERE n <= ?", done);
      this.#characters -= deleted.characters;
    });
  }

  /** The last row a sink needs no more: rows that are not for it do not count. */
  #doneTo(sink: SinkName): number {
    const row = this.#row(sink);
    const [next] = this.#read(sink, row.position, 1);
    return next === undefined ? this.#last : next.n - 1;
  }
}
