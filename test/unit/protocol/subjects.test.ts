import { describe, expect, test } from "vitest";
import {
  fromUserSubject,
  fromUserWildcard,
  internalSubject,
  messageSpaceSubject,
  serviceInboxPrefix,
  toUserSubject,
  userInboxPrefix,
  userOfSubject,
  userPermissions,
} from "../../../src/protocol/subjects.ts";

/** NATS's own rule: `*` is one token, a trailing `>` one or more. */
function matches(pattern: string, subject: string): boolean {
  const want = pattern.split(".");
  const have = subject.split(".");
  return want.at(-1) === ">"
    ? have.length >= want.length &&
        want.slice(0, -1).every((token, at) => token === "*" || token === have[at])
    : have.length === want.length && want.every((token, at) => token === "*" || token === have[at]);
}
const allows = (patterns: string[], subject: string) => patterns.some((pattern) => matches(pattern, subject));

describe("subjects are those of the table in PROTOCOL §3", () => {
  test.each([
    [fromUserSubject("S", "U", "auth.response", "R"), "ServiceSpace.S.fromUser.U.auth.response.R"],
    [fromUserSubject("S", "U", "contract.submit"), "ServiceSpace.S.fromUser.U.contract.submit"],
    [toUserSubject("S", "U", "contract.accepted", "R"), "ServiceSpace.S.toUser.U.contract.accepted.R"],
    [messageSpaceSubject("M", "S", "auth.request"), "MessageSpace.M.fromService.S.auth.request"],
    [messageSpaceSubject("M", "S", "receipt", "R"), "MessageSpace.M.fromService.S.receipt.R"],
    [internalSubject("S", "rejected"), "ServiceSpace.S.internal.rejected"],
    [fromUserWildcard("S"), "ServiceSpace.S.fromUser.>"],
  ])("%s", (made, expected) => expect(made).toBe(expected));
});

test("the service's stream holds what users send and nothing it says itself", () => {
  const wildcard = fromUserWildcard("S");
  expect(matches(wildcard, fromUserSubject("S", "U", "receipt", "R"))).toBe(true);
  expect(matches(wildcard, fromUserSubject("S2", "U", "receipt", "R"))).toBe(false);
  expect(matches(wildcard, toUserSubject("S", "U", "contract.accepted", "R"))).toBe(false);
  expect(matches(wildcard, internalSubject("S", "health"))).toBe(false);
});

describe("a user's NATS credentials", () => {
  const setup = userPermissions("S", "U", "setup");
  const lasting = userPermissions("S", "U", "lasting");

  test("allow contract messages alone during setup", () => {
    expect(allows(setup.publish, fromUserSubject("S", "U", "contract.submit"))).toBe(true);
    expect(allows(setup.publish, fromUserSubject("S", "U", "auth.response", "R"))).toBe(false);
    expect(allows(setup.publish, fromUserSubject("S", "U", "receipt", "R"))).toBe(false);
  });

  test("allow every message of this user afterwards", () => {
    for (const type of ["contract.submit", "auth.response", "receipt", "custom.loyalty.response"])
      expect(allows(lasting.publish, fromUserSubject("S", "U", type, "R"))).toBe(true);
  });

  test.each([
    ["another user's subject", fromUserSubject("S", "U2", "contract.submit")],
    ["another service's", fromUserSubject("S2", "U", "contract.submit")],
    ["the service's answers", toUserSubject("S", "U", "contract.accepted", "R")],
    ["the service's internal subjects", internalSubject("S", "events.x")],
    ["JetStream's API", "$JS.API.STREAM.PURGE.X"],
    ["acknowledgements", "$JS.ACK.X.D.1.1.1.1.0"],
    ["another inbox", "_INBOX.x.y"],
  ])("never let a user publish to %s", (_name, subject) => {
    expect(allows(setup.publish, subject)).toBe(false);
    expect(allows(lasting.publish, subject)).toBe(false);
  });

  test.each([
    ["another user's answers", toUserSubject("S", "U2", "contract.accepted", "R"), false],
    ["what users send", fromUserSubject("S", "U", "auth.response", "R"), false],
    ["internal subjects", internalSubject("S", "rejected"), false],
    ["the service's inbox", `${serviceInboxPrefix("S")}.x`, false],
    ["its own answers", toUserSubject("S", "U", "contract.accepted", "R"), true],
    ["its own inbox", `${userInboxPrefix("S", "U")}.x.1`, true],
  ])("and listening to %s: %#", (_name, subject, allowed) => {
    expect(allows(setup.subscribe, subject)).toBe(allowed);
    expect(allows(lasting.subscribe, subject)).toBe(allowed);
  });
});

describe("userOfSubject", () => {
  test("reads the user out of a subject this module made", () => {
    expect(userOfSubject(fromUserSubject("S", "U", "auth.response", "R"), "S")).toBe("U");
    expect(userOfSubject(fromUserSubject("S", "U", "receipt"), "S")).toBe("U");
  });

  test.each([
    "",
    "ServiceSpace.S.fromUser.U",
    "ServiceSpace.S2.fromUser.U.receipt.R",
    "ServiceSpace.S.toUser.U.receipt.R",
    "MessageSpace.S.fromUser.U.receipt.R",
    "x.ServiceSpace.S.fromUser.U.receipt",
    "servicespace.S.fromUser.U.receipt",
  ])("finds none in %j", (subject) => expect(userOfSubject(subject, "S")).toBeUndefined());
});
