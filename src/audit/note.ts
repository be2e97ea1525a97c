// Signed notes and the keys they are checked with: https://c2sp.org/signed-note. Two kinds of signature are known,
// both Ed25519: the log's own (0x01) and a witness's cosignature with its time (0x04, c2sp.org/tlog-cosignature).

import { sha256 } from "../crypto/hash.ts";
import { type SigningKey, verify } from "../crypto/signing.ts";
import { concatBytes, fromBase64, toBase64 } from "../protocol/encoding.ts";
import { utf8 } from "../protocol/json.ts";

/** Signature types of the signed-note registry. */
export const NOTE_TYPES = { ed25519: 0x01, cosignature: 0x04 } as const;
export type NoteKeyType = keyof typeof NOTE_TYPES;

const ED25519_KEY_BYTES = 32;
const ED25519_SIGNATURE_BYTES = 64;
const KEY_ID_BYTES = 4;
const TIMESTAMP_BYTES = 8;

/** Verifiers must take at least 16 signatures. */
export const MAX_NOTE_SIGNATURES = 64;
/** Sixteen post-quantum signatures, which pass through here unread, are 80,000. */
export const MAX_NOTE_CHARACTERS = 131_072;

/** A key name is printed before the signature and ends at the first space or plus. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: refusing them is the point
const KEY_NAME = /^[^\s+\u0000-\u001f\u0085]{1,253}$/;

const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** A key that notes are checked with. */
export interface VerifierKey {
  name: string;
  type: NoteKeyType;
  /** Ed25519, 32 bytes. */
  publicKey: Uint8Array;
}

const isKeyName = (name: string): boolean => KEY_NAME.test(name) && name.isWellFormed();

/** The first 4 bytes of SHA-256(name ‖ LF ‖ type ‖ public key). */
export const noteKeyId = (name: string, publicKey: Uint8Array, type: NoteKeyType = "ed25519"): Uint8Array =>
  sha256(concatBytes(utf8(name), Uint8Array.of(0x0a, NOTE_TYPES[type]), publicKey)).subarray(0, KEY_ID_BYTES);

/**
 * `<name>+<key id, 8 hex digits>+<base64(type ‖ public key)>`. The name is the log's origin, or the witness's name.
 * Throws RangeError for a key that is not 32 bytes and TypeError for a name with spaces or a plus.
 */
export function noteVerifierKey(name: string, publicKey: Uint8Array, type: NoteKeyType = "ed25519"): string {
  if (publicKey.length !== ED25519_KEY_BYTES)
    throw new RangeError("noteVerifierKey: the key must be 32 bytes");
  if (!isKeyName(name)) throw new TypeError("noteVerifierKey: the name must have no space and no plus");
  const encoded = toBase64(concatBytes(Uint8Array.of(NOTE_TYPES[type]), publicKey));
  return `${name}+${hex(noteKeyId(name, publicKey, type))}+${encoded}`;
}

/** Reads a verifier key of either type; undefined for anything else, and when its id does not match. */
export function parseVerifierKey(text: string): VerifierKey | undefined {
  // The base64 part may itself hold a plus.
  const [name = "", keyId = "", ...rest] = text.split("+");
  const bytes = fromBase64(rest.join("+"));
  const type = (Object.keys(NOTE_TYPES) as NoteKeyType[]).find((known) => NOTE_TYPES[known] === bytes?.[0]);
  if (!isKeyName(name) || bytes?.length !== 1 + ED25519_KEY_BYTES || type === undefined) return undefined;
  const publicKey = bytes.slice(1);
  return hex(noteKeyId(name, publicKey, type)) === keyId ? { name, type, publicKey } : undefined;
}

/** Reads the verifier key of a log (type 0x01); undefined for anything else. */
export function parseNoteVerifierKey(text: string): { name: string; publicKey: Uint8Array } | undefined {
  const key = parseVerifierKey(text);
  return key?.type === "ed25519" ? { name: key.name, publicKey: key.publicKey } : undefined;
}

/** One signature line, not yet believed. */
export interface NoteSignature {
  name: string;
  /** 4 bytes. */
  keyId: Uint8Array;
  /** What follows the key id. */
  bytes: Uint8Array;
}

export interface Note {
  /** What is signed: ends with a newline, without the blank line. */
  text: string;
  signatures: NoteSignature[];
}

const SIGNATURE_LINE = /^\u2014 (\S+) (\S+)$/;

function parseSignatureLine(line: string): NoteSignature | undefined {
  const [, name = "", encoded = ""] = SIGNATURE_LINE.exec(line) ?? [];
  const bytes = fromBase64(encoded);
  if (!isKeyName(name) || bytes === undefined || bytes.length <= KEY_ID_BYTES) return undefined;
  return { name, keyId: bytes.slice(0, KEY_ID_BYTES), bytes: bytes.slice(KEY_ID_BYTES) };
}

/** `— <name> base64(key id ‖ signature)` and its newline. */
export const signatureLine = ({ name, keyId, bytes }: NoteSignature): string =>
  `\u2014 ${name} ${toBase64(concatBytes(keyId, bytes))}\n`;

/** Reads signature lines, each ended by a newline; undefined if one is malformed or there are too many. */
export function parseSignatureLines(text: string): NoteSignature[] | undefined {
  if (!text.endsWith("\n") || text.length > MAX_NOTE_CHARACTERS) return undefined;
  const lines = text.slice(0, -1).split("\n");
  if (lines.length > MAX_NOTE_SIGNATURES) return undefined;
  const signatures = lines.map(parseSignatureLine);
  return signatures.every((signature) => signature !== undefined) ? signatures : undefined;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: refusing them is the point
const CONTROL_CHARACTERS = /[\u0000-\u0009\u000b-\u001f]/;

/** Takes a note apart; undefined unless it has the form of one. Nothing in it is believed yet. */
export function parseNote(note: string): Note | undefined {
  if (note.length > MAX_NOTE_CHARACTERS || !note.isWellFormed() || CONTROL_CHARACTERS.test(note))
    return undefined;
  const blank = note.lastIndexOf("\n\n");
  if (blank === -1) return undefined;
  const signatures = parseSignatureLines(note.slice(blank + 2));
  return signatures === undefined ? undefined : { text: note.slice(0, blank + 1), signatures };
}

/** The note with its signature lines. */
export const formatNote = ({ text, signatures }: Note): string =>
  `${text}\n${signatures.map(signatureLine).join("")}`;

/** An Ed25519 signature over the note's text. */
export async function signNote(key: SigningKey, name: string, text: string): Promise<NoteSignature> {
  return { name, keyId: noteKeyId(name, key.publicKey), bytes: await key.sign(utf8(text)) };
}

/** What a cosignature signs: c2sp.org/tlog-cosignature, "Ed25519 signed message". */
const cosignedMessage = (text: string, timeSeconds: number): Uint8Array =>
  utf8(`cosignature/v1\ntime ${timeSeconds}\n${text}`);

/** A cosignature over a checkpoint's text, at a time in seconds since the epoch. */
export async function cosign(
  key: SigningKey,
  name: string,
  text: string,
  timeSeconds: number,
): Promise<NoteSignature> {
  const time = new DataView(new ArrayBuffer(TIMESTAMP_BYTES));
  time.setBigUint64(0, BigInt(timeSeconds));
  return {
    name,
    keyId: noteKeyId(name, key.publicKey, "cosignature"),
    bytes: concatBytes(new Uint8Array(time.buffer), await key.sign(cosignedMessage(text, timeSeconds))),
  };
}

/** Seconds since the epoch that a cosignature names; undefined when it is not one. */
export function cosignatureTime({ bytes }: NoteSignature): number | undefined {
  if (bytes.length !== TIMESTAMP_BYTES + ED25519_SIGNATURE_BYTES) return undefined;
  const time = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0));
  return Number.isSafeInteger(time) ? time : undefined;
}

/** Whether name and key id say that the signature is by this key. Nothing is verified. */
export const isSignedBy = ({ name, keyId }: NoteSignature, key: VerifierKey): boolean =>
  name === key.name && hex(keyId) === hex(noteKeyId(key.name, key.publicKey, key.type));

async function holds(text: string, signature: NoteSignature, key: VerifierKey): Promise<boolean> {
  if (key.type === "ed25519") return verify(key.publicKey, utf8(text), signature.bytes);
  const time = cosignatureTime(signature);
  return (
    time !== undefined &&
    verify(key.publicKey, cosignedMessage(text, time), signature.bytes.subarray(TIMESTAMP_BYTES))
  );
}

export interface VerifiedSignature {
  key: VerifierKey;
  signature: NoteSignature;
  /** Of a cosignature: when it was made. */
  timeSeconds?: number;
}

/**
 * The note's signatures by known keys, each key once. Others are passed over. Undefined when none is by a known key,
 * and when one is but does not hold: then nothing in the note is to be used.
 */
export async function verifyNote(
  { text, signatures }: Note,
  keys: readonly VerifierKey[],
): Promise<VerifiedSignature[] | undefined> {
  const verified: VerifiedSignature[] = [];
  for (const signature of signatures) {
    const key = keys.find((known) => isSignedBy(signature, known));
    if (key === undefined) continue;
    if (!(await holds(text, signature, key))) return undefined;
    if (verified.some((earlier) => earlier.key === key)) continue;
    const timeSeconds = key.type === "cosignature" ? cosignatureTime(signature) : undefined;
    verified.push({ key, signature, ...(timeSeconds === undefined ? {} : { timeSeconds }) });
  }
  return verified.length > 0 ? verified : undefined;
}
