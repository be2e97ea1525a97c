// What the log says of itself, signed: https://c2sp.org/tlog-checkpoint.

import type { SigningKey } from "../crypto/signing.ts";
import { fromBase64, toBase64 } from "../protocol/encoding.ts";
import { err, ok, type Result } from "../protocol/result.ts";
import { HASH_BYTES } from "./merkle.ts";
import { formatNote, type Note, parseNote, signNote, type VerifierKey, verifyNote } from "./note.ts";

/** A tree, by the name of its log, its size and its root. */
export interface TreeHead {
  origin: string;
  /** Leaves. */
  size: number;
  /** MTH(D[0:size]) of RFC 6962 §2.1, 32 bytes. */
  root: Uint8Array;
}

export interface Checkpoint extends TreeHead {
  /** Lines after the third. This log writes none; those of others are part of what is signed. */
  extensions: string[];
}

/** Where the log is served, under the Worker's origin. */
export const LOG_PATH = "/log";

/**
 * The log's name: the prefix its checkpoint and tiles are served under, without the scheme (c2sp.org/tlog-tiles,
 * "Parameters"). It must never change: to witnesses and verifiers another origin is another log.
 */
export const logOrigin = (publicUrl: string): string => `${new URL(publicUrl).host}${LOG_PATH}`;

/** Three lines, each with its newline. Throws TypeError for an origin that is empty or more than one line. */
export function checkpointText({ origin, size, root }: TreeHead): string {
  if (!/^.+$/u.test(origin)) throw new TypeError("checkpointText: the origin must be one line");
  return `${origin}\n${size}\n${toBase64(root)}\n`;
}

const DECIMAL = /^(?:0|[1-9]\d{0,15})$/;

/** A number as these formats write it: ASCII digits, no leading zeroes; undefined beyond 2^53−1. */
export function parseDecimal(text: string): number | undefined {
  const value = DECIMAL.test(text) ? Number(text) : undefined;
  return Number.isSafeInteger(value) ? value : undefined;
}

/** A SHA-256 hash in base64; undefined for anything else. */
export function parseHash(text: string): Uint8Array | undefined {
  const bytes = fromBase64(text);
  return bytes?.length === HASH_BYTES ? bytes : undefined;
}

/** Reads a checkpoint's text; undefined for anything that is not one. */
export function parseCheckpointText(text: string): Checkpoint | undefined {
  if (!text.endsWith("\n")) return undefined;
  const [origin = "", sizeText = "", rootText = "", ...extensions] = text.slice(0, -1).split("\n");
  const size = parseDecimal(sizeText);
  const root = parseHash(rootText);
  if (origin === "" || size === undefined || root === undefined || extensions.includes("")) return undefined;
  return { origin, size, root, extensions };
}

/** The signed note of a tree, by the log's own key, whose name is the origin. */
export async function signCheckpoint(key: SigningKey, head: TreeHead): Promise<string> {
  const text = checkpointText(head);
  return formatNote({ text, signatures: [await signNote(key, head.origin, text)] });
}

/** Takes a checkpoint apart without believing it; undefined for anything that is not one. */
export function parseCheckpoint(note: string): { note: Note; checkpoint: Checkpoint } | undefined {
  const parsed = parseNote(note);
  const checkpoint = parsed && parseCheckpointText(parsed.text);
  return parsed === undefined || checkpoint === undefined ? undefined : { note: parsed, checkpoint };
}

export interface Cosigner {
  name: string;
  /** When the witness saw the checkpoint, in seconds since the epoch, by its own clock. */
  timeSeconds: number;
}

export interface OpenedCheckpoint extends Checkpoint {
  /** The known witnesses that cosigned. Whether they are enough is for the caller to say. */
  cosigners: Cosigner[];
}

export type CheckpointFault = "malformed" | "signature" | "origin";

/**
 * Opens a checkpoint: its form, the log's signature, and every signature by a known witness. A signature by a known
 * key that does not hold condemns the whole note; one by an unknown key says nothing.
 */
export async function openCheckpoint(
  text: string,
  log: VerifierKey,
  witnesses: readonly VerifierKey[] = [],
): Promise<Result<OpenedCheckpoint, CheckpointFault>> {
  const parsed = parseCheckpoint(text);
  if (parsed === undefined) return err("malformed");
  const verified = await verifyNote(parsed.note, [log, ...witnesses]);
  if (!verified?.some(({ key }) => key === log)) return err("signature");
  // The key's name is the log's: a key used for two logs must not let one pass for the other.
  if (parsed.checkpoint.origin !== log.name) return err("origin");
  const cosigners = verified.flatMap(({ key, timeSeconds }) =>
    timeSeconds === undefined ? [] : [{ name: key.name, timeSeconds }],
  );
  return ok({ ...parsed.checkpoint, cosigners });
}
