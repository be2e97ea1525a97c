// CPU for one message sealed and signed, or opened and verified, against the platform's primitives alone.

import { join } from "node:path";
import type { Bundle } from "../stack/bundle.ts";
import { WorkerProcess } from "../stack/worker.ts";
import { bundleBenchWorker, compatibilityOf } from "./floor-handle.ts";
import { HttpClient } from "./http.ts";
import { type Figure, pairOf, spread } from "./measure.ts";
import { cpuMs } from "./vault.ts";

const SIZES = [
  { bytes: 256, label: "256 B" },
  { bytes: 4_096, label: "4 KB" },
  { bytes: 65_536, label: "64 KB" },
];
/** CPU one measurement takes: process times are counted in hundredths of a second. */
const SAMPLE_MS = 300;
const TRIAL_TIMES = 40;

export async function cryptoFigures(vault: Bundle, dir: string, runs: number): Promise<Figure[]> {
  const bundle = await bundleBenchWorker("crypto-worker.ts", join(dir, "bundle"), compatibilityOf(vault));
  const worker = new WorkerProcess({ dir, bundle, direct: true, bindings: {} });
  await worker.start();
  const http = new HttpClient(worker.baseUrl, 1);
  const run = (work: string, size: number, times: number) =>
    http.expect(200, { method: "GET", path: `/?work=${work}&size=${size}&times=${times}` });
  /** Microseconds of CPU for one. */
  const measure = async (work: string, size: number): Promise<number> => {
    await run(work, size, TRIAL_TIMES);
    const trial = await run(work, size, TRIAL_TIMES);
    const times = Math.max(TRIAL_TIMES, Math.ceil((SAMPLE_MS / trial.ms) * TRIAL_TIMES));
    const before = cpuMs(worker.pid!);
    await run(work, size, times);
    return ((cpuMs(worker.pid!) - before) * 1_000) / times;
  };
  try {
    const figures: Figure[] = [];
    for (const { verb, label } of [
      { verb: "seal", label: "seal and sign" },
      { verb: "open", label: "open and verify" },
    ])
      for (const size of SIZES) {
        const ours: number[] = [];
        const native: number[] = [];
        const noble: number[] = [];
        for (let at = 0; at < runs; at++) {
          native.push(await measure(`${verb}/native`, size.bytes));
          ours.push(await measure(`${verb}/vault`, size.bytes));
          if (at < 2) noble.push(await measure(`${verb}/noble`, size.bytes));
        }
        figures.push({
          name: `${label}, ${size.label}: CPU`,
          unit: "us",
          ...pairOf(ours, native),
          goal: { atMost: 1.3 },
          goalOf: "ratio",
          note: `floor: the platform's primitives alone; all in @noble: ${Math.round(spread(noble).median)} µs`,
        });
      }
    return figures;
  } finally {
    await http.close();
    await worker.stop();
  }
}
