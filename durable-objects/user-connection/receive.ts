// Messages from the user (PROTOCOL §4): believed by `accept`, judged here, committed with the receipt they get.

import { verifyRevocation } from "../../src/contracts/agreement.ts";
import { type Acceptance, accept, type Recipient } from "../../src/crypto/accept.ts";
import { identityOf } from "../../src/crypto/hash.ts";
import { isSoundSigningKey } from "../../src/crypto/keys.ts";
import type { ResponsePayload } from "../../src/protocol/asking.ts";
import type { Contract, ContractSubmit, Profile, Revocation } from "../../src/protocol/contract.ts";
import { isEnded } from "../../src/protocol/contract.ts";
import { fromBase64 } from "../../src/protocol/encoding.ts";
import type { EnvelopeHeader } from "../../src/protocol/envelope.ts";
import { parseRoutedId } from "../../src/protocol/ids.ts";
import { kindOfResponse, type Receipt, userPayloadSchema } from "../../src/protocol/messages.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import { fromUserSubject } from "../../src/protocol/subjects.ts";
import type { InboundMessage, InboundOutcome, OutboundMessage } from "../../src/rpc.ts";
import { judgeAnswer, type Outcome, requestOf } from "./asking.ts";
import { endContract } from "./ending.ts";
import { hasArrived, missingNumbers, type Received, take } from "./sequence.ts";
import { judgeSubmission } from "./setup.ts";
import type { ContractRow } from "./store.ts";
import type { AuditDraft, Vault } from "./vault.ts";
import { SHOWN_MISSING } from "./views.ts";

/** What the object does after the commit: nothing here may be lost for good if it is skipped. */
export interface Aftermath {
  /** Outgoing rows to send now. */
  send: number[];
  /** Requests whose state changed. */
  changed: string[];
  /** Contracts whose index row is to be written. */
  index: boolean;
}

type StoredReceipt = Pick<Receipt, "outcome" | "reason" | "request_status" | "event_hash">;

function recipientOf(vault: Vault): Recipient {
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
      if (header.event_type === "receipt") return "new";
      if (storedReceipt(vault, header) !== undefined) return "seen";
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
    schemaOf: userPayloadSchema,
  };
}

/** The receipt a message got when it was first taken in; undefined when it is new. */
function storedReceipt(
  vault: Vault,
  header: EnvelopeHeader,
): { at: number; receipt: StoredReceipt } | undefined {
  const row = vault.store.inbound(header.event_id);
  if (row !== undefined) return { at: row.received_at, receipt: JSON.parse(row.receipt) as StoredReceipt };
  if (kindOfResponse(header.event_type) === undefined) return undefined;
  const request = requestOf(vault, header);
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
export async function receive(
  vault: Vault,
  message: InboundMessage,
  aftermath: Aftermath,
): Promise<InboundOutcome> {
  const acceptance = await accept(message.bytes, message.subject, recipientOf(vault));
  if (acceptance.outcome === "rejected") {
    const { reason, eventId } = acceptance;
    return {
      handled: "done",
      rejected: { reason, ...(eventId === undefined ? {} : { event_id: eventId }) },
      replies: [],
    };
  }
  const header = acceptance.outcome === "verified" ? acceptance.message.header : acceptance.header;
  if (header.event_type === "receipt") return takeReceipt(vault, acceptance, header, aftermath);
  if (header.event_type === "contract.submit") return takeSubmission(vault, acceptance, header, aftermath);

  const row = vault.store.contract(header.contract_id!)!;
  if (acceptance.outcome === "seen") {
    const { at, receipt } = storedReceipt(vault, header)!;
    return { handled: "done", replies: await sealReceipt(vault, header, at, receipt, addressOf(vault, row)) };
  }
  const outcome =
    acceptance.outcome === "malformed"
      ? refused(header, row, "malformed")
      : await judge(vault, row, header, acceptance.message.payload, aftermath);
  return commitOutcome(vault, row, header, outcome);
}

const refused = (header: EnvelopeHeader, row: ContractRow, reason: string): Outcome => ({
  outcome: "refused",
  reason,
  audit: {
    contractId: row.contract_id,
    operation: header.event_type,
    status: "error",
    request: { event_id: header.event_id },
    response: { reason },
  },
});

/** The last step of acceptance: whether the state allows it, and what it does. */
async function judge(
  vault: Vault,
  row: ContractRow,
  header: EnvelopeHeader,
  payload: unknown,
  aftermath: Aftermath,
): Promise<Outcome & { more?: AuditDraft[] }> {
  if (isEnded(row.status)) return refused(header, row, "contract_ended");
  if (kindOfResponse(header.event_type) !== undefined) {
    const outcome = await judgeAnswer(vault, row, header, payload as ResponsePayload);
    if (outcome.outcome === "stored") aftermath.changed.push(header.ref!);
    return outcome;
  }
  switch (header.event_type) {
    case "contract.revoke": {
      const revocation = payload as Revocation;
      return judgeRevocation(vault, row, revocation, { event_id: header.event_id }, aftermath);
    }
    case "profile.update": {
      const { profile } = payload as { profile: Profile };
      const now = vault.now();
      return {
        outcome: "stored",
        audit: {
          contractId: row.contract_id,
          operation: "profile.update",
          status: "success",
          request: { event_id: header.event_id },
          response: { fields: Object.keys(profile).length },
        },
        write: () => {
          vault.store.putProfile(
            row.contract_id,
            vault.wrapper.wrap(profile, `profiles/data/${row.contract_id}`),
            now,
          );
        },
      };
    }
    default:
      return refused(header, row, "unsupported");
  }
}

/** A revocation by the user, by whichever way it came. */
export async function judgeRevocation(
  vault: Vault,
  row: ContractRow,
  revocation: Revocation,
  source: AuditDraft["request"],
  aftermath: Aftermath,
): Promise<Outcome & { more?: AuditDraft[] }> {
  const contract: Contract = vault.contractOf(row);
  const genuine =
    revocation.contract_id === row.contract_id &&
    revocation.by === "user" &&
    (await verifyRevocation(contract.user_signing_key, revocation));
  const audit = (status: AuditDraft["status"], response: AuditDraft["response"]): AuditDraft => ({
    contractId: row.contract_id,
    operation: "contract.revoke",
    status,
    request: { by: "user", ...source },
    response,
  });
  if (!genuine)
    return {
      outcome: "refused",
      reason: "signature_invalid",
      audit: audit("error", { reason: "signature_invalid" }),
    };
  const ending = endContract(
    vault,
    row,
    { status: "cancelled", by: "user", reason: revocation.reason, now: vault.now() },
    audit("success", { status: "cancelled" }),
  );
  aftermath.changed.push(...ending.cancelled);
  aftermath.index = true;
  const [first, ...more] = ending.audits;
  return {
    outcome: "stored",
    audit: first!,
    more,
    write: () => {
      ending.write();
      // The user needs no further word from us: a repeat of the notice is answered from its id alone.
      vault.store.destroyConnectionKeys(row.contract_id);
      vault.forgetKeys();
    },
  };
}

async function commitOutcome(
  vault: Vault,
  row: ContractRow,
  header: EnvelopeHeader,
  outcome: Outcome & { more?: AuditDraft[] },
): Promise<InboundOutcome> {
  const now = vault.now();
  const received = take(vault.store.received(row), header.seq);
  const receipt: StoredReceipt = {
    outcome: outcome.outcome,
    ...(outcome.reason === undefined ? {} : { reason: outcome.reason }),
    ...(outcome.requestStatus === undefined ? {} : { request_status: outcome.requestStatus }),
  };
  const [hash] = await vault.commit([outcome.audit, ...(outcome.more ?? [])], ([hash]) => {
    outcome.write?.(hash!);
    vault.store.updateContract(row.contract_id, {
      received_seq: received.highest,
      missing_seq: JSON.stringify(received.missing),
      last_activity_at: now,
      open_from: vault.store.firstOpen(row.open_from),
      ...outcome.contract,
    });
    if (outcome.remembered !== true)
      vault.store.insertInbound({
        event_id: header.event_id,
        contract_id: row.contract_id,
        seq: header.seq,
        received_at: now,
        receipt: JSON.stringify({ ...receipt, event_hash: hash }),
      });
  });
  return {
    handled: "done",
    replies: await sealReceipt(
      vault,
      header,
      now,
      { ...receipt, event_hash: hash! },
      { ...addressOf(vault, row), received },
    ),
  };
}

/** The user's vault has a message of ours: it is not sent again. */
async function takeReceipt(
  vault: Vault,
  acceptance: Acceptance,
  header: EnvelopeHeader,
  aftermath: Aftermath,
): Promise<InboundOutcome> {
  const done: InboundOutcome = { handled: "done", replies: [] };
  if (acceptance.outcome !== "verified") return done;
  const receipt = acceptance.message.payload as Receipt;
  const id = parseRoutedId(receipt.event_id);
  const row = id === undefined ? undefined : vault.store.outgoing(id.row);
  if (
    row === undefined ||
    row.event_id !== receipt.event_id ||
    header.ref !== receipt.event_id ||
    row.contract_id !== header.contract_id ||
    row.delivered_at !== null
  )
    return done;
  const now = vault.now();
  const audits: AuditDraft[] =
    receipt.outcome === "stored"
      ? []
      : [
          {
            contractId: row.contract_id,
            operation: `${row.event_type}.receipt`,
            status: "error",
            request: { event_id: row.event_id },
            response: {
              outcome: "refused",
              ...(receipt.reason === undefined ? {} : { reason: receipt.reason }),
            },
          },
        ];
  await vault.commit(audits, () => {
    vault.store.updateOutgoing(row.n, { delivered_at: now, sealed: null, next_send_at: null });
    if (row.event_type === "contract.cancelled") {
      // The user knows: nothing is left that these keys could be needed for.
      vault.store.destroyConnectionKeys(row.contract_id);
      vault.forgetKeys();
    }
  });
  if (row.kind !== null) aftermath.changed.push(row.event_id);
  return done;
}

async function takeSubmission(
  vault: Vault,
  acceptance: Acceptance,
  header: EnvelopeHeader,
  aftermath: Aftermath,
): Promise<InboundOutcome> {
  if (acceptance.outcome === "seen") {
    const { at, receipt } = storedReceipt(vault, header)!;
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
  const submission = await judgeSubmission(vault, acceptance.message);
  const now = vault.now();
  if (submission.outcome === "rejected") {
    const { reason } = submission;
    // About someone of whom nothing is stored, nothing is stored now: whoever can make a key could fill the disk.
    const hashes = vault.store.exists
      ? await vault.commit(
          [
            {
              operation: "contract.submit",
              status: "denied",
              request: { event_id: header.event_id },
              response: { reason },
            },
          ],
          () => {},
        )
      : [];
    // A key we may not seal to (small order) cannot be answered at all.
    if (reason === "key_refused")
      return { handled: "done", rejected: { reason, event_id: header.event_id }, replies: [] };
    const receipt: StoredReceipt = {
      outcome: "refused",
      reason,
      ...(hashes[0] === undefined ? {} : { event_hash: hashes[0] }),
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

  const { contractId, commit } = submission;
  let eventHash: string | undefined;
  if (commit !== undefined) {
    [eventHash] = await vault.commit(
      commit.audits,
      ([hash]) => {
        commit.write();
        vault.store.insertInbound({
          event_id: header.event_id,
          contract_id: contractId,
          seq: 0,
          received_at: now,
          receipt: JSON.stringify({ outcome: "stored", event_hash: hash } satisfies StoredReceipt),
        });
      },
      commit.due,
    );
    if (commit.send !== undefined) aftermath.send.push(commit.send);
    aftermath.index = true;
  }
  const receipt: StoredReceipt = {
    outcome: "stored",
    ...(eventHash === undefined ? {} : { event_hash: eventHash }),
  };
  return { handled: "done", replies: await sealReceipt(vault, header, now, receipt, to) };
}
