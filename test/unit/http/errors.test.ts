import { describe, expect, it } from "vitest";
import { z } from "zod";
import {
  ApiError,
  isRestart,
  PROBLEMS,
  problemOf,
  problemResponse,
  unwrap,
} from "../../../src/http/errors.ts";
import { validationError } from "../../../src/http/middleware/errors.ts";

describe("a refusal", () => {
  it("has the status of its code, and says the same in detail and message", () => {
    for (const [code, { status }] of Object.entries(PROBLEMS)) {
      const error = new ApiError(code as keyof typeof PROBLEMS, "change this");
      expect(problemResponse(error).status).toBe(status);
      expect(problemOf(error)).toMatchObject({ code, detail: "change this", message: "change this" });
    }
  });

  it.each([
    ["rate_limited", "60"],
    ["unavailable", "5"],
    ["internal_error", "30"],
    ["conflict", null],
  ] as const)("%s carries Retry-After %s", (code, seconds) => {
    expect(problemResponse(new ApiError(code, "wait")).headers.get("retry-after")).toBe(seconds);
  });

  it("of an object comes through with its details and its pause, rounded up", () => {
    const error = { code: "rate_limited", detail: "cooling off", retryAfterSeconds: 12.2 } as const;
    try {
      unwrap({ ok: false, error });
      expect.unreachable();
    } catch (thrown) {
      expect(problemResponse(thrown as ApiError).headers.get("retry-after")).toBe("13");
    }
  });
});

describe("a failed validation", () => {
  const schema = z.strictObject({
    name: z.string(),
    list: z.array(z.strictObject({ n: z.int() })),
  });
  const refused = (value: unknown) => validationError(schema.safeParse(value).error!.issues);

  it("names each field, and what it must be, but never what was sent", () => {
    const { details, message } = refused({ list: [{ n: 1 }, { n: "s3cret" }], extra: "s3cret" });
    expect(details).toEqual([
      { path: "name", message: "is required" },
      { path: "list[1].n", message: expect.stringContaining("expected number") },
      { path: "extra", message: expect.stringContaining("is not a field") },
    ]);
    expect(message).toBe("name: is required");
    expect(JSON.stringify(details)).not.toContain("s3cret");
  });

  it("names so many at most", () => {
    const list = Array.from({ length: 100 }, () => ({ n: "x" }));
    expect(refused({ name: "a", list }).details).toHaveLength(20);
  });

  it("of the body as a whole says so", () => {
    expect(refused([]).message).toMatch(/^the body: /);
  });
});

describe("a call cut off", () => {
  const failed = (properties: object) => Object.assign(new Error("x"), properties);
  it.each([
    ["by a lost connection", failed({ retryable: true }), true],
    ["by a deploy", failed({ durableObjectReset: true, remote: true }), true],
    ["without a word", failed({}), true],
    ["by the object's own exception", failed({ remote: true }), false],
    ["by overload", failed({ overloaded: true, retryable: true }), false],
    ["by nothing", "x", false],
  ])("%s counts as a restart or not", (_what, error, restart) => {
    expect(isRestart(error)).toBe(restart);
  });
});
