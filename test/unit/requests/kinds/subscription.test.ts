import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { addCycles, cycleAt } from "../../../../src/requests/kinds/payment/calendar.ts";
import { paymentInput, paymentUpdate } from "../../../../src/requests/kinds/payment/fields.ts";
import {
  MAX_ATTEMPTS,
  subscriptionMachine as machine,
  REMINDER_LEAD_MS,
  type SubscriptionState,
  subscriptions,
} from "../../../../src/requests/kinds/payment/subscription.ts";
import type { MachineFacts, Step } from "../../../../src/requests/machine.ts";
import { eventData } from "../../../../src/webhooks/event.ts";
import { factsAt } from "./facts.ts";

const DAY_MS = 86_400_000;
const START = Date.UTC(2026, 0, 31, 12);
const terms = {
  plan_id: "tea",
  amount: { amount: 990, currency: "EUR" },
  billing_cycle: "month",
  auto_renew: true,
};

type S = Step<SubscriptionState>;
const text = (ms: number | undefined) => (ms === undefined ? undefined : new Date(ms).toISOString());

/** A subscription played from step to step. */
class Play {
  state: SubscriptionState;
  now: number;
  dueAt: number | undefined;
  step!: S;
  readonly input: object;
  allows: MachineFacts["allows"] = () => true;

  constructor(change: object = {}, now = START) {
    this.now = now;
    this.input = { ...terms, ...change };
    this.state = machine.initial(this.facts).state as SubscriptionState;
  }

  get facts(): MachineFacts {
    return factsAt(this.now, this.input, { allows: (operation) => this.allows(operation) });
  }

  take(step: Step<unknown>): S {
    this.step = step as S;
    this.state = this.step.state;
    this.dueAt = this.step.dueAt;
    for (const { payload } of this.step.say ?? []) paymentUpdate.parse(payload);
    for (const { data } of this.step.tell ?? []) eventData.parse(data);
    for (const { input } of this.step.ask ?? []) paymentInput.parse(input);
    return this.step;
  }

  answer(status: "approved" | "denied"): S {
    return this.take(machine.answered!(this.state, { status, result: {} }, this.facts));
  }

  /** Lets time pass to when it wants to be looked at. */
  due(): S {
    if (this.dueAt === undefined) throw new Error("nothing is due");
    this.now = Math.max(this.now, this.dueAt);
    return this.take(machine.due!(this.state, this.facts));
  }

  followed(status: "approved" | "denied" | "expired" | "cancelled", refusal?: string): S {
    return this.take(
      machine.followed!(
        this.state,
        { status, ...(refusal === undefined ? { requestId: "r" } : { refusal }) },
        this.facts,
      ),
    );
  }

  act(name: "cancel" | "complete" | "fail", given: unknown = {}) {
    const action = machine.actions![name]!;
    const result = action.run(this.state, action.input.parse(given) as never, this.facts);
    if (result.ok) this.take(result.value);
    return result;
  }

  get told(): string[] {
    return (this.step.tell ?? []).map(({ type }) => type);
  }
}

const active = (change: object = {}, now = START): Play => {
  const play = new Play(change, now);
  play.answer("approved");
  return play;
};

describe("billing cycles", () => {
  it.each([
    ["2026-01-31T12:00:00.000Z", "month", ["2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"]],
    ["2024-01-31T12:00:00.000Z", "month", ["2024-02-29", "2024-03-31"]],
    ["2026-11-30T12:00:00.000Z", "month", ["2026-12-30", "2027-01-30", "2027-02-28", "2027-03-30"]],
    ["2024-02-29T12:00:00.000Z", "year", ["2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29"]],
    ["2026-12-28T12:00:00.000Z", "week", ["2027-01-04", "2027-01-11"]],
    ["2026-02-28T12:00:00.000Z", "day", ["2026-03-01", "2026-03-02"]],
  ] as const)("from %s by the %s begin on %j", (anchor, cycle, days) => {
    const begin = days.map((_, n) => text(addCycles(Date.parse(anchor), cycle, n + 1)));
    expect(begin).toEqual(days.map((day) => `${day}T12:00:00.000Z`));
  });

  it("follow each other, and any instant lies in exactly one", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 4_000_000_000_000 }),
        fc.constantFrom("day", "week", "month", "year"),
        fc.integer({ min: -400, max: 4_000 }).map((days) => days * DAY_MS),
        (anchor, cycle, offset) => {
          const index = cycleAt(anchor, cycle, anchor + offset);
          expect(addCycles(anchor, cycle, index)).toBeLessThanOrEqual(anchor + offset);
          expect(addCycles(anchor, cycle, index + 1)).toBeGreaterThan(anchor + offset);
        },
      ),
    );
  });
});

describe("a subscription", () => {
  it("is active for one cycle once approved", () => {
    const play = active();
    expect(play.state).toMatchObject({ status: "active", cycle: 0 });
    expect(play.told).toEqual(["payment.approved"]);
    expect(text(play.dueAt)).toBe(text(addCycles(START, "month", 1) - REMINDER_LEAD_MS));
    expect(subscriptions.view({ status: "approved", payload: terms, state: play.state })).toMatchObject({
      subscription_status: "active",
      current_period_start: "2026-01-31T12:00:00.000Z",
      current_period_end: "2026-02-28T12:00:00.000Z",
      failed_attempts: 0,
    });
  });

  it("that is denied, not answered or taken back is cancelled, and nothing is due", () => {
    const denied = new Play();
    denied.answer("denied");
    expect([denied.state.status, denied.state.endReason, denied.dueAt]).toEqual([
      "cancelled",
      "denied",
      undefined,
    ]);
    expect(denied.told).toEqual(["payment.denied"]);
    for (const [how, reason] of [
      ["expired", "not_answered"],
      ["cancelled", "withdrawn"],
    ] as const) {
      const play = new Play();
      play.take(machine.ended(play.state, how, play.facts));
      expect(play.state).toMatchObject({ status: "cancelled", endReason: reason });
      expect(play.told).toEqual(["subscription.cancelled"]);
    }
  });

  it("reminds, then renews by itself on the days of its anchor", () => {
    const play = active();
    const renewals: (string | undefined)[] = [];
    for (let n = 0; n < 3; n++) {
      play.due();
      expect(play.told).toEqual(["subscription.reminder"]);
      play.due();
      expect(play.told).toEqual(["subscription.renewed"]);
      expect(play.step.tell![0]!.data).toMatchObject({
        authorised_by: "auto_renew",
        attempt: 1,
        amount: 990,
      });
      renewals.push(text(play.now));
    }
    expect(renewals).toEqual([
      "2026-02-28T12:00:00.000Z",
      "2026-03-31T12:00:00.000Z",
      "2026-04-30T12:00:00.000Z",
    ]);
  });

  it("begins with its trial, where it has one, and the first cycle after it", () => {
    const play = active({ trial_days: 14 });
    expect(play.state).toMatchObject({ status: "trialing", cycle: -1 });
    play.due();
    expect(play.told).toEqual(["subscription.reminder"]);
    expect(play.act("fail", { reason: "No charge yet" })).toMatchObject({ ok: false });
    play.due();
    expect(play.state).toMatchObject({ status: "active", cycle: 0 });
    expect(text(play.now)).toBe(text(START + 14 * DAY_MS));
  });

  it("looked at too early changes nothing", () => {
    const play = active();
    const before = play.state;
    const { dueAt } = play;
    play.take(machine.due!(play.state, play.facts));
    expect([play.state, play.dueAt]).toEqual([before, dueAt]);
  });

  it("whose alarm was late charges only the cycle that runs now", () => {
    const play = active();
    play.now = Date.UTC(2026, 5, 10);
    play.due();
    expect(play.told).toEqual(["subscription.renewed"]);
    expect(play.step.tell![0]!.data).toMatchObject({ period_start: "2026-05-31T12:00:00.000Z" });
    expect(play.dueAt).toBeGreaterThan(play.now);
  });

  it("asks for each renewal where it does not renew by itself, or may not any more", () => {
    for (const play of [active({ auto_renew: false }), active()]) {
      play.allows = ({ capability }) => capability !== "payment.auto_renew";
      play.due();
      play.due();
      expect(play.step.ask).toMatchObject([
        {
          kind: "payment",
          operation: "pay",
          input: {
            amount: terms.amount,
            recurring_info: {
              plan_id: "tea",
              period_start: "2026-02-28T12:00:00.000Z",
              period_end: "2026-03-31T12:00:00.000Z",
            },
          },
        },
      ]);
      expect(play.state.status).toBe("active");
      play.followed("approved");
      expect(play.step.tell).toMatchObject([
        { type: "subscription.renewed", data: { authorised_by: "approval" } },
      ]);
      expect(play.state).toMatchObject({ status: "active", cycle: 1, asked: false });
    }
  });

  it("asks again after pauses, a bounded number of times, then lapses", () => {
    const play = active({ auto_renew: false });
    play.due();
    play.due();
    const pauses: number[] = [];
    for (let attempt = 1; attempt < MAX_ATTEMPTS; attempt++) {
      play.followed("expired");
      expect(play.told).toEqual(["subscription.renewal_failed"]);
      expect(play.state).toMatchObject({ status: "past_due", failures: attempt });
      pauses.push((play.dueAt! - play.now) / DAY_MS);
      play.due();
      expect(play.step.ask).toHaveLength(1);
    }
    expect(pauses).toEqual([1, 3, 5]);
    play.followed("cancelled", "rate_limited");
    expect(play.told).toEqual(["subscription.renewal_failed", "subscription.cancelled"]);
    expect([play.state.status, play.state.endReason, play.dueAt]).toEqual(["lapsed", "lapsed", undefined]);
  });

  it("by the day has its pauses fit into the day", () => {
    const play = active({ auto_renew: false, billing_cycle: "day" });
    play.due();
    play.due();
    expect(play.step.ask![0]!.expiresInSeconds).toBe(6 * 3_600);
    play.followed("expired");
    expect(play.dueAt! - play.now).toBe(6 * 3_600_000);
  });

  it("is not asked for again after a no: it ends by the user's word", () => {
    const play = active({ auto_renew: false });
    play.due();
    play.due();
    play.followed("denied");
    expect(play.told).toEqual(["subscription.renewal_failed", "subscription.cancelled"]);
    expect(play.state).toMatchObject({ status: "cancelled", endReason: "renewal_denied" });
  });

  it("whose charge failed is tried again for the same period, and recovers", () => {
    const play = active();
    play.due();
    play.due();
    const period = play.step.tell![0]!.data!.period_start;
    expect(play.act("fail", { reason: "Card declined" })).toMatchObject({ ok: true });
    expect(play.told).toEqual(["subscription.renewal_failed"]);
    expect(play.state).toMatchObject({ status: "past_due", lastFailure: "charge_failed" });
    expect(play.act("fail", { reason: "Again" })).toMatchObject({ ok: false, error: { code: "conflict" } });
    play.due();
    expect(play.step.tell![0]).toMatchObject({
      type: "subscription.renewed",
      data: { period_start: period, attempt: 2 },
    });
    expect(play.act("complete", { transaction_id: "tx-2" })).toMatchObject({ ok: true });
    expect(play.state.payment).toMatchObject({ transaction_id: "tx-2" });
    expect(play.state.status).toBe("active");
  });

  it("whose charge fails every time lapses", () => {
    const play = active();
    for (let attempt = 1; attempt < MAX_ATTEMPTS; attempt++) {
      play.act("fail", { reason: "Card declined" });
      expect(play.state).toMatchObject({ status: "past_due", failures: attempt });
      play.due();
      expect(play.told).toEqual(["subscription.renewed"]);
    }
    play.act("fail", { reason: "Card declined" });
    expect(play.state.status).toBe("lapsed");
  });

  it("cancelled by the backend takes back the renewal it had asked for; twice is once", () => {
    const play = active({ auto_renew: false });
    play.due();
    play.due();
    play.act("cancel");
    expect(play.step).toMatchObject({ withdrawAsked: true, say: [{ payload: { status: "cancelled" } }] });
    expect(play.told).toEqual(["subscription.cancelled"]);
    const before = play.state;
    play.act("cancel");
    expect([play.state, play.told, play.dueAt]).toEqual([before, [], undefined]);
    play.followed("cancelled");
    expect(play.state).toEqual(before);
  });

  it("ends with its contract", () => {
    const play = active();
    play.take(machine.ended(play.state, "cancelled", play.facts));
    expect(play.state).toMatchObject({ status: "cancelled", endReason: "contract_ended" });
    expect(play.told).toEqual(["subscription.cancelled"]);
  });

  it("has a next look while it lives and none when it is over, whatever happens", () => {
    const move = fc.constantFrom(
      "due",
      "approved",
      "denied",
      "expired",
      "refused",
      "fail",
      "complete",
      "cancel",
    );
    fc.assert(
      fc.property(
        fc.array(move, { maxLength: 40 }),
        fc.boolean(),
        fc.constantFrom("day", "week", "month", "year"),
        fc.integer({ min: 0, max: 30 }),
        (moves, auto_renew, billing_cycle, trial) => {
          const play = active({ auto_renew, billing_cycle, ...(trial === 0 ? {} : { trial_days: trial }) });
          for (const what of moves) {
            const { state } = play;
            if (what === "due") {
              if (play.dueAt !== undefined) play.due();
            } else if (what === "fail") play.act("fail", { reason: "x" });
            else if (what === "complete") play.act("complete", { transaction_id: "t" });
            else if (what === "cancel") play.act("cancel");
            else if (!state.asked) continue;
            else if (what === "refused") play.followed("cancelled", "capability_denied");
            else play.followed(what as "approved");
            const living = ["trialing", "active", "past_due"].includes(play.state.status);
            expect(play.dueAt !== undefined).toBe(living);
            if (living) expect(play.dueAt!).toBeGreaterThan(play.now - 1);
            // Cycles only go forward, and what runs has begun.
            expect(play.state.cycle).toBeGreaterThanOrEqual(state.cycle);
            expect(play.state.since!).toBeLessThanOrEqual(play.now);
            expect(play.state.failures).toBeLessThanOrEqual(MAX_ATTEMPTS);
          }
        },
      ),
    );
  });
});
