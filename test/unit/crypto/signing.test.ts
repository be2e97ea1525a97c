import { ed25519 } from "@noble/curves/ed25519.js";
import fc from "fast-check";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { identityOf, labelled, labelledJson } from "../../../src/crypto/hash.ts";
import { importSigningKey, signJson, verify, verifyJson } from "../../../src/crypto/signing.ts";
import { concatBytes, toBase64 } from "../../../src/protocol/encoding.ts";
import { utf8 } from "../../../src/protocol/json.ts";
import { LABELS } from "../../../src/protocol/labels.ts";
import { flipped, HEAVY_TEST_TIMEOUT_MS, type Person, person } from "./people.ts";
import { form, labelledSignature, unhex } from "./reference.ts";

vi.setConfig({ testTimeout: HEAVY_TEST_TIMEOUT_MS });

const GROUP_ORDER = ed25519.Point.Fn.ORDER;

/** The signature with another S, written in 32 bytes. */
function withS(signature: Uint8Array, change: (s: bigint) => bigint): Uint8Array {
  const digits = Buffer.from(signature.subarray(32)).reverse().toString("hex");
  const s = change(BigInt(`0x${digits}`));
  const bytes = Buffer.from(s.toString(16).padStart(64, "0"), "hex").reverse();
  return concatBytes(signature.subarray(0, 32), bytes);
}

let alice: Person;
let mallory: Person;
beforeAll(async () => {
  alice = await person("alice");
  mallory = await person("mallory");
});

describe("importSigningKey", () => {
  // RFC 8032 §7.1, tests 1 to 3.
  test.each([
    [
      "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
      "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
      "",
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ],
    [
      "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
      "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
      "72",
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ],
    [
      "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
      "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
      "af82",
      "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ],
  ])("signs as RFC 8032 §7.1 with the seed %s", async (seed, publicKey, bytes, signature) => {
    const key = await importSigningKey(unhex(seed) as Uint8Array<ArrayBuffer>);
    expect(key.publicKey).toEqual(unhex(publicKey));
    expect(key.publicKeyText).toBe(toBase64(unhex(publicKey)));
    expect(key.id).toBe(identityOf(unhex(publicKey)));
    expect(await key.sign(unhex(bytes))).toEqual(unhex(signature));
    expect(await verify(key.publicKey, unhex(bytes), unhex(signature))).toBe(true);
  });

  test("signs what noble signs, for any seed and bytes", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.uint8Array({ maxLength: 300 }),
        async (seed, bytes) => {
          const key = await importSigningKey(Uint8Array.from(seed));
          expect(key.publicKey).toEqual(ed25519.getPublicKey(seed));
          expect(await key.sign(bytes)).toEqual(ed25519.sign(bytes, seed));
        },
      ),
      { numRuns: 25 },
    );
  });

  test.each([0, 31, 33, 64])("throws for a seed of %i bytes", async (length) => {
    await expect(importSigningKey(new Uint8Array(length))).rejects.toThrow(RangeError);
  });
});

describe("verify", () => {
  const bytes = utf8("what was said");

  test("takes what noble signed, and refuses it after any change of key or bytes", async () => {
    const signature = ed25519.sign(bytes, alice.seed);
    expect(await verify(alice.signing.publicKey, bytes, signature)).toBe(true);
    expect(await verify(mallory.signing.publicKey, bytes, signature)).toBe(false);
    expect(await verify(alice.signing.publicKey, utf8("what was not"), signature)).toBe(false);
    expect(await verify(alice.signing.publicKey, new Uint8Array(0), signature)).toBe(false);
  });

  test("refuses a signature with any one of its 512 bits flipped", async () => {
    const signature = await alice.signing.sign(bytes);
    for (let bit = 0; bit < 512; bit++)
      expect(await verify(alice.signing.publicKey, bytes, flipped(signature, bit)), `bit ${bit}`).toBe(false);
  });

  test("agrees with noble's strict rules on S: below the group order, and nothing congruent to it", async () => {
    const signature = await alice.signing.sign(bytes);
    for (const [name, forged] of Object.entries({
      "S + L": withS(signature, (s) => s + GROUP_ORDER),
      "S + 2L": withS(signature, (s) => s + 2n * GROUP_ORDER),
      "L − S": withS(signature, (s) => GROUP_ORDER - s),
      "S = L": withS(signature, () => GROUP_ORDER),
      "S = 0": withS(signature, () => 0n),
      "S = 2^256 − 1": withS(signature, () => 2n ** 256n - 1n),
    })) {
      expect(await verify(alice.signing.publicKey, bytes, forged), name).toBe(false);
      expect(ed25519.verify(forged, bytes, alice.signing.publicKey, { zip215: false }), name).toBe(false);
    }
    expect(withS(signature, (s) => s)).toEqual(signature);
  });

  // Under a key of small order S·B = R + k·A has solutions for any message; the spelling of R decides then.
  test("refuses an R that is not the canonical spelling of its point", async () => {
    const identity = unhex(`01${"00".repeat(31)}`);
    const notCanonical = unhex(`ee${"ff".repeat(30)}7f`);
    const zero = new Uint8Array(32);
    expect(ed25519.Point.fromBytes(notCanonical, true).equals(ed25519.Point.ZERO)).toBe(true);
    expect(await verify(identity, bytes, concatBytes(notCanonical, zero))).toBe(false);
  });

  test.each([0, 32, 63, 65, 128])(
    "is false, and does not throw, for a signature of %i bytes",
    async (length) => {
      expect(await verify(alice.signing.publicKey, bytes, new Uint8Array(length))).toBe(false);
    },
  );

  test.each([0, 31, 33])("is false, and does not throw, for a key of %i bytes", async (length) => {
    expect(await verify(new Uint8Array(length), bytes, await alice.signing.sign(bytes))).toBe(false);
  });

  test("does not mix keys up when more of them are used than it keeps", async () => {
    const signature = await alice.signing.sign(bytes);
    expect(await verify(alice.signing.publicKey, bytes, signature)).toBe(true);
    for (let other = 0; other < 4_200; other++) {
      const key = new Uint8Array(32).fill(3);
      new DataView(key.buffer).setUint32(4, other);
      await verify(key, bytes, signature);
    }
    expect(await verify(alice.signing.publicKey, bytes, signature)).toBe(true);
    expect(await verify(mallory.signing.publicKey, bytes, signature)).toBe(false);
  });
});

describe("signJson and verifyJson", () => {
  const value = { b: 1, a: "ß", nested: { z: [true, null], y: 0.5 } };

  test("cover label, line feed and canonical form, as an independent implementation signs", async () => {
    const signature = await signJson(alice.signing, LABELS.contract, value);
    expect(signature).toBe(toBase64(labelledSignature(alice.seed, LABELS.contract, value)));
    expect(labelledJson(LABELS.contract, value)).toEqual(form(LABELS.contract, value));
  });

  test("hold whatever the order of members", async () => {
    const signature = await signJson(alice.signing, LABELS.contract, value);
    const { a, b, nested } = value;
    const same = { nested: { y: nested.y, z: nested.z }, a, b };
    expect(await verifyJson(alice.signing.publicKeyText, LABELS.contract, same, signature)).toBe(true);
  });

  test("do not hold under any other label", async () => {
    const signature = await signJson(alice.signing, LABELS.contract, value);
    for (const label of Object.values(LABELS))
      expect(await verifyJson(alice.signing.publicKeyText, label, value, signature), label).toBe(
        label === LABELS.contract,
      );
  });

  test("do not hold for bytes that merely contain the labelled form", async () => {
    const signature = toBase64(await alice.signing.sign(utf8(JSON.stringify(value))));
    expect(await verifyJson(alice.signing.publicKeyText, LABELS.contract, value, signature)).toBe(false);
    expect(labelled(LABELS.contract, "{}")).toEqual(utf8("vettid-contract-v1\n{}"));
  });

  test.each<[string, unknown]>([
    ["a changed value", { ...value, b: 2 }],
    ["a number become text", { ...value, b: "1" }],
    ["a field more", { ...value, c: 1 }],
    ["a field that is null", { ...value, c: null }],
    ["a field less", { a: value.a, b: value.b }],
    ["another order in an array", { ...value, nested: { z: [null, true], y: 0.5 } }],
    ["other letters of the same meaning", { ...value, a: "ss" }],
  ])("do not hold for %s", async (_name, changed) => {
    const signature = await signJson(alice.signing, LABELS.contract, value);
    expect(await verifyJson(alice.signing.publicKeyText, LABELS.contract, changed, signature)).toBe(false);
  });

  test("are false for a key or a signature that is not canonical base64", async () => {
    const signature = await signJson(alice.signing, LABELS.contract, value);
    const key = alice.signing.publicKeyText;
    const holds = (a: string, b: string) => verifyJson(a, LABELS.contract, value, b);
    expect(await holds(key, signature)).toBe(true);
    for (const [a, b] of [
      [key.replace("=", ""), signature],
      [key, signature.replace("==", "")],
      [key, ` ${signature}`],
      [`${key}\n`, signature],
      ["", signature],
      [key, ""],
    ] as const)
      expect(await holds(a, b)).toBe(false);
  });
});
