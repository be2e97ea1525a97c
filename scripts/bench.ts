// Measures what the vault costs and how fast it is, each figure beside its floor taken in the same run.
//
//   npm run bench -- [--only throughput,trip] [--runs 5] [--long] [--json [file]] [--docs]
//
// workerd is served directly, both clusters are real servers, the people are another process. Load, people and servers
// share the machine, so absolute numbers are this machine's; the ratios are what counts. With --docs the table in
// docs/PERFORMANCE.md and docs/performance.json are written anew. A bench that is left out keeps its earlier figures.

import { execFileSync } from "node:child_process";
import { fdatasyncSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { cpus, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { entriesPerSecond, rowsPerEntry, secondsToLog } from "./bench/audit.ts";
import { coldFigures } from "./bench/cold.ts";
import { costFigures, measureCosts } from "./bench/cost.ts";
import { cryptoFigures } from "./bench/crypto.ts";
import { startFloor } from "./bench/floor-handle.ts";
import { historyFigures, peopleFigures } from "./bench/growth.ts";
import { HttpClient } from "./bench/http.ts";
import { type Figure, percentile } from "./bench/measure.ts";
import { type Report, tableOf, writeDocs } from "./bench/report.ts";
import { shardFigures } from "./bench/shards.ts";
import { sharedFigures } from "./bench/shared.ts";
import { askReadAnswer, roundTrip, type Setting, throughputFigures } from "./bench/throughput.ts";
import { startVault } from "./bench/vault.ts";
import { type Bundle, ensureBundle } from "./stack/bundle.ts";
import { PROJECT_ROOT } from "./stack/files.ts";

const DEFAULT_RUNS = 5;
/** Calls of one run. */
const CALLS = 300;
/** People who are there before anything is measured. */
const PEOPLE = 100;
const GROWN_PEOPLE = 2_000;
const LONG_PEOPLE = 20_000;

export interface Context {
  runs: number;
  long: boolean;
  dir: string;
  bundle: Bundle;
  /** The vault, the floor and the people, started when first wanted. */
  setting(): Promise<Setting>;
  /** Both benches that count rows, side by side: they mostly wait for alarms, and nothing in them is timed. */
  counted(): Promise<{ cost: Figure[]; audit: Figure[] }>;
}

/** Every bench: what it is called and what it gives. A new one is a new line. */
const BENCHES: Record<string, { about: string; run(context: Context): Promise<Figure[]> }> = {
  throughput: {
    about: "asks, reads and inbound answers a second",
    run: async ({ setting }) => throughputFigures(await askReadAnswer(await setting())),
  },
  trip: {
    about: "from POST to the approval a waiting GET sees",
    run: async ({ setting }) => roundTrip(await setting()),
  },
  crypto: {
    about: "sealing and opening a message",
    run: ({ bundle, dir, runs }) => cryptoFigures(bundle, join(dir, "crypto"), runs),
  },
  cost: {
    about: "rows, requests, CPU and dollars for a round trip, a contract, an idle day",
    run: async ({ counted }) => (await counted()).cost,
  },
  audit: {
    about: "audit entries a second, rows for each, and how soon they are in the log",
    run: async ({ setting, counted, runs }) => [
      await entriesPerSecond(await setting()),
      await secondsToLog({ ...(await setting()), runs: Math.min(runs, 3) }),
      ...(await counted()).audit,
    ],
  },
  shards: {
    about: "one, two and four bridge shards",
    run: ({ bundle, dir, runs }) => shardFigures(bundle, join(dir, "shards"), Math.min(runs, 3)),
  },
  shared: {
    about: "an event in the journal, a leaf in the audit log",
    run: ({ bundle, dir, runs }) => sharedFigures(bundle, join(dir, "shared"), runs),
  },
  history: {
    about: "one user's long history",
    run: ({ bundle, dir, runs }) => historyFigures(bundle, join(dir, "history"), runs),
  },
  people: {
    about: "more people",
    run: async ({ setting, long }) =>
      peopleFigures(await setting(), [PEOPLE, GROWN_PEOPLE, ...(long ? [LONG_PEOPLE] : [])]),
  },
  // Last: it starts the Workers anew.
  cold: {
    about: "bundle, first answer, a woken object",
    run: async ({ setting, bundle }) => {
      const all = await setting();
      return coldFigures({ ...all, runs: Math.min(all.runs, 3) }, bundle);
    },
  },
};

function options() {
  const { values } = parseArgs({
    options: {
      only: { type: "string" },
      runs: { type: "string", default: String(DEFAULT_RUNS) },
      long: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      docs: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const names = values.only?.split(",") ?? Object.keys(BENCHES);
  const unknown = names.find((name) => !Object.hasOwn(BENCHES, name));
  const runs = Number(values.runs);
  const problem =
    unknown !== undefined
      ? `there is no bench "${unknown}"`
      : !Number.isInteger(runs) || runs < 1
        ? "--runs must be a whole number from 1"
        : undefined;
  if (values.help || problem !== undefined) {
    const list = Object.entries(BENCHES).map(([name, { about }]) => `  ${name.padEnd(12)}${about}`);
    console.log(
      [
        ...(problem === undefined ? [] : [problem, ""]),
        "npm run bench -- [--only NAME,NAME] [--runs N] [--long] [--json] [--docs]",
        ...list,
      ].join("\n"),
    );
    process.exit(problem === undefined ? 0 : 2);
  }
  return { ...values, names, runs };
}

/** Milliseconds the disk takes to make 4 KB durable: every commit of an object waits for it. */
function syncMs(dir: string): number {
  const file = openSync(join(dir, "sync"), "w");
  const block = new Uint8Array(4_096);
  const times = Array.from({ length: 50 }, () => {
    writeSync(file, block);
    const started = performance.now();
    fdatasyncSync(file);
    return performance.now() - started;
  });
  return percentile(times, 0.5);
}

async function main(): Promise<void> {
  const { names, runs, long, json, docs } = options();
  /** Progress is not the answer: with --json that alone is on standard output. */
  const say = (text: string) => console.error(text);
  const dir = mkdtempSync(join(tmpdir(), "service-vault-bench-"));
  const bundle = await ensureBundle();
  let setting: Promise<Setting & { stop(): Promise<void> }> | undefined;
  let counted: ReturnType<Context["counted"]> | undefined;
  const context: Context = {
    runs,
    long,
    dir,
    bundle,
    counted: () => {
      counted ??= (async () => {
        const [costs, audit] = await Promise.all([
          names.includes("cost") ? measureCosts(bundle, join(dir, "cost")) : undefined,
          names.includes("audit") ? rowsPerEntry(bundle, join(dir, "audit")) : [],
        ]);
        return { cost: costs === undefined ? [] : costFigures(costs), audit };
      })();
      return counted;
    },
    setting: () => {
      setting ??= (async () => {
        const vault = await startVault({ dir: join(dir, "vault"), bundle });
        await vault.grow(PEOPLE);
        const floor = await startFloor(vault.stack, bundle);
        const floorHttp = new HttpClient(floor.baseUrl, 32);
        await floorHttp.expect(200, { method: "POST", path: "/start" });
        const stop = async () => {
          await floorHttp.close();
          await floor.stop();
          await vault.stop();
        };
        return { vault, floor, floorHttp, runs, calls: CALLS, stop };
      })();
      return setting;
    },
  };
  const report: Report = {
    date: new Date().toISOString().slice(0, 10),
    commit: execFileSync("git", ["rev-parse", "--short", "HEAD"], {
      cwd: PROJECT_ROOT,
      encoding: "utf8",
    }).trim(),
    machine: {
      cpu: cpus()[0]?.model ?? "unknown",
      cores: cpus().length,
      memoryGb: Math.round(totalmem() / 2 ** 30),
      syncMs: syncMs(dir),
      node: process.version,
      workerd: JSON.parse(readFileSync(join(PROJECT_ROOT, "node_modules/workerd/package.json"), "utf8"))
        .version,
    },
    benches: {},
  };
  try {
    for (const name of names) {
      const started = performance.now();
      say(`${name}: ${BENCHES[name]!.about} …`);
      try {
        const figures = await BENCHES[name]!.run(context);
        report.benches[name] = figures;
        say(tableOf(figures));
      } catch (error) {
        // The others still say something.
        process.exitCode = 1;
        say(`${name} failed: ${error instanceof Error ? error.message : String(error)}`);
      }
      say(`${name} took ${((performance.now() - started) / 1_000).toFixed(0)} s\n`);
    }
  } finally {
    await (await setting)?.stop();
    rmSync(dir, { recursive: true, force: true });
  }
  if (json) console.log(JSON.stringify(report, null, 2));
  if (docs) writeDocs(report);
}

await main();
