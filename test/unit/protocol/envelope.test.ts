import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { toBase58, toBase64 } from "../../../src/protocol/encoding.ts";
import {
  canonicalHeader,
  type EnvelopeHeader,
  envelopeHeader,
  envelopeShape,
  parseEnvelope,
} from "../../../src/protocol/envelope.ts";
import { canonicalJson, utf8 } from "../../../src/protocol/json.ts";
import { MAX_ENVELOPE_BYTES, MAX_ENVELOPE_LIFETIME_MS } from "../../../src/protocol/limits.ts";
import { toTimestamp } from "../../../src/protocol/primitives.ts";

const bytes = (length: number, first = 1) => Uint8Array.from({ length }, (_, at) => (at + first) % 256);
const START = Date.UTC(2026, 2, 3, 12);

const header: EnvelopeHeader = {
  v: 1,
  event_id: "2".repeat(22),
  event_type: "auth.response",
  ref: "3".repeat(23),
  from: toBase58(bytes(32)),
  to: toBase58(bytes(32, 2)),
  contract_id: toBase58(bytes(32, 3)),
  seq: 17,
  timestamp: toTimestamp(START),
  expires_at: toTimestamp(START + 300_000),
  key_id: toBase58(bytes(8)),
  ephemeral_public_key: toBase64(bytes(32, 4)),
  nonce: toBase64(bytes(24)),
};
const envelope: Record<string, unknown> = {
  ...header,
  ciphertext: toBase64(bytes(1_040)),
  signature: toBase64(bytes(64)),
};

const read = (value: unknown) => {
  const parsed = parseEnvelope(utf8(JSON.stringify(value)));
  return parsed.ok ? "accepted" : parsed.error;
};
const without = (name: string) =>
  Object.fromEntries(Object.entries(envelope).filter(([member]) => member !== name));
const withField = (name: string, value: unknown) => ({ ...envelope, [name]: value });

describe("parseEnvelope", () => {
  test("splits an envelope into header, ciphertext and signature", () => {
    expect(parseEnvelope(utf8(JSON.stringify(envelope)))).toEqual({
      ok: true,
      value: { header, ciphertext: bytes(1_040), signature: bytes(64) },
    });
  });

  test("does not mind the order of members or the whitespace between them", () => {
    const shuffled = Object.fromEntries(Object.entries(envelope).reverse());
    const parsed = parseEnvelope(utf8(JSON.stringify(shuffled, null, 2)));
    expect(parsed.ok && parsed.value.header).toEqual(header);
  });

  test("takes an envelope without what may be absent", () => {
    const { ref: _ref, contract_id: _contract, ...setup } = envelope;
    expect(read({ ...setup, seq: 0, event_type: "contract.submit" })).toBe("accepted");
  });

  test.each(Object.keys(envelope).filter((name) => name !== "ref" && name !== "contract_id"))(
    "refuses one without %s",
    (name) => expect(read(without(name))).toBe("schema"),
  );

  test.each(Object.keys(envelope))("refuses %s when it is null, of another type, or twice over", (name) => {
    for (const wrong of [null, true, {}, [], [envelope[name]], typeof envelope[name] === "string" ? 1 : "1"])
      expect(read(withField(name, wrong))).toBe("schema");
    const text = JSON.stringify(envelope);
    const doubled = `${text.slice(0, -1)},${JSON.stringify(name)}:${JSON.stringify(envelope[name])}}`;
    expect(parseEnvelope(utf8(doubled))).toEqual({ ok: false, error: "duplicate_name" });
  });

  test.each(["extra", "", "V", "event_id ", "reply_to", "constructor", "toString"])(
    "refuses an unknown header field %j",
    (name) => expect(read(withField(name, "x"))).toBe("schema"),
  );

  test("refuses a header field __proto__", () => {
    const text = `{"__proto__":{},${JSON.stringify(envelope).slice(1)}`;
    expect(parseEnvelope(utf8(text)).ok).toBe(false);
  });

  test.each<[string, unknown]>([
    ["v", 0],
    ["v", 2],
    ["v", 1.5],
    ["event_id", "2".repeat(21)],
    ["event_id", "2".repeat(97)],
    ["event_id", `${"2".repeat(22)}.x`],
    ["event_id", "0".repeat(22)],
    ["event_type", ""],
    ["event_type", "Auth.response"],
    ["event_type", "auth.response."],
    ["event_type", "auth.*"],
    ["event_type", "a.b.c.d"],
    ["ref", ""],
    ["ref", "2".repeat(21)],
    ["ref", ">"],
    ["from", toBase58(bytes(31))],
    ["from", toBase58(bytes(33))],
    ["from", "2".repeat(900_000)],
    ["to", ""],
    ["to", `${header.to} `],
    ["contract_id", toBase58(bytes(31))],
    ["seq", -1],
    ["seq", 0.5],
    ["timestamp", "2026-03-03T12:00:00Z"],
    ["timestamp", START],
    ["expires_at", "2026-03-03T12:05:00.000+00:00"],
    ["key_id", toBase58(bytes(7))],
    ["key_id", toBase58(bytes(9))],
    ["ephemeral_public_key", toBase64(bytes(31))],
    ["ephemeral_public_key", toBase64(bytes(33))],
    ["ephemeral_public_key", header.ephemeral_public_key.replace("=", "")],
    ["ephemeral_public_key", header.ephemeral_public_key.replaceAll("+", "-").replace(/.=$/, "B=")],
    ["nonce", toBase64(bytes(23))],
    ["nonce", toBase64(bytes(25))],
    ["nonce", toBase64(bytes(12))],
    ["ciphertext", "not base64!"],
    ["ciphertext", toBase64(bytes(1_040)).replace("=", "")],
    ["signature", toBase64(bytes(63))],
    ["signature", toBase64(bytes(65))],
    ["signature", ""],
  ])("refuses %s %#", (name, wrong) => expect(read(withField(name, wrong))).toBe("schema"));

  test("refuses a seq beyond 2^53 − 1 while it is still text", () => {
    const text = JSON.stringify(envelope);
    const withSeq = (seq: string) => parseEnvelope(utf8(text.replace('"seq":17', `"seq":${seq}`)));
    expect(withSeq("9007199254740991").ok).toBe(true);
    expect(withSeq("9007199254740992")).toEqual({ ok: false, error: "unsafe_number" });
  });

  test("takes a signing_key in contract.submit and in no other message", () => {
    const signing_key = toBase64(bytes(32, 5));
    expect(read({ ...envelope, event_type: "contract.submit", signing_key })).toBe("accepted");
    expect(read({ ...envelope, signing_key })).toBe("schema");
    expect(read({ ...envelope, event_type: "contract.accepted", signing_key })).toBe("schema");
    expect(read({ ...envelope, event_type: "contract.submit", signing_key: toBase64(bytes(33)) })).toBe(
      "schema",
    );
  });

  test.each([
    [0, "accepted"],
    [1, "accepted"],
    [MAX_ENVELOPE_LIFETIME_MS, "accepted"],
    [MAX_ENVELOPE_LIFETIME_MS + 1, "schema"],
    [-1, "schema"],
  ])("a lifetime of %i ms is %s", (lifetime, outcome) => {
    expect(read({ ...envelope, expires_at: toTimestamp(START + lifetime) })).toBe(outcome);
  });

  test("31 days are 31 times 24 hours", () => expect(MAX_ENVELOPE_LIFETIME_MS).toBe(2_678_400_000));

  test.each([
    ["an array", []],
    ["a text", "x"],
    ["null", null],
    ["an envelope in an array", [envelope]],
  ])("refuses %s", (_name, value) => expect(read(value)).toBe("schema"));

  test("names what is wrong with bytes that are no JSON of the protocol", () => {
    expect(parseEnvelope(utf8(""))).toEqual({ ok: false, error: "not_json" });
    expect(parseEnvelope(Uint8Array.of(0xff))).toEqual({ ok: false, error: "not_utf8" });
    expect(parseEnvelope(utf8('{"a":"\\ud800"}'))).toEqual({ ok: false, error: "lone_surrogate" });
    expect(parseEnvelope(utf8(`${"[".repeat(500)}${"]".repeat(500)}`))).toEqual({
      ok: false,
      error: "too_deep",
    });
  });

  test("takes exactly 1,000,000 bytes, and refuses one more before reading any of them", () => {
    const text = JSON.stringify(envelope);
    const ofLength = (length: number) => utf8(text + " ".repeat(length - utf8(text).length));
    expect(MAX_ENVELOPE_BYTES).toBe(1_000_000);
    expect(parseEnvelope(ofLength(1_000_000)).ok).toBe(true);
    expect(parseEnvelope(ofLength(1_000_001))).toEqual({ ok: false, error: "too_large" });
    expect(parseEnvelope(new Uint8Array(1_000_001).fill(0xff))).toEqual({ ok: false, error: "too_large" });
  });

  test("reads an envelope that is nearly all ciphertext", () => {
    const spare = MAX_ENVELOPE_BYTES - utf8(JSON.stringify(withField("ciphertext", ""))).length;
    const ciphertext = toBase64(new Uint8Array(Math.floor(spare / 4) * 3));
    expect(read(withField("ciphertext", ciphertext))).toBe("accepted");
    expect(read(withField("ciphertext", `${ciphertext}AAAA`))).toBe("too_large");
  });
});

/** Envelopes that nearly always are sound, with one or two members replaced by what may or may not be. */
const letters = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz0OIl+/=.- \u00a0\n";
const odd = fc.oneof(
  fc.constantFrom(
    null,
    true,
    false,
    0,
    -0,
    1,
    -1,
    0.5,
    1e300,
    2 ** 53 - 1,
    "",
    " ",
    [],
    {},
    ["1"],
    undefined,
  ),
  fc.string({ unit: fc.constantFrom(...letters), maxLength: 100 }),
  fc.uint8Array({ minLength: 7, maxLength: 33 }).map(toBase58),
  fc.uint8Array({ minLength: 23, maxLength: 66 }).map(toBase64),
  fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
  fc.constantFrom(...Object.values(envelope)),
  fc.constantFrom("contract.submit", "receipt", "a.b.c", "a.b.c.d", "2026-02-29T00:00:00.000Z"),
);
const change = fc.record({
  name: fc.oneof(
    fc.constantFrom(...Object.keys(envelope), "signing_key"),
    fc.constantFrom("extra", "constructor", "__proto__", "Ref", ""),
  ),
  value: odd,
});
const letterChange = fc.record({
  name: fc.constantFrom(...Object.keys(envelope).filter((name) => name !== "v" && name !== "seq")),
  place: fc.double({ min: 0, max: 0.999, noNaN: true }),
  letter: fc.constantFrom(...letters),
});

describe("the plain reading", () => {
  test("takes what the schema takes, refuses what it refuses, and reads the same", () => {
    let accepted = 0;
    fc.assert(
      fc.property(fc.array(change, { maxLength: 2 }), fc.option(letterChange), (changes, letter) => {
        const value: Record<string, unknown> = { ...envelope };
        // Undefined: left out.
        for (const { name, value: other } of changes)
          Object.defineProperty(value, name, {
            value: other,
            enumerable: true,
            configurable: true,
            writable: true,
          });
        if (letter !== null && typeof value[letter.name] === "string") {
          const text = value[letter.name] as string;
          const at = Math.floor(letter.place * text.length);
          value[letter.name] = text.slice(0, at) + letter.letter + text.slice(at + 1);
        }
        const text = JSON.stringify(value);
        const parsed = parseEnvelope(utf8(text));
        if (!parsed.ok && parsed.error !== "schema") return;
        const shaped = envelopeShape.safeParse(JSON.parse(text));
        const sound =
          shaped.success &&
          !(shaped.data.signing_key !== undefined && shaped.data.event_type !== "contract.submit") &&
          Date.parse(shaped.data.expires_at) >= Date.parse(shaped.data.timestamp) &&
          Date.parse(shaped.data.expires_at) <= Date.parse(shaped.data.timestamp) + MAX_ENVELOPE_LIFETIME_MS;
        expect(parsed.ok).toBe(sound);
        if (!parsed.ok || !shaped.success) return;
        accepted += 1;
        const { ciphertext, signature, ...header } = shaped.data;
        expect(parsed.value.header).toEqual(header);
        expect(toBase64(parsed.value.ciphertext)).toBe(ciphertext);
        expect(toBase64(parsed.value.signature)).toBe(signature);
        expect(canonicalHeader(parsed.value.header)).toBe(canonicalJson(header));
      }),
      { numRuns: 5_000 },
    );
    expect(accepted).toBeGreaterThan(500);
  });

  test("knows every member of the schema and no other", () => {
    for (const name of Object.keys(envelopeHeader.shape))
      expect(Object.keys(JSON.parse(canonicalHeader({ [name]: 1 } as unknown as EnvelopeHeader)))).toEqual([
        name,
      ]);
    const all = { ...header, signing_key: header.ephemeral_public_key };
    expect(canonicalHeader(all)).toBe(canonicalJson(all));
    expect(Object.keys(JSON.parse(canonicalHeader(all)))).toHaveLength(
      Object.keys(envelopeHeader.shape).length,
    );
  });
});
