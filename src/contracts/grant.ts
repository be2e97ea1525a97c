// The one decision whether a contract allows an operation. Everything that would reach a user passes it, in the
// transaction that records it; nothing else decides.

import type { ContractStatus } from "../protocol/contract.ts";
import type { CapabilityGrant } from "../protocol/offer.ts";
import { fromTimestamp, type Money } from "../protocol/primitives.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** What is asked for. */
export interface Operation {
  capability: string;
  /** What it reaches: each must lie in the grant's scope. */
  resources?: readonly string[];
  amount?: Money;
}

/** What the decision rests on. `usesSince` counts earlier asks under this capability since an instant. */
export interface GrantFacts {
  now: number;
  contract:
    | {
        status: ContractStatus;
        expiresAt?: number;
        capabilities: readonly CapabilityGrant[];
        revokedCapabilities: readonly string[];
      }
    | undefined;
  usesSince(capability: string, since: number): number;
}

export type GrantDecision =
  | { allowed: true; grant: CapabilityGrant }
  | { allowed: false; code: "contract_required"; reason: "no_contract" | "not_active" | "contract_expired" }
  | {
      allowed: false;
      code: "capability_denied";
      reason: "not_granted" | "out_of_scope" | "amount_exceeded" | "not_valid_now";
    }
  | { allowed: false; code: "rate_limited"; reason: "over_rate"; retryAfterMs: number };

/** Whether a scope entry covers a resource; a trailing `*` stands for any ending. */
export const covers = (entry: string, resource: string): boolean =>
  entry.endsWith("*") ? resource.startsWith(entry.slice(0, -1)) : entry === resource;

export function decideGrant(operation: Operation, facts: GrantFacts): GrantDecision {
  const { contract, now } = facts;
  if (contract === undefined) return { allowed: false, code: "contract_required", reason: "no_contract" };
  if (contract.status !== "active")
    return { allowed: false, code: "contract_required", reason: "not_active" };
  if (contract.expiresAt !== undefined && contract.expiresAt <= now)
    return { allowed: false, code: "contract_required", reason: "contract_expired" };

  const grant = contract.capabilities.find(({ capability }) => capability === operation.capability);
  if (grant === undefined || contract.revokedCapabilities.includes(operation.capability))
    return { allowed: false, code: "capability_denied", reason: "not_granted" };
  const { scope, constraints = {} } = grant;
  if (
    scope !== undefined &&
    operation.resources?.some((resource) => !scope.some((entry) => covers(entry, resource)))
  )
    return { allowed: false, code: "capability_denied", reason: "out_of_scope" };
  if (
    (constraints.valid_from !== undefined && fromTimestamp(constraints.valid_from) > now) ||
    (constraints.valid_until !== undefined && fromTimestamp(constraints.valid_until) <= now)
  )
    return { allowed: false, code: "capability_denied", reason: "not_valid_now" };
  if (
    constraints.max_amount !== undefined &&
    operation.amount !== undefined &&
    (operation.amount.currency !== constraints.max_amount.currency ||
      operation.amount.amount > constraints.max_amount.amount)
  )
    return { allowed: false, code: "capability_denied", reason: "amount_exceeded" };

  for (const [limit, windowMs] of [
    [constraints.max_per_hour, HOUR_MS],
    [constraints.max_per_day, DAY_MS],
  ] as const) {
    if (limit !== undefined && facts.usesSince(operation.capability, now - windowMs) >= limit)
      return { allowed: false, code: "rate_limited", reason: "over_rate", retryAfterMs: windowMs };
  }
  return { allowed: true, grant };
}
