// One, two and four bridge shards on the same answers: what a message costs, and how evenly the shards share them.
// One workerd runs all its objects on one thread, so more shards are no faster here; on Cloudflare each has its own.

import { join } from "node:path";
import type { Bundle } from "../stack/bundle.ts";
import { CountedVault } from "./cost.ts";
import { each } from "./http.ts";
import { exact, type Figure, spread } from "./measure.ts";
import { cpuMs, IN_FLIGHT } from "./vault.ts";

const SHARDS = [1, 2, 4];
const PEOPLE = 100;
const ANSWERS = 300;

export async function shardFigures(built: Bundle, dir: string, runs: number): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const shards of SHARDS) {
    const counted = await CountedVault.start(built, join(dir, `${shards}`), { BRIDGE_SHARDS: `${shards}` });
    try {
      const { vault } = counted;
      await vault.grow(PEOPLE);
      const costs: number[] = [];
      const before = (await counted.counts()).handedOn;
      for (let run = 0; run <= runs; run++) {
        await each(Array.from({ length: ANSWERS }), IN_FLIGHT, (_, at) =>
          vault.http.expect(201, {
            method: "POST",
            path: "/api/v1/auth/request",
            body: { user_id: vault.people[at % PEOPLE], purpose: "Log in to the shop" },
          }),
        );
        await vault.crowd.prepare(ANSWERS);
        const cpu = cpuMs(vault.stack.worker.pid!);
        await vault.crowd.burst();
        // The first run warms up.
        if (run > 0) costs.push((cpuMs(vault.stack.worker.pid!) - cpu) / ANSWERS);
      }
      const after = (await counted.counts()).handedOn;
      const shares = Array.from({ length: shards }, (_, shard) => {
        const name = `shard-${shard}`;
        return (after[name] ?? 0) - (before[name] ?? 0);
      });
      const total = shares.reduce((sum, share) => sum + share, 0);
      figures.push(
        { name: `CPU per inbound answer, ${shards} bridge shards`, unit: "ms", value: spread(costs) },
        {
          name: `evenness, ${shards} bridge shards: the least share over an equal one`,
          unit: "ratio",
          value: exact((Math.min(...shares) * shards) / total),
          note: shares.map((share) => `${((100 * share) / total).toFixed(0)} %`).join(", "),
        },
      );
    } finally {
      await counted.stop();
    }
  }
  return figures;
}
