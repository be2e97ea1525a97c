// Everything that is due on a user's object, found when its one alarm fires: expiries, ends of contracts, keys to
// destroy, machines to look at, messages to send again. One change; an alarm that is late or repeated finds what
// is left.

import { isEnded } from "../../src/protocol/contract.ts";
import { REVOCATION_NOTICE_MS } from "../../src/protocol/limits.ts";
import { RECOVERY_MS } from "../heads.ts";
import { endInTime } from "./aging.ts";
import { expireAmendments, finishSuperseded, hasUnfinished } from "./amending.ts";
import { endRequest, takeDue } from "./asking.ts";
import { Change } from "./change.ts";
import type { Outbox } from "./outbox.ts";
import { rotateInTime } from "./rotating.ts";
import { isRequest, openFrom } from "./store.ts";
import type { Vault } from "./vault.ts";

const DAY_MS = 24 * 3_600_000;
/** After some of what was kept was destroyed, the rest is looked at again. */
const KEPT_LOOK_MS = 60_000;

/** Entries that have outlived their time go, at most once a day, as far as the log vouches for them. */
function pruneAudit(change: Change): void {
  const { vault, now } = change;
  const days = vault.config.AUDIT_RETENTION_DAYS;
  const prunableAt = days === undefined ? undefined : vault.heads.prunableAt();
  if (days === undefined || prunableAt === undefined) return;
  const cutoff = now - days * DAY_MS;
  // What a sink was not handed yet stays.
  if (prunableAt < cutoff)
    change.write(() => vault.heads.prune(cutoff, vault.feeder.handedTo())).due(now + DAY_MS);
  else change.due(Math.max(prunableAt + days * DAY_MS, now + DAY_MS));
}

/** Looks at everything once and commits what is due. Rows to send again are in the change's `send`. */
export async function tick(vault: Vault, outbox: Outbox): Promise<Change> {
  const change = new Change(vault);
  const { now } = change;
  const { store } = vault;
  const contracts = store.contracts();
  const open = store.openRows(openFrom(contracts));
  const { ending } = change;
  const expired = new Set<number>();

  for (const row of contracts) {
    if (isEnded(row.status)) {
      if (store.connectionKeyIds(row.contract_id).length === 0) continue;
      if (row.status === "superseded") {
        await finishSuperseded(change, row, open);
        continue;
      }
      const destroyAt = row.ended_at! + REVOCATION_NOTICE_MS;
      if (destroyAt > now) change.due(destroyAt);
      else change.write(() => vault.destroyKeys(row.contract_id));
    } else if (!(await endInTime(change, row))) await rotateInTime(change, row);
  }
  expireAmendments(change);

  outbox.keepOnly(open);
  for (const row of open) {
    if (ending.has(row.contract_id)) continue;
    if (isRequest(row) && row.status === "pending") {
      if (row.grace_until <= now) {
        await endRequest(change, row, "expired");
        expired.add(row.n);
        continue;
      }
      change.due(row.grace_until);
    }
    if (row.sealed === null) continue;
    if (row.sealed_until <= now) {
      change.write(() => store.updateOutgoing(row.n, { sealed: null, next_send_at: null }));
    } else if (row.next_send_at !== null && row.next_send_at <= now) {
      const resending = outbox.resending(row, now);
      change.write(() => store.updateOutgoing(row.n, resending)).due(resending.next_send_at);
      change.send.push(row.n);
    } else {
      change.due(row.next_send_at);
    }
  }
  // What has just expired may have been the last thing open under a superseded contract.
  if (expired.size > 0 && hasUnfinished(vault)) change.due(now + 1);
  // A row that has just expired was given its next look with that.
  for (const row of store.timedRows())
    if (!ending.has(row.contract_id) && !expired.has(row.n)) await takeDue(change, row);
  const keptUntil = store.nextKeptUntil();
  if (keptUntil !== undefined && keptUntil <= now) {
    change
      .audit({ operation: "kept.destroy", status: "success" })
      .write(() => store.deleteKeptUntil(now))
      .due(now + KEPT_LOOK_MS);
  } else change.due(keptUntil);
  pruneAudit(change);
  // The alarm comes back until Journal and log have what is theirs.
  if (store.untold(1).length > 0 || vault.heads.isBehind() || vault.feeder.isBehind())
    change.due(now + RECOVERY_MS);
  await change.commit();
  return change;
}
