// What the vault shows of itself: views for people and programs, and the events that say when one changed.

import { differenceOf, type OfferingDifference } from "../../src/contracts/amendment.ts";
import type { Decision, RequestStatus } from "../../src/protocol/asking.ts";
import type { ContractStatus } from "../../src/protocol/contract.ts";
import type { Json } from "../../src/protocol/json.ts";
import type { Offering } from "../../src/protocol/offer.ts";
import { fromTimestamp, toTimestamp } from "../../src/protocol/primitives.ts";
import type { AskRow, AskState, ContractRow, ReceiptRow } from "./store.ts";

/** An ask as a person is shown it. Times are RFC 3339. */
export interface Ask {
  request_id: string;
  contract_id: string;
  service_id: string;
  service_name: string;
  state: AskState;
  kind: string;
  operation?: string;
  purpose?: string;
  context?: { [name: string]: string | number | boolean };
  /** The number shown where the person acts has to be typed. */
  match_code_required: boolean;
  /** Everything that was asked, as received. Absent for an ask withdrawn before it came. */
  payload?: Json;
  received_at: string;
  expires_at: string;
  /** Expiry and grace: until then an answer may still count. */
  answerable_until: string;
  decision?: Decision;
  reason?: string;
  reported?: boolean;
  answered_at?: string;
  /** Event id of the answer, for `delivered()`. */
  answer_event_id?: string;
  /** How the service counted the answer; absent until its receipt came. */
  outcome?: RequestStatus;
  /** The answer expired before the service said that it has it. */
  undelivered?: boolean;
}

/** A contract as a person is shown it. */
export interface ContractInfo {
  contract_id: string;
  service_id: string;
  service_name: string;
  /** Who the person is toward this service. */
  user_id: string;
  offering_id: string;
  offering_name: string;
  capabilities: string[];
  status: ContractStatus;
  created_at: string;
  activated_at?: string;
  expires_at?: string;
  ended_at?: string;
  ended_by?: "user" | "service";
  reason?: string;
  /** The names, not the values, of what is shared. */
  shared_data: string[];
  /** A change the service proposes: to be agreed to, declined, or left to expire. */
  proposal?: {
    event_id: string;
    offering_id: string;
    /** The service's own words. */
    summary: string;
    /** What would change, computed here from what is agreed and what is proposed. */
    changes: OfferingDifference;
    /** What would be agreed to, whole. */
    offering: Offering;
    expires_at: string;
    /** The end the service asks for. */
    contract_expires_at?: string;
  };
  /** The contract this one took the place of, and the one that took its place. */
  supersedes?: string;
  superseded_by?: string;
  /** When the service ends it for want of use, unless it is used. */
  ends_inactive_at?: string;
}

/** The service's word that it has a message of ours. */
export interface Receipt {
  event_id: string;
  contract_id: string;
  event_type: string;
  /** For an answer: the request. */
  ref?: string;
  sent_at: string;
  received_at: string;
  outcome: "stored" | "refused";
  reason?: string;
  request_status?: string;
  /** The entry of the service's audit log that records the message, base64. */
  event_hash?: string;
}

export type VaultEvent =
  /** Something to decide. */
  | { type: "ask"; ask: Ask }
  /** An ask was answered, withdrawn, expired, or its answer was counted. */
  | { type: "ask_changed"; ask: Ask }
  | { type: "contract_changed"; contract: ContractInfo }
  | { type: "delivered"; receipt: Receipt }
  /** The service said something under a kind: a payment's progress, a call's signal. `ref`: what it belongs to. */
  | { type: "heard"; contract_id: string; event_type: string; event_id: string; ref?: string; payload: Json }
  /** An answer or a message changed what the vault holds; `service_id` is "" for the person's own. */
  | { type: "holdings_changed"; service_id: string; collection: string }
  /** A message of ours expired before the service said that it has it. */
  | { type: "undelivered"; event_id: string; event_type: string; contract_id: string }
  /** A message was not believed; nothing was changed or answered. */
  | { type: "message_refused"; service_id: string; reason: string; event_id?: string }
  /** A policy threw or gave an answer that cannot be sent; the ask stays open. */
  | { type: "policy_failed"; request_id: string; message: string };

/** Fields hold ids, counts and reasons, never contents. */
export type Log = (
  level: "debug" | "info" | "warn" | "error",
  message: string,
  fields?: { [name: string]: string | number | boolean | undefined },
) => void;

export function askView(row: AskRow, contract: ContractRow): Ask {
  const payload = row.payload as { [name: string]: Json } | undefined;
  const { answer } = row;
  return {
    request_id: row.requestId,
    contract_id: row.contractId,
    service_id: row.serviceId,
    service_name: contract.terms.offer.service_name,
    state: row.state,
    kind: row.kind,
    ...(row.operation === undefined ? {} : { operation: row.operation }),
    ...(typeof payload?.purpose === "string" ? { purpose: payload.purpose } : {}),
    ...(payload?.context === undefined ? {} : { context: payload.context as NonNullable<Ask["context"]> }),
    match_code_required: payload?.match_code_required === true,
    ...(payload === undefined ? {} : { payload }),
    received_at: toTimestamp(row.receivedAt),
    expires_at: toTimestamp(row.expiresAt),
    answerable_until: toTimestamp(row.answerableUntil),
    ...(answer === undefined
      ? {}
      : {
          decision: answer.decision,
          ...(answer.reason === undefined ? {} : { reason: answer.reason }),
          ...(answer.report === true ? { reported: true } : {}),
          answered_at: toTimestamp(answer.answeredAt),
          answer_event_id: answer.eventId,
        }),
    ...(row.outcome === undefined ? {} : { outcome: row.outcome }),
    ...(row.undelivered === true ? { undelivered: true } : {}),
  };
}

export function contractView(row: ContractRow): ContractInfo {
  const { contract, offer } = row.terms;
  const { proposal } = row;
  return {
    contract_id: row.contractId,
    service_id: row.serviceId,
    service_name: offer.service_name,
    user_id: contract.user_id,
    offering_id: contract.offering_id,
    offering_name: contract.offering_snapshot.name,
    capabilities: contract.offering_snapshot.capabilities
      .map(({ capability }) => capability)
      .filter((name) => row.revokedCapabilities?.includes(name) !== true),
    status: row.status,
    created_at: contract.created_at,
    ...(row.acceptance === undefined ? {} : { activated_at: row.acceptance.acceptedAt }),
    ...(contract.expires_at === undefined ? {} : { expires_at: contract.expires_at }),
    ...(row.endedAt === undefined ? {} : { ended_at: toTimestamp(row.endedAt) }),
    ...(row.endedBy === undefined ? {} : { ended_by: row.endedBy }),
    ...(row.reason === undefined ? {} : { reason: row.reason }),
    shared_data: Object.keys(row.profile),
    ...(proposal === undefined
      ? {}
      : {
          proposal: {
            event_id: proposal.eventId,
            offering_id: proposal.offeringId,
            summary: proposal.summary,
            changes: differenceOf(
              contract.offering_snapshot,
              proposedOffering(proposal),
              row.revokedCapabilities,
            ),
            offering: proposedOffering(proposal),
            expires_at: toTimestamp(proposal.expiresAt),
            ...(proposal.contractExpiresAt === undefined
              ? {}
              : { contract_expires_at: proposal.contractExpiresAt }),
          },
        }),
    ...(contract.supersedes === undefined ? {} : { supersedes: contract.supersedes }),
    ...(row.successor === undefined ? {} : { superseded_by: row.successor }),
    ...(row.endsInactiveAt === undefined ? {} : { ends_inactive_at: row.endsInactiveAt }),
  };
}

/** The offering of a proposal that was taken in: its offer holds it. */
export const proposedOffering = ({ offer, offeringId }: NonNullable<ContractRow["proposal"]>): Offering =>
  offer.offerings.find(({ offering_id }) => offering_id === offeringId)!;

export const receiptView = (row: ReceiptRow): Receipt => ({
  event_id: row.eventId,
  contract_id: row.contractId,
  event_type: row.eventType,
  ...(row.ref === undefined ? {} : { ref: row.ref }),
  sent_at: toTimestamp(row.sentAt),
  received_at: row.receivedAt,
  outcome: row.outcome,
  ...(row.reason === undefined ? {} : { reason: row.reason }),
  ...(row.requestStatus === undefined ? {} : { request_status: row.requestStatus }),
  ...(row.eventHash === undefined ? {} : { event_hash: row.eventHash }),
});

/** The instant a contract ends by itself; undefined when it does not. */
export const contractExpiry = (row: ContractRow): number | undefined =>
  row.terms.contract.expires_at === undefined ? undefined : fromTimestamp(row.terms.contract.expires_at);
