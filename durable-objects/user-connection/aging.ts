// Ends that come by themselves: a contract's own expiry, and inactivity where the offering says so. Both are
// announced ahead: to the backend by an event, to the user by a message where their vault cannot know by itself.

import { signRevocation } from "../../src/contracts/agreement.ts";
import { REVOCATION_NOTICE_MS } from "../../src/protocol/limits.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import type { Change } from "./change.ts";
import { endContract } from "./ending.ts";
import type { ContractRow } from "./store.ts";

const DAY_MS = 24 * 3_600_000;
/** How long ahead an end is announced; half the time there is, where that is less. */
export const END_NOTICE_MS = 7 * DAY_MS;

interface End {
  at: number;
  reason: "expired" | "inactive";
  /** Since when it has been coming. */
  since: number;
}

/** The end that comes first. What the user sends is activity; receipts are not, and a pause stops the clock. */
function endOf(change: Change, row: ContractRow): End | undefined {
  const since = row.activated_at ?? row.created_at;
  const ends: End[] = [];
  if (row.expires_at !== null) ends.push({ at: row.expires_at, reason: "expired", since });
  const days = change.vault.contractOf(row).offering_snapshot.inactivity_expiry_days;
  if (days !== undefined && row.status === "active") {
    const idleSince = Math.max(row.last_activity_at ?? 0, since);
    ends.push({ at: idleSince + days * DAY_MS, reason: "inactive", since: idleSince });
  }
  return ends.sort((one, other) => one.at - other.at)[0];
}

/** Ends a contract whose time is over, or announces it. True when it has ended. */
export async function endInTime(change: Change, row: ContractRow): Promise<boolean> {
  const { vault, now } = change;
  const end = endOf(change, row);
  if (end === undefined) return false;
  if (end.at <= now) {
    await expire(change, row, end);
    return true;
  }
  const noticeAt = end.at - Math.min(END_NOTICE_MS, (end.at - end.since) / 2);
  if (row.status === "pending" || row.notified_end === end.at) change.due(end.at);
  else if (noticeAt > now) change.due(noticeAt);
  else {
    change
      .audit({
        contractId: row.contract_id,
        operation: "contract.notice",
        status: "success",
        response: { reason: end.reason, expires_at: toTimestamp(end.at) },
      })
      .tell("contract.expiring", row.contract_id, {
        contract_id: row.contract_id,
        reason: end.reason,
        expires_at: toTimestamp(end.at),
      })
      .write(() => vault.store.updateContract(row.contract_id, { notified_end: end.at }))
      .due(end.at);
    if (end.reason === "inactive")
      await change.say(row, {
        eventType: "contract.expiring",
        payload: { expires_at: toTimestamp(end.at), reason: "inactive" },
        expiresAt: end.at,
      });
  }
  return false;
}

async function expire(change: Change, row: ContractRow, { reason }: End): Promise<void> {
  const { vault, now } = change;
  await endContract(
    change,
    row,
    { status: "expired", by: "service", ...(reason === "inactive" ? { reason } : {}) },
    {
      contractId: row.contract_id,
      operation: "contract.expire",
      status: "success",
      request: { reason },
      response: { status: "expired" },
    },
  );
  if (reason === "expired") return;
  // The user's vault holds no clock of this: it is told, in the form of every end by the service.
  const notice = await signRevocation(vault.config.signingKey, {
    contract_id: row.contract_id,
    by: "service",
    at: toTimestamp(now),
    reason,
  });
  await change.say(row, {
    eventType: "contract.cancelled",
    payload: notice,
    expiresAt: now + REVOCATION_NOTICE_MS,
  });
}
