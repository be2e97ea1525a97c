// Messages from the user (PROTOCOL §4): believed by `accept`, judged here, committed with the receipt they get.

import { verifyRevocation } from "../../src/contracts/agreement.ts";
import { missingData } from "../../src/contracts/negotiation.ts";
import { type Acceptance, accept, type Recipient } from "../../src/crypto/accept.ts";
import { identityOf } from "../../src/crypto/hash.ts";
import { isSoundSigningKey } from "../../src/crypto/keys.ts";
import type { ResponsePayload } from "../../src/protocol/asking.ts";
import { type ContractSubmit, isEnded, type Profile, type Revocation } from "../../src/protocol/contract.ts";
import { fromBase64 } from "../../src/protocol/encoding.ts";
import type { EnvelopeHeader } from "../../src/protocol/envelope.ts";
import {
  kindOfResponse,
  type Receipt,
  type UserEvent,
  userEventName,
  userPayloadSchema,
} from "../../src/protocol/messages.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import { fromUserSubject } from "../../src/protocol/subjects.ts";
import { resendPauseMs } from "../../src/requests/lifecycle.ts";
import { heardPayload, isHeard } from "../../src/requests/registry.ts";
import type { InboundMessage, InboundOutcome, OutboundMessage } from "../../src/rpc.ts";
import { RECOVERY_MS } from "../heads.ts";
import { hasUnfinished, takeUpdateDenied } from "./amending.ts";
import {
  concludeDelivered,
  messageOf,
  type Outcome,
  refuseMessage,
  requestOf,
  takeAnswer,
  takeHeard,
} from "./asking.ts";
import { takeAuditRequest } from "./auditing.ts";
import type { AuditDraft, Change } from "./change.ts";
import { endContract } from "./ending.ts";
import { takeCallRequest, takeUserEvent } from "./hearing.ts";
import { takeCapabilityRevocation } from "./narrowing.ts";
import { destroyRetired, rotateAfterMessages, takeKeyRotate, takeKeyRotated } from "./rotating.ts";
import { hasArrived, missingNumbers, type Received, take } from "./sequence.ts";
import { takeSubmission } from "./setup.ts";
import { type ContractRow, isRequest, type OutgoingRow, openFrom } from "./store.ts";
import type { Vault } from "./vault.ts";
import { SHOWN_MISSING } from "./views.ts";

/** A message named as missing is sent again at once, and not a third time so soon after: it is on its way. */
const MISSING_RESEND_AFTER_MS = 2_000;

type StoredReceipt = Pick<Receipt, "outcome" | "reason" | "request_status" | "event_hash">;

function recipientOf(change: Change): Recipient {
  const { vault } = change;
  const { store, config, userId } = vault;
  return {
    now: vault.now(),
    id: config.serviceId,
    subjectsOf: (header) => [fromUserSubject(config.serviceId, userId, header.event_type, header.ref)],
    signingKeyOf: (header) => {
      if (header.from !== userId) return undefined;
      if (header.event_type === "contract.submit") {
        if (header.signing_key === undefined || header.contract_id !== undefined || header.seq !== 0)
          return undefined;
        const key = fromBase64(header.signing_key)!;
        return identityOf(key) === userId && isSoundSigningKey(key) ? key : undefined;
      }
      if (header.signing_key !== undefined || header.contract_id === undefined) return undefined;
      const row = store.contract(header.contract_id);
      return row === undefined ? undefined : fromBase64(vault.contractOf(row).user_signing_key)!;
    },
    seen: (header) => {
      // Receipts only confirm, and are not receipted: taking one twice changes nothing.
      if (header.event_type === "receipt") return openMessage(change, header) === undefined ? "seen" : "new";
      if (storedReceipt(change, header) !== undefined) return "seen";
      if (header.event_type === "contract.submit") return "new";
      const row = store.contract(header.contract_id!)!;
      return header.seq === 0 || hasArrived(store.received(row), header.seq) ? "seq_reused" : "new";
    },
    keyOf: (header) =>
      header.event_type === "contract.submit"
        ? header.key_id === config.encryptionKey.keyId
          ? config.encryptionKey
          : undefined
        : vault.connectionKey(header.key_id, header.contract_id!),
    schemaOf: (eventType) => heardPayload(eventType) ?? userPayloadSchema(eventType),
  };
}

/** The message of ours that a receipt confirms; undefined when it was confirmed before: nothing can come of another. */
function openMessage(change: Change, header: EnvelopeHeader): OutgoingRow | undefined {
  const row = messageOf(change, header);
  return row?.delivered_at === null ? row : undefined;
}

/** The receipt a message got when it was first taken in; undefined when it is new. */
function storedReceipt(
  change: Change,
  header: EnvelopeHeader,
): { at: number; receipt: StoredReceipt } | undefined {
  const { vault } = change;
  const row = vault.store.inbound(header.event_id);
  if (row !== undefined) return { at: row.received_at, receipt: JSON.parse(row.receipt) as StoredReceipt };
  if (kindOfResponse(header.event_type) === undefined) return undefined;
  const request = requestOf(change, header);
  if (request === undefined || request.answer_id !== header.event_id) return undefined;
  return {
    at: request.changed_at,
    receipt: { outcome: "stored", request_status: request.status, event_hash: request.answer_hash! },
  };
}

const sealReceipt = (
  vault: Vault,
  header: EnvelopeHeader,
  at: number,
  receipt: StoredReceipt,
  to: { userKey: string; messageSpace: string; received?: Received },
): Promise<OutboundMessage[]> => {
  const missing = to.received === undefined ? [] : missingNumbers(to.received, SHOWN_MISSING);
  const payload: Receipt = {
    event_id: header.event_id,
    received_at: toTimestamp(at),
    ...receipt,
    ...(missing.length === 0 ? {} : { missing_seq: missing }),
  };
  return vault.sealReply(
    {
      eventType: "receipt",
      ref: header.event_id,
      ...(header.contract_id === undefined ? {} : { contractId: header.contract_id }),
      setup: header.contract_id === undefined,
      messageSpace: to.messageSpace,
    },
    to.userKey,
    payload,
  );
};

const addressOf = (vault: Vault, row: ContractRow) => ({
  userKey: row.user_connection_key,
  messageSpace: vault.contractOf(row).message_space,
  received: vault.store.received(row),
});

/** Takes in one message: one commit, or none when it is not to be believed. */
export async function receive(change: Change, message: InboundMessage): Promise<InboundOutcome> {
  const { vault } = change;
  const acceptance = await accept(message.bytes, message.subject, recipientOf(change));
  if (acceptance.outcome === "rejected") {
    const { reason, eventId } = acceptance;
    return {
      handled: "done",
      rejected: { reason, ...(eventId === undefined ? {} : { event_id: eventId }) },
      replies: [],
    };
  }
  const header = acceptance.outcome === "verified" ? acceptance.message.header : acceptance.header;
  // Genuine, and too many: nothing is written, and without a receipt the sender sends it again, more slowly.
  if (vault.inbound.some((quota) => !quota.take("", vault.now()).allowed))
    return {
      handled: "done",
      rejected: { reason: "rate_limited", event_id: header.event_id },
      replies: [],
    };
  if (header.event_type === "receipt") return receiveReceipt(change, acceptance, header);
  if (header.event_type === "contract.submit") return receiveSubmission(change, acceptance, header);

  const row = vault.store.contract(header.contract_id!)!;
  if (acceptance.outcome === "seen") {
    const { at, receipt } = storedReceipt(change, header)!;
    return { handled: "done", replies: await sealReceipt(vault, header, at, receipt, addressOf(vault, row)) };
  }
  const outcome =
    acceptance.outcome === "malformed"
      ? refuseMessage(change, header, row, "malformed")
      : await judge(change, row, header, acceptance.message.payload);
  return commitOutcome(change, row, header, outcome);
}

/** Handles one event type from the user, under a contract that has not ended. */
type Handler = (
  change: Change,
  row: ContractRow,
  header: EnvelopeHeader,
  payload: never,
) => Promise<Outcome> | Outcome;

/** What a user may send beside answers and what kinds of requests hear. */
const HANDLERS: Readonly<Record<string, Handler>> = {
  "contract.revoke": async (change, row, header, payload: Revocation) =>
    (await takeRevocation(change, row, payload, { event_id: header.event_id }))
      ? { outcome: "stored" }
      : refuseMessage(change, header, row, "signature_invalid"),
  "audit.request": takeAuditRequest,
  "call.request": takeCallRequest,
  "contract.update.denied": takeUpdateDenied,
  "capability.revoke": takeCapabilityRevocation,
  "key.rotate": takeKeyRotate,
  "key.rotated": takeKeyRotated,
  "profile.update": async (change, row, header, payload: { profile: Profile }) => {
    const { vault } = change;
    const missing = missingData(vault.contractOf(row).offering_snapshot, payload.profile);
    if (missing.length > 0) return refuseMessage(change, header, row, "required_data_missing");
    // Messages overtake each other, and a lost one comes again late: what the user said last stays.
    if (header.seq < (vault.store.profile(row.contract_id)?.seq ?? 0)) {
      change.audit({
        contractId: row.contract_id,
        operation: "profile.update",
        status: "success",
        request: { event_id: header.event_id },
        response: { overtaken: true },
      });
      return { outcome: "stored" };
    }
    change
      .audit({
        contractId: row.contract_id,
        operation: "profile.update",
        status: "success",
        request: { event_id: header.event_id },
        response: { fields: Object.keys(payload.profile).length },
      })
      .tell("profile.updated", row.contract_id, { contract_id: row.contract_id })
      .write(() =>
        vault.store.putProfile(
          row.contract_id,
          vault.wrapper.wrap(payload.profile, `profiles/data/${row.contract_id}`),
          change.now,
          header.seq,
        ),
      );
    return { outcome: "stored" };
  },
};

/** The last step of acceptance: whether the state allows it, and what it does. */
async function judge(
  change: Change,
  row: ContractRow,
  header: EnvelopeHeader,
  payload: unknown,
): Promise<Outcome> {
  const isSuperseded = row.status === "superseded";
  if (isEnded(row.status) && !isSuperseded) return refuseMessage(change, header, row, "contract_ended");
  const handler = Object.hasOwn(HANDLERS, header.event_type) ? HANDLERS[header.event_type] : undefined;
  // What is open under a superseded contract is finished under it; all else has its place in the successor.
  if (isSuperseded && handler !== undefined) return refuseMessage(change, header, row, "superseded");
  if (isSuperseded) change.due(change.now);
  if (handler !== undefined) return handler(change, row, header, payload as never);
  const eventName = userEventName(header.event_type);
  if (eventName !== undefined) return takeUserEvent(change, row, header, eventName, payload as UserEvent);
  if (isHeard(header.event_type)) return takeHeard(change, row, header, payload);
  if (kindOfResponse(header.event_type) !== undefined)
    return takeAnswer(change, row, header, payload as ResponsePayload);
  return refuseMessage(change, header, row, "unsupported");
}

/** A revocation by the user, by whichever way it came. False, and nothing gathered, when it is not genuine. */
export async function takeRevocation(
  change: Change,
  row: ContractRow,
  revocation: Revocation,
  source: AuditDraft["request"],
): Promise<boolean> {
  const { vault } = change;
  const genuine =
    revocation.contract_id === row.contract_id &&
    revocation.by === "user" &&
    (await verifyRevocation(vault.contractOf(row).user_signing_key, revocation));
  if (!genuine) return false;
  await endContract(
    change,
    row,
    { status: "cancelled", by: "user", reason: revocation.reason },
    {
      contractId: row.contract_id,
      operation: "contract.revoke",
      status: "success",
      request: { by: "user", ...source },
      response: { status: "cancelled" },
    },
  );
  // The user needs no further word from us: a repeat of the notice is answered from its id alone.
  change.write(() => vault.destroyKeys(row.contract_id));
  return true;
}

async function commitOutcome(
  change: Change,
  row: ContractRow,
  header: EnvelopeHeader,
  outcome: Outcome,
): Promise<InboundOutcome> {
  const { vault, now } = change;
  const received = take(vault.store.received(row), header.seq);
  const receipt: StoredReceipt = {
    outcome: outcome.outcome,
    ...(outcome.reason === undefined ? {} : { reason: outcome.reason }),
    ...(outcome.requestStatus === undefined ? {} : { request_status: outcome.requestStatus }),
  };
  // Most answers cost the contract no row: their numbers are in their requests' rows (store.ts).
  const isBeside =
    outcome.remembered === true &&
    outcome.contract === undefined &&
    !change.ending.has(row.contract_id) &&
    vault.store.mayBeBeside(row.contract_id, header.seq);
  change.write((hash) => {
    if (isBeside) vault.store.noteBeside(row.contract_id, header.seq, now);
    else
      vault.store.updateContract(row.contract_id, {
        received_seq: received.highest,
        missing_seq: JSON.stringify(received.missing),
        last_activity_at: now,
        open_from: vault.store.firstOpen(row.open_from),
        ...outcome.contract,
      });
    destroyRetired(vault, row.contract_id, received, now);
    if (outcome.remembered !== true)
      vault.store.insertInbound({
        event_id: header.event_id,
        contract_id: row.contract_id,
        seq: header.seq,
        received_at: now,
        receipt: JSON.stringify({ ...receipt, event_hash: hash }),
      });
  });
  await rotateAfterMessages(change, row, received.highest);
  const [hash] = await change.commit();
  const to = { ...addressOf(vault, row), received };
  return {
    handled: "done",
    replies: await sealReceipt(vault, header, now, { ...receipt, event_hash: hash! }, to),
  };
}

/** The user's vault has a message of ours: it is not sent again. */
async function receiveReceipt(
  change: Change,
  acceptance: Acceptance,
  header: EnvelopeHeader,
): Promise<InboundOutcome> {
  const { vault, now } = change;
  const done: InboundOutcome = { handled: "done", replies: [] };
  if (acceptance.outcome !== "verified") return done;
  const receipt = acceptance.message.payload as Receipt;
  const row = header.ref === receipt.event_id ? openMessage(change, header) : undefined;
  if (row === undefined) return done;
  if (receipt.outcome === "refused")
    change.audit({
      contractId: row.contract_id,
      operation: `${row.event_type}.receipt`,
      status: "error",
      request: { event_id: row.event_id },
      response: { outcome: "refused", ...(receipt.reason === undefined ? {} : { reason: receipt.reason }) },
    });
  else if (isRequest(row)) await concludeDelivered(change, row);
  change.write(() =>
    vault.store.updateOutgoing(row.n, { delivered_at: now, sealed: null, next_send_at: null }),
  );
  // The user knows of the end: nothing is left that these keys, and the user's credentials, could be needed for.
  if (row.event_type === "contract.cancelled")
    change
      .write(() => vault.destroyKeys(row.contract_id))
      .list()
      .due(now + RECOVERY_MS);
  // It may have been the last thing open under a superseded contract, or told the user of its successor.
  if (hasUnfinished(vault)) change.due(now);
  // It may have been the last thing an erasure waited for.
  if (vault.store.isErasing()) change.due(now);
  fillGaps(change, row.contract_id, receipt.missing_seq);
  if (row.kind !== null) change.changed.push(row.event_id);
  await change.commit();
  return done;
}

/**
 * Numbers the user's vault lacks: a stream lost what it had acknowledged. What is still kept is sent again now instead
 * of at its next turn.
 */
function fillGaps(change: Change, contractId: string, missing: readonly number[] = []): void {
  if (missing.length === 0) return;
  const { vault, now } = change;
  for (const row of vault.store.openRows(openFrom(vault.store.contracts()))) {
    if (row.contract_id !== contractId || !missing.includes(row.seq)) continue;
    if (row.sealed === null || row.next_send_at === null) continue;
    const sentAt = row.next_send_at - resendPauseMs(row.sendings + 1);
    if (row.sendings > 0 && sentAt > now - MISSING_RESEND_AFTER_MS) continue;
    // By the alarm: it knows which copy the broker has acknowledged.
    change.write(() => vault.store.updateOutgoing(row.n, { next_send_at: now })).due(now);
  }
}

async function receiveSubmission(
  change: Change,
  acceptance: Acceptance,
  header: EnvelopeHeader,
): Promise<InboundOutcome> {
  const { vault, now } = change;
  if (acceptance.outcome === "seen") {
    const { at, receipt } = storedReceipt(change, header)!;
    const row = vault.store.contract(vault.store.inbound(header.event_id)!.contract_id)!;
    const { userKey, messageSpace } = addressOf(vault, row);
    return {
      handled: "done",
      replies: await sealReceipt(vault, header, at, receipt, { userKey, messageSpace }),
    };
  }
  // Without a readable contract there is no key to answer to.
  if (acceptance.outcome !== "verified")
    return { handled: "done", rejected: { reason: "schema", event_id: header.event_id }, replies: [] };

  const { contract } = acceptance.message.payload as ContractSubmit;
  const to = { userKey: contract.user_connection_key, messageSpace: contract.message_space };
  const submission = await takeSubmission(change, acceptance.message);
  if (submission.outcome === "rejected") {
    const { reason } = submission;
    change.audit({
      operation: "contract.submit",
      status: "denied",
      request: { event_id: header.event_id },
      response: { reason },
    });
    // About someone of whom nothing is stored, nothing is stored now: whoever can make a key could fill the disk.
    const [hash] = vault.store.isKnown ? await change.commit() : [];
    // A key we may not seal to (small order) cannot be answered at all.
    if (reason === "key_refused")
      return { handled: "done", rejected: { reason, event_id: header.event_id }, replies: [] };
    const receipt: StoredReceipt = {
      outcome: "refused",
      reason,
      ...(hash === undefined ? {} : { event_hash: hash }),
    };
    const [receipts, rejections] = await Promise.all([
      sealReceipt(vault, header, now, receipt, to),
      vault.sealReply(
        { eventType: "contract.rejected", ref: header.event_id, setup: true, messageSpace: to.messageSpace },
        to.userKey,
        { reason },
      ),
    ]);
    return { handled: "done", replies: [...receipts, ...rejections] };
  }

  const { contractId, repeated } = submission;
  let receipt: StoredReceipt = { outcome: "stored" };
  if (!repeated) {
    change.write((hash) =>
      vault.store.insertInbound({
        event_id: header.event_id,
        contract_id: contractId,
        seq: 0,
        received_at: now,
        receipt: JSON.stringify({ outcome: "stored", event_hash: hash } satisfies StoredReceipt),
      }),
    );
    const [hash] = await change.commit();
    receipt = { outcome: "stored", event_hash: hash! };
  }
  return { handled: "done", replies: await sealReceipt(vault, header, now, receipt, to) };
}
