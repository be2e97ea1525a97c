import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { z } from "zod";
import { toBase58, toBase64 } from "../../../src/protocol/encoding.ts";
import { LABELS } from "../../../src/protocol/labels.ts";
import {
  bytesOfLength,
  bytesUpTo,
  contractId,
  eventId,
  eventType,
  freeName,
  fromTimestamp,
  httpsUrl,
  identityId,
  keyId,
  line,
  money,
  offerId,
  prose,
  timestamp,
  toTimestamp,
  url,
} from "../../../src/protocol/primitives.ts";

const accepts = (schema: z.ZodType, value: unknown) => schema.safeParse(value).success;
const bytes = (length: number) => Uint8Array.from({ length }, (_, at) => at + 1);
/** None of them is a string; every schema of a scalar must refuse them all. */
const WRONG_TYPES = [undefined, null, 0, 1n, true, {}, [], ["x"], () => "x"];

describe("every schema of a text refuses what is no text", () => {
  test.each(
    Object.entries({
      bytesOfLength: bytesOfLength(32),
      bytesUpTo: bytesUpTo(32),
      identityId,
      keyId,
      eventId,
      eventType,
      freeName,
      timestamp,
      line: line(10),
      prose: prose(10),
      httpsUrl,
    }),
  )("%s", (_name, schema) => {
    for (const value of WRONG_TYPES) expect(accepts(schema, value)).toBe(false);
  });
});

describe("bytesOfLength", () => {
  test.each([1, 16, 24, 32, 64])("%i takes exactly that many bytes", (length) => {
    const schema = bytesOfLength(length);
    expect(accepts(schema, toBase64(bytes(length)))).toBe(true);
    expect(accepts(schema, toBase64(bytes(length - 1)))).toBe(false);
    expect(accepts(schema, toBase64(bytes(length + 1)))).toBe(false);
    expect(accepts(schema, toBase64(bytes(length)).replace(/=*$/, " "))).toBe(false);
    expect(accepts(schema, "")).toBe(false);
  });

  test("refuses the right length with bits after the end", () => {
    expect(accepts(bytesOfLength(1), "AA==")).toBe(true);
    expect(accepts(bytesOfLength(1), "AB==")).toBe(false);
  });
});

test("bytesUpTo takes nothing to its limit, and one byte more not", () => {
  expect(accepts(bytesUpTo(10), "")).toBe(true);
  expect(accepts(bytesUpTo(10), toBase64(bytes(10)))).toBe(true);
  expect(accepts(bytesUpTo(10), toBase64(bytes(11)))).toBe(false);
});

describe("ids that are hashes", () => {
  test.each([
    ["identityId", identityId],
    ["offerId", offerId],
    ["contractId", contractId],
  ])("%s is base58 of exactly 32 bytes", (_name, schema) => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (hash) => {
        expect(accepts(schema, toBase58(hash))).toBe(true);
      }),
    );
    expect(accepts(schema, toBase58(new Uint8Array(32)))).toBe(true);
    expect(accepts(schema, toBase58(new Uint8Array(32).fill(255)))).toBe(true);
    expect(accepts(schema, toBase58(bytes(31)))).toBe(false);
    expect(accepts(schema, toBase58(bytes(33)))).toBe(false);
    expect(accepts(schema, `1${toBase58(bytes(32))}`)).toBe(false);
    expect(accepts(schema, `${toBase58(bytes(32))} `)).toBe(false);
    expect(accepts(schema, "0".repeat(44))).toBe(false);
    expect(accepts(schema, "")).toBe(false);
  });

  test("refuse a megabyte of base58 without decoding it", () => {
    const started = performance.now();
    for (const schema of [identityId, offerId, contractId, keyId, eventId])
      expect(accepts(schema, "2".repeat(1_000_000))).toBe(false);
    expect(performance.now() - started).toBeLessThan(4_000);
  });

  test("keyId is base58 of exactly 8 bytes", () => {
    expect(accepts(keyId, toBase58(bytes(8)))).toBe(true);
    expect(accepts(keyId, toBase58(new Uint8Array(8)))).toBe(true);
    expect(accepts(keyId, toBase58(new Uint8Array(8).fill(255)))).toBe(true);
    expect(accepts(keyId, toBase58(bytes(7)))).toBe(false);
    expect(accepts(keyId, toBase58(bytes(9)))).toBe(false);
    expect(accepts(keyId, "")).toBe(false);
  });
});

describe("eventId", () => {
  test.each([22, 23, 96])("takes %i letters of base58", (length) => {
    expect(accepts(eventId, "z".repeat(length))).toBe(true);
  });
  test.each([
    ["21 letters", "z".repeat(21)],
    ["97 letters", "z".repeat(97)],
    ["a dot, which would split the subject", `${"z".repeat(22)}.z`],
    ["a wildcard", `${"z".repeat(22)}*`],
    ["the wildcard for the rest", `${"z".repeat(22)}>`],
    ["a space", `${"z".repeat(22)} z`],
    ["a line feed behind", `${"z".repeat(22)}\n`],
    ["the letter 0", "0".repeat(22)],
    ["the letter l", "l".repeat(22)],
    ["a hyphen", "-".repeat(22)],
  ])("refuses %s", (_name, text) => expect(accepts(eventId, text)).toBe(false));
});

describe("eventType", () => {
  test.each(["receipt", "auth.request", "contract.update.denied", "custom.a_1.response", "a".repeat(32)])(
    "takes %s",
    (text) => expect(accepts(eventType, text)).toBe(true),
  );
  test.each([
    "",
    ".",
    "auth.",
    ".auth",
    "a..b",
    "a.b.c.d",
    "Auth",
    "a-b",
    "a b",
    "a.*",
    "a.>",
    "auth.request\n",
    "a".repeat(33),
    "é",
  ])("refuses %j", (text) => expect(accepts(eventType, text)).toBe(false));
});

describe("freeName", () => {
  test.each(["a", "_", "0", "a_b_9", "x".repeat(32)])("takes %s", (text) => {
    expect(accepts(freeName, text)).toBe(true);
  });
  test.each(["", "A", "a.b", "a-b", "ä", "a\n", "x".repeat(33)])("refuses %j", (text) => {
    expect(accepts(freeName, text)).toBe(false);
  });
});

describe("timestamp", () => {
  test("takes what toTimestamp writes, for any time, and fromTimestamp reads it back", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 253_402_300_799_999 }), (ms) => {
        expect(accepts(timestamp, toTimestamp(ms))).toBe(true);
        expect(fromTimestamp(toTimestamp(ms))).toBe(ms);
      }),
    );
  });

  test.each(["2024-02-29T00:00:00.000Z", "2026-12-31T23:59:59.999Z"])("takes %s", (text) => {
    expect(accepts(timestamp, text)).toBe(true);
  });

  test.each([
    "",
    "2026-01-31T08:15:00Z",
    "2026-01-31T08:15:00.0Z",
    "2026-01-31T08:15:00.0000Z",
    "2026-01-31T08:15:00.000",
    "2026-01-31T08:15:00.000z",
    "2026-01-31t08:15:00.000Z",
    "2026-01-31 08:15:00.000Z",
    "2026-01-31T08:15:00.000+00:00",
    "2026-01-31T09:15:00.000+01:00",
    "2026-01-31T08:15:00,000Z",
    "2026-02-29T00:00:00.000Z",
    "2026-02-30T00:00:00.000Z",
    "2026-13-01T00:00:00.000Z",
    "2026-00-01T00:00:00.000Z",
    "2026-01-31T24:00:00.000Z",
    "2026-01-31T08:60:00.000Z",
    "2026-06-30T23:59:60.000Z",
    "26-01-31T08:15:00.000Z",
    "+002026-01-31T08:15:00.000Z",
    " 2026-01-31T08:15:00.000Z",
    "2026-01-31T08:15:00.000Z\n",
    "２026-01-31T08:15:00.000Z",
  ])("refuses %j", (text) => expect(accepts(timestamp, text)).toBe(false));
});

describe("line and prose", () => {
  test("take letters of any script up to their bound", () => {
    expect(accepts(line(5), "Žluť!")).toBe(true);
    expect(accepts(line(4), "Žluť!")).toBe(false);
    expect(accepts(prose(5), "a\n\tbc")).toBe(true);
    expect(accepts(line(5), "")).toBe(false);
    expect(accepts(prose(5), "")).toBe(false);
  });
  test.each(["a\nb", "a\tb", "a\rb"])("line refuses %j", (text) =>
    expect(accepts(line(9), text)).toBe(false),
  );
  test.each(["\0", "a\u001bb", "a\u007fb", "a\rb"])("both refuse %j", (text) => {
    expect(accepts(line(9), text)).toBe(false);
    expect(accepts(prose(9), text)).toBe(false);
  });
});

describe("url", () => {
  test.each([
    "https://service.example",
    "https://service.example/terms?x=1#a",
    "https://127.0.0.1:8443/",
    "https://[::1]/",
  ])("httpsUrl takes %s as it stands", (text) => expect(httpsUrl.parse(text)).toBe(text));

  test.each([
    "",
    "service.example",
    "http://service.example",
    "HTTPS://service.example",
    "https:service.example",
    "https:/service.example",
    "https://",
    "https:///",
    " https://service.example",
    "https://service.example ",
    "https://service.example\n",
    "https://service.\nexample",
    "https://service .example",
    "https://sérvice.example",
    "https://service.example/\t",
    "javascript://service.example/%0aalert(1)",
    "data:text/html,x",
    `https://service.example/${"x".repeat(2_048)}`,
  ])("httpsUrl refuses %j", (text) => expect(accepts(httpsUrl, text)).toBe(false));

  test("takes the schemes it was made for and no other", () => {
    expect(accepts(url("wss", "nats"), "wss://a.example")).toBe(true);
    expect(accepts(url("wss", "nats"), "nats://a.example:4222")).toBe(true);
    expect(accepts(url("wss", "nats"), "ws://a.example")).toBe(false);
    expect(accepts(url("wss", "nats"), "natss://a.example")).toBe(false);
  });
});

test("money is integer minor units, not negative, of a three-letter currency, and nothing more", () => {
  expect(accepts(money, { amount: 0, currency: "EUR" })).toBe(true);
  for (const value of [
    { amount: -1, currency: "EUR" },
    { amount: 1.5, currency: "EUR" },
    { amount: "1", currency: "EUR" },
    { amount: 2 ** 53, currency: "EUR" },
    { amount: Number.NaN, currency: "EUR" },
    { amount: 1, currency: "eur" },
    { amount: 1, currency: "EURO" },
    { amount: 1 },
    { currency: "EUR" },
    { amount: 1, currency: "EUR", cents: 1 },
    null,
  ])
    expect(accepts(money, value)).toBe(false);
});

test("no two purposes share a label, and no label can be the beginning of another's signed bytes", () => {
  const labels = Object.values(LABELS);
  expect(new Set(labels).size).toBe(labels.length);
  for (const label of labels) expect(label).toMatch(/^vettid-[a-z-]+-v1$/);
});
