// What a service shows of its audit chain, held against what this vault was told of it.

import { parseVerifierKey, type VerifierKey } from "../../src/audit/note.ts";
import { type Finding, readEvidence } from "../../src/audit/verify.ts";
import type { AuditEntry } from "../../src/protocol/audit.ts";
import type { AuditResponse } from "../../src/protocol/messages.ts";
import { fromTimestamp } from "../../src/protocol/primitives.ts";
import { VaultError } from "./errors.ts";
import type { Receipt } from "./events.ts";
import type { ContractRow } from "./store.ts";

export interface AuditReport {
  /** Whether nothing speaks against it. */
  valid: boolean;
  entries: AuditEntry[];
  /** Entries, from the first, that a proof shows to be in the service's public log. */
  covered: number;
  /** The newest proven head: its leaf, the tree it is in, and the witnesses that cosigned it. */
  logged?: { leaf_index: number; size: number; cosigners: string[] };
  /** Receipts this vault holds whose entry the chain must have. */
  receipts: number;
  findings: Finding[];
}

/** Verifies the pages of one chain, in order, by the keys of the offer the contract was signed on. */
export async function readPages(
  pages: readonly AuditResponse[],
  contract: ContractRow,
  receipts: readonly Receipt[],
  witnessKeys: readonly string[] = [],
): Promise<AuditReport> {
  const { offer, contract: terms } = contract.terms;
  const log = parseVerifierKey(offer.log_vkey);
  if (log?.type !== "ed25519")
    throw new VaultError("offer_refused", "The service's offer names no key of an audit log.");
  const witnesses = witnessKeys.map((text): VerifierKey => {
    const key = parseVerifierKey(text);
    if (key?.type !== "cosignature") throw new TypeError("readPages: not the verifier key of a witness");
    return key;
  });
  const entries = pages.flatMap((page) => page.entries);
  const after = pages[0]?.pruned_to;
  const reading = await readEvidence(
    {
      entries,
      ...(after === undefined ? {} : { after }),
      proofs: pages.flatMap(({ proof }) => (proof === undefined ? [] : [proof])),
    },
    { serviceId: offer.service_id, publicKey: offer.service_public_key, ownerId: terms.user_id },
    log,
    witnesses,
  );
  // What was pruned cannot be looked for; the hash it ended in is part of what was verified.
  const begins = after === undefined || entries[0] === undefined ? 0 : fromTimestamp(entries[0].timestamp);
  const expected = receipts.filter(
    ({ event_hash, received_at }) => event_hash !== undefined && fromTimestamp(received_at) >= begins,
  );
  const shown = new Set(reading.hashes);
  const findings = [
    ...reading.findings,
    ...expected
      .filter(({ event_hash }) => !shown.has(event_hash!))
      .map(({ event_id, event_type }): Finding => {
        const detail = `the service's receipt for ${event_type} ${event_id} names an entry that its chain does not have`;
        return { kind: "removed", detail };
      }),
  ];
  const newest = reading.heads.at(-1);
  return {
    valid: findings.length === 0,
    entries,
    covered: reading.covered,
    ...(newest === undefined
      ? {}
      : {
          logged: {
            leaf_index: newest.index,
            size: newest.checkpoint.size,
            cosigners: newest.checkpoint.cosigners.map(({ name }) => name),
          },
        }),
    receipts: expected.length,
    findings,
  };
}
