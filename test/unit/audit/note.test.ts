import { describe, expect, it } from "vitest";
import { noteKeyId, noteVerifierKey, parseNoteVerifierKey } from "../../../src/audit/note.ts";
import { fromBase64 } from "../../../src/protocol/encoding.ts";

describe("a verifier key", () => {
  // The example of the C2SP signed-note page.
  const example = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

  it("is the published example's", () => {
    const parsed = parseNoteVerifierKey(example)!;
    expect(parsed.name).toBe("PeterNeumann");
    expect(noteVerifierKey(parsed.name, parsed.publicKey)).toBe(example);
    expect([...noteKeyId(parsed.name, parsed.publicKey)]).toEqual([0xc7, 0x4f, 0x20, 0xa3]);
    expect(parsed.publicKey).toEqual(fromBase64("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")!.slice(1));
  });

  it.each([
    ["another name", example.replace("Peter", "Paula")],
    ["another id", example.replace("c74f", "c74e")],
    ["another key", example.replace("10TW", "10TX")],
    ["another algorithm", example.replace("+AR", "+AB")],
    ["a missing part", "PeterNeumann+c74f20a3"],
    ["no name", example.slice("PeterNeumann".length)],
  ])("with %s is refused", (_what, text) => {
    expect(parseNoteVerifierKey(text)).toBeUndefined();
  });

  it("has a name without spaces or plus, and a key of 32 bytes", () => {
    const key = new Uint8Array(32);
    expect(() => noteVerifierKey("a b", key)).toThrow(TypeError);
    expect(() => noteVerifierKey("a+b", key)).toThrow(TypeError);
    expect(() => noteVerifierKey("a", key.subarray(1))).toThrow(RangeError);
  });
});
