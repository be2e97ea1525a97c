// SQL of a journal shard, typed.

import { sha256 } from "../../src/crypto/hash.ts";
import type { Wrapper } from "../../src/crypto/wrap.ts";
import { toBase58 } from "../../src/protocol/encoding.ts";
import { utf8 } from "../../src/protocol/json.ts";
import type { DeliveryStatus } from "../../src/rpc.ts";
import type { AttemptResult } from "../../src/webhooks/schedule.ts";
import { EventIndex, type RunShape } from "./event-index.ts";

/** The endpoint row and the id under which deliveries to callback URLs are listed. */
export const CALLBACK = "callback";
/** Attempts a delivery's record keeps: more than one whole schedule makes. */
export const MAX_RECORDED_ATTEMPTS = 25;
/** Places named to the database at once: its texts are bounded. */
const MAX_PLACES = 50_000;
/** Characters of the hash that tells callback origins apart. */
const ORIGIN_HASH_CHARACTERS = 22;

export interface EventRow {
  n: number;
  user_id: string;
  event_id: string;
  type: string;
  at: number;
  recorded_at: number;
  body: string;
  callback: ArrayBuffer | null;
}

/** An event without its text. */
export type EventHead = Omit<EventRow, "body">;

export interface EndpointRow {
  webhook_id: string;
  epoch: number;
  position: number;
  listed_from: number;
  types: string | null;
  failing_since: number | null;
  last_failure_at: number | null;
  disabled: "gone" | "failing" | null;
  disabled_at: number | null;
  reported: number;
}

export interface ReplayRow {
  replay_id: string;
  webhook_id: string;
  position: number;
  last_n: number;
  from_at: number;
  to_at: number;
}

/** When, how long it took in milliseconds, and the status code or what went wrong. */
export type LoggedAttempt = [at: number, duration: number, outcome: number | string];

export interface DeliveryRow {
  lane: string;
  n: number;
  status: DeliveryStatus;
  attempts: number;
  started_at: number;
  next_at: number | null;
  log: LoggedAttempt[];
}

export const logged = (at: number, duration: number, result: AttemptResult): LoggedAttempt => [
  at,
  duration,
  "status" in result ? result.status : result.error,
];

const HEAD = "n, user_id, event_id, type, at, recorded_at, callback";

export class Store {
  readonly #sql: SqlStorage;
  readonly #wrapper: Wrapper;
  readonly #index: EventIndex;

  /** `run` is for tests: they have fewer events than a run of the index holds. */
  constructor(sql: SqlStorage, wrapper: Wrapper, run?: RunShape) {
    this.#sql = sql;
    this.#wrapper = wrapper;
    this.#index = new EventIndex(sql, run);
  }

  #rows<Row>(query: string, ...bindings: SqlStorageValue[]): Row[] {
    return this.#sql.exec(query, ...bindings).toArray() as unknown as Row[];
  }

  /** An upsert rather than INSERT OR REPLACE, which would delete and insert: two rows. */
  #put(table: string, key: readonly string[], row: Record<string, SqlStorageValue>): void {
    const names = Object.keys(row);
    const others = names.filter((name) => !key.includes(name));
    this.#sql.exec(
      `INSERT INTO ${table} (${names.join(", ")}) VALUES (${names.map(() => "?").join(", ")})
       ON CONFLICT (${key.join(", ")}) DO UPDATE SET ${others.map((name) => `${name} = excluded.${name}`).join(", ")}`,
      ...Object.values(row),
    );
  }

  // Events

  last(): { n: number; recorded_at: number } | undefined {
    return this.#rows<EventRow>("SELECT n, recorded_at FROM events ORDER BY n DESC LIMIT 1")[0];
  }

  oldest(): { n: number; recorded_at: number } | undefined {
    return this.#rows<EventRow>("SELECT n, recorded_at FROM events ORDER BY n LIMIT 1")[0];
  }

  /**
   * Whether an event is here already. A user's event has the same time when it comes again; one of the service's own
   * may be reported with another, and they are few: every one of them is looked at.
   */
  has(userId: string, eventId: string, at: number): boolean {
    return this.#index.find(userId, eventId, userId === "" ? 0 : at) !== undefined;
  }

  insertEvent(row: Omit<EventRow, "callback">, callbackUrl: string | undefined): void {
    this.#sql.exec(
      `INSERT INTO events (n, user_id, event_id, type, at, recorded_at, body, callback)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
      row.n,
      row.user_id,
      row.event_id,
      row.type,
      row.at,
      row.recorded_at,
      row.body,
      callbackUrl === undefined ? null : this.#wrapper.wrap(callbackUrl, callbackPlace(row.event_id)).buffer,
    );
    this.#index.add(row.user_id, row.event_id, row.n, row.recorded_at);
  }

  /** To be called once inserted events are stored: keeps what they are found by from growing. */
  extendIndex(storage: DurableObjectStorage): void {
    this.#index.extend(storage, this.last()?.n ?? 0);
  }

  event(n: number): EventRow | undefined {
    return this.#rows<EventRow>("SELECT * FROM events WHERE n = ?", n)[0];
  }

  async eventById(eventId: string): Promise<EventHead | undefined> {
    const n = await this.#index.findAnywhere(eventId);
    return n === undefined
      ? undefined
      : this.#rows<EventHead>(`SELECT ${HEAD} FROM events WHERE n = ?`, n)[0];
  }

  callbackUrl(row: EventHead): string {
    return this.#wrapper.unwrap(new Uint8Array(row.callback!), callbackPlace(row.event_id)) as string;
  }

  headsAfter(n: number, limit: number): EventHead[] {
    return this.#rows<EventHead>(`SELECT ${HEAD} FROM events WHERE n > ? ORDER BY n LIMIT ?`, n, limit);
  }

  headsUpTo(n: number, limit: number): EventHead[] {
    return this.#rows<EventHead>(`SELECT ${HEAD} FROM events WHERE n <= ? ORDER BY n DESC LIMIT ?`, n, limit);
  }

  /** The feed: `scanned` is the highest n looked at, at most `maxScan` rows behind `after`. */
  feed(query: { after: number; type?: string; userId?: string; limit: number; maxScan: number }): {
    rows: { n: number; body: string }[];
    scanned: number;
  } {
    if (query.userId !== undefined) return this.#feedOf(query.userId, query);
    const end = Math.min(query.after + query.maxScan, this.last()?.n ?? 0);
    const rows = this.#rows<{ n: number; body: string }>(
      `SELECT n, body FROM events WHERE n > ? AND n <= ? ${query.type === undefined ? "" : "AND type = ?"}
       ORDER BY n LIMIT ?`,
      query.after,
      end,
      ...(query.type === undefined ? [] : [query.type]),
      query.limit,
    );
    const lastRow = rows.at(-1);
    if (rows.length === query.limit && lastRow !== undefined) return { rows, scanned: lastRow.n };
    return { rows, scanned: Math.max(query.after, end) };
  }

  /** A user's events come through the index: they need no bound. */
  #feedOf(
    userId: string,
    { after, type, limit }: { after: number; type?: string; limit: number },
  ): { rows: { n: number; body: string }[]; scanned: number } {
    const rows: { n: number; body: string }[] = [];
    for (const n of this.#index.ofUser(userId, after)) {
      const [row] = this.#rows<{ n: number; body: string; type: string }>(
        "SELECT n, body, type FROM events WHERE n = ? AND user_id = ?",
        n,
        userId,
      );
      if (row === undefined || (type !== undefined && row.type !== type)) continue;
      rows.push({ n, body: row.body });
      if (rows.length === limit) return { rows, scanned: n };
    }
    return { rows, scanned: Math.max(after, this.last()?.n ?? 0) };
  }

  /** The last n recorded before an instant; 0 when there is none. `recorded_at` grows with n, so halving finds it. */
  positionBefore(ms: number): number {
    const oldest = this.oldest();
    const last = this.last();
    if (oldest === undefined || last === undefined || oldest.recorded_at >= ms) return (oldest?.n ?? 1) - 1;
    let low = oldest.n;
    let high = last.n;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      // Those of an erased user are missing in between.
      const [row] = this.#rows<EventRow>(
        "SELECT n, recorded_at FROM events WHERE n <= ? ORDER BY n DESC LIMIT 1",
        middle,
      );
      if (row!.recorded_at < ms) low = middle;
      else high = row!.n - 1;
    }
    return low;
  }

  /** Events of a time range by type, behind `after` and up to `lastN`. */
  countByType(range: { after: number; lastN: number; fromAt: number; toAt: number }): Map<string, number> {
    return new Map(
      this.#rows<{ type: string; count: number }>(
        `SELECT type, count(*) AS count FROM events WHERE n > ? AND n <= ? AND at BETWEEN ? AND ? GROUP BY type`,
        range.after,
        range.lastN,
        range.fromAt,
        range.toAt,
      ).map(({ type, count }) => [type, count]),
    );
  }

  /** Deletes events recorded before an instant, but never the newest; true when more remain. */
  prune(before: number, limit: number): boolean {
    const last = this.last();
    const oldest = this.oldest();
    if (last === undefined || oldest === undefined || oldest.n === last.n || oldest.recorded_at >= before)
      return false;
    const upTo = Math.min(this.positionBefore(before), oldest.n + limit - 1, last.n - 1);
    this.#sql.exec("DELETE FROM events WHERE n <= ?", upTo);
    this.#index.prune(upTo);
    for (const { lane } of this.#rows<{ lane: string }>("SELECT DISTINCT lane FROM deliveries"))
      this.#sql.exec("DELETE FROM deliveries WHERE lane = ? AND n <= ?", lane, upTo);
    const next = this.oldest()!;
    return next.n < last.n && next.recorded_at < before;
  }

  /** Deletes a user's events, but never the newest, and their deliveries. Called in a transaction. */
  forget(userId: string): void {
    const last = this.last()?.n ?? 0;
    const places = [...this.#index.ofUser(userId, 0)].filter((n) => n < last);
    const theirs = "SELECT n FROM events WHERE n IN (SELECT value FROM json_each(?)) AND user_id = ?";
    while (places.length > 0) {
      const some = JSON.stringify(places.splice(-MAX_PLACES));
      this.#sql.exec(`DELETE FROM deliveries WHERE n IN (${theirs})`, some, userId);
      this.#sql.exec(`DELETE FROM events WHERE n IN (${theirs})`, some, userId);
    }
    this.#index.forget(userId, last);
  }

  // Endpoints and replays

  endpoints(): EndpointRow[] {
    return this.#rows<EndpointRow>("SELECT * FROM endpoints");
  }

  putEndpoint(row: EndpointRow): void {
    this.#put("endpoints", ["webhook_id"], row as unknown as Record<string, SqlStorageValue>);
  }

  deleteEndpoint(webhookId: string): void {
    this.#sql.exec("DELETE FROM endpoints WHERE webhook_id = ?", webhookId);
    this.#sql.exec("DELETE FROM replays WHERE webhook_id = ?", webhookId);
    this.#sql.exec("DELETE FROM deliveries WHERE lane = ?", webhookId);
  }

  replays(): ReplayRow[] {
    return this.#rows<ReplayRow>("SELECT * FROM replays ORDER BY replay_id");
  }

  putReplay(row: ReplayRow): void {
    this.#put("replays", ["replay_id"], row as unknown as Record<string, SqlStorageValue>);
  }

  deleteReplay(replayId: string): void {
    this.#sql.exec("DELETE FROM replays WHERE replay_id = ?", replayId);
  }

  // Deliveries

  delivery(lane: string, n: number): DeliveryRow | undefined {
    const [row] = this.#rows<Omit<DeliveryRow, "log"> & { log: string }>(
      "SELECT * FROM deliveries WHERE lane = ? AND n = ?",
      lane,
      n,
    );
    return row === undefined ? undefined : { ...row, log: JSON.parse(row.log) as LoggedAttempt[] };
  }

  putDelivery(row: DeliveryRow): void {
    const log = JSON.stringify(row.log.slice(-MAX_RECORDED_ATTEMPTS));
    this.#put("deliveries", ["lane", "n"], { ...row, log });
  }

  /** What is due first, at most `limit`. */
  due(lane: string, now: number, limit: number): { n: number }[] {
    return this.#rows<{ n: number }>(
      "SELECT n FROM deliveries WHERE lane = ? AND next_at <= ? ORDER BY next_at LIMIT ?",
      lane,
      now,
      limit,
    );
  }

  /** When the lane's next delivery is due, leaving out those in hand. */
  nextDue(lane: string, inHand: ReadonlyMap<number, unknown>): number | undefined {
    return this.#rows<{ n: number; next_at: number }>(
      "SELECT n, next_at FROM deliveries WHERE lane = ? AND next_at IS NOT NULL ORDER BY next_at LIMIT ?",
      lane,
      inHand.size + 1,
    ).find(({ n }) => !inHand.has(n))?.next_at;
  }

  lanesWithDue(): string[] {
    return this.#rows<{ lane: string }>("SELECT DISTINCT lane FROM deliveries WHERE next_at IS NOT NULL").map(
      ({ lane }) => lane,
    );
  }

  /** Deliveries that will be tried again, by endpoint; those to callback URLs as one. */
  retrying(): Map<string, number> {
    const rows = this.#rows<{ lane: string; count: number }>(
      "SELECT lane, count(*) AS count FROM deliveries WHERE next_at IS NOT NULL GROUP BY lane",
    );
    const byEndpoint = new Map<string, number>();
    for (const { lane, count } of rows) {
      const id = isCallbackLane(lane) ? CALLBACK : lane;
      byEndpoint.set(id, (byEndpoint.get(id) ?? 0) + count);
    }
    return byEndpoint;
  }

  /** Dead letters, newest first; `target` is an endpoint's id or `callback`. */
  dead(target: string | undefined, upTo: number, limit: number): { lane: string; n: number }[] {
    const [from, to] =
      target === CALLBACK ? [`${CALLBACK}.`, `${CALLBACK}/`] : [target ?? "", `${target}\u0000`];
    return this.#rows<{ lane: string; n: number }>(
      `SELECT lane, n FROM deliveries WHERE status = 'dead' AND n <= ?
       ${target === undefined ? "" : "AND lane >= ? AND lane < ?"} ORDER BY n DESC, lane LIMIT ?`,
      ...[upTo, ...(target === undefined ? [] : [from!, to!]), limit],
    );
  }
}

/** The lane of a callback URL: one origin that hangs holds up no other. */
export const callbackLane = (url: string): string =>
  `${CALLBACK}.${toBase58(sha256(utf8(new URL(url).origin))).slice(0, ORIGIN_HASH_CHARACTERS)}`;

export const isCallbackLane = (lane: string): boolean => lane.startsWith(`${CALLBACK}.`);

const callbackPlace = (eventId: string): string => `events/callback/${eventId}`;
