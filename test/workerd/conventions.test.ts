// What holds of every operation of /openapi.json, tried at each. Idempotency-Key on every POST that creates: each POST
// is in one of the lists here, and the lists are tried; whoever adds one has to say which it belongs to.

import { reset } from "cloudflare:test";
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from "vitest";
import { MAX_BODY_BYTES } from "../../src/http/middleware/body.ts";
import { kinds } from "../../src/requests/registry.ts";
import type { Peer } from "../support/peer.ts";
import { type Answer, type Body, call, connectedPeer, offerAndInvite } from "../support/worker.ts";

const PREFIX = "/api/v1/";
const operations = kinds.flatMap((kind) => kind.operations.map((operation) => ({ kind, operation })));
const asks = operations.filter(({ operation: { method = "post" } }) => method === "post");
const actionsOf = [
  ...new Map(
    kinds.flatMap((kind) =>
      kind.operations.flatMap(({ resource }) => {
        const { getPath, machine } = { getPath: kind.getPath, machine: kind.machine, ...resource };
        return Object.entries(machine?.actions ?? {})
          .filter(([, { method }]) => method !== "delete")
          .map(([name]) => [`${getPath}/{id}/${name}`, name] as const);
      }),
    ),
  ).keys(),
];

/** What the operator makes: `path`, a body, and another body. */
const makes: readonly { path: string; body: object; other: object }[] = [
  { path: "contracts/invite", body: { max_uses: 2 }, other: { max_uses: 3 } },
  {
    path: "api-keys",
    body: { name: "reader", scopes: ["audit:read"] },
    other: { name: "writer", scopes: ["audit:read"] },
  },
  {
    path: "webhooks",
    body: { url: `${inject("webhookReceiver")}/hook/one` },
    other: { url: `${inject("webhookReceiver")}/hook/other` },
  },
];

/** Made from a proposal, a key or an endpoint that is there; tried below. */
const makesFrom = ["contracts/{id}/amendments", "api-keys/{id}/rotate", "webhooks/{id}/rotate-secret"];

/** Tried with what they need, where that is set up. */
const triedElsewhere: Readonly<Record<string, string>> = {
  registries: "test/workerd/discovery.test.ts: a registry is a server",
  "custom/{name}/request": "the same code as every ask",
  ...Object.fromEntries(actionsOf.map((path) => [path, "test/workerd/machines.test.ts"])),
};

/** They need no key: called again, they leave what they left, or what they make is worth nothing twice. */
const repeatable: Readonly<Record<string, string>> = {
  "audit/verify": "writes nothing",
  "audit/log/resume": "resumes what has halted",
  "call/{id}/ticket":
    "a ticket that is not used is nothing in a minute, and no secret is kept to be shown again",
  "contracts/{id}/accept": "a contract is accepted once",
  "contracts/{id}/reject": "and rejected once",
  "contracts/{id}/pause": "a paused one stays so",
  "contracts/{id}/resume": "and a resumed one",
  "contracts/{id}/rotate-key": "one rotation at a time: it answers with the one under way",
  "domain/verify": "looks once more",
  "requests/{id}/cancel": "a request is cancelled once",
  "transfer/{object}/import": "each page says where it goes",
  "transfer/{object}/write": "each page says where it goes",
  "webhooks/{id}/test": "a test event is another each time",
  "webhooks/{id}/redeliver": "delivers again, under the events' own ids",
  "webhooks/deliveries/{id}/redeliver": "delivers again, under the event's own id",
};

afterAll(() => reset());

const posts = async (): Promise<Map<string, Body>> => {
  const { body } = await call("GET", "/openapi.json");
  return new Map(
    Object.entries(body.paths as Record<string, Body>)
      .filter(([path, { post }]) => path.startsWith(PREFIX) && post !== undefined)
      .map(([path, { post }]) => [path.slice(PREFIX.length), post]),
  );
};

/** Every path of the description with its methods; ids are such as were never given out. */
async function surface(): Promise<
  { path: string; pattern: RegExp; methods: string[]; takesBody: Set<string> }[]
> {
  const { body } = await call("GET", "/openapi.json");
  return Object.entries(body.paths as Record<string, Body>).map(([path, operations]) => ({
    path: path.replace(/\{[^}]+\}/g, "nothing"),
    pattern: new RegExp(`^${path.replace(/\{[^}]+\}/g, "[^/]+")}$`),
    methods: Object.keys(operations).map((method) => method.toUpperCase()),
    takesBody: new Set(
      Object.entries(operations as Record<string, Body>)
        .filter(([, { requestBody }]) => requestBody !== undefined)
        .map(([method]) => method.toUpperCase()),
    ),
  }));
}

/** What is wrong with a refusal that should be of this code; undefined when nothing is. */
const faultOf = ({ status, headers, body }: Answer, expected: string): string | undefined => {
  const said = JSON.stringify(body);
  if (headers.get("content-type") !== "application/problem+json") return `no problem: ${said}`;
  if (!/^[1-9A-HJ-NP-Za-km-z]{22,23}$/.test(headers.get("x-request-id") ?? "")) return "no X-Request-Id";
  const { type, title, detail, code, message } = body;
  const isWhole = [type, title, detail, code].every((word) => typeof word === "string" && word !== "");
  if (!isWhole || body.status !== status || message !== detail) return `not whole: ${said}`;
  return code === expected ? undefined : `is ${code}`;
};

describe("a refusal", () => {
  it("of a method that a path does not have is a problem of code not_found", async () => {
    const all = await surface();
    // `secrets/store` is at `secrets/{id}` too.
    const isThere = (method: string, path: string) =>
      all.some(({ pattern, methods }) => methods.includes(method) && pattern.test(path));
    const tries = all.flatMap(({ path }) => {
      const other = ["PATCH", "DELETE", "PUT"].find((method) => !isThere(method, path));
      return other === undefined || path.startsWith("/console") ? [] : [{ method: other, path }];
    });
    const faults = await Promise.all(
      tries.map(async ({ method, path }) => faultOf(await call(method, path), "not_found")),
    );
    expect(tries.filter((_, at) => faults[at] !== undefined)).toEqual([]);
    expect(tries.length).toBeGreaterThan(50);
  });

  it.each([
    ["no JSON", "{", "application/json", "invalid_request"],
    ["of another type", "a=b", "application/x-www-form-urlencoded", "invalid_request"],
    ["too large", " ".repeat(MAX_BODY_BYTES + 1), "application/json", "payload_too_large"],
  ])("of a body that is %s is a problem, wherever one is taken", async (_, raw, type, code) => {
    const tries = (await surface()).flatMap(({ path, takesBody }) =>
      // A page of a deployment that is moved may be larger.
      code === "payload_too_large" && path.includes("/transfer/")
        ? []
        : [...takesBody].map((method) => ({ method, path })),
    );
    const faults = await Promise.all(
      tries.map(async ({ method, path }) =>
        faultOf(await call(method, path, { raw, headers: { "content-type": type } }), code),
      ),
    );
    expect(tries.map((tried, at) => ({ ...tried, fault: faults[at] })).filter(({ fault }) => fault)).toEqual(
      [],
    );
    expect(tries.length).toBeGreaterThan(30);
  });
});

describe("every POST", () => {
  it("is in one of these lists, and in no other", async () => {
    const known = [
      ...asks.map(({ operation: { path } }) => path),
      ...makes.map(({ path }) => path),
      ...makesFrom,
      ...Object.keys(triedElsewhere),
      ...Object.keys(repeatable),
    ];
    const there = [...(await posts()).keys()];
    expect(there.filter((path) => !known.includes(path))).toEqual([]);
    expect(known.filter((path) => !there.includes(path) && repeatable[path] === undefined)).toEqual([]);
    expect(new Set(known).size).toBe(known.length);
  });

  it("that takes a key says so in the description of the API", async () => {
    const described = [...(await posts())]
      .filter(([, { parameters = [] }]) =>
        parameters.some(({ name, in: place }: Body) => place === "header" && name === "Idempotency-Key"),
      )
      .map(([path]) => path);
    expect(described.sort()).toEqual(
      [
        ...asks.map(({ operation: { path } }) => path),
        ...makes.map(({ path }) => path),
        ...makesFrom,
        ...Object.keys(triedElsewhere),
      ].sort(),
    );
  });
});

/** Twice with one key, then with another body. */
async function tried(path: string, body: object, other: object): Promise<Body> {
  const headers = { "idempotency-key": `once for ${path}` };
  const first = await call("POST", `${PREFIX}${path}`, { body, headers });
  expect([200, 201, 202], JSON.stringify(first.body)).toContain(first.status);
  const again = await call("POST", `${PREFIX}${path}`, { body, headers });
  expect({ status: again.status, body: again.body }).toEqual({ status: first.status, body: first.body });
  const changed = await call("POST", `${PREFIX}${path}`, { body: other, headers });
  expect(changed).toMatchObject({ status: 409, body: { code: "conflict" } });
  const malformed = await call("POST", `${PREFIX}${path}`, {
    body,
    headers: { "idempotency-key": "x".repeat(256) },
  });
  expect(malformed).toMatchObject({ status: 400, body: { details: [{ path: "Idempotency-Key" }] } });
  return first.body;
}

describe("an ask", () => {
  let connected: Promise<Peer> | undefined;
  /** One person for all, who agreed to everything. */
  const someone = (): Promise<Peer> => {
    const names = new Set(operations.flatMap(({ operation }) => operation.capabilities));
    connected ??= connectedPeer({
      capabilities: [...names].map((capability) => ({
        capability,
        description: "For the test",
        requires_approval_each_use: true,
      })),
    });
    return connected;
  };

  // What another ask must have come to before is asked by the same code.
  const first = asks.filter(({ operation }) => operation.about === undefined);

  it.each(first.map(({ operation }) => [operation.path, operation] as const))(
    "by POST %s is made once",
    async (path, operation) => {
      const peer = await someone();
      const fields = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);
      const example = operation.example as Record<string, string>;
      const own = Object.fromEntries(Object.entries(example).filter(([name]) => !fields.includes(name)));
      const at = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(example[name]!));
      const body = { user_id: peer.id, purpose: "To try it", ...own };
      const list = async () =>
        (await call("GET", `${PREFIX}requests?user_id=${peer.id}&limit=100`)).body.requests.length;
      const before = await list();
      const made = await tried(at, body, { ...body, expires_in_seconds: 120 });
      expect(await list()).toBe(before + 1);
      await call("POST", `${PREFIX}requests/${made.request_id}/cancel`);
    },
  );

  it("to change a contract is made once", async () => {
    const peer = await someone();
    const body = { type: "remove_capabilities", capabilities: ["verify_presence"], reason: "Not needed" };
    await tried(`contracts/${peer.contractId}/amendments`, body, { ...body, reason: "Another" });
    const { amendments } = (await call("GET", `${PREFIX}contracts/${peer.contractId}/amendments`)).body;
    expect(amendments).toHaveLength(1);
  });
});

describe("what the operator makes", () => {
  beforeAll(async () => {
    await offerAndInvite();
  });

  it.each(makes.map((made) => [made.path, made] as const))("by POST %s is made once", async (path, made) => {
    await tried(path, made.body, made.other);
  });

  it("anew of an API key is the same new key", async () => {
    const { api_key_id, key_id = api_key_id } = (
      await call("POST", `${PREFIX}api-keys`, { body: { name: "k", scopes: ["audit:read"] } })
    ).body;
    await tried(`api-keys/${key_id}/rotate`, { grace_seconds: 60 }, { grace_seconds: 61 });
  });

  it("anew of an endpoint's secret is the same new secret", async () => {
    const url = `${inject("webhookReceiver")}/hook/rotated`;
    const { webhook_id } = (await call("POST", `${PREFIX}webhooks`, { body: { url } })).body;
    const rotate = () =>
      call("POST", `${PREFIX}webhooks/${webhook_id}/rotate-secret`, {
        headers: { "idempotency-key": "new" },
      });
    const first = await rotate();
    expect(first.status).toBe(200);
    expect((await rotate()).body).toEqual(first.body);
  });
});

describe("what needs no key", () => {
  afterEach(() => reset());

  it("leaves what it left when it is called again", async () => {
    const peer = await connectedPeer();
    for (const action of ["pause", "pause", "resume", "resume"])
      expect((await call("POST", `${PREFIX}contracts/${peer.contractId}/${action}`)).status).toBe(200);
    const rotate = () => call("POST", `${PREFIX}contracts/${peer.contractId}/rotate-key`);
    const first = await rotate();
    expect(first.status).toBe(202);
    expect(await rotate()).toMatchObject({ status: 202, body: first.body });
    const { entries } = (await call("GET", `/api/v1/audit?user_id=${peer.id}&limit=100`)).body;
    const count = (operation: string) =>
      entries.filter((entry: Body) => entry.operation === operation).length;
    expect([count("contract.pause"), count("contract.resume")]).toEqual([1, 1]);
  });
});
