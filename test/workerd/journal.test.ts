// A journal shard with the real Directory beside it and a real HTTP receiver outside.

import { abortAllDurableObjects, reset, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Journal, MAX_APPEND, RETENTION_MS } from "../../durable-objects/journal/journal.ts";
import { configOf } from "../../src/config.ts";
import { directoryOf } from "../../src/http/objects.ts";
import { attempt } from "../../src/webhooks/attempt.ts";
import type { WebhookEvent } from "../../src/webhooks/event.ts";
import {
  DISABLE_AFTER_MS,
  HOLD_AFTER_FAILURES,
  MAX_IN_FLIGHT,
  RETRY_PAUSES_MS,
} from "../../src/webhooks/schedule.ts";
import { publicKeyText, verifyDelivery, verifyOlderSignature } from "../../src/webhooks/signature.ts";
import {
  addEndpoint,
  append,
  caller,
  countRows,
  deliveries,
  feed,
  fireAlarm,
  journal,
  makeEvent,
  makeEvents,
  newUserId,
  query,
  Receiver,
  shiftClock,
  sleep,
  until,
} from "../support/journal.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** More than any jitter adds. */
const after = (pauseMs: number) => Math.ceil(pauseMs * 1.2);
const idsOf = (events: WebhookEvent[]) => events.map(({ event_id }) => event_id);
const first = RETRY_PAUSES_MS[0];

const leaveAsDeployed = Journal.send;

beforeEach(() => {
  // The test runner wraps every entrypoint, and each call through its wrapper makes the next one slower. Attempts are
  // therefore made in place, except where the way out itself is tested.
  Journal.send = (_ctx, request) => attempt(request);
});
afterEach(() => reset());

describe("an event that is appended", () => {
  it("is delivered as it is in the feed, signed in every way a receiver may check", async () => {
    const receiver = new Receiver();
    const { secret } = await addEndpoint(receiver);
    const event = makeEvent();
    await append(event);
    const [delivery] = await receiver.waitFor(1);
    expect(delivery!.method).toBe("POST");
    expect(delivery!.headers["content-type"]).toBe("application/json");
    expect(JSON.parse(delivery!.body)).toEqual(event);
    expect(await feed()).toEqual([event]);

    const { webhookKey } = await configOf(env);
    const { headers, body } = delivery!;
    expect(headers["webhook-id"]).toBe(event.event_id);
    expect(await verifyDelivery(headers, body, { secrets: [secret] })).toMatchObject({ ok: true });
    const publicKeys = [publicKeyText(webhookKey.publicKey)];
    expect(await verifyDelivery(headers, body, { publicKeys })).toMatchObject({ ok: true });
    expect(await verifyOlderSignature(headers["x-vettid-signature"]!, body, secret)).toBe(true);
    expect(headers["x-vettid-event-id"]).toBe(event.event_id);
  });

  it("is one event however often it is appended, and delivered once", async () => {
    const receiver = new Receiver();
    await addEndpoint(receiver);
    const [a, b, c] = makeEvents(3);
    await append(a!, b!);
    await append(a!, b!);
    await append(b!, c!);
    await append(c!, c!);
    await receiver.waitFor(3);
    await sleep(200);
    expect((await receiver.ids()).toSorted()).toEqual(idsOf([a!, b!, c!]).toSorted());
    expect(idsOf(await feed())).toEqual(idsOf([a!, b!, c!]));
  });

  it("keeps its place: a user's events are in the order they came", async () => {
    const user_id = newUserId();
    const mine = makeEvents(30, { user_id });
    for (let at = 0; at < 30; at += 10) {
      await append(...mine.slice(at, at + 10));
      await append(...makeEvents(5));
    }
    const page = await journal().read({ after: 0, limit: 100, userId: user_id });
    expect(idsOf(page.items.map(({ event }) => event))).toEqual(idsOf(mine));
    const positions = page.items.map(({ position }) => position);
    expect(positions).toEqual(positions.toSorted((a, b) => a - b));
  });

  it("must be an event, in a batch of bounded size; else nothing of the batch is written", async () => {
    const wrong = { ...makeEvent(), data: { person: { name: "Ada" } } } as unknown as WebhookEvent;
    await expect(append(makeEvent(), wrong)).rejects.toThrow("not an event: data.person");
    await expect(append(...makeEvents(MAX_APPEND + 1))).rejects.toThrow("at most");
    expect(await feed()).toEqual([]);
    await append(...makeEvents(MAX_APPEND));
    expect((await journal().read({ after: 0, limit: 1_000 })).items).toHaveLength(MAX_APPEND);
  });

  it("goes to the endpoints that ask for its type, from their creation on", async () => {
    await append(makeEvent());
    await sleep(5);
    const [all, contracts] = [new Receiver(), new Receiver()];
    await addEndpoint(all);
    await addEndpoint(contracts, { types: ["contract.*", "profile.updated"] });
    const wanted = [makeEvent({ type: "contract.created" }), makeEvent({ type: "profile.updated" })];
    await append(makeEvent(), wanted[0]!, makeEvent(), wanted[1]!);
    await all.waitFor(4);
    await contracts.waitFor(2);
    await sleep(100);
    expect((await contracts.ids()).toSorted()).toEqual(idsOf(wanted).toSorted());
    expect(await all.received()).toHaveLength(4);
  });
});

describe("an attempt", () => {
  it("is one of several at a time, never more than the bound", async () => {
    const receiver = new Receiver();
    await receiver.answer({ status: 200, delayMs: 50 });
    await addEndpoint(receiver);
    await append(...makeEvents(40));
    await receiver.waitFor(40);
    const { maxOpen } = await receiver.look();
    expect(maxOpen).toBeGreaterThan(1);
    expect(maxOpen).toBeLessThanOrEqual(MAX_IN_FLIGHT);
  });

  it("leaves in an invocation of its own, as deployed", async () => {
    Journal.send = leaveAsDeployed;
    const receiver = new Receiver();
    await receiver.answer({ status: 500 }, { status: 200 });
    await addEndpoint(receiver);
    await append(makeEvent());
    await until(async () => (await deliveries())[0]?.attempts.length === 1, "the first attempt");
    expect(await deliveries()).toMatchObject([{ attempts: [{ status_code: 500 }] }]);
    await shiftClock(after(first));
    await fireAlarm();
    await until(async () => (await deliveries())[0]?.status === "delivered", "the second attempt");
  });

  it("does not follow a redirect", async () => {
    const [receiver, elsewhere] = [new Receiver(), new Receiver()];
    await receiver.answer({ status: 307, headers: { location: elsewhere.url } });
    const { webhook_id } = await addEndpoint(receiver);
    await append(makeEvent());
    const [delivery] = await until(async () => {
      const found = await deliveries({ limit: 10, webhookId: webhook_id });
      return found[0]?.attempts.length === 1 && found;
    }, "a failed attempt");
    expect(delivery).toMatchObject({ status: "pending", attempts: [{ status_code: 307 }] });
    expect(await elsewhere.received()).toEqual([]);
  });

  it("does not read an answer that never ends", async () => {
    const receiver = new Receiver();
    await receiver.answer({ endless: true });
    await addEndpoint(receiver);
    await append(...makeEvents(20));
    await receiver.waitFor(20);
    await until(
      async () => (await deliveries()).every(({ status }) => status === "delivered"),
      "all delivered",
    );
  });

  it("records a connection that is closed, and one that cannot be made", async () => {
    const [dropping, nobody] = [new Receiver(), new Receiver()];
    await dropping.answer({ drop: true });
    await addEndpoint(dropping);
    Object.assign(nobody, { url: "http://127.0.0.1:1/hook" });
    await addEndpoint(nobody);
    await append(makeEvent());
    await until(async () => {
      const found = await deliveries();
      return found.length === 2 && found.every(({ attempts }) => attempts[0]?.error === "connection_failed");
    }, "two failed attempts");
  });
});

describe("a delivery that fails", () => {
  it("is tried again with the same id and a new timestamp, and says how it went", async () => {
    const receiver = new Receiver();
    await receiver.answer({ status: 500 }, { status: 502 }, { status: 200 });
    await addEndpoint(receiver);
    const event = makeEvent();
    await append(event);
    await until(async () => (await deliveries())[0]?.attempts.length === 1, "the first attempt");
    const [failed] = await deliveries();
    expect(failed).toMatchObject({ status: "pending", attempt_count: 1, attempts: [{ status_code: 500 }] });
    const dueIn = Date.parse(failed!.next_attempt_at!) - Date.parse(failed!.attempts[0]!.at);
    expect(dueIn).toBeGreaterThanOrEqual(first);
    expect(dueIn).toBeLessThanOrEqual(after(first) + 1_000);

    await shiftClock(after(first));
    await fireAlarm();
    await receiver.waitFor(2);
    await until(async () => (await deliveries())[0]?.attempts.length === 2, "the second attempt");
    await shiftClock(after(first) + after(RETRY_PAUSES_MS[1]));
    await fireAlarm();
    const received = await receiver.waitFor(3);
    expect(new Set(received.map(({ headers }) => headers["webhook-id"]))).toEqual(new Set([event.event_id]));
    expect(new Set(received.map(({ headers }) => headers["webhook-timestamp"])).size).toBe(3);
    const [done] = await until(async () => {
      const found = await deliveries();
      return found[0]?.status === "delivered" && found;
    }, "a delivery");
    expect(done!.attempts.map(({ status_code }) => status_code)).toEqual([500, 502, 200]);
    expect(done!.next_attempt_at).toBeUndefined();
  });

  it("is tried again by itself, in real time", async () => {
    const receiver = new Receiver();
    await receiver.answer({ status: 500 }, { status: 200 });
    await addEndpoint(receiver);
    await append(makeEvent());
    const received = await receiver.waitFor(2, after(first) + 3_000);
    expect(received[1]!.at - received[0]!.at).toBeGreaterThanOrEqual(first - 50);
  });

  it("waits as long as Retry-After says, and so does everything else for a receiver that is throttling", async () => {
    const receiver = new Receiver();
    await receiver.answer({ status: 429, headers: { "retry-after": "60" } }, { status: 200 });
    await addEndpoint(receiver);
    await append(makeEvent());
    await until(async () => (await deliveries())[0]?.attempts.length === 1, "the first attempt");
    await append(makeEvent());
    for (const shift of [10_000, 50_000]) {
      await shiftClock(shift);
      await fireAlarm();
      await sleep(150);
      expect(await receiver.received()).toHaveLength(1);
    }
    await shiftClock(61_000);
    await fireAlarm();
    await receiver.waitFor(3);
  });

  it("is a dead letter when the schedule is over, and can be delivered again from there", async () => {
    const receiver = new Receiver();
    await receiver.answer({ status: 503 });
    const { webhook_id } = await addEndpoint(receiver);
    const event = makeEvent();
    await append(event);
    let shift = 0;
    for (let attempts = 1; ; attempts++) {
      const [delivery] = await until(async () => {
        const found = await deliveries();
        return found[0]?.attempts.length === attempts && found;
      }, `attempt ${attempts}`);
      if (delivery!.status === "dead") break;
      expect(delivery!.status).toBe("pending");
      shift = Date.parse(delivery!.next_attempt_at!) - Date.now() + 1_000;
      await shiftClock(shift);
      await fireAlarm();
    }
    const [dead] = await deliveries({ limit: 10, status: "dead" });
    expect(dead).toMatchObject({ event_id: event.event_id, webhook_id, status: "dead" });
    expect(dead!.attempt_count).toBeGreaterThan(15);
    const [from, to] = [dead!.attempts[0]!.at, dead!.attempts.at(-1)!.at].map(Date.parse);
    expect(to! - from!).toBeGreaterThan(2.5 * DAY_MS);
    expect(to! - from!).toBeLessThanOrEqual(3 * DAY_MS);
    expect(await deliveries({ limit: 10, status: "pending" })).toEqual([]);
    const before = (await receiver.received()).length;
    await shiftClock(shift + 7 * HOUR_MS);
    await fireAlarm();
    await sleep(150);
    expect(await receiver.received()).toHaveLength(before);

    await receiver.answer({ status: 200 });
    expect(await journal().redeliver(dead!.delivery_id)).toMatchObject({
      ok: true,
      value: { status: "pending" },
    });
    const received = await receiver.waitFor(before + 1);
    expect(received.at(-1)!.headers["webhook-id"]).toBe(event.event_id);
    await until(async () => (await deliveries())[0]?.status === "delivered", "the delivery");
  });

  it("does not delay the other endpoints, even if its receiver never answers", async () => {
    const [hanging, down, well] = [new Receiver(), new Receiver(), new Receiver()];
    await hanging.answer({ hang: true });
    await down.answer({ status: 500 });
    for (const receiver of [hanging, down, well]) await addEndpoint(receiver);
    const events = makeEvents(60);
    for (let at = 0; at < 60; at += 10) await append(...events.slice(at, at + 10));
    await well.waitFor(60, 4_000);
    expect((await well.ids()).toSorted()).toEqual(idsOf(events).toSorted());
    expect((await hanging.look()).maxOpen).toBeLessThanOrEqual(MAX_IN_FLIGHT);
  });

  it("holds the endpoint back: what comes waits in the journal and is no row", async () => {
    const receiver = new Receiver();
    await receiver.answer({ status: 500 });
    await addEndpoint(receiver);
    await append(...makeEvents(200));
    await until(async () => (await receiver.received()).length >= HOLD_AFTER_FAILURES, "failures");
    await sleep(300);
    const attempts = (await receiver.received()).length;
    expect(attempts).toBeLessThanOrEqual(HOLD_AFTER_FAILURES + MAX_IN_FLIGHT);
    const [{ count }] = (await query<{ count: number }>("SELECT count(*) AS count FROM deliveries")) as [
      { count: number },
    ];
    expect(count).toBe(attempts);
    // It comes back: everything arrives, each event once more than it failed.
    await receiver.answer({ status: 200 });
    await shiftClock(2 * 60_000);
    await fireAlarm();
    await receiver.waitFor(200 + attempts, 8_000);
    await until(
      async () => (await deliveries({ limit: 1_000 })).every(({ status }) => status === "delivered"),
      "everything",
    );
    expect(new Set(await receiver.ids()).size).toBe(200);
  });

  it("can be poison for one receiver without holding up what follows", async () => {
    const receiver = new Receiver();
    const events = makeEvents(30);
    await receiver.answer({ status: 500, onlyFor: events[3]!.event_id });
    await addEndpoint(receiver);
    await append(...events);
    await receiver.waitFor(30);
    await until(
      async () => (await deliveries()).filter(({ status }) => status === "delivered").length === 29,
      "the others",
    );
  });
});

describe("an endpoint", () => {
  const statusOf = async (webhookId: string) =>
    (await directoryOf(env).webhooks()).find(({ webhook_id }) => webhook_id === webhookId)!;

  it("that answers 410 is disabled at once; feed and others are told once, and enabling goes on", async () => {
    const [gone, other] = [new Receiver(), new Receiver()];
    await gone.answer({ status: 410 });
    const { webhook_id } = await addEndpoint(gone);
    await addEndpoint(other);
    const event = makeEvent();
    await append(event);
    await until(async () => (await statusOf(webhook_id)).status === "disabled", "disabling");
    expect(await statusOf(webhook_id)).toMatchObject({ disabled_reason: "gone" });
    const told = await until(
      async () => (await feed()).find(({ type }) => type === "webhook.disabled"),
      "the event",
    );
    expect(told).toMatchObject({ data: { webhook_id, reason: "gone" } });
    expect(told.user_id).toBeUndefined();
    await append(makeEvent());
    await other.waitFor(3);
    await shiftClock(HOUR_MS);
    await fireAlarm();
    await sleep(150);
    expect(await gone.received()).toHaveLength(1);
    expect((await feed()).filter(({ type }) => type === "webhook.disabled")).toHaveLength(1);

    await gone.answer({ status: 200 });
    await directoryOf(env).changeWebhook(webhook_id, { status: "enabled" }, caller);
    await journal().endpointsChanged();
    await gone.waitFor(4);
    expect(new Set(await gone.ids()).size).toBe(3);
    expect(await statusOf(webhook_id)).toMatchObject({ status: "enabled" });
  });

  it("that has failed for five days is disabled", async () => {
    const receiver = new Receiver();
    await receiver.answer({ status: 500 });
    const { webhook_id } = await addEndpoint(receiver);
    let count = 0;
    for (let shift = 0; shift <= DISABLE_AFTER_MS; shift += 20 * HOUR_MS) {
      expect(await statusOf(webhook_id)).toMatchObject({ status: "enabled" });
      await shiftClock(shift);
      await append(makeEvent());
      await fireAlarm();
      count = (await receiver.waitFor(count + 1)).length;
      await sleep(100);
    }
    await until(async () => (await statusOf(webhook_id)).status === "disabled", "disabling");
    expect(await statusOf(webhook_id)).toMatchObject({ disabled_reason: "failing" });
    const told = (await feed()).find(({ type }) => type === "webhook.disabled");
    expect(told?.data).toMatchObject({ webhook_id, reason: "failing" });
  });

  it("that is deleted gets nothing more and leaves nothing behind", async () => {
    const receiver = new Receiver();
    await receiver.answer({ status: 500 });
    const { webhook_id } = await addEndpoint(receiver);
    await append(makeEvent());
    await until(async () => (await deliveries())[0]?.attempts.length === 1, "a failed attempt");
    await directoryOf(env).deleteWebhook(webhook_id, caller);
    await journal().endpointsChanged();
    await shiftClock(HOUR_MS);
    await fireAlarm();
    await append(makeEvent());
    await sleep(150);
    expect(await receiver.received()).toHaveLength(1);
    expect(await query("SELECT * FROM deliveries")).toEqual([]);
    expect(await query("SELECT * FROM endpoints WHERE webhook_id = ?", webhook_id)).toEqual([]);
  });

  it("signs with two secrets for a day after a rotation, then with the new one", async () => {
    const receiver = new Receiver();
    const { webhook_id, secret: old } = await addEndpoint(receiver);
    const rotated = await directoryOf(env).rotateWebhookSecret(webhook_id, caller);
    if (!rotated.ok) throw new Error(rotated.error.detail);
    const { secret: fresh } = rotated.value;
    await journal().endpointsChanged();
    await append(makeEvent());
    const [both] = await receiver.waitFor(1);
    for (const secret of [old, fresh])
      expect(await verifyDelivery(both!.headers, both!.body, { secrets: [secret] })).toMatchObject({
        ok: true,
      });
    expect(both!.headers["webhook-signature"]!.split(" ")).toHaveLength(3);

    await shiftClock(DAY_MS + 1_000);
    await append(makeEvent());
    const [, one] = await receiver.waitFor(2);
    const now = Date.now() + DAY_MS;
    const check = (secret: string) => verifyDelivery(one!.headers, one!.body, { secrets: [secret] }, { now });
    expect(await check(fresh)).toMatchObject({ ok: true });
    expect(await check(old)).toEqual({ ok: false, error: "signature_invalid" });
  });

  it("can be tested, with an event that is nowhere else", async () => {
    const receiver = new Receiver();
    const { webhook_id, secret } = await addEndpoint(receiver);
    const id = makeEvent().event_id;
    expect(await journal().testEndpoint(webhook_id, id)).toMatchObject({
      ok: true,
      value: { delivered: true, status_code: 200 },
    });
    const [delivery] = await receiver.received();
    expect(JSON.parse(delivery!.body)).toMatchObject({ type: "webhook.test", event_id: id });
    expect(await verifyDelivery(delivery!.headers, delivery!.body, { secrets: [secret] })).toMatchObject({
      ok: true,
    });
    await receiver.answer({ status: 404 });
    expect(await journal().testEndpoint(webhook_id, id)).toMatchObject({
      ok: true,
      value: { delivered: false, status_code: 404 },
    });
    expect(await feed()).toEqual([]);
    expect(await deliveries()).toEqual([]);
    expect(await journal().testEndpoint("nobody", id)).toMatchObject({
      ok: false,
      error: { code: "not_found" },
    });
  });
});

describe("delivering again", () => {
  it("by id sends the same event with the same id, though it had succeeded", async () => {
    const receiver = new Receiver();
    const { webhook_id } = await addEndpoint(receiver);
    const event = makeEvent();
    await append(event, makeEvent());
    await receiver.waitFor(2);
    const result = await journal().redeliver(`${webhook_id}.${event.event_id}`);
    expect(result).toMatchObject({ ok: true, value: { status: "pending", event_id: event.event_id } });
    const received = await receiver.waitFor(3);
    expect(received[2]!.body).toBe(received.find(({ body }) => body.includes(event.event_id))!.body);
    const delivery = await until(
      async () =>
        (await deliveries()).find(
          (found) => found.event_id === event.event_id && found.status === "delivered",
        ),
      "the delivery",
    );
    expect(delivery.attempt_count).toBe(2);
  });

  it("by id is refused for what is not there and for a disabled endpoint", async () => {
    const receiver = new Receiver();
    const { webhook_id } = await addEndpoint(receiver, { types: ["contract.*"] });
    const [wanted, unwanted] = [makeEvent({ type: "contract.created" }), makeEvent()];
    await append(wanted, unwanted);
    await receiver.waitFor(1);
    for (const id of [
      "",
      "x",
      "a.b",
      `${webhook_id}.x`,
      `${webhook_id}.${unwanted.event_id}`,
      `nobody.${wanted.event_id}`,
    ])
      expect(await journal().redeliver(id)).toMatchObject({ ok: false, error: { code: "not_found" } });
    await directoryOf(env).changeWebhook(webhook_id, { status: "disabled" }, caller);
    await journal().endpointsChanged();
    expect(await journal().redeliver(`${webhook_id}.${wanted.event_id}`)).toMatchObject({
      ok: false,
      error: { code: "conflict" },
    });
  });

  it("by time range sends what the endpoint asks for of that time, once per command", async () => {
    const receiver = new Receiver();
    const { webhook_id } = await addEndpoint(receiver, { types: ["contract.*"] });
    const at = (minute: number) => new Date(Date.UTC(2026, 2, 1, 8, minute)).toISOString();
    const events = Array.from({ length: 20 }, (_, minute) =>
      makeEvent({ type: minute % 2 === 0 ? "contract.created" : "auth.response", timestamp: at(minute) }),
    );
    await append(...events);
    await receiver.waitFor(10);
    const range = {
      replayId: "r1",
      webhookId: webhook_id,
      fromMs: Date.parse(at(4)),
      toMs: Date.parse(at(9)),
    };
    // The range is by the events' own time; all were recorded just now.
    expect(await journal().redeliverRange(range)).toEqual({ ok: true, value: { events: 3 } });
    const received = await receiver.waitFor(13);
    const again = received.slice(10).map(({ headers }) => headers["webhook-id"]!);
    expect(again.toSorted()).toEqual(idsOf([events[4]!, events[6]!, events[8]!]).toSorted());
    await until(async () => (await query("SELECT * FROM replays")).length === 0, "the end of the range");
    const empty = { ...range, replayId: "r2", fromMs: Date.parse(at(30)), toMs: Date.parse(at(40)) };
    expect(await journal().redeliverRange(empty)).toEqual({ ok: true, value: { events: 0 } });
  });

  it("by time range survives a crash", async () => {
    const receiver = new Receiver();
    const { webhook_id } = await addEndpoint(receiver);
    const events = makeEvents(40);
    await append(...events);
    await receiver.waitFor(40);
    await receiver.answer({ delayMs: 100 });
    const range = { replayId: "r1", webhookId: webhook_id, fromMs: Date.now() - HOUR_MS, toMs: Date.now() };
    expect(await journal().redeliverRange(range)).toEqual({ ok: true, value: { events: 40 } });
    await receiver.waitFor(50);
    await abortAllDurableObjects();
    await fireAlarm();
    await until(async () => {
      const ids = (await receiver.ids()).slice(40);
      return events.every(({ event_id }) => ids.includes(event_id));
    }, "every event once more");
  });
});

describe("a callback URL", () => {
  it("is told of its event only, signed with the deployment's callback secret", async () => {
    const [endpoint, callback] = [new Receiver(), new Receiver()];
    await addEndpoint(endpoint);
    const [event, other] = makeEvents(2);
    await journal().append([{ event: event!, callbackUrl: callback.url }, { event: other! }]);
    await endpoint.waitFor(2);
    const [delivery] = await callback.waitFor(1);
    expect(JSON.parse(delivery!.body)).toEqual(event);
    const { webhookKey } = await configOf(env);
    const publicKeys = [publicKeyText(webhookKey.publicKey)];
    expect(await verifyDelivery(delivery!.headers, delivery!.body, { publicKeys })).toMatchObject({
      ok: true,
    });

    const rotated = await directoryOf(env).rotateWebhookSecret("callback", caller);
    if (!rotated.ok) throw new Error(rotated.error.detail);
    await journal().endpointsChanged();
    await journal().append([{ event: makeEvent(), callbackUrl: callback.url }]);
    const [, next] = await callback.waitFor(2);
    const secrets = [rotated.value.secret];
    expect(await verifyDelivery(next!.headers, next!.body, { secrets })).toMatchObject({ ok: true });
    expect((await deliveries({ limit: 10, webhookId: "callback" })).map(({ status }) => status)).toEqual([
      "delivered",
      "delivered",
    ]);
  });

  it("is not in the clear at rest", async () => {
    const callback = new Receiver();
    await journal().append([{ event: makeEvent(), callbackUrl: `${callback.url}?token=hunter2` }]);
    await callback.waitFor(1);
    const rows = await query<{ callback: ArrayBuffer; body: string }>("SELECT callback, body FROM events");
    const text = JSON.stringify(
      rows.map(({ callback, body }) => [new TextDecoder("latin1").decode(callback), body]),
    );
    expect(text).not.toContain("hunter2");
    expect(text).not.toContain(callback.name);
  });

  it("that fails is tried again, and one origin that hangs holds up no other", async () => {
    const [hanging, well] = [new Receiver("localhost"), new Receiver()];
    await hanging.answer({ hang: true });
    const entries = makeEvents(60).map((event, n) => ({
      event,
      callbackUrl: (n % 2 === 0 ? hanging : well).url,
    }));
    await journal().append(entries);
    await well.waitFor(30, 4_000);
    expect((await hanging.look()).maxOpen).toBeLessThanOrEqual(MAX_IN_FLIGHT);
  });

  it("of a failing origin makes rows, so that the others go on, and comes back", async () => {
    const [failing, well] = [new Receiver("localhost"), new Receiver()];
    await failing.answer({ status: 500 });
    const events = makeEvents(600);
    for (let at = 0; at < 600; at += 200)
      await journal().append(
        events.slice(at, at + 200).map((event, n) => ({
          event,
          callbackUrl: (n % 10 === 9 ? well : failing).url,
        })),
      );
    await well.waitFor(60, 8_000);
    await failing.answer({ status: 200 });
    await shiftClock(HOUR_MS);
    await until(
      async () => {
        await fireAlarm();
        await sleep(100);
        return new Set(await failing.ids()).size === 540;
      },
      "every event",
      15_000,
    );
  });

  it("that is none of those we call is a dead letter at once", async () => {
    await journal().append([{ event: makeEvent(), callbackUrl: "https://169.254.169.254/latest" }]);
    const [dead] = await until(async () => {
      const found = await deliveries({ limit: 10, status: "dead" });
      return found.length > 0 && found;
    }, "the dead letter");
    expect(dead).toMatchObject({ webhook_id: "callback", attempts: [{ error: "target_refused" }] });
  });
});

describe("a crash", () => {
  it("while attempts are open repeats them with the same ids and loses nothing", async () => {
    const receiver = new Receiver();
    await receiver.answer({ hang: true });
    await addEndpoint(receiver);
    const events = makeEvents(30);
    await append(...events);
    await receiver.waitFor(MAX_IN_FLIGHT);
    await abortAllDurableObjects();
    await receiver.answer({ status: 200 });
    await fireAlarm();
    await until(async () => new Set(await receiver.ids()).size === 30, "every event");
    expect((await receiver.ids()).every((id) => idsOf(events).includes(id))).toBe(true);
    expect(idsOf(await feed())).toEqual(idsOf(events));
  });

  it("at any moment of a stream of events loses none, in feed or deliveries", async () => {
    const [receiver, failing] = [new Receiver(), new Receiver()];
    await receiver.answer({ delayMs: 10 });
    await failing.answer(...Array.from({ length: 25 }, () => [{ status: 500 }, { status: 200 }]).flat(), {
      status: 200,
    });
    await addEndpoint(receiver);
    await addEndpoint(failing);
    const events = makeEvents(150);
    for (let at = 0; at < 150; at += 10) {
      const batch = events.slice(at, at + 10);
      // As the user's object does: again and again until the journal has it.
      for (;;) {
        try {
          await append(...batch);
          break;
        } catch {
          await sleep(5);
        }
      }
      await sleep(Math.random() * 60);
      if (at % 20 === 0) await abortAllDurableObjects();
    }
    await shiftClock(HOUR_MS);
    for (const { ids } of [receiver, failing].map((one) => ({ ids: () => one.ids() })))
      await until(
        async () => {
          await fireAlarm();
          return new Set(await ids()).size === 150;
        },
        "every event",
        12_000,
      );
    expect(idsOf(await feed(200))).toEqual(idsOf(events));
    await until(
      async () => (await deliveries({ limit: 1_000 })).every(({ status }) => status === "delivered"),
      "every delivery",
    );
    expect(await deliveries({ limit: 1_000 })).toHaveLength(300);
  });

  it("without anyone calling is mended by the alarm", async () => {
    const receiver = new Receiver();
    await receiver.answer({ hang: true });
    await addEndpoint(receiver);
    await append(makeEvent());
    await receiver.waitFor(1);
    await abortAllDurableObjects();
    await receiver.answer({ status: 200 });
    // RECOVERY_MS, in real time.
    await receiver.waitFor(2, 18_000);
  });

  it("after a settled delivery does not make another one once the position is stored", async () => {
    const receiver = new Receiver();
    await addEndpoint(receiver);
    await append(...makeEvents(10));
    await receiver.waitFor(10);
    await until(
      async () => (await deliveries()).every(({ status }) => status === "delivered"),
      "all settled",
    );
    await fireAlarm();
    await abortAllDurableObjects();
    await append(makeEvent());
    await receiver.waitFor(11);
    await sleep(150);
    expect(await receiver.received()).toHaveLength(11);
  });
});

describe("the cost", () => {
  it("of an event delivered at once to one endpoint is at most two rows, all counted", async () => {
    const receiver = new Receiver();
    await addEndpoint(receiver);
    await append(makeEvent());
    await receiver.waitFor(1);
    const EVENTS = 300;
    const { rows, alarms } = await countRows(async () => {
      for (let at = 0; at < EVENTS / 5; at++) await append(...makeEvents(5));
      await receiver.waitFor(EVENTS + 1, 10_000);
      await until(
        async () => (await deliveries({ limit: 1_000 })).every(({ status }) => status === "delivered"),
        "all",
      );
      await fireAlarm();
    });
    expect(rows).toBeGreaterThanOrEqual(EVENTS);
    // One to write it, the rest for positions and alarms; one more when it is deleted after 30 days.
    expect((rows + alarms) / EVENTS).toBeLessThanOrEqual(1.1);
  });
});

describe("what is over", () => {
  it("is deleted after 30 days, but no place in the feed is given out twice", async () => {
    const receiver = new Receiver();
    await receiver.answer({ status: 500 });
    await addEndpoint(receiver);
    await append(...makeEvents(20));
    await receiver.waitFor(8);
    await shiftClock(RETENTION_MS + DAY_MS);
    await fireAlarm();
    const left = await query<{ n: number }>("SELECT n FROM events");
    expect(left).toEqual([{ n: 20 }]);
    expect((await query<{ n: number }>("SELECT n FROM deliveries")).every(({ n }) => n === 20)).toBe(true);
    const event = makeEvent();
    await append(event);
    expect((await journal().read({ after: 20, limit: 10 })).items).toMatchObject([
      { position: 21, event: { event_id: event.event_id } },
    ]);
  });

  it("stays until then", async () => {
    await append(...makeEvents(5));
    await shiftClock(RETENTION_MS - DAY_MS);
    await fireAlarm();
    expect(await feed()).toHaveLength(5);
  });
});

describe("the feed", () => {
  it("pages without gaps or repetitions, whatever is appended meanwhile", async () => {
    const events = makeEvents(50);
    const seen: WebhookEvent[] = [];
    let position = 0;
    for (let at = 0; at < 50 || seen.length < 50; at += 10) {
      if (at < 50) await append(...events.slice(at, at + 10));
      const page = await journal().read({ after: position, limit: 7 });
      seen.push(...page.items.map(({ event }) => event));
      position = page.position;
    }
    expect(seen).toEqual(events);
    expect(await journal().read({ after: position, limit: 7 })).toEqual({ items: [], position, more: false });
  });

  it("filters, and goes on behind what did not match", async () => {
    const wanted = makeEvent({ type: "contract.cancelled" });
    await append(...makeEvents(30), wanted, ...makeEvents(30));
    const page = await journal().read({ after: 0, limit: 10, type: "contract.cancelled" });
    expect(page.items.map(({ event }) => event)).toEqual([wanted]);
    expect(page.position).toBe(61);
    const mine = await journal().read({ after: 0, limit: 10, userId: wanted.user_id! });
    expect(mine.items.map(({ event }) => event)).toEqual([wanted]);
    expect(mine.position).toBe(61);
  });

  it("holds the line until something comes, and no longer than asked", async () => {
    const started = Date.now();
    const waiting = journal().read({ after: 0, limit: 10, waitMs: 10_000 });
    await sleep(200);
    const event = makeEvent();
    await append(event);
    expect((await waiting).items.map((item) => item.event)).toEqual([event]);
    expect(Date.now() - started).toBeLessThan(3_000);
    const again = Date.now();
    expect((await journal().read({ after: 1, limit: 10, waitMs: 400 })).items).toEqual([]);
    expect(Date.now() - again).toBeGreaterThanOrEqual(390);
    expect(Date.now() - again).toBeLessThan(2_000);
  });

  it("holds it on when what comes is not what was asked for", async () => {
    const waiting = journal().read({ after: 0, limit: 10, type: "profile.updated", waitMs: 10_000 });
    await append(...makeEvents(3));
    await sleep(100);
    const event = makeEvent({ type: "profile.updated" });
    await append(event);
    expect(await waiting).toMatchObject({ position: 4, items: [{ position: 4 }] });
  });

  it("finds an event's place by its id, whether or not the id carries the user", async () => {
    const plain = makeEvent({ event_id: "1AbCdEfGhJkMnPqRsTuVwX" });
    const routed = makeEvent();
    await append(makeEvent(), plain, routed);
    expect(await journal().locate(plain.event_id)).toMatchObject({ position: 2 });
    expect(await journal().locate(routed.event_id)).toMatchObject({ position: 3 });
    expect(await journal().locate(makeEvent().event_id)).toBeUndefined();
  });

  it("finds the place of an instant", async () => {
    await runInDurableObject(env.JOURNAL.getByName("journal-0"), (instance: Journal) => {
      let now = 1_000;
      instance.now = () => now++ && now;
    });
    for (let at = 0; at < 9; at++) await append(makeEvent());
    const times = await query<{ recorded_at: number }>("SELECT recorded_at FROM events ORDER BY n");
    for (const [index, { recorded_at }] of times.entries()) {
      expect(await journal().positionBefore(recorded_at)).toBe(index);
      expect(await journal().positionBefore(recorded_at + 0.5)).toBe(index + 1);
    }
    expect(await journal().positionBefore(0)).toBe(0);
    expect(await journal().positionBefore(Number.MAX_SAFE_INTEGER)).toBe(9);
  });
});
