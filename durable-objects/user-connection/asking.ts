// Asking and being answered (PROTOCOL §6). Each function is one step: it runs alone and ends in one commit.

import { decideGrant, type GrantDecision } from "../../src/contracts/grant.ts";
import { sha256 } from "../../src/crypto/hash.ts";
import { MessageTooLarge } from "../../src/crypto/seal.ts";
import type { RequestStatus, ResponsePayload } from "../../src/protocol/asking.ts";
import { toBase64 } from "../../src/protocol/encoding.ts";
import type { EnvelopeHeader } from "../../src/protocol/envelope.ts";
import { parseRoutedId } from "../../src/protocol/ids.ts";
import { canonicalJson, utf8 } from "../../src/protocol/json.ts";
import { COOLING_OFF_MS } from "../../src/protocol/limits.ts";
import { kindOfResponse } from "../../src/protocol/messages.ts";
import type { CapabilityGrant } from "../../src/protocol/offer.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import type { Kind, KindOperation } from "../../src/requests/kind.ts";
import {
  buildPayload,
  countAnswer,
  newMatchCode,
  resendPauseMs,
  verifyAnswer,
} from "../../src/requests/lifecycle.ts";
import { kindNamed, operationOf } from "../../src/requests/registry.ts";
import type { ApiFault, AskInput, RequestView, RpcResult } from "../../src/rpc.ts";
import { type Columns, type ContractRow, isRequest, type OutgoingRow, type RequestRow } from "./store.ts";
import type { AuditDraft, Vault } from "./vault.ts";
import { type AnswerContent, contentOf, type RequestContent, requestView } from "./views.ts";

/** How long an Idempotency-Key is remembered. */
export const IDEMPOTENCY_MS = 24 * 3_600_000;

const fault = (
  code: ApiFault["code"],
  detail: string,
  retryAfterSeconds?: number,
): { ok: false; error: ApiFault } => ({
  ok: false,
  error: { code, detail, ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }) },
});

/** What a refused grant tells the backend. */
function refusal(
  decision: Exclude<GrantDecision, { allowed: true }>,
  capability: string,
): { ok: false; error: ApiFault } {
  switch (decision.reason) {
    case "no_contract":
      return fault(
        "contract_required",
        "this user has no active contract with the service; send them an invite",
      );
    case "not_active":
      return fault("contract_required", "the user's contract is paused; resume it before asking");
    case "contract_expired":
      return fault("contract_required", "the user's contract has expired; send them an invite");
    case "not_granted":
      return fault("capability_denied", `the user's contract does not grant ${capability}`);
    case "out_of_scope":
      return fault("capability_denied", `the contract grants ${capability}, but not for what is asked`);
    case "amount_exceeded":
      return fault(
        "capability_denied",
        `the amount or currency is beyond what the contract grants for ${capability}`,
      );
    case "not_valid_now":
      return fault("capability_denied", `the contract does not grant ${capability} at this time`);
    case "over_rate":
      return fault(
        "rate_limited",
        `the contract's rate for ${capability} is used up`,
        Math.ceil(decision.retryAfterMs / 1_000),
      );
  }
}

/** A stable name for "the same ask": kind, operation, what it is about and the purpose (PROTOCOL §6). */
const samenessOf = (kind: Kind, operation: KindOperation, ask: AskInput): string =>
  toBase64(
    sha256(
      utf8(
        canonicalJson({
          kind: kind.name,
          operation: operation.name,
          purpose: ask.purpose ?? "",
          ...operation.sameness(ask.input),
        }),
      ),
    ),
  );

type Cooling = [sameness: string, until: number][];

const coolingOf = (row: ContractRow, now: number): Cooling =>
  (JSON.parse(row.cooling) as Cooling).filter(([, until]) => until > now);

/** The answer an earlier POST with this Idempotency-Key got, or `conflict` when it carried something else. */
function replay(vault: Vault, ask: AskInput, now: number): RpcResult<RequestView> | undefined {
  const { idempotency } = ask;
  if (idempotency === undefined) return undefined;
  const earlier = vault.store
    .asksSince(now - IDEMPOTENCY_MS)
    .find(({ idempotency_key }) => idempotency_key === idempotency.key);
  if (earlier === undefined) return undefined;
  const row = vault.store.outgoing(earlier.n);
  if (!isRequest(row)) return undefined;
  if (row.idempotency_digest !== idempotency.digest)
    return fault("conflict", "this Idempotency-Key was used with another request; use a new key");
  return { ok: true, value: createdView(vault, row) };
}

/** A request as its POST answered it, whatever has become of it since. */
function createdView(vault: Vault, row: RequestRow): RequestView {
  const contract = vault.contractOf(vault.store.contract(row.contract_id)!);
  const untouched: RequestRow = {
    ...row,
    status: "pending",
    changed_at: row.created_at,
    delivered_at: null,
    answer_id: null,
    answer: null,
    result: null,
  };
  const { match_code } = contentOf(vault, row);
  return { ...requestView(vault, untouched, contract), ...(match_code === undefined ? {} : { match_code }) };
}

/**
 * Records an ask. When it returns `ok` the request is durable and will reach the user or expire; the row number of
 * what is to be sent now is in `send`.
 */
export async function ask(
  vault: Vault,
  input: AskInput,
): Promise<{ answer: RpcResult<RequestView>; send?: number }> {
  const kind = kindNamed(input.kind);
  const operation = kind && operationOf(kind, input.operation);
  if (kind === undefined || operation === undefined)
    return { answer: fault("invalid_request", "there is no such kind of request") };
  // An unknown user is answered without writing anything: a typo must not make an object.
  if (!vault.store.exists)
    return { answer: refusal({ allowed: false, code: "contract_required", reason: "no_contract" }, "") };

  const now = vault.now();
  const repeated = replay(vault, input, now);
  if (repeated !== undefined) return { answer: repeated };

  const row = vault.store.currentContract();
  const wanted = operation.grant(input.input);
  const refuse = async (answer: { ok: false; error: ApiFault }, reason: string) => {
    await vault.commit(
      [
        {
          ...(row === undefined ? {} : { contractId: row.contract_id }),
          operation: `${kind.name}.request`,
          capability: wanted.capability,
          status: "denied",
          request: { key_id: input.keyId },
          response: { code: answer.error.code, reason },
        },
      ],
      () => {},
    );
    return { answer };
  };

  const contract = row && vault.contractOf(row);
  const decision = decideGrant(wanted, {
    now,
    contract:
      row === undefined || contract === undefined
        ? undefined
        : {
            status: row.status,
            ...(row.expires_at === null ? {} : { expiresAt: row.expires_at }),
            capabilities: contract.offering_snapshot.capabilities satisfies CapabilityGrant[],
            revokedCapabilities: JSON.parse(row.revoked_capabilities) as string[],
          },
    usesSince: (capability, since) =>
      vault.store.asksSince(since).filter((earlier) => earlier.capability === capability).length,
  });
  if (!decision.allowed) return refuse(refusal(decision, wanted.capability), decision.reason);
  if (row === undefined || contract === undefined) throw new Error("a grant without a contract");

  const sameness = samenessOf(kind, operation, input);
  const cooling = coolingOf(row, now).find(([denied]) => denied === sameness);
  if (cooling !== undefined)
    return refuse(
      fault(
        "rate_limited",
        "the user has just denied this very ask; ask again after the pause",
        Math.ceil((cooling[1] - now) / 1_000),
      ),
      "cooling_off",
    );
  if (kind.maxOpen !== undefined) {
    const open = vault.store
      .openRows(row.open_from)
      .filter((other) => other.kind === kind.name && other.status === "pending");
    if (open.length >= kind.maxOpen) {
      const soonest = Math.min(...open.map((other) => other.grace_until!));
      return refuse(
        fault(
          "rate_limited",
          `this user has ${kind.maxOpen} open requests of this kind already`,
          Math.ceil((soonest - now) / 1_000),
        ),
        "too_many_open",
      );
    }
  }

  const n = vault.store.lastOutgoing() + 1;
  const seq = vault.store.lastSeq(row.contract_id) + 1;
  const expiresAt = now + input.expiresInSeconds * 1_000;
  const graceUntil = expiresAt + input.offlineGraceSeconds * 1_000;
  const matchCode = operation.matchCode?.(input.input) === true ? newMatchCode() : undefined;
  let content: RequestContent | undefined;
  let sealed: Awaited<ReturnType<Vault["seal"]>>;
  try {
    sealed = await vault.seal(
      n,
      {
        eventType: `${kind.name}.request`,
        seq,
        expiresAt: graceUntil,
        contractId: row.contract_id,
      },
      row.user_connection_key,
      (requestId) => {
        const payload = buildPayload(
          kind,
          operation,
          {
            requestId,
            ...(input.purpose === undefined ? {} : { purpose: input.purpose }),
            ...(input.context === undefined ? {} : { context: input.context }),
            expiresAt,
            graceSeconds: input.offlineGraceSeconds,
            matchCodeRequired: matchCode !== undefined,
          },
          input.input,
        );
        content = {
          payload,
          input: input.input,
          ...(matchCode === undefined ? {} : { match_code: matchCode }),
          ...(input.metadata === undefined ? {} : { metadata: input.metadata }),
          ...(input.callbackUrl === undefined ? {} : { callback_url: input.callbackUrl }),
        };
        return payload;
      },
    );
  } catch (error) {
    if (error instanceof MessageTooLarge)
      return refuse(fault("payload_too_large", error.message), "too_large");
    throw error;
  }

  const nextSendAt = now + resendPauseMs(1);
  await vault.commit(
    [
      {
        contractId: row.contract_id,
        operation: `${kind.name}.request`,
        capability: wanted.capability,
        status: "success",
        request: { key_id: input.keyId, request_id: sealed.eventId },
        response: { expires_at: toTimestamp(expiresAt) },
      },
    ],
    () =>
      vault.store.insertOutgoing({
        n,
        event_id: sealed.eventId,
        event_type: `${kind.name}.request`,
        contract_id: row.contract_id,
        seq,
        created_at: now,
        sealed: sealed.bytes,
        sealed_until: graceUntil,
        next_send_at: nextSendAt,
        kind: kind.name,
        operation: operation.name,
        capability: wanted.capability,
        status: "pending",
        expires_at: expiresAt,
        grace_until: graceUntil,
        sameness,
        content: vault.wrapper.wrap(content, `outgoing/content/${n}`),
        idempotency_key: input.idempotency?.key ?? null,
        idempotency_digest: input.idempotency?.digest ?? null,
        changed_at: now,
      }),
    Math.min(nextSendAt, graceUntil),
  );
  return { answer: { ok: true, value: createdView(vault, vault.store.outgoing(n) as RequestRow) }, send: n };
}

/** What became of an inbound message, for its receipt. */
export interface Outcome {
  outcome: "stored" | "refused";
  reason?: string;
  requestStatus?: RequestStatus;
  /** What to write with the message, and the audit entry that says so. */
  audit: AuditDraft;
  write?: (hash: string) => void;
  /** Contract columns that change with it. */
  contract?: Columns<ContractRow>;
  /** The answer's id is on the request's row: no row of its own is needed to remember it. */
  remembered?: boolean;
}

/** The request an answer names, if it is one of this contract's. */
export function requestOf(vault: Vault, header: EnvelopeHeader): RequestRow | undefined {
  const id = header.ref === undefined ? undefined : parseRoutedId(header.ref);
  if (id === undefined || id.userId !== vault.userId) return undefined;
  const row = vault.store.outgoing(id.row);
  return isRequest(row) && row.event_id === header.ref && row.contract_id === header.contract_id
    ? row
    : undefined;
}

/** How an authentic answer counts. The first valid one wins; a bad one is recorded and leaves the request open. */
export async function judgeAnswer(
  vault: Vault,
  contractRow: ContractRow,
  header: EnvelopeHeader,
  answer: ResponsePayload,
): Promise<Outcome> {
  const kindName = kindOfResponse(header.event_type)!;
  const now = vault.now();
  const audit = (
    status: AuditDraft["status"],
    response: AuditDraft["response"],
    row?: RequestRow,
  ): AuditDraft => ({
    contractId: contractRow.contract_id,
    operation: `${kindName}.response`,
    ...(row === undefined ? {} : { capability: row.capability }),
    status,
    request: { event_id: header.event_id, ...(row === undefined ? {} : { request_id: row.event_id }) },
    response,
  });
  const refused = (reason: string, row?: RequestRow): Outcome => ({
    outcome: "refused",
    reason,
    ...(row === undefined ? {} : { requestStatus: row.status }),
    audit: audit("error", { reason }, row),
  });

  const row = requestOf(vault, header);
  if (row === undefined || row.kind !== kindName) return refused("unknown_request");
  if (row.status !== "pending") return refused("already_ended", row);
  const counted = countAnswer(answer.decision, {
    expiresAt: row.expires_at,
    graceUntil: row.grace_until,
    now,
  });
  if (counted === "late") return refused("too_late", row);

  const content = contentOf(vault, row);
  const contract = vault.contractOf(contractRow);
  const verified = await verifyAnswer(answer, {
    payload: content.payload,
    operation: operationOf(kindNamed(row.kind)!, row.operation)!,
    userId: vault.userId,
    serviceId: vault.config.serviceId,
    contractId: row.contract_id,
    userSigningKey: contract.user_signing_key,
  });
  if (!verified.ok) return refused(verified.error, row);

  let status: RequestStatus = counted;
  let reason = answer.reason;
  if (counted !== "denied" && content.match_code !== undefined && answer.match_code !== content.match_code) {
    status = "denied";
    reason = "match_code_wrong";
  }
  if (answer.report === true) reason = "reported";
  const stored: AnswerContent = { approval: answer.approval, ...(reason === undefined ? {} : { reason }) };
  const keepResult = status !== "denied" && answer.result !== undefined;
  const cooling: Cooling | undefined =
    status === "denied" && row.sameness !== null
      ? [...coolingOf(contractRow, now), [row.sameness, now + COOLING_OFF_MS]]
      : undefined;
  return {
    outcome: "stored",
    requestStatus: status,
    remembered: true,
    audit: audit(
      status === "denied" ? "denied" : "success",
      { status, ...(reason === "match_code_wrong" || reason === "reported" ? { reason } : {}) },
      row,
    ),
    write: (hash) =>
      vault.store.updateOutgoing(row.n, {
        status,
        changed_at: now,
        // An answer shows that the ask arrived, receipt or not.
        delivered_at: row.delivered_at ?? now,
        sealed: null,
        next_send_at: null,
        answer_id: header.event_id,
        answer_hash: hash,
        answer: vault.wrapper.wrap(stored, `outgoing/answer/${row.n}`),
        result: keepResult ? vault.wrapper.wrap(answer.result, `outgoing/result/${row.n}`) : null,
      }),
    ...(cooling === undefined ? {} : { contract: { cooling: JSON.stringify(cooling) } }),
  };
}

/** Ends a pending request from this side; the row's write and the entry that records it. */
export function endRequest(
  vault: Vault,
  row: RequestRow,
  status: "expired" | "cancelled",
  now: number,
  request: AuditDraft["request"] = {},
): { audit: AuditDraft; write: () => void } {
  return {
    audit: {
      contractId: row.contract_id,
      operation: status === "expired" ? "request.expire" : "request.cancel",
      capability: row.capability,
      status: "success",
      request: { request_id: row.event_id, ...request },
      response: { status },
    },
    write: () =>
      vault.store.updateOutgoing(row.n, { status, changed_at: now, sealed: null, next_send_at: null }),
  };
}

/** Withdraws a request the backend no longer wants answered, and tells the user's vault so. */
export async function cancelRequest(
  vault: Vault,
  requestId: string,
  keyId: string,
): Promise<{ answer: RpcResult<RequestView>; send?: number; changed?: string }> {
  const found = findRequest(vault, requestId);
  if (found === undefined) return { answer: fault("not_found", "there is no such request") };
  const { row, contractRow } = found;
  if (row.status === "cancelled") return { answer: viewOf(vault, found.row) };
  if (row.status !== "pending")
    return { answer: fault("conflict", `the request has ended already: it is ${row.status}`) };
  const now = vault.now();
  const ending = endRequest(vault, row, "cancelled", now, { key_id: keyId });
  const n = vault.store.lastOutgoing() + 1;
  const seq = vault.store.lastSeq(row.contract_id) + 1;
  const sealed = await vault.seal(
    n,
    {
      eventType: "request.cancelled",
      ref: row.event_id,
      seq,
      expiresAt: row.grace_until,
      contractId: row.contract_id,
    },
    contractRow.user_connection_key,
    () => ({ request_id: row.event_id }),
  );
  const nextSendAt = now + resendPauseMs(1);
  await vault.commit(
    [ending.audit],
    () => {
      ending.write();
      vault.store.insertOutgoing({
        n,
        event_id: sealed.eventId,
        event_type: "request.cancelled",
        ref: row.event_id,
        contract_id: row.contract_id,
        seq,
        created_at: now,
        sealed: sealed.bytes,
        sealed_until: row.grace_until,
        next_send_at: nextSendAt,
      });
    },
    nextSendAt,
  );
  return { answer: viewOf(vault, vault.store.outgoing(row.n) as RequestRow), send: n, changed: row.event_id };
}

const viewOf = (vault: Vault, row: RequestRow): RpcResult<RequestView> => ({
  ok: true,
  value: requestView(vault, row, vault.contractOf(vault.store.contract(row.contract_id)!)),
});

/** A request by the id that was given out. */
export function findRequest(
  vault: Vault,
  requestId: string,
): { row: RequestRow; contractRow: ContractRow } | undefined {
  const id = parseRoutedId(requestId);
  if (id === undefined || id.userId !== vault.userId) return undefined;
  const row: OutgoingRow | undefined = vault.store.outgoing(id.row);
  if (!isRequest(row) || row.event_id !== requestId) return undefined;
  const contractRow = vault.store.contract(row.contract_id);
  return contractRow === undefined ? undefined : { row, contractRow };
}
