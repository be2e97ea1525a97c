// The fields of payments and subscriptions, and what is said of them to the user.

import { z } from "zod";
import { currencyCode } from "../../../protocol/currencies.ts";
import { offeringId } from "../../../protocol/offer.ts";
import {
  eventId,
  freeName,
  httpsUrl,
  line,
  type Money,
  prose,
  timestamp,
} from "../../../protocol/primitives.ts";
import { isUnique } from "../../values.ts";

/** Minor units: ten thousand million dollars. Sums of what a payment holds stay exact. */
const MAX_AMOUNT_MINOR_UNITS = 1_000_000_000_000;
const MAX_ITEMS = 100;
const MAX_QUANTITY = 1_000_000;
const MAX_METHODS = 16;
const MAX_TRIAL_DAYS = 365;
const MAX_RECURRENCES = 1_000;

export const amount = z.strictObject({
  amount: z
    .int()
    .min(1)
    .max(MAX_AMOUNT_MINOR_UNITS)
    .describe("In the currency's minor unit: 1999 is EUR 19.99."),
  currency: currencyCode,
});

const item = z.strictObject({
  name: line(200),
  quantity: z.int().min(1).max(MAX_QUANTITY).optional().describe("1 when absent."),
  unit_amount: z
    .int()
    .min(-MAX_AMOUNT_MINOR_UNITS)
    .max(MAX_AMOUNT_MINOR_UNITS)
    .describe("In minor units; negative for a discount."),
});

const merchantInfo = z.strictObject({
  name: line(100),
  category_code: z
    .string()
    .regex(/^\d{4}$/, "must be a merchant category code of four digits")
    .optional(),
  country: z
    .string()
    .regex(/^[A-Z]{2}$/, "must be an ISO 3166-1 code of two letters")
    .optional(),
  address: line(256).optional(),
  website: httpsUrl.optional(),
});

export const billingCycle = z.enum(["day", "week", "month", "year"]);
export type BillingCycle = z.infer<typeof billingCycle>;

const recurringInfo = z.strictObject({
  billing_cycle: billingCycle,
  plan_id: offeringId.optional(),
  /** How many payments there will be; absent: until it is ended. */
  payments: z.int().min(1).max(MAX_RECURRENCES).optional(),
  /** Set where this is the renewal of a subscription. */
  subscription_id: eventId.optional(),
  period_start: timestamp.optional(),
  period_end: timestamp.optional(),
});

export const paymentFields = {
  amount,
  description: prose(500).describe("What is paid for, in words for the person."),
  merchant_info: merchantInfo.optional(),
  items: z.array(item).min(1).max(MAX_ITEMS).optional().describe("Must add up to the amount."),
  allowed_methods: z
    .array(freeName)
    .min(1)
    .max(MAX_METHODS)
    .refine(isUnique, "must not name a method twice")
    .optional()
    .describe("Types of payment methods to choose from, as `card`; absent: any."),
  recurring_info: recurringInfo
    .optional()
    .describe("Makes it a payment that comes again, `payment.subscription`."),
};

type Payment = z.infer<z.ZodObject<typeof paymentFields>>;

/** In BigInt, because quantities times amounts pass what numbers hold exactly. */
const addsUp = ({ amount: total, items }: Payment): boolean =>
  items === undefined ||
  items.reduce((sum, { quantity = 1, unit_amount }) => sum + BigInt(quantity) * BigInt(unit_amount), 0n) ===
    BigInt(total.amount);

const ADD_UP = { path: ["items"], message: "must add up to the amount" };

export const paymentInput = z.object(paymentFields).refine(addsUp, ADD_UP);
export const paymentPayload = z.strictObject(paymentFields).refine(addsUp, ADD_UP);
export type PaymentInput = z.infer<typeof paymentInput>;

export const subscriptionFields = {
  plan_id: offeringId,
  amount,
  billing_cycle: billingCycle,
  auto_renew: z
    .boolean()
    .describe("Renewals need no new approval, as long as the contract grants `payment.auto_renew`."),
  trial_days: z.int().min(1).max(MAX_TRIAL_DAYS).optional(),
  description: prose(500).optional(),
};
export const subscriptionInput = z.object(subscriptionFields);
export const subscriptionPayload = z.strictObject(subscriptionFields);
export type SubscriptionTerms = z.infer<typeof subscriptionInput>;

/** What the user approves with: a reference to a method, never its numbers. */
export const paymentResult = z.strictObject({
  payment_id: line(128).optional(),
  method: z
    .strictObject({
      type: freeName,
      /** A token of the method at whoever handles the payment. */
      reference: line(256).optional(),
      /** As a person knows it: "Visa ending in 4242". */
      label: line(64).optional(),
    })
    .optional(),
});
export type PaymentResult = z.infer<typeof paymentResult>;

/** `payment.update`: how a payment or subscription stands since. */
export const paymentUpdate = z.strictObject({
  status: freeName,
  transaction_id: line(128).optional(),
  receipt_url: httpsUrl.optional(),
  /** What this update is about, where that is not the whole payment: a refund. */
  amount: amount.optional(),
  reason: prose(500).optional(),
  period_start: timestamp.optional(),
  period_end: timestamp.optional(),
});
export type PaymentUpdate = z.infer<typeof paymentUpdate>;

/** An update is worth telling for a week. */
export const UPDATE_LIFETIME_SECONDS = 7 * 24 * 3_600;

export const sayUpdate = (payload: PaymentUpdate) => ({
  eventType: "payment.update",
  payload: payload as Record<string, unknown>,
  lifetimeSeconds: UPDATE_LIFETIME_SECONDS,
});

export const moneyText = (money: Money): string => `${money.amount} ${money.currency}`;

export const transactionId = line(128);
export const receiptUrl = httpsUrl;
export const failureReason = prose(500);
