// Payments and subscriptions. The vault holds references to the person's payment methods, never their numbers, and
// sends one of them with an approval; what became of a payment comes later as `payment.update`.
//
// Choice of the person: `method`, the key of one of their methods; otherwise the first that the service allows. A person
// who holds none approves all the same, and pays as the service says.

import type { z } from "zod";
import type { Json } from "../../../src/protocol/json.ts";
import { toTimestamp } from "../../../src/protocol/primitives.ts";
import {
  type PaymentInput,
  type PaymentResult,
  paymentUpdate,
  type SubscriptionTerms,
} from "../../../src/requests/kinds/payment/fields.ts";
import type { Holdings } from "../holdings.ts";
import { defineHears, type Handled, type Handler } from "./handler.ts";

/** The person's own: `{type, label?, reference?}` by a name of theirs. */
export const PAYMENT_METHODS = "payment_methods";
/** By request: `{status, description, amount, currency, at, …}`. */
export const PAYMENTS = "payments";
/** By request: the terms, `{status, since, …}`. */
export const SUBSCRIPTIONS = "subscriptions";

export type PaymentMethod = NonNullable<PaymentResult["method"]>;

/** The method to pay with; undefined when none is held, `refuse` when none of those held will do. */
function methodFor(
  { personal }: Holdings,
  allowed: readonly string[] | undefined,
  choice: Json | undefined,
): PaymentMethod | undefined | "refuse" {
  const held = personal.list(PAYMENT_METHODS);
  if (choice !== undefined) {
    const chosen = held.find(({ key }) => key === choice)?.value as PaymentMethod | undefined;
    return chosen !== undefined && (allowed?.includes(chosen.type) ?? true) ? chosen : "refuse";
  }
  if (held.length === 0) return undefined;
  const fitting = held.find(({ value }) => allowed?.includes((value as PaymentMethod).type) ?? true);
  return fitting === undefined ? "refuse" : (fitting.value as PaymentMethod);
}

/** What a status of an update makes of a subscription that was in another. */
const SUBSCRIPTION_STATUS: Readonly<Record<string, string>> = {
  renewed: "active",
  past_due: "past_due",
  lapsed: "lapsed",
  cancelled: "cancelled",
};

type Update = z.infer<typeof paymentUpdate>;

export const payment: Handler = {
  kind: "payment",
  answer: ({ requestId, operation, payload, context }, { choices = {} }, holdings): Handled => {
    const isSubscription = operation === "subscription";
    const { allowed_methods } = payload as unknown as PaymentInput;
    const method = methodFor(holdings, isSubscription ? undefined : allowed_methods, choices.method);
    if (method === "refuse") return { refuse: "no_fitting_method" };
    const at = toTimestamp(context.now);
    const chosen: { [name: string]: Json } = method === undefined ? {} : { method: method as Json };
    if (isSubscription) {
      const { plan_id, amount, billing_cycle, auto_renew, trial_days } =
        payload as unknown as SubscriptionTerms;
      holdings.own.put(SUBSCRIPTIONS, requestId, {
        plan_id,
        amount,
        billing_cycle,
        auto_renew,
        status: trial_days === undefined ? "active" : "trialing",
        since: at,
        ...chosen,
      });
    } else {
      const { amount, description } = payload as unknown as PaymentInput;
      holdings.own.put(PAYMENTS, requestId, { ...amount, description, status: "approved", at, ...chosen });
    }
    return { result: chosen };
  },
  hears: {
    "payment.update": defineHears<Update>({
      payload: paymentUpdate,
      run: (update, { ref = "", now }, { own }) => {
        const at = toTimestamp(now);
        const payments = own.get(PAYMENTS, ref);
        if (payments !== undefined) {
          const { amount: _, ...rest } = update;
          own.put(PAYMENTS, ref, { ...(payments as object), ...rest, updated_at: at } as Json);
          return undefined;
        }
        const subscription = own.get(SUBSCRIPTIONS, ref) as { status: string } | undefined;
        if (subscription === undefined) return { refuse: "payment_unknown" };
        const status = SUBSCRIPTION_STATUS[update.status] ?? subscription.status;
        const { period_start, period_end } = update;
        own.put(SUBSCRIPTIONS, ref, {
          ...subscription,
          status,
          ...(update.status === "renewal_due" ? { renews_at: period_start } : { period_start, period_end }),
          last_update: update.status,
          updated_at: at,
        } as Json);
        return undefined;
      },
    }),
  },
};
