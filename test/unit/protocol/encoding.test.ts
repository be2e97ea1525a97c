import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import {
  concatBytes,
  equalBytes,
  fromBase58,
  fromBase64,
  toBase58,
  toBase64,
} from "../../../src/protocol/encoding.ts";
import { HEAVY_TEST_TIMEOUT_MS } from "../crypto/people.ts";
import { base58, unhex } from "../crypto/reference.ts";

vi.setConfig({ testTimeout: HEAVY_TEST_TIMEOUT_MS });

const anyBytes = (maxLength = 100) => fc.uint8Array({ maxLength });

describe("base64", () => {
  // RFC 4648 §10.
  test.each([
    ["", ""],
    ["66", "Zg=="],
    ["666f", "Zm8="],
    ["666f6f", "Zm9v"],
    ["666f6f62", "Zm9vYg=="],
    ["666f6f6261", "Zm9vYmE="],
    ["666f6f626172", "Zm9vYmFy"],
    ["fbff", "+/8="],
  ])("of %s is %s, and back", (digits, text) => {
    expect(toBase64(unhex(digits))).toBe(text);
    expect(fromBase64(text)).toEqual(unhex(digits));
  });

  test("of any bytes is what the platform writes, and comes back", () => {
    fc.assert(
      fc.property(anyBytes(), (bytes) => {
        expect(toBase64(bytes)).toBe(Buffer.from(bytes).toString("base64"));
        expect(fromBase64(toBase64(bytes))).toEqual(new Uint8Array(bytes));
      }),
    );
  });

  test.each([
    ["padding left out, two letters", "Zg"],
    ["padding left out, three letters", "Zm8"],
    ["half the padding", "Zg="],
    ["too much padding", "Zg==="],
    ["padding nobody needs", "Zm9v===="],
    ["one padding letter too many", "Zm8=="],
    ["padding alone", "===="],
    ["padding in the middle", "Zg==Zg=="],
    ["text after the padding", "Zg==Z"],
    ["bits after the last byte, of four", "Zh=="],
    ["bits after the last byte, of two", "Zm9="],
    ["the largest bits after the last byte", "//=="],
    ["a single letter", "Z"],
    ["five letters", "Zm9vY"],
    ["the URL alphabet's minus", "-_8="],
    ["the URL alphabet's underscore", "A_8="],
    ["a space in front", " Zg=="],
    ["a space behind", "Zg== "],
    ["a space inside", "Zm 9v"],
    ["a line feed behind", "Zg==\n"],
    ["line breaks inside", "Zm9v\r\nZm9v"],
    ["a tab", "Zm9v\tZm9v"],
    ["a form feed", "\fZm9v"],
    ["a no-break space", "Zm9v\u00a0"],
    ["a full-width letter", "Ｚm9v"],
    ["a NUL", "Zm9v\0"],
    ["a letter outside the alphabet", "Zm9*"],
    ["an escape", "Zm9%3D"],
  ])("refuses %s", (_name, text) => expect(fromBase64(text)).toBeUndefined());

  test("has one spelling for each value: whatever decodes encodes to itself", () => {
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
    const letter = fc.constantFrom(...alphabet);
    fc.assert(
      fc.property(fc.array(letter, { maxLength: 12 }), (letters) => {
        const text = letters.join("");
        const bytes = fromBase64(text);
        if (bytes !== undefined) expect(toBase64(bytes)).toBe(text);
      }),
      { numRuns: 2_000 },
    );
  });

  test("of every final group, only the one with zero trailing bits decodes", () => {
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const decoding = (pattern: (letter: string) => string) =>
      [...alphabet].filter((letter) => fromBase64(pattern(letter)) !== undefined);
    expect(decoding((letter) => `A${letter}==`)).toEqual(["A", "Q", "g", "w"]);
    expect(decoding((letter) => `AA${letter}=`)).toHaveLength(16);
  });
});

describe("base58", () => {
  // The vectors of draft-msporny-base58-03 §5 and some with leading zeros.
  test.each([
    ["48656c6c6f20576f726c6421", "2NEpo7TZRRrLZSi2U"],
    [
      "54686520717569636b2062726f776e20666f78206a756d7073206f76657220746865206c617a7920646f672e",
      "USm3fpXnKG5EUBx2ndxBDMPVciP5hGey2Jh4NDv6gmeo1LkMeiKrLJUUBk6Z",
    ],
    ["0000287fb4cd", "11233QC4"],
    ["", ""],
    ["00", "1"],
    ["0000", "11"],
    ["39", "z"],
    ["3a", "21"],
  ])("of %s is %s, and back", (digits, text) => {
    expect(toBase58(unhex(digits))).toBe(text);
    expect(fromBase58(text)).toEqual(unhex(digits));
  });

  test("of any bytes is what an independent implementation writes, and comes back", () => {
    fc.assert(
      fc.property(anyBytes(64), (bytes) => {
        expect(toBase58(bytes)).toBe(base58(bytes));
        expect(fromBase58(toBase58(bytes))).toEqual(new Uint8Array(bytes));
      }),
    );
  });

  test.each(["0", "O", "I", "l", "+", "/", "=", " 2", "2 ", "2\n2", "é", "２"])(
    "refuses %j, outside the alphabet",
    (text) => expect(fromBase58(text)).toBeUndefined(),
  );

  test("refuses text longer than 128 characters at once, however long it is", () => {
    expect(fromBase58("2".repeat(128))).toBeDefined();
    expect(fromBase58("2".repeat(129))).toBeUndefined();
    const started = performance.now();
    expect(fromBase58("2".repeat(1_000_000))).toBeUndefined();
    expect(performance.now() - started).toBeLessThan(2_000);
  });
});

test("concatBytes joins in order and shares no memory with its parts", () => {
  const part = Uint8Array.of(1, 2);
  const joined = concatBytes(part, new Uint8Array(0), Uint8Array.of(3));
  expect(joined).toEqual(Uint8Array.of(1, 2, 3));
  part[0] = 9;
  expect(joined[0]).toBe(1);
  expect(concatBytes()).toEqual(new Uint8Array(0));
});

describe("equalBytes", () => {
  test("holds for equal bytes and for nothing else: one flipped bit, one byte more, one less", () => {
    fc.assert(
      fc.property(anyBytes(), fc.nat(), (bytes, at) => {
        expect(equalBytes(bytes, Uint8Array.from(bytes))).toBe(true);
        expect(equalBytes(bytes, concatBytes(bytes, Uint8Array.of(0)))).toBe(false);
        if (bytes.length === 0) return;
        const changed = Uint8Array.from(bytes);
        changed[at % bytes.length]! ^= 1 << (at % 8);
        expect(equalBytes(bytes, changed)).toBe(false);
        expect(equalBytes(bytes, bytes.subarray(1))).toBe(false);
      }),
    );
  });
});
