// What the objects that all users share do for one event and one leaf, alone: where a deployment is full first
// (scripts/simulate.ts).

import type { Bundle } from "../stack/bundle.ts";
import { CountedVault } from "./cost.ts";
import { type Figure, spread } from "./measure.ts";
import { cpuMs } from "./vault.ts";

const PEOPLE = 50;
const EVENTS = 500;
const LEAVES = 1_000;

/** Names of figures that the simulation reads. */
export const JOURNAL_CPU = "CPU per event in a journal shard";
export const LEAF_CPU = "CPU per leaf in the audit log, in batches of 1,000";

export async function sharedFigures(built: Bundle, dir: string, runs: number): Promise<Figure[]> {
  const counted = await CountedVault.start(built, dir);
  try {
    const { vault } = counted;
    await vault.grow(PEOPLE);
    const users = Array.from({ length: EVENTS }, (_, at) => vault.people[at % PEOPLE]!);
    const cpuOf = async (path: string, body: unknown, per: number) => {
      const before = cpuMs(vault.stack.worker.pid!);
      await vault.http.expect(200, { method: "POST", path: `/__bench/${path}`, body });
      return (cpuMs(vault.stack.worker.pid!) - before) / per;
    };
    const events: number[] = [];
    const leaves: number[] = [];
    for (let run = -1; run < runs; run++) {
      const event = await cpuOf("journal", users, EVENTS);
      const leaf = await cpuOf("leaves", { leaves: LEAVES }, LEAVES);
      if (run < 0) continue;
      events.push(event);
      leaves.push(leaf);
    }
    return [
      { name: JOURNAL_CPU, unit: "ms", value: spread(events), note: "each by a call of its own" },
      {
        name: LEAF_CPU,
        unit: "ms",
        value: spread(leaves),
        note: "with the batch's tiles, checkpoint and R2",
      },
    ];
  } finally {
    await counted.stop();
  }
}
