// What is paid once: the bundle's bytes, the first answer of a fresh isolate, the first call of an object that slept.

import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { type Bundle, bundleModules } from "../stack/bundle.ts";
import type { WorkerProcess } from "../stack/worker.ts";
import { exact, type Figure, pairOf, percentile } from "./measure.ts";
import type { Setting } from "./throughput.ts";

/** Objects woken in one run. */
const WOKEN = 20;

export function bundleBytes(bundle: Bundle): { raw: number; gzip: number } {
  const contents = bundleModules(bundle).map(({ path }) => readFileSync(path));
  return {
    raw: contents.reduce((sum, content) => sum + content.length, 0),
    gzip: contents.reduce((sum, content) => sum + gzipSync(content).length, 0),
  };
}

/** Milliseconds from starting the process (Node, Miniflare, workerd) to the first answer. */
async function restart(worker: WorkerProcess, first: () => Promise<unknown>): Promise<number> {
  await worker.stop();
  const started = performance.now();
  await worker.start();
  await first();
  return performance.now() - started;
}

export async function coldFigures(
  { vault, floor, floorHttp, runs }: Setting,
  bundle: Bundle,
): Promise<Figure[]> {
  const bytes = bundleBytes(bundle);
  const starts: number[] = [];
  const floorStarts: number[] = [];
  const wakes: number[] = [];
  const floorWakes: number[] = [];
  await vault.grow(WOKEN + 1);
  const people = vault.people.slice(0, WOKEN + 1);
  const ids: string[] = [];
  const rows: number[] = [];
  for (const userId of people) {
    const body = { user_id: userId, purpose: "Log in to the shop", expires_in_seconds: 3_600 };
    const asked = await vault.http.expect(201, { method: "POST", path: "/api/v1/auth/request", body });
    ids.push(asked.body.request_id);
    rows.push((await floorHttp.expect(201, { method: "POST", path: `/ask/${userId}`, body })).body.n);
  }
  const read = async (at: number) =>
    (await vault.http.expect(200, { method: "GET", path: `/api/v1/requests/${ids[at]}` })).ms;
  const bareRead = async (at: number) =>
    (await floorHttp.expect(200, { method: "GET", path: `/requests/${people[at]}/${rows[at]}` })).ms;
  const wake = async (one: (at: number) => Promise<number>) => {
    // The first call also starts the isolate's work: it is not an object's.
    await one(0);
    const times: number[] = [];
    for (let at = 1; at <= WOKEN; at++) times.push(await one(at));
    return percentile(times, 0.5);
  };
  for (let run = 0; run < runs; run++) {
    // A new connection for the new process: what was kept alive is dead.
    floorStarts.push(await restart(floor, () => fetch(`${floor.baseUrl}/nothing`)));
    starts.push(await restart(vault.stack.worker, () => fetch(`${vault.stack.baseUrl}/health`)));
    floorWakes.push(await wake(bareRead));
    wakes.push(await wake(read));
  }
  await floorHttp.expect(200, { method: "POST", path: "/start" });
  for (const id of ids)
    await vault.http.expect(200, { method: "POST", path: `/api/v1/requests/${id}/cancel` });
  return [
    { name: "bundle", unit: "bytes", value: exact(bytes.raw) },
    { name: "bundle, gzipped", unit: "bytes", value: exact(bytes.gzip) },
    {
      name: "process start to first answer",
      unit: "ms",
      ...pairOf(starts, floorStarts),
      note: "Node, Miniflare and workerd in both",
    },
    { name: "a woken user's object: first call, p50", unit: "ms", ...pairOf(wakes, floorWakes) },
  ];
}
