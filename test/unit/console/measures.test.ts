// What the overview says about calls, and in which words.

import { describe, expect, it } from "vitest";
import {
  callsByScope,
  callsSoFar,
  durations,
  formatSeen,
  greatest,
  lookAgain,
  MAX_SEEN,
  type Metrics,
  parseSeen,
  quantile,
  rates,
  total,
} from "../../../src/console/measures.ts";
import { agoWords, durationWords, plainly, rateWords } from "../../../src/console/words.ts";
import { Exposition } from "../../../src/metrics/exposition.ts";
import { Meter } from "../../../src/metrics/meter.ts";

/** As GET metrics makes it, from the same code. */
function metricsOf(calls: { class: string; status: string; seconds: number; times?: number }[]): Metrics {
  const exposition = new Exposition();
  for (const shard of ["0", "1"]) {
    const meter = new Meter();
    for (const { class: callClass, status, seconds, times = 1 } of calls)
      for (let n = 0; n < times; n++) {
        meter.count("vettid_http_requests_total", { class: callClass, status });
        meter.observe("vettid_http_request_duration_seconds", { class: callClass }, seconds);
      }
    exposition.add(meter.snapshot(), { shard });
    exposition.gauge("vettid_outbox_oldest_unsent_seconds", { shard }, Number(shard) * 30);
  }
  return { at: "2026-01-31T08:15:00.000Z", families: exposition.families() };
}

const busy = metricsOf([
  { class: "requests:read", status: "200", seconds: 0.004, times: 8 },
  { class: "requests:write", status: "201", seconds: 0.04, times: 2 },
  { class: "requests:write", status: "409", seconds: 0.04 },
  { class: "public", status: "503", seconds: 3 },
  { class: "wait", status: "200", seconds: 30, times: 3 },
  { class: "none", status: "404", seconds: 0.001, times: 50 },
]);

describe("calls", () => {
  it("are counted over all shards by scope and how they ended, the most called first", () => {
    expect(callsByScope(busy)).toEqual([
      { scope: "requests:read", succeeded: 16, refused: 0, failed: 0 },
      { scope: "requests:write", succeeded: 4, refused: 2, failed: 0 },
      { scope: "wait", succeeded: 6, refused: 0, failed: 0 },
      { scope: "public", succeeded: 0, refused: 0, failed: 2 },
    ]);
    expect(callsSoFar(busy)).toBe(30);
  });

  it("are sorted into times without those that held the line", () => {
    const buckets = durations(busy);
    expect(buckets.filter(({ count }) => count > 0)).toEqual([
      { upTo: 0.005, count: 16 },
      { upTo: 0.05, count: 6 },
      { upTo: 5, count: 2 },
    ]);
    expect(buckets.at(-1)).toEqual({ upTo: Infinity, count: 0 });
  });

  it("have quantiles within their bucket, and none where there were none", () => {
    const buckets = durations(busy);
    expect(quantile(buckets, 0.5)).toBeCloseTo(0.00375);
    expect(quantile(buckets, 0.99)).toBeGreaterThan(2.5);
    expect(quantile(durations(metricsOf([])), 0.5)).toBeUndefined();
    expect(
      quantile(
        [
          { upTo: 1, count: 0 },
          { upTo: Infinity, count: 5 },
        ],
        0.5,
      ),
    ).toBe(1);
  });

  it("sum and greatest are of what is there, and undefined of what is not", () => {
    expect(greatest(busy, "vettid_outbox_oldest_unsent_seconds")).toBe(30);
    expect(total(busy, "vettid_outbox_oldest_unsent_seconds")).toBe(30);
    expect(total(busy, "vettid_no_such_family")).toBeUndefined();
    expect(greatest(busy, "vettid_no_such_family")).toBeUndefined();
  });
});

describe("what an open page remembers", () => {
  const seen = [
    { at: 1_000, calls: 10 },
    { at: 6_000, calls: 20 },
    { at: 11_000, calls: 20 },
  ];
  it("comes back as it was sent", () => {
    expect(parseSeen(formatSeen(seen))).toEqual(seen);
    expect(parseSeen(formatSeen([]))).toEqual([]);
  });
  it.each([undefined, "", "x", "1-", "1-2_", "5-1_4-2", "1-2".padEnd(5_000, "_1-2")])(
    "%j is nothing",
    (text) => {
      expect(parseSeen(text)).toEqual([]);
    },
  );
  it("gives the rate between each two looks", () => {
    expect(rates(seen)).toEqual([
      { at: 6_000, perSecond: 2 },
      { at: 11_000, perSecond: 0 },
    ]);
  });
  it("begins anew when the counts do, and is bounded", () => {
    expect(lookAgain(seen, { at: 12_000, calls: 3 })).toEqual([{ at: 12_000, calls: 3 }]);
    let long = seen;
    for (let n = 1; n < 200; n++) long = lookAgain(long, { at: 11_000 + n, calls: 20 + n });
    expect(long).toHaveLength(MAX_SEEN);
    expect(parseSeen(formatSeen(long))).toEqual(long);
  });
});

describe("words", () => {
  const now = Date.UTC(2026, 0, 31, 8, 15);
  it.each([
    [0, "just now"],
    [-90_000, "2 min ago"],
    [-3 * 3_600_000, "3 h ago"],
    [-26 * 3_600_000, "1 day ago"],
    [3 * 86_400_000, "in 3 days"],
    [30_000, "in a moment"],
    [-30 * 86_400_000, "Jan 1, 2026"],
  ])("a time %d ms from now: %s", (offset, words) => {
    expect(agoWords(now + offset, now)).toBe(words);
  });
  it.each([
    [0.0004, "400 µs"],
    [0.0123, "12 ms"],
    [0.9999, "1.0 s"],
    [1.44, "1.4 s"],
    [75, "75 s"],
    [Number.NaN, "–"],
  ])("a duration of %d s: %s", (seconds, words) => {
    expect(durationWords(seconds)).toBe(words);
  });
  it.each([
    ["Too small: expected string to have >=1 characters", "must not be empty"],
    ["Too small: expected string to have >=32 characters", "must have at least 32 characters"],
    ["Too big: expected string to have <=100 characters", "must have at most 100 characters"],
    ["Too small: expected array to have >=1 items", "must have at least one entry"],
    ["Too big: expected number to be <=365", "must be at most 365"],
    ["Invalid input: expected number, received null", "must be a whole number"],
    ['Invalid option: expected one of "automatic"|"manual"', "must be one of automatic, manual"],
    ["must be an ISO 4217 code, as EUR", "must be an ISO 4217 code, as EUR"],
  ])("the validator's %j: %s", (message, words) => {
    expect(plainly(message)).toBe(words);
  });
  it.each([
    [0, "0/min"],
    [0.05, "3.0/min"],
    [0.5, "30/min"],
    [2.25, "2.3/s"],
    [40.4, "40/s"],
  ])("%d calls a second: %s", (perSecond, words) => {
    expect(rateWords(perSecond)).toBe(words);
  });
});
