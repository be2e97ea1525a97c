import { describe, expect, test } from "vitest";
import type { z } from "zod";
import {
  approvalStatement,
  askContext,
  requestPayloadBase,
  responsePayload,
} from "../../../src/protocol/asking.ts";
import { auditEntry } from "../../../src/protocol/audit.ts";
import {
  contract,
  contractAccepted,
  contractRecord,
  contractStatus,
  isEnded,
  lastingCredentialsRequest,
  matchCode,
  natsUserKey,
  revocation,
  setupCredentialsRequest,
} from "../../../src/protocol/contract.ts";
import { toBase58, toBase64 } from "../../../src/protocol/encoding.ts";
import { envelopeHeader } from "../../../src/protocol/envelope.ts";
import {
  isReceipted,
  kindOfRequest,
  kindOfResponse,
  receipt,
  servicePayloads,
  userPayloadSchema,
  userPayloads,
} from "../../../src/protocol/messages.ts";
import { offer, offering, offeringId } from "../../../src/protocol/offer.ts";
import approvals from "../../vectors/approval.json" with { type: "json" };
import audits from "../../vectors/audit.json" with { type: "json" };
import contracts from "../../vectors/contract.json" with { type: "json" };
import offers from "../../vectors/offer.json" with { type: "json" };
import revocations from "../../vectors/revocation.json" with { type: "json" };

type Fields = Record<string, unknown>;
const accepts = (schema: z.ZodType, value: unknown) => schema.safeParse(value).success;

const bytes = (length: number) => toBase64(new Uint8Array(length).fill(7));
const hashId = toBase58(new Uint8Array(32).fill(7));
const keyId = toBase58(new Uint8Array(8).fill(7));
const event = "2".repeat(22);
const time = "2026-03-03T12:00:00.000Z";
const record = contracts.cases[0]!.record!;
const withResult = approvals.cases[2]!;

/** One good value of each message and signed thing, with every field it can have. */
const SAMPLES: Record<string, { schema: z.ZodType; value: Fields; optional: string[] }> = {
  receipt: {
    schema: receipt,
    value: {
      event_id: event,
      received_at: time,
      outcome: "refused",
      reason: "invalid",
      request_status: "approved",
      missing_seq: [1, 5],
      event_hash: bytes(32),
    },
    optional: ["reason", "request_status", "missing_seq", "event_hash"],
  },
  "contract.submit": {
    schema: userPayloads["contract.submit"],
    value: {
      invite_code: event,
      match_code: "042",
      contract: record.contract,
      user_signature: bytes(64),
      signed_at: time,
      profile: { email: "a@example.org", address: { city: "Wien" } },
    },
    optional: ["invite_code", "match_code"],
  },
  contract: {
    schema: contract,
    value: { ...record.contract, expires_at: time, supersedes: hashId },
    optional: ["expires_at", "supersedes"],
  },
  "contract record": { schema: contractRecord, value: record, optional: [] },
  "contract.accepted": {
    schema: contractAccepted,
    value: {
      contract_id: hashId,
      service_connection_key: bytes(32),
      accepted_at: time,
      service_signature: bytes(64),
      nats_credentials: { endpoint: "wss://nats.example", user_jwt: "a.b.c", expires_at: time },
    },
    optional: [],
  },
  "setup credentials": {
    schema: setupCredentialsRequest,
    value: {
      signing_key: bytes(32),
      nats_public_key: record.contract.nats_public_key,
      timestamp: time,
      signature: bytes(64),
      nats_signature: bytes(64),
    },
    optional: [],
  },
  "lasting credentials": {
    schema: lastingCredentialsRequest,
    value: {
      contract_id: hashId,
      nats_public_key: record.contract.nats_public_key,
      timestamp: time,
      signature: bytes(64),
      nats_signature: bytes(64),
    },
    optional: [],
  },
  revocation: {
    schema: revocation,
    value: { ...revocations.cases[0]!.revocation, reason: "moved away" },
    optional: ["reason"],
  },
  offer: { schema: offer, value: offers.cases[0]!.offer, optional: ["domain"] },
  "request payload": {
    schema: requestPayloadBase,
    value: { ...approvals.cases[0]!.request_payload, match_code_required: true },
    optional: ["purpose", "context", "match_code_required"],
  },
  "approval statement": {
    schema: approvalStatement,
    value: withResult.response.approval.statement as Fields,
    optional: ["valid_until", "constraints", "result_digest"],
  },
  "audit entry": {
    schema: auditEntry,
    value: audits.cases[1]!.entry,
    optional: ["user_id", "contract_id", "capability_used"],
  },
  "key.rotate": {
    schema: userPayloads["key.rotate"],
    value: { connection_key: bytes(32), previous_key_id: keyId },
    optional: [],
  },
  "key.rotated": { schema: userPayloads["key.rotated"], value: { key_id: keyId }, optional: [] },
  "capability.revoke": {
    schema: userPayloads["capability.revoke"],
    value: { capabilities: ["payment.one_time"], signature: bytes(64) },
    optional: [],
  },
  "contract.update": {
    schema: servicePayloads["contract.update"],
    value: { offer: offers.cases[0]!.offer, offering_id: "basic", summary: "One capability more" },
    optional: [],
  },
  "request.cancelled": {
    schema: servicePayloads["request.cancelled"],
    value: { request_id: event },
    optional: [],
  },
};

describe.each(Object.entries(SAMPLES))("%s", (_name, { schema, value, optional }) => {
  test("is taken as it stands", () => expect(schema.parse(value)).toEqual(value));

  test.each(Object.keys(value))("%s may be absent only where the protocol says so", (name) => {
    const { [name]: _absent, ...rest } = value;
    expect(accepts(schema, rest)).toBe(optional.includes(name));
  });

  test.each(Object.keys(value))("%s is never null and never of another type", (name) => {
    const wrong = typeof value[name] === "string" ? [null, 1, true, {}, []] : [null, "x", ""];
    for (const other of wrong) expect(accepts(schema, { ...value, [name]: other })).toBe(false);
  });

  test("has no field but its own", () => {
    for (const name of ["extra", "constructor", "Signature"])
      expect(accepts(schema, { ...value, [name]: "x" })).toBe(false);
  });
});

test("an unknown field is refused at any depth of what is signed", () => {
  const { contract: agreed } = record;
  const deep = (snapshot: Fields) => ({
    ...agreed,
    offering_snapshot: { ...agreed.offering_snapshot, ...snapshot },
  });
  expect(accepts(contract, deep({}))).toBe(true);
  expect(accepts(contract, deep({ extra: 1 }))).toBe(false);
  const [first, ...others] = agreed.offering_snapshot.capabilities;
  expect(accepts(contract, deep({ capabilities: [{ ...first, extra: 1 }, ...others] }))).toBe(false);
  expect(
    accepts(contract, deep({ capabilities: [{ ...first, constraints: { max_per_hour: 1, extra: 1 } }] })),
  ).toBe(false);
});

describe("an answer", () => {
  const { response } = withResult;

  test("carries result and salt together or neither", () => {
    const { result: _result, ...withoutResult } = response;
    const { salt: _salt, ...withoutSalt } = response;
    const { salt: _neither, ...bare } = withoutResult;
    expect(accepts(responsePayload, response)).toBe(true);
    expect(accepts(responsePayload, bare)).toBe(true);
    expect(accepts(responsePayload, withoutResult)).toBe(false);
    expect(accepts(responsePayload, withoutSalt)).toBe(false);
  });

  test.each<[string, unknown]>([
    ["decision", "maybe"],
    ["decision", "Approved"],
    ["salt", bytes(31)],
    ["salt", bytes(33)],
    ["match_code", "4"],
    ["match_code", "1234567"],
    ["match_code", 42],
    ["report", "true"],
    ["request_id", "x"],
    ["approval", null],
    ["approval", {}],
  ])("is refused with %s %j", (name, value) => {
    expect(accepts(responsePayload, { ...response, [name]: value })).toBe(false);
  });
});

test("the context of an ask is flat, short, and has at most 16 fields", () => {
  const fields = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, at) => [`f${at}`, at]));
  expect(accepts(askContext, fields(16))).toBe(true);
  expect(accepts(askContext, fields(17))).toBe(false);
  for (const value of [
    { a: {} },
    { a: [] },
    { a: null },
    { a: 0.5 },
    { a: "x".repeat(257) },
    { A: 1 },
    { a: "\n" },
  ])
    expect(accepts(askContext, value)).toBe(false);
});

test("no number of a receipt's gaps is zero, and there are at most 64", () => {
  const gaps = (missing_seq: number[]) => accepts(receipt, { ...SAMPLES.receipt!.value, missing_seq });
  expect(gaps(Array.from({ length: 64 }, (_, at) => at + 1))).toBe(true);
  expect(gaps(Array.from({ length: 65 }, (_, at) => at + 1))).toBe(false);
  expect(gaps([0])).toBe(false);
  expect(gaps([1.5])).toBe(false);
});

test.each([
  ["0", false],
  ["12", true],
  ["123456", true],
  ["1234567", false],
  ["1a", false],
  ["１２", false],
  ["12\n", false],
])("the match code %j is taken: %s", (code, taken) => expect(accepts(matchCode, code)).toBe(taken));

test("a NATS user key starts with U and has 55 letters of base32 behind", () => {
  const key = record.contract.nats_public_key;
  expect(accepts(natsUserKey, key)).toBe(true);
  for (const wrong of [
    `A${key.slice(1)}`,
    key.toLowerCase(),
    `${key}A`,
    key.slice(1),
    `${key.slice(0, -1)}1`,
    `${key}\n`,
  ])
    expect(accepts(natsUserKey, wrong)).toBe(false);
});

test("an offering that costs something says how much, in which currency", () => {
  const snapshot = record.contract.offering_snapshot;
  const priced = (pricing: Fields) => accepts(offering, { ...snapshot, pricing });
  expect(priced({ type: "free" })).toBe(true);
  expect(priced({ type: "one_time", amount: 100, currency: "EUR" })).toBe(true);
  expect(priced({ type: "one_time" })).toBe(false);
  expect(priced({ type: "subscription", amount: 100 })).toBe(false);
  expect(priced({ type: "subscription", currency: "EUR" })).toBe(false);
});

test.each(["", "-a", "A", "a b", "a.b", "a/b", "x".repeat(65), "_a"])("%j is no offering id", (id) => {
  expect(accepts(offeringId, id)).toBe(false);
});

test("an ended contract is one that nothing revives", () => {
  const ended = contractStatus.options.filter(isEnded);
  expect(ended).toEqual(["rejected", "cancelled", "expired", "superseded"]);
});

describe("event types", () => {
  test.each([
    ["auth.response", "auth"],
    ["custom.loyalty.response", "custom.loyalty"],
    ["response", undefined],
    [".response", undefined],
    ["auth.request", undefined],
    ["auth.response.x", undefined],
    ["a.b.c.response", undefined],
    ["Auth.response", undefined],
    ["auth.response\n", undefined],
  ])("%j answers the kind %s", (type, kind) => expect(kindOfResponse(type)).toBe(kind));

  test.each([
    ["auth.request", "auth"],
    ["custom.loyalty.request", "custom.loyalty"],
    ["request", undefined],
    ["auth.response", undefined],
    ["auth.requests", undefined],
  ])("%j asks for the kind %s", (type, kind) => expect(kindOfRequest(type)).toBe(kind));

  test("all but receipts and rejections are receipted", () => {
    const types = [
      ...Object.keys(userPayloads),
      ...Object.keys(servicePayloads),
      "auth.request",
      "auth.response",
    ];
    expect(types.filter((type) => !isReceipted(type))).toEqual(["receipt", "receipt", "contract.rejected"]);
  });

  test("every type has a schema for what a user sends, and none that only a service sends", () => {
    for (const type of Object.keys(userPayloads)) expect(userPayloadSchema(type)).toBeDefined();
    expect(userPayloadSchema("data.response")).toBe(responsePayload);
    for (const type of [
      "contract.accepted",
      "contract.cancelled",
      "auth.request",
      "",
      "toString",
      "__proto__",
      "hasOwnProperty",
    ])
      expect(userPayloadSchema(type)).toBeUndefined();
  });

  test("every type fits the header", () => {
    for (const type of [...Object.keys(userPayloads), ...Object.keys(servicePayloads)])
      expect(accepts(envelopeHeader.shape.event_type, type)).toBe(true);
  });
});
