// What a check of the domain changes. Pure: from what is known and what was found to what is known now.

import type { DomainCheck } from "./domain-check.ts";

/** While all is well, and while the record is missing. */
export const RECHECK_MS = 24 * 3_600_000;
/** While resolvers do not answer or do not agree. */
export const RETRY_MS = 3_600_000;
/** How long a domain stays verified without anyone who can confirm it: an outage of resolvers is no lapse. */
export const UNCONFIRMED_MS = 3 * 24 * 3_600_000;

/**
 * `unchecked`: nobody has looked, or nobody could tell. `unproven`: its record is not there. `lapsed`: it was there
 * once.
 */
export type DomainStatus = "unchecked" | "verified" | "unproven" | "lapsed";

/** Times are milliseconds since the epoch. */
export interface DomainState {
  domain: string;
  status: DomainStatus;
  /** When the present run of being verified began. */
  verifiedAt?: number;
  /** When the record was last seen. */
  confirmedAt?: number;
  lapsedAt?: number;
  checkedAt?: number;
  check?: DomainCheck;
  nextCheckAt: number;
}

/** Whether the offer may name the domain: it is a claim until it is known to be untrue. */
export const mayBeClaimed = (status: DomainStatus): boolean =>
  status === "unchecked" || status === "verified";

export function afterCheck(
  before: DomainState,
  check: DomainCheck,
  now: number,
): { state: DomainState; event?: "domain.verified" | "domain.lapsed" } {
  const state: DomainState = { ...before, checkedAt: now, check, nextCheckAt: now + RECHECK_MS };
  const wasVerified = before.status === "verified";
  switch (check.outcome) {
    case "verified": {
      state.status = "verified";
      state.confirmedAt = now;
      if (wasVerified) return { state };
      state.verifiedAt = now;
      delete state.lapsedAt;
      return { state, event: "domain.verified" };
    }
    case "no_record":
    case "wrong_record":
      if (wasVerified) return { state: lapsed(state, now), event: "domain.lapsed" };
      if (before.status === "unchecked") state.status = "unproven";
      return { state };
    case "unresolved": {
      state.nextCheckAt = now + RETRY_MS;
      if (wasVerified && now - (before.confirmedAt ?? 0) >= UNCONFIRMED_MS)
        return { state: lapsed(state, now), event: "domain.lapsed" };
      return { state };
    }
  }
}

const lapsed = (state: DomainState, now: number): DomainState => ({
  ...state,
  status: "lapsed",
  lapsedAt: now,
});
