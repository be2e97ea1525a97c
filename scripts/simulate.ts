// The plan for many people, put to the test: takes what `npm run bench` measured, and says how busy each shared part is,
// how long a round trip takes, how many shards it needs, what it costs a month, and what is full first.
//
//   node scripts/simulate.ts [--rate 10000] [--people 10000000] [--seed 1] [--json]

import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import type { Figure } from "./bench/measure.ts";
import { ALWAYS_ON_OBJECT_PER_MONTH, PRICES, PRICES_AS_OF } from "./bench/prices.ts";
import { FIGURES_FILE, type Report } from "./bench/report.ts";
import { JOURNAL_CPU, LEAF_CPU } from "./bench/shared.ts";
import { bridgeWorkOf, type Costs, serversFor, simulate } from "./simulation/model.ts";

/** How busy a shard may be on average, so that a burst or a neighbour's outage does not fill it. */
const MOST_BUSY = 0.6;
/** Cloudflare's soft limit for one object is 1,000 calls a second, however little each asks of it. */
const CALL_SECONDS = 0.001;
/** Of a journal shard, by a user's object: the event, and the chain's head. */
const JOURNAL_CALLS_PER_TRIP = 2;
/** The batch's conditional writes to R2: an assumption, R2 is not here to be measured. */
const LOG_BATCH_SECONDS = 0.2;
const SECONDS_PER_MONTH = 30 * 86_400;
/** What src/config.ts allows today; the audit log is one. */
const MOST_SHARDS = 16;
const SIMULATED_SECONDS = 10;
/** Bytes one connection stores: 139 kB were measured after eight logins; the rest is for some fifty more. */
const BYTES_PER_PERSON = 250_000;
/** What a contract takes in the Directory, measured, and what an object holds. */
const DIRECTORY_BYTES_PER_CONTRACT = 6_400;
const OBJECT_BYTES = 10e9;
/** The bill's case: told by webhook. */
const BILL = "bill per million round trips: a person takes 10 s, told by webhook";

function figuresOf(report: Report): (name: string) => Figure {
  const all = Object.values(report.benches).flat();
  return (name) => {
    const figure = all.find((known) => known.name === name);
    if (figure === undefined) throw new Error(`${FIGURES_FILE} lacks "${name}": run npm run bench -- --docs`);
    return figure;
  };
}

/** Measured CPU as time of work: an object runs on one thread, and waits for its disk beside that. */
export function costsFrom(report: Report): Costs {
  const figure = figuresOf(report);
  const seconds = (name: string) => figure(name).value.median / 1_000;
  // Consuming and handing on is what the floor does, row and all: no less than a bridge shard's own work.
  const bridgeSeconds = (figure("CPU per inbound answer").floor?.median ?? Number.NaN) / 1_000;
  return {
    askSeconds: seconds("CPU per ask"),
    answerSeconds: seconds("CPU per inbound answer"),
    publishSeconds: Math.max(CALL_SECONDS, bridgeSeconds),
    bridgeSeconds,
    journalSeconds: JOURNAL_CALLS_PER_TRIP * Math.max(CALL_SECONDS, seconds(JOURNAL_CPU)),
    leafSeconds: seconds(LEAF_CPU),
    logBatchSeconds: LOG_BATCH_SECONDS,
  };
}

function main(): void {
  const { values } = parseArgs({
    options: {
      rate: { type: "string", default: "10000" },
      people: { type: "string", default: "10000000" },
      seed: { type: "string", default: "1" },
      json: { type: "boolean", default: false },
    },
  });
  const rate = Number(values.rate);
  const people = Number(values.people);
  const seed = Number(values.seed);
  if (!(rate > 0) || !(people > 0) || !Number.isSafeInteger(seed)) {
    console.error("--rate and --people must be numbers above 0, --seed a whole number");
    process.exit(2);
  }
  const report = JSON.parse(readFileSync(FIGURES_FILE, "utf8")) as Report;
  const costs = costsFrom(report);
  const bridgeShards = serversFor(rate, bridgeWorkOf(costs), MOST_BUSY);
  const journalShards = serversFor(rate, costs.journalSeconds, MOST_BUSY);
  const auditLogs = serversFor(rate, costs.leafSeconds, MOST_BUSY - costs.logBatchSeconds);
  const run = (shape: { bridgeShards: number; journalShards: number; auditLogs: number }, at: number) => ({
    rate: at,
    ...shape,
    ...simulate(costs, { rate: at, ...shape, seconds: SIMULATED_SECONDS, seed }),
  });
  const today = { bridgeShards: MOST_SHARDS, journalShards: MOST_SHARDS, auditLogs: 1 };
  // As much as today's settings carry, by the part that is full first.
  const carries = Math.min(
    (MOST_BUSY * MOST_SHARDS) / bridgeWorkOf(costs),
    (MOST_BUSY * MOST_SHARDS) / costs.journalSeconds,
    (MOST_BUSY - costs.logBatchSeconds) / costs.leafSeconds,
  );
  const indexObjects = serversFor(people, DIRECTORY_BYTES_PER_CONTRACT, OBJECT_BYTES);
  const perMillion = figuresOf(report)(BILL).value.median;
  const dollarsPerMonth = {
    roundTrips: ((rate * SECONDS_PER_MONTH) / 1_000_000) * perMillion,
    alwaysOn: (bridgeShards + journalShards + auditLogs) * ALWAYS_ON_OBJECT_PER_MONTH,
    storage: ((people * BYTES_PER_PERSON) / 1e9) * PRICES.storedGb,
  };
  const plan = run({ bridgeShards, journalShards, auditLogs }, rate);
  const limits = run(today, carries);
  const over = run(today, rate);
  if (values.json) {
    console.log(
      JSON.stringify(
        { costs, plan, limits, over, indexObjects, dollarsPerMonth, pricesAsOf: PRICES_AS_OF },
        null,
        2,
      ),
    );
    return;
  }
  const ms = (seconds: number) => `${(seconds * 1_000).toFixed(1)} ms`;
  const share = (busy: number) => `${(100 * busy).toFixed(0)} %`;
  const show = (title: string, of: typeof plan) =>
    [
      `${title}: ${Math.round(of.rate).toLocaleString("en-US")} a second, ${of.bridgeShards} bridge shards, ${of.journalShards} journal shards, ${of.auditLogs} audit logs`,
      `  round trip without the person's time: p50 ${ms(of.p50)}, p99 ${ms(of.p99)}; full first: ${of.first}`,
      ...of.stations.map(
        ({ name, busiest, meanWait, longestQueue }) =>
          `  ${name.padEnd(16)}busiest ${share(busiest).padStart(6)}  waits ${ms(meanWait)}  longest queue ${longestQueue}`,
      ),
    ].join("\n");
  const dollars = (amount: number) => `$${Math.round(amount).toLocaleString("en-US")}`;
  console.log(
    [
      show("the plan", plan),
      show("as far as today's settings carry", limits),
      show("today's settings under the whole load", over),
      `objects for the contracts' index, at 10 GB each: ${indexObjects}; one holds ${Math.floor(OBJECT_BYTES / DIRECTORY_BYTES_PER_CONTRACT).toLocaleString("en-US")} contracts`,
      `a month: round trips ${dollars(dollarsPerMonth.roundTrips)}, objects that are always on ${dollars(dollarsPerMonth.alwaysOn)}, storage of ${people.toLocaleString("en-US")} people ${dollars(dollarsPerMonth.storage)} (prices of ${PRICES_AS_OF})`,
    ].join("\n\n"),
  );
}

main();
