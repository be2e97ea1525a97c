// The brake on callers without a key. A file of its own: calls into the Worker get slower the more of them a file
// makes, and these are many.

import { describe, expect, inject, it } from "vitest";
import { formatApiKey, parseApiKey } from "../../src/http/api-key.ts";
import { call } from "../support/worker.ts";

/** More calls than one address may make in two periods: one may end in the middle of a test. */
const TWO_PERIODS = 245;
/** Each of them is two calls between objects. */
const SLOW_MACHINE_MS = 90_000;

describe("an address", () => {
  it("that calls too often is told how long to wait", async () => {
    const headers = { "cf-connecting-ip": "192.0.2.1" };
    const answers = [];
    do answers.push(await call("GET", "/health", { key: null, headers }));
    while (answers.at(-1)!.status === 200 && answers.length < TWO_PERIODS);
    const limited = answers.at(-1)!;
    expect(limited.body).toMatchObject({ code: "rate_limited" });
    expect(limited.status).toBe(429);
    expect(Number(limited.headers.get("retry-after"))).toBeGreaterThan(0);
    expect((await call("GET", "/health", { key: null })).status).toBe(200);
    // Keys that work are not held against the address.
    expect((await call("GET", "/api/v1/info", { headers })).status).toBe(200);
  });

  it(
    "that guesses at keys is stopped before the Directory is asked",
    async () => {
      const headers = { "cf-connecting-ip": "192.0.2.2" };
      const parsed = parseApiKey(inject("adminApiKey"));
      if (!parsed.ok) throw new Error(parsed.reason);
      const key = formatApiKey({ ...parsed, secret: "B".repeat(43) });
      const answers = await Promise.all(
        Array.from({ length: TWO_PERIODS }, () => call("GET", "/api/v1/info", { key, headers })),
      );
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([401, 429]));
    },
    SLOW_MACHINE_MS,
  );
});
