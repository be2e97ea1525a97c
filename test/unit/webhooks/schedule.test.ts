import { describe, expect, it } from "vitest";
import {
  type AttemptResult,
  DISABLE_AFTER_MS,
  FAILURE_GAP_MS,
  failingSince,
  GIVE_UP_AFTER_MS,
  HOLD_AFTER_FAILURES,
  HOLD_MAX_MS,
  HOLD_MIN_MS,
  holdMs,
  isWornOut,
  JITTER,
  MAX_RETRY_AFTER_MS,
  pauseAfter,
  RETRY_LATER_MS,
  RETRY_PAUSES_MS,
  retryAfterMs,
  verdictOn,
} from "../../../src/webhooks/schedule.ts";

const START = Date.parse("2026-03-01T00:00:00.000Z");
const failed: AttemptResult = { status: 500 };

/** Instants of every attempt of a delivery that always fails, from its first. */
function attemptsOf(random: () => number): number[] {
  const made: number[] = [];
  let now = START;
  for (let attempts = 1; ; attempts++) {
    made.push(now - START);
    const verdict = verdictOn(failed, { attempts, startedAt: START, now, random: random() });
    if (verdict.kind !== "retry") return made;
    now = verdict.at;
  }
}

describe("the schedule", () => {
  it("is 5 s, 30 s, 2 min, 10 min, 1 h, 3 h, then every 6 h until 3 days are over", () => {
    const seconds = attemptsOf(() => 0).map((ms) => ms / 1_000);
    const early = [0, 5, 35, 155, 755, 4_355, 15_155];
    expect(seconds.slice(0, 7)).toEqual(early);
    const later = seconds.slice(7);
    expect(later.every((at, index) => at === 15_155 + (index + 1) * 21_600)).toBe(true);
    expect(later).toHaveLength(11);
    expect(seconds.at(-1)! * 1_000).toBeLessThanOrEqual(GIVE_UP_AFTER_MS);
    expect(seconds.at(-1)! * 1_000 + RETRY_LATER_MS).toBeGreaterThan(GIVE_UP_AFTER_MS);
  });

  it("adds up to a tenth, and never goes below", () => {
    for (const [index, pause] of [...RETRY_PAUSES_MS, RETRY_LATER_MS, RETRY_LATER_MS].entries()) {
      expect(pauseAfter(index + 1, 0)).toBe(pause);
      expect(pauseAfter(index + 1, 0.999_999)).toBeLessThanOrEqual(pause * (1 + JITTER));
      expect(pauseAfter(index + 1, 0.5)).toBe(Math.round(pause * (1 + JITTER / 2)));
    }
  });

  it("ends with any luck", () => {
    for (const luck of [0, 0.5, 0.999]) expect(attemptsOf(() => luck).length).toBeGreaterThan(15);
  });
});

describe("a verdict", () => {
  const first = { attempts: 1, startedAt: START, now: START, random: 0 };

  it.each([200, 201, 204, 299])("of %i is success", (status) => {
    expect(verdictOn({ status }, first)).toEqual({ kind: "delivered" });
  });

  it.each([100, 199, 300, 301, 302, 307, 308, 400, 401, 404, 408, 429, 500, 503])(
    "of %i is another try",
    (status) => {
      expect(verdictOn({ status }, first)).toEqual({ kind: "retry", at: START + 5_000 });
    },
  );

  it.each(["timeout", "connection_failed"] as const)("of %s is another try", (error) => {
    expect(verdictOn({ error }, first)).toEqual({ kind: "retry", at: START + 5_000 });
  });

  it("of 410 is gone, and of a URL we do not call dead at once", () => {
    expect(verdictOn({ status: 410 }, first)).toEqual({ kind: "gone" });
    expect(verdictOn({ error: "target_refused" }, first)).toEqual({ kind: "dead" });
  });

  it("waits as long as Retry-After says, but not shorter than the schedule", () => {
    const ask = (retryAfter: string, status = 500) => verdictOn({ status, retryAfter }, first);
    expect(ask("120")).toEqual({ kind: "retry", at: START + 120_000 });
    expect(ask("1")).toEqual({ kind: "retry", at: START + 5_000 });
  });

  it("lets 429 and 503 ask for quiet for everything", () => {
    for (const status of [429, 503])
      expect(verdictOn({ status, retryAfter: "60" }, first)).toEqual({
        kind: "retry",
        at: START + 60_000,
        notBefore: START + 60_000,
      });
    expect(verdictOn({ status: 500, retryAfter: "60" }, first)).not.toHaveProperty("notBefore");
  });

  it("does not let Retry-After stretch a delivery beyond three days", () => {
    const late = { attempts: 17, startedAt: START, now: START + GIVE_UP_AFTER_MS - 1_000, random: 0 };
    expect(verdictOn({ status: 503, retryAfter: "999999" }, late)).toEqual({ kind: "dead" });
  });
});

describe("Retry-After", () => {
  it.each([
    ["0", 0],
    ["7", 7_000],
    [" 7 ", 7_000],
    ["999999999", MAX_RETRY_AFTER_MS],
    ["Sun, 01 Mar 2026 00:01:00 GMT", 60_000],
    ["Sat, 28 Feb 2026 00:00:00 GMT", 0],
    ["Sun, 01 Mar 2099 00:00:00 GMT", MAX_RETRY_AFTER_MS],
  ])("%j is %i ms", (header, expected) => {
    expect(retryAfterMs(header, START)).toBe(expected);
  });

  it.each(["", "-1", "1.5", "1e3", "soon", "2026-03-01", "Sun, 99 Mar 2026 00:00:00 GMT", "Infinity"])(
    "%j says nothing",
    (header) => {
      expect(retryAfterMs(header, START)).toBeUndefined();
    },
  );
});

describe("an endpoint that fails", () => {
  it("is held after some failures in a row, longer each time, up to a bound", () => {
    expect(holdMs(HOLD_AFTER_FAILURES - 1)).toBe(0);
    expect(holdMs(HOLD_AFTER_FAILURES)).toBe(HOLD_MIN_MS);
    expect(holdMs(HOLD_AFTER_FAILURES + 1)).toBe(2 * HOLD_MIN_MS);
    for (const many of [20, 100, 1e9]) expect(holdMs(many)).toBe(HOLD_MAX_MS);
  });

  it("is worn out after five days without a success", () => {
    expect(isWornOut(START, START + DISABLE_AFTER_MS - 1)).toBe(false);
    expect(isWornOut(START, START + DISABLE_AFTER_MS)).toBe(true);
  });

  it("is not worn out by two failures with days of silence between them", () => {
    expect(failingSince(undefined, undefined, START)).toBe(START);
    const soon = START + FAILURE_GAP_MS;
    expect(failingSince(START, START, soon)).toBe(START);
    expect(failingSince(START, START, soon + 1)).toBe(soon + 1);
  });
});
