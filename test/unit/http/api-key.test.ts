import { describe, expect, test } from "vitest";
import {
  API_KEY_ALPHABET,
  API_KEY_ENVIRONMENTS,
  type ApiKeyParts,
  formatApiKey,
  makeApiKeyParts,
  parseApiKey,
} from "../../../src/http/api-key.ts";

const parts: ApiKeyParts = {
  environment: "dev",
  id: "0123456789AB",
  secret: "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ",
};
// The checksum was computed with Python: zlib.crc32 of the text before it is 0x86df175, in base 62.
const text = "svk_dev_0123456789AB_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ09ZOZZ";

describe("API key text", () => {
  test("is the same as an independent implementation writes", () => {
    expect(formatApiKey(parts)).toBe(text);
    expect(parseApiKey(text)).toEqual({ ok: true, ...parts });
  });

  test.each(API_KEY_ENVIRONMENTS)("comes back as its parts in environment %s", (environment) => {
    for (let byte = 0; byte < 256; byte += 15) {
      const made = makeApiKeyParts(environment, new Uint8Array(16).fill(byte), new Uint8Array(32).fill(byte));
      expect(parseApiKey(formatApiKey(made))).toEqual({ ok: true, ...made });
    }
  });

  test("has parts of one length, whatever the random bytes", () => {
    expect(makeApiKeyParts("dev", new Uint8Array(16), new Uint8Array(32))).toEqual({
      environment: "dev",
      id: "0".repeat(12),
      secret: "0".repeat(43),
    });
    const most = makeApiKeyParts("dev", new Uint8Array(16).fill(255), new Uint8Array(32).fill(255));
    expect(most.id).toHaveLength(12);
    // 2^256 - 1 in base 62, computed with Python
    expect(most.secret).toBe("yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1");
  });

  test("is refused after any single character is changed", () => {
    for (let at = 0; at < text.length; at++) {
      const other =
        API_KEY_ALPHABET[(API_KEY_ALPHABET.indexOf(text[at] as string) + 1) % API_KEY_ALPHABET.length];
      expect(parseApiKey(text.slice(0, at) + other + text.slice(at + 1)).ok).toBe(false);
    }
  });

  test.each([
    ["", "not_a_key"],
    ["svk_dev_0123456789AB", "not_a_key"],
    ["sk_dev_0123456789AB_abc", "not_a_key"],
    [`${text}_`, "not_a_key"],
    [text.replace("dev", "Dev"), "unknown_environment"],
    [text.replace("0123456789AB", "0123456789A"), "bad_id"],
    [text.replace("0123456789AB", "0123456789A-"), "bad_id"],
    [`${text}0`, "bad_secret"],
    [text.slice(0, -1), "bad_secret"],
    [`${text.slice(0, -1)}é`, "bad_secret"],
    [`${text}\n`, "bad_secret"],
    [`${text.slice(0, -1)}\n`, "bad_secret"],
    [text.replace("dev", "production"), "bad_checksum"],
    [text.replace("abc", "abd"), "bad_checksum"],
  ])("says why %j is no key", (wrong, reason) => {
    expect(parseApiKey(wrong)).toEqual({ ok: false, reason });
  });

  test.each([
    [{ ...parts, id: "short" }, /id must be 12/],
    [{ ...parts, id: "0123456789A_" }, /id must be 12/],
    [{ ...parts, secret: "short" }, /secret must be 43/],
    [{ ...parts, environment: "test" as never }, /unknown environment/],
  ])("is not written from malformed parts", (wrong, message) => {
    expect(() => formatApiKey(wrong)).toThrow(message);
  });

  test("takes exactly the random bytes it says", () => {
    expect(() => makeApiKeyParts("dev", new Uint8Array(15), new Uint8Array(32))).toThrow(
      "idBytes must be 16 bytes",
    );
    expect(() => makeApiKeyParts("dev", new Uint8Array(16), new Uint8Array(33))).toThrow(
      "secretBytes must be 32 bytes",
    );
  });
});
