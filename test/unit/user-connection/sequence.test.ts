import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  hasArrived,
  MAX_GAPS,
  missingNumbers,
  type Received,
  take,
} from "../../../durable-objects/user-connection/sequence.ts";

const START: Received = { highest: 0, missing: [] };
const takeAll = (...numbers: number[]) => numbers.reduce((received, seq) => take(received, seq), START);

describe("the sequence numbers of the other side", () => {
  it("count up without gaps when messages come in order", () => {
    expect(takeAll(1, 2, 3)).toEqual({ highest: 3, missing: [] });
  });

  it("leave a gap where numbers were jumped over", () => {
    expect(takeAll(1, 5)).toEqual({ highest: 5, missing: [[2, 4]] });
  });

  it("split a gap when one from its middle arrives late, and close it with the last", () => {
    expect(takeAll(1, 5, 3)).toEqual({
      highest: 5,
      missing: [
        [2, 2],
        [4, 4],
      ],
    });
    expect(takeAll(1, 5, 3, 2, 4)).toEqual({ highest: 5, missing: [] });
  });

  it("know which numbers have arrived", () => {
    const received = takeAll(1, 5);
    expect([1, 2, 4, 5, 6].map((seq) => hasArrived(received, seq))).toEqual([
      true,
      false,
      false,
      true,
      false,
    ]);
  });

  it("name the lowest missing ones, as many as are asked for", () => {
    expect(missingNumbers(takeAll(4, 8), 4)).toEqual([1, 2, 3, 5]);
    expect(missingNumbers(takeAll(1_000_000_000), 2)).toEqual([1, 2]);
  });

  it("stay bounded however the sender jumps: the oldest gaps are given up", () => {
    const received = takeAll(...Array.from({ length: MAX_GAPS + 10 }, (_, at) => 2 + at * 2));
    expect(received.missing).toHaveLength(MAX_GAPS);
    expect(hasArrived(received, 1)).toBe(true);
    expect(hasArrived(received, received.highest - 1)).toBe(false);
  });

  it("agree with a plain set of numbers in any order of arrival", () => {
    fc.assert(
      fc.property(fc.shuffledSubarray(Array.from({ length: 30 }, (_, at) => at + 1)), (order) => {
        const received = takeAll(...order);
        const seen = new Set(order);
        for (let seq = 1; seq <= Math.max(0, ...order); seq++)
          expect(hasArrived(received, seq)).toBe(seen.has(seq));
      }),
    );
  });
});
