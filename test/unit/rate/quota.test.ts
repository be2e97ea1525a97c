// A quota over a sliding window, and what callers are told of it.

import { describe, expect, test } from "vitest";
import { rateHeaders } from "../../../src/http/rate-headers.ts";
import { Quota } from "../../../src/rate/quota.ts";

const START = 1_700_000_000_000;
const policy = { name: "key", quota: 6, windowSeconds: 60 };

/** How many of `tries` uses at one moment are allowed. */
const allowedAt = (quota: Quota, now: number, tries = 100): number =>
  Array.from({ length: tries }, () => quota.take("a", now)).filter(({ allowed }) => allowed).length;

describe("a quota", () => {
  test("allows exactly that many at once, and one more for each share of the window that passes", () => {
    const quota = new Quota(policy);
    expect(allowedAt(quota, START)).toBe(6);
    expect(allowedAt(quota, START + 9_999)).toBe(0);
    expect(allowedAt(quota, START + 10_000)).toBe(1);
    expect(allowedAt(quota, START + 40_000)).toBe(3);
    expect(allowedAt(quota, START + 1_000_000)).toBe(6);
  });

  test.each([1, 3, 7, 120, 599, 600, 1_000_000])("is exact for %d a minute", (quota) => {
    expect(allowedAt(new Quota({ ...policy, quota }), START, quota + 10)).toBe(quota);
  });

  test("says what is left, when to come back, and that it is worth telling once a window", () => {
    const quota = new Quota(policy);
    expect(quota.take("a", START)).toEqual({
      allowed: true,
      state: { ...policy, remaining: 5, resetSeconds: 10 },
    });
    for (let n = 0; n < 5; n++) quota.take("a", START);
    const refusal = {
      allowed: false,
      state: { ...policy, remaining: 0, resetSeconds: 60 },
      retryAfterSeconds: 10,
    };
    expect(quota.take("a", START)).toEqual({ ...refusal, worthTelling: true });
    expect(quota.take("a", START)).toEqual({ ...refusal, worthTelling: false });
    const later = quota.take("a", START + 4_500);
    expect(later).toMatchObject({ allowed: false, retryAfterSeconds: 6, worthTelling: false });
    expect(quota.take("a", START + 10_000).allowed).toBe(true);
    expect(quota.take("a", START + 10_001)).toMatchObject({ allowed: false, worthTelling: false });
    for (let n = 0; n < 9; n++) quota.take("a", START + 61_000);
    expect(quota.take("a", START + 61_000)).toMatchObject({ allowed: false });
  });

  test("counts each key for itself, and remembers no more of them than it has room for", () => {
    const quota = new Quota({ ...policy, quota: 1 });
    for (let n = 0; n < 5_000; n++) expect(quota.take(`key ${n}`, START).allowed).toBe(true);
    // The latest are remembered.
    expect(quota.take("key 4999", START).allowed).toBe(false);
    expect(quota.take("key 4001", START).allowed).toBe(false);
  });

  test("a clock that goes back gives nothing away", () => {
    const quota = new Quota(policy);
    expect(allowedAt(quota, START)).toBe(6);
    expect(allowedAt(quota, START - 5_000)).toBe(0);
  });
});

test("the headers are lists of structured fields, an item for each policy", () => {
  const states = [
    { ...policy, remaining: 5, resetSeconds: 10 },
    { name: "user", quota: 120, windowSeconds: 60, remaining: 0, resetSeconds: 59 },
  ];
  expect(rateHeaders(states)).toEqual({
    "RateLimit-Policy": '"key";q=6;w=60, "user";q=120;w=60',
    RateLimit: '"key";r=5;t=10, "user";r=0;t=59',
  });
  expect(rateHeaders([])).toEqual({});
});
