// At the door: what many calls at once get, what a key or a user may do too often, and what strangers cost.

import { abortAllDurableObjects, createExecutionContext, reset, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, inject, it, vi } from "vitest";
import { MAX_WAITING_STEPS } from "../../durable-objects/serial.ts";
import type { UserConnection } from "../../durable-objects/user-connection/user-connection.ts";
import { app } from "../../src/http/app.ts";
import { MAX_PUBLIC_BODY_BYTES } from "../../src/http/middleware/body.ts";
import { userConnectionOf } from "../../src/http/objects.ts";
import { encodeNkey } from "../../src/nats/nkey.ts";
import { toBase58, toBase64 } from "../../src/protocol/encoding.ts";
import { newEventId, randomBytes } from "../../src/protocol/ids.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import { fromUserSubject } from "../../src/protocol/subjects.ts";
import type { Peer } from "../support/peer.ts";
import { type Answer, type Body, call, connectedPeer, offerAndInvite } from "../support/worker.ts";

const serviceId = inject("serviceId");
/** As src/config.ts has them when nothing else is set. */
const USER_ASKS_PER_MINUTE = 120;
const KEY_CALLS_PER_MINUTE = 600;
const USER_MESSAGES_PER_MINUTE = 1_200;
const OPEN_LOGINS = 5;
/** Hundreds of calls, on a busy machine. */
const SLOW_MACHINE_MS = 90_000;

afterEach(async () => {
  vi.useRealTimers();
  await reset();
});

/** What is counted by the minute does not come back while a slow machine counts. */
const stopClock = () => vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });

const times = <T>(count: number, make: (n: number) => T): T[] =>
  Array.from({ length: count }, (_, n) => make(n));

const newsPeer = () =>
  connectedPeer({
    capabilities: [
      { capability: "send_notifications", description: "News", requires_approval_each_use: false },
      { capability: "authenticate", description: "Log in", requires_approval_each_use: true },
    ],
  });

const notify = (
  userId: string,
  n: number,
  options: { key?: string; headers?: Record<string, string> } = {},
) =>
  call("POST", "/api/v1/notifications", {
    body: { user_id: userId, title: "News", body: `No. ${n}` },
    ...options,
  });

const makeKey = async (scopes: string[]): Promise<{ key_id: string; api_key: string }> =>
  (await call("POST", "/api/v1/api-keys", { body: { name: "another", scopes } })).body;

const statuses = (answers: Answer[]): Record<string, number> =>
  answers.reduce<Record<string, number>>((counts, { status }) => {
    counts[status] = (counts[status] ?? 0) + 1;
    return counts;
  }, {});

/** The latest entries of a user's chain, the last last. */
const entriesOf = (userId: string): Promise<Body[]> =>
  runInDurableObject(env.USER_CONNECTION.getByName(userId), (_, { storage }) =>
    storage.sql
      .exec("SELECT entry FROM audit ORDER BY n DESC LIMIT 100")
      .toArray()
      .map(({ entry }) => JSON.parse(entry as string))
      .reverse(),
  );

describe("twenty calls at once with one Idempotency-Key", () => {
  const headers = { "idempotency-key": "once" };

  it("are one ask, also when the object restarts among them", async () => {
    const peer = await newsPeer();
    const calls = times(20, () => notify(peer.id, 1, { headers }));
    await Promise.race(calls);
    await abortAllDurableObjects();
    const answers = await Promise.all(calls);
    answers.push(...(await Promise.all(times(5, () => notify(peer.id, 1, { headers })))));
    // A call that the restart cut off fails, and its repetition gets the first answer.
    const made = answers.filter(({ status }) => status === 201);
    expect(made.length).toBeGreaterThanOrEqual(5);
    expect(new Set(made.map(({ body }) => body.request_id)).size).toBe(1);
    expect((await call("GET", `/api/v1/requests?user_id=${peer.id}`)).body.requests).toHaveLength(1);
  });

  it("and two bodies: one body wins, and every call with the other is a conflict", async () => {
    const peer = await newsPeer();
    const answers = await Promise.all(times(20, (n) => notify(peer.id, n % 2, { headers })));
    expect(statuses(answers)).toEqual({ 201: 10, 409: 10 });
    const parity = answers.map(({ status }, n) => (status === 201 ? n % 2 : undefined));
    expect(new Set(parity.filter((which) => which !== undefined)).size).toBe(1);
    expect((await call("GET", `/api/v1/requests?user_id=${peer.id}`)).body.requests).toHaveLength(1);
  });

  it("are one API key and one invite", async () => {
    await offerAndInvite();
    for (const [path, body, list, name] of [
      ["/api/v1/api-keys", { name: "shop", scopes: ["requests:read"] }, "/api/v1/api-keys", "api_keys"],
      ["/api/v1/contracts/invite", { offering_id: "login" }, "/api/v1/contracts/invites", "invites"],
    ] as const) {
      const before = (await call("GET", list)).body[name].length;
      const own = { "idempotency-key": path };
      const answers = await Promise.all(times(20, () => call("POST", path, { body, headers: own })));
      expect(statuses(answers)).toEqual({ 201: 20 });
      expect(new Set(answers.map((answer) => JSON.stringify(answer.body))).size).toBe(1);
      expect((await call("GET", list)).body[name]).toHaveLength(before + 1);
    }
  });
});

describe("too often", { timeout: SLOW_MACHINE_MS }, () => {
  it("a user is asked so many times a minute and no more, whoever asks and whatever restarts", async () => {
    const peer = await newsPeer();
    const made = await notify(peer.id, 0);
    expect(made.headers.get("ratelimit-policy")).toBe(
      `"key";q=${KEY_CALLS_PER_MINUTE};w=60, "user";q=${USER_ASKS_PER_MINUTE};w=60`,
    );
    expect(made.headers.get("ratelimit")).toBe(
      `"key";r=${KEY_CALLS_PER_MINUTE - 1};t=1, "user";r=${USER_ASKS_PER_MINUTE - 1};t=60`,
    );
    const asked = await Promise.all(
      times(USER_ASKS_PER_MINUTE + 10, (n) =>
        userConnectionOf(env, peer.id).ask({
          userId: peer.id,
          kind: "notification",
          operation: "notify",
          input: { title: "News", body: `No. ${n}` },
          expiresInSeconds: 3_600,
          offlineGraceSeconds: 0,
          keyId: n % 2 === 0 ? "one" : "other",
        }),
      ),
    );
    expect(asked.filter(({ ok }) => ok)).toHaveLength(USER_ASKS_PER_MINUTE - 1);
    await abortAllDurableObjects();
    const refused = await notify(peer.id, 1_000);
    expect(refused.body).toMatchObject({ status: 429, code: "rate_limited" });
    expect(refused.headers.get("ratelimit")).toContain('"user";r=0;t=');
    const wait = Number(refused.headers.get("retry-after"));
    expect(wait).toBeGreaterThan(0);
    expect(wait).toBeLessThanOrEqual(60);
    // The chain says so.
    expect((await entriesOf(peer.id)).at(-1)).toMatchObject({
      status: "denied",
      response_summary: { code: "rate_limited", reason: "too_many_asks" },
    });
  });

  it("a user has five logins open and no sixth, until one of them is over", async () => {
    const peer = await newsPeer();
    const logIn = (n: number) =>
      call("POST", "/api/v1/auth/request", {
        body: { user_id: peer.id, purpose: `Log in at till ${n}`, expires_in_seconds: 120 },
      });
    const asked = await Promise.all(times(8, logIn));
    expect(statuses(asked)).toEqual({ 201: OPEN_LOGINS, 429: 3 });
    const refused = asked.find(({ status }) => status === 429)!;
    expect(refused.body.code).toBe("rate_limited");
    const wait = Number(refused.headers.get("retry-after"));
    expect(wait).toBeGreaterThan(0);
    expect(wait).toBeLessThanOrEqual(120);
    expect((await entriesOf(peer.id)).at(-1)).toMatchObject({
      status: "denied",
      response_summary: { code: "rate_limited", reason: "too_many_open" },
    });
    const open = asked.find(({ status }) => status === 201)!;
    await call("POST", `/api/v1/requests/${open.body.request_id}/cancel`);
    expect((await logIn(9)).status).toBe(201);
    expect((await logIn(10)).status).toBe(429);
  });

  it("a key calls about a user: refused with when to come back, one entry in the chain, other keys not touched", async () => {
    const peer = await newsPeer();
    const { body } = await notify(peer.id, 0);
    const path = `/api/v1/requests/${body.request_id}`;
    const busy = await makeKey(["requests:read"]);
    const read = () => userConnectionOf(env, peer.id).request(body.request_id, busy.key_id);
    stopClock();
    const answers = await Promise.all(times(KEY_CALLS_PER_MINUTE + 50, read));
    expect(answers.map(({ ok }) => ok)).toEqual(times(answers.length, (n) => n < KEY_CALLS_PER_MINUTE));
    const refused = await call("GET", path, { key: busy.api_key });
    expect(refused.status).toBe(429);
    expect(refused.body).toMatchObject({ code: "rate_limited" });
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(refused.headers.get("ratelimit-policy")).toBe(`"key";q=${KEY_CALLS_PER_MINUTE};w=60`);
    expect(refused.headers.get("ratelimit")).toMatch(/^"key";r=0;t=\d+$/);
    expect((await call("GET", path)).status).toBe(200);
    const told = (await entriesOf(peer.id)).filter(({ operation }) => operation === "key.limit");
    expect(told).toEqual([
      expect.objectContaining({ status: "denied", response_summary: { code: "rate_limited" } }),
    ]);
  });

  it("a user sends: what is over is dropped without a row or a receipt, and comes again later", async () => {
    const peer = await newsPeer();
    const over = 50;
    stopClock();
    const messages = await Promise.all(
      times(USER_MESSAGES_PER_MINUTE + over, () =>
        peer.message(serviceId, "events.unheard_of", { data: { n: 1 } }),
      ),
    );
    const outcomes = await userConnectionOf(env, peer.id).receive(
      messages.map(({ subject, bytes }) => ({ subject, bytes })),
    );
    const taken = outcomes.filter(({ rejected }) => rejected === undefined).length;
    // The submission and a receipt may just have been two of them.
    expect([0, 1, 2]).toContain(USER_MESSAGES_PER_MINUTE - taken);
    for (const { handled, rejected, replies } of outcomes.slice(taken))
      expect([handled, rejected?.reason, replies]).toEqual(["done", "rate_limited", []]);
    const rows = await runInDurableObject(env.USER_CONNECTION.getByName(peer.id), (_, { storage }) =>
      storage.sql.exec("SELECT count(*) AS n FROM inbound").one(),
    );
    // And that of the submission.
    expect(rows.n).toBe(taken + 1);
    // Nobody else is kept waiting by it.
    const someone = await newsPeer();
    expect((await notify(someone.id, 0)).status).toBe(201);
  });
});

it("more calls at once than an object can take are refused as unavailable, at once; those it took are answered", async () => {
  const peer = await newsPeer();
  const over = 200;
  const outcomes = await runInDurableObject(
    env.USER_CONNECTION.getByName(peer.id),
    (object: UserConnection) =>
      Promise.all(
        times(MAX_WAITING_STEPS + over, (n) =>
          object.cancelRequest("unknown", `key${n}`).then(
            (answer) => (answer.ok ? "cancelled" : answer.error.code),
            // What the Worker makes 503 of, with Retry-After.
            ({ code, overloaded }) => (overloaded === true ? code : "another error"),
          ),
        ),
      ),
  );
  expect(outcomes.filter((code) => code === "not_found")).toHaveLength(MAX_WAITING_STEPS);
  expect(outcomes.filter((code) => code === "unavailable")).toHaveLength(over);
  expect((await notify(peer.id, 0)).status).toBe(201);
});

it("every path the app knows asks for a key or is braked", async () => {
  const shut = { limit: () => Promise.resolve({ success: false }) };
  const paths = new Map(
    app.routes
      .filter(({ method, path }) => method !== "ALL" && !path.endsWith("*"))
      .map(({ method, path }) => [`${method} ${path}`, { method, path }]),
  );
  expect(paths.size).toBeGreaterThan(100);
  const open: string[] = [];
  for (const { method, path } of paths.values()) {
    const response = await app.fetch(
      new Request(
        `https://vault.example.com${path.replace(/:path\{\.\+\}/, "0/000").replaceAll(/:\w+(\{[^}]*\})?/g, "x")}`,
        {
          method,
        },
      ),
      { ...env, PUBLIC_RATE_LIMIT: shut, LOG_RATE_LIMIT: shut } as never,
      createExecutionContext(),
    );
    // The console sends a stranger to its sign-in, which is braked once it looks at a key; its files are constants.
    const isConsole = path.startsWith("/console") && [303, 403].includes(response.status);
    const isConstant = /^\/console\/(sign-in|style\.css|script\.js)$/.test(path) && method === "GET";
    if (![401, 429].includes(response.status) && !isConsole && !isConstant)
      open.push(`${method} ${path}: ${response.status}`);
  }
  expect(open).toEqual([]);
});

describe("strangers", () => {
  /** All that an object has stored, but how far its chain was carried into the log: that goes on by itself. */
  const contentOf = (stub: unknown) =>
    runInDurableObject(stub as DurableObjectStub, (_, { storage }) =>
      Object.fromEntries(
        storage.sql
          .exec("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\'")
          .toArray()
          .filter(({ name }) => name !== "heads")
          .map(({ name }) => [name, storage.sql.exec(`SELECT * FROM "${name}"`).toArray()]),
      ),
    );

  let invite: string;
  let peer: Peer;
  beforeEach(async () => {
    peer = await newsPeer();
    invite = (await offerAndInvite()).invite_code;
    await expect
      .poll(async () => (await call("GET", `/api/v1/audit?user_id=${peer.id}&limit=1`)).body.entries.length)
      .toBe(1);
  });

  const randomId = () => toBase58(randomBytes(32));
  const signature = () => toBase64(randomBytes(64));
  const setup = () => ({
    signing_key: toBase64(randomBytes(32)),
    nats_public_key: encodeNkey("user", randomBytes(32)),
    timestamp: toTimestamp(Date.now()),
    signature: signature(),
    nats_signature: signature(),
  });

  it("cost no row, in no object, whatever they send over HTTPS or the broker", async () => {
    const stranger = randomId();
    const look = async () => ({
      directory: await contentOf(env.DIRECTORY.getByName("directory")),
      journal: await contentOf(env.JOURNAL.getByName("journal-0")),
      peer: await contentOf(env.USER_CONNECTION.getByName(peer.id)),
      stranger: await contentOf(env.USER_CONNECTION.getByName(stranger)),
    });
    const settled = async () => {
      let before = await look();
      await expect
        .poll(
          async () => {
            const now = await look();
            const same = JSON.stringify(now) === JSON.stringify(before);
            before = now;
            return same;
          },
          { timeout: 10_000, interval: 500 },
        )
        .toBe(true);
      return before;
    };
    // The offer is signed when it is first asked for.
    await call("GET", `/connect/${invite}`, { key: null });
    const before = await settled();
    const posts: [string, unknown][] = [
      [`/connect/${invite}/credentials`, setup()],
      [`/connect/${randomId()}/credentials`, setup()],
      ["/connect/credentials", { ...setup(), contract_id: peer.contractId, signing_key: undefined }],
      ["/connect/credentials", { ...setup(), contract_id: randomId(), signing_key: undefined }],
      [
        "/connect/revoke",
        { contract_id: peer.contractId, by: "user", at: toTimestamp(Date.now()), signature: signature() },
      ],
      [
        "/connect/revoke",
        { contract_id: randomId(), by: "user", at: toTimestamp(Date.now()), signature: signature() },
      ],
      ["/api/v1/auth/request", { user_id: peer.id, purpose: "x" }],
    ];
    const answers = await Promise.all([
      ...posts.map(([path, body]) => call("POST", path, { key: null, body })),
      ...["/connect/", "/log/tile/", "/api/v1/requests/", "/"].map((path) =>
        call("GET", path + randomId(), { key: null }),
      ),
      call("GET", `/connect/${invite}`, { key: null }),
      call("GET", `/api/v1/call/${newEventId()}/signaling?ticket=x`, {
        key: null,
        headers: { upgrade: "websocket" },
      }),
      call("GET", "/api/v1/info", { key: "svk_dev_nobody" }),
      // A key of the right form that nobody was given.
      call("GET", "/api/v1/info", { key: inject("adminApiKey").replace(/.{6}$/, "000000") }),
      // A backend's typing error in a user's id makes no object either.
      call("POST", "/api/v1/auth/request", { body: { user_id: stranger, purpose: "x" } }),
    ]);
    for (const { status } of answers) expect(status).toBeLessThan(500);
    const whole = await peer.message(serviceId, "events.x", { data: {} });
    const torn = whole.bytes.slice();
    torn[torn.length - 40]! ^= 1;
    const garbage = [
      new Uint8Array(),
      new Uint8Array(900_000).fill(0x20),
      new TextEncoder().encode("{}"),
      torn,
    ];
    for (const userId of [peer.id, stranger]) {
      const outcomes = await userConnectionOf(env, userId).receive(
        garbage.map((bytes) => ({ subject: fromUserSubject(serviceId, userId, "events.x"), bytes })),
      );
      for (const outcome of outcomes)
        expect(outcome).toMatchObject({
          handled: "done",
          rejected: { reason: expect.any(String) },
          replies: [],
        });
    }
    expect(await settled()).toEqual(before);
    expect(before.stranger).toEqual({});
    expect(before.peer).toHaveProperty("audit");
  });

  it("send small bodies or none: a larger one is not read to its end", async () => {
    const raw = JSON.stringify({ ...setup(), padding: "x".repeat(MAX_PUBLIC_BODY_BYTES) });
    for (const path of [`/connect/${invite}/credentials`, "/connect/credentials", "/connect/revoke"]) {
      const answer = await call("POST", path, {
        key: null,
        raw,
        headers: { "content-type": "application/json" },
      });
      expect(answer.body).toMatchObject({ status: 413, code: "payload_too_large" });
    }
  });
});
