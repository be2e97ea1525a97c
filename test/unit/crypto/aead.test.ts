// XChaCha20-Poly1305 as it is put together from the platform's ChaCha20-Poly1305, against @noble's own. Its published
// vectors are Wycheproof's (test/workerd/wycheproof.test.ts).

import { xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import fc from "fast-check";
import { afterEach, describe, expect, test, vi } from "vitest";
import { decrypt, encrypt } from "../../../src/crypto/aead.ts";
import { platformCrypto } from "../../../src/crypto/platform.ts";
import { flipped, HEAVY_TEST_TIMEOUT_MS } from "./people.ts";

vi.setConfig({ testTimeout: HEAVY_TEST_TIMEOUT_MS });

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const anyBytes = fc.uint8Array({ maxLength: 3_000 });
const key = new Uint8Array(32).fill(7);
const nonce = Uint8Array.from({ length: 24 }, (_, at) => at);
const aad = Uint8Array.of(1, 2, 3);

test("the platform of these tests has what is put together", () => {
  expect(platformCrypto).toBeDefined();
});

test("seals to the very bytes @noble seals to, for any key, nonce and lengths", () => {
  fc.assert(
    fc.property(bytes(32), bytes(24), anyBytes, anyBytes, (key, nonce, aad, plaintext) => {
      const expected = xchacha20poly1305(key, nonce, aad).encrypt(plaintext);
      expect(encrypt(key, nonce, aad, plaintext)).toEqual(expected);
      expect(decrypt(key, nonce, aad, expected)).toEqual(plaintext);
    }),
    { numRuns: 300 },
  );
});

test.each([0, 1, 15, 16, 17, 63, 64, 65, 127, 128, 70_000])("the same with %i bytes", (length) => {
  const plaintext = new Uint8Array(length).fill(3);
  const ciphertext = encrypt(key, nonce, aad, plaintext);
  expect(ciphertext.length).toBe(length + 16);
  expect(decrypt(key, nonce, aad, ciphertext)).toEqual(plaintext);
  expect(xchacha20poly1305(key, nonce, aad).decrypt(ciphertext)).toEqual(plaintext);
});

test("reads bytes that lie at odd places of a larger buffer, and changes none of them", () => {
  const lying = (value: Uint8Array) => {
    const buffer = new Uint8Array(value.length + 3);
    buffer.set(value, 1);
    return buffer.subarray(1, 1 + value.length);
  };
  const plaintext = new Uint8Array(100).fill(9);
  const parts = [key, nonce, aad, plaintext].map(lying) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
  const ciphertext = encrypt(...parts);
  expect(ciphertext).toEqual(encrypt(key, nonce, aad, plaintext));
  expect(decrypt(parts[0], parts[1], parts[2], lying(ciphertext))).toEqual(plaintext);
  expect(parts).toEqual([key, nonce, aad, plaintext]);
});

test("nothing opens with a byte changed in key, nonce, associated data, ciphertext or tag", () => {
  const ciphertext = encrypt(key, nonce, aad, new Uint8Array(70));
  expect(decrypt(key, nonce, aad, ciphertext)).toBeDefined();
  for (let at = 0; at < 32; at++) expect(decrypt(flipped(key, at), nonce, aad, ciphertext)).toBeUndefined();
  for (let at = 0; at < 24; at++) expect(decrypt(key, flipped(nonce, at), aad, ciphertext)).toBeUndefined();
  for (let at = 0; at < 3; at++) expect(decrypt(key, nonce, flipped(aad, at), ciphertext)).toBeUndefined();
  for (let at = 0; at < ciphertext.length; at++)
    expect(decrypt(key, nonce, aad, flipped(ciphertext, at))).toBeUndefined();
  for (let length = 0; length < ciphertext.length; length++)
    expect(decrypt(key, nonce, aad, ciphertext.subarray(0, length))).toBeUndefined();
});

test.each([0, 12, 23, 25])("a nonce of %i bytes is refused", (length) => {
  expect(() => encrypt(key, new Uint8Array(length), aad, key)).toThrow(RangeError);
  expect(decrypt(key, new Uint8Array(length), aad, new Uint8Array(40))).toBeUndefined();
});

test.each([0, 16, 31, 33])("a key of %i bytes is refused", (length) => {
  expect(() => encrypt(new Uint8Array(length), nonce, aad, key)).toThrow(RangeError);
  expect(decrypt(new Uint8Array(length), nonce, aad, new Uint8Array(40))).toBeUndefined();
});

describe("where the platform has", () => {
  afterEach(() => {
    vi.doUnmock("../../../src/crypto/platform.ts");
    vi.resetModules();
  });

  test.each([
    ["no cryptography of Node's", undefined],
    [
      "no such cipher",
      {
        createCipheriv: () => {
          throw new Error("Unknown cipher");
        },
      },
    ],
  ])("%s, @noble seals and opens", async (_name, platform) => {
    vi.resetModules();
    vi.doMock("../../../src/crypto/platform.ts", () => ({ platformCrypto: platform }));
    const other = await import("../../../src/crypto/aead.ts");
    expect(other.encrypt).not.toBe(encrypt);
    const ciphertext = other.encrypt(key, nonce, aad, key);
    expect(ciphertext).toEqual(encrypt(key, nonce, aad, key));
    expect(other.decrypt(key, nonce, aad, ciphertext)).toEqual(key);
    expect(other.decrypt(key, nonce, aad, flipped(ciphertext, 0))).toBeUndefined();
  });
});
