import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  paymentInput,
  paymentPayload,
  paymentUpdate,
  subscriptionInput,
} from "../../../../src/requests/kinds/payment/fields.ts";
import {
  MAX_REFUNDS,
  type PaymentState,
  paymentMachine,
} from "../../../../src/requests/kinds/payment/machine.ts";
import { payment } from "../../../../src/requests/kinds/payment/payment.ts";
import type { Step } from "../../../../src/requests/machine.ts";
import { eventData } from "../../../../src/webhooks/event.ts";
import { factsAt } from "./facts.ts";

const NOW = Date.UTC(2026, 0, 15, 12);
const input = { amount: { amount: 1_000, currency: "EUR" }, description: "Tea" };
const facts = factsAt(NOW, input);
const machine = paymentMachine;

type Acted = { ok: true; value: Step<PaymentState> } | { ok: false; error: { code: string; detail: string } };

/** An action as the object runs it: its input checked first. */
function act(state: PaymentState, name: string, given: unknown = {}): Acted {
  const action = machine.actions![name]!;
  return action.run(state, action.input.parse(given) as never, facts) as Acted;
}

function acted(state: PaymentState, name: string, given: unknown = {}): PaymentState {
  const result = act(state, name, given);
  if (!result.ok) throw new Error(result.error.detail);
  return result.value.state;
}

const pending = machine.initial(facts).state as PaymentState;
const approve = (result: unknown = {}) => machine.answered!(pending, { status: "approved", result }, facts);
const approved = approve().state as PaymentState;
const completed = acted(approved, "complete", { transaction_id: "tx-1" });

describe("a payment", () => {
  it("is approved with a reference to the method the user chose", () => {
    const step = approve({ payment_id: "pay-1", method: { type: "card", label: "Visa ending in 4242" } });
    expect(step.state).toMatchObject({ status: "approved", payment_id: "pay-1", method: { type: "card" } });
    expect(step.tell).toEqual([{ type: "payment.approved", data: { status: "approved" } }]);
  });

  it("that is denied, expires or is taken back stays so", () => {
    const denied = machine.answered!(pending, { status: "denied" }, facts);
    expect(denied).toMatchObject({ state: { status: "denied" }, tell: [{ type: "payment.denied" }] });
    const over = [
      denied.state as PaymentState,
      machine.ended(pending, "expired", facts).state as PaymentState,
      machine.ended(pending, "cancelled", facts).state as PaymentState,
    ];
    expect(over.map(({ status }) => status)).toEqual(["denied", "expired", "cancelled"]);
    for (const state of over)
      for (const [name, given] of [
        ["processing", {}],
        ["complete", { transaction_id: "tx" }],
        ["fail", { reason: "no" }],
        ["refund", {}],
      ] as const)
        expect(act(state, name, given)).toMatchObject({ ok: false, error: { code: "conflict" } });
  });

  it("keeps its outcome when its contract ends", () => {
    expect(machine.ended(completed, "cancelled", facts).state).toEqual(completed);
  });

  it("is completed or failed, and the user and the backend are told", () => {
    expect(
      act(approved, "complete", { transaction_id: "tx-1", receipt_url: "https://a.example/r" }),
    ).toMatchObject({
      value: {
        state: { status: "completed", transaction_id: "tx-1", completed_at: "2026-01-15T12:00:00.000Z" },
        say: [{ eventType: "payment.update", payload: { status: "completed", transaction_id: "tx-1" } }],
        tell: [{ type: "payment.completed", data: { status: "completed", transaction_id: "tx-1" } }],
      },
    });
    expect(act(acted(approved, "processing"), "fail", { reason: "Card declined" })).toMatchObject({
      value: {
        state: { status: "failed", failure_reason: "Card declined" },
        say: [{ payload: { status: "failed", reason: "Card declined" } }],
        tell: [{ type: "payment.failed" }],
      },
    });
  });

  it("tells the backend no reason in words: those are for whoever reads the payment", () => {
    const failed = act(approved, "fail", { reason: "Card declined" });
    expect(JSON.stringify(failed.ok && failed.value.tell)).not.toContain("declined");
  });

  it("is refunded in parts until nothing is left", () => {
    const part = act(completed, "refund", { amount: 400, reason: "One cup was broken" });
    expect(part).toMatchObject({
      value: {
        state: { status: "partial_refund", refunded: 400 },
        say: [{ payload: { status: "partial_refund", amount: { amount: 400, currency: "EUR" } } }],
        tell: [{ type: "payment.refunded", data: { amount: 400, refunded: 400, currency: "EUR" } }],
      },
    });
    const more = acted(part.ok ? part.value.state : completed, "refund", {
      amount: { amount: 100, currency: "EUR" },
    });
    expect(more).toMatchObject({ status: "partial_refund", refunded: 500 });
    const rest = acted(more, "refund");
    expect(rest).toMatchObject({ status: "refunded", refunded: 1_000 });
    expect(rest.refunds.map(({ amount }) => amount)).toEqual([400, 100, 500]);
    expect(act(rest, "refund", { amount: 1 })).toMatchObject({ ok: false, error: { code: "conflict" } });
  });

  it("is never refunded beyond what was paid, nor in another currency", () => {
    expect(act(completed, "refund", { amount: 1_001 })).toMatchObject({
      ok: false,
      error: { code: "invalid_request", detail: expect.stringContaining("1000 EUR") },
    });
    expect(act(completed, "refund", { amount: { amount: 10, currency: "USD" } })).toMatchObject({
      ok: false,
      error: { code: "invalid_request" },
    });
  });

  it("keeps a place for the last refund, of all that is left", () => {
    let state = completed;
    for (let n = 1; n < MAX_REFUNDS; n++) state = acted(state, "refund", { amount: 1 });
    expect(act(state, "refund", { amount: 1 })).toMatchObject({ ok: false, error: { code: "conflict" } });
    expect(acted(state, "refund")).toMatchObject({ status: "refunded", refunded: 1_000 });
  });

  it.each([
    ["refund", { amount: 0 }],
    ["refund", { amount: -1 }],
    ["refund", { amount: 1.5 }],
    ["refund", { amount: { amount: 1, currency: "XXX" } }],
    ["refund", { amount: "5" }],
    ["refund", { everything: true }],
    ["complete", {}],
    ["complete", { transaction_id: "" }],
    ["complete", { transaction_id: "a\nb" }],
    ["complete", { transaction_id: "tx", receipt_url: "http://a.example/r" }],
    ["fail", {}],
    ["fail", { reason: "x".repeat(501) }],
  ])("refuses %s with %j", (name, given) => {
    expect(machine.actions![name]!.input.safeParse(given).success).toBe(false);
  });

  it("follows its diagram whatever is tried, in any order", () => {
    // The model: which state each call leads to, and what is left to refund.
    const tries = fc.oneof(
      fc.constant({ name: "processing", given: {} }),
      fc.constant({ name: "complete", given: { transaction_id: "tx" } }),
      fc.constant({ name: "fail", given: { reason: "declined" } }),
      fc.constant({ name: "refund", given: {} }),
      fc.integer({ min: 1, max: 700 }).map((amount) => ({ name: "refund", given: { amount } })),
    );
    const model = {
      next(status: string, name: string, left: number, amount: number): string | undefined {
        if (name === "processing") return status === "approved" ? "processing" : undefined;
        const isOpen = status === "approved" || status === "processing";
        if (name === "complete") return isOpen ? "completed" : undefined;
        if (name === "fail") return isOpen ? "failed" : undefined;
        const isPaid = status === "completed" || status === "partial_refund";
        return !isPaid || amount > left ? undefined : amount === left ? "refunded" : "partial_refund";
      },
    };
    fc.assert(
      fc.property(fc.array(tries, { maxLength: 25 }), (calls) => {
        let state = approved;
        let left = 1_000;
        for (const { name, given } of calls) {
          const amount = (given as { amount?: number }).amount ?? left;
          const expected = model.next(state.status, name, left, amount);
          const result = act(state, name, given);
          expect(result.ok).toBe(expected !== undefined);
          if (!result.ok) continue;
          expect(result.value.state.status).toBe(expected);
          if (name === "refund") left -= amount;
          state = result.value.state;
          expect(state.refunded).toBe(1_000 - left);
          expect(state.refunds.reduce((sum, refund) => sum + refund.amount, 0)).toBe(state.refunded);
          // What is said and told has the form both sides check.
          for (const { payload } of result.value.say ?? [])
            expect(paymentUpdate.safeParse(payload).success).toBe(true);
          for (const { data } of result.value.tell ?? [])
            expect(eventData.safeParse(data).success).toBe(true);
        }
      }),
    );
  });
});

describe("what may be asked", () => {
  const [pay, subscription] = payment.operations;

  it.each([
    { amount: { amount: 1, currency: "JPY" } },
    {
      items: [
        { name: "Cup", quantity: 3, unit_amount: 400 },
        { name: "Voucher", unit_amount: -200 },
      ],
    },
    {
      merchant_info: { name: "Shop", category_code: "5411", country: "DE", website: "https://shop.example" },
    },
    { allowed_methods: ["card", "wallet"] },
    { recurring_info: { billing_cycle: "month", plan_id: "tea", payments: 12 } },
  ])("%j is taken, and shown to the user as it stands", (change) => {
    const asked = paymentInput.parse({ ...input, ...change });
    expect(paymentPayload.parse(pay!.toPayload(asked, undefined))).toEqual({ ...input, ...change });
  });

  it.each([
    [{ amount: { amount: 0, currency: "EUR" } }, "amount"],
    [{ amount: { amount: 1.5, currency: "EUR" } }, "amount"],
    [{ amount: { amount: 2 ** 53, currency: "EUR" } }, "amount"],
    [{ amount: { amount: 5, currency: "EURO" } }, "amount"],
    [{ amount: { amount: 5, currency: "eur" } }, "amount"],
    [{ amount: { amount: 5, currency: "XTS" } }, "amount"],
    [{ amount: { amount: 5, currency: "DEM" } }, "amount"],
    [{ amount: 5 }, "amount"],
    [{ amount: { amount: 5, currency: "EUR", vat: 1 } }, "amount"],
    [{ description: "" }, "description"],
    [{ description: "x".repeat(501) }, "description"],
    [{ items: [] }, "items"],
    [{ items: [{ name: "Cup", quantity: 3, unit_amount: 333 }] }, "items"],
    [{ items: [{ name: "Cup", quantity: 0, unit_amount: 1_000 }] }, "items"],
    [{ items: [{ name: "Cup", unit_amount: 1_000, colour: "red" }] }, "items"],
    [{ items: Array.from({ length: 101 }, () => ({ name: "Cup", unit_amount: 10 })) }, "items"],
    [{ merchant_info: { name: "Shop", category_code: "54" } }, "merchant_info"],
    [{ merchant_info: { name: "Shop", country: "Germany" } }, "merchant_info"],
    [{ merchant_info: { name: "Shop", website: "http://shop.example" } }, "merchant_info"],
    [{ allowed_methods: [] }, "allowed_methods"],
    [{ allowed_methods: ["card", "card"] }, "allowed_methods"],
    [{ allowed_methods: ["Credit Card"] }, "allowed_methods"],
    [{ recurring_info: { billing_cycle: "fortnight" } }, "recurring_info"],
    [{ recurring_info: {} }, "recurring_info"],
  ])("%j is refused", (change, field) => {
    const parsed = paymentInput.safeParse({ ...input, ...change });
    expect(parsed.success).toBe(false);
    expect(parsed.error?.issues.map(({ path }) => path[0])).toContain(field);
    expect(paymentPayload.safeParse({ ...input, ...change }).success).toBe(false);
  });

  it("items add up exactly even where numbers no longer do", () => {
    const big = { name: "Ship", quantity: 1_000_000, unit_amount: 1_000_000_000_000 };
    const back = { name: "Rebate", quantity: 1_000_000, unit_amount: -1_000_000_000_000 };
    const items = [big, back, { name: "Tea", unit_amount: 1_000 }];
    expect(paymentInput.safeParse({ ...input, items }).success).toBe(true);
    expect(
      paymentInput.safeParse({ ...input, items: [...items, { name: "Cup", unit_amount: 1 }] }).success,
    ).toBe(false);
  });

  it("a payment that comes again needs the grant for subscriptions, of its plan", () => {
    expect(pay!.grant(input, undefined)).toMatchObject({
      capability: "payment.one_time",
      amount: input.amount,
    });
    const again = { ...input, recurring_info: { billing_cycle: "month", plan_id: "tea" } };
    expect(pay!.grant(again, undefined)).toMatchObject({
      capability: "payment.subscription",
      resources: ["tea"],
    });
  });

  it("a subscription that renews by itself needs the grant for that too", () => {
    const terms = { plan_id: "tea", amount: input.amount, billing_cycle: "month", auto_renew: true };
    expect(subscription!.grantAlso!(terms)).toMatchObject([{ capability: "payment.auto_renew" }]);
    expect(subscription!.grantAlso!({ ...terms, auto_renew: false })).toEqual([]);
    for (const wrong of [
      { trial_days: 0 },
      { trial_days: 366 },
      { billing_cycle: "hour" },
      { auto_renew: "yes" },
      { plan_id: "Tea Club" },
    ])
      expect(subscriptionInput.safeParse({ ...terms, ...wrong }).success).toBe(false);
  });
});
