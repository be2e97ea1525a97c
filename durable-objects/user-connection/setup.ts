// From a submitted contract to an active one (PROTOCOL §5). The invite is counted and the index written in the
// Directory, idempotently per contract id, so that a crash between the two objects is repaired by the message's
// redelivery or the outbox.

import { signAcceptance } from "../../src/contracts/agreement.ts";
import { checkSubmission, missingData } from "../../src/contracts/negotiation.ts";
import type { VerifiedMessage } from "../../src/crypto/accept.ts";
import { newAgreementKey } from "../../src/crypto/agreement.ts";
import { decodeNkey } from "../../src/nats/nkey.ts";
import { issueCredentials } from "../../src/nats/user-credentials.ts";
import type {
  Contract,
  ContractAccepted,
  ContractSubmit,
  RejectionReason,
} from "../../src/protocol/contract.ts";
import { fromTimestamp, toTimestamp } from "../../src/protocol/primitives.ts";
import { resendPauseMs } from "../../src/requests/lifecycle.ts";
import type { Columns, ContractRow } from "./store.ts";
import type { AuditDraft, SealedMessage, Vault } from "./vault.ts";

/** How long an acceptance waits for a vault that went offline during setup. */
const ACCEPTANCE_LIFETIME_MS = 30 * 24 * 3_600_000;

/** Everything an acceptance writes. `row` is the contract's row as it will be. */
export interface Acceptance {
  columns: Columns<ContractRow>;
  message: SealedMessage;
  write: () => void;
  audit: AuditDraft;
  nextSendAt: number;
}

/** Accepts a contract: a connection key of its own, the service's signature, credentials, the message that says so. */
export async function prepareAcceptance(
  vault: Vault,
  submission: { contractId: string; contract: Contract; userSignature: string; submitEventId: string },
  actor: AuditDraft["request"],
): Promise<Acceptance> {
  const { contractId, contract } = submission;
  const now = vault.now();
  const acceptedAt = toTimestamp(now);
  const { key, secret } = await newAgreementKey();
  const form = {
    contract_id: contractId,
    user_signature: submission.userSignature,
    service_connection_key: key.publicKeyText,
    accepted_at: acceptedAt,
  };
  const serviceSignature = await signAcceptance(vault.config.signingKey, form);
  const accepted: ContractAccepted = {
    contract_id: contractId,
    service_connection_key: key.publicKeyText,
    accepted_at: acceptedAt,
    service_signature: serviceSignature,
    nats_credentials: await issueCredentials(
      vault.config,
      { userId: vault.userId, natsPublicKey: contract.nats_public_key },
      "lasting",
      now,
    ),
  };
  const n = vault.store.lastOutgoing() + 1;
  const sealedUntil = now + ACCEPTANCE_LIFETIME_MS;
  const message = await vault.seal(
    n,
    { eventType: "contract.accepted", ref: submission.submitEventId, seq: 0, expiresAt: sealedUntil },
    contract.user_connection_key,
    () => accepted,
  );
  const nextSendAt = now + resendPauseMs(1);
  return {
    columns: {
      status: "active",
      service_connection_key: key.publicKeyText,
      accepted_at: acceptedAt,
      service_signature: serviceSignature,
      activated_at: now,
    },
    message,
    nextSendAt,
    write: () => {
      vault.store.insertConnectionKey({
        key_id: key.keyId,
        contract_id: contractId,
        secret: vault.wrapper.wrapBytes(secret, `connection_keys/secret/${key.keyId}`),
        created_at: now,
      });
      vault.store.insertOutgoing({
        n,
        event_id: message.eventId,
        event_type: "contract.accepted",
        ref: submission.submitEventId,
        contract_id: contractId,
        seq: 0,
        created_at: now,
        sealed: message.bytes,
        sealed_until: sealedUntil,
        next_send_at: nextSendAt,
      });
    },
    audit: {
      contractId,
      operation: "contract.accept",
      status: "success",
      request: actor,
      response: { status: "active" },
    },
  };
}

export type Submission =
  | {
      outcome: "stored";
      contractId: string;
      /** The rows and entries of a contract that is new here; absent when the submission repeats a known one. */
      commit?: { audits: AuditDraft[]; write: () => void; due?: number; send?: number };
    }
  | { outcome: "rejected"; reason: RejectionReason };

/** Judges a submission. Nothing is written here; the invite's use may have been counted in the Directory. */
export async function judgeSubmission(vault: Vault, message: VerifiedMessage): Promise<Submission> {
  const submit = message.payload as ContractSubmit;
  const { contract } = submit;
  const now = vault.now();
  const rejected = (reason: RejectionReason): Submission => ({ outcome: "rejected", reason });

  const checked = await checkSubmission(submit, {
    now,
    serviceId: vault.config.serviceId,
    from: message.header.from,
    signingKey: message.header.signing_key!,
    natsKey: decodeNkey("user", contract.nats_public_key),
  });
  if (!checked.ok) return rejected(checked.error);
  const { contractId } = checked.value;

  const earlier = vault.store.contract(contractId);
  if (earlier !== undefined) {
    if (earlier.status === "pending" || earlier.status === "active" || earlier.status === "paused")
      return { outcome: "stored", contractId };
    return rejected("contract_ended");
  }
  if (vault.store.currentContract() !== undefined) return rejected("already_connected");

  const offering = contract.offering_snapshot;
  if (missingData(offering, submit.profile).length > 0) return rejected("required_data_missing");
  // Counted once per contract id however often it is asked; a crash from here on is repaired by redelivery.
  const redeemed = await vault.env.DIRECTORY.getByName("directory").redeemInvite({
    code: submit.invite_code ?? "",
    ...(submit.match_code === undefined ? {} : { matchCode: submit.match_code }),
    userId: vault.userId,
    contractId,
    offerId: contract.offer_id,
    offering,
    now,
  });
  if (!redeemed.ok) return rejected(redeemed.reason);

  const submitted: AuditDraft = {
    contractId,
    operation: "contract.submit",
    status: "success",
    request: { event_id: message.header.event_id, offering_id: contract.offering_id },
    response: { status: "pending" },
  };
  const row: Columns<ContractRow> = {
    contract_id: contractId,
    status: "pending",
    contract: JSON.stringify(contract),
    user_signature: submit.user_signature,
    signed_at: submit.signed_at,
    submit_event_id: message.header.event_id,
    user_connection_key: contract.user_connection_key,
    created_at: now,
    expires_at: contract.expires_at === undefined ? null : fromTimestamp(contract.expires_at),
    last_activity_at: now,
    open_from: vault.store.firstOpen(0),
  };
  const writeBase = (columns: Columns<ContractRow>) => {
    vault.store.insertContract({ ...row, ...columns });
    vault.store.putProfile(
      contractId,
      vault.wrapper.wrap(submit.profile, `profiles/data/${contractId}`),
      now,
    );
  };
  if (offering.acceptance === "manual")
    return {
      outcome: "stored",
      contractId,
      commit: { audits: [submitted], write: () => writeBase({}), due: now },
    };

  const acceptance = await prepareAcceptance(
    vault,
    { contractId, contract, userSignature: submit.user_signature, submitEventId: message.header.event_id },
    { by: "offering" },
  );
  return {
    outcome: "stored",
    contractId,
    commit: {
      audits: [submitted, acceptance.audit],
      write: () => {
        writeBase(acceptance.columns);
        acceptance.write();
      },
      due: acceptance.nextSendAt,
      send: acceptance.message.n,
    },
  };
}
