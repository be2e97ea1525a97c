// The routes of events and webhooks, over HTTP, with journal, Directory and receivers as they are.

import { abortAllDurableObjects, createExecutionContext, reset } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import { Journal } from "../../durable-objects/journal/journal.ts";
import { app } from "../../src/http/app.ts";
import { newEventId } from "../../src/protocol/ids.ts";
import { attempt } from "../../src/webhooks/attempt.ts";
import type { WebhookEvent } from "../../src/webhooks/event.ts";
import { journalFor, serviceJournal } from "../../src/webhooks/shards.ts";
import { verifyDelivery } from "../../src/webhooks/signature.ts";
import {
  append,
  fireAlarm,
  journal,
  makeEvent,
  makeEvents,
  newUserId,
  Receiver,
  sleep,
  until,
} from "../support/journal.ts";
import { type Body, call } from "../support/worker.ts";

const WEBHOOKS = "/api/v1/webhooks";
const EVENTS = "/api/v1/events";
const idsOf = (events: { event_id: string }[]) => events.map(({ event_id }) => event_id);

beforeEach(() => {
  // As in journal.test.ts: the test runner's wrapper around entrypoints slows down with each call.
  Journal.send = (_ctx, request) => attempt(request);
});
afterEach(() => reset());

async function add(receiver: Receiver, body: object = {}): Promise<Body> {
  const made = await call("POST", WEBHOOKS, { body: { url: receiver.url, ...body } });
  expect(made.status).toBe(201);
  return made.body;
}

const readOnlyKey = async (): Promise<string> =>
  (await call("POST", "/api/v1/api-keys", { body: { name: "reader", scopes: ["requests:read"] } })).body
    .api_key;

describe("webhooks", () => {
  it("are made, listed, changed and deleted; the secret is shown once", async () => {
    const receiver = new Receiver();
    const { secret, ...made } = await add(receiver, { types: ["contract.*"], description: "Shop" });
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/=]{44}$/);
    expect(made).toMatchObject({ url: receiver.url, types: ["contract.*"], status: "enabled" });
    const listed = await call("GET", WEBHOOKS);
    expect(listed.body.webhooks).toEqual([made]);
    expect(listed.body.public_key).toMatch(/^whpk_/);
    expect(JSON.stringify(listed.body)).not.toContain(secret);

    const path = `${WEBHOOKS}/${made.webhook_id}`;
    const changed = await call("PATCH", path, {
      body: { types: null, description: null, status: "disabled" },
    });
    expect(changed.status).toBe(200);
    expect(changed.body).toMatchObject({ status: "disabled", disabled_reason: "requested" });
    expect(changed.body).not.toHaveProperty("types");
    expect(changed.body).not.toHaveProperty("description");
    const enabled = await call("PATCH", path, { body: { status: "enabled" } });
    expect(enabled.body).not.toHaveProperty("disabled_at");
    expect((await call("DELETE", path)).body).toEqual({ webhook_id: made.webhook_id, status: "deleted" });
    expect((await call("DELETE", path)).status).toBe(404);
    expect((await call("PATCH", path, { body: { status: "enabled" } })).status).toBe(404);
    expect((await call("GET", WEBHOOKS)).body.webhooks).toEqual([]);
  });

  it.each([
    ["no URL", {}, "url"],
    ["plain http to elsewhere", { url: "http://shop.example.com/" }, "url"],
    ["a private address", { url: "https://10.0.0.1/" }, "url"],
    ["a metadata service", { url: "https://169.254.169.254/" }, "url"],
    ["an address in disguise", { url: "https://2130706433/" }, "url"],
    ["a user name", { url: "https://me@shop.example.com/" }, "url"],
    ["the vault itself", { url: "https://vault.example.com/" }, "url"],
    ["a type there is not", { url: "https://shop.example.com/", types: ["contract.creatd"] }, "types[0]"],
    ["no types at all", { url: "https://shop.example.com/", types: [] }, "types"],
    [
      "a type twice",
      { url: "https://shop.example.com/", types: ["auth.response", "auth.response"] },
      "types",
    ],
    ["a field nobody knows", { url: "https://shop.example.com/", secret: "mine" }, "secret"],
  ])("are refused with %s", async (_what, body, path) => {
    const refused = await call("POST", WEBHOOKS, { body });
    expect(refused.status).toBe(400);
    expect(refused.body).toMatchObject({ code: "invalid_request", details: [{ path }] });
  });

  it("are the operator's: reading keys see deliveries only", async () => {
    const key = await readOnlyKey();
    expect((await call("GET", WEBHOOKS, { key })).status).toBe(403);
    expect((await call("POST", WEBHOOKS, { key, body: { url: "https://shop.example.com/" } })).status).toBe(
      403,
    );
    expect((await call("GET", `${WEBHOOKS}/deliveries`, { key })).status).toBe(200);
    expect((await call("POST", `${WEBHOOKS}/deliveries/a.b/redeliver`, { key })).status).toBe(403);
    expect((await call("GET", EVENTS, { key })).status).toBe(200);
    expect((await call("GET", EVENTS, { key: null })).status).toBe(401);
  });

  it("are made once for one Idempotency-Key, with the same secret in both answers", async () => {
    const body = { url: new Receiver().url };
    const headers = { "Idempotency-Key": newEventId() };
    const first = await call("POST", WEBHOOKS, { body, headers });
    const again = await call("POST", WEBHOOKS, { body, headers });
    expect(again.body).toEqual(first.body);
    expect((await call("GET", WEBHOOKS)).body.webhooks).toHaveLength(1);
    const other = await call("POST", WEBHOOKS, { body: { url: new Receiver().url }, headers });
    expect(other.status).toBe(409);
  });

  it("each change is on the service's chain, and no URL or secret is", async () => {
    const receiver = new Receiver();
    const { webhook_id, secret } = await add(receiver);
    await call("POST", `${WEBHOOKS}/${webhook_id}/rotate-secret`);
    await call("PATCH", `${WEBHOOKS}/${webhook_id}`, { body: { status: "disabled" } });
    await call("POST", `${WEBHOOKS}/${webhook_id}/test`);
    await call("DELETE", `${WEBHOOKS}/${webhook_id}`);
    const { entries } = (await call("GET", "/api/v1/audit")).body;
    const operations = entries.map(({ operation }: Body) => operation);
    for (const name of ["created", "secret_rotated", "changed", "tested", "deleted"])
      expect(operations).toContain(`webhook.${name}`);
    expect(JSON.stringify(entries)).not.toContain(receiver.name);
    expect(JSON.stringify(entries)).not.toContain(secret);
  });

  it("take a change up at once", async () => {
    const [before, after] = [new Receiver(), new Receiver()];
    const { webhook_id } = await add(before);
    await append(makeEvent());
    await before.waitFor(1);
    await call("PATCH", `${WEBHOOKS}/${webhook_id}`, { body: { url: after.url } });
    await append(makeEvent());
    await after.waitFor(1);
    expect(await before.received()).toHaveLength(1);
  });

  it("rotate: both secrets hold, the new one is what the answer says", async () => {
    const receiver = new Receiver();
    const { webhook_id, secret } = await add(receiver);
    const rotated = await call("POST", `${WEBHOOKS}/${webhook_id}/rotate-secret`);
    expect(rotated.status).toBe(200);
    expect(Date.parse(rotated.body.previous_secret_valid_until)).toBeGreaterThan(Date.now() + 23 * 3_600_000);
    await append(makeEvent());
    const [delivery] = await receiver.waitFor(1);
    for (const trusted of [secret, rotated.body.secret]) {
      const verdict = await verifyDelivery(delivery!.headers, delivery!.body, { secrets: [trusted] });
      expect(verdict.ok).toBe(true);
    }
    expect((await call("POST", `${WEBHOOKS}/nobody/rotate-secret`)).status).toBe(404);
    const callback = await call("POST", `${WEBHOOKS}/callback/rotate-secret`);
    expect(callback.body).toMatchObject({ webhook_id: "callback", secret: expect.stringMatching(/^whsec_/) });
    expect((await call("DELETE", `${WEBHOOKS}/callback`)).status).toBe(404);
  });

  it("can be tested, and say what the receiver answered", async () => {
    const receiver = new Receiver();
    await receiver.answer({ status: 418 });
    const { webhook_id } = await add(receiver);
    const tested = await call("POST", `${WEBHOOKS}/${webhook_id}/test`);
    expect(tested.status).toBe(200);
    expect(tested.body).toMatchObject({ delivered: false, status_code: 418 });
    expect(await receiver.ids()).toEqual([tested.body.event_id]);
    expect((await call("POST", `${WEBHOOKS}/nobody/test`)).status).toBe(404);
  });
});

describe("deliveries", () => {
  it("are listed newest first, page by page, by status and by endpoint", async () => {
    const [well, failing] = [new Receiver(), new Receiver()];
    await failing.answer({ status: 500 });
    const a = await add(well);
    const b = await add(failing, { types: ["contract.created"] });
    const events = [...makeEvents(6), ...makeEvents(3, { type: "contract.created" })];
    await append(...events);
    await well.waitFor(9);
    await failing.waitFor(3);
    const list = async (query: string): Promise<Body[]> => {
      const found: Body[] = [];
      for (let cursor: string | undefined; ; ) {
        const page = await call(
          "GET",
          `${WEBHOOKS}/deliveries?limit=2${query}${cursor === undefined ? "" : `&cursor=${cursor}`}`,
        );
        expect(page.status).toBe(200);
        found.push(...page.body.deliveries);
        cursor = page.body.next_cursor;
        if (cursor === undefined) return found;
      }
    };
    await until(async () => (await list("&status=delivered")).length === 9, "deliveries");
    await until(
      async () => (await list("&status=pending")).every((one) => one.attempt_count === 1),
      "attempts",
    );
    const all = await list("");
    expect(all).toHaveLength(12);
    expect(new Set(all.map(({ delivery_id }) => delivery_id)).size).toBe(12);
    expect(idsOf(await list(`&endpoint=${a.webhook_id}`))).toEqual(idsOf(events).reverse());
    expect((await list(`&endpoint=${b.webhook_id}`)).map(({ status }) => status)).toEqual(
      Array(3).fill("pending"),
    );
    expect((await list("&status=pending")).every(({ webhook_id }) => webhook_id === b.webhook_id)).toBe(true);
    expect(await list("&status=dead")).toEqual([]);
    expect((await call("GET", `${WEBHOOKS}/deliveries?endpoint=nobody`)).status).toBe(404);
    expect((await call("GET", `${WEBHOOKS}/deliveries?cursor=abc`)).status).toBe(400);
  });

  it("list dead letters whole, however they fall into pages", async () => {
    const events = makeEvents(230);
    await journal().append(events.map((event) => ({ event, callbackUrl: "https://10.0.0.1/" })));
    const dead = async () => {
      const found: Body[] = [];
      let path = `${WEBHOOKS}/deliveries?limit=100&status=dead`;
      for (;;) {
        const { body } = await call("GET", path);
        found.push(...body.deliveries);
        if (body.next_cursor === undefined) return found;
        path = `${WEBHOOKS}/deliveries?limit=100&status=dead&cursor=${body.next_cursor}`;
      }
    };
    await until(async () => (await dead()).length === 230, "dead letters");
    expect(idsOf(await dead())).toEqual(idsOf(events).reverse());
  });

  it("are made again, one by its id or all of a range", async () => {
    const receiver = new Receiver();
    const { webhook_id } = await add(receiver);
    const events = Array.from({ length: 5 }, (_, minute) =>
      makeEvent({ timestamp: `2026-03-01T08:0${minute}:00.000Z` }),
    );
    await append(...events);
    await receiver.waitFor(5);
    const one = await call("POST", `${WEBHOOKS}/deliveries/${webhook_id}.${events[2]!.event_id}/redeliver`);
    expect(one.status).toBe(202);
    expect(one.body).toMatchObject({ event_id: events[2]!.event_id, status: "pending" });
    await receiver.waitFor(6);
    const body = { from: "2026-03-01T08:01:00.000Z", to: "2026-03-01T08:03:00.000Z" };
    const range = await call("POST", `${WEBHOOKS}/${webhook_id}/redeliver`, { body });
    expect(range.status).toBe(202);
    expect(range.body).toEqual({ webhook_id, ...body, events: 3 });
    await receiver.waitFor(9);
    expect((await receiver.ids()).slice(6).toSorted()).toEqual(idsOf(events.slice(1, 4)).toSorted());
    for (const wrong of [
      { from: body.to, to: body.from },
      { from: body.from },
      { ...body, from: "yesterday" },
    ])
      expect((await call("POST", `${WEBHOOKS}/${webhook_id}/redeliver`, { body: wrong })).status).toBe(400);
    for (const id of ["x", "a.b", `${webhook_id}.x`, `x.${events[0]!.event_id}`])
      expect((await call("POST", `${WEBHOOKS}/deliveries/${id}/redeliver`)).status).toBe(404);
  });
});

describe("the feed over HTTP", () => {
  const get = (query: string) => call("GET", `${EVENTS}?${query}`);

  it("pages by its cursor or by an event's id, to the end and on from there", async () => {
    const events = makeEvents(25);
    await append(...events);
    const seen: WebhookEvent[] = [];
    let after = "";
    for (let pages = 0; pages < 4; pages++) {
      const page = await get(`limit=10${after}`);
      expect(page.status).toBe(200);
      seen.push(...page.body.events);
      after = `&after=${page.body.next_cursor}`;
    }
    expect(seen).toEqual(events);
    const more = makeEvent();
    await append(more);
    expect((await get(`limit=10${after}`)).body.events).toEqual([more]);
    expect((await get(`limit=100&after=${events[20]!.event_id}`)).body.events).toEqual([
      ...events.slice(21),
      more,
    ]);
  });

  it("filters by type and by user", async () => {
    const user = newUserId();
    const [a, b] = [makeEvent({ user_id: user }), makeEvent({ user_id: user, type: "contract.paused" })];
    await append(makeEvent(), a, makeEvent({ type: "contract.paused" }), b);
    expect((await get(`user_id=${user}`)).body.events).toEqual([a, b]);
    expect((await get(`user_id=${user}&type=contract.paused`)).body.events).toEqual([b]);
    expect((await get("type=contract.paused")).body.events).toHaveLength(2);
    expect((await get(`user_id=${newUserId()}`)).body.events).toEqual([]);
  });

  it.each([
    "after=nonsense",
    "after=0",
    "after=0!!",
    `after=${"1".repeat(22)}`,
    "wait=31",
    "wait=x",
    "type=Auth",
    "user_id=me",
    "limit=101",
  ])("refuses %s", async (query) => {
    expect((await get(query)).status).toBe(400);
  });

  it("holds the line, and does so through a restart of the journal", async () => {
    await append(makeEvent());
    const { next_cursor } = (await get("limit=10")).body;
    const waiting = get(`after=${next_cursor}&wait=10`);
    await sleep(200);
    await abortAllDurableObjects();
    await sleep(200);
    const event = makeEvent();
    await append(event);
    const page = await waiting;
    expect(page.status).toBe(200);
    expect(page.body.events).toEqual([event]);
  });

  it("answers with nothing, and the same cursor, when the time is over", async () => {
    await append(makeEvent());
    const { next_cursor } = (await get("limit=10")).body;
    const started = Date.now();
    expect((await get(`after=${next_cursor}&wait=1`)).body).toEqual({ events: [], next_cursor });
    expect(Date.now() - started).toBeGreaterThanOrEqual(990);
  });
});

describe("several shards", () => {
  const SHARDS = "3";
  const sharded = { ...env, JOURNAL_SHARDS: SHARDS };
  const send = async (method: string, path: string, body?: unknown): Promise<Body> => {
    const response = await app.fetch(
      new Request(`https://vault.example.com${path}`, {
        method,
        headers: {
          authorization: `Bearer ${inject("adminApiKey")}`,
          ...(body === undefined ? {} : { "content-type": "application/json" }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }),
      sharded,
      createExecutionContext(),
    );
    expect(response.ok).toBe(true);
    return response.json();
  };
  const appendTo = async (event: WebhookEvent) => {
    const shard = event.user_id === undefined ? serviceJournal(sharded) : journalFor(sharded, event.user_id);
    await shard.append([{ event }]);
  };

  it("are one feed: nothing missed, nothing twice, each user's events in order", async () => {
    const users = Array.from({ length: 12 }, newUserId);
    const events: WebhookEvent[] = [];
    for (let n = 0; n < 60; n++) {
      const event = makeEvent({ user_id: users[n % 12]! }, { n });
      events.push(event);
      await appendTo(event);
    }
    const seen: WebhookEvent[] = [];
    let after = "";
    for (;;) {
      const page = await send("GET", `${EVENTS}?limit=7${after}`);
      if (page.events.length === 0) break;
      seen.push(...page.events);
      after = `&after=${page.next_cursor}`;
    }
    expect(idsOf(seen).toSorted()).toEqual(idsOf(events).toSorted());
    for (const user of users)
      expect(idsOf(seen.filter(({ user_id }) => user_id === user))).toEqual(
        idsOf(events.filter(({ user_id }) => user_id === user)),
      );

    const waiting = send("GET", `${EVENTS}?wait=10&limit=7${after}`);
    await sleep(200);
    const late = makeEvent({ user_id: users[5]! });
    await appendTo(late);
    expect((await waiting).events).toEqual([late]);

    // From an event's id: nothing behind it is missed. What the other shards had within a minute may come again.
    const behind = (await send("GET", `${EVENTS}?limit=100&after=${events[30]!.event_id}`)).events;
    for (const { event_id } of [...events.slice(31), late]) expect(idsOf(behind)).toContain(event_id);
  });

  it("deliver to the same endpoints, and are one list of deliveries", async () => {
    const receiver = new Receiver();
    const { webhook_id } = await send("POST", WEBHOOKS, { url: receiver.url });
    const events = Array.from({ length: 20 }, () => makeEvent());
    for (const event of events) await appendTo(event);
    await receiver.waitFor(20);
    const seen: Body[] = [];
    let cursor = "";
    for (;;) {
      const page = await send("GET", `${WEBHOOKS}/deliveries?limit=6${cursor}`);
      seen.push(...page.deliveries);
      if (page.next_cursor === undefined) break;
      cursor = `&cursor=${page.next_cursor}`;
    }
    expect(idsOf(seen).toSorted()).toEqual(idsOf(events).toSorted());
    for (const event of events.slice(0, 4))
      await send("POST", `${WEBHOOKS}/deliveries/${webhook_id}.${event.event_id}/redeliver`);
    await receiver.waitFor(24);
    const to = new Date().toISOString();
    const from = new Date(Date.now() - 60_000).toISOString();
    expect(await send("POST", `${WEBHOOKS}/${webhook_id}/redeliver`, { from, to })).toMatchObject({
      events: 20,
    });
    await receiver.waitFor(44);
  });

  it("that disable an endpoint each make one event of it", async () => {
    const receiver = new Receiver();
    await receiver.answer({ status: 410 });
    const { webhook_id } = await send("POST", WEBHOOKS, { url: receiver.url });
    for (let n = 0; n < 12; n++) await appendTo(makeEvent());
    await until(
      async () =>
        (await send("GET", WEBHOOKS)).webhooks.find((one: Body) => one.webhook_id === webhook_id).status ===
        "disabled",
      "disabling",
    );
    for (let shard = 0; shard < Number(SHARDS); shard++) await fireAlarm(shard);
    await sleep(300);
    const { events } = await send("GET", `${EVENTS}?type=webhook.disabled`);
    expect(events).toHaveLength(1);
  });
});
