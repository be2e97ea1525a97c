// The end of a contract, by either side or by time (PROTOCOL §7). At commit nothing passes any more but receipts
// and repeats of the notice; the order of commits here decides every race.

import { signRevocation } from "../../src/contracts/agreement.ts";
import { REVOCATION_NOTICE_MS } from "../../src/protocol/limits.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import { closeAmendment } from "./amending.ts";
import { endMachine, endRequest } from "./asking.ts";
import type { AuditDraft, Change } from "./change.ts";
import { type ContractRow, isRequest } from "./store.ts";

export interface End {
  status: "cancelled" | "expired" | "rejected";
  by: "user" | "service";
  reason?: string | undefined;
}

/**
 * Ends a contract: pending requests end with it, what waits to be sent is withdrawn, profile and shared values are
 * destroyed. Approvals stay: they are the user's own signed word, and prove nothing but that.
 */
export async function endContract(
  change: Change,
  row: ContractRow,
  end: End,
  audit: AuditDraft,
): Promise<void> {
  const { vault, now } = change;
  const { store } = vault;
  // With the contract in force ends what was still to be finished under the ones it superseded.
  const before =
    row.status === "pending"
      ? []
      : store
          .contracts()
          .filter(({ status, contract_id }) => status === "superseded" && !change.ending.has(contract_id));
  const ids = [row, ...before].map(({ contract_id }) => contract_id);
  const open = store.openRows(0).filter((other) => ids.includes(other.contract_id));
  const timed = store.timedRows().filter((other) => ids.includes(other.contract_id));
  change.audit(audit);
  for (const id of ids) change.ending.add(id);
  const proposed = store.pendingAmendment(row.contract_id);
  if (proposed !== undefined) closeAmendment(change, proposed, { status: "expired" }, { with: "contract" });
  for (const request of open.filter(isRequest))
    if (request.status === "pending")
      await endRequest(
        change,
        request,
        end.status === "expired" ? "expired" : "cancelled",
        { with: "contract" },
        true,
      );
  for (const request of timed)
    if (request.status !== "pending" && request.due_at !== null) await endMachine(change, request);
  if (end.status !== "rejected")
    change.tell(end.status === "expired" ? "contract.expired" : "contract.cancelled", row.contract_id, {
      contract_id: row.contract_id,
      by: end.by,
      status: end.status,
    });
  change
    .write(() => {
      for (const other of open) store.updateOutgoing(other.n, { sealed: null, next_send_at: null });
      for (const other of timed) store.updateOutgoing(other.n, { due_at: null });
      for (const id of ids) {
        store.destroyResults(id);
        store.deleteKeptOf(id);
        store.destroyAmendmentReasons(id);
      }
      for (const { contract_id } of before) vault.destroyKeys(contract_id);
      store.deleteProfile(row.contract_id);
    })
    .updateContract(
      row,
      {
        status: end.status,
        ended_at: now,
        ended_by: end.by,
        ended_reason: end.reason ?? null,
        cooling: "[]",
      },
      { listed: true },
    )
    .due(now + REVOCATION_NOTICE_MS);
}

/** Rejects a contract that waits for the service's word. */
export async function rejectByService(
  change: Change,
  row: ContractRow,
  reason: string | undefined,
  request: AuditDraft["request"],
): Promise<void> {
  await endContract(
    change,
    row,
    { status: "rejected", by: "service", reason },
    {
      contractId: row.contract_id,
      operation: "contract.reject",
      status: "success",
      request,
      response: { status: "rejected" },
    },
  );
  await change.say(row, {
    eventType: "contract.rejected",
    ref: row.submit_event_id,
    payload: { reason: "declined", ...(reason === undefined ? {} : { detail: reason }) },
    expiresAt: change.now + REVOCATION_NOTICE_MS,
    setup: true,
  });
}

/** Ends a contract for the service: the notice is sent until it is receipted, at the latest for 7 days. */
export async function cancelByService(
  change: Change,
  row: ContractRow,
  reason: string | undefined,
  request: AuditDraft["request"],
): Promise<void> {
  const { vault, now } = change;
  await endContract(
    change,
    row,
    { status: "cancelled", by: "service", reason },
    {
      contractId: row.contract_id,
      operation: "contract.cancel",
      status: "success",
      request: { by: "service", ...request },
      response: { status: "cancelled" },
    },
  );
  const notice = await signRevocation(vault.config.signingKey, {
    contract_id: row.contract_id,
    by: "service",
    at: toTimestamp(now),
    ...(reason === undefined ? {} : { reason }),
  });
  await change.say(row, {
    eventType: "contract.cancelled",
    payload: notice,
    expiresAt: now + REVOCATION_NOTICE_MS,
  });
}
