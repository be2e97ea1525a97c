// What a log and a witness say to each other: https://c2sp.org/tlog-witness, "add-checkpoint". Both sides.

import { toBase64 } from "../protocol/encoding.ts";
import { parseDecimal, parseHash } from "./checkpoint.ts";
import { MAX_PROOF_HASHES } from "./merkle.ts";
import { MAX_NOTE_CHARACTERS, parseVerifierKey, type VerifierKey } from "./note.ts";

export const ADD_CHECKPOINT_PATH = "/add-checkpoint";
/** Content-Type of a 409 that names the size the witness knows. */
export const SIZE_TYPE = "text/x.tlog.size";
const MAX_BODY_CHARACTERS = MAX_NOTE_CHARACTERS + 4_096;

export interface AddCheckpoint {
  /** Size of the checkpoint the witness cosigned last, 0 if it never did. */
  oldSize: number;
  /** Consistency proof from that size, RFC 6962 §2.1.2; empty from 0. */
  proof: Uint8Array[];
  /** The signed checkpoint. */
  checkpoint: string;
}

export const formatAddCheckpoint = ({ oldSize, proof, checkpoint }: AddCheckpoint): string =>
  [`old ${oldSize}`, ...proof.map(toBase64), "", checkpoint].join("\n");

/** Reads the body; undefined for anything that is not one. The checkpoint is not yet looked at. */
export function parseAddCheckpoint(body: string): AddCheckpoint | undefined {
  if (body.length > MAX_BODY_CHARACTERS) return undefined;
  const blank = body.indexOf("\n\n");
  if (blank === -1) return undefined;
  const [first = "", ...lines] = body.slice(0, blank).split("\n");
  const oldSize = first.startsWith("old ") ? parseDecimal(first.slice("old ".length)) : undefined;
  const proof = lines.map(parseHash);
  if (oldSize === undefined || proof.length > MAX_PROOF_HASHES) return undefined;
  if (!proof.every((hash) => hash !== undefined)) return undefined;
  return { oldSize, proof, checkpoint: body.slice(blank + 2) };
}

/** A witness the log asks. */
export interface WitnessAddress {
  /** Of its cosignatures: type 0x04. */
  key: VerifierKey;
  /** Submission prefix, without a slash at its end. */
  url: string;
}

/**
 * Reads `vkey|url` entries, separated by commas. A string says which entry is wrong: verifier keys are public, so it
 * may be shown.
 */
export function parseWitnesses(text: string): WitnessAddress[] | string {
  const witnesses: WitnessAddress[] = [];
  for (const entry of text.split(",").map((part) => part.trim())) {
    if (entry === "") continue;
    const [vkey = "", url = "", ...rest] = entry.split("|");
    const key = parseVerifierKey(vkey);
    if (key?.type !== "cosignature") return `"${vkey}" is not the verifier key of a cosigner (type 0x04)`;
    if (rest.length > 0 || !/^https?:\/\/\S+$/.test(url) || !URL.canParse(url))
      return `witness ${key.name} needs an http(s) URL: <vkey>|<url>`;
    if (witnesses.some((earlier) => earlier.key.name === key.name))
      return `witness ${key.name} is named twice`;
    witnesses.push({ key, url: url.replace(/\/+$/, "") });
  }
  return witnesses;
}
