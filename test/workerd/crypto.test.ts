// What the unit tests show in Node, shown once more where it runs: WebCrypto, base64 and JSON of workerd are
// other code. Native results are held against the vectors, which another implementation made.

import { describe, expect, test } from "vitest";
import {
  ephemeralKey,
  importAgreementKey,
  newAgreementKey,
  sharedSecret,
} from "../../src/crypto/agreement.ts";
import { keyIdOf } from "../../src/crypto/hash.ts";
import { isSoundAgreementKey, isSoundSigningKey } from "../../src/crypto/keys.ts";
import { type MessageHeader, open, seal, verifyEnvelope } from "../../src/crypto/seal.ts";
import { importSigningKey, type SigningKey, verify } from "../../src/crypto/signing.ts";
import { UnwrapFailed, wrapperFor } from "../../src/crypto/wrap.ts";
import { concatBytes, fromBase64, toBase64 } from "../../src/protocol/encoding.ts";
import { parseEnvelope } from "../../src/protocol/envelope.ts";
import { newEventId } from "../../src/protocol/ids.ts";
import { canonicalJson, parseJson, utf8 } from "../../src/protocol/json.ts";
import { timestamp } from "../../src/protocol/primitives.ts";
import canonicalVectors from "../vectors/canonical.json";
import envelopeVectors from "../vectors/envelope.json";
import identifierVectors from "../vectors/identifiers.json";
import receiptVectors from "../vectors/receipt.json";
import refusedVectors from "../vectors/refused.json";

const unhex = (digits: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const random = (length: number) => crypto.getRandomValues(new Uint8Array(length));

const header = (sender: SigningKey, to: string): MessageHeader => ({
  event_id: newEventId(),
  event_type: "auth.request",
  to,
  contract_id: sender.id,
  seq: 1,
  timestamp: "2026-03-03T12:00:00.000Z",
  expires_at: "2026-03-03T12:05:00.000Z",
});

describe.each([...envelopeVectors.cases, ...receiptVectors.cases])("the vector “$name”", (one) => {
  test("is read, verified and opened", async () => {
    const parsed = parseEnvelope(utf8(JSON.stringify(one.envelope)));
    if (!parsed.ok) throw new Error(parsed.error);
    expect(await verifyEnvelope(parsed.value, unhex(one.sender_public_key_hex))).toBe(true);
    const recipient = await importAgreementKey(unhex(one.recipient_private_key_hex));
    expect(hex((await open(parsed.value, recipient))!)).toBe(one.plaintext_hex);
  });

  test("is signed to the very bytes by a key imported here", async () => {
    const sender = await importSigningKey(unhex(one.sender_seed_hex));
    expect(hex(sender.publicKey)).toBe(one.sender_public_key_hex);
    expect(hex(await sender.sign(unhex(one.signed_hex)))).toBe(one.signature_hex);
  });

  test("has the shared secret that is agreed here", async () => {
    const ephemeral = await importAgreementKey(unhex(one.ephemeral_private_key_hex));
    expect(hex(ephemeral.publicKey)).toBe(one.ephemeral_public_key_hex);
    const shared = await sharedSecret(ephemeral.privateKey, unhex(one.recipient_public_key_hex));
    expect(hex(shared!)).toBe(one.shared_hex);
  });
});

test.each(canonicalVectors.cases)("canonical form: $name", ({ input, canonical }) => {
  const parsed = parseJson(input);
  expect(parsed.ok && canonicalJson(parsed.value)).toBe(canonical);
});

test.each(identifierVectors.cases.filter(({ kind }) => kind === "identity"))(
  "identity: $name",
  async ({ seed_hex, id }) => expect((await importSigningKey(unhex(seed_hex!))).id).toBe(id),
);

test.each(refusedVectors.cases)("refused, $kind: $name", ({ kind, text, bytes_hex }) => {
  switch (kind) {
    case "json":
      return expect(parseJson(unhex(bytes_hex!)).ok).toBe(false);
    case "base64":
      return expect(fromBase64(text!)).toBeUndefined();
    case "timestamp":
      return expect(timestamp.safeParse(text).success).toBe(false);
    case "signing_key":
      return expect(isSoundSigningKey(unhex(bytes_hex!))).toBe(false);
    case "agreement_key":
      return expect(isSoundAgreementKey(unhex(bytes_hex!))).toBe(false);
    default:
      throw new Error(`no check for ${kind}`);
  }
});

describe("sealing natively", () => {
  test("goes there and back, signed", async () => {
    const [service, user] = [await importSigningKey(random(32)), await importSigningKey(random(32))];
    const { key } = await newAgreementKey();
    const payload = { text: "Grüße 😀" };
    const parsed = parseEnvelope(await seal(service, key.publicKey, header(service, user.id), payload));
    if (!parsed.ok) throw new Error(parsed.error);
    expect(await verifyEnvelope(parsed.value, service.publicKey)).toBe(true);
    expect(await verifyEnvelope(parsed.value, user.publicKey)).toBe(false);
    expect(parseJson((await open(parsed.value, key))!)).toEqual({ ok: true, value: payload });
    expect(await open(parsed.value, (await newAgreementKey()).key)).toBeUndefined();
  });

  test("uses an ephemeral key that cannot be exported", async () => {
    const { privateKey, publicKey } = await ephemeralKey();
    expect(publicKey).toHaveLength(32);
    expect(privateKey.extractable).toBe(false);
    await expect(crypto.subtle.exportKey("pkcs8", privateKey)).rejects.toThrow();
  });

  test("refuses every recipient's key that the vectors refuse", async () => {
    const service = await importSigningKey(random(32));
    for (const { kind, bytes_hex } of refusedVectors.cases)
      if (kind === "agreement_key")
        await expect(
          seal(service, unhex(bytes_hex!), header(service, service.id), {}),
          bytes_hex,
        ).rejects.toThrow(RangeError);
  });
});

describe("verifying natively", () => {
  const bytes = utf8("what was said");

  test("refuses S + L, a changed bit and any length but 64 without throwing", async () => {
    const key = await importSigningKey(random(32));
    const signature = await key.sign(bytes);
    expect(await verify(key.publicKey, bytes, signature)).toBe(true);
    const order = 2n ** 252n + 27742317777372353535851937790883648493n;
    let s = order;
    for (let at = 0; at < 32; at++) s += BigInt(signature[32 + at]!) << BigInt(8 * at);
    const plusOrder = concatBytes(
      signature.subarray(0, 32),
      unhex(s.toString(16).padStart(64, "0")).reverse(),
    );
    expect(plusOrder).toHaveLength(64);
    expect(await verify(key.publicKey, bytes, plusOrder)).toBe(false);
    for (let at = 0; at < 64; at++) {
      const changed = Uint8Array.from(signature);
      changed[at]! ^= 1;
      expect(await verify(key.publicKey, bytes, changed)).toBe(false);
    }
    for (const length of [0, 63, 65])
      expect(await verify(key.publicKey, bytes, new Uint8Array(length))).toBe(false);
    for (const length of [0, 31, 33])
      expect(await verify(new Uint8Array(length), bytes, signature)).toBe(false);
  });

  // Why keys are checked when they are first presented: with this one, anyone can sign anything.
  test("takes a signature by nobody under the identity as a key, which is why that key is refused beforehand", async () => {
    const identity = unhex(`01${"00".repeat(31)}`);
    const byNobody = concatBytes(identity, new Uint8Array(32));
    expect(await verify(identity, bytes, byNobody)).toBe(true);
    expect(isSoundSigningKey(identity)).toBe(false);
  });

  test("refuses an R in another spelling than its canonical one", async () => {
    const identity = unhex(`01${"00".repeat(31)}`);
    const otherSpelling = unhex(`ee${"ff".repeat(30)}7f`);
    expect(await verify(identity, bytes, concatBytes(otherSpelling, new Uint8Array(32)))).toBe(false);
  });
});

test("what is wrapped at rest opens in its place, for its owner, and nowhere else", () => {
  const keks = [random(32), random(32)];
  const stored = wrapperFor(keks, "user 1").wrap({ a: "ß" }, "requests/payload/1");
  expect(wrapperFor(keks, "user 1").unwrap(stored, "requests/payload/1")).toEqual({ a: "ß" });
  expect(() => wrapperFor(keks, "user 1").unwrap(stored, "requests/payload/2")).toThrow(UnwrapFailed);
  expect(() => wrapperFor(keks, "user 2").unwrap(stored, "requests/payload/1")).toThrow(UnwrapFailed);
  expect(() => wrapperFor([keks[1]!], "user 1").unwrap(stored, "requests/payload/1")).toThrow(UnwrapFailed);
});

test("a key id made here is the one that was named", async () => {
  const { key, secret } = await newAgreementKey();
  expect(key.keyId).toBe(keyIdOf(key.publicKey));
  expect((await importAgreementKey(Uint8Array.from(secret))).publicKeyText).toBe(toBase64(key.publicKey));
});
