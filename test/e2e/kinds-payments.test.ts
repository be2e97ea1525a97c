// Payments, subscriptions, notifications and continuous sessions between a backend and a user vault, over the real
// clusters.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Backend, LOGIN_OFFERING } from "../../scripts/stack/backend.ts";
import { type Stack, startStack, waitUntilReady } from "../../scripts/stack/stack.ts";
import type { Policy } from "../../sdk/user-vault/index.ts";
import { verifyApproval } from "../../src/requests/lifecycle.ts";
import { Person, PROFILE } from "./support/person.ts";

const POLL = { timeout: 10_000 };

const grant = (capability: string) => ({
  capability,
  description: `Ask you for ${capability}`,
  requires_approval_each_use: true,
});
const SHOP = {
  ...LOGIN_OFFERING,
  capabilities: [
    "authenticate",
    "authenticate.continuous",
    "payment.one_time",
    "payment.subscription",
    "payment.auto_renew",
    "send_notifications",
  ].map(grant),
};

const CARD = { type: "card", label: "Visa ending in 4242", reference: "tok-1" };

/** Approves what is described as wanted; denies what is not. */
const byDescription: Policy = ({ payload }) =>
  (payload as { description?: string }).description?.startsWith("unwanted") === true
    ? { decision: "denied", reason: "not now" }
    : { decision: "approved" };

let dir: string;
let stack: Stack;
let backend: Backend;
let person: Person;
let userId: string;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "payments-"));
  stack = await startStack({ dir });
  backend = new Backend(stack.baseUrl, stack.adminApiKey);
  const { invite_url } = await backend.invite("shop", SHOP);
  person = await Person.online(stack, byDescription);
  person.vault.addPaymentMethod("visa", CARD);
  userId = (await person.vault.connect(invite_url, { profile: PROFILE })).user_id;
});

afterAll(async () => {
  await person?.gone();
  await stack?.stop();
  rmSync(dir, { recursive: true, force: true });
});

const get = (path: string) => backend.expect(200, "GET", path);
const held = (collection: string, id: string) =>
  person.vault.holdings.list(collection, serviceId()).find(({ key }) => key === id)?.value;
const serviceId = () => person.vault.contracts()[0]!.service_id;

describe("a payment", () => {
  const pay = (change: object = {}) =>
    backend.expect(202, "POST", "payment/request", {
      user_id: userId,
      amount: { amount: 1_999, currency: "EUR" },
      description: "Order 1042",
      allowed_methods: ["card"],
      ...change,
    });

  it("is approved with a reference to a card, completed, refunded; the person's vault follows", async () => {
    const { request_id: id } = await pay();
    const view = await get(`payment/request/${id}?wait=20`);
    expect(view).toMatchObject({ status: "approved", method: CARD });
    expect(await verifyApproval(view.approval, view.request_payload, view.user_signing_key)).toBe(true);
    await backend.expect(200, "POST", `payment/request/${id}/complete`, {
      transaction_id: "tx-1",
      receipt_url: "https://shop.example.com/r/1",
    });
    await expect
      .poll(() => held("payments", id), POLL)
      .toMatchObject({
        status: "completed",
        transaction_id: "tx-1",
        amount: 1_999,
      });
    await backend.expect(200, "POST", `payment/request/${id}/refund`, {
      amount: 500,
      reason: "A broken cup",
    });
    await expect
      .poll(() => held("payments", id), POLL)
      .toMatchObject({ status: "partial_refund", amount: 1_999 });
  });

  it("that is not wanted, or cannot be paid as the shop allows, is denied", async () => {
    const unwanted = await pay({ description: "unwanted" });
    expect(await get(`payment/request/${unwanted.request_id}?wait=20`)).toMatchObject({ status: "denied" });
    const cash = await pay({ description: "Tea", allowed_methods: ["cash"] });
    expect(await get(`payment/request/${cash.request_id}?wait=20`)).toMatchObject({
      status: "denied",
      reason: "no_fitting_method",
    });
  });

  it("approved before the Worker is killed is completed once after it, by a repeated call", async () => {
    const { request_id: id } = await pay({ description: "Order 1043" });
    await get(`payment/request/${id}?wait=20`);
    const complete = () =>
      backend.call(
        "POST",
        `payment/request/${id}/complete`,
        { transaction_id: "tx-2" },
        { headers: { "idempotency-key": "complete-1043" } },
      );
    const first = await complete();
    await stack.worker.kill();
    await stack.worker.restart();
    await waitUntilReady(stack.worker);
    const again = await complete();
    expect([first.status, again.status]).toEqual([200, 200]);
    expect(again.body.completed_at).toBe(first.body.completed_at);
    await expect.poll(() => held("payments", id), POLL).toMatchObject({ status: "completed" });
  });
});

describe("a subscription", () => {
  it("is agreed to, charged, past due, and cancelled; the person's vault follows", async () => {
    const made = await backend.expect(201, "POST", "subscriptions", {
      user_id: userId,
      plan_id: "tea-club",
      amount: { amount: 990, currency: "EUR" },
      billing_cycle: "month",
      auto_renew: true,
    });
    const id = made.subscription_id;
    expect(await get(`subscriptions/${id}?wait=20`)).toMatchObject({ status: "active", method: CARD });
    expect(held("subscriptions", id)).toMatchObject({ plan_id: "tea-club", status: "active" });
    await backend.expect(200, "POST", `subscriptions/${id}/complete`, { transaction_id: "tx-3" });
    await backend.expect(200, "POST", `subscriptions/${id}/fail`, { reason: "Charged back" });
    await expect.poll(() => held("subscriptions", id), POLL).toMatchObject({ status: "past_due" });
    expect(await get(`subscriptions/${id}`)).toMatchObject({ status: "past_due", failed_attempts: 1 });
    const listed = await get(`subscriptions?user_id=${userId}`);
    expect(listed.subscriptions.map((one: { subscription_id: string }) => one.subscription_id)).toEqual([id]);
    await backend.expect(200, "DELETE", `subscriptions/${id}`);
    await expect.poll(() => held("subscriptions", id), POLL).toMatchObject({ status: "cancelled" });
  });
});

describe("a notification", () => {
  it("lies in the person's inbox, and the backend learns that it was delivered and read", async () => {
    const { notification_id: id } = await backend.expect(201, "POST", "notifications", {
      user_id: userId,
      title: "On its way",
      body: "Your parcel comes tomorrow.",
      category: "orders",
      action_url: "https://shop.example.com/orders/1042",
    });
    expect(await get(`notifications/${id}?wait=20`)).toMatchObject({ delivered: true });
    const [shown] = person.vault.notifications();
    expect(shown).toMatchObject({ notification_id: id, title: "On its way", category: "orders" });
    const { event_id } = (await person.vault.readNotification(id))!;
    expect(await person.vault.readNotification(id)).toBeUndefined();
    await person.vault.delivered(event_id);
    expect(await get(`notifications/${id}`)).toMatchObject({
      read_at: person.vault.notifications()[0]!.read_at,
    });
    await expect(person.vault.readNotification("nothing")).rejects.toMatchObject({
      code: "notification_unknown",
    });
  });

  it("sent while the phone is off is delivered when it is back", async () => {
    await person.vault.stop();
    const { notification_id: id } = await backend.expect(201, "POST", "notifications", {
      user_id: userId,
      title: "Sale",
      body: "Everything must go.",
    });
    expect(await get(`notifications/${id}?wait=1`)).toMatchObject({ delivered: false });
    person.vault.start();
    expect(await get(`notifications/${id}?wait=20`)).toMatchObject({ delivered: true });
    expect(person.vault.notifications()[0]).toMatchObject({ notification_id: id, category: "general" });
  });
});

describe("a continuous session", () => {
  it("is agreed to by the person, shown, and ended by the backend", async () => {
    const { session_id: id } = await backend.expect(201, "POST", "auth/sessions", {
      user_id: userId,
      purpose: "Stay logged in at the till",
      interval_seconds: 60,
      max_misses: 1,
    });
    expect(await get(`auth/sessions/${id}?wait=20`)).toMatchObject({
      status: "active",
      last_answer: { request_id: id, status: "approved" },
    });
    expect(await backend.expect(200, "DELETE", `auth/sessions/${id}`)).toMatchObject({
      status: "ended",
      end_reason: "service",
    });
  });
});

describe("what the backend is told", () => {
  it("is every step, in order, without a word the person or the backend wrote", async () => {
    const wanted = [
      "payment.approved",
      "payment.completed",
      "payment.refunded",
      "notification.read",
      "auth.session_ended",
    ];
    const types = async () => {
      const { events } = await get(`events?user_id=${userId}&limit=100`);
      return events.map(({ type }: { type: string }) => type);
    };
    await expect.poll(types, POLL).toEqual(expect.arrayContaining(wanted));
    const text = JSON.stringify(await get(`events?user_id=${userId}&limit=100`));
    for (const word of ["4242", "tok-1", "broken cup", "Order 1042", "parcel"])
      expect(text).not.toContain(word);
  });
});
