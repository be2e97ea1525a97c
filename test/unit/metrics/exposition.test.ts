// What is measured, as a parser of Prometheus' text format reads it back.

import { readFileSync } from "node:fs";
import parsePrometheusTextFormat from "parse-prometheus-text-format";
import { describe, expect, test } from "vitest";
import { Exposition, expositionText } from "../../../src/metrics/exposition.ts";
import { COUNTERS, GAUGES, HISTOGRAMS, STORED_COUNTERS } from "../../../src/metrics/families.ts";
import { Meter, type Snapshot } from "../../../src/metrics/meter.ts";

const parsed = (exposition: Exposition) => parsePrometheusTextFormat(expositionText(exposition.families()));

const calls = (status: string) => ({ class: "requests:write", status });

function sampleMeter(): Meter {
  const meter = new Meter();
  meter.count("vettid_http_requests_total", calls("201"), 3);
  meter.count("vettid_http_requests_total", calls("429"));
  for (const seconds of [0.001, 0.005, 0.3, 99])
    meter.observe("vettid_http_request_duration_seconds", { class: "admin" }, seconds);
  return meter;
}

describe("the text", () => {
  test("is what a parser of the format reads back, label for label", () => {
    const exposition = new Exposition();
    exposition.gauge("vettid_session_up", { shard: "0", cluster: "messagespace" }, 1);
    exposition.gauge("vettid_session_up", { shard: "0", cluster: "servicespace" }, 0);
    exposition.gauge("vettid_journal_waiting_events", { endpoint: 'a "quoted"\\\nname' }, 7);
    exposition.stored("vettid_journal_events_total", { shard: "2" }, 12_345);
    exposition.add(sampleMeter().snapshot(), { shard: "1" });
    const families = parsed(exposition);
    const found = Object.fromEntries(families.map((family) => [family.name, family]));
    expect(found.vettid_session_up).toEqual({
      name: "vettid_session_up",
      type: "GAUGE",
      help: GAUGES.vettid_session_up.help,
      metrics: [
        { labels: { shard: "0", cluster: "messagespace" }, value: "1" },
        { labels: { shard: "0", cluster: "servicespace" }, value: "0" },
      ],
    });
    expect(found.vettid_journal_waiting_events!.metrics[0]!.labels).toEqual({
      endpoint: 'a "quoted"\\\nname',
    });
    expect(found.vettid_journal_events_total!.metrics).toEqual([{ labels: { shard: "2" }, value: "12345" }]);
    expect(found.vettid_http_requests_total!.metrics).toEqual([
      { labels: { shard: "1", ...calls("201") }, value: "3" },
      { labels: { shard: "1", ...calls("429") }, value: "1" },
    ]);
    // The parser leaves labels, sum and count of a histogram out.
    const [duration] = found.vettid_http_request_duration_seconds!.metrics;
    const buckets = { "0.005": "2", "0.25": "2", "0.5": "3", "10": "3", "+Inf": "4" };
    expect(duration!.buckets).toMatchObject(buckets);
    const lines = expositionText(exposition.families()).split("\n");
    for (const end of [
      '_bucket{shard="1",class="admin",le="0.5"} 3',
      '_sum{shard="1",class="admin"} 99.306',
      '_count{shard="1",class="admin"} 4',
    ])
      expect(lines).toContain(`vettid_http_request_duration_seconds${end}`);
  });

  test("names each family once and says what it counts and since when", () => {
    const exposition = new Exposition();
    for (const name of Object.keys(GAUGES) as (keyof typeof GAUGES)[]) exposition.gauge(name, {}, 0);
    for (const name of Object.keys(STORED_COUNTERS) as (keyof typeof STORED_COUNTERS)[])
      exposition.stored(name, {}, 0);
    const meter = new Meter();
    for (const name of Object.keys(COUNTERS) as (keyof typeof COUNTERS)[]) meter.count(name);
    for (const name of Object.keys(HISTOGRAMS) as (keyof typeof HISTOGRAMS)[]) meter.observe(name, {}, 1);
    exposition.add(meter.snapshot(), {});
    const families = parsed(exposition);
    const names = families.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const { name, type, help } of families) {
      expect(name).toMatch(/^vettid_[a-z_]+$/);
      expect(help.length).toBeGreaterThan(10);
      // Prometheus' naming: counters end in _total, and nothing else does.
      expect(name.endsWith("_total")).toBe(type === "COUNTER");
      if (type === "COUNTER") expect(help).toMatch(/since/);
    }
    for (const { buckets } of Object.values(HISTOGRAMS))
      expect(buckets).toEqual([...buckets].sort((a, b) => a - b));
  });
});

describe("a meter", () => {
  test("adds what others counted, and begins anew after its content was taken", () => {
    const sum = new Meter();
    const isolate = sampleMeter();
    sum.add(isolate.take());
    expect(isolate.isEmpty).toBe(true);
    isolate.count("vettid_http_requests_total", calls("201"), 2);
    sum.add(isolate.take());
    sum.add(sampleMeter().take());
    const { counters, histograms } = sum.snapshot();
    expect(counters).toEqual([
      { family: "vettid_http_requests_total", labels: calls("201"), value: 8 },
      { family: "vettid_http_requests_total", labels: calls("429"), value: 2 },
    ]);
    expect(histograms).toHaveLength(1);
    expect(histograms[0]!.counts.reduce((all, count) => all + count)).toBe(8);
  });

  test("leaves out what another version counts otherwise", () => {
    const sum = new Meter();
    const other = {
      counters: [{ family: "vettid_of_tomorrow_total", labels: {}, value: 1 }],
      histograms: [
        { family: "vettid_publish_duration_seconds", labels: {}, counts: [1, 2], sum: 3 },
        { family: "constructor", labels: {}, counts: [1], sum: 3 },
      ],
    } as unknown as Snapshot;
    sum.add(other);
    expect(sum.isEmpty).toBe(true);
  });

  test("has one series for the same labels, in whatever order they are written", () => {
    const meter = new Meter();
    const [one, other] = [
      { scope: "asks:write", status: "201" },
      { status: "201", scope: "asks:write" },
    ];
    for (const labels of [one, other, other, one]) meter.count("vettid_http_requests_total", labels);
    expect(meter.take().counters).toEqual([{ family: "vettid_http_requests_total", labels: one, value: 4 }]);
    meter.count("vettid_http_requests_total", other);
    expect(meter.snapshot().counters.map(({ value }) => value)).toEqual([1]);
  });

  test("does not grow without bound, whatever the labels", () => {
    const meter = new Meter();
    for (let n = 0; n < 10_000; n++) meter.count("vettid_rejected_total", { reason: `r${n}` });
    expect(meter.snapshot().counters.length).toBe(2_000);
  });
});

test("docs/METRICS.md names every family and no other", () => {
  const docs = readFileSync(new URL("../../../docs/METRICS.md", import.meta.url), "utf8");
  const named = new Set(docs.match(/vettid_[a-z_]+/g));
  const families = [GAUGES, COUNTERS, HISTOGRAMS, STORED_COUNTERS].flatMap((table) => Object.keys(table));
  expect([...named].sort()).toEqual(families.sort());
});
