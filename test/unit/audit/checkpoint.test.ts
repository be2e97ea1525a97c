import { beforeAll, describe, expect, it } from "vitest";
import {
  checkpointText,
  logOrigin,
  openCheckpoint,
  parseCheckpoint,
  parseCheckpointText,
  parseDecimal,
  signCheckpoint,
  type TreeHead,
} from "../../../src/audit/checkpoint.ts";
import { EMPTY_ROOT } from "../../../src/audit/merkle.ts";
import {
  cosign,
  formatNote,
  noteVerifierKey,
  parseNote,
  parseVerifierKey,
  signatureLine,
  signNote,
  type VerifierKey,
} from "../../../src/audit/note.ts";
import { formatAddCheckpoint, parseAddCheckpoint, parseWitnesses } from "../../../src/audit/witness.ts";
import { importSigningKey, type SigningKey } from "../../../src/crypto/signing.ts";
import { randomBytes } from "../../../src/protocol/ids.ts";

const ORIGIN = "vault.example.com/log";
const ROOT = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
const head: TreeHead = { origin: ORIGIN, size: 20_852_163, root: EMPTY_ROOT };
const NOW_SECONDS = 1_767_225_600;

let key: SigningKey;
let other: SigningKey;
let log: VerifierKey;
let witness: VerifierKey;
const vkey = (name: string, signer: SigningKey, type?: "cosignature") =>
  parseVerifierKey(noteVerifierKey(name, signer.publicKey, type))!;

beforeAll(async () => {
  [key, other] = await Promise.all([importSigningKey(randomBytes(32)), importSigningKey(randomBytes(32))]);
  log = vkey(ORIGIN, key);
  witness = vkey("witness.example/w1", other, "cosignature");
});

describe("a checkpoint's text", () => {
  it("is origin, size and root, a line each", () => {
    expect(checkpointText(head)).toBe(`${ORIGIN}\n20852163\n${ROOT}\n`);
    expect(parseCheckpointText(checkpointText(head))).toEqual({ ...head, extensions: [] });
  });

  it("may end in lines of its log's own", () => {
    expect(parseCheckpointText(`${checkpointText(head)}more\nand more\n`)?.extensions).toEqual([
      "more",
      "and more",
    ]);
  });

  it.each([
    ["no origin", `\n1\n${ROOT}\n`],
    ["no root", `${ORIGIN}\n1\n`],
    ["a leading zero", `${ORIGIN}\n01\n${ROOT}\n`],
    ["a sign", `${ORIGIN}\n+1\n${ROOT}\n`],
    ["a size in another base", `${ORIGIN}\n0x1\n${ROOT}\n`],
    ["a size beyond 2^53−1", `${ORIGIN}\n9007199254740992\n${ROOT}\n`],
    ["a short root", `${ORIGIN}\n1\n47DEQpj8HBSa+/TImW+5JA==\n`],
    ["a root without padding", `${ORIGIN}\n1\n${ROOT.slice(0, -1)}\n`],
    ["a root in the other base64", `${ORIGIN}\n1\n${ROOT.replace("+", "-").replace("/", "_")}\n`],
    ["an empty line behind", `${ORIGIN}\n1\n${ROOT}\n\nmore\n`],
    ["no last newline", `${ORIGIN}\n1\n${ROOT}`],
  ])("with %s is none", (_, text) => {
    expect(parseCheckpointText(text)).toBeUndefined();
  });

  it("counts in plain digits up to 2^53−1", () => {
    expect(parseDecimal("0")).toBe(0);
    expect(parseDecimal(String(Number.MAX_SAFE_INTEGER))).toBe(Number.MAX_SAFE_INTEGER);
    for (const text of ["", "00", "-1", "1.0", "1e3", " 1", "1\n", "٣", "9007199254740993"])
      expect(parseDecimal(text)).toBeUndefined();
  });

  it("is not made of an origin that is more than one line", () => {
    for (const origin of ["", "a\nb"]) expect(() => checkpointText({ ...head, origin })).toThrow(TypeError);
  });
});

describe("a signed checkpoint", () => {
  it("opens under the log's key", async () => {
    const opened = await openCheckpoint(await signCheckpoint(key, head), log);
    expect(opened).toEqual({ ok: true, value: { ...head, extensions: [], cosigners: [] } });
  });

  it("carries the cosignatures of the witnesses one knows", async () => {
    const signed = await signCheckpoint(key, head);
    const { text } = parseCheckpoint(signed)!.note;
    const line = signatureLine(await cosign(other, witness.name, text, NOW_SECONDS));
    const opened = await openCheckpoint(signed + line, log, [witness]);
    expect(opened.ok && opened.value.cosigners).toEqual([
      { name: "witness.example/w1", timeSeconds: NOW_SECONDS },
    ]);
    const unknowing = await openCheckpoint(signed + line, log);
    expect(unknowing.ok && unknowing.value.cosigners).toEqual([]);
  });

  it("is not opened by a witness's signature alone", async () => {
    const text = checkpointText(head);
    const note = formatNote({ text, signatures: [await cosign(other, witness.name, text, NOW_SECONDS)] });
    expect(await openCheckpoint(note, log, [witness])).toEqual({ ok: false, error: "signature" });
  });

  it("of another key, or changed, is refused", async () => {
    const signed = await signCheckpoint(key, head);
    expect(await openCheckpoint(await signCheckpoint(other, head), log)).toEqual({
      ok: false,
      error: "signature",
    });
    expect(await openCheckpoint(signed.replace("20852163", "20852164"), log)).toEqual({
      ok: false,
      error: "signature",
    });
    expect(await openCheckpoint("nonsense", log)).toEqual({ ok: false, error: "malformed" });
  });

  it("of another log under the same key and key name is refused", async () => {
    const text = checkpointText({ ...head, origin: "other.example/log" });
    const note = formatNote({ text, signatures: [await signNote(key, ORIGIN, text)] });
    expect(parseNote(note)).toBeDefined();
    expect(await openCheckpoint(note, log)).toEqual({ ok: false, error: "origin" });
  });

  it("is named after the place it is served at", () => {
    expect(logOrigin("https://vault.example.com")).toBe("vault.example.com/log");
    expect(logOrigin("http://127.0.0.1:8787")).toBe("127.0.0.1:8787/log");
  });
});

describe("what a log asks a witness", () => {
  it("is written and read the same", async () => {
    const checkpoint = await signCheckpoint(key, head);
    for (const request of [
      { oldSize: 0, proof: [], checkpoint },
      { oldSize: 20_852_014, proof: [EMPTY_ROOT, EMPTY_ROOT], checkpoint },
    ])
      expect(parseAddCheckpoint(formatAddCheckpoint(request))).toEqual(request);
    expect(formatAddCheckpoint({ oldSize: 7, proof: [EMPTY_ROOT], checkpoint })).toBe(
      `old 7\n${ROOT}\n\n${checkpoint}`,
    );
  });

  it.each([
    ["no size", `${ROOT}\n\nx\n`],
    ["a leading zero", "old 01\n\nx\n"],
    ["a hash that is none", "old 1\nabc\n\nx\n"],
    ["too many hashes", `old 1\n${`${ROOT}\n`.repeat(64)}\nx\n`],
    ["no empty line", `old 1\n${ROOT}\n`],
  ])("with %s is refused", (_, body) => {
    expect(parseAddCheckpoint(body)).toBeUndefined();
  });

  it("goes to witnesses given as vkey|url", () => {
    const one = noteVerifierKey("w1.example", other.publicKey, "cosignature");
    const two = noteVerifierKey("w2.example", other.publicKey, "cosignature");
    expect(parseWitnesses(`${one}|https://w1.example/, ${two}|http://127.0.0.1:9/sub`)).toEqual([
      { key: parseVerifierKey(one), url: "https://w1.example" },
      { key: parseVerifierKey(two), url: "http://127.0.0.1:9/sub" },
    ]);
    expect(parseWitnesses("")).toEqual([]);
    expect(parseWitnesses(`${one}|https://a,${one}|https://b`)).toBe("witness w1.example is named twice");
    expect(parseWitnesses(`${one}|ftp://a`)).toContain("http(s) URL");
    expect(parseWitnesses(one)).toContain("http(s) URL");
    expect(parseWitnesses(`${noteVerifierKey("log", other.publicKey)}|https://a`)).toContain("type 0x04");
  });
});
