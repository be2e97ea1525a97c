import { x25519 } from "@noble/curves/ed25519.js";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  ephemeralKey,
  importAgreementKey,
  newAgreementKey,
  sharedSecret,
} from "../../../src/crypto/agreement.ts";
import { keyIdOf } from "../../../src/crypto/hash.ts";
import { isSoundAgreementKey } from "../../../src/crypto/keys.ts";
import { toBase64 } from "../../../src/protocol/encoding.ts";
import { seedOf } from "./people.ts";
import { hex, unhex } from "./reference.ts";

describe("importAgreementKey", () => {
  test("gives the public key that noble gives, for any secret", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 32, maxLength: 32 }), async (secret) => {
        const key = await importAgreementKey(Uint8Array.from(secret));
        expect(key.publicKey).toEqual(x25519.getPublicKey(secret));
        expect(key.publicKeyText).toBe(toBase64(key.publicKey));
        expect(key.keyId).toBe(keyIdOf(key.publicKey));
      }),
      { numRuns: 25 },
    );
  });

  test.each([0, 31, 33])("throws for a secret of %i bytes", async (length) => {
    await expect(importAgreementKey(new Uint8Array(length))).rejects.toThrow(RangeError);
  });
});

test("a new key is sound, comes with its secret, and is another each time", async () => {
  const [first, second] = [await newAgreementKey(), await newAgreementKey()];
  expect(first.key.publicKey).toEqual(x25519.getPublicKey(first.secret));
  expect(isSoundAgreementKey(first.key.publicKey)).toBe(true);
  expect(first.key.keyId).not.toBe(second.key.keyId);
});

test("the private half of a key for one message cannot be exported", async () => {
  const { privateKey, publicKey } = await ephemeralKey();
  expect(publicKey).toHaveLength(32);
  expect(privateKey.extractable).toBe(false);
  await expect(crypto.subtle.exportKey("pkcs8", privateKey)).rejects.toThrow();
  expect(hex((await ephemeralKey()).publicKey)).not.toBe(hex(publicKey));
});

describe("sharedSecret", () => {
  test("is that of RFC 7748 §6.1", async () => {
    const alice = await importAgreementKey(
      Uint8Array.from(unhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")),
    );
    expect(hex(alice.publicKey)).toBe("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
    const bob = unhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
    expect(hex((await sharedSecret(alice.privateKey, bob))!)).toBe(
      "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
    );
  });

  test("is the same on both sides, and what noble computes", async () => {
    const [ours, theirs] = [seedOf("ours"), seedOf("theirs")];
    const [a, b] = [await importAgreementKey(ours), await importAgreementKey(theirs)];
    const shared = await sharedSecret(a.privateKey, b.publicKey);
    expect(shared).toEqual(await sharedSecret(b.privateKey, a.publicKey));
    expect(shared).toEqual(x25519.getSharedSecret(ours, b.publicKey));
  });

  test.each([
    ["0", "00".repeat(32)],
    ["1", `01${"00".repeat(31)}`],
    ["of order 8", "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"],
    ["of order 8, the other", "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"],
    ["p − 1", `ec${"ff".repeat(30)}7f`],
    ["p", `ed${"ff".repeat(30)}7f`],
    ["p + 1", `ee${"ff".repeat(30)}7f`],
    ["p + 9, another spelling of the base point", `f6${"ff".repeat(30)}7f`],
    ["9 with the high bit set", `09${"00".repeat(30)}80`],
    ["31 bytes", "09".repeat(31)],
    ["33 bytes", "09".repeat(33)],
    ["empty", ""],
  ])("is undefined when the other side's key is %s", async (_name, encoding) => {
    const { privateKey } = await importAgreementKey(seedOf("ours"));
    expect(await sharedSecret(privateKey, unhex(encoding))).toBeUndefined();
  });
});
