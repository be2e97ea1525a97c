// Erasing a user: everything stored about them goes, here, in the Directory and in the Journal. What stays are hashes
// that name nobody to who does not know them already: ids of contracts, which are refused for ever, and where the
// chain ended, from where it goes on should the person come back.
//
// Each step can be the last before a crash:
//
//   1. The request. Contracts that stand are ended, with notice, and the wish to erase is written, in one transaction.
//      From then on nothing new begins: asks and submissions are refused.
//   2. The wait, for what still has to leave: the notice (7 days at most), index rows, events, entries. Nothing is done.
//   3. The others forget, in this object's turn: nothing can leave it meanwhile. Each of them does it in one
//      transaction and finds nothing to do the second time, so that a crash before step 4 means: once more.
//   4. This object forgets, in one transaction with the note that it did. There is nothing to repair after it.

import { isEnded } from "../../src/protocol/contract.ts";
import { newEventId } from "../../src/protocol/ids.ts";
import { REVOCATION_NOTICE_MS } from "../../src/protocol/limits.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import type { DirectoryForUsers, ErasureView, RpcResult } from "../../src/rpc.ts";
import { journalFor } from "../../src/webhooks/shards.ts";
import type { Change } from "./change.ts";
import { cancelByService, rejectByService } from "./ending.ts";
import { openFrom } from "./store.ts";
import type { Vault } from "./vault.ts";

/** Past the notice's own time, so that what ends with it has ended. */
const LAST_WAIT_MS = REVOCATION_NOTICE_MS + 3_600_000;
/** Looks while something still has to leave: soon at first, then seldom. */
const MIN_LOOK_MS = 2_000;
const MAX_LOOK_MS = 600_000;

export interface ErasureRow {
  erasure_id: string;
  key_id: string;
  requested_at: number;
  /** When step 4 was; null until then. */
  erased_at: number | null;
}

export const erasureView = (userId: string, row: ErasureRow): ErasureView => ({
  user_id: userId,
  erasure_id: row.erasure_id,
  status: row.erased_at === null ? "erasing" : "erased",
  requested_at: toTimestamp(row.requested_at),
  ...(row.erased_at === null
    ? { erased_by: toTimestamp(row.requested_at + LAST_WAIT_MS) }
    : { erased_at: toTimestamp(row.erased_at) }),
});

/** Step 1. Asked for again while it is under way, it stays the one it is. */
export async function requestErasure(
  change: Change,
  keyId: string,
  reason: string | undefined,
): Promise<RpcResult<ErasureView>> {
  const { vault, now } = change;
  const { store, userId } = vault;
  const known = store.erasure();
  // Under way; or just done, when this call had come before that.
  if (known !== undefined && (known.erased_at === null || !store.isKnown))
    return { ok: true, value: erasureView(userId, known) };
  const row: ErasureRow = { erasure_id: newEventId(), key_id: keyId, requested_at: now, erased_at: null };
  for (const contract of store.contracts()) {
    if (contract.status === "pending") await rejectByService(change, contract, reason, { key_id: keyId });
    else if (!isEnded(contract.status)) await cancelByService(change, contract, reason, { key_id: keyId });
  }
  change
    .audit({
      operation: "user.erase",
      status: "success",
      request: { key_id: keyId },
      response: { erasure_id: row.erasure_id },
    })
    .write(() => store.putErasure(row))
    .due(now);
  return { ok: true, value: erasureView(userId, row) };
}

/** Whether nothing waits to leave any more, or it has waited long enough. */
function isReady(vault: Vault, { requested_at }: ErasureRow): boolean {
  const { store, heads, feeder } = vault;
  const contracts = store.contracts();
  const waits =
    contracts.some(
      (row) => row.indexed_version < row.index_version || store.connectionKeyIds(row.contract_id).length > 0,
    ) ||
    store.openRows(openFrom(contracts)).some(({ sealed }) => sealed !== null) ||
    store.untold(1).length > 0 ||
    heads.isBehind() ||
    feeder.isBehind();
  return !waits || vault.now() >= requested_at + LAST_WAIT_MS;
}

/** Steps 2 to 4, in this object's turn. True when all of it is done. */
export async function finishErasure(vault: Vault): Promise<boolean> {
  const { store, storage } = vault;
  const row = store.erasure();
  if (row === undefined || row.erased_at !== null) return false;
  const now = vault.now();
  if (!isReady(vault, row)) {
    const pause = Math.min(Math.max((now - row.requested_at) / 4, MIN_LOOK_MS), MAX_LOOK_MS);
    vault.wakeBy(now + Math.round(pause));
    return false;
  }
  // A crash, or one of them away, from here on: the alarm begins again.
  vault.wakeBy(now + MIN_LOOK_MS);
  await forgetElsewhere(vault, row);
  store.transaction(() => store.forget(now));
  void storage.deleteAlarm();
  return true;
}

/** Step 3; also when a finished erasure is asked for again, in case anything about the user was on its way then. */
export async function forgetElsewhere(
  { env, userId }: Pick<Vault, "env" | "userId">,
  { erasure_id, key_id }: Pick<ErasureRow, "erasure_id" | "key_id">,
): Promise<void> {
  const directory = env.DIRECTORY.getByName("directory") as unknown as DirectoryForUsers;
  await directory.forgetUser({ userId, erasureId: erasure_id, keyId: key_id });
  await journalFor(env, userId).forgetUser(userId, erasure_id);
}
