// Where events are by their ids and users, for a fraction of a row each: a row in an index of the database would cost
// as much as the event itself.
//
// The newest events, fewer than a run of them, are the tail: they are looked up in memory, which is read from the
// events themselves, and only as far back as a question goes. Whatever is older is in a run: 16,384 events as 12 bytes
// each, in a row for each 64th of the users. What is looked up in a run is one such row, so that a question costs a row
// read for each run it goes back: 610 for ten million events. A mark is a hash and only a hint: what it leads to is
// held against the event's own row.
//
// Most questions are about an event that has just happened: is it here already? It cannot have been recorded before it
// happened, and `recorded_at` grows with n, so nothing older has to be looked at. Clocks differ, so an event may come
// with a time ahead of ours: up to a margin that is allowed for; beyond it, it is in an index of the database after all
// (`events_ahead`, which has such events only). So nothing rests on clocks agreeing, only the price.
//
// Crashes. A run is written in one transaction, after its events; one that is missing is written by the next call. The
// memory is never ahead of the database in a way that counts: a hit is held against the row, and after a change that
// could be undone (`forget`) it is read anew.

/** An event's time may be ahead of ours by this much. Also in the SQL of `events_ahead`, which must say the same. */
export const CLOCK_AHEAD_MS = 60_000;
const IS_AHEAD = "at > recorded_at + 60000";
/** Words of 32 bits for an event in a run: its place there, a hash of its user, a hash of its id. */
const WORDS = 3;
/** Events of the tail read at a time. */
const READ_ROWS = 256;

export interface RunShape {
  /** Events in a run. */
  events: number;
  /** Rows of a run: a power of two. Each has the events of so many users. */
  parts: number;
}
const RUN: RunShape = { events: 16_384, parts: 64 };
/** In place of a part: the row that says that a run was written, whatever became of its events. */
const WRITTEN = -1;

interface Place extends Record<string, SqlStorageValue> {
  n: number;
  user_id: string;
  event_id: string;
  recorded_at: number;
}

interface RunRow extends Record<string, SqlStorageValue> {
  run: number;
  from_at: number;
  marks: ArrayBuffer;
}

/** FNV-1a with its bits mixed: 32 bits, spread evenly. No secret rests on it. */
function markOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

export class EventIndex {
  readonly #sql: SqlStorage;
  readonly #run: RunShape;
  /** Events up to here are in runs. */
  #tailAfter: number;
  /** Users' events by id, of the tail's newest; for each the place. */
  #tail = new Map<string, Map<string, number>>();
  /** Events behind this n are in `#tail`. */
  #loadedAfter: number;
  /** When the first of them was recorded. */
  #loadedFrom = Number.POSITIVE_INFINITY;
  /** Whether the index of earlier versions is there still: used until the runs have caught up with it. */
  #isOld: boolean;

  constructor(sql: SqlStorage, run = RUN) {
    this.#sql = sql;
    this.#run = run;
    const { last, first, runs, isOld } = sql
      .exec<{ last: number; first: number; runs: number; isOld: number }>(
        `SELECT coalesce((SELECT max(n) FROM events), 0) AS last, coalesce((SELECT min(n) FROM events), 1) AS first,
           coalesce((SELECT max(run) + 1 FROM runs WHERE part = ?), 0) AS runs,
           EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'events_by_id') AS isOld`,
        WRITTEN,
      )
      .one();
    this.#tailAfter = Math.max(runs, Math.floor((first - 1) / run.events)) * run.events;
    this.#loadedAfter = last;
    this.#isOld = isOld === 1;
    this.#dropOld(last);
  }

  /** Where an event is; undefined when it is not here. `at` is its time, or 0 where a repetition may have another. */
  find(userId: string, eventId: string, at: number): number | undefined {
    if (this.#isOld)
      return this.#first("SELECT n FROM events WHERE user_id = ? AND event_id = ?", userId, eventId);
    const ahead = this.#first(
      `SELECT n FROM events WHERE user_id = ? AND event_id = ? AND ${IS_AHEAD}`,
      userId,
      eventId,
    );
    if (ahead !== undefined) return ahead;
    const since = at - CLOCK_AHEAD_MS;
    while (this.#loadedFrom >= since && this.#load().length > 0);
    const n = this.#tail.get(userId)?.get(eventId);
    if (n !== undefined && this.#isAt(n, userId, eventId)) return n;
    return this.#loadedFrom < since ? undefined : this.#findInRuns(userId, eventId, since);
  }

  /** To be called for each event that was inserted. */
  add(userId: string, eventId: string, n: number, recordedAt: number): void {
    if (this.#isOld) return;
    this.#note(userId, eventId, n);
    this.#loadedFrom = Math.min(this.#loadedFrom, recordedAt);
  }

  /** The event of an id whose user is not known. Looks at the newest first, and at everything if it must. */
  async findAnywhere(eventId: string): Promise<number | undefined> {
    if (this.#isOld) return this.#first("SELECT n FROM events WHERE event_id = ?", eventId);
    for (const [userId, events] of this.#tail) {
      const n = events.get(eventId);
      if (n !== undefined && this.#isAt(n, userId, eventId)) return n;
    }
    for (let rows = this.#load(); rows.length > 0; rows = this.#load()) {
      const found = rows.find((row) => row.event_id === eventId);
      if (found !== undefined) return found.n;
    }
    const mark = markOf(eventId);
    for (let part = 0; part < this.#run.parts; part++) {
      for (const { run, marks } of this.#runs(part, "run >= 0 ORDER BY run DESC"))
        for (const [n, , event] of this.#marks(run, marks)) {
          if (event !== mark) continue;
          const known = this.#first("SELECT n FROM events WHERE n = ? AND event_id = ?", n, eventId);
          if (known !== undefined) return known;
        }
      // Ten million events are some 2 MB a part: others get their turn in between.
      await turn();
    }
    return undefined;
  }

  /** Where a user's events may be, behind `after`, in their order. What is there may have been deleted meanwhile. */
  *ofUser(userId: string, after: number): Generator<number> {
    if (this.#isOld) {
      yield* this.#sql
        .exec<{ n: number }>("SELECT n FROM events WHERE user_id = ? AND n > ? ORDER BY n", userId, after)
        .toArray()
        .map(({ n }) => n);
      return;
    }
    const mark = markOf(userId);
    for (const { run, marks } of this.#runs(
      this.#partOf(mark),
      "run >= ? ORDER BY run",
      Math.floor(after / this.#run.events),
    ))
      for (const [n, user] of this.#marks(run, marks)) if (user === mark && n > after) yield n;
    while (this.#load().length > 0);
    const places = [...(this.#tail.get(userId)?.values() ?? [])].filter((n) => n > after);
    yield* new Set(places.toSorted((a, b) => a - b));
  }

  /** Writes a run, if its events are there; to be called after events were stored. */
  extend(storage: DurableObjectStorage, last: number): void {
    const { events, parts } = this.#run;
    if (last - this.#tailAfter < events) return;
    const first = this.#tailAfter;
    const byPart = Array.from({ length: parts }, (): number[] => []);
    let fromAt: number | undefined;
    for (const row of this.#sql.exec<Place>(
      "SELECT n, user_id, event_id, recorded_at FROM events WHERE n > ? AND n <= ? ORDER BY n",
      first,
      first + events,
    )) {
      fromAt ??= row.recorded_at;
      const user = markOf(row.user_id);
      byPart[this.#partOf(user)]!.push(row.n - first, user, markOf(row.event_id));
    }
    const insert = (part: number, words: number[]): void => {
      this.#sql.exec(
        "INSERT INTO runs (part, run, from_at, marks) VALUES (?, ?, ?, ?)",
        part,
        first / events,
        fromAt ?? 0,
        Uint32Array.from(words).buffer,
      );
    };
    storage.transactionSync(() => {
      for (const [part, words] of byPart.entries()) if (words.length > 0) insert(part, words);
      insert(WRITTEN, []);
    });
    this.#tailAfter = first + events;
    this.reload(last);
    this.#dropOld(last);
  }

  /** Drops what only deleted events were found by. Called in their transaction. */
  prune(upTo: number): void {
    const run = Math.floor(upTo / this.#run.events);
    for (let part = WRITTEN; part < this.#run.parts; part++)
      this.#sql.exec("DELETE FROM runs WHERE part = ? AND run < ?", part, run);
  }

  /** Drops what is left of a user's events that are deleted. Called in their transaction; `last` is the newest event. */
  forget(userId: string, last: number): void {
    const mark = markOf(userId);
    const part = this.#partOf(mark);
    for (const { run, marks } of this.#runs(part, "run >= 0 ORDER BY run").toArray()) {
      const kept = [...this.#marks(run, marks)].filter(
        ([n, user]) => user !== mark || this.#first("SELECT n FROM events WHERE n = ?", n) !== undefined,
      );
      if (kept.length * WORDS * 4 === marks.byteLength) continue;
      const words = kept.flatMap(([n, user, event]) => [n - run * this.#run.events, user, event]);
      this.#sql.exec(
        "UPDATE runs SET marks = ? WHERE part = ? AND run = ?",
        Uint32Array.from(words).buffer,
        part,
        run,
      );
    }
    this.reload(last);
  }

  /** Forgets what is in memory: it is read again when it is asked for. */
  reload(last: number): void {
    this.#tail = new Map();
    this.#loadedAfter = last;
    this.#loadedFrom = Number.POSITIVE_INFINITY;
  }

  /** Once no whole run is missing any more. */
  #dropOld(last: number): void {
    if (!this.#isOld || last - this.#tailAfter >= this.#run.events) return;
    this.#sql.exec("DROP INDEX events_by_id");
    this.#isOld = false;
  }

  #findInRuns(userId: string, eventId: string, since: number): number | undefined {
    const user = markOf(userId);
    const event = markOf(eventId);
    for (const { run, from_at, marks } of this.#runs(this.#partOf(user), "run >= 0 ORDER BY run DESC")) {
      const words = new Uint32Array(marks);
      for (let at = 0; at < words.length; at += WORDS) {
        if (words[at + 1] !== user || words[at + 2] !== event) continue;
        const n = run * this.#run.events + words[at]!;
        if (this.#isAt(n, userId, eventId)) return n;
      }
      // All that is in runs before was recorded before this one's first.
      if (from_at < since) return undefined;
    }
    return undefined;
  }

  #runs(part: number, condition: string, ...bindings: number[]): SqlStorageCursor<RunRow> {
    return this.#sql.exec<RunRow>(
      `SELECT run, from_at, marks FROM runs WHERE part = ? AND ${condition}`,
      part,
      ...bindings,
    );
  }

  *#marks(run: number, marks: ArrayBuffer): Generator<[n: number, user: number, event: number]> {
    const words = new Uint32Array(marks);
    for (let at = 0; at < words.length; at += WORDS)
      yield [run * this.#run.events + words[at]!, words[at + 1]!, words[at + 2]!];
  }

  #partOf(userMark: number): number {
    return userMark & (this.#run.parts - 1);
  }

  /** Reads on into the tail, from its newest backwards. Empty when all of it is there. */
  #load(): Place[] {
    if (this.#loadedAfter <= this.#tailAfter) return [];
    const rows = this.#sql
      .exec<Place>(
        `SELECT n, user_id, event_id, recorded_at FROM events WHERE n > ? AND n <= ? ORDER BY n DESC LIMIT ?`,
        this.#tailAfter,
        this.#loadedAfter,
        READ_ROWS,
      )
      .toArray();
    for (const { n, user_id, event_id } of rows) this.#note(user_id, event_id, n);
    const oldest = rows.at(-1);
    this.#loadedAfter = rows.length < READ_ROWS ? this.#tailAfter : oldest!.n - 1;
    this.#loadedFrom = Math.min(this.#loadedFrom, oldest?.recorded_at ?? Number.POSITIVE_INFINITY);
    return rows;
  }

  #note(userId: string, eventId: string, n: number): void {
    const events = this.#tail.get(userId);
    if (events === undefined) this.#tail.set(userId, new Map([[eventId, n]]));
    else events.set(eventId, n);
  }

  #isAt(n: number, userId: string, eventId: string): boolean {
    return (
      this.#first("SELECT n FROM events WHERE n = ? AND user_id = ? AND event_id = ?", n, userId, eventId) !==
      undefined
    );
  }

  #first(query: string, ...bindings: SqlStorageValue[]): number | undefined {
    return this.#sql.exec<{ n: number }>(query, ...bindings).toArray()[0]?.n;
  }
}
