// Payments the user agrees to: one by one, coming again, and as a subscription.

import { z } from "zod";
import { timestamp } from "../../../protocol/primitives.ts";
import { defineOperation, type Kind } from "../../kind.ts";
import {
  moneyText,
  type PaymentInput,
  paymentFields,
  paymentInput,
  paymentPayload,
  paymentResult,
  subscriptionInput,
  subscriptionPayload,
} from "./fields.ts";
import { type PaymentState, paymentMachine, paymentStatus } from "./machine.ts";
import { subscriptions } from "./subscription.ts";

/** A pile of payments to approve is a pile that nobody reads. */
const MAX_OPEN_PAYMENTS = 5;

/** Leaves out members that are undefined: absent is left out, never null. */
const present = (fields: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));

export const payment: Kind = {
  name: "payment",
  title: "Payments",
  getPath: "payment/request",
  maxOpen: MAX_OPEN_PAYMENTS,
  operations: [
    defineOperation({
      name: "pay",
      summary: "Ask a user to pay",
      path: "payment/request",
      successStatus: 202,
      capabilities: ["payment.one_time", "payment.subscription"],
      purposeRequired: false,
      input: paymentInput,
      payload: paymentPayload,
      toPayload: (input) => input,
      grant: ({ amount, recurring_info }) =>
        recurring_info === undefined
          ? { capability: "payment.one_time", amount }
          : {
              capability: "payment.subscription",
              // A grant that names plans covers no payment that names none.
              resources: [recurring_info.plan_id ?? ""],
              amount,
            },
      sameness: ({ amount, description }) => ({ action: moneyText(amount), resource: description }),
      result: paymentResult,
      defaultExpirySeconds: 900,
      defaultGraceSeconds: 300,
      example: {
        amount: { amount: 1_999, currency: "EUR" },
        description: "Order 1042",
        merchant_info: { name: "Example Shop", country: "DE" },
        items: [
          { name: "Tea", quantity: 2, unit_amount: 1_050 },
          { name: "Voucher", unit_amount: -101 },
        ],
        allowed_methods: ["card", "bank_transfer"],
      },
      exampleResult: { payment_id: "pay_1042", method: { type: "card", label: "Visa ending in 4242" } },
    }),
    defineOperation({
      name: "subscription",
      summary: "Ask a user to agree to a subscription",
      path: "subscriptions",
      successStatus: 201,
      capabilities: ["payment.subscription", "payment.auto_renew"],
      purposeRequired: false,
      input: subscriptionInput,
      payload: subscriptionPayload,
      toPayload: (input) => input,
      grant: ({ plan_id, amount }) => ({ capability: "payment.subscription", resources: [plan_id], amount }),
      grantAlso: ({ plan_id, amount, auto_renew }) =>
        auto_renew ? [{ capability: "payment.auto_renew", resources: [plan_id], amount }] : [],
      sameness: ({ plan_id, amount }) => ({ action: moneyText(amount), resource: plan_id }),
      result: paymentResult,
      resource: subscriptions,
      defaultExpirySeconds: 900,
      defaultGraceSeconds: 300,
      example: {
        plan_id: "tea-club",
        amount: { amount: 990, currency: "EUR" },
        billing_cycle: "month" as const,
        auto_renew: true,
        trial_days: 14,
        description: "The tea club: a parcel each month",
      },
      exampleResult: { method: { type: "card", label: "Visa ending in 4242" } },
    }),
  ],
  machine: paymentMachine,
  view: ({ payload, state: stored }) => {
    const { amount } = payload as unknown as PaymentInput;
    const state = stored as PaymentState;
    return present({
      amount: amount.amount,
      currency: amount.currency,
      payment_status: state.status,
      payment_id: state.payment_id,
      method: state.method,
      transaction_id: state.transaction_id,
      receipt_url: state.receipt_url,
      completed_at: state.completed_at,
      failed_at: state.failed_at,
      failure_reason: state.failure_reason,
      refunded_amount: state.refunded === 0 ? undefined : state.refunded,
      refunds: state.refunds.length === 0 ? undefined : state.refunds,
    });
  },
  viewSchema: {
    amount: z.int().describe("Minor units."),
    currency: paymentFields.amount.shape.currency,
    payment_status: paymentStatus,
    payment_id: z.string().optional(),
    method: paymentResult.shape.method,
    transaction_id: z.string().optional(),
    receipt_url: z.string().optional(),
    completed_at: timestamp.optional(),
    failed_at: timestamp.optional(),
    failure_reason: z.string().optional(),
    refunded_amount: z.int().optional().describe("Minor units given back so far."),
    refunds: z.array(z.object({ amount: z.int(), at: timestamp, reason: z.string().optional() })).optional(),
  },
  pathView: ({ state }) => ({ status: (state as PaymentState).status }),
  pathSchema: { status: paymentStatus },
};
