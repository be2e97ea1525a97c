import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromBase58, toBase58 } from "../../../src/protocol/encoding.ts";
import {
  MAX_ROW,
  newEventId,
  newRoutedId,
  parseRoutedId,
  randomBytes,
  randomDigits,
  routedRow,
} from "../../../src/protocol/ids.ts";
import { eventId, identityId } from "../../../src/protocol/primitives.ts";

const user = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(toBase58);
const anyUser = toBase58(Uint8Array.from({ length: 32 }, (_, at) => 255 - at));

describe("an event id", () => {
  test("is base58 of 22 or 23 characters, and never the same twice", () => {
    const ids = Array.from({ length: 2_000 }, newEventId);
    expect(new Set(ids).size).toBe(ids.length);
    for (const id of ids) {
      expect(id).toMatch(/^[1-9A-HJ-NP-Za-km-z]{22,23}$/);
      expect(eventId.safeParse(id).success).toBe(true);
    }
  });

  test("has 128 bits that are drawn anew: each of them is sometimes 0 and sometimes 1", () => {
    const seen = Array.from({ length: 128 }, () => new Set<boolean>());
    for (let draw = 0; draw < 100; draw++) {
      let number = [...newEventId()].reduce(
        (total, letter) =>
          total * 58n + BigInt("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz".indexOf(letter)),
        0n,
      );
      for (const bit of seen) {
        bit.add(number % 2n === 1n);
        number /= 2n;
      }
      expect(number).toBe(1n);
    }
    expect(seen.every((bit) => bit.size === 2)).toBe(true);
  });
});

describe("a routed id", () => {
  test("leads back to its user and row, for every user and row", () => {
    fc.assert(
      fc.property(user, fc.integer({ min: 0, max: MAX_ROW }), (userId, row) => {
        const id = newRoutedId(userId, row);
        expect(parseRoutedId(id)).toEqual({ userId, row });
        expect(routedRow(id)).toBe(row);
        expect(eventId.safeParse(id).success).toBe(true);
      }),
    );
  });

  test.each([0, 1, 255, 256, 2 ** 32 - 1, 2 ** 32, MAX_ROW])("carries the row %i", (row) => {
    expect(parseRoutedId(newRoutedId(anyUser, row))?.row).toBe(row);
  });

  test.each([
    ["all zero", new Uint8Array(32)],
    ["all ones", new Uint8Array(32).fill(255)],
    ["led by zeros", Uint8Array.from({ length: 32 }, (_, at) => (at < 20 ? 0 : at))],
  ])("leads back to a user id that is %s", (_name, bytes) => {
    const userId = toBase58(bytes);
    expect(identityId.safeParse(userId).success).toBe(true);
    const id = newRoutedId(userId, 7);
    expect(parseRoutedId(id)).toEqual({ userId, row: 7 });
    expect(eventId.safeParse(id).success).toBe(true);
  });

  test("differs each time, for the same user and row", () => {
    const ids = Array.from({ length: 100 }, () => newRoutedId(anyUser, 1));
    expect(new Set(ids).size).toBe(ids.length);
  });

  test.each([-1, 0.5, MAX_ROW + 1, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY])(
    "is not made for the row %d",
    (row) => expect(() => newRoutedId(anyUser, row)).toThrow(RangeError),
  );

  test.each([
    ["nothing", ""],
    ["31 bytes", toBase58(new Uint8Array(31).fill(9))],
    ["33 bytes", toBase58(new Uint8Array(33).fill(9))],
    ["not base58", "0".repeat(44)],
    ["an id that is routed already", newRoutedId(anyUser, 1)],
  ])("is not made for a user id that is %s", (_name, userId) => {
    expect(() => newRoutedId(userId, 1)).toThrow(TypeError);
  });

  test.each([
    ["nothing", ""],
    ["an event id", newEventId()],
    ["a user id", anyUser],
    ["53 bytes", toBase58(randomBytes(53).fill(9))],
    ["55 bytes", toBase58(randomBytes(55).fill(9))],
    ["one letter more", `${newRoutedId(anyUser, 1)}2`],
    ["two letters less", newRoutedId(anyUser, 1).slice(2)],
    ["a leading 1 more", `1${newRoutedId(anyUser, 1)}`],
    ["a letter outside base58", newRoutedId(anyUser, 1).replace(/.$/, "0")],
    ["a space behind", `${newRoutedId(anyUser, 1)} `],
    ["97 characters", "1".repeat(97)],
  ])("is not read from %s", (_name, id) => {
    expect(parseRoutedId(id)).toBeUndefined();
    expect(routedRow(id)).toBeUndefined();
  });

  test("is read from any 54 bytes as 32 bytes of user, 6 of row and 16 that say nothing", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 54, maxLength: 54 }), (bytes) => {
        expect(parseRoutedId(toBase58(bytes))).toEqual({
          userId: toBase58(bytes.subarray(0, 32)),
          row: Number.parseInt(Buffer.from(bytes.subarray(32, 38)).toString("hex"), 16),
        });
      }),
    );
  });

  test("is not read from arbitrary text", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ maxLength: 200 }), fc.base64String({ maxLength: 200 })), (text) => {
        if (fromBase58(text)?.length !== 54) expect(parseRoutedId(text)).toBeUndefined();
      }),
      { numRuns: 1_000 },
    );
  });
});

test.each([1, 2, 6, 9])(
  "randomDigits gives %i digits, leading zeros included, and every digit in every place",
  (count) => {
    const seen = Array.from({ length: count }, () => new Set<string>());
    for (let draw = 0; draw < 400; draw++) {
      const digits = randomDigits(count);
      expect(digits).toMatch(new RegExp(`^[0-9]{${count}}$`));
      for (const [place, digit] of [...digits].entries()) seen[place]!.add(digit);
    }
    for (const place of seen) expect(place.size).toBe(10);
  },
);
