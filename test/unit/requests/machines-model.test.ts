// The machines of kinds, driven by random steps and held against reference models: small enough to be seen to be right,
// and written from the documents, not from the machines. A failure prints its seed and the shortest steps found;
// MODEL_RUNS makes a longer run of it, MODEL_SEED repeats one.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type SessionState, sessionMachine } from "../../../src/requests/kinds/auth-session.ts";
import { call, MAX_CALL_MS } from "../../../src/requests/kinds/call.ts";
import { type PaymentState, paymentMachine } from "../../../src/requests/kinds/payment/machine.ts";
import {
  MAX_ATTEMPTS,
  type SubscriptionState,
  subscriptionMachine,
} from "../../../src/requests/kinds/payment/subscription.ts";
import { countAnswer } from "../../../src/requests/lifecycle.ts";
import type { Machine, MachineFacts, Step } from "../../../src/requests/machine.ts";
import { factsAt } from "./kinds/facts.ts";

const RUNS = Number(process.env.MODEL_RUNS ?? 300);
const SEED = process.env.MODEL_SEED;
const MAX_STEPS = 40;
const START = Date.UTC(2026, 0, 15, 12);
const DAY_MS = 24 * 3_600_000;

const check = <T>(steps: fc.Arbitrary<T>, run: (steps: T) => void): void =>
  fc.assert(fc.property(steps, run), {
    numRuns: RUNS,
    ...(SEED === undefined ? {} : { seed: Number(SEED) }),
  });

/** What a machine may be made to do, as its object does it. */
class Driven<State> {
  readonly #machine: Machine;
  readonly #input: unknown;
  now = START;
  state: State;
  dueAt: number | undefined;
  last: Step<State>;

  constructor(machine: Machine, input: unknown) {
    this.#machine = machine;
    this.#input = input;
    const { state, dueAt } = machine.initial(this.facts());
    this.last = { state: state as State };
    this.state = state as State;
    this.dueAt = dueAt;
  }

  facts(): MachineFacts {
    return factsAt(this.now, this.#input);
  }

  #take(step: Step<unknown>): Step<State> {
    this.last = step as Step<State>;
    this.state = this.last.state;
    this.dueAt = step.dueAt;
    return this.last;
  }

  answered(status: "approved" | "denied") {
    return this.#take(this.#machine.answered!(this.state, { status, result: {} }, this.facts()));
  }

  ended(how: "expired" | "cancelled") {
    return this.#take(this.#machine.ended(this.state, how, this.facts()));
  }

  due() {
    return this.#take(this.#machine.due!(this.state, this.facts()));
  }

  followed(status: "approved" | "denied" | "expired", refusal?: string) {
    const follow = refusal === undefined ? { requestId: "check", status } : { status, refusal };
    return this.#take(this.#machine.followed!(this.state, follow, this.facts()));
  }

  /** `ok`, or the refusal's code; a refusal changes nothing. */
  act(name: string, input: unknown): string {
    const action = this.#machine.actions![name]!;
    const result = action.run(this.state, action.input.parse(input) as never, this.facts());
    if (!result.ok) return result.error.code;
    this.#take(result.value);
    return "ok";
  }

  hear(type: string, payload: unknown): string {
    const result = this.#machine.hears![type]!.run(this.state, payload as never, this.facts());
    if (!result.ok) return result.error.reason;
    this.#take(result.value);
    return "ok";
  }

  /** Event types of the last step. */
  get told(): string[] {
    return (this.last.tell ?? []).map(({ type }) => type);
  }
}

describe("when an answer counts", () => {
  it("is decided by expiry and grace alone: approvals offline within the grace, denials always", () => {
    const times = fc.record({
      expiresAt: fc.integer({ min: 0, max: 1_000 }),
      grace: fc.integer({ min: 0, max: 1_000 }),
      now: fc.integer({ min: 0, max: 2_500 }),
      decision: fc.constantFrom("approved" as const, "denied" as const),
    });
    check(times, ({ expiresAt, grace, now, decision }) => {
      const model =
        now - expiresAt >= grace && now >= expiresAt
          ? "late"
          : decision === "denied"
            ? "denied"
            : now >= expiresAt
              ? "offline_approved"
              : "approved";
      expect(countAnswer(decision, { expiresAt, graceUntil: expiresAt + grace, now })).toBe(model);
    });
  });
});

describe("a payment, step by step", () => {
  const TOTAL = 1_000;
  type PaymentStep =
    | { do: "answer"; decision: "approved" | "denied" }
    | { do: "end"; how: "expired" | "cancelled" }
    | { do: "processing" | "complete" | "fail" }
    | { do: "refund"; amount?: number; currency?: string };
  const step: fc.Arbitrary<PaymentStep> = fc.oneof(
    { weight: 2, arbitrary: fc.constant({ do: "answer" as const, decision: "approved" as const }) },
    fc.constant({ do: "answer" as const, decision: "denied" as const }),
    fc.record({
      do: fc.constant("end" as const),
      how: fc.constantFrom("expired" as const, "cancelled" as const),
    }),
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constantFrom("processing" as const, "complete" as const, "fail" as const),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record(
        {
          do: fc.constant("refund" as const),
          amount: fc.integer({ min: 1, max: TOTAL + 1 }),
          currency: fc.constantFrom("EUR", "USD"),
        },
        { requiredKeys: ["do"] },
      ),
    },
  );

  it("goes where the table of its states says, never refunds more than was paid, and tells each change once", () => {
    check(fc.array(step, { maxLength: MAX_STEPS }), (steps) => {
      const real = new Driven<PaymentState>(paymentMachine, {
        amount: { amount: TOTAL, currency: "EUR" },
        description: "Tea",
      });
      let status = "pending";
      let left = TOTAL;
      let isAsked = true;
      for (const taken of steps) {
        switch (taken.do) {
          case "answer":
            // The object lets one answer through, while the request is pending.
            if (!isAsked) break;
            isAsked = false;
            real.answered(taken.decision);
            status = taken.decision;
            expect(real.told).toEqual([`payment.${status}`]);
            break;
          case "end":
            real.ended(taken.how);
            if (status === "pending") status = taken.how;
            isAsked = false;
            break;
          case "processing":
            if (status === "approved") status = "processing";
            else {
              expect(real.act("processing", {})).toBe("conflict");
              break;
            }
            expect(real.act("processing", {})).toBe("ok");
            expect(real.told).toEqual([]);
            break;
          case "complete":
          case "fail": {
            const input = taken.do === "complete" ? { transaction_id: "tx" } : { reason: "No funds" };
            const isOpen = status === "approved" || status === "processing";
            expect(real.act(taken.do, input)).toBe(isOpen ? "ok" : "conflict");
            if (!isOpen) break;
            status = taken.do === "complete" ? "completed" : "failed";
            expect(real.told).toEqual([`payment.${status}`]);
            break;
          }
          case "refund": {
            const { amount, currency } = taken;
            const given =
              amount === undefined ? {} : { amount: currency === undefined ? amount : { amount, currency } };
            const outcome = real.act("refund", given);
            if (status !== "completed" && status !== "partial_refund") expect(outcome).toBe("conflict");
            else if (amount !== undefined && (currency === "USD" || amount > left))
              expect(outcome).toBe("invalid_request");
            else {
              expect(outcome).toBe("ok");
              left -= amount ?? left;
              status = left === 0 ? "refunded" : "partial_refund";
              expect(real.told).toEqual(["payment.refunded"]);
            }
          }
        }
        expect(real.state.status).toBe(status);
        expect(real.state.refunded).toBe(TOTAL - left);
        expect(real.state.refunds.reduce((sum, refund) => sum + refund.amount, 0)).toBe(TOTAL - left);
      }
    });
  });
});

describe("a call, step by step", () => {
  const step = fc.constantFrom(
    ...([
      "approve",
      "deny",
      "expire",
      "cancel",
      "hang up",
      "is hung up on",
      "signal",
      "is signalled",
    ] as const),
    "too long" as const,
  );

  it("rings, is connected at most once, ends exactly once, and is silent after", () => {
    check(fc.array(step, { maxLength: MAX_STEPS }), (steps) => {
      const real = new Driven<{ status: string }>(call.machine!, { type: "voice" });
      let status = "ringing";
      let isAsked = true;
      let endings = 0;
      const isOver = () => status !== "ringing" && status !== "connected";
      for (const taken of steps) {
        real.now += 1_000;
        const wasOver = isOver();
        let stepped = true;
        switch (taken) {
          case "approve":
          case "deny":
            if (!isAsked) stepped = false;
            else {
              real.answered(taken === "approve" ? "approved" : "denied");
              status = taken === "approve" ? "connected" : "rejected";
            }
            isAsked = false;
            break;
          case "expire":
          case "cancel":
            real.ended(taken === "expire" ? "expired" : "cancelled");
            isAsked = false;
            if (!wasOver) status = taken === "expire" && status === "ringing" ? "missed" : "ended";
            break;
          case "hang up":
            // The object takes the ask back first where it is still open.
            expect(real.act("end", {})).toBe("ok");
            isAsked = false;
            if (!wasOver) status = "ended";
            break;
          case "is hung up on": {
            const outcome = real.hear("call.end", {});
            stepped = outcome === "ok";
            expect(outcome).toBe(status === "ringing" ? "not_answered" : "ok");
            if (status === "connected") status = "ended";
            break;
          }
          case "signal":
            stepped = real.act("signal", { signal: { candidate: "a" } }) === "ok";
            expect(stepped).toBe(!wasOver);
            break;
          case "is signalled":
            stepped = real.hear("call.signal", { signal: { candidate: "b" } }) === "ok";
            break;
          case "too long":
            // Due only once connected.
            if (status === "ringing") stepped = false;
            else {
              real.now += MAX_CALL_MS;
              real.due();
              if (!wasOver) status = "ended";
            }
        }
        expect(real.state.status).toBe(status);
        if (!stepped) continue;
        const told = real.told.filter((type) =>
          ["call.ended", "call.missed", "call.rejected"].includes(type),
        );
        if (isOver() && !wasOver) {
          endings += 1;
          expect(told).toEqual([
            status === "missed" || status === "rejected" ? `call.${status}` : "call.ended",
          ]);
        } else expect(told).toEqual([]);
        if (isOver()) expect(real.dueAt).toBeUndefined();
      }
      expect(endings).toBe(isOver() ? 1 : 0);
    });
  });
});

describe("continuous authentication, step by step", () => {
  const TERMS = { interval_seconds: 600, max_misses: 2 };
  const step = fc.oneof(
    { weight: 2, arbitrary: fc.constant("approve" as const) },
    { weight: 4, arbitrary: fc.constant("time" as const) },
    { weight: 3, arbitrary: fc.constant("check approved" as const) },
    fc.constantFrom(
      ...(["deny", "check missed", "check denied", "check refused", "expire", "cancel", "end"] as const),
    ),
  );

  it("has one check open at a time, ends at the last miss it allows, and once", () => {
    check(fc.array(step, { maxLength: MAX_STEPS }), (steps) => {
      const real = new Driven<SessionState>(sessionMachine, TERMS);
      let status = "pending";
      let misses = 0;
      let isOpen = false;
      let isAsked = true;
      for (const taken of steps) {
        const before = status;
        switch (taken) {
          case "approve":
          case "deny":
            if (!isAsked) break;
            isAsked = false;
            real.answered(taken === "approve" ? "approved" : "denied");
            status = taken === "approve" ? "active" : "ended";
            break;
          case "time":
            if (status !== "active") break;
            expect(real.dueAt).toBeDefined();
            real.now = Math.max(real.now, real.dueAt!);
            real.due();
            // While a check is open its time is no reason for another.
            expect(real.last.ask?.length ?? 0).toBe(isOpen ? 0 : 1);
            isOpen = true;
            break;
          case "check approved":
          case "check missed":
          case "check denied":
          case "check refused":
            if (!isOpen) break;
            isOpen = false;
            real.now += 1_000;
            if (taken === "check refused") real.followed("denied", "contract_required");
            else
              real.followed(
                taken === "check approved" ? "approved" : taken === "check denied" ? "denied" : "expired",
              );
            misses = taken === "check missed" ? misses + 1 : taken === "check approved" ? 0 : misses;
            if (taken === "check denied" || taken === "check refused" || misses >= TERMS.max_misses)
              status = "ended";
            break;
          case "expire":
          case "cancel":
            real.ended(taken === "expire" ? "expired" : "cancelled");
            isAsked = false;
            isOpen = false;
            status = "ended";
            break;
          case "end":
            expect(real.act("end", {})).toBe("ok");
            if (status !== "active") break;
            isOpen = false;
            status = "ended";
        }
        expect(real.state.status).toBe(status);
        expect(real.state.asked).toBe(status === "active" && isOpen);
        if (status === "ended" && before !== "ended") {
          expect(real.told).toEqual(["auth.session_ended"]);
          expect(real.last.withdrawAsked).toBe(true);
          // Nothing is said or asked in its name any more.
          expect(real.last.ask ?? []).toEqual([]);
        }
        if (status === "active") expect(real.state.misses).toBe(misses);
      }
    });
  });
});

describe("a subscription, step by step", () => {
  const TERMS = {
    plan_id: "tea",
    amount: { amount: 990, currency: "EUR" },
    billing_cycle: "month",
    auto_renew: false,
  };
  const step = fc.oneof(
    { weight: 2, arbitrary: fc.constant("approve" as const) },
    { weight: 6, arbitrary: fc.constant("time" as const) },
    { weight: 4, arbitrary: fc.constant("renewal approved" as const) },
    { weight: 2, arbitrary: fc.constant("renewal missed" as const) },
    fc.constantFrom(...(["deny", "renewal denied", "expire", "cancel"] as const)),
  );
  const isLiving = (status: string) => ["trialing", "active", "past_due"].includes(status);

  it("asks for one renewal at a time, never for a cycle twice, gives up after so many failures, and ends once", () => {
    check(fc.array(step, { maxLength: MAX_STEPS }), (steps) => {
      const real = new Driven<SubscriptionState>(subscriptionMachine, TERMS);
      let isAsked = true;
      let isOpen = false;
      let failures = 0;
      let paidCycle = -1;
      let endings = 0;
      for (const taken of steps) {
        const before = real.state.status;
        const told: string[] = [];
        switch (taken) {
          case "approve":
          case "deny":
            if (!isAsked) break;
            isAsked = false;
            real.answered(taken === "approve" ? "approved" : "denied");
            told.push(...real.told);
            if (taken === "approve") paidCycle = 0;
            break;
          case "time": {
            if (!isLiving(before)) break;
            // A living subscription always knows when to look again: else it would stand still for ever.
            expect(real.dueAt).toBeDefined();
            real.now = Math.max(real.now + DAY_MS, real.dueAt!);
            real.due();
            told.push(...real.told);
            const asks = real.last.ask?.length ?? 0;
            expect(asks).toBeLessThanOrEqual(isOpen ? 0 : 1);
            isOpen ||= asks === 1;
            break;
          }
          case "renewal approved":
            if (!isOpen) break;
            isOpen = false;
            failures = 0;
            real.followed("approved");
            told.push(...real.told);
            expect(told).toContain("subscription.renewed");
            expect(real.state.cycle).toBeGreaterThan(paidCycle);
            paidCycle = real.state.cycle;
            break;
          case "renewal missed":
          case "renewal denied":
            if (!isOpen) break;
            isOpen = false;
            failures += 1;
            real.followed(taken === "renewal missed" ? "expired" : "denied");
            told.push(...real.told);
            expect(told).toContain("subscription.renewal_failed");
            // A person who says no is not asked again; one who does not answer is, a few times.
            expect(isLiving(real.state.status)).toBe(taken === "renewal missed" && failures < MAX_ATTEMPTS);
            break;
          case "expire":
          case "cancel":
            real.ended(taken === "expire" ? "expired" : "cancelled");
            told.push(...real.told);
            isAsked = false;
            isOpen = false;
        }
        const isEnd = real.state.status === "cancelled" || real.state.status === "lapsed";
        const hadEnded = before === "cancelled" || before === "lapsed";
        if (isEnd && !hadEnded) endings += 1;
        if (hadEnded) {
          expect(real.state.status).toBe(before);
          expect(told).toEqual([]);
        }
        expect(told.filter((type) => type === "subscription.cancelled").length).toBe(
          isEnd && !hadEnded && taken !== "deny" ? 1 : 0,
        );
        expect(real.state.asked).toBe(isLiving(real.state.status) && isOpen);
      }
      expect(endings).toBeLessThanOrEqual(1);
    });
  });
});
