// Counts every call and how long it took, in the isolate's memory, and hands the sums to a shard of the bridge now
// and then: isolates come and go and nobody can ask them, the bridge stays. Nothing is written.

import type { Context } from "hono";
import { createMiddleware } from "hono/factory";
import type { Env } from "../../env.ts";
import { Meter } from "../../metrics/meter.ts";
import { allBridges } from "../../nats/shards.ts";
import type { AppEnv, CallClass } from "../app-env.ts";
import { isVouched } from "./authenticate.ts";

/** An isolate that is called hands its counts over this often. */
const REPORT_INTERVAL_MS = 10_000;

/** Of this isolate; plain numbers, so that every call may touch them. */
const meter = new Meter();
/** When the next report is due, and the shard this isolate reports to. Chosen by chance, so that shards share them. */
let reportAt = 0;
let place: number | undefined;

/** Hands over what was counted. What cannot be handed over is kept for the next time. */
export async function reportCalls(env: Env): Promise<void> {
  if (meter.isEmpty) return;
  const bridges = allBridges(env);
  place ??= Math.floor(Math.random() * bridges.length);
  const counted = meter.take();
  try {
    await bridges[place % bridges.length]!.report(counted);
  } catch {
    meter.add(counted);
  }
}

/** What the call is counted under. A call that holds the line takes as long as it was told to: a class of its own. */
const classOf = (c: Context<AppEnv>): CallClass | "wait" | "none" => {
  if (c.req.query("wait") !== undefined || c.req.header("upgrade") !== undefined) return "wait";
  return c.get("callClass") ?? "none";
};

export const measure = createMiddleware<AppEnv>(async (c, next) => {
  // What the console asks for a page is no call of anybody's.
  if (isVouched(c.req.raw)) return next();
  const begun = Date.now();
  await next();
  const now = Date.now();
  const labels = { class: classOf(c) };
  meter.count("vettid_http_requests_total", { ...labels, status: String(c.res.status) });
  meter.observe("vettid_http_request_duration_seconds", labels, (now - begun) / 1_000);
  if (now < reportAt) return;
  reportAt = now + REPORT_INTERVAL_MS;
  c.executionCtx.waitUntil(reportCalls(c.env));
});

export const classify = (callClass: CallClass) =>
  createMiddleware<AppEnv>(async (c, next) => {
    c.set("callClass", callClass);
    await next();
  });
