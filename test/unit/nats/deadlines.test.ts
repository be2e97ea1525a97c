import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Deadlines } from "../../../src/nats/deadlines.ts";

const TIMEOUT_MS = 1_000;

describe("waits of one length", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  test("are over each at its own time, under one timer", async () => {
    const deadlines = new Deadlines(TIMEOUT_MS);
    const over: string[] = [];
    deadlines.begin(() => over.push("first"));
    await vi.advanceTimersByTimeAsync(300);
    deadlines.begin(() => over.push("second"));
    expect(vi.getTimerCount()).toBe(1);
    await vi.advanceTimersByTimeAsync(700);
    expect(over).toEqual(["first"]);
    await vi.advanceTimersByTimeAsync(300);
    expect(over).toEqual(["first", "second"]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("that were ended are not over, and leave no timer behind", async () => {
    const deadlines = new Deadlines(TIMEOUT_MS);
    const over: string[] = [];
    const end = deadlines.begin(() => over.push("ended"));
    await vi.advanceTimersByTimeAsync(500);
    const other = deadlines.begin(() => over.push("other"));
    end();
    end();
    expect(vi.getTimerCount()).toBe(1);
    await vi.advanceTimersByTimeAsync(999);
    other();
    expect(vi.getTimerCount()).toBe(0);
    await vi.advanceTimersByTimeAsync(TIMEOUT_MS);
    expect(over).toEqual([]);
  });

  test("may be begun by one that is over", async () => {
    const deadlines = new Deadlines(TIMEOUT_MS);
    const over: string[] = [];
    deadlines.begin(() => {
      over.push("first");
      deadlines.begin(() => over.push("second"));
    });
    await vi.advanceTimersByTimeAsync(2 * TIMEOUT_MS);
    expect(over).toEqual(["first", "second"]);
  });

  test("give a promise's outcome, or an error that names what was late", async () => {
    const deadlines = new Deadlines(TIMEOUT_MS);
    expect(await deadlines.within(Promise.resolve(1), "it")).toBe(1);
    await expect(deadlines.within(Promise.reject(new Error("no")), "it")).rejects.toThrow("no");
    const late = expect(deadlines.within(new Promise(() => {}), "it")).rejects.toThrow(
      "it: no answer within 1000 ms",
    );
    await vi.advanceTimersByTimeAsync(TIMEOUT_MS);
    await late;
    expect(vi.getTimerCount()).toBe(0);
  });
});
