// The HTTP surface: who may call what, what is refused and how, and what a repeated call gets.

import { abortAllDurableObjects, createExecutionContext, reset } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it, vi } from "vitest";
import { formatApiKey, parseApiKey } from "../../src/http/api-key.ts";
import { app } from "../../src/http/app.ts";
import { KEY_CACHE_MS } from "../../src/http/middleware/authenticate.ts";
import { MAX_BODY_BYTES } from "../../src/http/middleware/body.ts";
import type { RequestPayload } from "../../src/protocol/asking.ts";
import { toBase58 } from "../../src/protocol/encoding.ts";
import { newRoutedId, randomBytes } from "../../src/protocol/ids.ts";
import { offeringContent } from "../support/offer.ts";
import { type Body, call, connectedPeer, deliver, offerAndInvite } from "../support/worker.ts";

const SCOPES = [
  "requests:read",
  "requests:write",
  "contracts:read",
  "contracts:write",
  "audit:read",
] as const;

/** Every operation and the scope it needs, as API.md has it. A new route is written down here or the test fails. */
const EXPECTED_SCOPES: Record<string, string> = {
  "GET /health": "public",
  "GET /ready": "public",
  "GET /.well-known/vettid-service": "public",
  "GET /openapi.json": "public",
  "GET /docs": "public",
  "GET /log/checkpoint": "public",
  "GET /log/tile/{L}/{N}": "public",
  "GET /connect/{code}": "public",
  "POST /connect/{code}/credentials": "public",
  "POST /connect/credentials": "public",
  "POST /connect/revoke": "public",
  "DELETE /api/v1/secrets/{secret_id}": "requests:write",
  "DELETE /api/v1/webhooks/{id}": "admin",
  "GET /api/v1/authz/request/{id}": "requests:read",
  "GET /api/v1/call/{id}": "requests:read",
  "GET /api/v1/call/{id}/signaling": "public",
  "GET /api/v1/call/{id}/signals": "requests:read",
  "GET /api/v1/collaboration/datastores": "requests:read",
  "GET /api/v1/collaboration/datastores/{datastore_id}/audit": "requests:read",
  "GET /api/v1/collaboration/request/{id}": "requests:read",
  "GET /api/v1/custom/request/{id}": "requests:read",
  "GET /api/v1/data/request/{id}": "requests:read",
  "GET /api/v1/events": "requests:read",
  "GET /api/v1/presence/request/{id}": "requests:read",
  "GET /api/v1/secrets": "requests:read",
  "GET /api/v1/secrets/request/{id}": "requests:read",
  "GET /api/v1/sign/request/{id}": "requests:read",
  "GET /api/v1/users/{user_id}/events": "requests:read",
  "GET /api/v1/users/{user_id}/events/{event_id}": "requests:read",
  "GET /api/v1/webhooks": "admin",
  "GET /api/v1/audit/log": "audit:read",
  "POST /api/v1/audit/log/resume": "admin",
  "GET /api/v1/transfer": "admin",
  "GET /api/v1/transfer/{object}/read": "admin",
  "POST /api/v1/transfer/{object}/write": "admin",
  "GET /api/v1/webhooks/deliveries": "requests:read",
  "PATCH /api/v1/webhooks/{id}": "admin",
  "POST /api/v1/authz/request": "requests:write",
  "POST /api/v1/call/initiate": "requests:write",
  "POST /api/v1/call/{id}/end": "requests:write",
  "POST /api/v1/call/{id}/message": "requests:write",
  "POST /api/v1/call/{id}/signal": "requests:write",
  "POST /api/v1/call/{id}/ticket": "requests:write",
  "POST /api/v1/collaboration/connections": "requests:write",
  "POST /api/v1/collaboration/datastores/{datastore_id}/audit": "requests:write",
  "POST /api/v1/collaboration/datastores/{datastore_id}/read": "requests:write",
  "POST /api/v1/collaboration/datastores/{datastore_id}/write": "requests:write",
  "POST /api/v1/collaboration/request": "requests:write",
  "POST /api/v1/custom/{name}/request": "requests:write",
  "POST /api/v1/data/browse": "requests:write",
  "POST /api/v1/data/read": "requests:write",
  "POST /api/v1/data/request": "requests:write",
  "POST /api/v1/data/write": "requests:write",
  "POST /api/v1/presence/request": "requests:write",
  "POST /api/v1/secrets/list": "requests:write",
  "POST /api/v1/secrets/retrieve": "requests:write",
  "POST /api/v1/secrets/store": "requests:write",
  "POST /api/v1/secrets/user-owned/use": "requests:write",
  "POST /api/v1/sign/document": "requests:write",
  "POST /api/v1/sign/transaction": "requests:write",
  "POST /api/v1/webhooks": "admin",
  "POST /api/v1/webhooks/deliveries/{id}/redeliver": "admin",
  "POST /api/v1/webhooks/{id}/redeliver": "admin",
  "POST /api/v1/webhooks/{id}/rotate-secret": "admin",
  "POST /api/v1/webhooks/{id}/test": "admin",
  "PUT /api/v1/secrets/{secret_id}": "requests:write",
  "GET /api/v1/info": "requests:read",
  "GET /api/v1/keys": "admin",
  "GET /api/v1/metrics": "requests:read",
  "GET /api/v1/offerings": "contracts:read",
  "GET /api/v1/offerings/{id}": "contracts:read",
  "PUT /api/v1/offerings/{id}": "admin",
  "DELETE /api/v1/offerings/{id}": "admin",
  "GET /api/v1/manifest": "contracts:read",
  "PUT /api/v1/manifest": "admin",
  "GET /api/v1/domain": "contracts:read",
  "POST /api/v1/domain/verify": "admin",
  "GET /api/v1/registries": "contracts:read",
  "POST /api/v1/registries": "admin",
  "DELETE /api/v1/registries/{id}": "admin",
  "GET /api/v1/api-keys": "admin",
  "POST /api/v1/api-keys": "admin",
  "DELETE /api/v1/api-keys/{id}": "admin",
  "POST /api/v1/api-keys/{id}/rotate": "admin",
  "POST /api/v1/contracts/invite": "contracts:write",
  "GET /api/v1/contracts/invites": "contracts:read",
  "DELETE /api/v1/contracts/invites/{id}": "contracts:write",
  "GET /api/v1/contracts": "contracts:read",
  "GET /api/v1/contracts/{id}": "contracts:read",
  "POST /api/v1/contracts/{id}/accept": "contracts:write",
  "POST /api/v1/contracts/{id}/reject": "contracts:write",
  "POST /api/v1/contracts/{id}/pause": "contracts:write",
  "POST /api/v1/contracts/{id}/resume": "contracts:write",
  "POST /api/v1/contracts/{id}/amendments": "contracts:write",
  "GET /api/v1/contracts/{id}/amendments": "contracts:read",
  "GET /api/v1/contracts/{id}/receipt": "contracts:read",
  "POST /api/v1/contracts/{id}/rotate-key": "contracts:write",
  "DELETE /api/v1/contracts/{id}": "contracts:write",
  "GET /api/v1/users/{user_id}": "contracts:read",
  "DELETE /api/v1/users/{user_id}": "admin",
  "GET /api/v1/users/{user_id}/profile": "contracts:read",
  "POST /api/v1/auth/request": "requests:write",
  "GET /api/v1/auth/request/{id}": "requests:read",
  "POST /api/v1/auth/sessions": "requests:write",
  "GET /api/v1/auth/sessions/{id}": "requests:read",
  "DELETE /api/v1/auth/sessions/{id}": "requests:write",
  "POST /api/v1/payment/request": "requests:write",
  "GET /api/v1/payment/request/{id}": "requests:read",
  "POST /api/v1/payment/request/{id}/processing": "requests:write",
  "POST /api/v1/payment/request/{id}/complete": "requests:write",
  "POST /api/v1/payment/request/{id}/fail": "requests:write",
  "POST /api/v1/payment/request/{id}/refund": "requests:write",
  "POST /api/v1/subscriptions": "requests:write",
  "GET /api/v1/subscriptions": "requests:read",
  "GET /api/v1/subscriptions/{id}": "requests:read",
  "DELETE /api/v1/subscriptions/{id}": "requests:write",
  "POST /api/v1/subscriptions/{id}/complete": "requests:write",
  "POST /api/v1/subscriptions/{id}/fail": "requests:write",
  "POST /api/v1/notifications": "requests:write",
  "GET /api/v1/notifications/{id}": "requests:read",
  "GET /api/v1/requests": "requests:read",
  "GET /api/v1/requests/{id}": "requests:read",
  "POST /api/v1/requests/{id}/cancel": "requests:write",
  "GET /api/v1/audit": "audit:read",
  "GET /api/v1/audit/{event_id}/proof": "audit:read",
  "POST /api/v1/audit/verify": "audit:read",
};
const PROTECTED = Object.entries(EXPECTED_SCOPES).filter(([, scope]) => scope !== "public");

const randomId = () => toBase58(randomBytes(32));
const USER = randomId();
const ask = { user_id: USER, purpose: "Log in to the shop" };

/** A path with something in place of its parameters. */
const concrete = (path: string): string => path.replaceAll(/\{[^}]+\}/g, USER);

async function makeKey(scopes: readonly string[]): Promise<{ key_id: string; api_key: string }> {
  const made = await call("POST", "/api/v1/api-keys", { body: { name: "test", scopes } });
  expect(made.status).toBe(201);
  return made.body;
}

const problem = (answer: { status: number; headers: Headers; body: Body }) => {
  expect(answer.headers.get("content-type")).toBe("application/problem+json");
  expect(answer.body).toMatchObject({ status: answer.status, message: answer.body.detail });
  expect(answer.body.type).toBe(`urn:vettid:problem:${answer.body.code}`);
  return answer.body.code as string;
};

describe("the description", () => {
  let document: Body;
  beforeAll(async () => {
    document = (await call("GET", "/openapi.json", { key: null })).body;
  });

  const operations = (): [string, Body][] =>
    Object.entries<Body>(document.paths).flatMap(([path, methods]) =>
      Object.entries<Body>(methods).map(([method, operation]): [string, Body] => [
        `${method.toUpperCase()} ${path}`,
        operation,
      ]),
    );

  it("is OpenAPI 3.1 and names the scope of every operation, the expected one", () => {
    expect(document.openapi).toBe("3.1.0");
    const scopes = operations().map(([name, { security }]) => [
      name,
      security.length === 0 ? "public" : security[0].apiKey[0],
    ]);
    expect(Object.fromEntries(scopes)).toEqual(EXPECTED_SCOPES);
  });

  it("has a summary, a tag and a described success for every operation", () => {
    for (const [name, operation] of operations()) {
      expect(operation.summary, name).toBeTruthy();
      expect(operation.tags, name).toHaveLength(1);
      // A WebSocket has no content to describe.
      if (operation.responses["101"] !== undefined) continue;
      const success = Object.entries<Body>(operation.responses).find(([status]) => status.startsWith("2"));
      expect(success?.[1].content, name).toBeDefined();
    }
  });

  it("has no open references and no recursion left", () => {
    const text = JSON.stringify(document);
    expect(text).not.toContain("$defs");
    for (const [, name] of text.matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g))
      expect(document.components.schemas).toHaveProperty(name!);
  });

  it("shows an ask's own fields beside those of every ask", () => {
    const schema = document.paths["/api/v1/auth/request"].post.requestBody.content["application/json"].schema;
    expect(schema.required.sort()).toEqual(["purpose", "user_id"]);
    expect(Object.keys(schema.properties)).toEqual(
      expect.arrayContaining(["match_code", "expires_in_seconds", "callback_url", "offline_grace_hours"]),
    );
  });
});

describe("keys and scopes", () => {
  const keys: Record<string, string> = {};
  beforeAll(async () => {
    for (const scope of SCOPES) {
      const others = SCOPES.filter((other) => other !== scope);
      keys[scope] = (await makeKey(others)).api_key;
    }
    keys.admin = (await makeKey(SCOPES)).api_key;
  });
  afterAll(() => reset());

  it.each(PROTECTED)("%s refuses a call without a key", async (operation) => {
    const [method, path] = operation.split(" ");
    const answer = await call(method!, concrete(path!), { key: null });
    expect(answer.status).toBe(401);
    expect(problem(answer)).toBe("unauthorized");
    expect(answer.headers.get("www-authenticate")).toContain("Bearer");
  });

  it.each(PROTECTED)(
    "%s refuses a key that lacks %s, even with every other scope",
    async (operation, scope) => {
      const [method, path] = operation.split(" ");
      const answer = await call(method!, concrete(path!), { key: keys[scope]! });
      expect(answer.status).toBe(403);
      expect(problem(answer)).toBe("forbidden");
      expect(answer.body.detail).toContain(scope);
    },
  );

  const parsed = parseApiKey(inject("adminApiKey"));
  if (!parsed.ok) throw new Error("the test's admin key is malformed");
  it.each([
    ["no key at all", "svk"],
    ["a key with a typing error", inject("adminApiKey").replace(/.$/, (last) => (last === "0" ? "1" : "0"))],
    ["a key with another secret", formatApiKey({ ...parsed, secret: "A".repeat(43) })],
    ["a key nobody was given", formatApiKey({ ...parsed, id: "A".repeat(12) })],
    ["a key of another environment", formatApiKey({ ...parsed, environment: "production" })],
  ])("%s is refused without a hint at what exists", async (_what, key) => {
    const answer = await call("GET", "/api/v1/info", { key });
    expect(answer.status).toBe(401);
    expect(problem(answer)).toBe("unauthorized");
    expect(JSON.stringify(answer.body)).not.toContain(key.slice(-20));
  });

  it("takes the scheme's name in any case, and no other scheme", async () => {
    const lower = await call("GET", "/api/v1/info", {
      key: null,
      headers: { authorization: `bearer ${inject("adminApiKey")}` },
    });
    expect(lower.status).toBe(200);
    const basic = await call("GET", "/api/v1/info", { key: null, headers: { authorization: "Basic abc" } });
    expect(basic.status).toBe(401);
  });
});

describe("a deleted or rotated key", () => {
  beforeEach(() => vi.useFakeTimers({ toFake: ["Date"] }));
  afterEach(async () => {
    vi.useRealTimers();
    await reset();
  });

  it("stops within 30 seconds", async () => {
    const { key_id, api_key } = await makeKey(["requests:read"]);
    expect((await call("GET", "/api/v1/info", { key: api_key })).status).toBe(200);
    const deleted = await call("DELETE", `/api/v1/api-keys/${key_id}`);
    expect(deleted.body).toEqual({ key_id, status: "deleted", may_work_seconds: KEY_CACHE_MS / 1_000 });
    vi.setSystemTime(Date.now() + KEY_CACHE_MS);
    expect((await call("GET", "/api/v1/info", { key: api_key })).status).toBe(401);
  });

  it("stops at the end of its grace, even while it is remembered", async () => {
    const { key_id, api_key } = await makeKey(["requests:read"]);
    const rotated = await call("POST", `/api/v1/api-keys/${key_id}/rotate`, { body: { grace_seconds: 10 } });
    expect(rotated.status).toBe(200);
    expect((await call("GET", "/api/v1/info", { key: api_key })).status).toBe(200);
    vi.setSystemTime(Date.now() + 10_000);
    expect((await call("GET", "/api/v1/info", { key: api_key })).status).toBe(401);
    expect((await call("GET", "/api/v1/info", { key: rotated.body.api_key })).status).toBe(200);
  });

  it("keeps a day's grace when nothing else is said", async () => {
    const { key_id } = await makeKey(["requests:read"]);
    const rotated = await call("POST", `/api/v1/api-keys/${key_id}/rotate`);
    expect(rotated.body.previous_valid_until).toBe(new Date(Date.now() + 86_400_000).toISOString());
  });
});

describe("bodies", () => {
  beforeAll(async () => {
    await offerAndInvite();
  });
  afterAll(() => reset());

  const capability = offeringContent.capabilities[0]!;
  const offeringPut = (change: object) =>
    ["PUT", "/api/v1/offerings/login", { ...offeringContent, ...change }] as const;
  const asked = (change: object) => ["POST", "/api/v1/auth/request", { ...ask, ...change }] as const;
  const invited = (change: object) => ["POST", "/api/v1/contracts/invite", change] as const;
  const keyed = (change: object) =>
    ["POST", "/api/v1/api-keys", { name: "k", scopes: ["admin"], ...change }] as const;

  it.each([
    [asked({ user_id: undefined }), "user_id"],
    [asked({ user_id: "someone" }), "user_id"],
    [asked({ user_id: 7 }), "user_id"],
    [asked({ purpose: undefined }), "purpose"],
    [asked({ purpose: "" }), "purpose"],
    [asked({ purpose: "x".repeat(501) }), "purpose"],
    [asked({ purpose: "a\u0000b" }), "purpose"],
    [asked({ context: { device: { nested: true } } }), "context.device"],
    [asked({ context: Object.fromEntries(Array.from({ length: 17 }, (_, n) => [`f${n}`, n])) }), "context"],
    [asked({ match_code: "yes" }), "match_code"],
    [asked({ expires_in_seconds: 59 }), "expires_in_seconds"],
    [asked({ expires_in_seconds: 2_592_001 }), "expires_in_seconds"],
    [asked({ expires_in_seconds: 60.5 }), "expires_in_seconds"],
    [asked({ expires_in_seconds: "300" }), "expires_in_seconds"],
    [asked({ expires_in: 5 }), "expires_in"],
    [asked({ timeout_seconds: 5 }), "timeout_seconds"],
    [asked({ ttl_hours: 721 }), "ttl_hours"],
    [asked({ expires_in: 60, ttl_hours: 1 }), "ttl_hours"],
    [asked({ offline_grace_seconds: -1 }), "offline_grace_seconds"],
    [asked({ expires_in_seconds: 2_592_000, offline_grace_hours: 25 }), "offline_grace_hours"],
    [asked({ offline_grace: 1_000, offline_grace_seconds: 2 }), "offline_grace"],
    [asked({ callback_url: "ftp://shop.example/" }), "callback_url"],
    [asked({ callback_url: "http://shop.example/" }), "callback_url"],
    [asked({ callback_url: "https://user:pass@shop.example/" }), "callback_url"],
    [asked({ callback_url: `https://shop.example/${"x".repeat(2_048)}` }), "callback_url"],
    [asked({ metadata: "x".repeat(9_000) }), "metadata"],
    [asked({ offline_grace_second: 5 }), "offline_grace_second"],
    [invited({ offering_id: "No Such" }), "offering_id"],
    [invited({ max_uses: 0 }), "max_uses"],
    [invited({ max_uses: 1.5 }), "max_uses"],
    [invited({ expires_in_seconds: 1 }), "expires_in_seconds"],
    [invited({ match_code: 1 }), "match_code"],
    [invited({ uses: 1 }), "uses"],
    [keyed({ name: "" }), "name"],
    [keyed({ name: "a\nb" }), "name"],
    [keyed({ scopes: [] }), "scopes"],
    [keyed({ scopes: ["everything"] }), "scopes[0]"],
    [keyed({ scopes: ["admin", "admin"] }), "scopes"],
    [keyed({ expires_in_seconds: 1 }), "expires_in_seconds"],
    [offeringPut({ name: undefined }), "name"],
    [offeringPut({ description: "" }), "description"],
    [offeringPut({ capabilities: [] }), "capabilities"],
    [offeringPut({ capabilities: [{ ...capability, capability: "Log In" }] }), "capabilities[0].capability"],
    [
      offeringPut({ capabilities: [{ ...capability, constraints: { max_per_hour: 0 } }] }),
      "capabilities[0].constraints.max_per_hour",
    ],
    [offeringPut({ pricing: { type: "one_time" } }), "pricing"],
    [offeringPut({ pricing: { type: "one_time", amount: 1.5, currency: "EUR" } }), "pricing.amount"],
    [offeringPut({ terms_url: "http://shop.example" }), "terms_url"],
    [offeringPut({ terms_hash: "abc" }), "terms_hash"],
    [offeringPut({ acceptance: "sometimes" }), "acceptance"],
    [offeringPut({ version: 7 }), "version"],
    [["PUT", "/api/v1/offerings/Not%20An%20Id", offeringContent] as const, "id"],
    [["PUT", "/api/v1/manifest", { capabilities: [], event_handlers: [] }] as const, "plans"],
    [["POST", "/connect/credentials", {}] as const, "contract_id"],
    [["POST", "/connect/revoke", {}] as const, "contract_id"],
    [["POST", "/connect/abc/credentials", {}] as const, "signing_key"],
    [["GET", "/api/v1/contracts?limit=0", undefined] as const, "limit"],
    [["GET", "/api/v1/contracts?limit=101", undefined] as const, "limit"],
    [["GET", "/api/v1/contracts?status=nice", undefined] as const, "status"],
    [["GET", "/api/v1/contracts?offset=-1", undefined] as const, "offset"],
    [["GET", "/api/v1/contracts?cursor=zzz", undefined] as const, "cursor"],
    [["GET", "/api/v1/requests", undefined] as const, "user_id"],
    [["GET", `/api/v1/requests/${newRoutedId(USER, 1)}?wait=31`, undefined] as const, "wait"],
    [["GET", "/api/v1/audit?after=nothing", undefined] as const, "after"],
  ] as const)("%j names the field %s", async ([method, path, body], field) => {
    const answer = await call(method, path, body === undefined ? {} : { body });
    expect(problem(answer), JSON.stringify(answer.body)).toBe("invalid_request");
    expect(answer.status).toBe(400);
    expect(answer.body.details.map((detail: { path: string }) => detail.path)).toContain(field);
  });

  it.each([
    ["no JSON", "{", "application/json", "not_json"],
    ["a name twice", '{"user_id":"a","user_id":"b"}', "application/json", "duplicate_name"],
    ["a number that does not fit", '{"user_id":12345678901234567890}', "application/json", "unsafe_number"],
    ["half a surrogate", '{"user_id":"\\ud800"}', "application/json", "lone_surrogate"],
    ["too much nesting", "[".repeat(40) + "]".repeat(40), "application/json", "too_deep"],
    ["another type", "user_id=a", "application/x-www-form-urlencoded", "Content-Type"],
    ["no type", new Uint8Array([123, 125]), "", "Content-Type"],
  ])("with %s are refused", async (_what, raw, type, hint) => {
    const answer = await call("POST", "/api/v1/auth/request", {
      raw,
      headers: type === "" ? {} : { "content-type": type },
    });
    expect(problem(answer)).toBe("invalid_request");
    expect(answer.body.detail).toContain(hint);
  });

  it("are at most so large, with and without a Content-Length", async () => {
    const big = JSON.stringify({ ...ask, metadata: "x".repeat(MAX_BODY_BYTES) });
    const headers = { "content-type": "application/json" };
    const whole = await call("POST", "/api/v1/auth/request", { raw: big, headers });
    expect(problem(whole)).toBe("payload_too_large");
    expect(whole.status).toBe(413);
    const pieces = new ReadableStream({
      start(controller) {
        const bytes = new TextEncoder().encode(big);
        for (let at = 0; at < bytes.length; at += 100_000) controller.enqueue(bytes.slice(at, at + 100_000));
        controller.close();
      },
    });
    expect(problem(await call("POST", "/api/v1/auth/request", { raw: pieces, headers }))).toBe(
      "payload_too_large",
    );
  });

  it("are not read for a caller who may not send one", async () => {
    const answer = await call("POST", "/api/v1/auth/request", {
      key: null,
      raw: "x".repeat(MAX_BODY_BYTES + 1),
      headers: { "content-type": "application/json" },
    });
    expect(answer.status).toBe(401);
  });

  it("may be left out where every field has a default", async () => {
    expect((await call("POST", "/api/v1/contracts/invite")).status).toBe(201);
    const empty = await call("POST", "/api/v1/contracts/invite", {
      raw: "",
      headers: { "content-type": "application/json" },
    });
    expect(empty.status).toBe(201);
  });
});

describe("what is not there", () => {
  afterAll(() => reset());
  const routed = newRoutedId(USER, 3);

  it.each([
    ["GET", "/nothing"],
    ["POST", "/health"],
    ["GET", "/api/v1/nothing"],
    ["GET", "/api/v1/offerings/nothing"],
    ["DELETE", "/api/v1/offerings/nothing"],
    ["DELETE", "/api/v1/api-keys/nothing"],
    ["POST", "/api/v1/api-keys/nothing/rotate"],
    ["DELETE", "/api/v1/contracts/invites/nothing"],
    ["GET", `/api/v1/contracts/${USER}`],
    ["GET", "/api/v1/contracts/nothing"],
    ["POST", `/api/v1/contracts/${USER}/accept`],
    ["POST", `/api/v1/contracts/${USER}/reject`],
    ["POST", `/api/v1/contracts/${USER}/pause`],
    ["POST", `/api/v1/contracts/${USER}/resume`],
    ["GET", `/api/v1/contracts/${USER}/amendments`],
    ["GET", `/api/v1/contracts/${USER}/receipt`],
    ["POST", `/api/v1/contracts/${USER}/rotate-key`],
    ["DELETE", `/api/v1/contracts/${USER}`],
    ["GET", `/api/v1/users/${USER}`],
    ["GET", "/api/v1/users/nothing"],
    ["GET", `/api/v1/users/${USER}/profile`],
    ["GET", `/api/v1/auth/request/${routed}`],
    ["GET", "/api/v1/auth/request/nothing"],
    ["GET", `/api/v1/requests/${routed}`],
    ["GET", `/api/v1/requests/${routed}?wait=1`],
    ["POST", `/api/v1/requests/${routed}/cancel`],
    ["POST", "/api/v1/requests/nothing/cancel"],
  ])("%s %s is not found", async (method, path) => {
    const answer = await call(method, path);
    expect(problem(answer)).toBe("not_found");
    expect(answer.status).toBe(404);
  });

  it("an ask to someone without a contract is contract_required, and so are their lists empty", async () => {
    expect(problem(await call("POST", "/api/v1/auth/request", { body: ask }))).toBe("contract_required");
    expect((await call("GET", `/api/v1/requests?user_id=${USER}`)).body).toEqual({ requests: [] });
    expect((await call("GET", `/api/v1/audit?user_id=${USER}`)).body).toEqual({ entries: [] });
  });
});

describe("a repeated call", () => {
  beforeAll(async () => {
    await offerAndInvite();
  });
  afterAll(() => reset());

  const create = (headers: Record<string, string>, body: object = { max_uses: 3 }) =>
    call("POST", "/api/v1/contracts/invite", { body, headers });

  it("with the same Idempotency-Key and body gets the first answer, however the body is written", async () => {
    const headers = { "idempotency-key": "invite for order 17" };
    const first = await create(headers, { max_uses: 3, expires_in_seconds: 600 });
    const second = await create(headers, { expires_in_seconds: 600, max_uses: 3 });
    expect(second.status).toBe(201);
    expect(second.body).toEqual(first.body);
  });

  it("with the same key and another body, or on another path, is a conflict", async () => {
    const headers = { "idempotency-key": "k-1" };
    expect((await create(headers)).status).toBe(201);
    const other = await create(headers, { max_uses: 4 });
    expect(problem(other)).toBe("conflict");
    expect(other.status).toBe(409);
    const elsewhere = await call("POST", "/api/v1/api-keys", {
      headers,
      body: { name: "k", scopes: ["audit:read"] },
    });
    expect(problem(elsewhere)).toBe("conflict");
  });

  it.each([["x".repeat(256)], ["a tab\tin it"]])("with the malformed key %j is refused", async (key) => {
    expect(problem(await create({ "idempotency-key": key }))).toBe("invalid_request");
  });

  it("of a new API key shows the same key again", async () => {
    const again = () =>
      call("POST", "/api/v1/api-keys", {
        headers: { "idempotency-key": "key-1" },
        body: { name: "k", scopes: ["audit:read"] },
      });
    const [first, second] = [await again(), await again()];
    expect(second.body.api_key).toBe(first.body.api_key);
    expect((await call("GET", "/api/v1/audit", { key: first.body.api_key })).status).toBe(200);
  });
});

describe("every answer", () => {
  afterEach(() => reset());

  it("carries an id of ours and headers that keep a browser in bounds", async () => {
    for (const path of ["/health", "/api/v1/info", "/nothing"]) {
      const { headers } = await call("GET", path, { headers: { "x-request-id": "mine" } });
      expect(headers.get("x-request-id")).toMatch(/^[1-9A-HJ-NP-Za-km-z]{22,23}$/);
      expect(headers.get("x-content-type-options")).toBe("nosniff");
      expect(headers.get("referrer-policy")).toBe("no-referrer");
      expect(headers.get("cache-control")).toBe("no-store");
      expect(headers.get("content-security-policy")).toContain("default-src 'none'");
      expect(headers.get("strict-transport-security")).toContain("max-age=");
    }
  });
});

describe("what breaks inside", () => {
  const send = async (changed: object, path = "/api/v1/info") => {
    const logged: string[] = [];
    const spies = (["error", "warn"] as const).map((level) =>
      vi.spyOn(console, level).mockImplementation((line) => void logged.push(String(line))),
    );
    const response = await app.fetch(
      new Request(`https://vault.example.com${path}`, {
        headers: { authorization: `Bearer ${await freshKey()}` },
      }),
      { ...env, ...changed } as never,
      createExecutionContext(),
    );
    for (const spy of spies) spy.mockRestore();
    return {
      status: response.status,
      headers: response.headers,
      body: (await response.json()) as Body,
      logged,
    };
  };
  /** One that no cache remembers. */
  const freshKey = async () => (await makeKey(["requests:read"])).api_key;
  const failing = (error: Error) => ({
    DIRECTORY: { getByName: () => ({ apiKey: () => Promise.reject(error) }) },
  });
  afterAll(() => reset());

  it("names a missing setting, to the caller and in the log, but no value", async () => {
    const answer = await send({ VAULT_KEK: undefined, SERVICE_SIGNING_KEY: "c2hvcnQ=" });
    expect(answer.status).toBe(500);
    expect(problem(answer)).toBe("internal_error");
    expect(answer.body.detail).toContain("VAULT_KEK is not set");
    expect(answer.body.detail).toContain("SERVICE_SIGNING_KEY");
    expect(JSON.stringify([answer.body, answer.logged])).not.toContain("c2hvcnQ=");
    expect(answer.logged.join()).toContain("VAULT_KEK");
  });

  it("says nothing of an unexpected error outside, and everything needed in the log", async () => {
    const answer = await send(failing(new Error("row 17 of table x is torn")));
    expect(problem(answer)).toBe("internal_error");
    expect(JSON.stringify(answer.body)).not.toContain("row 17");
    expect(answer.headers.get("retry-after")).not.toBeNull();
    const [line] = answer.logged;
    expect(JSON.parse(line!)).toMatchObject({
      event: "http.failed",
      request_id: answer.headers.get("x-request-id"),
      error: { message: "row 17 of table x is torn" },
    });
  });

  it.each([
    ["overloaded", { overloaded: true }],
    ["restarting", { durableObjectReset: true, retryable: true }],
  ])("asks to come back when an object is %s", async (_what, properties) => {
    const answer = await send(failing(Object.assign(new Error("not now"), properties)));
    expect(problem(answer)).toBe("unavailable");
    expect(answer.status).toBe(503);
    expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
  });

  it("tells in /ready that a shard does not answer", async () => {
    const answer = await send(
      { NATS_BRIDGE: { getByName: () => ({ state: () => Promise.reject(new Error("gone")) }) } },
      "/ready",
    );
    expect(answer.status).toBe(503);
    expect(answer.body).toMatchObject({
      status: "not_ready",
      shards: [{ servicespace: { status: "closed" } }],
    });
  });
});

describe("the metrics", () => {
  afterEach(() => reset());

  interface Metrics {
    families: { name: string; type: string; samples: { name: string; labels: Body; value: number }[] }[];
  }
  const gathered = async (): Promise<Metrics> => {
    const answer = await call("GET", "/api/v1/metrics", { headers: { accept: "application/json" } });
    expect(answer.status).toBe(200);
    return answer.body;
  };
  /** The sum over the samples of this name whose labels include these. */
  const sumOf = ({ families }: Metrics, name: string, labels: Record<string, string> = {}): number =>
    families
      .flatMap(({ samples }) => samples)
      .filter((sample) => sample.name === name)
      .filter((sample) => Object.entries(labels).every(([label, value]) => sample.labels[label] === value))
      .reduce((sum, { value }) => sum + value, 0);

  it("are Prometheus text unless JSON is asked for, of the same families", async () => {
    const text = await call("GET", "/api/v1/metrics");
    expect(text.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    const names = (text.body as string).split("\n").flatMap((line) => line.match(/^# TYPE (\S+)/)?.[1] ?? []);
    const { families } = await gathered();
    for (const name of ["vettid_session_up", "vettid_bridge_up", "vettid_journal_events_total"])
      expect(names).toContain(name);
    expect(families.map(({ name }) => name)).toEqual(expect.arrayContaining(names));
    expect((await call("GET", "/api/v1/metrics", { headers: { accept: "*/*" } })).body).toContain("# HELP");
  });

  it("count calls by class and status, and how long they took", async () => {
    const before = await gathered();
    await call("GET", "/api/v1/info");
    await call("GET", "/api/v1/info");
    await call("GET", "/api/v1/info", { key: "svk_dev_nobody" });
    await call("GET", "/api/v1/requests?user_id=nobody&limit=0");
    await call("GET", "/api/v1/events?wait=0");
    await call("GET", "/nothing");
    await call("GET", "/health");
    const after = await gathered();
    const counted = (labels: Record<string, string>) =>
      sumOf(after, "vettid_http_requests_total", labels) -
      sumOf(before, "vettid_http_requests_total", labels);
    // And the first look itself, counted once it was answered.
    expect(counted({ class: "requests:read", status: "200" })).toBe(3);
    expect(counted({ class: "requests:read", status: "401" })).toBe(1);
    expect(counted({ class: "requests:read", status: "400" })).toBe(1);
    expect(counted({ class: "wait", status: "200" })).toBe(1);
    expect(counted({ class: "none", status: "404" })).toBe(1);
    expect(counted({ class: "public", status: "200" })).toBe(1);
    const timed = (metrics: Metrics) => sumOf(metrics, "vettid_http_request_duration_seconds_count");
    expect(timed(after) - timed(before)).toBe(8);
  });

  it("show what was sent to and received from the brokers, and what could not be sent", async () => {
    const peer = await connectedPeer();
    await call("POST", "/api/v1/auth/request", { body: { ...ask, user_id: peer.id } });
    await expect
      .poll(async () =>
        sumOf(await gathered(), "vettid_published_total", { cluster: "messagespace", outcome: "stored" }),
      )
      .toBeGreaterThanOrEqual(2);
    const metrics = await gathered();
    expect(sumOf(metrics, "vettid_session_up")).toBe(2);
    expect(sumOf(metrics, "vettid_outbox_age_seconds_count")).toBeGreaterThanOrEqual(2);
    expect(sumOf(metrics, "vettid_outbox_unsent_messages")).toBe(0);
    expect(sumOf(metrics, "vettid_stream_pending_messages")).toBe(0);
    expect(sumOf(metrics, "vettid_journal_events_total")).toBeGreaterThan(0);
  });

  it("say which shard does not answer", async () => {
    const gone = {
      getByName: () => ({
        report: () => Promise.reject(new Error("gone")),
        metrics: () => Promise.reject(new Error("gone")),
      }),
    };
    const response = await app.fetch(
      new Request("https://vault.example.com/api/v1/metrics", {
        headers: { authorization: `Bearer ${inject("adminApiKey")}` },
      }),
      { ...env, NATS_BRIDGE: gone } as never,
      createExecutionContext(),
    );
    expect(response.status).toBe(200);
    const text = await response.text();
    expect(text).toContain('vettid_bridge_up{shard="0"} 0');
    expect(text).toContain('vettid_journal_up{shard="0"} 1');
  });
});

describe("with a connected user", () => {
  afterEach(() => reset());

  const serviceId = inject("serviceId");
  const asking = (userId: string, change: object = {}, headers: Record<string, string> = {}) =>
    call("POST", "/api/v1/auth/request", { body: { ...ask, user_id: userId, ...change }, headers });

  it("asks, shows, lists and cancels, and the chains record it", async () => {
    const peer = await connectedPeer();
    const asked = await asking(peer.id, {
      match_code: true,
      ttl_hours: 1,
      metadata: { order: 17 },
      callback_url: "http://localhost:9000/hook",
    });
    expect(asked.status).toBe(201);
    expect(asked.body).toEqual({
      request_id: asked.body.request_id,
      user_id: peer.id,
      kind: "auth",
      status: "pending",
      created_at: asked.body.created_at,
      expires_at: asked.body.expires_at,
      match_code: expect.stringMatching(/^\d{2}$/),
    });
    expect(Date.parse(asked.body.expires_at) - Date.parse(asked.body.created_at)).toBe(3_600_000);
    const id = asked.body.request_id;
    const shown = await call("GET", `/api/v1/auth/request/${id}`);
    expect(shown.body).toMatchObject({
      request_id: id,
      contract_id: peer.contractId,
      metadata: { order: 17 },
      request_payload: { purpose: ask.purpose, match_code_required: true },
    });
    expect(shown.body).not.toHaveProperty("match_code");
    expect((await call("GET", `/api/v1/requests/${id}`)).body).toEqual(shown.body);
    expect(
      (await call("GET", `/api/v1/requests?user_id=${peer.id}&status=pending&kind=auth`)).body.requests,
    ).toEqual([shown.body]);
    expect((await call("POST", `/api/v1/requests/${id}/cancel`)).body).toMatchObject({ status: "cancelled" });
    // A lost answer can be fetched again.
    expect((await call("POST", `/api/v1/requests/${id}/cancel`)).body).toMatchObject({ status: "cancelled" });
    const audit = await call("GET", `/api/v1/audit?user_id=${peer.id}&limit=2`);
    expect(audit.body.entries).toHaveLength(2);
    const rest = await call("GET", `/api/v1/audit?user_id=${peer.id}&cursor=${audit.body.next_cursor}`);
    expect(rest.body.entries.length).toBeGreaterThan(0);
  });

  it("gives a repeated ask the first answer, and a conflict for another body", async () => {
    const peer = await connectedPeer();
    const headers = { "idempotency-key": "login 1" };
    const first = await asking(peer.id, { match_code: true }, headers);
    const second = await asking(peer.id, { match_code: true }, headers);
    expect(second.body).toEqual(first.body);
    expect(problem(await asking(peer.id, { match_code: false }, headers))).toBe("conflict");
    expect((await call("GET", `/api/v1/requests?user_id=${peer.id}`)).body.requests).toHaveLength(1);
  });

  it("refuses what the contract does not grant", async () => {
    const peer = await connectedPeer({
      capabilities: [
        { capability: "send_notifications", description: "News", requires_approval_each_use: false },
      ],
    });
    expect(problem(await asking(peer.id))).toBe("capability_denied");
  });

  it("holds the line until the answer, also while the objects restart under it", async () => {
    const peer = await connectedPeer();
    const { body } = await asking(peer.id);
    const path = `/api/v1/auth/request/${body.request_id}`;
    const started = Date.now();
    expect((await call("GET", `${path}?wait=1`)).body.status).toBe("pending");
    expect(Date.now() - started).toBeGreaterThanOrEqual(900);

    const waiting = call("GET", `${path}?wait=10`);
    await scheduler.wait(200);
    await abortAllDurableObjects();
    await scheduler.wait(300);
    const payload = (await call("GET", path)).body.request_payload as RequestPayload;
    const answer = await peer.answer(payload, serviceId);
    await deliver(peer, await peer.message(serviceId, "auth.response", answer, { ref: body.request_id }));
    const answered = await waiting;
    expect(answered.status).toBe(200);
    expect(answered.body).toMatchObject({
      status: "approved",
      result: { authenticated: true, user_attestation: answered.body.approval },
    });
  });

  it("shows the contract and its proof, the user and the profile, until the service ends it", async () => {
    const peer = await connectedPeer();
    const detail = await call("GET", `/api/v1/contracts/${peer.contractId}`);
    expect(detail.body).toMatchObject({
      contract_id: peer.contractId,
      status: "active",
      verification: { valid: true },
      connection: { missing_seq: [] },
    });
    const listed = await call("GET", `/api/v1/contracts?user_id=${peer.id}&status=active&offering_id=login`);
    expect(listed.body).toMatchObject({ total_count: 1, contracts: [{ contract_id: peer.contractId }] });
    const user = await call("GET", `/api/v1/users/${peer.id}`);
    expect(user.body).toMatchObject({
      user_id: peer.id,
      contract_id: peer.contractId,
      contract: { status: "active" },
    });
    expect(user.body.contract).not.toHaveProperty("record");
    expect((await call("GET", `/api/v1/users/${peer.id}/profile`)).body).toMatchObject({
      user_id: peer.id,
      profile: { email: "ada@example.com" },
    });

    const ended = await call("DELETE", `/api/v1/contracts/${peer.contractId}`, {
      body: { reason: "Shop closes" },
    });
    expect(ended.body).toEqual({ contract_id: peer.contractId, status: "cancelled" });
    expect((await call("DELETE", `/api/v1/contracts/${peer.contractId}?reason=again`)).status).toBe(200);
    expect((await call("GET", `/api/v1/contracts/${peer.contractId}`)).body).toMatchObject({
      status: "cancelled",
      cancelled_by: "service",
      cancelled_reason: "Shop closes",
    });
    expect((await call("GET", `/api/v1/users/${peer.id}`)).status).toBe(404);
    expect((await call("GET", `/api/v1/users/${peer.id}/profile`)).status).toBe(404);
    expect(problem(await asking(peer.id))).toBe("contract_required");
  });
});
