// A user takes single capabilities back (PROTOCOL §7): gone at commit, and what is open under them with them.

import { verifyCapabilityRevocation } from "../../src/contracts/agreement.ts";
import type { CapabilityRevoke } from "../../src/protocol/contract.ts";
import type { EnvelopeHeader } from "../../src/protocol/envelope.ts";
import { endRequest, type Outcome, refuseMessage } from "./asking.ts";
import type { Change } from "./change.ts";
import { type ContractRow, isRequest, openFrom } from "./store.ts";

export async function takeCapabilityRevocation(
  change: Change,
  row: ContractRow,
  header: EnvelopeHeader,
  revocation: CapabilityRevoke,
): Promise<Outcome> {
  const { vault } = change;
  const contract = vault.contractOf(row);
  if (!(await verifyCapabilityRevocation(contract.user_signing_key, row.contract_id, revocation)))
    return refuseMessage(change, header, row, "signature_invalid");
  const granted = contract.offering_snapshot.capabilities.map(({ capability }) => capability);
  // A name that was never granted is a mistake the user should hear of; one taken back before is not.
  if (revocation.capabilities.some((name) => !granted.includes(name)))
    return refuseMessage(change, header, row, "not_granted");
  const earlier = JSON.parse(row.revoked_capabilities) as string[];
  const revoked = [...new Set(revocation.capabilities)].filter((name) => !earlier.includes(name));
  change.audit({
    contractId: row.contract_id,
    operation: "capability.revoke",
    status: "success",
    request: { event_id: header.event_id, capabilities: revoked.length },
    response: { capabilities: [...earlier, ...revoked].length },
  });
  if (revoked.length === 0) return { outcome: "stored" };
  for (const open of vault.store.openRows(openFrom([row])))
    if (isRequest(open) && open.status === "pending" && revoked.includes(open.capability))
      await endRequest(change, open, "cancelled", { with: "capability" });
  change
    .tell("capability.revoked", row.contract_id, { contract_id: row.contract_id, capabilities: revoked })
    .updateContract(
      row,
      {
        revoked_capabilities: JSON.stringify([...earlier, ...revoked]),
        consent_changed_at: change.now,
      },
      { listed: true },
    );
  return { outcome: "stored" };
}
