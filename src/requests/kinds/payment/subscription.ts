// A subscription is a request that lives on after it was approved: it looks at itself when a reminder, a renewal or
// another try is due. A renewal stands on the user's word that it may renew by itself, as long as the contract still
// grants that; otherwise the user is asked, by a payment request of its own. The vault moves no money: an
// authorised renewal is told to the backend, which charges, and reports a charge that failed.
//
//   pending_approval → trialing → active ⇄ past_due → lapsed; each of them → cancelled
//
// A crash loses nothing: the next look is stored with the state, and one that is late finds the cycle that runs now.
// Cycles nobody looked at are not charged afterwards.

import { z } from "zod";
import { timestamp, toTimestamp } from "../../../protocol/primitives.ts";
import { err, ok, type Result } from "../../../protocol/result.ts";
import type { EventData } from "../../../webhooks/event.ts";
import type { Resource } from "../../kind.ts";
import { defineMachine, type Followed, type MachineFacts, type Refused, type Step } from "../../machine.ts";
import { addCycles, cycleAt } from "./calendar.ts";
import {
  billingCycle,
  failureReason,
  type PaymentInput,
  type PaymentResult,
  type PaymentUpdate,
  receiptUrl,
  type SubscriptionTerms,
  sayUpdate,
  subscriptionFields,
  transactionId,
} from "./fields.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 3_600_000;
/** How long before a renewal the user and the backend are reminded; at most a quarter of what runs until then. */
export const REMINDER_LEAD_MS = 3 * DAY_MS;
/** Pauses between tries to renew; at most a quarter of a cycle. After as many failures and one more it lapses. */
export const RETRY_PAUSES_MS = [DAY_MS, 3 * DAY_MS, 5 * DAY_MS];
export const MAX_ATTEMPTS = RETRY_PAUSES_MS.length + 1;
/** How long the user may take to approve a renewal; at most a quarter of a cycle. */
const APPROVAL_MS = 3 * DAY_MS;
/** While a renewal is asked its end is awaited; looked at now and then all the same. */
const ASKED_LOOK_MS = 60 * MINUTE_MS;
/** Open proposals of subscriptions at once. */
const MAX_OPEN_PROPOSALS = 3;

export const subscriptionStatus = z.enum([
  "pending_approval",
  "trialing",
  "active",
  "past_due",
  "lapsed",
  "cancelled",
]);
export type SubscriptionStatus = z.infer<typeof subscriptionStatus>;

export interface SubscriptionState {
  status: SubscriptionStatus;
  /** Beginning of the first paid cycle and of what runs now; milliseconds since the epoch. */
  anchor?: number;
  since?: number;
  /** The paid cycle that runs, from 0; -1 in a trial. */
  cycle: number;
  reminded: boolean;
  /** A renewal is asked and not answered. */
  asked: boolean;
  /** The charge for the running cycle failed. */
  unpaid: boolean;
  /** Failures since the last cycle that went well. */
  failures: number;
  retryAt?: number;
  lastFailure?: string;
  payment?: { transaction_id: string; receipt_url?: string; at: string };
  method?: PaymentResult["method"];
  endedAt?: number;
  endReason?: string;
}

type SubscriptionStep = Step<SubscriptionState>;

const termsOf = (facts: MachineFacts): SubscriptionTerms => facts.input as SubscriptionTerms;

const isLiving = ({ status }: SubscriptionState): boolean =>
  status === "trialing" || status === "active" || status === "past_due";

const quarterOfCycle = ({ billing_cycle }: SubscriptionTerms, anchor: number): number =>
  Math.floor((addCycles(anchor, billing_cycle, 1) - anchor) / 4);

/** When what runs now ends. */
const endOf = (state: SubscriptionState, terms: SubscriptionTerms): number =>
  addCycles(state.anchor!, terms.billing_cycle, state.cycle + 1);

function reminderAt(state: SubscriptionState, terms: SubscriptionTerms): number {
  const end = endOf(state, terms);
  return end - Math.min(REMINDER_LEAD_MS, Math.floor((end - state.since!) / 4));
}

/** A state with its next look. */
function settled(
  state: SubscriptionState,
  facts: MachineFacts,
  more: Partial<SubscriptionStep> = {},
): SubscriptionStep {
  const terms = termsOf(facts);
  const dueAt = !isLiving(state)
    ? undefined
    : state.asked
      ? facts.now + ASKED_LOOK_MS
      : state.status === "past_due"
        ? state.retryAt!
        : state.reminded
          ? endOf(state, terms)
          : reminderAt(state, terms);
  return {
    summary: { status: state.status },
    ...more,
    state,
    ...(dueAt === undefined ? {} : { dueAt }),
  };
}

const tell = (what: string, state: SubscriptionState, facts: MachineFacts, data: EventData = {}) => ({
  type: `subscription.${what}`,
  data: { subscription_id: facts.requestId, status: state.status, ...data },
});

const periodOf = (state: SubscriptionState, terms: SubscriptionTerms) => ({
  period_start: toTimestamp(state.since!),
  period_end: toTimestamp(endOf(state, terms)),
});

/** A renewal that the user has agreed to, now or once and for all: the backend is told to charge. */
function renewed(
  before: SubscriptionState,
  cycle: number,
  facts: MachineFacts,
  by: string,
): SubscriptionStep {
  const terms = termsOf(facts);
  const advanced = cycle > before.cycle;
  const { retryAt: _, lastFailure: __, ...kept } = before;
  const state: SubscriptionState = {
    ...kept,
    status: "active",
    cycle,
    since: addCycles(before.anchor!, terms.billing_cycle, cycle),
    reminded: advanced ? false : before.reminded,
    asked: false,
    unpaid: false,
    failures: advanced ? 0 : before.failures,
  };
  const period = periodOf(state, terms);
  return settled(state, facts, {
    say: [sayUpdate({ status: "renewed", amount: terms.amount, ...period })],
    tell: [
      tell("renewed", state, facts, {
        authorised_by: by,
        attempt: state.failures + 1,
        amount: terms.amount.amount,
        currency: terms.amount.currency,
        ...period,
      }),
    ],
    summary: { status: state.status, cycle, authorised_by: by },
  });
}

function ended(
  before: SubscriptionState,
  status: "lapsed" | "cancelled",
  reason: string,
  facts: MachineFacts,
  more: { tell?: SubscriptionStep["tell"]; say?: PaymentUpdate } = {},
): SubscriptionStep {
  const { retryAt: _, ...kept } = before;
  const state: SubscriptionState = {
    ...kept,
    status,
    asked: false,
    endedAt: facts.now,
    endReason: reason,
  };
  return settled(state, facts, {
    withdrawAsked: true,
    say: [sayUpdate(more.say ?? { status })],
    tell: [...(more.tell ?? []), tell("cancelled", state, facts, { reason })],
    summary: { status, reason },
  });
}

/** A renewal that did not come about, or a charge that failed. */
function failed(
  before: SubscriptionState,
  reason: string,
  facts: MachineFacts,
  unpaid: boolean,
): SubscriptionStep {
  const terms = termsOf(facts);
  const failures = before.failures + 1;
  const pause = RETRY_PAUSES_MS[failures - 1];
  const state: SubscriptionState = {
    ...before,
    status: "past_due",
    asked: false,
    unpaid,
    failures,
    lastFailure: reason,
  };
  if (pause === undefined)
    return ended(state, "lapsed", "lapsed", facts, {
      tell: [tell("renewal_failed", { ...state, status: "lapsed" }, facts, { reason, attempt: failures })],
    });
  const retryAt = facts.now + Math.min(pause, quarterOfCycle(terms, before.anchor!));
  return settled({ ...state, retryAt }, facts, {
    say: [sayUpdate({ status: "past_due" })],
    tell: [
      tell("renewal_failed", state, facts, {
        reason,
        attempt: failures,
        next_attempt_at: toTimestamp(retryAt),
      }),
    ],
    summary: { status: state.status, reason, attempt: failures },
  });
}

/** The cycle to renew for: the one whose charge failed, or the one that runs now. */
function cycleToRenew(state: SubscriptionState, facts: MachineFacts): number {
  const running = cycleAt(state.anchor!, termsOf(facts).billing_cycle, facts.now);
  return state.unpaid ? Math.max(state.cycle, running) : Math.max(state.cycle + 1, running);
}

function renew(state: SubscriptionState, facts: MachineFacts): SubscriptionStep {
  const terms = termsOf(facts);
  const { plan_id, amount, billing_cycle, description, auto_renew } = terms;
  const cycle = cycleToRenew(state, facts);
  const grant = { resources: [plan_id], amount };
  if (
    auto_renew &&
    facts.allows({ capability: "payment.auto_renew", ...grant }) &&
    facts.allows({ capability: "payment.subscription", ...grant })
  )
    return renewed(state, cycle, facts, "auto_renew");
  const input: PaymentInput = {
    amount,
    description: description ?? `Renewal of ${plan_id}`,
    recurring_info: {
      billing_cycle,
      plan_id,
      subscription_id: facts.requestId,
      period_start: toTimestamp(addCycles(state.anchor!, billing_cycle, cycle)),
      period_end: toTimestamp(addCycles(state.anchor!, billing_cycle, cycle + 1)),
    },
  };
  const renewal: Followed = {
    kind: "payment",
    operation: "pay",
    input,
    expiresInSeconds: Math.floor(Math.min(APPROVAL_MS, quarterOfCycle(terms, state.anchor!)) / 1_000),
    offlineGraceSeconds: 0,
  };
  return settled({ ...state, asked: true }, facts, {
    ask: [renewal],
    summary: { status: state.status, cycle, asked: true },
  });
}

const charge = z.strictObject({ transaction_id: transactionId, receipt_url: receiptUrl.optional() });
const chargeFailure = z.strictObject({ reason: failureReason });

export const subscriptionMachine = defineMachine<SubscriptionState>({
  initial: () => ({
    state: {
      status: "pending_approval",
      cycle: -1,
      reminded: false,
      asked: false,
      unpaid: false,
      failures: 0,
    },
  }),

  answered: (before, answer, facts) => {
    const { trial_days = 0 } = termsOf(facts);
    const told = (status: "approved" | "denied") => ({
      type: `payment.${status}`,
      data: { subscription_id: facts.requestId, status },
    });
    if (answer.status === "denied") {
      const state: SubscriptionState = {
        ...before,
        status: "cancelled",
        endedAt: facts.now,
        endReason: "denied",
      };
      return { state, tell: [told("denied")] };
    }
    const { method } = (answer.result ?? {}) as PaymentResult;
    const state: SubscriptionState = {
      ...before,
      ...(method === undefined ? {} : { method }),
      status: trial_days > 0 ? "trialing" : "active",
      cycle: trial_days > 0 ? -1 : 0,
      since: facts.now,
      anchor: facts.now + trial_days * DAY_MS,
    };
    return settled(state, facts, { tell: [told("approved")] });
  },

  ended: (before, how, facts) => {
    if (before.status === "pending_approval") {
      const state: SubscriptionState = {
        ...before,
        status: "cancelled",
        endedAt: facts.now,
        endReason: how === "expired" ? "not_answered" : "withdrawn",
      };
      return { state, tell: [tell("cancelled", state, facts, { reason: state.endReason! })] };
    }
    return isLiving(before) ? ended(before, "cancelled", "contract_ended", facts) : { state: before };
  },

  due: (state, facts) => {
    if (!isLiving(state)) return { state };
    if (state.asked) return settled(state, facts);
    const terms = termsOf(facts);
    if (state.status === "past_due")
      return facts.now < state.retryAt! ? settled(state, facts) : renew(state, facts);
    if (facts.now >= endOf(state, terms)) return renew(state, facts);
    if (state.reminded || facts.now < reminderAt(state, terms)) return settled(state, facts);
    const renewsAt = toTimestamp(endOf(state, terms));
    return settled({ ...state, reminded: true }, facts, {
      say: [sayUpdate({ status: "renewal_due", amount: terms.amount, period_start: renewsAt })],
      tell: [
        tell("reminder", state, facts, {
          renews_at: renewsAt,
          amount: terms.amount.amount,
          currency: terms.amount.currency,
        }),
      ],
      summary: { status: state.status, reminder: true },
    });
  },

  followed: (state, { status, refusal }, facts) => {
    if (!isLiving(state) || !state.asked) return settled(state, facts);
    if (status === "approved" || status === "offline_approved")
      return renewed(state, cycleToRenew(state, facts), facts, "approval");
    // A person who says no is not asked again.
    if (status === "denied")
      return ended(state, "cancelled", "renewal_denied", facts, {
        tell: [
          tell("renewal_failed", { ...state, status: "cancelled" }, facts, {
            reason: "denied",
            attempt: state.failures + 1,
          }),
        ],
      });
    return failed(state, refusal ?? status, facts, state.unpaid);
  },

  actions: {
    cancel: {
      summary: "End a subscription",
      scope: "requests:write",
      method: "delete",
      withdraws: true,
      input: z.strictObject({}),
      run: (state, _: unknown, facts) =>
        ok(isLiving(state) ? ended(state, "cancelled", "service", facts) : { state }),
    },
    complete: {
      summary: "The charge for the running period went through",
      scope: "requests:write",
      input: charge,
      run: (before, input: z.infer<typeof charge>, facts): Result<SubscriptionStep, Refused> => {
        if (before.status !== "active")
          return err({
            code: "conflict",
            detail: `the subscription is ${before.status}: nothing is charged`,
          });
        const state: SubscriptionState = { ...before, payment: { ...input, at: toTimestamp(facts.now) } };
        return ok(
          settled(state, facts, {
            say: [sayUpdate({ status: "completed", ...input, ...periodOf(state, termsOf(facts)) })],
            summary: { status: state.status, transaction: true },
          }),
        );
      },
    },
    fail: {
      summary: "The charge for the running period failed: it is tried again, a few times",
      scope: "requests:write",
      input: chargeFailure,
      run: (state, { reason: _ }: z.infer<typeof chargeFailure>, facts): Result<SubscriptionStep, Refused> =>
        state.status === "active"
          ? ok(failed(state, "charge_failed", facts, true))
          : err({ code: "conflict", detail: `the subscription is ${state.status}: nothing is charged` }),
    },
  },
});

const timeOf = (ms: number | undefined): string | undefined =>
  ms === undefined ? undefined : toTimestamp(ms);

/** Leaves out members that are undefined: absent is left out, never null. */
const present = (fields: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));

export const subscriptions: Resource = {
  title: "Subscriptions",
  getPath: "subscriptions",
  idName: "subscription_id",
  listName: "subscriptions",
  maxOpen: MAX_OPEN_PROPOSALS,
  machine: subscriptionMachine,
  view: ({ payload, state: unknown_ }) => {
    const state = unknown_ as SubscriptionState;
    const terms = payload as unknown as SubscriptionTerms;
    const { plan_id, amount, billing_cycle, auto_renew, trial_days } = terms;
    const living = isLiving(state);
    return present({
      subscription_status: state.status,
      plan_id,
      amount,
      billing_cycle,
      auto_renew,
      trial_days,
      trial_ends_at: trial_days === undefined ? undefined : timeOf(state.anchor),
      current_period_start: timeOf(state.since),
      current_period_end: state.anchor === undefined ? undefined : timeOf(endOf(state, terms)),
      failed_attempts: living ? state.failures : undefined,
      next_attempt_at: timeOf(state.retryAt),
      last_failure: state.lastFailure,
      last_payment: state.payment,
      method: state.method,
      ended_at: timeOf(state.endedAt),
      end_reason: state.endReason,
    });
  },
  viewSchema: {
    subscription_status: subscriptionStatus,
    plan_id: subscriptionFields.plan_id,
    amount: subscriptionFields.amount,
    billing_cycle: billingCycle,
    auto_renew: z.boolean(),
    trial_days: z.int().optional(),
    trial_ends_at: timestamp.optional(),
    current_period_start: timestamp.optional(),
    current_period_end: timestamp.optional().describe("What is agreed to lasts until then."),
    failed_attempts: z.int().optional(),
    next_attempt_at: timestamp.optional(),
    last_failure: z.string().optional(),
    last_payment: z
      .object({ transaction_id: z.string(), receipt_url: z.string().optional(), at: timestamp })
      .optional(),
    method: z
      .object({ type: z.string(), reference: z.string().optional(), label: z.string().optional() })
      .optional(),
    ended_at: timestamp.optional(),
    end_reason: z.string().optional(),
  },
  pathView: ({ state }) => ({ status: (state as SubscriptionState).status }),
  pathSchema: { status: subscriptionStatus },
};
