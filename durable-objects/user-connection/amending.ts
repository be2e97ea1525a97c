// Changing a contract (PROTOCOL §7): the service proposes, signed and kept here; the user agrees by a contract that
// supersedes the one in force, or does not. A proposal is a row of its own, so that the submission which answers it
// is recognised whatever the Directory publishes by then. What a crash leaves: before the commit nothing, after it
// the proposal and its message together.

import { type AmendmentInput, proposedOffering } from "../../src/contracts/amendment.ts";
import { signOffer } from "../../src/contracts/offer.ts";
import { MessageTooLarge } from "../../src/crypto/seal.ts";
import { type Contract, isEnded, type RejectionReason } from "../../src/protocol/contract.ts";
import type { EnvelopeHeader } from "../../src/protocol/envelope.ts";
import { canonicalJson } from "../../src/protocol/json.ts";
import { REVOCATION_NOTICE_MS } from "../../src/protocol/limits.ts";
import type { Offer } from "../../src/protocol/offer.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import { err, ok, type Result } from "../../src/protocol/result.ts";
import { isRepetition } from "../../src/requests/repetition.ts";
import type { AmendmentView, Idempotency, RpcResult } from "../../src/rpc.ts";
import { endRequest, IDEMPOTENCY_MS, type Outcome, refuseMessage } from "./asking.ts";
import type { AuditDraft, Change } from "./change.ts";
import { fault } from "./faults.ts";
import { type AmendmentRow, type Columns, type ContractRow, isRequest, type OutgoingRow } from "./store.ts";
import type { Vault } from "./vault.ts";

/** What a DELETE, a pause or another proposal is told about a contract that has a successor. */
export const supersededFault = (row: ContractRow) =>
  fault("conflict", `the contract was superseded by ${row.successor}; act on that one`);

const offerOf = (row: AmendmentRow): Offer => JSON.parse(row.offer) as Offer;

const proposedIn = (row: AmendmentRow) =>
  offerOf(row).offerings.find(({ offering_id }) => offering_id === row.offering_id)!;

export function amendmentView(vault: Vault, row: AmendmentRow): AmendmentView {
  return {
    amendment_id: row.amendment_id,
    contract_id: row.contract_id,
    type: row.type,
    status: row.status,
    reason: row.reason,
    offering_id: row.offering_id,
    offering: proposedIn(row),
    ...(row.contract_expires_at === null ? {} : { contract_expires_at: row.contract_expires_at }),
    created_at: toTimestamp(row.created_at),
    expires_at: toTimestamp(row.expires_at),
    ...(row.decided_at === null ? {} : { decided_at: toTimestamp(row.decided_at) }),
    ...(row.successor === null ? {} : { successor_contract_id: row.successor }),
    ...(row.user_reason === null
      ? {}
      : {
          user_reason: vault.wrapper.unwrap(
            new Uint8Array(row.user_reason),
            `amendments/user_reason/${row.n}`,
          ) as string,
        }),
  };
}

/** A proposal as its POST answered it, whatever has become of it since. */
const createdView = (vault: Vault, row: AmendmentRow): AmendmentView =>
  amendmentView(vault, { ...row, status: "pending", decided_at: null, successor: null, user_reason: null });

/**
 * Proposes a change: signs an offer for this user alone, keeps it and sends it. `published` is the Directory's
 * current offer. A newer proposal takes the place of one that is still open.
 */
export async function amendContract(
  change: Change,
  row: ContractRow,
  input: AmendmentInput,
  published: Offer,
  caller: { keyId: string; idempotency?: Idempotency },
): Promise<RpcResult<AmendmentView>> {
  const { vault, now } = change;
  const { idempotency, keyId } = caller;
  if (idempotency !== undefined) {
    const earlier = vault.store.amendmentByKey(idempotency.key, now - IDEMPOTENCY_MS);
    if (earlier !== undefined)
      return isRepetition(earlier.idempotency_digest, idempotency)
        ? { ok: true, value: createdView(vault, earlier) }
        : fault("conflict", "this Idempotency-Key was used with another request; use a new key");
  }
  const refuse = (answer: ReturnType<typeof fault>) => {
    change.audit({
      contractId: row.contract_id,
      operation: "contract.amend",
      status: "denied",
      request: { key_id: keyId, type: input.type },
      response: { code: answer.error.code },
    });
    return answer;
  };
  if (row.status === "superseded") return refuse(supersededFault(row));
  if (row.status !== "active" && row.status !== "paused")
    return refuse(fault("conflict", `the contract is ${row.status}; only one in force can be changed`));

  const contract = vault.contractOf(row);
  const proposal = proposedOffering(input, {
    now,
    current: contract.offering_snapshot,
    revokedCapabilities: JSON.parse(row.revoked_capabilities) as string[],
    contractExpiresAt: row.expires_at ?? undefined,
    published: published.offerings,
  });
  if (!proposal.ok) return refuse(fault(proposal.error.code, proposal.error.detail));
  const { offering, expiresAt: contractExpiresAt } = proposal.value;
  const expiresAt = now + input.expires_in_seconds * 1_000;
  const {
    v: _v,
    offer_id: _offerId,
    service_id: _serviceId,
    service_public_key: _publicKey,
    signature: _signature,
    ...content
  } = published;
  const offer = await signOffer(vault.config.signingKey, {
    ...content,
    offerings: [offering],
    issued_at: toTimestamp(now),
    valid_until: toTimestamp(expiresAt),
  });

  let said: { n: number; eventId: string };
  try {
    said = await change.say(row, {
      eventType: "contract.update",
      payload: {
        offer,
        offering_id: offering.offering_id,
        summary: input.reason,
        ...(contractExpiresAt === undefined ? {} : { expires_at: contractExpiresAt }),
      },
      expiresAt,
    });
  } catch (error) {
    if (error instanceof MessageTooLarge) return refuse(fault("payload_too_large", error.message));
    throw error;
  }
  const older = vault.store.pendingAmendment(row.contract_id);
  const amendment: AmendmentRow = {
    n: said.n,
    amendment_id: said.eventId,
    contract_id: row.contract_id,
    type: input.type,
    status: "pending",
    reason: input.reason,
    offer: JSON.stringify(offer),
    offering_id: offering.offering_id,
    contract_expires_at: contractExpiresAt ?? null,
    created_at: now,
    expires_at: expiresAt,
    decided_at: null,
    successor: null,
    user_reason: null,
    idempotency_key: idempotency?.key ?? null,
    idempotency_digest: idempotency?.digest ?? null,
  };
  change
    .audit({
      contractId: row.contract_id,
      operation: "contract.amend",
      status: "success",
      request: { key_id: keyId, type: input.type, amendment_id: said.eventId },
      response: { status: "pending", offer_id: offer.offer_id },
    })
    .write(() => vault.store.insertAmendment({ ...amendment }))
    .due(expiresAt);
  if (older !== undefined)
    closeAmendment(change, older, { status: "expired" }, { replaced_by: said.eventId });
  return { ok: true, value: amendmentView(vault, amendment) };
}

/** Ends a proposal that did not come about, and withdraws its message where it has not arrived. */
export function closeAmendment(
  change: Change,
  amendment: AmendmentRow,
  columns: { status: "rejected" | "expired" } & Columns<AmendmentRow>,
  request: AuditDraft["request"] = {},
): void {
  const { store } = change.vault;
  const { contract_id, amendment_id, n } = amendment;
  change
    .audit({
      contractId: contract_id,
      operation: "contract.amendment",
      status: columns.status === "rejected" ? "denied" : "success",
      request: { amendment_id, ...request },
      response: { status: columns.status },
    })
    .tell("contract.updated", contract_id, { contract_id, amendment_id, status: columns.status })
    .write(() => {
      store.updateAmendment(n, { decided_at: change.now, ...columns });
      store.updateOutgoing(n, { sealed: null, next_send_at: null });
    });
}

/** `contract.update.denied`: the contract stays as it is. */
export function takeUpdateDenied(
  change: Change,
  row: ContractRow,
  header: EnvelopeHeader,
  payload: { reason?: string },
): Outcome {
  const pending = change.vault.store.pendingAmendment(row.contract_id);
  if (pending === undefined || pending.amendment_id !== header.ref)
    return refuseMessage(change, header, row, "update_unknown");
  const { reason } = payload;
  closeAmendment(
    change,
    pending,
    {
      status: "rejected",
      ...(reason === undefined
        ? {}
        : { user_reason: change.vault.wrapper.wrap(reason, `amendments/user_reason/${pending.n}`) }),
    },
    { event_id: header.event_id },
  );
  return { outcome: "stored" };
}

/** What a submission that names `supersedes` answers. */
export interface Succession {
  old: ContractRow;
  amendment: AmendmentRow;
}

/** The proposal that a contract agrees to: in force, still open, and to the byte what was proposed. */
export function findProposal(
  vault: Vault,
  contract: Contract,
  now: number,
): Result<Succession, RejectionReason> {
  const { store } = vault;
  const old = store.contract(contract.supersedes!);
  if (old === undefined) return err("not_proposed");
  if (isEnded(old.status)) return err("contract_ended");
  const amendment = store.pendingAmendment(old.contract_id);
  if (amendment === undefined) return err("not_proposed");
  const offer = offerOf(amendment);
  if (offer.offer_id !== contract.offer_id || amendment.expires_at <= now) return err("offer_outdated");
  if (
    contract.offering_id !== amendment.offering_id ||
    canonicalJson(contract.offering_snapshot) !== canonicalJson(proposedIn(amendment)) ||
    (amendment.contract_expires_at !== null && contract.expires_at !== amendment.contract_expires_at)
  )
    return err("offering_changed");
  // New keys: a key of an earlier contract would live on in the hands of whoever got hold of it.
  const reused = store.contracts().some((earlier) => {
    const { user_connection_key, nats_public_key } = vault.contractOf(earlier);
    return (
      user_connection_key === contract.user_connection_key ||
      earlier.user_connection_key === contract.user_connection_key ||
      nats_public_key === contract.nats_public_key
    );
  });
  return reused ? err("contract_invalid") : ok({ old, amendment });
}

/** Messages of a superseded contract that say something about the contract itself: the successor has said it. */
const isAboutContract = ({ event_type }: OutgoingRow): boolean =>
  event_type.startsWith("contract.") || event_type.startsWith("key.");

/** Puts a new contract in the place of the one it supersedes; what is open under that one is finished there. */
export function supersede(change: Change, { old, amendment }: Succession, successor: string): void {
  const { vault, now } = change;
  const { store } = vault;
  const { contract_id } = old;
  const silenced = store
    .openRows(0)
    .filter((other) => other.contract_id === contract_id && isAboutContract(other));
  change
    .audit({
      contractId: contract_id,
      operation: "contract.supersede",
      status: "success",
      request: { amendment_id: amendment.amendment_id },
      response: { status: "superseded", successor },
    })
    .tell("contract.updated", contract_id, {
      contract_id,
      amendment_id: amendment.amendment_id,
      status: "applied",
      successor_contract_id: successor,
    })
    .write(() => {
      store.updateAmendment(amendment.n, { status: "applied", decided_at: now, successor });
      store.updateOutgoing(amendment.n, { sealed: null, next_send_at: null });
      for (const { n } of silenced) store.updateOutgoing(n, { sealed: null, next_send_at: null });
      store.deleteProfile(contract_id);
    })
    .updateContract(
      old,
      { status: "superseded", ended_at: now, successor, cooling: "[]", rotating_key_id: null },
      { listed: true },
    )
    .due(now + REVOCATION_NOTICE_MS);
}

/**
 * A superseded contract's keys go once nothing is open under it and the user's vault knows of the successor; 7 days
 * after it was superseded whatever is still open ends with them. `open` are all open rows of the user's.
 */
export async function finishSuperseded(
  change: Change,
  row: ContractRow,
  open: readonly OutgoingRow[],
): Promise<void> {
  const { vault, now } = change;
  const own = open.filter(({ contract_id }) => contract_id === row.contract_id);
  const isTold = !open.some(
    ({ contract_id, event_type }) => contract_id === row.successor && event_type === "contract.accepted",
  );
  const endAt = row.ended_at! + REVOCATION_NOTICE_MS;
  if (endAt > now && (own.length > 0 || !isTold)) {
    change.due(endAt);
    return;
  }
  // What else is due under it is looked at in a step of its own.
  change.due(now + 1).ending.add(row.contract_id);
  for (const other of own) {
    if (isRequest(other) && other.status === "pending")
      await endRequest(change, other, "cancelled", { with: "contract" });
    else change.write(() => vault.store.updateOutgoing(other.n, { sealed: null, next_send_at: null }));
  }
  change.write(() => vault.destroyKeys(row.contract_id));
}

/** Whether keys of a superseded contract are still there, for what is open under it. */
export const hasUnfinished = ({ store }: Vault): boolean =>
  store
    .contracts()
    .some((row) => row.status === "superseded" && store.connectionKeyIds(row.contract_id).length > 0);

/** Proposals nobody answered in time. */
export function expireAmendments(change: Change): void {
  for (const amendment of change.vault.store.pendingAmendments()) {
    // Closed with its contract already.
    if (change.ending.has(amendment.contract_id)) continue;
    if (amendment.expires_at <= change.now) closeAmendment(change, amendment, { status: "expired" });
    else change.due(amendment.expires_at);
  }
}
