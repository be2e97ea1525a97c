// Rows as the API shows them.

import { verifyContractRecord } from "../../src/contracts/agreement.ts";
import { type ConsentReceipt, signConsentReceipt } from "../../src/contracts/receipt.ts";
import { keyIdOf } from "../../src/crypto/hash.ts";
import type { Approval, RequestPayload } from "../../src/protocol/asking.ts";
import { type Contract, type ContractRecord, isEnded } from "../../src/protocol/contract.ts";
import { fromBase64 } from "../../src/protocol/encoding.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import { kindNamed, operationOf } from "../../src/requests/registry.ts";
import type { ContractDetail, ContractIndexRow, ContractView, RequestView } from "../../src/rpc.ts";
import { missingNumbers } from "./sequence.ts";
import type { ContractRow, RequestRow } from "./store.ts";
import type { Vault } from "./vault.ts";

/** What `outgoing.content` holds, wrapped. */
export interface RequestContent {
  /** Without what was withheld; `request_digest` is then that of the payload as it was sent. */
  payload: RequestPayload;
  request_digest?: string;
  input: unknown;
  match_code?: string;
  metadata?: unknown;
  callback_url?: string;
}

/** What `outgoing.answer` holds, wrapped. */
export interface AnswerContent {
  approval: Approval;
  reason?: string;
}

/** How many missing numbers a view or a receipt names. */
export const SHOWN_MISSING = 64;

const timeOf = (ms: number | null): string | undefined => (ms === null ? undefined : toTimestamp(ms));

/** Leaves out members that are undefined: absent is left out, never null. */
const present = <T extends object>(value: T): T =>
  Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as T;

/** What was unwrapped, while somebody holds the row it was read with: a step looks into it several times. */
const unwrapped = new WeakMap<ArrayBuffer, Readonly<RequestContent>>();

export function contentOf(vault: Vault, row: Pick<RequestRow, "n" | "content">): Readonly<RequestContent> {
  let content = unwrapped.get(row.content);
  if (content === undefined) {
    const stored = new Uint8Array(row.content);
    content = vault.wrapper.unwrap(stored, `outgoing/content/${row.n}`) as unknown as RequestContent;
    unwrapped.set(row.content, content);
  }
  return content;
}

/** What a view of a request shows of its row. */
export type ShownRow = Pick<
  RequestRow,
  | "n"
  | "event_id"
  | "contract_id"
  | "kind"
  | "operation"
  | "status"
  | "created_at"
  | "expires_at"
  | "delivered_at"
  | "changed_at"
  | "answer_id"
  | "answer"
  | "result"
  | "state"
>;

export const answerOf = (vault: Vault, row: ShownRow): AnswerContent | undefined =>
  row.answer === null
    ? undefined
    : (vault.wrapper.unwrap(
        new Uint8Array(row.answer),
        `outgoing/answer/${row.n}`,
      ) as unknown as AnswerContent);

export const stateOf = (vault: Vault, row: ShownRow): unknown =>
  row.state === null ? undefined : vault.wrapper.unwrap(new Uint8Array(row.state), `outgoing/state/${row.n}`);

export const resultOf = (vault: Vault, row: ShownRow): unknown =>
  row.result === null
    ? undefined
    : vault.wrapper.unwrap(new Uint8Array(row.result), `outgoing/result/${row.n}`);

export const requestView = (vault: Vault, row: RequestRow, contract: Contract): RequestView =>
  viewOf(vault, row, contentOf(vault, row), contract);

export function viewOf(
  vault: Vault,
  row: ShownRow,
  content: Readonly<RequestContent>,
  contract: Contract,
): RequestView {
  const answer = answerOf(vault, row);
  const shares = operationOf(kindNamed(row.kind)!, row.operation)?.sharesValue === true;
  const destroyed =
    shares && row.result === null && (row.status === "approved" || row.status === "offline_approved");
  return present({
    request_id: row.event_id,
    user_id: vault.userId,
    contract_id: row.contract_id,
    kind: row.kind,
    operation: row.operation,
    status: row.status,
    created_at: toTimestamp(row.created_at),
    expires_at: toTimestamp(row.expires_at),
    delivered_at: timeOf(row.delivered_at),
    responded_at: row.answer_id === null ? undefined : toTimestamp(row.changed_at),
    timestamp: toTimestamp(row.changed_at),
    reason: answer?.reason,
    result: resultOf(vault, row),
    result_destroyed: destroyed ? true : undefined,
    request_payload: content.payload,
    approval: answer?.approval,
    user_signing_key: contract.user_signing_key,
    metadata: content.metadata,
    state: stateOf(vault, row),
  });
}

export function contractView(vault: Vault, row: ContractRow): ContractView {
  const contract = vault.contractOf(row);
  const revoked = JSON.parse(row.revoked_capabilities) as string[];
  const offering = contract.offering_snapshot;
  return present({
    contract_id: row.contract_id,
    user_id: vault.userId,
    service_id: contract.service_id,
    offering_id: contract.offering_id,
    offering_name: offering.name,
    offering,
    capabilities: offering.capabilities
      .map(({ capability }) => capability)
      .filter((name) => !revoked.includes(name)),
    status: row.status,
    created_at: toTimestamp(row.created_at),
    activated_at: timeOf(row.activated_at),
    expires_at: timeOf(row.expires_at),
    cancelled_at: timeOf(row.status === "cancelled" ? row.ended_at : null),
    cancelled_by: row.ended_by ?? undefined,
    cancelled_reason: row.ended_reason ?? undefined,
    supersedes: contract.supersedes,
    superseded_by: row.successor ?? undefined,
  });
}

export function recordOf(vault: Vault, row: ContractRow): ContractRecord | undefined {
  const { accepted_at, service_connection_key, service_signature } = row;
  if (accepted_at === null || service_connection_key === null || service_signature === null) return undefined;
  return {
    contract: vault.contractOf(row),
    user_signature: row.user_signature,
    signed_at: row.signed_at,
    service_public_key: vault.config.signingKey.publicKeyText,
    service_connection_key,
    accepted_at,
    service_signature,
  };
}

/** The consent receipt of a contract that was accepted; undefined before. */
export async function receiptOf(vault: Vault, row: ContractRow): Promise<ConsentReceipt | undefined> {
  const record = recordOf(vault, row);
  if (record === undefined || row.status === "pending" || row.status === "rejected") return undefined;
  const { SERVICE_NAME, SERVICE_TYPE, SERVICE_DOMAIN, SERVICE_JURISDICTION, signingKey } = vault.config;
  const changedAt = Math.max(row.activated_at!, row.consent_changed_at ?? 0, row.ended_at ?? 0);
  return signConsentReceipt(signingKey, {
    contractId: row.contract_id,
    record,
    status: row.status,
    changedAt: toTimestamp(changedAt),
    ...(row.ended_at === null ? {} : { endedAt: toTimestamp(row.ended_at) }),
    ...(row.ended_by === null ? {} : { endedBy: row.ended_by }),
    ...(row.successor === null ? {} : { supersededBy: row.successor }),
    revokedCapabilities: JSON.parse(row.revoked_capabilities) as string[],
    service: {
      name: SERVICE_NAME,
      type: SERVICE_TYPE,
      ...(SERVICE_DOMAIN === undefined ? {} : { domain: SERVICE_DOMAIN }),
      ...(SERVICE_JURISDICTION === undefined ? {} : { jurisdiction: SERVICE_JURISDICTION }),
    },
  });
}

export async function contractDetail(vault: Vault, row: ContractRow): Promise<ContractDetail> {
  const record = recordOf(vault, row);
  const keyIdOfText = (text: string) => keyIdOf(fromBase64(text)!);
  return present({
    ...contractView(vault, row),
    record,
    verification:
      record === undefined
        ? {
            valid: false,
            checks: [{ check: "accepted", ok: false, detail: "the service has not accepted this contract" }],
          }
        : await verifyContractRecord(record),
    connection: present({
      last_activity_at: timeOf(row.last_activity_at),
      service_key_ids: vault.store.connectionKeyIds(row.contract_id),
      user_key_ids: [keyIdOfText(row.user_connection_key)],
      sent_seq: vault.store.lastSeq(row.contract_id),
      received_seq: row.received_seq,
      missing_seq: missingNumbers(vault.store.received(row), SHOWN_MISSING),
    }),
  });
}

export function indexRow(vault: Vault, row: ContractRow): ContractIndexRow {
  const view = contractView(vault, row);
  return {
    contractId: row.contract_id,
    userId: vault.userId,
    offeringId: view.offering_id,
    offeringName: view.offering_name,
    status: row.status,
    createdAt: row.created_at,
    version: row.index_version,
    view,
    natsKey: vault.contractOf(row).nats_public_key,
    ...revocationOf(vault, row),
  };
}

/** What has to be revoked on the cluster: credentials of a contract whose keys are destroyed (PROTOCOL §7). */
function revocationOf(vault: Vault, row: ContractRow): Pick<ContractIndexRow, "revocation"> {
  const { credentials_issued_at: issuedAtSeconds, credentials_until: expiresAt } = row;
  if (issuedAtSeconds === null || expiresAt === null || expiresAt <= vault.now()) return {};
  if (!isEnded(row.status) || vault.store.connectionKeyIds(row.contract_id).length > 0) return {};
  return { revocation: { issuedAtSeconds, expiresAt } };
}
