// What a round trip, a contract and an idle day cost: rows, requests and time of every object, counted while real
// trips run, and CPU as workerd used it. From these the bill.

import { cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { type Bundle, bundleWorkerOptions } from "../stack/bundle.ts";
import type { Counts } from "./counted-worker.ts";
import { bundleBenchWorker } from "./floor-handle.ts";
import { each } from "./http.ts";
import { exact, type Figure, SETTLE_MS, sleep, until } from "./measure.ts";
import { billOf, totalOf, type Usage } from "./prices.ts";
import { cpuMs, startVault, type Vault } from "./vault.ts";

/** Trips of one case, each by another user, spread over the time one person takes. */
const TRIPS = 40;
/** How long a person takes. */
const PERSON_MS = 10_000;
const TRIP_TIMEOUT_MS = 60_000;
const MILLION = 1_000_000;

/** A bundle whose objects count (counted-worker.ts), around the built one. */
export async function countedBundle(built: Bundle, dir: string): Promise<Bundle> {
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  cpSync(built.dir, dir, { recursive: true });
  cpSync(join(built.dir, "index.js"), join(dir, "built-vault.js"));
  const bundle = await bundleBenchWorker("counted-worker.ts", dir, {});
  writeFileSync(join(dir, "miniflare.json"), JSON.stringify(bundleWorkerOptions(built)));
  return bundle;
}

export class CountedVault {
  readonly vault: Vault;
  /** CPU milliseconds that it uses in one millisecond when nobody calls: the bridge's sessions and alarms. */
  idleCpu = 0;

  private constructor(vault: Vault) {
    this.vault = vault;
  }

  static async start(built: Bundle, dir: string, vars: Record<string, string> = {}): Promise<CountedVault> {
    const bundle = await countedBundle(built, join(`${dir}-bundle`));
    return new CountedVault(await startVault({ dir, bundle, vars }));
  }

  async counts(): Promise<Counts> {
    return (await this.vault.http.expect(200, { method: "GET", path: "/__bench/counts" })).body;
  }

  /** Runs SQL in a user's object; not counted. */
  async sql(userId: string, query: string): Promise<Record<string, unknown>[]> {
    const body = { userId, query };
    return (await this.vault.http.expect(200, { method: "POST", path: "/__bench/sql", body })).body.answer;
  }

  /** Has a user's object read anew what was changed behind its back. */
  async restart(userId: string): Promise<void> {
    await this.vault.http.expect(200, { method: "POST", path: "/__bench/restart", body: { userId } });
  }

  /** When a user's object wakes next, in milliseconds since the epoch; null: never. */
  async alarm(userId: string): Promise<number | null> {
    const body = { userId };
    return (await this.vault.http.expect(200, { method: "POST", path: "/__bench/alarm", body })).body.answer;
  }

  stop(): Promise<void> {
    return this.vault.stop();
  }
}

/** What was used between two counts, for each of `per`. The bridge's own heartbeat is not a trip's: it is left out. */
export function usageBetween(before: Counts, after: Counts, cpu: number, per: number) {
  const classes = Object.fromEntries(
    Object.entries(after.classes).map(([name, now]) => {
      const then = before.classes[name];
      const since = (field: keyof typeof now) => (now[field] - (then?.[field] ?? 0)) / per;
      return [
        name,
        {
          rowsRead: since("rowsRead"),
          // An alarm set is a row written. The bridge sets one every ten seconds, come what may.
          rowsWritten: since("rowsWritten") + (name === "NatsBridge" ? 0 : since("alarmsSet")),
          requests: since("calls") + (name === "NatsBridge" ? 0 : since("alarms")),
          // The bridge is always on, and paid by the month.
          seconds: name === "NatsBridge" ? 0 : since("activeMs") / 1_000,
        },
      ];
    }),
  );
  const sum = (field: "rowsRead" | "rowsWritten" | "requests" | "seconds") =>
    Object.values(classes).reduce((total, of) => total + of[field], 0);
  const usage: Usage = {
    workerRequests: (after.workerRequests - before.workerRequests) / per,
    cpuMs: cpu,
    objectRequests: sum("requests"),
    objectSeconds: sum("seconds"),
    rowsRead: sum("rowsRead"),
    rowsWritten: sum("rowsWritten"),
    r2Writes: (after.r2Writes - before.r2Writes) / per,
    r2Reads: (after.r2Reads - before.r2Reads) / per,
  };
  return { classes, usage };
}

export type Cost = ReturnType<typeof usageBetween>;

/** A backend's webhook endpoint: takes everything, and tells of each request that ended. */
async function startReceiver() {
  const ended = new Map<string, () => void>();
  const server = createServer((request, response) => {
    let text = "";
    request.on("data", (chunk) => {
      text += chunk;
    });
    request.on("end", () => {
      response.writeHead(204).end();
      const { type, data } = JSON.parse(text) as { type: string; data: { request_id?: string } };
      if (type === "auth.response") ended.get(data.request_id ?? "")?.();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`,
    told: (requestId: string) => new Promise<void>((resolve) => ended.set(requestId, resolve)),
    stop: () => new Promise<void>((resolve) => server.close(() => resolve())),
  };
}

export interface CaseCost extends Cost {
  name: string;
  dollarsPerMillion: number;
}

/** How the backend comes to know: it holds the line, or is told and then reads once. */
type Telling = "poll" | "webhook";

async function oneCase(
  counted: CountedVault,
  name: string,
  options: { personMs: number; telling: Telling; told?: (requestId: string) => Promise<void> },
): Promise<CaseCost> {
  const { vault } = counted;
  const { http, crowd } = vault;
  await crowd.manner(options.personMs === 0 ? { kind: "instant" } : { kind: "slow", ms: options.personMs });
  const before = await counted.counts();
  const cpuBefore = cpuMs(vault.stack.worker.pid!);
  const startedAt = Date.now();
  // Spread out: trips that share a second would share a batch of the log and hide what one costs.
  await each(vault.people.slice(0, TRIPS), TRIPS, async (userId, at) => {
    await sleep((at * PERSON_MS) / TRIPS);
    const asked = await http.expect(201, {
      method: "POST",
      path: "/api/v1/auth/request",
      body: { user_id: userId, purpose: "Log in to the shop" },
      headers: { "idempotency-key": `${name}-${at}` },
    });
    const id: string = asked.body.request_id;
    if (options.telling === "webhook") await options.told!(id);
    let { body } = await http.expect(200, {
      method: "GET",
      path: `/api/v1/requests/${id}${options.telling === "poll" ? "?wait=30" : ""}`,
    });
    const deadline = Date.now() + TRIP_TIMEOUT_MS;
    while (body.status === "pending" && Date.now() < deadline)
      body = (await http.expect(200, { method: "GET", path: `/api/v1/requests/${id}?wait=30` })).body;
    if (body.status !== "approved") throw new Error(`${name}: the request is ${body.status}`);
  });
  await sleep(SETTLE_MS);
  const elapsedMs = Date.now() - startedAt;
  const after = await counted.counts();
  const cpu = (cpuMs(vault.stack.worker.pid!) - cpuBefore - counted.idleCpu * elapsedMs) / TRIPS;
  const cost = usageBetween(before, after, Math.max(0, cpu), TRIPS);
  return { name, ...cost, dollarsPerMillion: totalOf(billOf(cost.usage)) * MILLION };
}

const IDLE_SAMPLE_MS = 5_000;

export interface Costs {
  cases: CaseCost[];
  contract: Cost;
  /** Wake-ups of an idle connection's object in a day. */
  wakesPerDay: number;
}

export async function measureCosts(built: Bundle, dir: string): Promise<Costs> {
  const counted = await CountedVault.start(built, dir);
  const receiver = await startReceiver();
  try {
    const { vault } = counted;
    await vault.grow(2);
    const beforeContracts = await counted.counts();
    const cpuBefore = cpuMs(vault.stack.worker.pid!);
    await vault.grow(TRIPS + 2);
    await until("contracts are listed", TRIP_TIMEOUT_MS, async () => {
      const path = "/api/v1/contracts?limit=1";
      return (await vault.http.expect(200, { method: "GET", path })).body.total_count === TRIPS + 2;
    });
    const contractCpu = (cpuMs(vault.stack.worker.pid!) - cpuBefore) / TRIPS;
    await sleep(SETTLE_MS);
    const contract = usageBetween(beforeContracts, await counted.counts(), contractCpu, TRIPS);
    const idleFrom = cpuMs(vault.stack.worker.pid!);
    await sleep(IDLE_SAMPLE_MS);
    counted.idleCpu = (cpuMs(vault.stack.worker.pid!) - idleFrom) / IDLE_SAMPLE_MS;
    const alarm = await counted.alarm(vault.people[0]!);
    const wakesPerDay = alarm === null ? 0 : DAY_MS / Math.max(1, alarm - Date.now());

    // Without an endpoint first: a case by long poll has no webhook to pay for.
    const instant = await oneCase(counted, "instant answer, long poll", { personMs: 0, telling: "poll" });
    const polled = await oneCase(counted, "a person takes 10 s, long poll", {
      personMs: PERSON_MS,
      telling: "poll",
    });
    await vault.http.expect(201, { method: "POST", path: "/api/v1/webhooks", body: { url: receiver.url } });
    const hooked = await oneCase(counted, "a person takes 10 s, told by webhook", {
      personMs: PERSON_MS,
      telling: "webhook",
      told: receiver.told,
    });
    return { cases: [instant, hooked, polled], contract, wakesPerDay };
  } finally {
    await counted.stop();
    await receiver.stop();
  }
}

const DAY_MS = 24 * 3_600_000;

export function costFigures({ cases, contract, wakesPerDay }: Costs): Figure[] {
  const hooked = cases[1]!;
  return [
    ...cases.flatMap((of): Figure[] => [
      {
        name: `rows written in the user's object: ${of.name}`,
        unit: "rows",
        value: exact(of.classes.UserConnection!.rowsWritten),
        goal: { atMost: 8 },
        goalOf: "value",
        note: "setAlarm counted",
      },
      {
        name: `rows written everywhere: ${of.name}`,
        unit: "rows",
        value: exact(of.usage.rowsWritten),
        ...(of === hooked ? { goal: { atMost: 12 }, goalOf: "value" as const } : {}),
        note: Object.entries(of.classes)
          .filter(([, { rowsWritten }]) => rowsWritten > 0.005)
          .map(([name, { rowsWritten }]) => `${name} ${rowsWritten.toFixed(2)}`)
          .join(", "),
      },
      { name: `rows read everywhere: ${of.name}`, unit: "rows", value: exact(of.usage.rowsRead) },
      {
        name: `object requests: ${of.name}`,
        unit: "count",
        value: exact(of.usage.objectRequests),
        note: Object.entries(of.classes)
          .filter(([, { requests }]) => requests > 0.005)
          .map(([name, { requests }]) => `${name} ${requests.toFixed(2)}`)
          .join(", "),
      },
      { name: `object time: ${of.name}`, unit: "seconds", value: exact(of.usage.objectSeconds) },
      {
        name: `CPU: ${of.name}`,
        unit: "ms",
        value: exact(of.usage.cpuMs),
        note: "user and system time of workerd",
      },
      {
        name: `bill per million round trips: ${of.name}`,
        unit: "usd",
        value: exact(of.dollarsPerMillion),
        ...(of === hooked ? { goal: { atMost: 12 }, goalOf: "value" as const } : {}),
        note: Object.entries(billOf(of.usage))
          .map(([what, dollars]) => `${what} ${(dollars * MILLION).toFixed(2)}`)
          .join(", "),
      },
    ]),
    { name: "rows written per contract", unit: "rows", value: exact(contract.usage.rowsWritten) },
    { name: "object requests per contract", unit: "count", value: exact(contract.usage.objectRequests) },
    { name: "CPU per contract", unit: "ms", value: exact(contract.usage.cpuMs) },
    {
      name: "bill per million contracts",
      unit: "usd",
      value: exact(totalOf(billOf(contract.usage)) * MILLION),
    },
    {
      name: "wake-ups per idle day of a connection",
      unit: "count",
      value: exact(wakesPerDay),
      note: "an object that sleeps costs its storage alone",
    },
  ];
}
