// How many of each a second, beside the bare floor: asks, reads, answers, whole round trips.

import type { WorkerProcess } from "../stack/worker.ts";
import { each, type HttpClient, rate } from "./http.ts";
import { type Figure, inTurn, type Pair, percentile } from "./measure.ts";
import { cpuMs, IN_FLIGHT, type Vault } from "./vault.ts";

/**
 * Runs that do not count. JavaScript is compiled in earnest after a few thousand calls, and there is far more of it in
 * the vault than in its floor: without them the ratio would be one of cold code.
 */
const WARM_UPS = 5;
/** Each request is read so often in a run: all of them once takes a tenth of a second, which says little. */
const READS_EACH = 5;
/** A user may have five logins open; a run leaves none. */
const MAX_OPEN_LOGINS = 5;
/** An ask's body, as the floor stores it too. */
const askBody = (userId: string) => ({ user_id: userId, purpose: "Log in to the shop" });

export interface Setting {
  vault: Vault;
  floor: WorkerProcess;
  floorHttp: HttpClient;
  runs: number;
  /** Calls in one run. */
  calls: number;
}

/** One person for each call: everyone in turn, or, where there are more people than calls, some from all over. */
const addressees = (people: readonly string[], calls: number): string[] =>
  Array.from({ length: calls }, (_, at) =>
    people.length <= calls ? people[at % people.length]! : people[Math.floor((at * people.length) / calls)]!,
  );

/** Asks everyone in turn; the ids. Bounded by what may be open. */
async function ask(vault: Vault, calls: number): Promise<{ perSecond: number; ids: string[] }> {
  const { people, http } = vault;
  if (calls > people.length * MAX_OPEN_LOGINS) throw new Error(`${calls} asks need more people`);
  const users = addressees(people, calls);
  const ids: string[] = [];
  const perSecond = await rate(users, IN_FLIGHT, async (userId) => {
    const { body } = await http.expect(201, {
      method: "POST",
      path: "/api/v1/auth/request",
      body: askBody(userId),
    });
    ids.push(body.request_id);
  });
  return { perSecond, ids };
}

const repeated = <T>(items: readonly T[]): T[] => Array.from({ length: READS_EACH }, () => items).flat();

const readAll = (vault: Vault, ids: readonly string[]): Promise<number> =>
  rate(repeated(ids), IN_FLIGHT, (id) =>
    vault.http.expect(200, { method: "GET", path: `/api/v1/requests/${id}` }),
  );

export interface AskReadAnswer {
  ask: Pair;
  read: Pair;
  answer: Pair;
  /** workerd's CPU per ask, per read, per answer. */
  cpu: Record<"ask" | "read" | "answer", Pair>;
}

/**
 * The three in one: each run asks, reads what was asked, and then lets everybody answer in one burst, which leaves
 * nothing open for the next.
 */
export async function askReadAnswer({
  vault,
  floor,
  floorHttp,
  runs,
  calls,
}: Setting): Promise<AskReadAnswer> {
  const pidOf = (group: number | undefined) => {
    if (group === undefined) throw new Error("a Worker is not running");
    return group;
  };
  /** Milliseconds of CPU for each of `calls` made `times` times, and the rate. */
  const timed = async (group: number, work: () => Promise<number>, times = 1) => {
    const before = cpuMs(group);
    const perSecond = await work();
    return { perSecond, cpu: (cpuMs(group) - before) / (calls * times) };
  };
  await vault.crowd.manner({ kind: "hold" });
  const users = addressees(vault.people, calls);
  const body = JSON.stringify(askBody(users[0]!));
  let answerBytes = 6_500;

  const subject = async () => {
    const group = pidOf(vault.stack.worker.pid);
    let ids: string[] = [];
    const asked = await timed(group, async () => {
      const result = await ask(vault, calls);
      ids = result.ids;
      return result.perSecond;
    });
    const read = await timed(group, () => readAll(vault, ids), READS_EACH);
    answerBytes = await vault.crowd.prepare(calls);
    const answered = await timed(group, async () => calls / (await vault.crowd.burst()));
    return resultsOf(asked, read, answered);
  };
  const bare = async () => {
    const group = pidOf(floor.pid);
    const rows = new Array<number>(calls);
    const asked = await timed(group, () =>
      rate(users, IN_FLIGHT, async (user, at) => {
        const { n } = (await floorHttp.expect(201, { method: "POST", path: `/ask/${user}`, body })).body;
        rows[at] = n;
      }),
    );
    const paths = users.map((user, at) => `/requests/${user}/${rows[at]}`);
    const read = await timed(
      group,
      () => rate(repeated(paths), IN_FLIGHT, (path) => floorHttp.expect(200, { method: "GET", path })),
      READS_EACH,
    );
    const answered = await timed(
      group,
      async () => calls / (await vault.crowd.floorBurst(users, calls, answerBytes)),
    );
    return resultsOf(asked, read, answered);
  };
  const pairs = await inTurn(runs, subject, bare, WARM_UPS);
  return {
    ask: pairs.ask,
    read: pairs.read,
    answer: pairs.answer,
    cpu: { ask: pairs.askCpu, read: pairs.readCpu, answer: pairs.answerCpu },
  };
}

const resultsOf = (
  asked: { perSecond: number; cpu: number },
  read: { perSecond: number; cpu: number },
  answered: { perSecond: number; cpu: number },
) => ({
  ask: asked.perSecond,
  read: read.perSecond,
  answer: answered.perSecond,
  askCpu: asked.cpu,
  readCpu: read.cpu,
  answerCpu: answered.cpu,
});

export const throughputFigures = ({ ask, read, answer, cpu }: AskReadAnswer): Figure[] => [
  {
    name: "POST auth/request, durably stored",
    unit: "per_second",
    ...ask,
    goal: { atLeast: 0.7 },
    goalOf: "ratio",
    note: "floor: Hono → RPC → one-row transaction",
  },
  {
    name: "GET requests/{id}",
    unit: "per_second",
    ...read,
    goal: { atLeast: 0.8 },
    goalOf: "ratio",
    note: "floor: Hono → RPC → one-row read",
  },
  {
    name: "inbound answers through one bridge shard",
    unit: "per_second",
    ...answer,
    goal: { atLeast: 0.7 },
    goalOf: "ratio",
    note: "floor: raw consume → RPC grouped by user → one row; until the last receipt",
  },
  { name: "CPU per ask", unit: "ms", ...cpu.ask },
  { name: "CPU per read", unit: "ms", ...cpu.read },
  { name: "CPU per inbound answer", unit: "ms", ...cpu.answer },
];

/** One after the other, a POST and the GET that waits for the answer: both percentiles of the whole. */
export async function roundTrip({ vault, floorHttp, runs, calls }: Setting): Promise<Figure[]> {
  await vault.crowd.manner({ kind: "instant" });
  const trips = Math.max(20, Math.min(100, Math.floor(calls / 4)));
  const userAt = (at: number) => vault.people[at % vault.people.length]!;
  let userNumber = 0;
  const timesOf = (times: number[]) => ({ p50: percentile(times, 0.5), p99: percentile(times, 0.99) });

  const subject = async () => {
    const times = await each(Array.from({ length: trips }), 1, async () => {
      const started = performance.now();
      const asked = await vault.http.expect(201, {
        method: "POST",
        path: "/api/v1/auth/request",
        body: askBody(userAt(userNumber++)),
      });
      const path = `/api/v1/requests/${asked.body.request_id}?wait=30`;
      const seen = await vault.http.expect(200, { method: "GET", path });
      if (seen.body.status !== "approved") throw new Error(`the request is ${seen.body.status}`);
      return performance.now() - started;
    });
    return timesOf(times);
  };
  const bare = async () => {
    const times = await each(Array.from({ length: trips }), 1, async () => {
      const user = userAt(userNumber++);
      const started = performance.now();
      const body = askBody(user);
      const { n } = (await floorHttp.expect(201, { method: "POST", path: `/send/${user}`, body })).body;
      const seen = await floorHttp.expect(200, { method: "GET", path: `/wait/${user}/${n}` });
      if (seen.body.answered !== true) throw new Error("the floor saw no answer");
      return performance.now() - started;
    });
    return timesOf(times);
  };
  const pairs = await inTurn(runs, subject, bare, WARM_UPS);
  await vault.crowd.manner({ kind: "hold" });
  const note =
    "a user vault that answers instantly; floor: the same hops bare, the person opening, signing and sealing as there";
  return [
    {
      name: "POST → approved seen by a waiting GET, p50",
      unit: "ms",
      ...pairs.p50,
      goal: { atMost: 1.5 },
      goalOf: "ratio",
      note,
    },
    { name: "POST → approved seen by a waiting GET, p99", unit: "ms", ...pairs.p99, note },
  ];
}
