import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import {
  auditHashOf,
  contractIdOf,
  deriveKey,
  hashOf,
  hmacSha256,
  identityOf,
  keyIdOf,
  offerIdOf,
  requestDigestOf,
  resultDigestOf,
  sha256,
} from "../../../src/crypto/hash.ts";
import { fromBase58 } from "../../../src/protocol/encoding.ts";
import { utf8 } from "../../../src/protocol/json.ts";
import { LABELS } from "../../../src/protocol/labels.ts";
import { HEAVY_TEST_TIMEOUT_MS } from "./people.ts";
import { base58, base64, hex, labelledHash, unhex, type Value } from "./reference.ts";

vi.setConfig({ testTimeout: HEAVY_TEST_TIMEOUT_MS });

test("sha256 is that of FIPS 180-4", () => {
  expect(hex(sha256(utf8("abc")))).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  expect(hex(sha256(new Uint8Array(0)))).toBe(
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
  );
});

test("where the platform has no cryptography of Node's, hashes and derived keys are the same", async () => {
  vi.resetModules();
  vi.doMock("../../../src/crypto/platform.ts", () => ({ platformCrypto: undefined }));
  const other = await import("../../../src/crypto/hash.ts");
  vi.doUnmock("../../../src/crypto/platform.ts");
  expect(other.sha256).not.toBe(sha256);
  for (const length of [0, 1, 32, 55, 56, 64, 1_000]) {
    const bytes = new Uint8Array(length).fill(length);
    expect(other.sha256(bytes)).toEqual(sha256(bytes));
    expect(other.deriveKey(bytes, bytes, bytes, 32)).toEqual(deriveKey(bytes, bytes, bytes, 32));
  }
});

test("deriveKey is HKDF-SHA256: RFC 5869 A.1 and A.3", () => {
  expect(
    hex(
      deriveKey(
        new Uint8Array(22).fill(0x0b),
        unhex("000102030405060708090a0b0c"),
        unhex("f0f1f2f3f4f5f6f7f8f9"),
        42,
      ),
    ),
  ).toBe("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
  expect(hex(deriveKey(new Uint8Array(22).fill(0x0b), new Uint8Array(0), new Uint8Array(0), 42))).toBe(
    "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
  );
});

test("hmacSha256 is that of RFC 4231 §4.2 and §4.7", async () => {
  expect(hex(await hmacSha256(new Uint8Array(20).fill(0x0b), utf8("Hi There")))).toBe(
    "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
  );
  const longKey = new Uint8Array(131).fill(0xaa);
  expect(hex(await hmacSha256(longKey, utf8("Test Using Larger Than Block-Size Key - Hash Key First")))).toBe(
    "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
  );
});

describe("hashOf", () => {
  test("is that of an independent implementation, for any value and label", () => {
    const label = fc.constantFrom(...Object.values(LABELS));
    fc.assert(
      fc.property(label, fc.jsonValue({ maxDepth: 3, stringUnit: "binary" }), (name, value) => {
        expect(hashOf(name, value)).toEqual(labelledHash(name, value as Value));
      }),
    );
  });

  test("gives one value as many hashes as there are labels", () => {
    const hashes = Object.values(LABELS).map((label) => hex(hashOf(label, {})));
    expect(new Set(hashes).size).toBe(hashes.length);
  });
});

test("an identity is base58 of all 32 bytes, a key id of the first 8", () => {
  const key = unhex("11".repeat(32));
  expect(identityOf(key)).toBe(base58(sha256(key)));
  expect(keyIdOf(key)).toBe(base58(sha256(key).subarray(0, 8)));
  expect(fromBase58(identityOf(key))).toHaveLength(32);
  expect(fromBase58(keyIdOf(key))).toHaveLength(8);
});

describe("an id of something signed", () => {
  test("offerIdOf leaves out offer_id and signature, and nothing else", () => {
    const offer = { v: 1, service_name: "x" };
    expect(offerIdOf({ ...offer, offer_id: "a", signature: "b" })).toBe(offerIdOf(offer));
    expect(offerIdOf({ ...offer, offer_signature: "b" })).not.toBe(offerIdOf(offer));
    expect(offerIdOf({ ...offer, nested: { signature: "b" } })).not.toBe(offerIdOf({ ...offer, nested: {} }));
    expect(offerIdOf(offer)).toBe(base58(labelledHash("vettid-offer-id-v1", offer)));
  });

  test("contractIdOf leaves nothing out", () => {
    const contract = { v: 1, user_id: "x" };
    expect(contractIdOf(contract)).toBe(base58(labelledHash("vettid-contract-id-v1", contract)));
    for (const name of ["contract_id", "signature", "supersedes"])
      expect(contractIdOf({ ...contract, [name]: "a" })).not.toBe(contractIdOf(contract));
  });

  test("auditHashOf leaves out event_hash and signature, and nothing else", () => {
    const entry = { event_id: "x", previous_hash: "y" };
    expect(auditHashOf({ ...entry, event_hash: "a", signature: "b" })).toBe(auditHashOf(entry));
    expect(auditHashOf({ ...entry, salt: "b" })).not.toBe(auditHashOf(entry));
    expect(auditHashOf(entry)).toBe(base64(labelledHash("vettid-audit-id-v1", entry)));
  });

  test("none of them changes what it is given", () => {
    const value = Object.freeze({ offer_id: "a", signature: "b", event_hash: "c" });
    offerIdOf(value);
    auditHashOf(value);
    expect(value).toEqual({ offer_id: "a", signature: "b", event_hash: "c" });
  });
});

test("a request's digest covers every field of the payload, known or not", () => {
  const payload = { request_id: "x", kind: "auth" };
  expect(requestDigestOf(payload)).toBe(base64(labelledHash("vettid-request-v1", payload)));
  expect(requestDigestOf({ ...payload, unknown: 1 })).not.toBe(requestDigestOf(payload));
});

test("a result's digest depends on its salt: the same result under two salts cannot be recognised", () => {
  const result = { over_18: true };
  expect(resultDigestOf(result, "a")).toBe(base64(labelledHash("vettid-result-v1", { salt: "a", result })));
  expect(resultDigestOf(result, "b")).not.toBe(resultDigestOf(result, "a"));
});
