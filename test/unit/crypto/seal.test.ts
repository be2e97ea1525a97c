import { beforeAll, describe, expect, test, vi } from "vitest";
import { keyIdOf } from "../../../src/crypto/hash.ts";
import { type MessageHeader, MessageTooLarge, open, seal, verifyEnvelope } from "../../../src/crypto/seal.ts";
import { importSigningKey } from "../../../src/crypto/signing.ts";
import { concatBytes, toBase58, toBase64 } from "../../../src/protocol/encoding.ts";
import { type Envelope, type EnvelopeHeader, parseEnvelope } from "../../../src/protocol/envelope.ts";
import { parseJson, utf8 } from "../../../src/protocol/json.ts";
import { MAX_ENVELOPE_BYTES } from "../../../src/protocol/limits.ts";
import {
  eventIdOf,
  flipped,
  HEAVY_TEST_TIMEOUT_MS,
  hashIdOf,
  message,
  type Person,
  person,
  seedOf,
} from "./people.ts";
import { type Fields, form, openEnvelope, padme, sealSteps, text, unhex } from "./reference.ts";

vi.setConfig({ testTimeout: HEAVY_TEST_TIMEOUT_MS });

let service: Person;
let user: Person;
let stranger: Person;
beforeAll(async () => {
  service = await person("service");
  user = await person("user");
  stranger = await person("stranger");
});

const parsed = (bytes: Uint8Array): Envelope => {
  const envelope = parseEnvelope(bytes);
  if (!envelope.ok) throw new Error(`not an envelope: ${envelope.error}`);
  return envelope.value;
};
const sealed = async (payload: unknown, more: Partial<MessageHeader> = {}) =>
  parsed(await seal(service.signing, user.agreement.publicKey, message(user.signing.id, more), payload));
const opened = async (envelope: Envelope, recipient = user) => {
  const plaintext = await open(envelope, recipient.agreement);
  return plaintext === undefined ? undefined : parseJson(plaintext);
};
const verified = (envelope: Envelope, sender = service) => verifyEnvelope(envelope, sender.signing.publicKey);

describe("a sealed message", () => {
  const payload = { text: "Grüße 😀", list: [1, null, true], nested: { a: {} } };

  test("is signed by its sender and opens for its recipient", async () => {
    const envelope = await sealed(payload);
    expect(await verified(envelope)).toBe(true);
    expect(await opened(envelope)).toEqual({ ok: true, value: payload });
  });

  test("carries the header its sender chose and what sealing adds, nothing else", async () => {
    const { header } = await sealed(payload, { ref: eventIdOf("ref") });
    const { ephemeral_public_key, nonce, ...rest } = header;
    expect(rest).toEqual({
      v: 1,
      ...message(user.signing.id, { ref: eventIdOf("ref") }),
      from: service.signing.id,
      key_id: keyIdOf(user.agreement.publicKey),
    });
    expect(ephemeral_public_key).toHaveLength(44);
    expect(nonce).toHaveLength(32);
  });

  test("says who sent it by the key it was signed with, whatever else it was told", async () => {
    const claims = { ...message(user.signing.id), from: stranger.signing.id, key_id: "x", nonce: "y" };
    const envelope = parsed(await seal(service.signing, user.agreement.publicKey, claims, {}));
    expect(envelope.header.from).toBe(service.signing.id);
    expect(await opened(envelope)).toEqual({ ok: true, value: {} });
  });

  test("differs each time in ephemeral key, nonce and ciphertext", async () => {
    const several = await Promise.all(Array.from({ length: 20 }, () => sealed(payload)));
    const count = (part: (envelope: Envelope) => string) => new Set(several.map(part)).size;
    expect(count(({ header }) => header.ephemeral_public_key)).toBe(20);
    expect(count(({ header }) => header.nonce)).toBe(20);
    expect(count(({ ciphertext }) => toBase64(ciphertext))).toBe(20);
  });

  test("is as long as the Padmé length of its payload, and the tag: 1,024 bytes at least, an answer 4,096", async () => {
    const TAG_BYTES = 16;
    const ciphertextLength = async (length: number, event_type: string) =>
      (await sealed("x".repeat(length - 2), { event_type })).ciphertext.length - TAG_BYTES;
    for (const length of [2, 1_023, 1_024, 1_025, 1_088, 1_089, 5_000, 100_000]) {
      expect(await ciphertextLength(length, "auth.request")).toBe(padme(length, 1_024));
      expect(await ciphertextLength(length, "auth.response")).toBe(padme(length, 4_096));
      expect(await ciphertextLength(length, "custom.loyalty.response")).toBe(padme(length, 4_096));
    }
  });

  test("does not tell an approval from a denial by its length", async () => {
    const approval = { decision: "approved", result: { name: "x".repeat(2_000) }, salt: "y".repeat(44) };
    const answer = { event_type: "data.response", ref: eventIdOf("request") };
    const lengths = [await sealed(approval, answer), await sealed({ decision: "denied" }, answer)].map(
      ({ ciphertext }) => ciphertext.length,
    );
    expect(lengths).toEqual([4_112, 4_112]);
  });

  test("leaves the recipient's key and the payload as they were", async () => {
    const key = Uint8Array.from(user.agreement.publicKey);
    const frozen = Object.freeze({ a: Object.freeze([1]) });
    await seal(service.signing, key, message(user.signing.id), frozen);
    expect(key).toEqual(user.agreement.publicKey);
  });
});

describe("sealing agrees with an implementation on noble alone", () => {
  const payload = { a: "ß", b: [1, 2.5, -0.001], c: { d: null } };

  test.each(["auth.request", "auth.response", "receipt", "contract.submit"])(
    "which opens what was sealed natively: %s",
    async (event_type) => {
      const bytes = await seal(
        service.signing,
        user.agreement.publicKey,
        message(user.signing.id, { event_type }),
        payload,
      );
      const plaintext = openEnvelope(
        JSON.parse(text(bytes)) as Fields,
        service.signing.publicKey,
        user.secret,
      );
      expect(plaintext.trimEnd()).toBe(JSON.stringify(payload));
      expect(plaintext.slice(plaintext.trimEnd().length)).toMatch(/^ *$/);
    },
  );

  test.each([1, 2, 3, 4, 5])("and whose messages open natively: %i", async (round) => {
    const steps = sealSteps({
      senderSeed: service.seed,
      ephemeralSecret: seedOf(`ephemeral ${round}`),
      recipientPublicKey: user.agreement.publicKey,
      nonce: seedOf(`nonce ${round}`).subarray(0, 24),
      header: { ...message(user.signing.id, { seq: round }), from: service.signing.id },
      payloadText: JSON.stringify(payload),
      minimumBytes: 1_024,
    });
    const envelope = parsed(utf8(JSON.stringify(steps.envelope)));
    expect(await verified(envelope)).toBe(true);
    expect(await open(envelope, user.agreement)).toEqual(steps.plaintext);
  });
});

describe("nothing opens or verifies but what was sealed", () => {
  let envelope: Envelope;
  beforeAll(async () => {
    envelope = await sealed({ secret: true }, { ref: eventIdOf("ref") });
  });

  test("another recipient's key does not open it", async () => {
    expect(await opened(envelope, stranger)).toBeUndefined();
    expect(await opened(envelope, service)).toBeUndefined();
  });

  test("another sender's key does not verify it", async () => {
    expect(await verified(envelope, stranger)).toBe(false);
    expect(await verified(envelope, user)).toBe(false);
  });

  /** Another value of each field that its schema would take as well, as near as possible. */
  const others: { [Name in keyof Required<EnvelopeHeader>]: unknown } = {
    v: 2,
    event_id: eventIdOf("another message"),
    event_type: "auth.requesu",
    ref: eventIdOf("another ref"),
    from: hashIdOf("another sender"),
    to: hashIdOf("another recipient"),
    contract_id: hashIdOf("another contract"),
    signing_key: toBase64(seedOf("another key")),
    seq: 2,
    timestamp: "2026-03-03T12:00:00.001Z",
    expires_at: "2026-03-03T12:05:00.001Z",
    key_id: toBase58(seedOf("another key id").subarray(0, 8)),
    ephemeral_public_key: toBase64(seedOf("another ephemeral").map((byte, at) => (at === 31 ? 0 : byte))),
    nonce: toBase64(seedOf("another nonce").subarray(0, 24)),
  };

  test.each(Object.entries(others))(
    "a header that says another %s breaks the signature and, by itself, the seal",
    async (name, value) => {
      const changed = { ...envelope, header: { ...envelope.header, [name]: value } as EnvelopeHeader };
      expect(await verified(changed)).toBe(false);
      expect(await opened(changed)).toBeUndefined();
    },
  );

  test.each(["ref", "contract_id"] as const)("a header without its %s breaks both", async (name) => {
    const { [name]: _dropped, ...header } = envelope.header;
    const changed = { ...envelope, header: header as EnvelopeHeader };
    expect(await verified(changed)).toBe(false);
    expect(await opened(changed)).toBeUndefined();
  });

  test("one flipped bit in any byte of the ciphertext or its tag breaks both", async () => {
    const { ciphertext } = envelope;
    for (let at = 0; at < ciphertext.length; at++) {
      const changed = { ...envelope, ciphertext: flipped(ciphertext, at * 8 + (at % 8)) };
      if (await verified(changed)) expect.fail(`the signature holds with byte ${at} changed`);
      if ((await open(changed, user.agreement)) !== undefined) expect.fail(`opens with byte ${at} changed`);
    }
  });

  test.each([0, 1, 15, 16, 17])("a ciphertext cut to %i bytes breaks both", async (length) => {
    const changed = { ...envelope, ciphertext: envelope.ciphertext.subarray(0, length) };
    expect(await verified(changed)).toBe(false);
    expect(await opened(changed)).toBeUndefined();
  });

  test("a byte more behind the tag, or in front, breaks both", async () => {
    for (const ciphertext of [
      concatBytes(envelope.ciphertext, Uint8Array.of(0)),
      concatBytes(Uint8Array.of(0), envelope.ciphertext),
    ]) {
      expect(await verified({ ...envelope, ciphertext })).toBe(false);
      expect(await opened({ ...envelope, ciphertext })).toBeUndefined();
    }
  });

  test("one flipped bit anywhere in the signature breaks it", async () => {
    for (let bit = 0; bit < 512; bit++) {
      const changed = { ...envelope, signature: flipped(envelope.signature, bit) };
      if (await verified(changed)) expect.fail(`the signature holds with bit ${bit} changed`);
    }
  });

  test("a ciphertext moved under another message's header breaks both", async () => {
    const other = await sealed({ other: true }, { event_id: eventIdOf("other") });
    const changed = { ...other, ciphertext: envelope.ciphertext };
    expect(await verified(changed)).toBe(false);
    expect(await opened(changed)).toBeUndefined();
  });

  test("someone who signs a seen ciphertext as his own cannot make it open: sender and recipient are in the key", async () => {
    const header = { ...envelope.header, from: stranger.signing.id };
    const changed = { ...envelope, header };
    expect(await opened(changed)).toBeUndefined();
  });

  test.each([
    ["of small order", "00".repeat(32)],
    ["of order 8", "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"],
    ["not canonical", `f6${"ff".repeat(30)}7f`],
  ])("an ephemeral key that is %s opens nothing", async (_name, encoding) => {
    const header = { ...envelope.header, ephemeral_public_key: toBase64(unhex(encoding)) };
    expect(await opened({ ...envelope, header })).toBeUndefined();
  });

  // The high bit of an X25519 key does not change the point: without the check the same message had two spellings.
  test("an ephemeral key with its high bit set opens nothing, even when its sender sealed it so", async () => {
    const steps = sealSteps({
      senderSeed: service.seed,
      ephemeralSecret: seedOf("ephemeral"),
      recipientPublicKey: user.agreement.publicKey,
      nonce: seedOf("nonce").subarray(0, 24),
      header: { ...message(user.signing.id), from: service.signing.id },
      payloadText: "{}",
      minimumBytes: 1_024,
    });
    const key = Uint8Array.from(steps.ephemeralPublicKey);
    key[31]! |= 0x80;
    const header = { ...steps.header, ephemeral_public_key: toBase64(key) } as unknown as EnvelopeHeader;
    const { ciphertext, signature } = steps;
    expect(await opened({ header, ciphertext, signature })).toBeUndefined();
  });

  test("the envelope's signature covers header and ciphertext under a label of its own", async () => {
    const { header, ciphertext } = envelope;
    const ciphertext_sha256 = toBase64(
      new Uint8Array(await crypto.subtle.digest("SHA-256", Uint8Array.from(ciphertext))),
    );
    const value = { header, ciphertext_sha256 } as unknown as Fields;
    const resigned = async (label: string) =>
      verified({ ...envelope, signature: await service.signing.sign(form(label, value)) });
    expect(await resigned("vettid-envelope-v1")).toBe(true);
    expect(await resigned("vettid-approval-v1")).toBe(false);
  });
});

describe("seal refuses", () => {
  const sealTo = (key: Uint8Array, payload: unknown) =>
    seal(service.signing, key, message(user.signing.id), payload);

  test.each([
    ["of small order", "00".repeat(32)],
    ["p − 1", `ec${"ff".repeat(30)}7f`],
    ["not canonical", `ee${"ff".repeat(30)}7f`],
    ["31 bytes", "09".repeat(31)],
    ["33 bytes", "09".repeat(33)],
  ])("a recipient's key that is %s", async (_name, encoding) => {
    await expect(sealTo(unhex(encoding), {})).rejects.toThrow(RangeError);
  });

  test.each<[string, unknown]>([
    ["undefined", undefined],
    ["a function", () => 1],
    ["a lone surrogate", { a: "\ud800" }],
    ["a lone surrogate in a name", { "\udc00": 1 }],
    ["an integer beyond 2^53", { a: 2 ** 53 }],
    ["a member named __proto__", JSON.parse('{"__proto__":1}')],
    ["33 levels", JSON.parse(`${"[".repeat(33)}${"]".repeat(33)}`)],
  ])("a payload the recipient would have to refuse: %s", async (_name, payload) => {
    await expect(sealTo(user.agreement.publicKey, payload)).rejects.toThrow(TypeError);
  });

  test("what would be longer than 1,000,000 bytes, and takes the longest that is not", async () => {
    // Padmé steps at this length are 16,384 bytes: 737,280 is the longest whose base64 still fits.
    const text = (length: number) => "x".repeat(length - 2);
    const longest = await sealTo(user.agreement.publicKey, text(737_280));
    expect(longest.length).toBeLessThanOrEqual(MAX_ENVELOPE_BYTES);
    expect(parseEnvelope(longest).ok).toBe(true);
    await expect(sealTo(user.agreement.publicKey, text(770_049))).rejects.toThrow(MessageTooLarge);
    await expect(sealTo(user.agreement.publicKey, text(770_049))).rejects.toMatchObject({
      code: "payload_too_large",
    });
  });
});

test("a key held elsewhere signs as well: seal asks for a signature and nothing more of it", async () => {
  const local = await importSigningKey(service.seed);
  const asked: Uint8Array[] = [];
  const remote = {
    publicKey: local.publicKey,
    publicKeyText: local.publicKeyText,
    id: local.id,
    sign: async (bytes: Uint8Array) => {
      asked.push(bytes);
      return local.sign(bytes);
    },
  };
  const envelope = parsed(await seal(remote, user.agreement.publicKey, message(user.signing.id), {}));
  expect(asked).toHaveLength(1);
  expect(await verified(envelope)).toBe(true);
});
