import { beforeAll, describe, expect, it } from "vitest";
import { signCheckpoint } from "../../../src/audit/checkpoint.ts";
import { leafOf, openingBytes, parseOpening } from "../../../src/audit/leaf.ts";
import { inclusionProof, leafHash, rootHash } from "../../../src/audit/merkle.ts";
import { noteVerifierKey, parseVerifierKey, type VerifierKey } from "../../../src/audit/note.ts";
import { formatProof, type LogProof, parseProof, verifyProof } from "../../../src/audit/proof.ts";
import { appendLeaves, readerOver } from "../../../src/audit/tiles.ts";
import { sha256 } from "../../../src/crypto/hash.ts";
import { importSigningKey, type SigningKey } from "../../../src/crypto/signing.ts";
import { toBase58, toBase64 } from "../../../src/protocol/encoding.ts";
import { randomBytes } from "../../../src/protocol/ids.ts";

const ORIGIN = "vault.example.com/log";
const SIZE = 300;
const INDEX = 200;

let log: VerifierKey;
let key: SigningKey;
let proof: LogProof;
const opening = {
  salt: randomBytes(32),
  ownerId: toBase58(randomBytes(32)),
  head: toBase64(randomBytes(32)),
};
const entry = leafOf(opening);

beforeAll(async () => {
  key = await importSigningKey(randomBytes(32));
  log = parseVerifierKey(noteVerifierKey(ORIGIN, key.publicKey))!;
  const entries = Array.from({ length: SIZE }, (_, at) => (at === INDEX ? entry : randomBytes(32)));
  const tiles = appendLeaves(0, entries.map(leafHash), () => undefined);
  const read = readerOver(
    ({ level, n }) => tiles.find((tile) => tile.level === level && tile.n === n)?.hashes,
  );
  const checkpoint = await signCheckpoint(key, { origin: ORIGIN, size: SIZE, root: rootHash(SIZE, read) });
  proof = {
    extra: openingBytes(opening),
    index: INDEX,
    hashes: inclusionProof(INDEX, SIZE, read),
    checkpoint,
  };
});

describe("a leaf", () => {
  it("is the SHA-256 of salt, id and head as bytes, 96 of them", () => {
    const bytes = openingBytes({
      salt: new Uint8Array(32).fill(1),
      ownerId: toBase58(new Uint8Array(32).fill(2)),
      head: toBase64(new Uint8Array(32).fill(3)),
    });
    expect(bytes).toEqual(Uint8Array.from({ length: 96 }, (_, at) => 1 + Math.floor(at / 32)));
    expect(entry).toEqual(sha256(openingBytes(opening)));
    expect(parseOpening(openingBytes(opening))).toEqual(opening);
    expect(parseOpening(bytes.subarray(1))).toBeUndefined();
  });

  it("is not made of parts of another length", () => {
    expect(() => leafOf({ ...opening, salt: randomBytes(31) })).toThrow(TypeError);
    expect(() => leafOf({ ...opening, ownerId: toBase58(randomBytes(31)) })).toThrow(TypeError);
    expect(() => leafOf({ ...opening, head: toBase64(randomBytes(33)) })).toThrow(TypeError);
  });
});

describe("a proof of inclusion", () => {
  it("is written as c2sp.org/tlog-proof says", () => {
    const lines = formatProof(proof).split("\n");
    expect(lines[0]).toBe("c2sp.org/tlog-proof@v1");
    expect(lines[1]).toBe(`extra ${toBase64(openingBytes(opening))}`);
    expect(lines[2]).toBe(`index ${INDEX}`);
    expect(lines.slice(3, 3 + proof.hashes.length)).toEqual(proof.hashes.map(toBase64));
    expect(lines.slice(3 + proof.hashes.length).join("\n")).toBe(`\n${proof.checkpoint}`);
  });

  it("is read back, with and without extra data, also when the tree has one leaf", () => {
    const { extra: _, ...bare } = proof;
    for (const one of [proof, bare, { ...bare, index: 0, hashes: [] }])
      expect(parseProof(formatProof(one))).toEqual(one);
  });

  it("says by itself which entry it is about, and holds for that one alone", async () => {
    const text = formatProof(proof);
    const claimed = parseOpening(parseProof(text)!.extra!)!;
    expect(claimed).toEqual(opening);
    const verified = await verifyProof(text, leafOf(claimed), log);
    expect(verified).toMatchObject({ ok: true, value: { index: INDEX, checkpoint: { size: SIZE } } });
    expect(await verifyProof(text, randomBytes(32), log)).toEqual({ ok: false, error: "inclusion" });
  });

  it("does not hold when index, path or checkpoint are changed", async () => {
    const verified = async (change: Partial<LogProof>) =>
      verifyProof(formatProof({ ...proof, ...change }), entry, log);
    expect(await verified({ index: INDEX + 1 })).toEqual({ ok: false, error: "inclusion" });
    expect(await verified({ hashes: proof.hashes.slice(1) })).toEqual({ ok: false, error: "inclusion" });
    expect(await verified({ checkpoint: proof.checkpoint.replace("\n300\n", "\n301\n") })).toEqual({
      ok: false,
      error: "signature",
    });
    const foreign = await signCheckpoint(key, {
      origin: "other.example",
      size: SIZE,
      root: new Uint8Array(32),
    });
    expect(await verified({ checkpoint: foreign })).toEqual({ ok: false, error: "signature" });
  });

  it.each([
    ["another header", (text: string) => text.replace("@v1", "@v2")],
    ["no index", (text: string) => text.replace(/index \d+\n/, "")],
    ["a leading zero", (text: string) => text.replace("index ", "index 0")],
    ["a negative index", (text: string) => text.replace("index ", "index -")],
    ["extra data behind the index", (text: string) => text.replace(/(extra .*\n)(index .*\n)/, "$2$1")],
    ["extra data that is not base64", (text: string) => text.replace(/extra .*/, "extra !")],
    ["two extra lines", (text: string) => text.replace(/(extra .*\n)/, "$1$1")],
    ["a hash of another length", (text: string) => text.replace(/index \d+\n/, "$&AAAA\n")],
    ["no checkpoint", (text: string) => text.slice(0, text.indexOf("\n\n"))],
  ])("with %s is none", async (_, change) => {
    const text = change(formatProof(proof));
    expect(parseProof(text)).toBeUndefined();
    expect(await verifyProof(text, entry, log)).toEqual({ ok: false, error: "malformed" });
  });
});
