import { describe, expect, it } from "vitest";
import { decideGrant, type GrantFacts, type Operation } from "../../../src/contracts/grant.ts";
import type { CapabilityGrant } from "../../../src/protocol/offer.ts";
import { toTimestamp } from "../../../src/protocol/primitives.ts";

const NOW = Date.parse("2026-06-01T12:00:00.000Z");
const DAY_MS = 86_400_000;

const grant = (change: Partial<CapabilityGrant> = {}): CapabilityGrant => ({
  capability: "request_data",
  description: "Read what you choose",
  requires_approval_each_use: true,
  ...change,
});

const facts = (
  grants: CapabilityGrant[],
  contract: Partial<NonNullable<GrantFacts["contract"]>> = {},
  uses = 0,
): GrantFacts => ({
  now: NOW,
  contract: { status: "active", capabilities: grants, revokedCapabilities: [], ...contract },
  usesSince: () => uses,
});

const operation: Operation = { capability: "request_data", resources: ["address/home"] };
const reasonOf = (asked: Operation, given: GrantFacts) => {
  const decision = decideGrant(asked, given);
  return decision.allowed ? "allowed" : `${decision.code}: ${decision.reason}`;
};

describe("the grant decision", () => {
  it("allows what an active contract grants", () => {
    expect(reasonOf(operation, facts([grant()]))).toBe("allowed");
  });

  it.each([
    [
      "there is no contract",
      { now: NOW, contract: undefined, usesSince: () => 0 },
      "contract_required: no_contract",
    ],
    ["it is pending", facts([grant()], { status: "pending" }), "contract_required: not_active"],
    ["it is paused", facts([grant()], { status: "paused" }), "contract_required: not_active"],
    ["it is cancelled", facts([grant()], { status: "cancelled" }), "contract_required: not_active"],
    ["it is superseded", facts([grant()], { status: "superseded" }), "contract_required: not_active"],
    [
      "it expires this very moment",
      facts([grant()], { expiresAt: NOW }),
      "contract_required: contract_expired",
    ],
    [
      "it does not name the capability",
      facts([grant({ capability: "authenticate" })]),
      "capability_denied: not_granted",
    ],
    [
      "the user took the capability back",
      facts([grant()], { revokedCapabilities: ["request_data"] }),
      "capability_denied: not_granted",
    ],
    [
      "the resource is outside the scope",
      facts([grant({ scope: ["name/*"] })]),
      "capability_denied: out_of_scope",
    ],
    [
      "the scope names another resource with the same beginning",
      facts([grant({ scope: ["address/hom"] })]),
      "capability_denied: out_of_scope",
    ],
    [
      "the capability begins later",
      facts([grant({ constraints: { valid_from: toTimestamp(NOW + 1) } })]),
      "capability_denied: not_valid_now",
    ],
    [
      "the capability has ended",
      facts([grant({ constraints: { valid_until: toTimestamp(NOW) } })]),
      "capability_denied: not_valid_now",
    ],
    [
      "the hour's uses are used up",
      facts([grant({ constraints: { max_per_hour: 3 } })], {}, 3),
      "rate_limited: over_rate",
    ],
    [
      "the day's uses are used up",
      facts([grant({ constraints: { max_per_day: 3 } })], {}, 3),
      "rate_limited: over_rate",
    ],
  ] as const)("refuses when %s", (_, given, expected) => {
    expect(reasonOf(operation, given)).toBe(expected);
  });

  it("lets a trailing * in the scope stand for any ending", () => {
    expect(reasonOf(operation, facts([grant({ scope: ["address/*"] })]))).toBe("allowed");
  });

  it("allows one use less than the limit", () => {
    expect(reasonOf(operation, facts([grant({ constraints: { max_per_hour: 3 } })], {}, 2))).toBe("allowed");
  });

  it("counts uses in the hour and the day before now", () => {
    const asked: number[] = [];
    decideGrant(operation, {
      ...facts([grant({ constraints: { max_per_hour: 1, max_per_day: 1 } })]),
      usesSince: (_, since) => {
        asked.push(NOW - since);
        return 0;
      },
    });
    expect(asked).toEqual([3_600_000, DAY_MS]);
  });

  it("holds an amount to the currency and the limit", () => {
    const limit = [grant({ constraints: { max_amount: { amount: 1_000, currency: "EUR" } } })];
    const pay = (amount: number, currency: string) =>
      reasonOf({ capability: "request_data", amount: { amount, currency } }, facts(limit));
    expect(pay(1_000, "EUR")).toBe("allowed");
    expect(pay(1_001, "EUR")).toBe("capability_denied: amount_exceeded");
    expect(pay(1, "USD")).toBe("capability_denied: amount_exceeded");
  });
});
