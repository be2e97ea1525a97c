// What the deployment measures: for Prometheus as text, for the console as JSON, both from one list.

import { z } from "@hono/zod-openapi";
import { accepts } from "hono/accepts";
import type { Env } from "../../env.ts";
import { EXPOSITION_TYPE, Exposition, expositionText } from "../../metrics/exposition.ts";
import { within } from "../../nats/session.ts";
import { allBridges } from "../../nats/shards.ts";
import type { BridgeMetrics, JournalMetrics, KeysState } from "../../rpc.ts";
import { allJournals } from "../../webhooks/shards.ts";
import type { App } from "../app-env.ts";
import { reportCalls } from "../middleware/measure.ts";
import { directoryOf } from "../objects.ts";
import { API_PREFIX, defineRoute } from "../route.ts";
import { json } from "../schemas.ts";

/** Below the ten seconds a Prometheus server waits. */
const OBJECT_TIMEOUT_MS = 5_000;

const metrics = z.object({
  at: z.iso.datetime().describe("When it was gathered."),
  families: z.array(
    z.object({
      name: z.string(),
      type: z.enum(["counter", "gauge", "histogram"]),
      help: z.string().describe("What it counts, in which unit, and since when."),
      samples: z.array(
        z.object({
          name: z.string().describe("The family's name; a histogram's end in _bucket, _sum, _count."),
          labels: z.record(z.string(), z.string()),
          value: z.number(),
        }),
      ),
    }),
  ),
});

/** What each object answers; undefined where one does not. */
const askAll = <T>(calls: Promise<T>[]): Promise<(T | undefined)[]> =>
  Promise.all(calls.map((call) => within(call, OBJECT_TIMEOUT_MS, "metrics").catch(() => undefined)));

function addBridge(exposition: Exposition, shard: string, found: BridgeMetrics | undefined): void {
  exposition.gauge("vettid_bridge_up", { shard }, found === undefined ? 0 : 1);
  if (found === undefined) return;
  const { state, startedAt, counted, publishing, waiting, unsent } = found;
  exposition.gauge("vettid_bridge_start_time_seconds", { shard }, startedAt / 1_000);
  for (const cluster of ["servicespace", "messagespace"] as const) {
    const { status, since, credentials_days_left } = state[cluster];
    const labels = { shard, cluster };
    exposition.gauge("vettid_session_up", labels, status === "ready" ? 1 : 0);
    exposition.gauge("vettid_session_changed_time_seconds", labels, Date.parse(since) / 1_000);
    if (credentials_days_left !== undefined)
      exposition.gauge("vettid_credentials_days_left", labels, credentials_days_left);
    exposition.gauge("vettid_publishing_messages", labels, publishing[cluster].messages);
    exposition.gauge("vettid_publishing_bytes", labels, publishing[cluster].bytes);
  }
  exposition.gauge("vettid_waiting_messages", { shard }, waiting);
  exposition.gauge("vettid_outbox_unsent_messages", { shard }, unsent.messages);
  exposition.gauge("vettid_outbox_oldest_unsent_seconds", { shard }, unsent.oldestMs / 1_000);
  exposition.add(counted, { shard });
}

/** Shards share one consumer: what one of them knows of it is true of all. */
function addStream(exposition: Exposition, shards: readonly (BridgeMetrics | undefined)[]): void {
  const state = shards.find((found) => found?.state.pending !== undefined)?.state;
  if (state === undefined) return;
  exposition.gauge("vettid_stream_pending_messages", {}, state.pending ?? 0);
  exposition.gauge("vettid_stream_unacknowledged_messages", {}, state.unacknowledged ?? 0);
  exposition.gauge("vettid_stream_redelivered_messages", {}, state.redelivered ?? 0);
}

function addJournal(exposition: Exposition, shard: string, found: JournalMetrics | undefined): void {
  exposition.gauge("vettid_journal_up", { shard }, found === undefined ? 0 : 1);
  if (found === undefined) return;
  exposition.stored("vettid_journal_events_total", { shard }, found.events);
  for (const { webhookId, waiting, retrying } of found.endpoints) {
    const labels = { shard, endpoint: webhookId };
    exposition.gauge("vettid_journal_waiting_events", labels, waiting);
    exposition.gauge("vettid_journal_retrying_deliveries", labels, retrying);
  }
  for (const { sink, status, waiting, waiting_since } of found.sinks) {
    const labels = { shard, sink };
    const age = waiting_since === undefined ? 0 : Date.now() - Date.parse(waiting_since);
    exposition.gauge("vettid_audit_sink_up", labels, status === "ok" ? 1 : 0);
    exposition.gauge("vettid_audit_sink_waiting_entries", labels, waiting);
    exposition.gauge("vettid_audit_sink_oldest_waiting_seconds", labels, Math.max(age, 0) / 1_000);
  }
}

function addKeys(exposition: Exposition, found: KeysState | undefined): void {
  if (found === undefined) return;
  const { mode, waiting, problem } = found.nats_credentials;
  if (mode === "revocable") {
    exposition.gauge("vettid_revocations_up", {}, problem === undefined ? 1 : 0);
    exposition.gauge("vettid_revocations_waiting", {}, waiting ?? 0);
  }
  const { objects_left } = found.vault_kek;
  if (objects_left !== undefined) exposition.gauge("vettid_kek_objects_left", {}, objects_left);
}

async function gather(env: Env): Promise<Exposition> {
  // First, so that a scrape shows at least what this isolate has counted.
  await reportCalls(env);
  const [bridges, journals, [keys]] = await Promise.all([
    askAll(allBridges(env).map((bridge) => bridge.metrics() as Promise<BridgeMetrics>)),
    askAll(allJournals(env).map((journal) => journal.metrics())),
    askAll([directoryOf(env).keysState({ count: true })]),
  ]);
  const exposition = new Exposition();
  for (const [shard, found] of bridges.entries()) addBridge(exposition, String(shard), found);
  addStream(exposition, bridges);
  for (const [shard, found] of journals.entries()) addJournal(exposition, String(shard), found);
  addKeys(exposition, keys);
  return exposition;
}

export function metricsRoutes(app: App): void {
  app.openapi(
    defineRoute("requests:read", {
      method: "get",
      path: `${API_PREFIX}/metrics`,
      tags: ["Service"],
      summary: "What is measured: sessions, lag, outbox, calls",
      description:
        "Prometheus text format 0.0.4; with `Accept: application/json` the same families as JSON. Counters are kept in memory: each family's help says since when.",
      responses: {
        200: {
          description: "Every family.",
          content: { "text/plain": { schema: z.string() }, ...json(metrics, "Metrics") },
        },
      },
    }),
    async (c) => {
      const families = (await gather(c.env)).families();
      const type = accepts(c, {
        header: "Accept",
        supports: ["text/plain", "application/json"],
        default: "text/plain",
      });
      c.header("Vary", "Accept");
      if (type === "application/json") return c.json({ at: new Date().toISOString(), families }, 200);
      // The types know one format for an answer of two.
      return c.body(expositionText(families), 200, { "Content-Type": EXPOSITION_TYPE }) as never;
    },
  );
}
