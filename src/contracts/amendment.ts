// Changes a service proposes to a contract (PROTOCOL §7): what may be asked for, the offering that follows from it,
// and the difference between two offerings as a person should see it. Pure.

import { z } from "zod";
import { canonicalJson } from "../protocol/json.ts";
import {
  type CapabilityGrant,
  capabilityGrant,
  capabilityName,
  type Offering,
  offeringId,
} from "../protocol/offer.ts";
import { fromTimestamp, prose, timestamp } from "../protocol/primitives.ts";
import { err, ok, type Result } from "../protocol/result.ts";

/** As many as an offering may hold. */
const MAX_CAPABILITIES = 64;
const MIN_AMENDMENT_SECONDS = 60;
/** An offer travels in one envelope, which lives at most 31 days. */
const MAX_AMENDMENT_SECONDS = 30 * 24 * 3_600;
export const DEFAULT_AMENDMENT_SECONDS = 7 * 24 * 3_600;

const every = {
  /** Shown to the person as the proposal's summary; their vault computes the difference itself. */
  reason: prose(1_000),
  /** How long the person may think about it. */
  expires_in_seconds: z
    .int()
    .min(MIN_AMENDMENT_SECONDS)
    .max(MAX_AMENDMENT_SECONDS)
    .default(DEFAULT_AMENDMENT_SECONDS),
};

/** What a backend may propose. */
export const amendmentInput = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("add_capabilities"),
    capabilities: z.array(capabilityGrant).min(1).max(MAX_CAPABILITIES),
    ...every,
  }),
  z.strictObject({
    type: z.literal("remove_capabilities"),
    capabilities: z.array(capabilityName).min(1).max(MAX_CAPABILITIES),
    ...every,
  }),
  z.strictObject({ type: z.literal("upgrade"), offering_id: offeringId, ...every }),
  z.strictObject({ type: z.literal("downgrade"), offering_id: offeringId, ...every }),
  z.strictObject({ type: z.literal("extend"), expires_at: timestamp, ...every }),
]);
export type AmendmentInput = z.infer<typeof amendmentInput>;
export type AmendmentType = AmendmentInput["type"];

/** `expired`: not agreed to in time, withdrawn for a newer proposal, or the contract ended first. */
export const amendmentStatus = z.enum(["pending", "applied", "rejected", "expired"]);
export type AmendmentStatus = z.infer<typeof amendmentStatus>;

export interface AmendmentFacts {
  now: number;
  /** What the contract in force was agreed on. */
  current: Offering;
  /** Taken back by the user: a proposal does not bring them in again unless it names them. */
  revokedCapabilities: readonly string[];
  contractExpiresAt: number | undefined;
  /** What the service publishes now. */
  published: readonly Offering[];
}

export interface Proposal {
  offering: Offering;
  /** Set when the proposal is about the contract's end. */
  expiresAt?: string;
}

export interface AmendmentFault {
  code: "conflict" | "not_found" | "invalid_request";
  detail: string;
}

const sameNameTwice = (names: readonly string[]): string | undefined =>
  names.find((name, at) => names.indexOf(name) !== at);

/**
 * The offering a person is asked to agree to. An individual variation keeps the id and version of what it varies:
 * the contract's own copy says what was agreed.
 */
export function proposedOffering(
  input: AmendmentInput,
  facts: AmendmentFacts,
): Result<Proposal, AmendmentFault> {
  const { current, revokedCapabilities } = facts;
  const granted = current.capabilities.filter(({ capability }) => !revokedCapabilities.includes(capability));
  const isGranted = (name: string) => granted.some(({ capability }) => capability === name);
  const varied = (capabilities: CapabilityGrant[]): Result<Proposal, AmendmentFault> =>
    capabilities.length === 0 || capabilities.length > MAX_CAPABILITIES
      ? err({
          code: "conflict",
          detail: `a contract grants between 1 and ${MAX_CAPABILITIES} capabilities; cancel it to end it`,
        })
      : ok({ offering: { ...current, capabilities } });
  switch (input.type) {
    case "add_capabilities": {
      const names = input.capabilities.map(({ capability }) => capability);
      const twice = sameNameTwice(names);
      if (twice !== undefined) return err({ code: "invalid_request", detail: `${twice} is named twice` });
      const known = names.find(isGranted);
      if (known !== undefined)
        return err({ code: "conflict", detail: `the contract grants ${known} already` });
      return varied([...granted, ...input.capabilities]);
    }
    case "remove_capabilities": {
      const unknown = input.capabilities.find((name) => !isGranted(name));
      if (unknown !== undefined)
        return err({ code: "conflict", detail: `the contract does not grant ${unknown}` });
      return varied(granted.filter(({ capability }) => !input.capabilities.includes(capability)));
    }
    case "upgrade":
    case "downgrade": {
      const offering = facts.published.find(({ offering_id }) => offering_id === input.offering_id);
      if (offering === undefined)
        return err({ code: "not_found", detail: "no offering of this id is published" });
      if (revokedCapabilities.length === 0 && canonicalJson(offering) === canonicalJson(current))
        return err({ code: "conflict", detail: "the contract is on this very offering already" });
      return ok({ offering });
    }
    case "extend": {
      const until = fromTimestamp(input.expires_at);
      if (facts.contractExpiresAt === undefined)
        return err({ code: "conflict", detail: "the contract does not expire; there is nothing to extend" });
      if (until <= facts.now || until <= facts.contractExpiresAt)
        return err({
          code: "invalid_request",
          detail: "expires_at must lie behind the end the contract has now",
        });
      return ok({ offering: { ...current, capabilities: granted }, expiresAt: input.expires_at });
    }
  }
}

/** What agreeing would change, from the two offerings alone: never from what the service says of them. */
export interface OfferingDifference {
  capabilities_added: string[];
  capabilities_removed: string[];
  /** Granted before and after, but for something else: scope, constraints, approval, description. */
  capabilities_changed: string[];
  data_added: string[];
  data_removed: string[];
  data_changed: string[];
  /** Names of other fields that differ: name, description, pricing, terms_url, … */
  other: string[];
}

export function differenceOf(
  before: Offering,
  after: Offering,
  revokedCapabilities: readonly string[] = [],
): OfferingDifference {
  const capabilities = (offering: Offering) =>
    new Map(offering.capabilities.map((grant) => [grant.capability, canonicalJson(grant)]));
  const data = (offering: Offering) =>
    new Map(offering.required_data.map((item) => [item.data_type, canonicalJson(item)]));
  const held = capabilities(before);
  for (const name of revokedCapabilities) held.delete(name);
  const grants = compare(held, capabilities(after));
  const items = compare(data(before), data(after));
  const fields = (offering: Offering): [string, unknown][] =>
    Object.entries(offering).filter(
      ([name]) => !["capabilities", "required_data", "version", "offering_id"].includes(name),
    );
  const others = compare(
    new Map(fields(before).map(([name, value]) => [name, canonicalJson(value)])),
    new Map(fields(after).map(([name, value]) => [name, canonicalJson(value)])),
  );
  return {
    capabilities_added: grants.added,
    capabilities_removed: grants.removed,
    capabilities_changed: grants.changed,
    data_added: items.added,
    data_removed: items.removed,
    data_changed: items.changed,
    other: [...others.added, ...others.removed, ...others.changed].sort(),
  };
}

function compare(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>) {
  return {
    added: [...after.keys()].filter((name) => !before.has(name)),
    removed: [...before.keys()].filter((name) => !after.has(name)),
    changed: [...after.keys()].filter((name) => before.has(name) && before.get(name) !== after.get(name)),
  };
}
