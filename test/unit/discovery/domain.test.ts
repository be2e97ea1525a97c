// What a TXT record must say, what resolvers' words come to together, and what that changes.

import { describe, expect, it } from "vitest";
import { domainRecordText, findingIn } from "../../../src/contracts/domain.ts";
import { agreedOn, type DomainCheck, type Lookup, txtText } from "../../../src/discovery/domain-check.ts";
import {
  afterCheck,
  type DomainState,
  RECHECK_MS,
  RETRY_MS,
  UNCONFIRMED_MS,
} from "../../../src/discovery/domain-state.ts";

const service = {
  serviceId: "9sGNnLiCcN7eg3rVyZAA4PtqW5L1qxRVqy4FDVBiUzDY",
  publicKey: "D7nW3xZRuqkivgn0FpN2No0Zn01SlnO2zMbpbdhMq/o=",
};

describe("a domain's record", () => {
  const record = domainRecordText(service);
  const fingerprint = /key=(.*)/.exec(record)![1]!;

  it("names the id and the key's SHA-256 in hex", () => {
    expect(record).toMatch(/^service_id=[1-9A-HJ-NP-Za-km-z]{32,44};key=[0-9a-f]{64}$/);
  });

  it.each([
    [[record], "verified"],
    [[`v=1; key=${fingerprint} ; service_id=${service.serviceId};later=x`], "verified"],
    [["v=spf1 -all", "service_id=other;key=00", record], "verified"],
    [[], "no_record"],
    [["v=spf1 -all"], "no_record"],
    [[`service_id=${service.serviceId}`], "wrong_record"],
    [[`service_id=${service.serviceId};key=${fingerprint.slice(1)}`], "wrong_record"],
    [[`service_id=other;key=${fingerprint}`], "wrong_record"],
    // Half in one record and half in another is two records, and neither proves anything.
    [[`service_id=${service.serviceId}`, `key=${fingerprint}`], "wrong_record"],
    [[`x-service_id=${service.serviceId};key=${fingerprint}`], "no_record"],
  ])("%j is %s", (texts, finding) => {
    expect(findingIn(texts, service)).toBe(finding);
  });
});

describe("TXT data as resolvers write it", () => {
  it.each([
    ["plain text", "plain text"],
    ['"quoted"', "quoted"],
    ['"one " "two"', "one two"],
    ['"one"   "two"', "onetwo"],
    [String.raw`"a \"quote\" and a \\"`, String.raw`a "quote" and a \ `.trim()],
    [String.raw`"\065\066"`, "AB"],
    ['"open', undefined],
    ['"closed" tail', undefined],
    ['""', ""],
  ])("%s is %j", (data, text) => {
    expect(txtText(data)).toBe(text);
  });
});

describe("resolvers together", () => {
  const say = (...outcomes: Lookup["outcome"][]) =>
    agreedOn(outcomes.map((outcome) => ({ resolver: "r", outcome })));

  it.each([
    [["verified"], "verified"],
    [["no_record"], "no_record"],
    [["failed"], "unresolved"],
    [["verified", "verified"], "verified"],
    [["verified", "failed"], "unresolved"],
    [["no_record", "failed"], "unresolved"],
    [["verified", "no_record"], "unresolved"],
    [["no_record", "wrong_record"], "wrong_record"],
    [["no_record", "no_record"], "no_record"],
    [["verified", "verified", "no_record"], "verified"],
    [["verified", "no_record", "no_record"], "no_record"],
    [["verified", "failed", "failed"], "unresolved"],
    [["verified", "verified", "no_record", "no_record"], "unresolved"],
  ] as [Lookup["outcome"][], string][])("%j say %s", (outcomes, together) => {
    expect(say(...outcomes)).toBe(together);
  });
});

describe("a check", () => {
  const T0 = Date.parse("2026-03-01T09:00:00.000Z");
  const found = (outcome: DomainCheck["outcome"]): DomainCheck => ({ outcome, lookups: [] });
  const fresh: DomainState = { domain: "shop.example", status: "unchecked", nextCheckAt: 0 };
  const verified = afterCheck(fresh, found("verified"), T0).state;

  it("verifies, and tells so once", () => {
    expect(afterCheck(fresh, found("verified"), T0)).toMatchObject({
      state: { status: "verified", verifiedAt: T0, confirmedAt: T0, nextCheckAt: T0 + RECHECK_MS },
      event: "domain.verified",
    });
    const again = afterCheck(verified, found("verified"), T0 + 1);
    expect(again).toMatchObject({ state: { verifiedAt: T0, confirmedAt: T0 + 1 } });
    expect(again).not.toHaveProperty("event");
  });

  it.each(["no_record", "wrong_record"] as const)("that finds %s lapses what was verified", (outcome) => {
    const { state, event } = afterCheck(verified, found(outcome), T0 + 1);
    expect(event).toBe("domain.lapsed");
    expect(state).toMatchObject({ status: "lapsed", lapsedAt: T0 + 1 });
    // What has lapsed stays so, and comes back with its record.
    expect(afterCheck(state, found("no_record"), T0 + 2)).not.toHaveProperty("event");
    const back = afterCheck(state, found("verified"), T0 + 3);
    expect(back).toMatchObject({ event: "domain.verified", state: { verifiedAt: T0 + 3 } });
    expect(back.state).not.toHaveProperty("lapsedAt");
  });

  it("that finds nothing leaves what was never verified unproven, and tells nobody", () => {
    const { state, event } = afterCheck(fresh, found("no_record"), T0);
    expect(state.status).toBe("unproven");
    expect(event).toBeUndefined();
  });

  it("without an answer changes nothing, is repeated soon, and lapses only after days", () => {
    expect(afterCheck(fresh, found("unresolved"), T0).state).toMatchObject({
      status: "unchecked",
      nextCheckAt: T0 + RETRY_MS,
    });
    const soon = afterCheck(verified, found("unresolved"), T0 + UNCONFIRMED_MS - 1);
    expect(soon.state.status).toBe("verified");
    expect(afterCheck(soon.state, found("unresolved"), T0 + UNCONFIRMED_MS)).toMatchObject({
      state: { status: "lapsed" },
      event: "domain.lapsed",
    });
  });
});
