// Whether what one call costs stays the same when there are more people, and when one of them has a long history.

import type { Bundle } from "../stack/bundle.ts";
import { CountedVault } from "./cost.ts";
import { exact, type Figure, inTurn, percentile, SETTLE_MS, sleep } from "./measure.ts";
import { type AskReadAnswer, askReadAnswer, type Setting } from "./throughput.ts";

const SHORT_HISTORY = 10;
const LONG_HISTORY = 10_000;
/** Between two requests of the long history. */
const HISTORY_STEP_MS = 600_000;
const TRIPS = 15;

/** Runs the same at each number of people; what the floor did in the same minute takes the machine's mood out. */
export async function peopleFigures(setting: Setting, sizes: readonly number[]): Promise<Figure[]> {
  const measured: { people: number; result: AskReadAnswer }[] = [];
  for (const people of sizes) {
    const began = performance.now();
    await setting.vault.grow(people);
    const seconds = (performance.now() - began) / 1_000;
    if (seconds > 1) {
      console.error(`connecting took ${seconds.toFixed(0)} s, until there were ${people} people`);
      // Half a minute after it connected each object looks what came of it: that is no part of what is measured.
      await sleep(SETTLE_MS);
    }
    measured.push({ people, result: await askReadAnswer(setting) });
  }
  const [first, ...rest] = measured;
  return rest.flatMap(({ people, result }): Figure[] =>
    (["ask", "read", "answer"] as const).map((what) => ({
      name: `${what}s a second at ${people.toLocaleString("en-US")} people, over those at ${first!.people}`,
      unit: "ratio",
      value: exact(result[what].ratio.median / first!.result[what].ratio.median),
      goal: { atLeast: 0.8 },
      goalOf: "value",
      note: `each over its floor: ${result[what].ratio.median.toFixed(2)} and ${first!.result[what].ratio.median.toFixed(2)}`,
    })),
  );
}

async function trip({ vault }: CountedVault, userId: string): Promise<number> {
  const started = performance.now();
  const asked = await vault.http.expect(201, {
    method: "POST",
    path: "/api/v1/auth/request",
    body: { user_id: userId, purpose: "Log in to the shop" },
    headers: { "idempotency-key": crypto.randomUUID() },
  });
  const path = `/api/v1/requests/${asked.body.request_id}?wait=30`;
  const seen = await vault.http.expect(200, { method: "GET", path });
  if (seen.body.status !== "approved") throw new Error(`the request is ${seen.body.status}`);
  return performance.now() - started;
}

/** Copies a user's rows until there are so many, as if they had been asked every ten minutes until now. */
async function lengthen(counted: CountedVault, userId: string): Promise<void> {
  const sql = (query: string) => counted.sql(userId, query);
  const columns = async (table: string) =>
    (await sql(`SELECT name FROM pragma_table_info('${table}')`)).map(({ name }) => String(name));
  const copy = async (table: string, per: number, values: Record<string, string>) => {
    const names = await columns(table);
    await sql(
      `WITH RECURSIVE copies (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM copies WHERE i < ${LONG_HISTORY / SHORT_HISTORY - 1})
       INSERT INTO ${table} (${names.join(", ")})
       SELECT ${names.map((name) => values[name] ?? `t.${name}`).join(", ")} FROM ${table} AS t, copies
       WHERE t.n > (SELECT max(n) FROM ${table}) - ${per} ORDER BY i, t.n`,
    );
  };
  const n = (per: number) => `t.n + ${per} * i`;
  const at = `${Date.now()} - (${LONG_HISTORY} - (${n(SHORT_HISTORY)})) * ${HISTORY_STEP_MS}`;
  await copy("outgoing", SHORT_HISTORY, { n: n(SHORT_HISTORY), seq: n(SHORT_HISTORY), created_at: at });
  // Each round trip leaves two entries.
  await copy("audit", 2 * SHORT_HISTORY, { n: n(2 * SHORT_HISTORY) });
  // As if the log had all of them: none of these trips is old enough for its head to be noted.
  await sql(
    `INSERT INTO heads (n, head, salt, leaf_index, at)
     SELECT n, json_extract(entry, '$.event_hash'), salt, 0, ${Date.now()} FROM audit ORDER BY n DESC LIMIT 1`,
  );
  await counted.restart(userId);
}

/** One user with a short history and one with a long, in turn. */
export async function historyFigures(built: Bundle, dir: string, runs: number): Promise<Figure[]> {
  const counted = await CountedVault.start(built, dir);
  try {
    const { vault } = counted;
    await vault.grow(2);
    await vault.crowd.manner({ kind: "instant" });
    const [short, long] = vault.people as [string, string];
    for (let at = 0; at < SHORT_HISTORY; at++) for (const user of [short, long]) await trip(counted, user);
    await lengthen(counted, long);
    const measure = async (userId: string) => {
      const before = (await counted.counts()).classes.UserConnection!;
      const times: number[] = [];
      for (let at = 0; at < TRIPS; at++) times.push(await trip(counted, userId));
      const after = (await counted.counts()).classes.UserConnection!;
      return {
        ms: percentile(times, 0.5),
        rowsRead: (after.rowsRead - before.rowsRead) / TRIPS,
        rowsWritten: (after.rowsWritten - before.rowsWritten) / TRIPS,
      };
    };
    const pairs = await inTurn(
      runs,
      () => measure(long),
      () => measure(short),
    );
    const note = `${LONG_HISTORY.toLocaleString("en-US")} requests in one user's history, over ${SHORT_HISTORY}; rows copied, ten minutes apart`;
    return [
      {
        name: "round trip p50 with a long history",
        unit: "ms",
        ...pairs.ms,
        goal: { atMost: 1.2 },
        goalOf: "ratio",
        note,
      },
      { name: "rows read with a long history", unit: "rows", ...pairs.rowsRead, note },
      {
        name: "rows written with a long history",
        unit: "rows",
        ...pairs.rowsWritten,
        goal: { atMost: 1.2 },
        goalOf: "ratio",
        note,
      },
    ];
  } finally {
    await counted.stop();
  }
}
