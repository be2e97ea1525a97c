// RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-11): lists of structured fields, an item for
// each policy that applied.

import type { RatePolicy, RateState } from "../rate/quota.ts";

/** Names of policies are ours: no quotes or backslashes in them. */
const policyItem = ({ name, quota, windowSeconds }: RatePolicy): string =>
  `"${name}";q=${quota};w=${windowSeconds}`;
const stateItem = ({ name, remaining, resetSeconds }: RateState): string =>
  `"${name}";r=${remaining};t=${resetSeconds}`;

/** Headers that tell a caller how it stands; none where nothing was counted. */
export const rateHeaders = (states: readonly RateState[]): Record<string, string> =>
  states.length === 0
    ? {}
    : {
        "RateLimit-Policy": states.map(policyItem).join(", "),
        RateLimit: states.map(stateItem).join(", "),
      };
