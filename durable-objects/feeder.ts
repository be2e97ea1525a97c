// A chain's entries on their way to the sinks (docs/AUDIT.md): the object that owns the chain hands them, in order, to
// its shard of the Journal, which queues them durably and delivers. Where no sink is configured, nothing here reads or
// writes a row.
//
// How far each sink was handed what there is stands in one row, written after the Journal has it. A crash in between
// hands the same entries over again: at least once, in the chain's order, told apart by `event_hash`. A sink that is
// configured later is handed the chain from its beginning, or from where it was pruned: it gets whole chains.
//
// Cost with sinks: one row here for a hand-over, however many entries it covers.

import { SINK_NAMES, type SinkName } from "../src/audit/sinks.ts";
import type { Config } from "../src/config.ts";
import { errorText, log } from "../src/log.ts";
import type { HandOver, RpcResult } from "../src/rpc.ts";
import { inTime } from "./in-time.ts";

/** What an entry waits for further ones of the same burst: together they are one call and one row. */
const GATHER_MS = 250;
const HAND_OVER_TIMEOUT_MS = 30_000;
/** After the Journal could not be reached. */
const RETRY_MS = 10_000;
/** After it said that its queue is full: a sink has been away for long, and is not back in a moment. */
const FULL_RETRY_MS = 10 * 60_000;
/** Entries, and characters of them, in one hand-over. */
export const MAX_HANDED_ENTRIES = 200;
const MAX_HANDED_CHARACTERS = 400_000;

/** One schema step of an object that has a table `audit (n INTEGER PRIMARY KEY, entry TEXT)`. */
export const FEEDER_SCHEMA = `
   -- How far the sinks were handed entries: JSON, from a sink's name to the last n. At most one row.
   CREATE TABLE handed (id INTEGER PRIMARY KEY CHECK (id = 1), cursors TEXT NOT NULL);`;

export interface FeederDeps {
  sql: SqlStorage;
  ownerId: string;
  /** The configured sinks. */
  sinks: readonly SinkName[];
  /** Whether the tables are there. */
  exists(): boolean;
  handOver(batch: HandOver): Promise<RpcResult<null>>;
  /** Makes sure the alarm fires no later than this, and that `feed` is called then. */
  wakeBy(at: number): void;
}

/** The sinks a deployment has configured. */
export const sinkNames = ({ sinks }: Pick<Config, "sinks">): SinkName[] =>
  SINK_NAMES.filter((sink) => sinks[sink] !== undefined);

type Cursors = Partial<Record<SinkName, number>>;

export class Feeder {
  readonly #deps: FeederDeps;
  #running: Promise<void> | undefined;

  constructor(deps: FeederDeps) {
    this.#deps = deps;
  }

  /** Hands over whatever is new, until nothing is. One run at a time; after a failure the alarm is set. */
  feed(): Promise<void> {
    if (this.#running === undefined && this.isBehind()) this.#running = this.#run();
    return this.#running ?? Promise.resolve();
  }

  /** Whether entries are there that a configured sink was not handed. */
  isBehind(): boolean {
    return this.#next(1) !== undefined;
  }

  /** The last entry that every sink was handed; nothing behind it may be pruned. Infinity without sinks. */
  handedTo(): number {
    return Math.min(...this.#deps.sinks.map((sink) => this.#cursors()[sink] ?? 0));
  }

  #cursors(): Cursors {
    if (!this.#deps.exists()) return {};
    const [row] = this.#deps.sql.exec<{ cursors: string }>("SELECT cursors FROM handed").toArray();
    return row === undefined ? {} : (JSON.parse(row.cursors) as Cursors);
  }

  /** The next entries, for the sinks that are furthest behind: usually all. */
  #next(limit: number): { cursors: Cursors; sinks: SinkName[]; lines: string[]; last: number } | undefined {
    const { sinks, sql, exists } = this.#deps;
    if (sinks.length === 0 || !exists()) return undefined;
    const cursors = this.#cursors();
    const reached = sinks.map((sink) => cursors[sink] ?? 0);
    const from = Math.min(...reached);
    const ahead = Math.min(...reached.filter((n) => n > from), Number.MAX_SAFE_INTEGER);
    const rows = sql
      .exec<{ n: number; entry: string }>(
        "SELECT n, entry FROM audit WHERE n > ? AND n <= ? ORDER BY n LIMIT ?",
        from,
        ahead,
        limit,
      )
      .toArray();
    const lines: string[] = [];
    let characters = 0;
    let last = from;
    for (const { n, entry } of rows) {
      characters += entry.length;
      if (characters > MAX_HANDED_CHARACTERS && lines.length > 0) break;
      lines.push(entry);
      last = n;
    }
    // The others may have been handed entries that are pruned by now.
    if (lines.length === 0 && ahead < Number.MAX_SAFE_INTEGER) last = ahead;
    if (last === from) return undefined;
    return { cursors, sinks: sinks.filter((_, at) => reached[at] === from), lines, last };
  }

  async #run(): Promise<void> {
    const { ownerId, handOver, sql, wakeBy } = this.#deps;
    try {
      while (this.isBehind()) {
        await new Promise((resolve) => setTimeout(resolve, GATHER_MS));
        const next = this.#next(MAX_HANDED_ENTRIES);
        if (next === undefined) return;
        const { cursors, sinks, lines, last } = next;
        if (lines.length > 0) {
          const answer = await inTime(handOver({ ownerId, sinks, lines }), HAND_OVER_TIMEOUT_MS);
          if (!answer.ok) return wakeBy(Date.now() + FULL_RETRY_MS);
        }
        for (const sink of sinks) cursors[sink] = last;
        sql.exec(
          "INSERT INTO handed (id, cursors) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET cursors = ?1",
          JSON.stringify(cursors),
        );
      }
    } catch (error) {
      log("warn", "audit.entries_not_handed", { owner_id: ownerId, reason: errorText(error) });
      wakeBy(Date.now() + RETRY_MS);
    } finally {
      this.#running = undefined;
    }
  }
}
