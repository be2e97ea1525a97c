import { describe, expect, it } from "vitest";
import {
  type AmendmentInput,
  amendmentInput,
  DEFAULT_AMENDMENT_SECONDS,
  differenceOf,
  proposedOffering,
} from "../../../src/contracts/amendment.ts";
import type { CapabilityGrant, Offering } from "../../../src/protocol/offer.ts";
import { toTimestamp } from "../../../src/protocol/primitives.ts";
import { offering } from "../../support/offer.ts";

const NOW = Date.UTC(2026, 5, 1);
const DAY_MS = 24 * 3_600_000;
const grant = (capability: string, more: Partial<CapabilityGrant> = {}): CapabilityGrant => ({
  capability,
  description: `May ${capability}`,
  requires_approval_each_use: true,
  ...more,
});
const gold: Offering = { ...offering, offering_id: "gold", capabilities: [grant("sign_document")] };
const propose = (
  input: Omit<AmendmentInput, "reason" | "expires_in_seconds">,
  change: Partial<Parameters<typeof proposedOffering>[1]> = {},
) =>
  proposedOffering(amendmentInput.parse({ reason: "Because", ...input }), {
    now: NOW,
    current: offering,
    revokedCapabilities: [],
    contractExpiresAt: undefined,
    published: [offering, gold],
    ...change,
  });
const names = (proposal: ReturnType<typeof propose>) =>
  proposal.ok
    ? proposal.value.offering.capabilities.map(({ capability }) => capability)
    : proposal.error.code;

describe("a proposal", () => {
  const adding = (...capabilities: CapabilityGrant[]) =>
    ({ type: "add_capabilities", capabilities }) as never;
  const removing = (...capabilities: string[]) => ({ type: "remove_capabilities", capabilities }) as never;

  it("adds to what is granted and takes from it", () => {
    expect(names(propose(adding(grant("read_data"))))).toEqual(["authenticate", "read_data"]);
    const current = { ...offering, capabilities: [grant("authenticate"), grant("read_data")] };
    expect(names(propose(removing("authenticate"), { current }))).toEqual(["read_data"]);
  });

  it("keeps id, version and everything else of the offering it varies", () => {
    const proposal = propose(adding(grant("read_data")));
    const { capabilities: _before, ...rest } = offering;
    expect(proposal).toMatchObject({ ok: true, value: { offering: rest } });
  });

  it("does not bring back what the user took back, unless it names it", () => {
    const current = { ...offering, capabilities: [grant("authenticate"), grant("read_data")] };
    const facts = { current, revokedCapabilities: ["authenticate"] };
    expect(names(propose(adding(grant("write_data")), facts))).toEqual(["read_data", "write_data"]);
    expect(names(propose(adding(grant("authenticate")), facts))).toEqual(["read_data", "authenticate"]);
    expect(names(propose(removing("authenticate"), facts))).toBe("conflict");
  });

  it("leaves at least one capability and at most 64", () => {
    expect(names(propose(removing("authenticate")))).toBe("conflict");
    const many = Array.from({ length: 64 }, (_, at) => grant(`custom.n${at}`));
    expect(names(propose(adding(...many)))).toBe("conflict");
    expect(names(propose(adding(...many.slice(1))))).toHaveLength(64);
  });

  it("leads to a published offering, another than the one agreed on", () => {
    expect(propose({ type: "upgrade", offering_id: "gold" } as never)).toEqual({
      ok: true,
      value: { offering: gold },
    });
    expect(names(propose({ type: "downgrade", offering_id: "silver" } as never))).toBe("not_found");
    expect(names(propose({ type: "upgrade", offering_id: "login" } as never))).toBe("conflict");
    const newer = { ...offering, version: 2 };
    expect(
      names(propose({ type: "upgrade", offering_id: "login" } as never, { published: [newer] })),
    ).toEqual(["authenticate"]);
  });

  it("moves the end of a contract that has one, later only", () => {
    const extend = (ms: number) => ({ type: "extend", expires_at: toTimestamp(ms) }) as never;
    const facts = { contractExpiresAt: NOW + DAY_MS };
    expect(propose(extend(NOW + 2 * DAY_MS), facts)).toMatchObject({
      ok: true,
      value: { expiresAt: toTimestamp(NOW + 2 * DAY_MS) },
    });
    expect(names(propose(extend(NOW + DAY_MS), facts))).toBe("invalid_request");
    expect(names(propose(extend(NOW - 1), { contractExpiresAt: NOW - DAY_MS }))).toBe("invalid_request");
    expect(names(propose(extend(NOW + DAY_MS)))).toBe("conflict");
  });

  it("is open for a week unless said otherwise, a minute at the least and 30 days at the most", () => {
    const parse = (more: object) =>
      amendmentInput.safeParse({ type: "upgrade", offering_id: "gold", reason: "Because", ...more });
    expect(parse({}).data?.expires_in_seconds).toBe(DEFAULT_AMENDMENT_SECONDS);
    for (const seconds of [59, 30 * 24 * 3_600 + 1, 60.5])
      expect(parse({ expires_in_seconds: seconds }).success).toBe(false);
    expect(parse({ reason: "" }).success).toBe(false);
    expect(parse({ surprise: 1 }).success).toBe(false);
  });
});

describe("the difference between two offerings", () => {
  it("names what was added, removed and changed, in capabilities, data and all else", () => {
    const after: Offering = {
      ...offering,
      version: 2,
      name: "Another name",
      capabilities: [grant("authenticate", { scope: ["shop"] }), grant("read_data")],
      required_data: [{ data_type: "email", required: true, purpose: "Advertising" }],
    };
    expect(differenceOf(offering, after)).toEqual({
      capabilities_added: ["read_data"],
      capabilities_removed: [],
      capabilities_changed: ["authenticate"],
      data_added: [],
      data_removed: ["nickname"],
      data_changed: ["email"],
      other: ["name"],
    });
    const back = differenceOf(after, offering);
    expect(back.capabilities_removed).toEqual(["read_data"]);
    expect(back.data_added).toEqual(["nickname"]);
  });

  it("is none between equals, and counts what was taken back as added when it returns", () => {
    const none = differenceOf(offering, offering);
    expect(Object.values(none).flat()).toEqual([]);
    expect(differenceOf(offering, offering, ["authenticate"]).capabilities_added).toEqual(["authenticate"]);
  });
});
