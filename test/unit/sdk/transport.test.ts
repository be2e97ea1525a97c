// What a call repeats, what it never does, and how refusals reach the caller.

import { describe, expect, it, vi } from "vitest";
import { refusalCodes } from "../../../sdk/typescript/src/errors.ts";
import {
  type ApiError,
  ConflictError,
  isServiceVaultError,
  NotFoundError,
  RateLimitedError,
  ServiceVault,
  type ServiceVaultOptions,
} from "../../../sdk/typescript/src/index.ts";
import { pauseMs } from "../../../sdk/typescript/src/transport.ts";
import { PROBLEMS } from "../../../src/http/errors.ts";

const KEY = "svk_test_0123_secret";

interface Seen {
  method: string;
  path: string;
  headers: Record<string, string>;
  body: unknown;
  redirect: string | undefined;
}

type Reply = { status?: number; body?: unknown; headers?: Record<string, string> } | Error;

/** A vault that answers from a list, the last one for good. */
function scripted(replies: Reply[], options: Partial<ServiceVaultOptions> = {}) {
  const seen: Seen[] = [];
  const vault = new ServiceVault({
    baseUrl: "https://vault.example.com",
    apiKey: KEY,
    ...options,
    fetch: async (url, init) => {
      seen.push({
        method: init.method!,
        path: url.slice("https://vault.example.com".length),
        headers: init.headers as Record<string, string>,
        body: init.body === undefined ? undefined : JSON.parse(init.body as string),
        redirect: init.redirect,
      });
      const reply = replies[Math.min(seen.length, replies.length) - 1]!;
      if (reply instanceof Error) throw reply;
      const { status = 200, body = {}, headers = {} } = reply;
      return new Response(typeof body === "string" ? body : JSON.stringify(body), {
        status,
        headers: {
          "content-type": status < 400 ? "application/json" : "application/problem+json",
          ...headers,
        },
      });
    },
  });
  return { vault, seen };
}

const problem = (status: number, code: string, headers: Record<string, string> = {}): Reply => ({
  status,
  body: { code, detail: `because of ${code}`, status },
  headers: { "x-request-id": "call-1", ...headers },
});

const ASK = { user_id: "someone", purpose: "Log in" };
const ACCEPTED = { status: 201, body: { request_id: "abc", status: "pending" } };

describe("a call", () => {
  it("carries the key and the input, and follows no redirect", async () => {
    const { vault, seen } = scripted([ACCEPTED]);
    const request = await vault.auth.request(ASK);
    expect(request.id).toBe("abc");
    expect(seen).toMatchObject([
      {
        method: "POST",
        path: "/api/v1/auth/request",
        body: ASK,
        redirect: "manual",
        headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json" },
      },
    ]);
  });

  it("puts ids into the path and the rest into the query", async () => {
    const { vault, seen } = scripted([{}]);
    await vault.contracts.delete("a/b?c", { reason: "no & more" });
    await vault.offerings.get("login", { version: 2 });
    await vault.info();
    expect(seen.map(({ method, path }) => `${method} ${path}`)).toEqual([
      "DELETE /api/v1/contracts/a%2Fb%3Fc?reason=no+%26+more",
      "GET /api/v1/offerings/login?version=2",
      "GET /api/v1/info",
    ]);
  });

  it.each(["", ".", "..", undefined, null, 7])("refuses %j as an id before anything is sent", async (id) => {
    const { vault, seen } = scripted([{}]);
    expect(() => vault.contracts.delete(id as string)).toThrow(TypeError);
    expect(() => vault.auth.handle(id as string)).toThrow(TypeError);
    expect(seen).toEqual([]);
  });
});

describe("construction", () => {
  it.each([
    "vault.example.com",
    "http://vault.example.com",
    "https://user:secret@vault.example.com",
    "https://vault.example.com/?x=1",
    "ftp://vault.example.com",
    "",
  ])("refuses the base URL %j", (baseUrl) => {
    expect(() => new ServiceVault({ baseUrl, apiKey: KEY })).toThrow(TypeError);
  });

  it.each(["https://vault.example.com/", "http://localhost:8787", "http://127.0.0.1:1", "http://[::1]:1"])(
    "takes %j",
    (baseUrl) => {
      expect(() => new ServiceVault({ baseUrl, apiKey: KEY })).not.toThrow();
    },
  );

  it.each(["", "two words", "svk_\n", undefined])("refuses the key %j without repeating it", (apiKey) => {
    const attempt = () => new ServiceVault({ baseUrl: "https://v.example", apiKey: apiKey as string });
    expect(attempt).toThrow(TypeError);
    expect(attempt).not.toThrow(/two words/);
  });

  it.each([Number.NaN, -1, Number.POSITIVE_INFINITY])("refuses %d as a time or a count", (value) => {
    const options = { baseUrl: "https://v.example", apiKey: KEY };
    expect(() => new ServiceVault({ ...options, timeoutMs: value })).toThrow(TypeError);
    expect(() => new ServiceVault({ ...options, maxRetries: value })).toThrow(TypeError);
  });

  it("keeps the key out of what prints or serialises a client", () => {
    const { vault } = scripted([{}]);
    expect(JSON.stringify(vault)).not.toContain(KEY);
    expect(Object.keys(vault)).not.toContain("apiKey");
  });
});

describe("refusals", () => {
  it("have a class for every code the vault has", () => {
    expect(refusalCodes().sort()).toEqual(Object.keys(PROBLEMS).sort());
  });

  it.each(Object.entries(PROBLEMS))("%s is an error with its code and status", async (code, { status }) => {
    const { vault } = scripted([problem(status, code, { "retry-after": "60" })], { maxRetries: 0 });
    const error = (await vault.info().catch((thrown: unknown) => thrown)) as ApiError & { code: string };
    expect(isServiceVaultError(error)).toBe(true);
    expect(error).toMatchObject({
      code,
      status,
      requestId: "call-1",
      retryAfterSeconds: 60,
      message: `because of ${code}`,
    });
    expect(error.name).toMatch(/Error$/);
  });

  it("carry the fields that are wrong", async () => {
    const details = [{ path: "user_id", message: "is required" }];
    const { vault } = scripted([
      { status: 400, body: { code: "invalid_request", detail: "user_id: is required", details } },
    ]);
    await expect(vault.auth.request(ASK)).rejects.toMatchObject({ code: "invalid_request", details });
  });

  it("of a newer vault are told apart by the vault's own word", async () => {
    const { vault } = scripted([problem(451, "unheard_of")]);
    await expect(vault.info()).rejects.toMatchObject({
      code: "unrecognized",
      serverCode: "unheard_of",
      status: 451,
    });
  });

  it.each([
    ["a page", { status: 404, body: "<html>", headers: { "content-type": "text/html" } }],
    ["a redirect", { status: 302, body: "", headers: { location: "https://elsewhere.example" } }],
    ["a page with 200", { status: 200, body: "<html>" }],
    ["problem JSON without a code", { status: 400, body: { message: "no" } }],
  ])("%s is no answer of a vault", async (_, reply) => {
    const { vault, seen } = scripted([reply]);
    await expect(vault.info()).rejects.toMatchObject({ code: "unexpected_answer", status: reply.status });
    expect(seen).toHaveLength(1);
  });
});

describe("repetition", () => {
  const lost = new TypeError("fetch failed");

  it("sends an ask again with the same Idempotency-Key until it is through", async () => {
    const { vault, seen } = scripted([lost, problem(503, "unavailable", { "retry-after": "0" }), ACCEPTED]);
    await vault.auth.request(ASK);
    const keys = seen.map(({ headers }) => headers["idempotency-key"]);
    expect(keys).toHaveLength(3);
    expect(keys[0]).toMatch(/^[0-9a-f-]{36}$/);
    expect(new Set(keys).size).toBe(1);
  });

  it("makes another key for another ask, and takes the caller's", async () => {
    const { vault, seen } = scripted([ACCEPTED]);
    await vault.auth.request(ASK);
    await vault.auth.request(ASK);
    await vault.auth.request(ASK, { idempotencyKey: "order-7" });
    const keys = seen.map(({ headers }) => headers["idempotency-key"]);
    expect(new Set(keys).size).toBe(3);
    expect(keys[2]).toBe("order-7");
  });

  it("reads again after a lost connection, and gives up after the retries", async () => {
    const { vault, seen } = scripted([lost], { maxRetries: 2 });
    await expect(vault.info()).rejects.toMatchObject({ code: "connection_failed", cause: lost });
    expect(seen).toHaveLength(3);
  });

  it("does not repeat a change of which it is not known whether it was made", async () => {
    const { vault, seen } = scripted([lost]);
    await expect(vault.contracts.accept("c")).rejects.toMatchObject({ code: "connection_failed" });
    expect(seen).toHaveLength(1);
  });

  it("repeats such a change when the vault says to come back", async () => {
    const { vault, seen } = scripted([problem(503, "unavailable", { "retry-after": "0" }), {}]);
    await vault.contracts.accept("c");
    expect(seen).toHaveLength(2);
  });

  it("does not wait long: a cooling-off is the caller's to know", async () => {
    const { vault, seen } = scripted([problem(429, "rate_limited", { "retry-after": "60" })]);
    await expect(vault.auth.request(ASK)).rejects.toBeInstanceOf(RateLimitedError);
    expect(seen).toHaveLength(1);
  });

  it.each([400, 401, 403, 404, 409])("never repeats after %d", async (status) => {
    const { vault, seen } = scripted([problem(status, "conflict")]);
    await expect(vault.auth.request(ASK)).rejects.toBeInstanceOf(ConflictError);
    expect(seen).toHaveLength(1);
  });

  it("pauses longer each time, never beyond the limit, and as long as it was told", () => {
    const pauses = [0, 1, 2, 3, 4, 5, 6, 50, 5_000].map((attempt) => pauseMs(attempt, undefined, () => 1));
    expect(pauses).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000, 8_000]);
    expect(pauseMs(3, undefined, () => 0)).toBe(1_000);
    const told = new NotFoundError({ status: 503, detail: "", retryAfterSeconds: 7 });
    expect(pauseMs(0, told)).toBe(7_000);
  });

  it("ends with the signal's reason, also between attempts", async () => {
    const { vault } = scripted([lost]);
    const controller = new AbortController();
    const calling = vault.info({ signal: controller.signal, maxRetries: 100 });
    controller.abort(new Error("enough"));
    await expect(calling).rejects.toThrow("enough");
    await expect(vault.info({ signal: controller.signal })).rejects.toThrow("enough");
  });

  it("an attempt that takes too long is a timeout", async () => {
    const vault = new ServiceVault({
      baseUrl: "https://vault.example.com",
      apiKey: KEY,
      timeoutMs: 20,
      maxRetries: 0,
      fetch: (_, { signal }) =>
        new Promise((__, reject) => signal!.addEventListener("abort", () => reject(signal!.reason))),
    });
    await expect(vault.info()).rejects.toMatchObject({ code: "call_timeout" });
  });
});

describe("lists", () => {
  const pages: Reply[] = [
    { body: { contracts: [1, 2], next_cursor: "x", total_count: 3 } },
    { body: { contracts: [3], total_count: 3 } },
  ];

  it("are read page by page, as far as the loop goes", async () => {
    const { vault, seen } = scripted(pages);
    const list = vault.contracts.list({ status: "active" });
    expect(seen).toEqual([]);
    expect(await list.toArray()).toEqual([1, 2, 3]);
    expect(seen.map(({ path }) => path)).toEqual([
      "/api/v1/contracts?status=active",
      "/api/v1/contracts?status=active&cursor=x",
    ]);
    seen.length = 0;
    for await (const _ of list) break;
    expect(seen).toHaveLength(1);
  });

  it("give what a page carries beside its items", async () => {
    const { vault } = scripted(pages);
    expect((await vault.contracts.list().page()).total_count).toBe(3);
  });

  it("take the first few only", async () => {
    const { vault, seen } = scripted(pages);
    expect(await vault.contracts.list().toArray(2)).toEqual([1, 2]);
    expect(await vault.contracts.list().toArray(0)).toEqual([]);
    expect(seen).toHaveLength(1);
  });

  it("end when the cursor does not move", async () => {
    const { vault, seen } = scripted([{ body: { contracts: [1], next_cursor: "x" } }]);
    expect(await vault.contracts.list().toArray()).toEqual([1, 1]);
    expect(seen).toHaveLength(2);
  });
});

describe("waiting", () => {
  const pending: Reply = { body: { status: "pending" } };
  const approved: Reply = { body: { status: "approved" } };

  it("holds the line until there is an answer, over whatever passes", async () => {
    const { vault, seen } = scripted([
      pending,
      problem(500, "internal_error"),
      new TypeError("gone"),
      approved,
    ]);
    expect(await vault.auth.handle("abc").wait()).toEqual({ status: "approved" });
    expect(seen.map(({ path }) => path)).toEqual(Array(4).fill("/api/v1/auth/request/abc?wait=30"));
  });

  it("goes on while a call rings and a subscription is only proposed", async () => {
    const ringing = scripted([{ body: { status: "ringing" } }, { body: { status: "connected" } }]);
    expect(await ringing.vault.call.handle("abc").wait()).toEqual({ status: "connected" });
    const proposed = scripted([{ body: { status: "pending_approval" } }, { body: { status: "active" } }]);
    expect(await proposed.vault.subscriptions.handle("abc").wait()).toEqual({ status: "active" });
  });

  it("ends with the time, having looked once more", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    try {
      const { vault, seen } = scripted([pending]);
      const waiting = vault.auth.handle("abc").wait({ timeoutMs: 500 });
      await expect(waiting).rejects.toMatchObject({ code: "wait_timeout", vaultRequestId: "abc" });
      expect(seen.map(({ path }) => path)).toEqual(["/api/v1/auth/request/abc"]);
    } finally {
      vi.useRealTimers();
    }
  });

  it("throws what does not pass", async () => {
    const { vault, seen } = scripted([problem(404, "not_found")]);
    await expect(vault.auth.handle("abc").wait()).rejects.toBeInstanceOf(NotFoundError);
    expect(seen).toHaveLength(1);
  });

  it("refuses a time that is none", async () => {
    const { vault } = scripted([pending]);
    await expect(vault.auth.handle("abc").wait({ timeoutMs: Number.NaN })).rejects.toThrow(TypeError);
  });

  it("takes the ask back by its id", async () => {
    const { vault, seen } = scripted([{ body: { status: "cancelled" } }]);
    await vault.auth.handle("abc").cancel();
    expect(seen).toMatchObject([{ method: "POST", path: "/api/v1/requests/abc/cancel" }]);
  });
});

describe("events", () => {
  const event = (event_id: string) => ({ type: "auth.response", event_id, timestamp: "", data: {} });

  it("come in order over pages and failures, from where the caller says", async () => {
    const { vault, seen } = scripted([
      { body: { events: [event("a"), event("b")], next_cursor: "1" } },
      problem(503, "unavailable", { "retry-after": "0" }),
      { body: { events: [], next_cursor: "2" } },
      { body: { events: [event("c")], next_cursor: "3" } },
      { body: { events: [], next_cursor: "3" } },
    ]);
    const ids = [];
    for await (const { event_id } of vault.events({ after: "z", follow: false, type: "auth.response" }))
      ids.push(event_id);
    expect(ids).toEqual(["a", "b", "c"]);
    expect(seen.map(({ path }) => new URLSearchParams(path.split("?")[1]).get("after"))).toEqual([
      "z",
      "1",
      "1",
      "2",
      "3",
    ]);
  });

  it("end with the signal, and throw what is refused for good", async () => {
    const controller = new AbortController();
    const { vault } = scripted([{ body: { events: [event("a")], next_cursor: "1" } }]);
    for await (const _ of vault.events({ signal: controller.signal })) controller.abort();
    const refused = scripted([problem(403, "forbidden")]).vault.events();
    await expect(refused.next()).rejects.toMatchObject({ code: "forbidden" });
  });
});
