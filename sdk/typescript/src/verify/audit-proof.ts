// That a chain's head is in the public log, from a proof alone (https://c2sp.org/tlog-proof).

import type { OpenedCheckpoint } from "../../../../src/audit/checkpoint.ts";
import { LEAF_OPENING_BYTES, leafOf, parseOpening } from "../../../../src/audit/leaf.ts";
import { parseVerifierKey, type VerifierKey } from "../../../../src/audit/note.ts";
import { parseProof, verifyProof } from "../../../../src/audit/proof.ts";
import { VerificationError } from "./verification-error.ts";

export interface ExpectedProof {
  /** `user_id`, or `service_id` for the service's own chain. */
  ownerId: string;
  /** `event_hash` of the entry that must be the chain's head in the log; its end, as `verifyChain` gives it. */
  head: string;
  /** The log's verifier key, `<origin>+<id>+<key>`: from a place you trust, not from the proof. */
  logKey: string;
  /** Verifier keys of witnesses you know. */
  witnessKeys?: readonly string[];
  /** How many of those must have cosigned. Default 0. */
  minWitnesses?: number;
}

export interface VerifiedProof {
  /** The leaf's place in the log, from 0; for good. */
  index: number;
  checkpoint: {
    origin: string;
    /** Leaves under the checkpoint. */
    size: number;
    /** Witnesses that cosigned, and when, in seconds since the epoch. */
    cosigners: readonly { name: string; timeSeconds: number }[];
  };
}

function verifierKey(text: string, type: VerifierKey["type"], what: string): VerifierKey {
  const key = parseVerifierKey(text);
  if (key?.type !== type) throw new TypeError(`verifyAuditProof: this is not the verifier key of a ${what}`);
  return key;
}

/** Resolves when the log holds this head of this chain under its signed checkpoint; throws VerificationError otherwise. */
export async function verifyAuditProof(proof: string, expected: ExpectedProof): Promise<VerifiedProof> {
  const log = verifierKey(expected.logKey, "ed25519", "log");
  const witnesses = (expected.witnessKeys ?? []).map((text) => verifierKey(text, "cosignature", "witness"));
  const minWitnesses = expected.minWitnesses ?? 0;
  if (!(minWitnesses <= witnesses.length))
    throw new TypeError("verifyAuditProof: minWitnesses is more than the witnesses given");
  const extra = typeof proof === "string" ? parseProof(proof)?.extra : undefined;
  const opening = extra === undefined ? undefined : parseOpening(extra);
  if (opening === undefined)
    throw new VerificationError("malformed", `the proof does not open a leaf of ${LEAF_OPENING_BYTES} bytes`);
  if (opening.ownerId !== expected.ownerId || opening.head !== expected.head)
    throw new VerificationError("mismatch", "the proof is about another chain, or another head of it");
  const verified = await verifyProof(proof, leafOf(opening), log, witnesses);
  if (!verified.ok) {
    if (verified.error === "inclusion")
      throw new VerificationError("not_in_log", "the log's tree does not hold this entry");
    if (verified.error === "malformed")
      throw new VerificationError("malformed", "the proof has no proof's form");
    if (verified.error === "origin") throw new VerificationError("mismatch", "the proof is of another log");
    throw new VerificationError("signature_invalid", "the checkpoint is not signed by the log");
  }
  const { index, checkpoint }: { index: number; checkpoint: OpenedCheckpoint } = verified.value;
  const { origin, size, cosigners } = checkpoint;
  if (new Set(cosigners.map(({ name }) => name)).size < minWitnesses)
    throw new VerificationError("witnesses_missing", "too few of the witnesses saw this checkpoint");
  return { index, checkpoint: { origin, size, cosigners } };
}
