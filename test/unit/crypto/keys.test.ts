import { ED25519_TORSION_SUBGROUP, ed25519, x25519 } from "@noble/curves/ed25519.js";
import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { isCanonicalAgreementKey, isSoundAgreementKey, isSoundSigningKey } from "../../../src/crypto/keys.ts";
import { HEAVY_TEST_TIMEOUT_MS } from "./people.ts";
import { hex, unhex } from "./reference.ts";

vi.setConfig({ testTimeout: HEAVY_TEST_TIMEOUT_MS });

const seed = fc.uint8Array({ minLength: 32, maxLength: 32 });
const { Point } = ed25519;

describe("a signing key", () => {
  test("is sound when it was made from a seed", () => {
    fc.assert(
      fc.property(seed, (bytes) => {
        expect(isSoundSigningKey(ed25519.getPublicKey(bytes))).toBe(true);
      }),
      { numRuns: 20 },
    );
  });

  test.each(ED25519_TORSION_SUBGROUP)("is refused when it is the point of small order %s", (encoding) => {
    expect(isSoundSigningKey(unhex(encoding))).toBe(false);
  });

  test("the points of small order are all eight, the identity among them", () => {
    expect(new Set(ED25519_TORSION_SUBGROUP).size).toBe(8);
    expect(ED25519_TORSION_SUBGROUP).toContain(`01${"00".repeat(31)}`);
  });

  test("is refused with any torsion part, sound as the rest may be", () => {
    const sound = Point.fromBytes(ed25519.getPublicKey(new Uint8Array(32).fill(7)));
    const identity = `01${"00".repeat(31)}`;
    for (const encoding of ED25519_TORSION_SUBGROUP) {
      const mixed = sound.add(Point.fromBytes(unhex(encoding))).toBytes();
      expect(isSoundSigningKey(mixed), encoding).toBe(encoding === identity);
    }
  });

  // Every y of p or more that fits in 255 bits, with either sign: all encode a y that has a shorter spelling.
  test.each(Array.from({ length: 19 }, (_, at) => at))("is refused when y is written as p + %i", (excess) => {
    const y = `${(0xed + excess).toString(16)}${"ff".repeat(30)}`;
    expect(isSoundSigningKey(unhex(`${y}7f`))).toBe(false);
    expect(isSoundSigningKey(unhex(`${y}ff`))).toBe(false);
  });

  test.each([
    ["zero with a sign, at y = 1", `01${"00".repeat(30)}80`],
    ["zero with a sign, at y = −1", `ec${"ff".repeat(31)}`],
    ["not on the curve", `02${"00".repeat(31)}`],
  ])("is refused when x is %s", (_name, encoding) => expect(isSoundSigningKey(unhex(encoding))).toBe(false));

  test.each([0, 31, 33, 64])("is refused when it has %i bytes", (length) => {
    expect(isSoundSigningKey(new Uint8Array(length).fill(1))).toBe(false);
  });

  test("is left as it was", () => {
    const key = ed25519.getPublicKey(new Uint8Array(32).fill(7));
    const before = hex(key);
    isSoundSigningKey(key);
    expect(hex(key)).toBe(before);
  });
});

// https://cr.yp.to/ecdh.html#validate, those below p; the others there are not canonical.
const X25519_SMALL_ORDER = [
  "00".repeat(32),
  `01${"00".repeat(31)}`,
  "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
  "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
  `ec${"ff".repeat(30)}7f`,
];

describe("an agreement key", () => {
  test("is sound when it was made from a secret", () => {
    fc.assert(
      fc.property(seed, (bytes) => {
        expect(isSoundAgreementKey(x25519.getPublicKey(bytes))).toBe(true);
      }),
      { numRuns: 20 },
    );
  });

  test.each(X25519_SMALL_ORDER)("is refused when it is the point of small order %s", (encoding) => {
    expect(isCanonicalAgreementKey(unhex(encoding))).toBe(true);
    expect(isSoundAgreementKey(unhex(encoding))).toBe(false);
  });

  test.each(Array.from({ length: 19 }, (_, at) => at))(
    "is refused when it is written as p + %i",
    (excess) => {
      const encoding = unhex(`${(0xed + excess).toString(16)}${"ff".repeat(30)}7f`);
      expect(isCanonicalAgreementKey(encoding)).toBe(false);
      expect(isSoundAgreementKey(encoding)).toBe(false);
    },
  );

  test("is refused with the high bit set, whichever key it is otherwise", () => {
    const key = x25519.getPublicKey(new Uint8Array(32).fill(7));
    expect(isSoundAgreementKey(key)).toBe(true);
    key[31]! |= 0x80;
    expect(isSoundAgreementKey(key)).toBe(false);
    for (const encoding of [...X25519_SMALL_ORDER, `09${"00".repeat(31)}`]) {
      const marked = unhex(encoding);
      marked[31]! |= 0x80;
      expect(isSoundAgreementKey(marked), encoding).toBe(false);
    }
  });

  test("may be the base point, a point on the twist, and the largest canonical one", () => {
    expect(isSoundAgreementKey(unhex(`09${"00".repeat(31)}`))).toBe(true);
    expect(isSoundAgreementKey(unhex(`02${"00".repeat(31)}`))).toBe(true);
    expect(isSoundAgreementKey(unhex(`eb${"ff".repeat(30)}7f`))).toBe(true);
  });

  test.each([0, 31, 33])("is refused when it has %i bytes", (length) => {
    expect(isSoundAgreementKey(new Uint8Array(length).fill(9))).toBe(false);
  });
});
