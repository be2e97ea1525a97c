// Batches for the sinks: named by their content, in standard forms.

import { describe, expect, it } from "vitest";
import { deliveryOf, objectOf, SINK_PAUSES_MS, sinkPauseMs } from "../../../src/audit/sinks.ts";

const line = (n: number, timestamp = `2026-11-24T10:00:0${n}.000Z`) =>
  JSON.stringify({ event_id: `e${n}`, timestamp, event_hash: `h${n}` });
const batch = { shard: "journal-0", first: 7, last: 8, lines: [line(1), line(2)] };

describe("a batch", () => {
  it("is delivered as a Standard Webhook whose entries are as they were stored", () => {
    const { id, body } = deliveryOf(batch);
    expect(JSON.parse(body)).toEqual({
      type: "audit.entries",
      timestamp: "2026-11-24T10:00:02.000Z",
      data: { entries: batch.lines.map((text) => JSON.parse(text)) },
    });
    expect(body).toContain(batch.lines.join(","));
    expect(id).toMatch(/^audit_[1-9A-HJ-NP-Za-km-z]{20,22}$/);
  });

  it("is an object of JSON Lines under a key that sorts by day, shard and place", () => {
    const { key, body } = objectOf(batch);
    expect(body).toBe(`${line(1)}\n${line(2)}\n`);
    expect(key).toMatch(
      /^2026-11-24\/journal-0-000000000007-000000000008-[1-9A-HJ-NP-Za-km-z]{20,22}\.jsonl$/,
    );
  });

  it("has the same name whenever it is made, and another one for other content at the same place", () => {
    expect(objectOf(batch)).toEqual(objectOf({ ...batch, lines: [...batch.lines] }));
    expect(deliveryOf(batch)).toEqual(deliveryOf({ ...batch, shard: "journal-1" }));
    const other = { ...batch, lines: [line(1), line(3)] };
    expect(objectOf(other).key).not.toBe(objectOf(batch).key);
    expect(deliveryOf(other).id).not.toBe(deliveryOf(batch).id);
  });
});

describe("the pause after a failure", () => {
  it("grows to ten minutes and is never the last", () => {
    const pauses = [1, 2, 3, 4, 5, 6, 1_000].map((failures) => sinkPauseMs(failures, undefined, 0));
    expect(pauses).toEqual([...SINK_PAUSES_MS, 600_000, 600_000]);
  });

  it("is at least what the receiver asked for, and jittered upwards", () => {
    expect(sinkPauseMs(1, 90_000, 0)).toBe(90_000);
    expect(sinkPauseMs(4, 1_000, 0)).toBe(120_000);
    expect(sinkPauseMs(1, undefined, 0.999)).toBeGreaterThan(1_000);
  });
});
