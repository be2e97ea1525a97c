// Pausing a contract and taking it up again (PROTOCOL §7). While it is paused the grant decision refuses every ask;
// answers to what was open count as ever. Both sides keep their keys.

import type { AuditDraft, Change } from "./change.ts";
import { type Failed, fault } from "./faults.ts";
import type { ContractRow } from "./store.ts";

/** How long the word waits for a vault that is offline; missing it costs the person nothing but the notice. */
const PAUSE_NOTICE_MS = 30 * 24 * 3_600_000;

type Paused = "active" | "paused";

/** Brings the contract to `status` and tells the user and the backend; nothing when it is there already. */
export async function setPaused(
  change: Change,
  row: ContractRow,
  status: Paused,
  reason: string | undefined,
  actor: AuditDraft["request"],
): Promise<Failed | undefined> {
  if (row.status === status) return undefined;
  const verb = status === "paused" ? "pause" : "resume";
  if (row.status !== "active" && row.status !== "paused")
    return fault("conflict", `the contract is ${row.status}; only one in force can be ${verb}d`);
  const eventType = `contract.${verb}d`;
  change.audit({
    contractId: row.contract_id,
    operation: `contract.${verb}`,
    status: "success",
    request: actor,
    response: { status },
  });
  await change.say(row, {
    eventType,
    payload: reason === undefined ? {} : { reason },
    expiresAt: change.now + PAUSE_NOTICE_MS,
  });
  change
    .tell(eventType, row.contract_id, { contract_id: row.contract_id, status })
    .updateContract(
      row,
      // The person could not act while it was paused: that time is not held against them.
      { status, ...(status === "active" ? { last_activity_at: change.now, notified_end: null } : {}) },
      { listed: true },
    )
    // The alarm looks at the times of a contract in force anew.
    .due(change.now);
  return undefined;
}
