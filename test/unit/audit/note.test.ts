import { beforeAll, describe, expect, it } from "vitest";
import {
  cosign,
  cosignatureTime,
  formatNote,
  MAX_NOTE_SIGNATURES,
  type NoteSignature,
  noteVerifierKey,
  parseNote,
  parseNoteVerifierKey,
  parseSignatureLines,
  parseVerifierKey,
  signatureLine,
  signNote,
  type VerifierKey,
  verifyNote,
} from "../../../src/audit/note.ts";
import { importSigningKey, type SigningKey } from "../../../src/crypto/signing.ts";
import { concatBytes, fromBase64 } from "../../../src/protocol/encoding.ts";
import { randomBytes } from "../../../src/protocol/ids.ts";

// Published examples of the format, made by the Go implementation it comes from.
const PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const PETER_SEED = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
const WITNESS = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2";
const TEXT =
  "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const PETER_LINE =
  "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
const ENOCH_LINE =
  "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";

const key = (vkey: string): VerifierKey => parseVerifierKey(vkey)!;
const opened = (note: string, ...vkeys: string[]) => verifyNote(parseNote(note)!, vkeys.map(key));

let signer: SigningKey;
let signerKey: VerifierKey;
let witnessKey: VerifierKey;

beforeAll(async () => {
  signer = await importSigningKey(randomBytes(32));
  signerKey = key(noteVerifierKey("example.com/log", signer.publicKey));
  witnessKey = key(noteVerifierKey("witness.example/w", signer.publicKey, "cosignature"));
});

describe("a verifier key", () => {
  it("of another implementation is read and written back", () => {
    for (const vkey of [PETER, ENOCH, WITNESS]) {
      const { name, publicKey, type } = key(vkey);
      expect(noteVerifierKey(name, publicKey, type)).toBe(vkey);
    }
    expect(key(WITNESS).type).toBe("cosignature");
    expect(parseNoteVerifierKey(PETER)?.name).toBe("PeterNeumann");
    expect(parseNoteVerifierKey(WITNESS)).toBeUndefined();
  });

  it.each([
    ["another name", PETER.replace("Peter", "Paul")],
    ["another id", PETER.replace("c74f20a3", "c74f20a4")],
    ["an id in capitals", PETER.replace("c74f20a3", "C74F20A3")],
    ["another key", PETER.replace("ARpc", "ARpd")],
    ["an unknown type", PETER.replace("ARpc", "Ahpc")],
    ["no name", PETER.replace("PeterNeumann", "")],
    ["a space in the name", PETER.replace("PeterN", "Peter N")],
    ["a short key", PETER.slice(0, -4)],
    ["no padding where it belongs", `${PETER}=`],
    ["nothing", ""],
  ])("with %s is refused", (_, vkey) => {
    expect(parseVerifierKey(vkey)).toBeUndefined();
  });

  it("is not made for a name that could not be read back", () => {
    for (const name of ["", "a b", "a+b", "a\u00a0b", "a\u0085b", "a\u0001b", "a\nb", "\ud800"])
      expect(() => noteVerifierKey(name, signer.publicKey)).toThrow(TypeError);
    expect(() => noteVerifierKey("a", new Uint8Array(31))).toThrow(RangeError);
  });
});

describe("a signed note", () => {
  it("of another implementation opens, and is made bit by bit the same", async () => {
    const note = `${TEXT}\n${PETER_LINE}`;
    expect((await opened(note, PETER))?.map(({ key }) => key.name)).toEqual(["PeterNeumann"]);
    const peter = await importSigningKey(fromBase64(PETER_SEED)!.subarray(1));
    const made = { text: TEXT, signatures: [await signNote(peter, "PeterNeumann", TEXT)] };
    expect(formatNote(made)).toBe(note);
  });

  it("may carry several signatures; each counts for whoever knows its key", async () => {
    const note = `${TEXT}\n${PETER_LINE}${ENOCH_LINE}`;
    expect(await opened(note, PETER, ENOCH)).toHaveLength(2);
    expect(await opened(note, ENOCH)).toHaveLength(1);
    expect(await opened(note, WITNESS)).toBeUndefined();
    expect(formatNote(parseNote(note)!)).toBe(note);
  });

  it("counts one key once, however often it signed", async () => {
    expect(await opened(`${TEXT}\n${PETER_LINE}${PETER_LINE}`, PETER)).toHaveLength(1);
  });

  it("is refused whole when a known key's signature does not hold, whatever else holds", async () => {
    const broken = ENOCH_LINE.replace("rwz+eBz", "rwz+eBy");
    expect(await opened(`${TEXT}\n${PETER_LINE}${broken}`, PETER, ENOCH)).toBeUndefined();
    // The same line by a key nobody knows says nothing.
    expect(await opened(`${TEXT}\n${PETER_LINE}${broken}`, PETER)).toHaveLength(1);
    expect(await opened(`${TEXT.replace("think", "thinc")}\n${PETER_LINE}`, PETER)).toBeUndefined();
  });

  it("passes over a signature that shares only the name or only the id with a known key", async () => {
    const [{ bytes, keyId }] = parseNote(`${TEXT}\n${PETER_LINE}`)!.signatures as [NoteSignature];
    const otherName = signatureLine({ name: "PaulNeumann", keyId, bytes });
    const otherId = signatureLine({ name: "PeterNeumann", keyId: Uint8Array.of(1, 2, 3, 4), bytes });
    expect(await opened(`${TEXT}\n${otherName}${otherId}${PETER_LINE}`, PETER)).toHaveLength(1);
    expect(await opened(`${TEXT}\n${otherName}${otherId}`, PETER)).toBeUndefined();
  });

  it("has its text before the last empty line", async () => {
    const text = "a\n\nb\n\n";
    const note = formatNote({ text, signatures: [await signNote(signer, signerKey.name, text)] });
    expect(parseNote(note)?.text).toBe(text);
    expect(await verifyNote(parseNote(note)!, [signerKey])).toHaveLength(1);
  });

  it.each([
    ["no blank line", `${TEXT}${PETER_LINE}`],
    ["no signature", `${TEXT}\n`],
    ["no newline at its end", `${TEXT}\n${PETER_LINE.slice(0, -1)}`],
    ["a carriage return", `${TEXT.replaceAll("\n", "\r\n")}\n${PETER_LINE}`],
    ["a control character", `${TEXT.replace("think", "thin\u0007k")}\n${PETER_LINE}`],
    ["a lone surrogate", `${TEXT.replace("think", "thin\ud800k")}\n${PETER_LINE}`],
    ["a hyphen for the dash", `${TEXT}\n${PETER_LINE.replace("—", "-")}`],
    ["two spaces", `${TEXT}\n${PETER_LINE.replace("Neumann ", "Neumann  ")}`],
    ["a plus in a name", `${TEXT}\n${PETER_LINE.replace("Neumann", "Neu+mann")}`],
    ["something behind a signature", `${TEXT}\n${PETER_LINE}tail\n`],
    ["base64 that is not canonical", `${TEXT}\n${PETER_LINE.replace("AM=", "AN=")}`],
    ["a signature of nothing but a key id", `${TEXT}\n— PeterNeumann x08gow==\n`],
    ["an empty text", `\n${PETER_LINE}`],
    ["too many signatures", `${TEXT}\n${PETER_LINE.repeat(MAX_NOTE_SIGNATURES + 1)}`],
  ])("with %s is none", (_, note) => {
    expect(parseNote(note)).toBeUndefined();
  });
});

describe("a cosignature", () => {
  const checkpoint = "example.com/log\n3\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";

  it("holds for its text and its time, and says when it was made", async () => {
    const signature = await cosign(signer, witnessKey.name, checkpoint, 1_727_964_367);
    expect(cosignatureTime(signature)).toBe(1_727_964_367);
    const [verified] = (await verifyNote({ text: checkpoint, signatures: [signature] }, [witnessKey]))!;
    expect(verified?.timeSeconds).toBe(1_727_964_367);
    const other = checkpoint.replace("\n3\n", "\n4\n");
    expect(await verifyNote({ text: other, signatures: [signature] }, [witnessKey])).toBeUndefined();
    const later = concatBytes(signature.bytes);
    later[7]!++;
    expect(
      await verifyNote({ text: checkpoint, signatures: [{ ...signature, bytes: later }] }, [witnessKey]),
    ).toBeUndefined();
  });

  it("is laid out as c2sp.org/tlog-cosignature says: key id, eight bytes of time, 64 of signature", async () => {
    // A published cosignature line's signature, with the time it is known to carry.
    const [published] = parseSignatureLines(
      "— witness ZGhGuQAAAABm/qTPeyKXD+R2rzyQsxPiP8mXum7qq/iF0u4vanlqJyocWODBt97w9uL+8qT7S5gxEHWWOworDcFiEBYJXORmnFBOBA==\n",
    )!;
    expect(cosignatureTime(published!)).toBe(1_727_964_367);
    const [plain] = parseSignatureLines(PETER_LINE)!;
    expect(cosignatureTime(plain!)).toBeUndefined();
    const signature = await cosign(signer, witnessKey.name, checkpoint, 5);
    const message = new TextEncoder().encode(`cosignature/v1\ntime 5\n${checkpoint}`);
    expect(signature.bytes.subarray(8)).toEqual(await signer.sign(message));
  });

  it("and a log's signature by the same key are different keys", async () => {
    const plain = await signNote(signer, witnessKey.name, checkpoint);
    expect(await verifyNote({ text: checkpoint, signatures: [plain] }, [witnessKey])).toBeUndefined();
    const signature = await cosign(signer, signerKey.name, checkpoint, 5);
    expect(await verifyNote({ text: checkpoint, signatures: [signature] }, [signerKey])).toBeUndefined();
  });
});
