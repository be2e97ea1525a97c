// The end of a contract, by either side or by time (PROTOCOL §7). At commit nothing passes any more but receipts
// and repeats of the notice; the order of commits here decides every race.

import { signRevocation } from "../../src/contracts/agreement.ts";
import { REVOCATION_NOTICE_MS } from "../../src/protocol/limits.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import { resendPauseMs } from "../../src/requests/lifecycle.ts";
import { endRequest } from "./asking.ts";
import { type ContractRow, isRequest } from "./store.ts";
import type { AuditDraft, Vault } from "./vault.ts";

export interface Ending {
  audits: AuditDraft[];
  write: () => void;
  /** Ids of requests that ended with it: whoever waits for them is told. */
  cancelled: string[];
}

/**
 * What ending a contract writes: pending requests are cancelled, what waits to be sent is withdrawn, profile and
 * shared results are destroyed. Approvals stay: they are the user's own signed word, and prove nothing but that.
 */
export function endContract(
  vault: Vault,
  row: ContractRow,
  end: {
    status: "cancelled" | "expired" | "rejected";
    by: "user" | "service";
    reason?: string | undefined;
    now: number;
  },
  audit: AuditDraft,
): Ending {
  const { now } = end;
  const open = vault.store.openRows(0).filter((other) => other.contract_id === row.contract_id);
  const pending = open.filter(isRequest).filter(({ status }) => status === "pending");
  const endings = pending.map((request) =>
    endRequest(vault, request, end.status === "expired" ? "expired" : "cancelled", now, { with: "contract" }),
  );
  return {
    audits: [audit, ...endings.map((ending) => ending.audit)],
    cancelled: pending.map(({ event_id }) => event_id),
    write: () => {
      for (const ending of endings) ending.write();
      for (const other of open) vault.store.updateOutgoing(other.n, { sealed: null, next_send_at: null });
      vault.store.destroyResults(row.contract_id);
      vault.store.deleteProfile(row.contract_id);
      vault.store.updateContract(row.contract_id, {
        status: end.status,
        ended_at: now,
        ended_by: end.by,
        ended_reason: end.reason ?? null,
        cooling: "[]",
        index_version: row.index_version + 1,
      });
    },
  };
}

/** Ends a contract for the service: the notice is sent until it is receipted, at the latest for 7 days. */
export async function cancelByService(
  vault: Vault,
  row: ContractRow,
  reason: string | undefined,
  keyId: string,
): Promise<{ ending: Ending; n: number; due: number }> {
  const now = vault.now();
  const ending = endContract(
    vault,
    row,
    { status: "cancelled", by: "service", reason, now },
    {
      contractId: row.contract_id,
      operation: "contract.cancel",
      status: "success",
      request: { key_id: keyId, by: "service" },
      response: { status: "cancelled" },
    },
  );
  const notice = await signRevocation(vault.config.signingKey, {
    contract_id: row.contract_id,
    by: "service",
    at: toTimestamp(now),
    ...(reason === undefined ? {} : { reason }),
  });
  const n = vault.store.lastOutgoing() + 1;
  const seq = vault.store.lastSeq(row.contract_id) + 1;
  const sealedUntil = now + REVOCATION_NOTICE_MS;
  const sealed = await vault.seal(
    n,
    { eventType: "contract.cancelled", seq, expiresAt: sealedUntil, contractId: row.contract_id },
    row.user_connection_key,
    () => notice,
  );
  const due = now + resendPauseMs(1);
  return {
    n,
    due,
    ending: {
      ...ending,
      write: () => {
        ending.write();
        vault.store.insertOutgoing({
          n,
          event_id: sealed.eventId,
          event_type: "contract.cancelled",
          contract_id: row.contract_id,
          seq,
          created_at: now,
          sealed: sealed.bytes,
          sealed_until: sealedUntil,
          next_send_at: due,
        });
      },
    },
  };
}
