// Everything that is due on a user's object, found when its one alarm fires: expiries, ends of contracts, keys to
// destroy, machines to look at, messages to send again. One change; an alarm that is late or repeated finds what
// is left.

import { isEnded } from "../../src/protocol/contract.ts";
import { REVOCATION_NOTICE_MS } from "../../src/protocol/limits.ts";
import { endRequest, takeDue } from "./asking.ts";
import { Change } from "./change.ts";
import { endContract } from "./ending.ts";
import type { Outbox } from "./outbox.ts";
import { isRequest, openFrom } from "./store.ts";
import type { Vault } from "./vault.ts";

/** Looks at everything once and commits what is due. Rows to send again are in the change's `send`. */
export async function tick(vault: Vault, outbox: Outbox): Promise<Change> {
  const change = new Change(vault);
  const { now } = change;
  const { store } = vault;
  const contracts = store.contracts();
  const ending = new Set<string>();

  for (const row of contracts) {
    if (isEnded(row.status)) {
      if (store.connectionKeyIds(row.contract_id).length === 0) continue;
      const destroyAt = row.ended_at! + REVOCATION_NOTICE_MS;
      if (destroyAt > now) change.due(destroyAt);
      else change.write(() => vault.destroyKeys(row.contract_id));
    } else if (row.expires_at !== null && row.expires_at <= now) {
      ending.add(row.contract_id);
      await endContract(
        change,
        row,
        { status: "expired", by: "service" },
        {
          contractId: row.contract_id,
          operation: "contract.expire",
          status: "success",
          response: { status: "expired" },
        },
      );
    } else {
      change.due(row.expires_at);
    }
  }

  const open = store.openRows(openFrom(contracts));
  outbox.keepOnly(open);
  for (const row of open) {
    if (ending.has(row.contract_id)) continue;
    if (isRequest(row) && row.status === "pending") {
      if (row.grace_until <= now) {
        await endRequest(change, row, "expired");
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
  for (const row of store.timedRows()) if (!ending.has(row.contract_id)) await takeDue(change, row);
  await change.commit();
  return change;
}
