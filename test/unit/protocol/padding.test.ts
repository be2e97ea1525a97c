import { describe, expect, test, vi } from "vitest";
import { MIN_PADDED_ANSWER_BYTES, MIN_PADDED_BYTES } from "../../../src/protocol/limits.ts";
import { pad, paddedLength } from "../../../src/protocol/padding.ts";
import { HEAVY_TEST_TIMEOUT_MS } from "../crypto/people.ts";
import { padme, text, utf8 } from "../crypto/reference.ts";

vi.setConfig({ testTimeout: HEAVY_TEST_TIMEOUT_MS });

describe("paddedLength without a minimum, worked out by hand", () => {
  // L = 9 = 0b1001: E = ⌊log2 9⌋ = 3, S = ⌊log2 3⌋ + 1 = 2, so the last E − S = 1 bit becomes 0: 10.
  // L = 1,025: E = 10, S = 4, the last 6 bits: the next multiple of 64 is 1,088.
  test.each([
    [1, 1],
    [2, 2],
    [3, 3],
    [7, 7],
    [8, 8],
    [9, 10],
    [10, 10],
    [15, 16],
    [16, 16],
    [17, 18],
    [33, 36],
    [100, 104],
    [1_000, 1_024],
    [1_024, 1_024],
    [1_025, 1_088],
    [1_088, 1_088],
    [1_089, 1_152],
    [4_096, 4_096],
    [4_097, 4_352],
    [65_535, 65_536],
    [65_536, 65_536],
    [65_537, 67_584],
    [700_000, 704_512],
  ])("%i bytes become %i", (length, padded) => expect(paddedLength(length, 0)).toBe(padded));
});

describe("paddedLength", () => {
  test("holds to its minimum and to the rule above it", () => {
    expect(paddedLength(0, MIN_PADDED_BYTES)).toBe(1_024);
    expect(paddedLength(1_024, MIN_PADDED_BYTES)).toBe(1_024);
    expect(paddedLength(1_025, MIN_PADDED_BYTES)).toBe(1_088);
    expect(paddedLength(4_096, MIN_PADDED_ANSWER_BYTES)).toBe(4_096);
    expect(paddedLength(1, MIN_PADDED_ANSWER_BYTES)).toBe(4_096);
    expect(paddedLength(4_097, MIN_PADDED_ANSWER_BYTES)).toBe(4_352);
  });

  test("agrees with an implementation in integers, for every length up to 70,000 and near every power of two", () => {
    const near = Array.from({ length: 15 }, (_, at) => 2 ** (at + 16)).flatMap((power) => [
      power - 1,
      power,
      power + 1,
    ]);
    for (const length of [...Array.from({ length: 70_000 }, (_, at) => at + 1), ...near])
      if (paddedLength(length, 1) !== padme(length, 1)) expect.fail(`differs at ${length}`);
  });

  test("never shortens, never grows by more than 12 %, never falls as the length grows, and pads its own result no further", () => {
    let previous = 0;
    for (let length = 1; length <= 200_000; length++) {
      const padded = paddedLength(length, 1);
      if (padded < length || padded > length * 1.12 + 1 || padded < previous) expect.fail(`at ${length}`);
      if (paddedLength(padded, 1) !== padded) expect.fail(`not a fixed point: ${padded}`);
      previous = padded;
    }
  });
});

describe("pad", () => {
  test("adds spaces behind, and JSON reads the same", () => {
    const json = utf8('{"a":"ß"}');
    const padded = pad(json, MIN_PADDED_BYTES);
    expect(padded).toHaveLength(1_024);
    expect(text(padded)).toBe(`{"a":"ß"}${" ".repeat(1_024 - json.length)}`);
    expect(JSON.parse(text(padded))).toEqual({ a: "ß" });
  });

  test("adds nothing to a length that is a Padmé length already", () => {
    const json = utf8(`"${"x".repeat(1_086)}"`);
    expect(pad(json, MIN_PADDED_BYTES)).toEqual(json);
  });

  test("makes an approval and a denial the same length", () => {
    const approval = utf8(JSON.stringify({ decision: "approved", result: { name: "x".repeat(1_500) } }));
    const denial = utf8(JSON.stringify({ decision: "denied" }));
    expect(pad(approval, MIN_PADDED_ANSWER_BYTES)).toHaveLength(4_096);
    expect(pad(denial, MIN_PADDED_ANSWER_BYTES)).toHaveLength(4_096);
  });
});
