// What the audit log costs: entries a second beside a bare one-row transaction, rows written for each, and how soon
// they are under a published checkpoint.

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { newSecret } from "../../src/webhooks/signature.ts";
import type { Bundle } from "../stack/bundle.ts";
import { CountedVault, usageBetween } from "./cost.ts";
import { each, rate } from "./http.ts";
import { exact, type Figure, inTurn, SETTLE_MS, sleep, spread, until } from "./measure.ts";
import type { Setting } from "./throughput.ts";
import { IN_FLIGHT, type Vault } from "./vault.ts";

/** Objects that are counted, and entries each gets in a burst. */
const COUNTED_PEOPLE = 20;
const BURST = 20;
const LOGGED_TIMEOUT_MS = 60_000;

/** An operation that is nothing but its entry: a read that is recorded. */
const readProfile = (vault: Vault, userId: string) =>
  vault.http.expect(200, { method: "GET", path: `/api/v1/users/${userId}/profile` });

/** Reads of profiles a second: each is a signed entry in a transaction of its own, before the answer. */
export async function entriesPerSecond({ vault, floorHttp, runs, calls }: Setting): Promise<Figure> {
  const places = Array.from({ length: calls }, (_, at) => vault.people[at % vault.people.length]!);
  const pair = await inTurn(
    runs,
    async () => ({ entry: await rate(places, IN_FLIGHT, (userId) => readProfile(vault, userId)) }),
    async () => ({
      entry: await rate(places, IN_FLIGHT, (userId) =>
        floorHttp.expect(201, { method: "POST", path: `/ask/${userId}`, body: "{}" }),
      ),
    }),
  );
  return {
    name: "audited reads, one entry each",
    unit: "per_second",
    ...pair.entry,
    note: "GET users/{id}/profile; floor: Hono → RPC → one-row transaction",
  };
}

const publishedSize = async (vault: Vault): Promise<number> => {
  const response = await fetch(`${vault.stack.baseUrl}/log/checkpoint`);
  return response.ok ? Number((await response.text()).split("\n")[1]) : 0;
};

/** From an entry in each of many chains to all of their heads under a published checkpoint. */
export async function secondsToLog({ vault, runs, calls }: Setting): Promise<Figure> {
  const people = vault.people.slice(0, calls);
  const seconds: number[] = [];
  for (let run = 0; run < runs; run++) {
    // Whatever was said before is in the log: sizes are then a count of these heads.
    let size = await publishedSize(vault);
    await sleep(2_000);
    for (let now = await publishedSize(vault); now !== size; now = await publishedSize(vault)) {
      size = now;
      await sleep(2_000);
    }
    const began = performance.now();
    await each(people, IN_FLIGHT, (userId) => readProfile(vault, userId));
    await until(
      "the heads are in the log",
      LOGGED_TIMEOUT_MS,
      async () => (await publishedSize(vault)) >= size + people.length,
    );
    seconds.push((performance.now() - began) / 1_000);
  }
  return {
    name: `an entry in each of ${people.length} chains, until all are under a published checkpoint`,
    unit: "seconds",
    value: spread(seconds),
    note: "the first batch after a quiet time comes at once, the others are 5 s apart",
  };
}

/** A sink that takes everything. */
async function startSink() {
  let entries = 0;
  const server = createServer((request, response) => {
    let text = "";
    request.on("data", (chunk) => {
      text += chunk;
    });
    request.on("end", () => {
      entries += (JSON.parse(text) as { data: { entries: unknown[] } }).data.entries.length;
      response.writeHead(204).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/entries`,
    entries: () => entries,
    stop: () => new Promise<void>((resolve) => server.close(() => resolve())),
  };
}

/** Rows written for each entry, everywhere: alone, in a burst, and in a burst with a sink. */
export async function rowsPerEntry(built: Bundle, dir: string): Promise<Figure[]> {
  const figures: Figure[] = [];
  const sink = await startSink();
  const measured = async (counted: CountedVault, name: string, entriesEach: number) => {
    const { vault } = counted;
    const people = vault.people.slice(0, COUNTED_PEOPLE);
    await sleep(SETTLE_MS);
    const before = await counted.counts();
    await each(people, COUNTED_PEOPLE, async (userId) => {
      for (let n = 0; n < entriesEach; n++) await readProfile(vault, userId);
    });
    await sleep(SETTLE_MS);
    const { classes, usage } = usageBetween(before, await counted.counts(), 0, people.length * entriesEach);
    figures.push({
      name: `rows written per audit entry: ${name}`,
      unit: "rows",
      value: exact(usage.rowsWritten),
      note: Object.entries(classes)
        .filter(([, { rowsWritten }]) => rowsWritten > 0.005)
        .map(([of, { rowsWritten }]) => `${of} ${rowsWritten.toFixed(2)}`)
        .join(", "),
    });
  };
  try {
    const plain = await CountedVault.start(built, `${dir}-plain`);
    try {
      await plain.vault.grow(COUNTED_PEOPLE);
      await measured(plain, "one by itself", 1);
      await measured(plain, `${BURST} of one person in a burst`, BURST);
    } finally {
      await plain.stop();
    }
    const vars = { AUDIT_SINK_URL: sink.url, AUDIT_SINK_SECRET: newSecret() };
    const copied = await CountedVault.start(built, `${dir}-sink`, vars);
    try {
      await copied.vault.grow(COUNTED_PEOPLE);
      await measured(copied, `${BURST} in a burst, copied to an HTTPS sink`, BURST);
      if (sink.entries() < COUNTED_PEOPLE * BURST) throw new Error("the sink has not all entries");
    } finally {
      await copied.stop();
    }
    return figures;
  } finally {
    await sink.stop();
  }
}
