// What becomes of requests beside being asked and answered, in the user's object: payments, subscriptions,
// notifications and sessions. Over HTTP, with a user played by hand; time is moved in the database.

import { reset, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, inject, it } from "vitest";
import type { UserConnection } from "../../durable-objects/user-connection/user-connection.ts";
import { userConnectionOf } from "../../src/http/objects.ts";
import type { RequestPayload } from "../../src/protocol/asking.ts";
import { newEventId } from "../../src/protocol/ids.ts";
import type { Json } from "../../src/protocol/json.ts";
import type { Receipt } from "../../src/protocol/messages.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import type { Opened, Peer } from "../support/peer.ts";
import { type Body, call, connectedPeer } from "../support/worker.ts";

const serviceId = inject("serviceId");
const DAY_MS = 86_400_000;

afterEach(() => reset());

const grant = (capability: string, more: object = {}) => ({
  capability,
  description: `Ask you for ${capability}`,
  requires_approval_each_use: true,
  ...more,
});
const EVERYTHING = [
  grant("authenticate"),
  grant("authenticate.continuous"),
  grant("payment.one_time", { constraints: { max_amount: { amount: 5_000, currency: "EUR" } } }),
  grant("payment.subscription"),
  grant("payment.auto_renew"),
  grant("send_notifications", { scope: ["orders", "general"], constraints: { max_per_hour: 3 } }),
];

const connected = (capabilities: ReturnType<typeof grant>[] = EVERYTHING) => connectedPeer({ capabilities });
const stub = (peer: Peer) => env.USER_CONNECTION.getByName(peer.id);

async function expectCall(
  status: number,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Body> {
  const answer = await call(method, `/api/v1/${path}`, { ...(body === undefined ? {} : { body }), headers });
  expect(answer, JSON.stringify(answer.body)).toMatchObject({ status });
  return answer.body;
}

/** Delivers a message; returns its receipt. */
async function send(peer: Peer, eventType: string, payload: unknown, ref: string): Promise<Receipt> {
  const { subject, bytes } = await peer.message(serviceId, eventType, payload, { ref });
  const [outcome] = await userConnectionOf(env, peer.id).receive([{ subject, bytes }]);
  const replies = await Promise.all(outcome!.replies.map((reply) => peer.open(new Uint8Array(reply.bytes))));
  return replies.find(({ header }) => header.event_type === "receipt")!.payload as unknown as Receipt;
}

async function respond(
  peer: Peer,
  requestId: string,
  options: { decision?: "approved" | "denied"; result?: Json } = {},
): Promise<Receipt> {
  const { request_payload } = await expectCall(200, "GET", `requests/${requestId}`);
  const answer = await peer.answer(request_payload as RequestPayload, serviceId, options);
  return send(peer, `${request_payload.kind}.response`, answer, requestId);
}

/** Confirms that the user's vault has a message. */
async function receipt(peer: Peer, eventId: string, outcome: "stored" | "refused" = "stored"): Promise<void> {
  const payload = { event_id: eventId, received_at: toTimestamp(Date.now()), outcome };
  const { subject, bytes } = await peer.message(serviceId, "receipt", payload, { ref: eventId });
  await userConnectionOf(env, peer.id).receive([{ subject, bytes }]);
}

async function outbox(peer: Peer): Promise<Opened[]> {
  const sealed = await runInDurableObject(stub(peer), (_: UserConnection, state) =>
    state.storage.sql
      .exec("SELECT sealed FROM outgoing WHERE sealed IS NOT NULL ORDER BY n")
      .toArray()
      .map((row) => new Uint8Array(row.sealed as ArrayBuffer)),
  );
  return Promise.all(sealed.map((bytes) => peer.open(bytes)));
}

const said = async (peer: Peer, ref: string) =>
  (await outbox(peer))
    .filter(({ header }) => header.ref === ref)
    .map(({ header, payload }) => [header.event_type, payload]);

/** Events for the backend, as far as the journal has them. */
async function events(peer: Peer): Promise<Body[]> {
  await runInDurableObject(stub(peer), async (object: UserConnection) => object.alarm());
  const feed = await expectCall(200, "GET", `events?user_id=${peer.id}&limit=100`);
  return feed.events;
}

const typesOf = (found: Body[]): string[] => found.map(({ type }) => type);

/**
 * Makes a request's next look due: its machine is as it would be `ms` later. The object's clock cannot be moved, so what
 * it remembers is moved back.
 */
async function later(peer: Peer, requestId: string): Promise<void> {
  await runInDurableObject(stub(peer), async (object: UserConnection, state) => {
    state.storage.sql.exec("UPDATE outgoing SET due_at = 1 WHERE event_id = ?", requestId);
    await object.alarm();
  });
}

const chainOf = async (peer: Peer): Promise<Body[]> =>
  (await expectCall(200, "GET", `audit?user_id=${peer.id}&limit=100`)).entries;

describe("a payment", () => {
  const order = {
    amount: { amount: 1_999, currency: "EUR" },
    description: "Order 1042",
    items: [{ name: "Tea", quantity: 1, unit_amount: 1_999 }],
  };
  const asked = async (peer: Peer, change: object = {}): Promise<string> =>
    (await expectCall(202, "POST", "payment/request", { user_id: peer.id, ...order, ...change })).request_id;
  const approved = async (peer: Peer): Promise<string> => {
    const id = await asked(peer);
    expect(await respond(peer, id, { result: { method: { type: "card" } } })).toMatchObject({
      outcome: "stored",
      request_status: "approved",
    });
    return id;
  };

  it("is approved, completed and refunded; both sides are told of each step", async () => {
    const peer = await connected();
    const id = await approved(peer);
    const view = await expectCall(200, "GET", `payment/request/${id}`);
    expect(view).toMatchObject({
      status: "approved",
      payment_status: "approved",
      amount: 1_999,
      currency: "EUR",
      method: { type: "card" },
    });
    const done = await expectCall(200, "POST", `payment/request/${id}/complete`, { transaction_id: "tx-1" });
    expect(done).toMatchObject({ status: "completed", transaction_id: "tx-1" });
    const part = await expectCall(200, "POST", `payment/request/${id}/refund`, { amount: 500 });
    expect(part).toMatchObject({ status: "partial_refund", refunded_amount: 500 });
    // Without a body: everything that is left.
    expect(await expectCall(200, "POST", `payment/request/${id}/refund`)).toMatchObject({
      status: "refunded",
    });
    // Elsewhere the status is that of the ask.
    expect(await expectCall(200, "GET", `requests/${id}`)).toMatchObject({
      status: "approved",
      payment_status: "refunded",
    });
    expect(await said(peer, id)).toEqual([
      ["payment.update", { status: "completed", transaction_id: "tx-1" }],
      [
        "payment.update",
        { status: "partial_refund", transaction_id: "tx-1", amount: { amount: 500, currency: "EUR" } },
      ],
      [
        "payment.update",
        { status: "refunded", transaction_id: "tx-1", amount: { amount: 1_499, currency: "EUR" } },
      ],
    ]);
    expect(typesOf(await events(peer)).filter((type) => type.startsWith("payment."))).toEqual([
      "payment.response",
      "payment.approved",
      "payment.completed",
      "payment.refunded",
      "payment.refunded",
    ]);
    expect((await chainOf(peer)).map(({ operation }) => operation)).toEqual(
      expect.arrayContaining(["payment.request", "payment.response", "payment.complete", "payment.refund"]),
    );
  });

  it("is refused what its state does not allow, and the refusal is recorded", async () => {
    const peer = await connected();
    const pending = await asked(peer);
    await expectCall(409, "POST", `payment/request/${pending}/complete`, { transaction_id: "tx" });
    await respond(peer, pending, { result: {} });
    await expectCall(409, "POST", `payment/request/${pending}/refund`, {});
    await expectCall(200, "POST", `payment/request/${pending}/complete`, { transaction_id: "tx" });
    const beyond = await expectCall(400, "POST", `payment/request/${pending}/refund`, { amount: 2_000 });
    expect(beyond).toMatchObject({ code: "invalid_request" });
    expect((await expectCall(200, "GET", `payment/request/${pending}`)).refunded_amount).toBeUndefined();
    const refusals = (await chainOf(peer)).filter(({ status }) => status === "denied");
    expect(refusals.map(({ operation }) => operation)).toEqual([
      "payment.complete",
      "payment.refund",
      "payment.refund",
    ]);
  });

  it("is refunded once by a repeated call with the same Idempotency-Key, and answers as it did first", async () => {
    const peer = await connected();
    const id = await approved(peer);
    await expectCall(200, "POST", `payment/request/${id}/complete`, { transaction_id: "tx-1" });
    const refund = (key: string, amount: number, status = 200) =>
      expectCall(status, "POST", `payment/request/${id}/refund`, { amount }, { "idempotency-key": key });
    const first = await refund("r-1", 500);
    const both = await Promise.all([refund("r-1", 500), refund("r-1", 500)]);
    expect(both.map(({ refunded_amount }) => refunded_amount)).toEqual([500, 500]);
    expect(await refund("r-2", 100)).toMatchObject({ refunded_amount: 600 });
    expect(await refund("r-1", 500)).toEqual(first);
    expect(await refund("r-1", 501, 409)).toMatchObject({ code: "conflict" });
    expect((await expectCall(200, "GET", `payment/request/${id}`)).refunds).toHaveLength(2);
    // A refused call is not remembered: the key is free for a right one.
    await refund("r-3", 5_000, 400);
    await refund("r-3", 1_399);
  });

  it("beyond the contract's amount, in another currency, or not granted reaches nobody", async () => {
    const peer = await connected();
    const refused = async (body: object) =>
      (await expectCall(403, "POST", "payment/request", { user_id: peer.id, description: "x", ...body }))
        .code;
    expect(await refused({ amount: { amount: 5_001, currency: "EUR" } })).toBe("capability_denied");
    expect(await refused({ amount: { amount: 50, currency: "USD" } })).toBe("capability_denied");
    const other = await connected([grant("payment.one_time")]);
    expect(
      await expectCall(403, "POST", "payment/request", {
        user_id: other.id,
        ...order,
        recurring_info: { billing_cycle: "month" },
      }),
    ).toMatchObject({ code: "capability_denied" });
    expect((await outbox(peer)).length + (await outbox(other)).length).toBe(0);
  });

  it("is answered with a bad result: recorded, refused, and still open", async () => {
    const peer = await connected();
    const id = await asked(peer);
    const wrong: Json[] = [{ card_number: "4242" }, { method: { type: "A card" } }];
    for (const result of wrong)
      expect(await respond(peer, id, { result })).toMatchObject({
        outcome: "refused",
        reason: "result_invalid",
      });
    expect(await respond(peer, id)).toMatchObject({ outcome: "refused", reason: "result_missing" });
    expect(await respond(peer, id, { result: {} })).toMatchObject({ outcome: "stored" });
  });

  it("is not found under another sort's path, nor by an action of another sort", async () => {
    const peer = await connected();
    const id = await approved(peer);
    await expectCall(404, "GET", `subscriptions/${id}`);
    await expectCall(404, "DELETE", `subscriptions/${id}`);
    await expectCall(404, "POST", `subscriptions/${id}/complete`, { transaction_id: "tx" });
    await expectCall(404, "POST", `payment/request/${newEventId()}/complete`, { transaction_id: "tx" });
  });

  it.each([
    ["complete", {}, "transaction_id"],
    ["complete", { transaction_id: "tx", extra: 1 }, "extra"],
    ["fail", {}, "reason"],
    ["refund", { amount: 0 }, "amount"],
  ])("names what is wrong with %s %j", async (action, body, field) => {
    const peer = await connected();
    const id = await approved(peer);
    const problem = await expectCall(400, "POST", `payment/request/${id}/${action}`, body);
    expect(problem.details.map(({ path }: { path: string }) => path)).toContain(field);
  });
});

describe("a subscription", () => {
  const terms = {
    plan_id: "tea-club",
    amount: { amount: 990, currency: "EUR" },
    billing_cycle: "month",
    auto_renew: true,
  };
  const subscribed = async (peer: Peer, change: object = {}): Promise<string> => {
    const made = await expectCall(201, "POST", "subscriptions", { user_id: peer.id, ...terms, ...change });
    expect(made.subscription_id).toBe(made.request_id);
    await respond(peer, made.request_id, { result: {} });
    return made.subscription_id;
  };
  const read = (id: string) => expectCall(200, "GET", `subscriptions/${id}`);
  /** Moves the subscription's own dates back, as if its period had run. */
  const ageBy = (peer: Peer, id: string, ms: number) =>
    runInDurableObject(stub(peer), async (object: UserConnection, storage) => {
      const { configOf } = await import("../../src/config.ts");
      const { wrapper } = { wrapper: (await configOf(env)).wrapperFor(peer.id) };
      const { n, state } = storage.storage.sql
        .exec("SELECT n, state FROM outgoing WHERE event_id = ?", id)
        .one() as unknown as { n: number; state: ArrayBuffer };
      const before = wrapper.unwrap(new Uint8Array(state), `outgoing/state/${n}`) as Record<string, number>;
      const moved = Object.fromEntries(
        Object.entries(before).map(([name, value]) => [
          name,
          ["anchor", "since", "retryAt"].includes(name) ? value - ms : value,
        ]),
      );
      storage.storage.sql.exec(
        "UPDATE outgoing SET state = ?, due_at = 1 WHERE n = ?",
        wrapper.wrap(moved, `outgoing/state/${n}`).slice().buffer,
        n,
      );
      await object.alarm();
    });
  const openRenewal = async (peer: Peer, id: string): Promise<string> =>
    (await outbox(peer)).find(
      ({ header, payload }) =>
        header.event_type === "payment.request" &&
        (payload as { recurring_info?: { subscription_id?: string } }).recurring_info?.subscription_id === id,
    )!.header.event_id;

  it("reminds and renews by itself when its time has come", async () => {
    const peer = await connected();
    // By the week: a month's length depends on the day this runs.
    const id = await subscribed(peer, { billing_cycle: "week" });
    expect(await read(id)).toMatchObject({ status: "active", plan_id: "tea-club", failed_attempts: 0 });
    await ageBy(peer, id, 6 * DAY_MS);
    expect(await said(peer, id)).toMatchObject([["payment.update", { status: "renewal_due" }]]);
    await ageBy(peer, id, 2 * DAY_MS);
    expect(typesOf(await events(peer)).filter((type) => type.startsWith("subscription."))).toEqual([
      "subscription.reminder",
      "subscription.renewed",
    ]);
    expect(await read(id)).toMatchObject({ status: "active" });
    const due = (await chainOf(peer)).filter(({ operation }) => operation === "payment.due");
    expect(due.map(({ response_summary }) => response_summary)).toMatchObject([
      { reminder: true },
      { cycle: 1, authorised_by: "auto_renew" },
    ]);
  });

  it("is looked at when it is due: the one alarm is set for it, also after it fired for something else", async () => {
    const peer = await connected();
    const id = await subscribed(peer);
    const afterAlarm = () =>
      runInDurableObject(stub(peer), async (object: UserConnection, state) => {
        state.storage.sql.exec("UPDATE outgoing SET sealed = NULL, next_send_at = NULL");
        await object.alarm();
        const { due_at } = state.storage.sql.exec("SELECT due_at FROM outgoing WHERE event_id = ?", id).one();
        return { due: due_at as number, set: await state.storage.getAlarm() };
      });
    // Until the audit log has the chain's head the alarm stands behind that too; then only the subscription is left.
    await expect
      .poll(
        async () => {
          const { due, set } = await afterAlarm();
          return set === due;
        },
        { timeout: 15_000 },
      )
      .toBe(true);
  });

  it("an alarm that fires twice renews once", async () => {
    const peer = await connected();
    const id = await subscribed(peer);
    await ageBy(peer, id, 32 * DAY_MS);
    await runDurableObjectAlarm(stub(peer));
    await later(peer, id);
    const renewals = typesOf(await events(peer)).filter((type) => type === "subscription.renewed");
    expect(renewals).toHaveLength(1);
  });

  it("asks for each renewal where it does not renew by itself; a yes renews it", async () => {
    const peer = await connected();
    const id = await subscribed(peer, { auto_renew: false });
    await ageBy(peer, id, 32 * DAY_MS);
    const renewal = await openRenewal(peer, id);
    expect(await expectCall(200, "GET", `payment/request/${renewal}`)).toMatchObject({
      status: "pending",
      request_payload: { recurring_info: { subscription_id: id, plan_id: "tea-club" } },
    });
    await respond(peer, renewal, { result: {} });
    const { current_period_start } = await read(id);
    expect(Date.parse(current_period_start)).toBeGreaterThan(Date.now() - 5 * DAY_MS);
    const told = await events(peer);
    expect(told.find(({ type }) => type === "subscription.renewed").data).toMatchObject({
      subscription_id: id,
      authorised_by: "approval",
    });
    // The renewal is a payment like any other.
    await expectCall(200, "POST", `payment/request/${renewal}/complete`, { transaction_id: "tx-9" });
  });

  it("whose renewal nobody answers is past due, tried again and lapses", async () => {
    const peer = await connected();
    const id = await subscribed(peer, { auto_renew: false });
    await ageBy(peer, id, 32 * DAY_MS);
    for (let attempt = 1; attempt <= 4; attempt++) {
      const renewal = await openRenewal(peer, id);
      await runInDurableObject(stub(peer), async (object: UserConnection, state) => {
        state.storage.sql.exec(
          "UPDATE outgoing SET expires_at = 1, grace_until = 1 WHERE event_id = ?",
          renewal,
        );
        await object.alarm();
      });
      expect(await read(id)).toMatchObject(
        attempt < 4 ? { status: "past_due", failed_attempts: attempt } : { status: "lapsed" },
      );
      if (attempt < 4) await ageBy(peer, id, 6 * DAY_MS);
    }
    const told = typesOf(await events(peer)).filter((type) => type.startsWith("subscription."));
    expect(told).toEqual([...Array(4).fill("subscription.renewal_failed"), "subscription.cancelled"]);
  });

  it("cancelled while its renewal is asked takes the ask back", async () => {
    const peer = await connected();
    const id = await subscribed(peer, { auto_renew: false });
    await ageBy(peer, id, 32 * DAY_MS);
    const renewal = await openRenewal(peer, id);
    expect(await expectCall(200, "DELETE", `subscriptions/${id}`)).toMatchObject({
      status: "cancelled",
      end_reason: "service",
    });
    expect(await expectCall(200, "GET", `requests/${renewal}`)).toMatchObject({ status: "cancelled" });
    expect((await said(peer, renewal)).map(([type]) => type)).toEqual(["request.cancelled"]);
    // Twice is once.
    await expectCall(200, "DELETE", `subscriptions/${id}`);
    const told = typesOf(await events(peer)).filter((type) => type === "subscription.cancelled");
    expect(told).toHaveLength(1);
    await ageBy(peer, id, 60 * DAY_MS);
    expect(await read(id)).toMatchObject({ status: "cancelled" });
  });

  it("that is still open is withdrawn by a DELETE", async () => {
    const peer = await connected();
    const made = await expectCall(201, "POST", "subscriptions", { user_id: peer.id, ...terms });
    expect(await expectCall(200, "DELETE", `subscriptions/${made.subscription_id}`)).toMatchObject({
      status: "cancelled",
      end_reason: "withdrawn",
    });
    expect(await respond(peer, made.request_id, { result: {} })).toMatchObject({ reason: "already_ended" });
  });

  it("ends with the contract: told to the backend, nothing more to the user, nothing more due", async () => {
    const peer = await connected();
    const id = await subscribed(peer, { auto_renew: false });
    await ageBy(peer, id, 32 * DAY_MS);
    const renewal = await openRenewal(peer, id);
    const { subject, bytes } = await peer.message(serviceId, "contract.revoke", await peer.revocation());
    await userConnectionOf(env, peer.id).receive([{ subject, bytes }]);
    expect(await read(id)).toMatchObject({ status: "cancelled", end_reason: "contract_ended" });
    expect(await expectCall(200, "GET", `requests/${renewal}`)).toMatchObject({ status: "cancelled" });
    expect(typesOf(await events(peer))).toContain("subscription.cancelled");
    expect(await outbox(peer)).toEqual([]);
    const timed = await runInDurableObject(stub(peer), (_: UserConnection, state) =>
      state.storage.sql.exec("SELECT n FROM outgoing WHERE due_at IS NOT NULL").toArray(),
    );
    expect(timed).toEqual([]);
  });

  it("that renews by itself needs the grant for it", async () => {
    const peer = await connected([grant("payment.subscription")]);
    const refused = await expectCall(403, "POST", "subscriptions", { user_id: peer.id, ...terms });
    expect(refused).toMatchObject({
      code: "capability_denied",
      detail: expect.stringContaining("auto_renew"),
    });
    await expectCall(201, "POST", "subscriptions", { user_id: peer.id, ...terms, auto_renew: false });
  });

  it("is listed for its user, without other payments, page by page", async () => {
    const peer = await connected();
    const first = await subscribed(peer);
    await expectCall(202, "POST", "payment/request", {
      user_id: peer.id,
      amount: { amount: 5, currency: "EUR" },
      description: "Tea",
    });
    const second = await subscribed(peer, { plan_id: "coffee-club" });
    const list = (query = "") => expectCall(200, "GET", `subscriptions?user_id=${peer.id}${query}`);
    const ids = ({ subscriptions }: Body) =>
      subscriptions.map(({ subscription_id }: Body) => subscription_id);
    expect(ids(await list())).toEqual([second, first]);
    const page = await list("&limit=1");
    expect(ids(page)).toEqual([second]);
    expect(ids(await list(`&limit=1&cursor=${page.next_cursor}`))).toEqual([first]);
    await expectCall(400, "GET", "subscriptions");
  });
});

describe("a notification", () => {
  const news = { title: "On its way", body: "Your parcel comes tomorrow.", category: "orders" };
  const notify = (peer: Peer, change: object = {}, status = 201) =>
    expectCall(status, "POST", "notifications", { user_id: peer.id, ...news, ...change });
  const read = (id: string) => expectCall(200, "GET", `notifications/${id}`);

  it("is delivered when its receipt comes, and read when the user says so", async () => {
    const peer = await connected();
    const { notification_id: id } = await notify(peer);
    expect((await outbox(peer)).at(-1)!.header).toMatchObject({ event_type: "notify.orders", event_id: id });
    expect(await read(id)).toMatchObject({ notification_id: id, delivered: false, status: "pending" });
    await receipt(peer, id);
    expect(await read(id)).toMatchObject({
      delivered: true,
      delivered_at: expect.any(String),
      status: "delivered",
    });
    await receipt(peer, id);
    const readAt = { read_at: toTimestamp(Date.now()) };
    expect(await send(peer, "notify.read", readAt, id)).toMatchObject({ outcome: "stored" });
    expect(await send(peer, "notify.read", { read_at: toTimestamp(Date.now() + 5) }, id)).toMatchObject({
      outcome: "stored",
    });
    expect(await read(id)).toMatchObject(readAt);
    expect(typesOf(await events(peer)).filter((type) => type.startsWith("notification."))).toEqual([
      "notification.delivered",
      "notification.read",
    ]);
  });

  it("read before its receipt came has been delivered", async () => {
    const peer = await connected();
    const { notification_id: id } = await notify(peer);
    expect(await send(peer, "notify.read", { read_at: toTimestamp(Date.now()) }, id)).toMatchObject({
      outcome: "stored",
      request_status: "delivered",
    });
    expect(await read(id)).toMatchObject({ delivered: true, read_at: expect.any(String) });
  });

  it("that the user's vault refuses is not delivered; one that expires says so", async () => {
    const peer = await connected();
    const { notification_id: id } = await notify(peer);
    await receipt(peer, id, "refused");
    expect(await read(id)).toMatchObject({ delivered: false });
    await runInDurableObject(stub(peer), async (object: UserConnection, state) => {
      state.storage.sql.exec("UPDATE outgoing SET expires_at = 1, grace_until = 1 WHERE event_id = ?", id);
      await object.alarm();
    });
    expect(await read(id)).toMatchObject({ delivered: false, status: "expired" });
  });

  it("cannot be answered", async () => {
    const peer = await connected();
    const { notification_id: id } = await notify(peer);
    expect(await respond(peer, id)).toMatchObject({ outcome: "refused", reason: "not_asked" });
    expect(await read(id)).toMatchObject({ status: "pending" });
  });

  it("goes no further than its categories and its rate", async () => {
    const peer = await connected();
    expect(await notify(peer, { category: "adverts" }, 403)).toMatchObject({ code: "capability_denied" });
    for (let n = 0; n < 3; n++) await notify(peer);
    expect(await notify(peer, {}, 429)).toMatchObject({ code: "rate_limited" });
    expect((await outbox(peer)).length).toBe(3);
  });

  it("that is read under another request is refused", async () => {
    const peer = await connected();
    const login = await expectCall(201, "POST", "auth/request", { user_id: peer.id, purpose: "Log in" });
    expect(
      await send(peer, "notify.read", { read_at: toTimestamp(Date.now()) }, login.request_id),
    ).toMatchObject({
      outcome: "refused",
      reason: "unknown_request",
    });
    const { notification_id: id } = await notify(peer);
    expect(await send(peer, "notify.read", { read_at: "now" }, id)).toMatchObject({ outcome: "refused" });
    expect(await read(id)).not.toHaveProperty("read_at");
  });
});

describe("a continuous session", () => {
  const begin = async (peer: Peer): Promise<string> => {
    const made = await expectCall(201, "POST", "auth/sessions", {
      user_id: peer.id,
      purpose: "Stay logged in at the till",
      interval_seconds: 60,
      max_misses: 1,
    });
    await respond(peer, made.session_id);
    return made.session_id;
  };
  const read = (id: string) => expectCall(200, "GET", `auth/sessions/${id}`);
  /** As if the interval had passed. */
  const nextCheck = async (peer: Peer, id: string): Promise<string> => {
    await runInDurableObject(stub(peer), async (object: UserConnection, storage) => {
      const { configOf } = await import("../../src/config.ts");
      const wrapper = (await configOf(env)).wrapperFor(peer.id);
      const { n, state } = storage.storage.sql
        .exec("SELECT n, state FROM outgoing WHERE event_id = ?", id)
        .one() as unknown as { n: number; state: ArrayBuffer };
      const before = wrapper.unwrap(new Uint8Array(state), `outgoing/state/${n}`) as { askedAt: number };
      const moved = { ...before, askedAt: before.askedAt - 61_000 };
      storage.storage.sql.exec(
        "UPDATE outgoing SET state = ?, due_at = 1 WHERE n = ?",
        wrapper.wrap(moved, `outgoing/state/${n}`).slice().buffer,
        n,
      );
      await object.alarm();
    });
    return (await outbox(peer)).findLast(({ header }) => header.event_type === "auth.request")!.header
      .event_id;
  };

  it("asks again by itself, keeps the last answer, and ends when it is missed too often", async () => {
    const peer = await connected();
    const id = await begin(peer);
    expect(await read(id)).toMatchObject({ status: "active", misses: 0, last_answer: { request_id: id } });
    const check = await nextCheck(peer, id);
    expect((await expectCall(200, "GET", `auth/request/${check}`)).request_payload).toMatchObject({
      session_id: id,
    });
    await respond(peer, check);
    expect(await read(id)).toMatchObject({
      checks: 1,
      last_answer: { request_id: check, status: "approved" },
    });
    const missed = await nextCheck(peer, id);
    await runInDurableObject(stub(peer), async (object: UserConnection, state) => {
      state.storage.sql.exec(
        "UPDATE outgoing SET expires_at = 1, grace_until = 1 WHERE event_id = ?",
        missed,
      );
      await object.alarm();
    });
    expect(await read(id)).toMatchObject({ status: "ended", end_reason: "missed" });
    const ended = (await events(peer)).find(({ type }) => type === "auth.session_ended");
    expect(ended.data).toMatchObject({ session_id: id, reason: "missed" });
  });

  it("ends when a check is denied, and when the backend says so", async () => {
    const peer = await connected();
    const denied = await begin(peer);
    await respond(peer, await nextCheck(peer, denied), { decision: "denied" });
    expect(await read(denied)).toMatchObject({ status: "ended", end_reason: "denied" });
    const other = await connected();
    const ended = await begin(other);
    const check = await nextCheck(other, ended);
    expect(await expectCall(200, "DELETE", `auth/sessions/${ended}`)).toMatchObject({
      end_reason: "service",
    });
    expect(await expectCall(200, "GET", `auth/request/${check}`)).toMatchObject({ status: "cancelled" });
  });

  it("needs a grant of its own", async () => {
    const peer = await connected([grant("authenticate")]);
    const body = { user_id: peer.id, purpose: "Stay", interval_seconds: 60, max_misses: 1 };
    expect(await expectCall(403, "POST", "auth/sessions", body)).toMatchObject({ code: "capability_denied" });
  });
});
