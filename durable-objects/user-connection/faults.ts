// What the backend is told when something cannot be done.

import type { GrantDecision } from "../../src/contracts/grant.ts";
import type { RateDecision } from "../../src/rate/quota.ts";
import type { ApiFault } from "../../src/rpc.ts";

export interface Failed {
  ok: false;
  error: ApiFault;
}

export const fault = (code: ApiFault["code"], detail: string, retryAfterSeconds?: number): Failed => ({
  ok: false,
  error: { code, detail, ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }) },
});

/** An API key that has called too often about one user. */
export const overCalls = ({ state, retryAfterSeconds }: RateDecision & { allowed: false }): Failed =>
  fault(
    "rate_limited",
    `this API key has made ${state.quota} calls about this user within ${state.windowSeconds} seconds`,
    retryAfterSeconds,
  );

export const noSuch = (what: string): Failed => fault("not_found", `there is no such ${what}`);

/** What a refused grant tells the backend. */
export function refusalOf(decision: Exclude<GrantDecision, { allowed: true }>, capability: string): Failed {
  switch (decision.reason) {
    case "no_contract":
      return fault(
        "contract_required",
        "this user has no active contract with the service; send them an invite",
      );
    case "not_active":
      return fault("contract_required", "the user's contract is paused; resume it before asking");
    case "contract_expired":
      return fault("contract_required", "the user's contract has expired; send them an invite");
    case "not_granted":
      return fault("capability_denied", `the user's contract does not grant ${capability}`);
    case "out_of_scope":
      return fault("capability_denied", `the contract grants ${capability}, but not for what is asked`);
    case "amount_exceeded":
      return fault(
        "capability_denied",
        `the amount or currency is beyond what the contract grants for ${capability}`,
      );
    case "not_valid_now":
      return fault("capability_denied", `the contract does not grant ${capability} at this time`);
    case "over_rate":
      return fault(
        "rate_limited",
        `the contract's rate for ${capability} is used up`,
        Math.ceil(decision.retryAfterMs / 1_000),
      );
  }
}
