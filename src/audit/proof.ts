// That an entry is in the log, in a file of its own that is checked offline: https://c2sp.org/tlog-proof.

import { fromBase64, toBase64 } from "../protocol/encoding.ts";
import { err, ok, type Result } from "../protocol/result.ts";
import {
  type CheckpointFault,
  type OpenedCheckpoint,
  openCheckpoint,
  parseDecimal,
  parseHash,
} from "./checkpoint.ts";
import { type LeafOpening, openingBytes } from "./leaf.ts";
import { leafHash, MAX_PROOF_HASHES, verifyInclusion } from "./merkle.ts";
import { MAX_NOTE_CHARACTERS, type VerifierKey } from "./note.ts";

const HEADER = "c2sp.org/tlog-proof@v1";
/** Opaque data carried along; this log's openings are 96 bytes. */
export const MAX_EXTRA_BYTES = 4_096;
const MAX_PROOF_CHARACTERS = MAX_NOTE_CHARACTERS + 16_384;

export interface LogProof {
  /** Carried along and not authenticated: believe of it only what hashes to the leaf. */
  extra?: Uint8Array;
  /** Of the leaf, from 0. */
  index: number;
  /** RFC 6962 §2.1.1, the leaf's sibling first. */
  hashes: Uint8Array[];
  /** The signed checkpoint, as published. */
  checkpoint: string;
}

export const formatProof = ({ extra, index, hashes, checkpoint }: LogProof): string =>
  [
    HEADER,
    ...(extra === undefined ? [] : [`extra ${toBase64(extra)}`]),
    `index ${index}`,
    ...hashes.map(toBase64),
    "",
    checkpoint,
  ].join("\n");

/** Reads a proof; undefined for anything that is not one. Nothing in it is believed yet. */
export function parseProof(text: string): LogProof | undefined {
  if (text.length > MAX_PROOF_CHARACTERS) return undefined;
  const blank = text.indexOf("\n\n");
  if (blank === -1) return undefined;
  const [header, ...lines] = text.slice(0, blank).split("\n");
  if (header !== HEADER) return undefined;
  let extra: Uint8Array | undefined;
  if (lines[0]?.startsWith("extra ")) {
    extra = fromBase64(lines.shift()!.slice("extra ".length));
    if (extra === undefined || extra.length > MAX_EXTRA_BYTES) return undefined;
  }
  const indexLine = lines.shift();
  const index = indexLine?.startsWith("index ") ? parseDecimal(indexLine.slice("index ".length)) : undefined;
  const hashes = lines.map(parseHash);
  if (index === undefined || hashes.length > MAX_PROOF_HASHES) return undefined;
  if (!hashes.every((hash) => hash !== undefined)) return undefined;
  const checkpoint = text.slice(blank + 2);
  return { ...(extra === undefined ? {} : { extra }), index, hashes, checkpoint };
}

/** A proof with the opening of its leaf as `extra`: it says by itself which chain's head it is about. */
export function withOpening(text: string, opening: LeafOpening): string {
  const proof = parseProof(text);
  if (proof === undefined) throw new TypeError("withOpening: not a proof");
  return formatProof({ ...proof, extra: openingBytes(opening) });
}

export type ProofFault = CheckpointFault | "inclusion";

/**
 * Checks that `entry` (the log's entry, not yet hashed as a leaf) is in the log: the proof's form, the log's and the
 * known witnesses' signatures, and the path to the signed root. Whether the cosigners are enough is for the caller.
 */
export async function verifyProof(
  text: string,
  entry: Uint8Array,
  log: VerifierKey,
  witnesses: readonly VerifierKey[] = [],
): Promise<Result<{ index: number; checkpoint: OpenedCheckpoint }, ProofFault>> {
  const proof = parseProof(text);
  if (proof === undefined) return err("malformed");
  const opened = await openCheckpoint(proof.checkpoint, log, witnesses);
  if (!opened.ok) return opened;
  const { size, root } = opened.value;
  return verifyInclusion(leafHash(entry), proof.index, size, root, proof.hashes)
    ? ok({ index: proof.index, checkpoint: opened.value })
    : err("inclusion");
}
