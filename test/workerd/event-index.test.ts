// What events of the Journal are found by, against a plain list of them: in runs far smaller than real ones, so that a
// few hundred events fill many. Through restarts, transactions that fail, clocks that differ, and what is deleted.

import { reset, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it } from "vitest";
import { CLOCK_AHEAD_MS } from "../../durable-objects/journal/event-index.ts";
import { Store } from "../../durable-objects/journal/store.ts";
import { configOf } from "../../src/config.ts";

afterEach(() => reset());

const SHAPE = { events: 8, parts: 2 };
const USERS = ["", "ada", "ben", "cid", "dea"];
const HOUR_MS = 3_600_000;

interface Event {
  n: number;
  user: string;
  id: string;
  at: number;
  recordedAt: number;
}

/** mulberry32. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A journal's database with a store on it that nobody else uses. */
async function withStorage(test: (storage: DurableObjectStorage, open: () => Store) => Promise<void>) {
  const wrapper = (await configOf(env)).wrapperFor("journal");
  await runInDurableObject(env.JOURNAL.getByName("index"), (_, { storage }) =>
    test(storage, () => new Store(storage.sql, wrapper, SHAPE)),
  );
}

const insert = (store: Store, { n, user, id, at, recordedAt }: Event): void =>
  store.insertEvent(
    { n, user_id: user, event_id: id, type: "contract.created", at, recorded_at: recordedAt, body: id },
    undefined,
  );

const idsOf = (events: readonly { id: string }[]): string[] => events.map(({ id }) => id);
const feedOf = (store: Store, userId: string, after = 0, limit = 1_000): string[] =>
  store.feed({ after, userId, limit, maxScan: 10 }).rows.map(({ body }) => body);
const runsIn = ({ sql }: DurableObjectStorage): number =>
  sql.exec<{ runs: number }>("SELECT count(*) AS runs FROM runs WHERE part = -1").one().runs;
const hasOldIndex = ({ sql }: DurableObjectStorage): boolean =>
  sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'events_by_id'").toArray().length > 0;

describe("the index of events", () => {
  for (const seed of [1, 2, 3, 4])
    it(`knows what a plain list of them knows, whatever happens (${seed})`, () =>
      withStorage(async (storage, open) => {
        const random = randomOf(seed);
        const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
        let store = open();
        let now = 1_800_000_000_000;
        let lastAt = 0;
        let lastN = 0;
        let kept: Event[] = [];
        const gone: Event[] = [];
        const newEvent = (): Event => {
          // On time, late by up to hours, or ahead, by less than the margin or by far more.
          const off = pick([0, 0, 0, -50, -CLOCK_AHEAD_MS, -3 * HOUR_MS, 30, CLOCK_AHEAD_MS, 5 * HOUR_MS]);
          lastAt = Math.max(lastAt, now);
          lastN += 1;
          return {
            n: lastN,
            user: pick(USERS),
            id: `event-${lastN}-${Math.floor(random() * 1e9)}`,
            at: now + off,
            recordedAt: lastAt,
          };
        };
        const known = ({ user, id, at }: Event): boolean => store.has(user, id, at);

        for (let step = 0; step < 400; step++) {
          now += pick([0, 1, 500, CLOCK_AHEAD_MS / 4, HOUR_MS]) * (random() < 0.05 ? -1 : 1);
          switch (
            pick(["append", "append", "append", "repeat", "undone", "restart", "prune", "forget", "read"])
          ) {
            case "append": {
              const events = Array.from({ length: 1 + Math.floor(random() * 6) }, newEvent);
              storage.transactionSync(() => {
                for (const event of events) {
                  expect(known(event)).toBe(false);
                  insert(store, event);
                  expect(known(event)).toBe(true);
                }
              });
              kept.push(...events);
              // Left out as by a crash: the next one has it to do.
              if (random() < 0.8) store.extendIndex(storage);
              break;
            }
            case "repeat":
              for (let times = 0; times < 5 && kept.length > 0; times++) expect(known(pick(kept))).toBe(true);
              for (let times = 0; times < 3 && gone.length > 0; times++)
                expect(known(pick(gone))).toBe(false);
              break;
            case "undone": {
              const event = newEvent();
              expect(() =>
                storage.transactionSync(() => {
                  insert(store, event);
                  throw new Error("undone");
                }),
              ).toThrow("undone");
              lastN -= 1;
              expect(known(event)).toBe(false);
              gone.push(event);
              break;
            }
            case "restart":
              store = open();
              break;
            case "prune": {
              if (random() < 0.8 || kept.length < 2) break;
              const before = pick(kept).recordedAt;
              while (store.prune(before, 5));
              const isOver = ({ n, recordedAt }: Event) => recordedAt < before && n < lastN;
              gone.push(...kept.filter(isOver));
              kept = kept.filter((event) => !isOver(event));
              break;
            }
            case "forget": {
              const who = pick(USERS.slice(1));
              if (random() < 0.7) break;
              storage.transactionSync(() => store.forget(who));
              const isTheirs = ({ user, n }: Event) => user === who && n < kept.at(-1)!.n;
              gone.push(...kept.filter(isTheirs));
              kept = kept.filter((event) => !isTheirs(event));
              break;
            }
            case "read": {
              const who = pick(USERS.slice(1));
              const after = Math.floor(random() * lastN);
              const theirs = kept.filter(({ user, n }) => user === who && n > after);
              expect(feedOf(store, who, after)).toEqual(idsOf(theirs));
              expect(feedOf(store, who, after, 3)).toEqual(idsOf(theirs).slice(0, 3));
              if (kept.length > 0) {
                const { n, id } = pick(kept);
                expect(await store.eventById(id)).toMatchObject({ n, event_id: id });
              }
              if (gone.length > 0) expect(await store.eventById(pick(gone).id)).toBeUndefined();
            }
          }
        }
        expect(kept.filter((event) => !known(event))).toEqual([]);
        expect(gone.filter(known)).toEqual([]);
        expect(runsIn(storage)).toBeGreaterThan(2);
        expect(hasOldIndex(storage)).toBe(false);
      }));

  const fill = (store: Store, storage: DurableObjectStorage, count: number): Event[] => {
    const events = Array.from({ length: count }, (_, at): Event => {
      const time = 1_800_000_000_000 + at * 1_000;
      return { n: at + 1, user: USERS[at % USERS.length]!, id: `event-${at}`, at: time, recordedAt: time };
    });
    for (const event of events) {
      insert(store, event);
      store.extendIndex(storage);
    }
    return events;
  };

  it("of a version before goes on being used until runs stand in for it", () =>
    withStorage(async (storage, open) => {
      const events = fill(open(), storage, 41);
      storage.sql.exec("DELETE FROM runs");
      storage.sql.exec("CREATE UNIQUE INDEX events_by_id ON events (user_id, event_id)");
      let store = open();
      for (let calls = 0; hasOldIndex(storage); calls++) {
        expect(calls).toBeLessThan(10);
        for (const { user, id, at } of events) expect(store.has(user, id, at)).toBe(true);
        expect(feedOf(store, "ada", 20)).toEqual(
          idsOf(events.filter(({ user, n }) => user === "ada" && n > 20)),
        );
        expect(await store.eventById("event-3")).toMatchObject({ n: 4 });
        if (calls % 2 === 0) store = open();
        store.extendIndex(storage);
      }
      expect(runsIn(storage)).toBe(5);
      for (const { user, id, at } of events) expect(store.has(user, id, at)).toBe(true);
      expect(feedOf(store, "ada")).toEqual(idsOf(events.filter(({ user }) => user === "ada")));
    }));

  it("is not there for a short journal of a version before, from its start on", () =>
    withStorage(async (storage, open) => {
      const events = fill(open(), storage, 5);
      storage.sql.exec("CREATE UNIQUE INDEX events_by_id ON events (user_id, event_id)");
      const store = open();
      expect(hasOldIndex(storage)).toBe(false);
      for (const { user, id, at } of events) expect(store.has(user, id, at)).toBe(true);
    }));

  it("keeps nothing of a user who was forgotten", () =>
    withStorage(async (storage, open) => {
      const store = open();
      fill(store, storage, 40);
      const marks = () =>
        storage.sql.exec<{ bytes: number }>("SELECT coalesce(sum(length(marks)), 0) AS bytes FROM runs").one()
          .bytes;
      const before = marks();
      storage.transactionSync(() => store.forget("ada"));
      // A fifth of the events, twelve bytes each.
      expect(before - marks()).toBe(8 * 12);
    }));

  it("is a question of few rows for what has just happened, however many there are", () =>
    withStorage(async (storage, open) => {
      const events = fill(open(), storage, 400);
      const store = open();
      const { at } = events.at(-1)!;
      const { sql } = storage;
      const cursors: SqlStorageCursor<Record<string, SqlStorageValue>>[] = [];
      const exec = sql.exec.bind(sql);
      Object.defineProperty(sql, "exec", {
        configurable: true,
        value: (query: string, ...bindings: SqlStorageValue[]) => {
          const cursor = exec(query, ...bindings);
          cursors.push(cursor);
          return cursor;
        },
      });
      expect(store.has("ada", "new", at)).toBe(false);
      Reflect.deleteProperty(sql, "exec");
      // The tail, and of the runs those of the last minute and one more.
      const read = cursors.reduce((sum, { rowsRead }) => sum + rowsRead, 0);
      expect(read).toBeGreaterThan(0);
      expect(read).toBeLessThanOrEqual(SHAPE.events + CLOCK_AHEAD_MS / 1_000 / SHAPE.events + 2);
    }));
});
