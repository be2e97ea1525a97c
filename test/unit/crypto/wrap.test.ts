import { beforeEach, describe, expect, test, vi } from "vitest";
import { UnwrapFailed, type Wrapper, wrapperFor } from "../../../src/crypto/wrap.ts";
import { concatBytes } from "../../../src/protocol/encoding.ts";
import { MAX_JSON_DEPTH } from "../../../src/protocol/limits.ts";
import { flipped, HEAVY_TEST_TIMEOUT_MS, seedOf } from "./people.ts";
import { hex, text } from "./reference.ts";

vi.setConfig({ testTimeout: HEAVY_TEST_TIMEOUT_MS });

const kek = seedOf("kek");
const olderKek = seedOf("older kek");
const PLACE = "requests/payload/7";

let wrapper: Wrapper;
beforeEach(() => {
  wrapper = wrapperFor([kek], "user 1");
});

describe("a wrapped value", () => {
  test.each<[string, unknown]>([
    ["an object", { a: [1, "ß", null], b: { c: true } }],
    ["a text", "x"],
    ["an empty text", ""],
    ["null", null],
    ["a number", 0.5],
  ])("comes back as it was: %s", (_name, value) => {
    expect(wrapper.unwrap(wrapper.wrap(value, PLACE), PLACE)).toEqual(value);
  });

  test.each([0, 1, 32, 70_000])("comes back as it was: %i bytes", (length) => {
    const bytes = new Uint8Array(length).fill(9);
    expect(wrapper.unwrapBytes(wrapper.wrapBytes(bytes, PLACE), PLACE)).toEqual(bytes);
  });

  test("may hold a message that nests as deep as messages may, and something around it", () => {
    const deepest = JSON.parse(`${"[".repeat(MAX_JSON_DEPTH)}${"]".repeat(MAX_JSON_DEPTH)}`);
    const value = { payload: deepest, answer: { result: deepest } };
    expect(wrapper.unwrap(wrapper.wrap(value, PLACE), PLACE)).toEqual(value);
  });

  test("is never the same twice and shows nothing of what it holds", () => {
    const secret = "a secret that is easy to find again";
    const [first, second] = [wrapper.wrap(secret, PLACE), wrapper.wrap(secret, PLACE)];
    expect(hex(first)).not.toBe(hex(second));
    expect(hex(first).slice(10, 58)).not.toBe(hex(second).slice(10, 58));
    expect(hex(first)).not.toContain(hex(new TextEncoder().encode(secret)));
    expect(Buffer.from(first).toString("latin1")).not.toContain("user 1");
  });

  test("is a version, the KEK's id, a nonce and the ciphertext with its tag: 45 bytes more than it holds", () => {
    const stored = wrapper.wrapBytes(new Uint8Array(100), PLACE);
    expect(stored[0]).toBe(1);
    expect(stored).toHaveLength(1 + 4 + 24 + 100 + 16);
    expect(stored.subarray(1, 5)).toEqual(wrapper.wrapBytes(new Uint8Array(1), PLACE).subarray(1, 5));
  });

  test("is not made of what has no JSON form", () => {
    expect(() => wrapper.wrap(undefined, PLACE)).toThrow(TypeError);
  });
});

describe("unwrapping refuses", () => {
  const value = { balance: 100 };
  let stored: Uint8Array;
  beforeEach(() => {
    stored = wrapper.wrap(value, PLACE);
  });
  const refused = (by: Wrapper, bytes: Uint8Array, place = PLACE) => {
    expect(() => by.unwrap(bytes, place)).toThrow(UnwrapFailed);
    expect(() => by.unwrapBytes(bytes, place)).toThrow(UnwrapFailed);
  };

  test.each([
    "requests/payload/8",
    "requests/result/7",
    "contracts/payload/7",
    "",
    "requests/payload/7 ",
    "Requests/payload/7",
  ])("a value moved to %j", (place) => refused(wrapper, stored, place));

  test.each(["user 2", "user", "user 1 ", ""])("a value of another owner, %j", (owner) => {
    refused(wrapperFor([kek], owner), stored);
  });

  test("a value under a KEK it does not have", () => {
    refused(wrapperFor([olderKek], "user 1"), stored);
    refused(wrapperFor([olderKek, seedOf("a third kek")], "user 1"), stored);
  });

  test("a value with any one bit flipped", () => {
    for (let bit = 0; bit < stored.length * 8; bit++) {
      const changed = flipped(stored, bit);
      expect(() => wrapper.unwrapBytes(changed, PLACE), `bit ${bit}`).toThrow(UnwrapFailed);
    }
  });

  test("a value of any shorter length, and one byte more", () => {
    for (let length = 0; length < stored.length; length++) refused(wrapper, stored.subarray(0, length));
    refused(wrapper, concatBytes(stored, Uint8Array.of(0)));
  });

  test("a value relabelled as of another KEK that it does have", () => {
    const both = wrapperFor([kek, olderKek], "user 1");
    const other = wrapperFor([olderKek], "user 1").wrap(value, PLACE);
    refused(both, concatBytes(stored.subarray(0, 1), other.subarray(1, 5), stored.subarray(5)));
  });

  test("bytes that are no JSON, when JSON is asked for", () => {
    const bytes = wrapper.wrapBytes(new TextEncoder().encode("{"), PLACE);
    expect(() => wrapper.unwrap(bytes, PLACE)).toThrow(UnwrapFailed);
    expect(text(wrapper.unwrapBytes(bytes, PLACE))).toBe("{");
  });

  test("and says nothing of the value when it does", () => {
    expect.assertions(2);
    try {
      wrapper.unwrap(stored, "elsewhere");
    } catch (error) {
      expect(String(error)).not.toMatch(/balance|100|user 1/);
      expect((error as UnwrapFailed).code).toBe("unwrap_failed");
    }
  });
});

describe("changing the KEK", () => {
  const rotated = () => wrapperFor([kek, olderKek], "user 1");

  test("what the previous KEK wrapped still opens, and is known to be old", () => {
    const old = wrapperFor([olderKek], "user 1").wrap("x", PLACE);
    expect(rotated().unwrap(old, PLACE)).toBe("x");
    expect(rotated().isCurrent(old)).toBe(false);
  });

  test("what is wrapped now is under the new KEK: the previous alone does not open it", () => {
    const stored = rotated().wrap("x", PLACE);
    expect(rotated().isCurrent(stored)).toBe(true);
    expect(wrapperFor([kek], "user 1").unwrap(stored, PLACE)).toBe("x");
    expect(() => wrapperFor([olderKek], "user 1").unwrap(stored, PLACE)).toThrow(UnwrapFailed);
  });

  test("what is under neither is not current either", () => {
    const foreign = wrapperFor([seedOf("a third kek")], "user 1").wrap("x", PLACE);
    expect(rotated().isCurrent(foreign)).toBe(false);
    expect(rotated().isCurrent(new Uint8Array(0))).toBe(false);
  });
});

test.each([0, 16, 31, 33])("a KEK of %i bytes is refused", (length) => {
  expect(() => wrapperFor([new Uint8Array(length)], "user 1")).toThrow(RangeError);
  expect(() => wrapperFor([kek, new Uint8Array(length)], "user 1")).toThrow(RangeError);
});

test("no KEK at all is refused", () => expect(() => wrapperFor([], "user 1")).toThrow(RangeError));
