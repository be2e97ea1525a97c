// Payments and notifications on the person's side: which method is sent, what is kept, what is refused.

import { beforeEach, describe, expect, it } from "vitest";
import type { HandledAsk, HandlerContext } from "../../../sdk/user-vault/handlers/handler.ts";
import { INBOX, MAX_INBOX, type Notification } from "../../../sdk/user-vault/handlers/notification.ts";
import {
  PAYMENT_METHODS,
  PAYMENTS,
  payment,
  SUBSCRIPTIONS,
} from "../../../sdk/user-vault/handlers/payment.ts";
import { HoldingsDraft, PERSONAL } from "../../../sdk/user-vault/holdings.ts";
import { openSqliteStore } from "../../../sdk/user-vault/sqlite-store.ts";
import type { VaultStore } from "../../../sdk/user-vault/store.ts";
import { newEventId } from "../../../src/protocol/ids.ts";
import type { Json } from "../../../src/protocol/json.ts";
import { toTimestamp } from "../../../src/protocol/primitives.ts";
import { buildPayload } from "../../../src/requests/lifecycle.ts";
import { kindNamed } from "../../../src/requests/registry.ts";
import { MailboxFixture } from "./mailbox-fixture.ts";
import { LOGIN, ServicePeer } from "./service-peer.ts";

const SERVICE = "service";
const NOW = Date.UTC(2026, 0, 15);
const CARD = { type: "card", label: "Visa ending in 4242", reference: "tok-1" };
const WALLET = { type: "wallet" };

let store: VaultStore;
beforeEach(() => {
  store = openSqliteStore(":memory:");
});

const context = { now: NOW, serviceId: SERVICE, contractId: "contract" } as HandlerContext;
const draft = () => new HoldingsDraft((work) => store.transaction(work), SERVICE);
const hold = (name: string, method: Json) =>
  store.transaction((tx) => tx.saveHolding(PERSONAL, PAYMENT_METHODS, name, method));
const held = (collection: string, key: string) =>
  store.transaction((tx) => tx.holding(SERVICE, collection, key));

async function approve(change: object = {}, choices?: { [name: string]: Json }) {
  const payload = { amount: { amount: 1_999, currency: "EUR" }, description: "Order 1042", ...change };
  const ask = { requestId: "pay-1", kind: "payment", operation: "pay", payload, context } as HandledAsk;
  return answered(ask, choices);
}

async function answered(ask: HandledAsk, choices?: { [name: string]: Json }) {
  const holdings = draft();
  const decision = { decision: "approved" as const, ...(choices === undefined ? {} : { choices }) };
  const result = await payment.answer!(ask, decision, holdings, undefined as never);
  if (!("refuse" in result)) store.transaction((tx) => holdings.apply(tx));
  return result;
}

function update(ref: string, payload: object) {
  const holdings = draft();
  const hears = payment.hears!["payment.update"]!;
  const refused = hears.run(hears.payload.parse(payload), { ...context, eventId: "e", ref }, holdings);
  if (refused === undefined) store.transaction((tx) => holdings.apply(tx));
  return refused;
}

describe("paying", () => {
  it("sends the first method the service allows, or the one the person chose", async () => {
    hold("a-wallet", WALLET);
    hold("b-card", CARD);
    expect(await approve()).toEqual({ result: { method: WALLET } });
    expect(await approve({ allowed_methods: ["card"] })).toEqual({ result: { method: CARD } });
    expect(await approve({}, { method: "b-card" })).toEqual({ result: { method: CARD } });
  });

  it("is refused when no method fits, and by a choice that is none", async () => {
    hold("card", CARD);
    expect(await approve({ allowed_methods: ["cash"] })).toEqual({ refuse: "no_fitting_method" });
    expect(await approve({ allowed_methods: ["cash"] }, { method: "card" })).toHaveProperty("refuse");
    expect(await approve({}, { method: "another" })).toHaveProperty("refuse");
    expect(held(PAYMENTS, "pay-1")).toBeUndefined();
  });

  it("needs no method where none is held", async () => {
    expect(await approve({ allowed_methods: ["card"] })).toEqual({ result: {} });
  });

  it("is kept, with what the service says of it later", async () => {
    hold("card", CARD);
    await approve();
    expect(update("pay-1", { status: "completed", transaction_id: "tx-1" })).toBeUndefined();
    update("pay-1", { status: "partial_refund", amount: { amount: 5, currency: "EUR" } });
    expect(held(PAYMENTS, "pay-1")).toMatchObject({
      status: "partial_refund",
      amount: 1_999,
      transaction_id: "tx-1",
      method: CARD,
    });
    expect(update("unheard-of", { status: "completed" })).toEqual({ refuse: "payment_unknown" });
  });

  it("by subscription keeps its terms and follows its life", async () => {
    const terms = {
      plan_id: "tea",
      amount: { amount: 990, currency: "EUR" },
      billing_cycle: "month",
      auto_renew: true,
      trial_days: 14,
    };
    await answered({
      requestId: "sub-1",
      kind: "payment",
      operation: "subscription",
      payload: terms,
      context,
    } as HandledAsk);
    expect(held(SUBSCRIPTIONS, "sub-1")).toMatchObject({ plan_id: "tea", status: "trialing" });
    const period = { period_start: toTimestamp(NOW), period_end: toTimestamp(NOW + 1) };
    for (const [said, status] of [
      ["renewal_due", "trialing"],
      ["renewed", "active"],
      ["completed", "active"],
      ["past_due", "past_due"],
      ["lapsed", "lapsed"],
    ] as const) {
      update("sub-1", { status: said, ...period });
      expect(held(SUBSCRIPTIONS, "sub-1")).toMatchObject({ status, last_update: said });
    }
  });
});

describe("being told", () => {
  const told = (change: object = {}) => ({ title: "Hello", body: "News.", category: "orders", ...change });

  async function notified(change: object = {}, granted = true) {
    const offering = granted
      ? {
          ...LOGIN,
          capabilities: [
            {
              capability: "send_notifications",
              description: "Tell you",
              requires_approval_each_use: false,
            },
          ],
        }
      : LOGIN;
    const peer = await ServicePeer.make(offering);
    const fixture = new MailboxFixture(peer, store);
    await fixture.connect();
    const kind = kindNamed("notification")!;
    const eventId = newEventId();
    const expiresAt = Date.now() + 60_000;
    const payload = {
      ...buildPayload(
        kind,
        kind.operations[0]!,
        { requestId: eventId, expiresAt, graceSeconds: 0, matchCodeRequired: false },
        told(),
      ),
      ...change,
    };
    const message = await peer.seal("notify.orders", payload, { eventId, expiresAt });
    await fixture.receive(message);
    await fixture.receive(message);
    const inbox = store.transaction((tx) => tx.holdings(peer.key.id, INBOX));
    const [receipt] = (await fixture.receipts()).filter(
      ({ payload: sent }) => (sent as { event_id: string }).event_id === eventId,
    );
    return { inbox, receipt: receipt!.payload, asks: store.transaction((tx) => tx.asks({})) };
  }

  it("lies in the inbox once, is receipted, and asks nothing", async () => {
    const { inbox, receipt, asks } = await notified();
    expect(inbox).toHaveLength(1);
    expect(inbox[0]!.value).toMatchObject({
      title: "Hello",
      category: "orders",
      received_at: expect.any(String),
    });
    expect(receipt).toMatchObject({ outcome: "stored" });
    expect(asks).toEqual([]);
  });

  it("of something that cannot be shown, or is not granted, is refused and not kept", async () => {
    for (const result of [await notified({ tracking_pixel: "x" }), await notified({}, false)]) {
      expect(result.inbox).toEqual([]);
      expect(result.receipt).toMatchObject({ outcome: "refused" });
      expect(result.asks).toEqual([]);
    }
  });

  it("keeps the newest, of each service a bounded number", async () => {
    const { notification } = await import("../../../sdk/user-vault/handlers/notification.ts");
    for (let n = 0; n < MAX_INBOX + 3; n++) {
      const holdings = draft();
      const at = { ...context, now: NOW + n };
      notification.receives!(
        { requestId: `n-${n}`, kind: "notification", payload: told(), context: at } as HandledAsk,
        holdings,
      );
      store.transaction((tx) => holdings.apply(tx));
    }
    const kept = store.transaction((tx) => tx.holdings(SERVICE, INBOX));
    expect(kept).toHaveLength(MAX_INBOX);
    const oldest = kept.map(({ value }) => (value as unknown as Notification).received_at).sort()[0];
    expect(oldest).toBe(toTimestamp(NOW + 3));
  });
});
