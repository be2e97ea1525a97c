// What becomes of a payment: approved by the user, then carried out by whoever handles the service's payments, whose
// outcome the backend reports. The vault moves no money; it keeps what was agreed and what came of it.
//
//   pending → approved | denied | expired | cancelled
//   approved → (processing →) completed | failed
//   completed → partial_refund … → refunded

import { z } from "zod";
import type { Money } from "../../../protocol/primitives.ts";
import { toTimestamp } from "../../../protocol/primitives.ts";
import { err, ok, type Result } from "../../../protocol/result.ts";
import type { EventData } from "../../../webhooks/event.ts";
import { defineMachine, type MachineFacts, type Refused, type Step } from "../../machine.ts";
import {
  amount,
  failureReason,
  type PaymentInput,
  type PaymentResult,
  receiptUrl,
  sayUpdate,
  transactionId,
} from "./fields.ts";

export const paymentStatus = z.enum([
  "pending",
  "approved",
  "denied",
  "processing",
  "completed",
  "failed",
  "refunded",
  "partial_refund",
  "expired",
  "cancelled",
]);
export type PaymentStatus = z.infer<typeof paymentStatus>;

/** Partial refunds of one payment, so that its row stays small. */
export const MAX_REFUNDS = 100;

export interface PaymentState {
  status: PaymentStatus;
  /** Minor units of the payment's currency. */
  refunded: number;
  refunds: { amount: number; at: string; reason?: string }[];
  payment_id?: string;
  method?: PaymentResult["method"];
  transaction_id?: string;
  receipt_url?: string;
  completed_at?: string;
  failed_at?: string;
  failure_reason?: string;
}

export const completion = z.strictObject({
  transaction_id: transactionId,
  receipt_url: receiptUrl.optional(),
});
export const failure = z.strictObject({ reason: failureReason });
const refund = z.strictObject({
  amount: z
    .union([amount.shape.amount, amount])
    .optional()
    .describe("Minor units, or with the payment's currency; absent: everything that is left."),
  reason: failureReason.optional(),
});

const paid = (facts: MachineFacts): Money => (facts.input as PaymentInput).amount;

const conflict = (state: PaymentState, needed: string): Result<never, Refused> =>
  err({ code: "conflict", detail: `the payment is ${state.status}; only ${needed} can be changed so` });

/** An event about a payment; of a renewal, it names the subscription too. */
function tell(type: string, state: PaymentState, facts: MachineFacts, data: EventData = {}) {
  const subscription = (facts.input as PaymentInput).recurring_info?.subscription_id;
  return {
    type: `payment.${type}`,
    data: {
      status: state.status,
      ...(subscription === undefined ? {} : { subscription_id: subscription }),
      ...data,
    },
  };
}

const isApproved = (state: PaymentState): boolean =>
  state.status === "approved" || state.status === "processing";

export const paymentMachine = defineMachine<PaymentState>({
  initial: () => ({ state: { status: "pending", refunded: 0, refunds: [] } }),

  answered: (before, answer, facts) => {
    if (answer.status === "denied") {
      const state: PaymentState = { ...before, status: "denied" };
      return { state, tell: [tell("denied", state, facts)] };
    }
    const { payment_id, method } = (answer.result ?? {}) as PaymentResult;
    const state: PaymentState = {
      ...before,
      status: "approved",
      ...(payment_id === undefined ? {} : { payment_id }),
      ...(method === undefined ? {} : { method }),
    };
    return { state, tell: [tell("approved", state, facts)] };
  },

  ended: (state, how) => ({ state: state.status === "pending" ? { ...state, status: how } : state }),

  actions: {
    processing: {
      summary: "An approved payment is being carried out",
      scope: "requests:write",
      input: z.strictObject({}),
      run: (before): Result<Step<PaymentState>, Refused> => {
        if (before.status !== "approved") return conflict(before, "an approved one");
        const state: PaymentState = { ...before, status: "processing" };
        return ok({ state, say: [sayUpdate({ status: "processing" })], summary: { status: state.status } });
      },
    },
    complete: {
      summary: "An approved payment was carried out",
      scope: "requests:write",
      input: completion,
      run: (before, input: z.infer<typeof completion>, facts): Result<Step<PaymentState>, Refused> => {
        if (!isApproved(before)) return conflict(before, "an approved one");
        const state: PaymentState = {
          ...before,
          ...input,
          status: "completed",
          completed_at: toTimestamp(facts.now),
        };
        const { transaction_id } = input;
        return ok({
          state,
          say: [sayUpdate({ status: "completed", ...input })],
          tell: [tell("completed", state, facts, { transaction_id })],
          summary: { status: state.status },
        });
      },
    },
    fail: {
      summary: "An approved payment could not be carried out",
      scope: "requests:write",
      input: failure,
      run: (before, { reason }: z.infer<typeof failure>, facts): Result<Step<PaymentState>, Refused> => {
        if (!isApproved(before)) return conflict(before, "an approved one");
        const state: PaymentState = {
          ...before,
          status: "failed",
          failed_at: toTimestamp(facts.now),
          failure_reason: reason,
        };
        return ok({
          state,
          say: [sayUpdate({ status: "failed", reason })],
          tell: [tell("failed", state, facts)],
          summary: { status: state.status },
        });
      },
    },
    refund: {
      summary: "Money of a completed payment was given back, all of it or a part",
      scope: "requests:write",
      input: refund,
      run: (before, input: z.infer<typeof refund>, facts): Result<Step<PaymentState>, Refused> => {
        if (before.status !== "completed" && before.status !== "partial_refund")
          return conflict(before, "a completed one");
        const total = paid(facts);
        const left = total.amount - before.refunded;
        const given = typeof input.amount === "object" ? input.amount.amount : (input.amount ?? left);
        if (typeof input.amount === "object" && input.amount.currency !== total.currency)
          return err({ code: "invalid_request", detail: `amount.currency must be ${total.currency}` });
        if (given > left)
          return err({
            code: "invalid_request",
            detail: `amount is more than the ${left} ${total.currency} (minor units) not refunded yet`,
          });
        if (before.refunds.length >= MAX_REFUNDS - 1 && given < left)
          return err({ code: "conflict", detail: `only one more refund is possible: of all that is left` });
        const refunded = before.refunded + given;
        const { reason } = input;
        const state: PaymentState = {
          ...before,
          status: refunded === total.amount ? "refunded" : "partial_refund",
          refunded,
          refunds: [
            ...before.refunds,
            { amount: given, at: toTimestamp(facts.now), ...(reason === undefined ? {} : { reason }) },
          ],
        };
        const { transaction_id } = state;
        return ok({
          state,
          say: [
            sayUpdate({
              status: state.status,
              amount: { amount: given, currency: total.currency },
              ...(transaction_id === undefined ? {} : { transaction_id }),
              ...(reason === undefined ? {} : { reason }),
            }),
          ],
          tell: [
            tell("refunded", state, facts, {
              amount: given,
              refunded,
              currency: total.currency,
              ...(transaction_id === undefined ? {} : { transaction_id }),
            }),
          ],
          summary: { status: state.status, amount: given },
        });
      },
    },
  },
});
