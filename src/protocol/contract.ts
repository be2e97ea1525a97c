// The agreement between one user and one service (PROTOCOL §5, §7).

import { z } from "zod";
import { capabilityName, offer, offering, offeringId } from "./offer.ts";
import {
  contractId,
  eventId,
  identityId,
  line,
  offerId,
  prose,
  publicKey,
  signature,
  timestamp,
} from "./primitives.ts";

export { contractId } from "./primitives.ts";

/** A NATS user public key: `U` and 55 base32 letters (32 bytes, prefix and CRC-16). */
export const natsUserKey = z.string().regex(/^U[A-Z2-7]{55}$/, "must be a NATS user public key");

export const contract = z.strictObject({
  v: z.literal(1),
  user_id: identityId,
  user_signing_key: publicKey,
  service_id: identityId,
  offer_id: offerId,
  offering_id: offeringId,
  offering_snapshot: offering,
  /** X25519, made for this contract alone. */
  user_connection_key: publicKey,
  nats_public_key: natsUserKey,
  message_space: eventId,
  created_at: timestamp,
  expires_at: timestamp.optional(),
  supersedes: contractId.optional(),
});
export type Contract = z.infer<typeof contract>;

/** Everything that proves a contract, from its content alone. */
export const contractRecord = z.strictObject({
  contract,
  user_signature: signature,
  signed_at: timestamp,
  service_public_key: publicKey,
  service_connection_key: publicKey,
  accepted_at: timestamp,
  service_signature: signature,
});
export type ContractRecord = z.infer<typeof contractRecord>;

export const contractStatus = z.enum([
  "pending",
  "active",
  "paused",
  "rejected",
  "cancelled",
  "expired",
  "superseded",
]);
export type ContractStatus = z.infer<typeof contractStatus>;

/** Statuses that nothing leaves; the id is refused for ever. */
export const isEnded = (status: ContractStatus): boolean =>
  status === "rejected" || status === "cancelled" || status === "expired" || status === "superseded";

export const inviteCode = eventId;
export const matchCode = z.string().regex(/^\d{2,6}$/, "must be 2 to 6 digits");

/** Body of POST /connect/{code}/credentials: two signatures, so that both keys are shown to be held. */
export const setupCredentialsRequest = z.strictObject({
  signing_key: publicKey,
  nats_public_key: natsUserKey,
  timestamp,
  signature,
  nats_signature: signature,
});
export type SetupCredentialsRequest = z.infer<typeof setupCredentialsRequest>;

/** Body of POST /connect/credentials. */
export const lastingCredentialsRequest = z.strictObject({
  contract_id: contractId,
  nats_public_key: natsUserKey,
  timestamp,
  signature,
  nats_signature: signature,
});
export type LastingCredentialsRequest = z.infer<typeof lastingCredentialsRequest>;

export const natsCredentials = z.strictObject({
  endpoint: z.string().max(2_048),
  user_jwt: z.string().max(8_192),
  expires_at: timestamp,
});
export type NatsCredentials = z.infer<typeof natsCredentials>;

/** Personal fields by name; values are whatever JSON the user chose to share. */
export const profile = z.record(line(128), z.json()).refine((fields) => Object.keys(fields).length <= 256, {
  message: "at most 256 fields",
});
export type Profile = z.infer<typeof profile>;

export const contractSubmit = z.strictObject({
  invite_code: inviteCode.optional(),
  match_code: matchCode.optional(),
  contract,
  user_signature: signature,
  signed_at: timestamp,
  profile,
});
export type ContractSubmit = z.infer<typeof contractSubmit>;

export const contractAccepted = z.strictObject({
  contract_id: contractId,
  service_connection_key: publicKey,
  accepted_at: timestamp,
  service_signature: signature,
  nats_credentials: natsCredentials,
});
export type ContractAccepted = z.infer<typeof contractAccepted>;

/** Why a submission was turned down; the same text in `contract.rejected`, the audit entry and the tests. */
export const rejectionReason = z.enum([
  "signature_invalid",
  "contract_invalid",
  "wrong_service",
  "key_refused",
  "invite_invalid",
  "invite_expired",
  "invite_used_up",
  "match_code_wrong",
  "offer_outdated",
  "offering_changed",
  "required_data_missing",
  "already_connected",
  "contract_ended",
  /** It names `supersedes`, and no such change was proposed, or no longer is. */
  "not_proposed",
  "expired",
  "declined",
]);
export type RejectionReason = z.infer<typeof rejectionReason>;

export const contractRejected = z.strictObject({ reason: rejectionReason, detail: line(500).optional() });
export type ContractRejected = z.infer<typeof contractRejected>;

export const revocation = z.strictObject({
  contract_id: contractId,
  by: z.enum(["user", "service"]),
  at: timestamp,
  reason: line(500).optional(),
  signature,
});
export type Revocation = z.infer<typeof revocation>;

export const capabilityRevoke = z.strictObject({
  capabilities: z.array(capabilityName).min(1).max(64),
  /** Over `{contract_id, capabilities}`. */
  signature,
});
export type CapabilityRevoke = z.infer<typeof capabilityRevoke>;

/** A change the service proposes (PROTOCOL §7). */
export const contractUpdate = z.strictObject({
  /** Signed for this user: with the one offering that is proposed. */
  offer,
  offering_id: offeringId,
  summary: prose(1_000),
  /** The end the new contract must name; absent: the person's choice. */
  expires_at: timestamp.optional(),
});
export type ContractUpdate = z.infer<typeof contractUpdate>;

/** Told ahead of an end that the user cannot know of. */
export const contractExpiring = z.strictObject({ expires_at: timestamp, reason: z.literal("inactive") });
export type ContractExpiring = z.infer<typeof contractExpiring>;

export const contractPause = z.strictObject({ reason: line(500).optional() });
