// From a submitted contract to an active one (PROTOCOL §5). The invite is counted and the index written in the
// Directory, idempotently per contract id, so that a crash between the two objects is repaired by the message's
// redelivery or the outbox.

import { atPoint } from "../../src/at-point.ts";
import { signAcceptance } from "../../src/contracts/agreement.ts";
import { checkSubmission, missingData } from "../../src/contracts/negotiation.ts";
import type { VerifiedMessage } from "../../src/crypto/accept.ts";
import { newAgreementKey } from "../../src/crypto/agreement.ts";
import { sha256 } from "../../src/crypto/hash.ts";
import { decodeNkey } from "../../src/nats/nkey.ts";
import { issueCredentials, issuedAtSeconds } from "../../src/nats/user-credentials.ts";
import type {
  Contract,
  ContractAccepted,
  ContractSubmit,
  NatsCredentials,
  RejectionReason,
} from "../../src/protocol/contract.ts";
import { toBase64 } from "../../src/protocol/encoding.ts";
import { utf8 } from "../../src/protocol/json.ts";
import { fromTimestamp, toTimestamp } from "../../src/protocol/primitives.ts";
import { findProposal, supersede } from "./amending.ts";
import type { AuditDraft, Change } from "./change.ts";
import type { Columns, ContractRow } from "./store.ts";

/** How long an acceptance waits for a vault that went offline during setup. */
const ACCEPTANCE_LIFETIME_MS = 30 * 24 * 3_600_000;

/** What a contract's row keeps of credentials issued now; `until`: when those issued before would expire. */
export const issuedColumns = (
  { expires_at }: NatsCredentials,
  now: number,
  until = 0,
): Columns<ContractRow> => ({
  credentials_issued_at: issuedAtSeconds(now),
  credentials_until: Math.max(until, fromTimestamp(expires_at)),
});

/** How an invite is remembered: codes hold 128 random bits, so a plain hash tells nothing about them. */
export const inviteHash = (code: string): string => toBase64(sha256(utf8(code)));

export interface Submitted {
  contractId: string;
  contract: Contract;
  userSignature: string;
  submitEventId: string;
}

/**
 * Accepts a contract: a connection key of its own, the service's signature, credentials, and the message that says
 * so. Returns the columns that make the contract's row an active one.
 */
export async function acceptContract(
  change: Change,
  { contractId, contract, userSignature, submitEventId }: Submitted,
  actor: AuditDraft["request"],
): Promise<Columns<ContractRow>> {
  const { vault, now } = change;
  const acceptedAt = toTimestamp(now);
  const { key, secret } = await newAgreementKey();
  const form = {
    contract_id: contractId,
    user_signature: userSignature,
    service_connection_key: key.publicKeyText,
    accepted_at: acceptedAt,
  };
  const serviceSignature = await signAcceptance(vault.config.signingKey, form);
  const credentials = await issueCredentials(
    vault.config,
    { userId: vault.userId, natsPublicKey: contract.nats_public_key },
    "lasting",
    now,
  );
  const accepted: ContractAccepted = {
    contract_id: contractId,
    service_connection_key: key.publicKeyText,
    accepted_at: acceptedAt,
    service_signature: serviceSignature,
    nats_credentials: credentials,
  };
  change.audit({
    contractId,
    operation: "contract.accept",
    status: "success",
    request: actor,
    response: { status: "active" },
  });
  change.write(() =>
    vault.store.insertConnectionKey({
      key_id: key.keyId,
      contract_id: contractId,
      secret: vault.wrapper.wrapBytes(secret, `connection_keys/secret/${key.keyId}`),
      created_at: now,
    }),
  );
  await change.say(
    { contract_id: contractId, user_connection_key: contract.user_connection_key },
    {
      eventType: "contract.accepted",
      ref: submitEventId,
      payload: accepted,
      expiresAt: now + ACCEPTANCE_LIFETIME_MS,
      setup: true,
    },
  );
  change.tell("contract.activated", contractId, { contract_id: contractId, status: "active" }).list();
  return {
    status: "active",
    service_connection_key: key.publicKeyText,
    accepted_at: acceptedAt,
    service_signature: serviceSignature,
    activated_at: now,
    rotated_at: now,
    ...issuedColumns(credentials, now),
  };
}

export type Submission =
  /** `repeated`: the contract is known and stands; nothing is new. */
  | { outcome: "stored"; contractId: string; repeated: boolean }
  | { outcome: "rejected"; reason: RejectionReason };

/** Judges a submission and gathers what it makes. The invite's use may have been counted in the Directory. */
export async function takeSubmission(change: Change, message: VerifiedMessage): Promise<Submission> {
  const { vault, now } = change;
  const submit = message.payload as ContractSubmit;
  const { contract } = submit;
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
  if (vault.store.isForgotten(contractId)) return rejected("contract_ended");
  if (vault.store.isErasing()) return rejected("declined");
  if (earlier !== undefined) {
    const stands = earlier.status === "pending" || earlier.status === "active" || earlier.status === "paused";
    return stands ? { outcome: "stored", contractId, repeated: true } : rejected("contract_ended");
  }
  const succession = contract.supersedes === undefined ? undefined : findProposal(vault, contract, now);
  if (succession?.ok === false) return rejected(succession.error);
  if (succession === undefined && vault.store.currentContract() !== undefined)
    return rejected("already_connected");
  const offering = contract.offering_snapshot;
  if (missingData(offering, submit.profile).length > 0) return rejected("required_data_missing");
  // The proposal stands in for an invite. An invite is counted once per contract id however often it is asked; a
  // crash from here on is repaired by redelivery.
  const redeemed =
    succession !== undefined
      ? { ok: true as const }
      : await atPoint("user.redeem_invite", () =>
          vault.env.DIRECTORY.getByName("directory").redeemInvite({
            code: submit.invite_code ?? "",
            ...(submit.match_code === undefined ? {} : { matchCode: submit.match_code }),
            userId: vault.userId,
            contractId,
            offerId: contract.offer_id,
            offering,
            now,
          }),
        );
  if (!redeemed.ok) return rejected(redeemed.reason);

  const expiresAt = contract.expires_at === undefined ? null : fromTimestamp(contract.expires_at);
  change.audit({
    contractId,
    operation: "contract.submit",
    status: "success",
    request: { event_id: message.header.event_id, offering_id: contract.offering_id },
    response: { status: "pending" },
  });
  change.tell("contract.created", contractId, { contract_id: contractId, offering_id: contract.offering_id });
  const accepted =
    offering.acceptance === "manual" && succession === undefined
      ? {}
      : await acceptContract(
          change,
          {
            contractId,
            contract,
            userSignature: submit.user_signature,
            submitEventId: message.header.event_id,
          },
          succession === undefined
            ? { by: "offering" }
            : { by: "amendment", amendment_id: succession.value.amendment.amendment_id },
        );
  if (succession !== undefined) supersede(change, succession.value, contractId);
  change
    .write(() => {
      vault.store.insertContract({
        contract_id: contractId,
        status: "pending",
        contract: JSON.stringify(contract),
        user_signature: submit.user_signature,
        signed_at: submit.signed_at,
        submit_event_id: message.header.event_id,
        user_connection_key: contract.user_connection_key,
        created_at: now,
        expires_at: expiresAt,
        last_activity_at: now,
        open_from: vault.store.firstOpen(0),
        invite: submit.invite_code === undefined ? null : inviteHash(submit.invite_code),
        // What was denied a moment ago cools off under the new contract, too.
        ...(succession === undefined ? {} : { cooling: succession.value.old.cooling }),
        ...accepted,
      });
      vault.store.putProfile(
        contractId,
        vault.wrapper.wrap(submit.profile, `profiles/data/${contractId}`),
        now,
      );
    })
    .due(expiresAt)
    // The alarm stands behind the index: it is written again until the Directory has it.
    .due(now)
    .list();
  return { outcome: "stored", contractId, repeated: false };
}
