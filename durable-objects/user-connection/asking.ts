// Asking, being answered, and what happens to a request besides (PROTOCOL §6). Each function gathers one step's
// effects in a `Change`; the caller commits it.

import { decideGrant, type GrantDecision, type Operation } from "../../src/contracts/grant.ts";
import { requestDigestOf, sha256 } from "../../src/crypto/hash.ts";
import { MessageTooLarge } from "../../src/crypto/seal.ts";
import type { RequestStatus, ResponsePayload } from "../../src/protocol/asking.ts";
import { isEnded } from "../../src/protocol/contract.ts";
import { toBase64 } from "../../src/protocol/encoding.ts";
import type { EnvelopeHeader } from "../../src/protocol/envelope.ts";
import { canonicalJson, utf8 } from "../../src/protocol/json.ts";
import { COOLING_OFF_MS } from "../../src/protocol/limits.ts";
import { kindOfResponse } from "../../src/protocol/messages.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import type { RateState } from "../../src/rate/quota.ts";
import type { About, Kind, KindOperation } from "../../src/requests/kind.ts";
import {
  buildPayload,
  countAnswer,
  newMatchCode,
  verifyAnswer,
  withoutWithheld,
} from "../../src/requests/lifecycle.ts";
import type { MachineFacts, Step } from "../../src/requests/machine.ts";
import { askEventType, kindNamed, machineOf, operationOf, resourceOf } from "../../src/requests/registry.ts";
import { isRepetition } from "../../src/requests/repetition.ts";
import type { AskInput, Idempotency, RequestView, RpcResult } from "../../src/rpc.ts";
import type { AuditDraft, Change } from "./change.ts";
import { type Failed, fault, noSuch, refusalOf } from "./faults.ts";
import {
  type Columns,
  type ContractRow,
  isRequest,
  type OutgoingRow,
  openFrom,
  type RequestRow,
} from "./store.ts";
import type { Vault } from "./vault.ts";
import {
  type AnswerContent,
  contentOf,
  type RequestContent,
  type ShownRow,
  stateOf,
  viewOf,
} from "./views.ts";

/** How long an Idempotency-Key is remembered. */
export const IDEMPOTENCY_MS = 24 * 3_600_000;
/** A shared value that nobody read is destroyed this long after its request expired. */
export const UNREAD_RESULT_MS = 24 * 3_600_000;
/** A shared value is destroyed this long after it was first read. */
export const READ_RESULT_MS = 300_000;
/** Actions with an Idempotency-Key that one request remembers; each keeps the state it led to. */
const MAX_KEYED_ACTIONS = 100;

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

/** The request an ask builds on; undefined when it is not this user's, of another kind, or was not approved. */
function aboutOf(
  vault: Vault,
  kind: Kind,
  { requestId, operation }: { requestId: string; operation: string },
): About | undefined {
  const row = findRequest(vault, requestId)?.row;
  if (row?.kind !== kind.name || row.operation !== operation || !isApproved(row.status)) return undefined;
  return { requestId, operation, input: contentOf(vault, row).input, state: stateOf(vault, row) };
}

const isApproved = (status: RequestStatus): boolean => status === "approved" || status === "offline_approved";

/** The one decision on everything that would reach the user, from what is stored now. */
export function decide(
  vault: Vault,
  row: ContractRow | undefined,
  wanted: Operation,
  now: number,
  { rated = true } = {},
): GrantDecision {
  return decideGrant(wanted, {
    now,
    contract: row && {
      status: row.status,
      ...(row.expires_at === null ? {} : { expiresAt: row.expires_at }),
      capabilities: vault.contractOf(row).offering_snapshot.capabilities,
      revokedCapabilities: JSON.parse(row.revoked_capabilities) as string[],
    },
    usesSince: (capability, since) =>
      rated ? vault.store.asksSince(since).filter((earlier) => earlier.capability === capability).length : 0,
  });
}

const USER_WINDOW_SECONDS = 60;

/**
 * How often this user was asked within the last minute, by all keys together. Counted from the rows of the asks: it
 * costs none of its own and survives whatever the object does not.
 */
function userRate(vault: Vault, now: number): RateState {
  const quota = vault.config.USER_ASKS_PER_MINUTE;
  const windowMs = USER_WINDOW_SECONDS * 1_000;
  const asks = vault.store.asksSince(now - windowMs + 1);
  // Once over the quota: when the ask goes whose going makes room. Else when the last one has gone.
  const decisive = asks[asks.length < quota ? 0 : quota - 1];
  return {
    name: "user",
    quota,
    windowSeconds: USER_WINDOW_SECONDS,
    remaining: Math.max(0, quota - asks.length),
    resetSeconds:
      decisive === undefined ? 0 : Math.max(1, Math.ceil((decisive.created_at + windowMs - now) / 1_000)),
  };
}

/** The answer an earlier POST with this Idempotency-Key got, or `conflict` when it carried something else. */
function replay(vault: Vault, ask: AskInput, now: number): RpcResult<RequestView> | undefined {
  const { idempotency } = ask;
  if (idempotency === undefined) return undefined;
  const earlier = vault.store
    .asksSince(now - IDEMPOTENCY_MS)
    .find(({ idempotency_key }) => idempotency_key === idempotency.key);
  const row = earlier === undefined ? undefined : vault.store.outgoing(earlier.n);
  if (!isRequest(row)) return undefined;
  if (!isRepetition(row.idempotency_digest, idempotency))
    return fault("conflict", "this Idempotency-Key was used with another request; use a new key");
  return { ok: true, value: createdView(vault, row, contentOf(vault, row)) };
}

/** A request as its POST answers it, at once and whenever the POST is repeated, whatever has become of it since. */
function createdView(
  vault: Vault,
  row: Pick<
    RequestRow,
    "n" | "event_id" | "contract_id" | "kind" | "operation" | "created_at" | "expires_at"
  >,
  content: Readonly<RequestContent>,
): RequestView {
  const contract = vault.contractOf(vault.store.contract(row.contract_id)!);
  const untouched: ShownRow = {
    ...row,
    status: "pending",
    changed_at: row.created_at,
    delivered_at: null,
    answer_id: null,
    answer: null,
    result: null,
    state: null,
  };
  const { match_code } = content;
  return {
    ...viewOf(vault, untouched, content, contract),
    ...(match_code === undefined ? {} : { match_code }),
  };
}

/** The row of the request an ask made, or of the one it joined. */
export interface Asked {
  n: number;
  rate?: RateState[];
  /** What was stored of a new one: it need not be read and unwrapped to be shown. */
  made?: { row: Parameters<typeof createdView>[1]; content: RequestContent };
}

/** Records an ask. `Asked` means that, once committed, the request will reach the user or expire. */
export async function ask(
  change: Change,
  input: AskInput,
  parent?: number,
): Promise<RpcResult<RequestView> | Asked> {
  const { vault, now } = change;
  const kind = kindNamed(input.kind);
  const operation = kind && operationOf(kind, input.operation);
  if (kind === undefined || operation === undefined)
    return fault("invalid_request", "there is no such kind of request");
  // An unknown user is answered without writing anything: a typo must not make an object.
  if (!vault.store.isKnown)
    return refusalOf({ allowed: false, code: "contract_required", reason: "no_contract" }, "");
  const repeated = replay(vault, input, now);
  if (repeated !== undefined) return repeated;

  const row = vault.store.currentContract();
  let wanted: Operation | undefined;
  const refuse = (answer: Failed, reason: string): Failed => {
    change.audit({
      ...(row === undefined ? {} : { contractId: row.contract_id }),
      operation: `${kind.name}.request`,
      ...(wanted === undefined ? {} : { capability: wanted.capability }),
      status: "denied",
      request: { key_id: input.keyId },
      response: { code: answer.error.code, reason },
    });
    return answer;
  };

  const named = operation.about?.(input.input);
  const about = named === undefined ? undefined : aboutOf(vault, kind, named);
  if (named !== undefined && about === undefined) return refuse(noSuch(named.noun), "unknown");
  const conflict = about && named?.conflict?.(about);
  if (conflict !== undefined) return refuse(fault("conflict", conflict), "conflict");
  wanted = operation.grant(input.input, about);
  const { capability } = wanted;
  for (const needed of [wanted, ...(operation.grantAlso?.(input.input) ?? [])]) {
    const decision = decide(vault, row, needed, now);
    if (!decision.allowed) return refuse(refusalOf(decision, needed.capability), decision.reason);
  }
  if (row === undefined) throw new Error("a grant without a contract");

  const sameness = samenessOf(kind, operation, input);
  if (input.join === true) {
    const same = vault.store
      .pendingAsks(openFrom([row]))
      .find((other) => other.sameness === sameness && other.expires_at > now);
    if (same !== undefined) {
      change.audit({
        contractId: row.contract_id,
        operation: `${kind.name}.request`,
        capability,
        status: "success",
        request: { key_id: input.keyId, request_id: same.event_id },
        response: { joined: true },
      });
      return { n: same.n };
    }
  }
  // What a machine asks of itself follows its own clock, and counts for the others.
  const rate = userRate(vault, now);
  if (parent === undefined && rate.remaining === 0)
    return {
      ...refuse(
        fault(
          "rate_limited",
          `this user was asked ${rate.quota} times within ${rate.windowSeconds} seconds`,
          rate.resetSeconds,
        ),
        "too_many_asks",
      ),
      rate: [rate],
    };
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
  const resource = resourceOf(kind, operation.name);
  if (resource.maxOpen !== undefined) {
    const open = vault.store
      .pendingAsks(openFrom([row]))
      .filter((other) => other.kind === kind.name && resourceOf(kind, other.operation) === resource);
    if (open.length >= resource.maxOpen) {
      const soonest = Math.min(...open.map((other) => other.grace_until));
      return refuse(
        fault(
          "rate_limited",
          `this user has ${resource.maxOpen} open requests of this kind already`,
          Math.ceil((soonest - now) / 1_000),
        ),
        "too_many_open",
      );
    }
  }

  const expiresAt = now + input.expiresInSeconds * 1_000;
  const graceUntil = expiresAt + input.offlineGraceSeconds * 1_000;
  const matchCode = operation.matchCode?.(input.input) === true ? newMatchCode() : undefined;
  const { wrapper } = vault;
  let content!: RequestContent;
  try {
    const { n, eventId } = await change.say(row, {
      eventType: askEventType(kind, input.input),
      ...(kind.ownRef === true ? { ownRef: true } : {}),
      expiresAt: graceUntil,
      payload: (requestId: string) => {
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
          about,
        );
        content = {
          payload: withoutWithheld(operation, payload),
          ...(operation.withheld === undefined ? {} : { request_digest: requestDigestOf(payload) }),
          input: withoutWithheld(operation, input.input as object),
          ...(matchCode === undefined ? {} : { match_code: matchCode }),
          ...(input.metadata === undefined ? {} : { metadata: input.metadata }),
          ...(input.callbackUrl === undefined ? {} : { callback_url: input.callbackUrl }),
        };
        return payload;
      },
      columns: (n, requestId) => ({
        kind: kind.name,
        operation: operation.name,
        capability,
        status: "pending",
        expires_at: expiresAt,
        grace_until: graceUntil,
        sameness,
        content: wrapper.wrap(content, `outgoing/content/${n}`),
        idempotency_key: input.idempotency?.key ?? null,
        idempotency_digest: input.idempotency?.digest ?? null,
        changed_at: now,
        parent: parent ?? null,
        ...stepColumns(
          change,
          n,
          resource.machine?.initial({
            now,
            requestId,
            operation: operation.name,
            status: "pending",
            input: input.input,
            expiresAt,
            allows: (other) => decide(vault, row, other, now).allowed,
          }),
        ),
      }),
    });
    change.asks = true;
    change.due(graceUntil);
    change.audit({
      contractId: row.contract_id,
      operation: `${kind.name}.request`,
      capability,
      status: "success",
      request: { key_id: input.keyId, request_id: eventId },
      response: { expires_at: toTimestamp(expiresAt) },
    });
    const made = {
      n,
      event_id: eventId,
      contract_id: row.contract_id,
      kind: kind.name,
      operation: operation.name,
      created_at: now,
      expires_at: expiresAt,
    };
    return {
      n,
      made: { row: made, content },
      rate: [{ ...rate, remaining: Math.max(0, rate.remaining - 1), resetSeconds: rate.windowSeconds }],
    };
  } catch (error) {
    if (error instanceof MessageTooLarge)
      return refuse(fault("payload_too_large", error.message), "too_large");
    throw error;
  }
}

/** The request that a committed `ask` made or joined, as its POST answers. */
export function askedView(vault: Vault, asked: Asked): RequestView {
  if (asked.made !== undefined) return createdView(vault, asked.made.row, asked.made.content);
  const row = vault.store.outgoing(asked.n) as RequestRow;
  return createdView(vault, row, contentOf(vault, row));
}

// ---- Machines -------------------------------------------------------------------------------------------

const factsOf = (
  { vault, now, ending }: Change,
  row: RequestRow,
  status: RequestStatus = row.status,
): MachineFacts => ({
  now,
  requestId: row.event_id,
  operation: row.operation,
  status,
  input: contentOf(vault, row).input,
  expiresAt: row.expires_at,
  allows: (wanted) =>
    !ending.has(row.contract_id) && decide(vault, vault.store.currentContract(), wanted, now).allowed,
});

/** A machine's state, with what this change has made of it already. */
const stateIn = (change: Change, row: RequestRow): unknown =>
  change.states.has(row.n) ? change.states.get(row.n) : stateOf(change.vault, row);

/** The columns a step leaves on its request's row. */
function stepColumns(change: Change, n: number, step: Step<unknown> | undefined): Columns<OutgoingRow> {
  if (step === undefined) return {};
  change.states.set(n, step.state);
  change.due(step.dueAt);
  return {
    state: change.vault.wrapper.wrap(step.state, `outgoing/state/${n}`),
    due_at: step.dueAt ?? null,
  };
}

/**
 * Takes a step's effects into the change: state, what is kept, messages, events, asks that follow. `silent`: the
 * contract has ended or ends with this change, and nothing may reach the user any more.
 */
async function takeStep(
  change: Change,
  row: RequestRow,
  step: Step<unknown> | undefined,
  columns: Columns<OutgoingRow> = {},
  silent = false,
): Promise<void> {
  const { vault } = change;
  const all = { ...columns, ...stepColumns(change, row.n, step) };
  if (Object.keys(all).length > 0) change.write(() => vault.store.updateOutgoing(row.n, all));
  if (step === undefined) return;
  const contract = vault.store.contract(row.contract_id)!;
  const { callback_url } = contentOf(vault, row);
  for (const { type, from, content } of step.keep ?? [])
    change.keep({ contractId: row.contract_id, request: row.n, type, sender: from, content });
  if (step.forget !== undefined) forget(change, row, step.forget);
  if (step.keepUntil !== undefined) {
    const until = step.keepUntil;
    change.write(() => vault.store.keepUntil(row.n, until)).due(until);
  }
  for (const { type, data } of step.tell ?? [])
    change.tell(type, row.contract_id, { request_id: row.event_id, ...data }, callback_url);
  if (step.withdrawAsked === true)
    for (const asked of vault.store.openRows(row.n))
      if (isRequest(asked) && asked.parent === row.n && asked.status === "pending")
        await withdraw(change, asked, {}, silent);
  // What outlives its contract (a subscription) goes on under the one that took its place.
  const speaking = contract.status === "superseded" ? vault.store.currentContract() : contract;
  if (silent || speaking === undefined || isEnded(speaking.status) || change.ending.has(speaking.contract_id))
    return;
  for (const said of step.say ?? [])
    await change.say(speaking, {
      eventType: said.eventType,
      ref: row.event_id,
      payload: said.payload,
      expiresAt: change.now + said.lifetimeSeconds * 1_000,
    });
  for (const followed of step.ask ?? []) {
    const asked = await ask(change, { ...followed, userId: vault.userId, keyId: `request:${row.n}` }, row.n);
    if (!("ok" in asked) || asked.ok) continue;
    const refused = machineOf(row)?.followed?.(
      stateIn(change, row),
      { status: "cancelled", refusal: asked.error.code },
      factsOf(change, row),
    );
    await takeStep(change, row, refused);
  }
}

/** Destroys what was kept under a request. */
function forget(change: Change, row: RequestRow, types: readonly string[]): void {
  const { store } = change.vault;
  change.write(() => {
    for (const type of types)
      if (type === "result") store.updateOutgoing(row.n, { result: null, result_until: null });
      else store.deleteKept(row.n, type);
  });
}

/** Tells the machine of the request that asked this one how it ended. */
async function tellParent(change: Change, row: RequestRow, status: RequestStatus): Promise<void> {
  if (row.parent === null) return;
  const parent = change.vault.store.outgoing(row.parent);
  // When both end with their contract, each is told of that by itself.
  if (!isRequest(parent) || change.ending.has(parent.contract_id)) return;
  await takeStep(
    change,
    parent,
    machineOf(parent)?.followed?.(
      stateIn(change, parent),
      { requestId: row.event_id, status },
      factsOf(change, parent),
    ),
  );
  change.changed.push(parent.event_id);
}

// ---- Answers --------------------------------------------------------------------------------------------

/** What became of an inbound message, for its receipt. */
export interface Outcome {
  outcome: "stored" | "refused";
  reason?: string;
  requestStatus?: RequestStatus;
  /** Contract columns that change with it. */
  contract?: Columns<ContractRow>;
  /** The answer's id is on the request's row: no row of its own is needed to remember it. */
  remembered?: boolean;
}

/** Records that an authentic message was refused; the receipt says why. */
export function refuseMessage(
  change: Change,
  header: EnvelopeHeader,
  row: ContractRow,
  reason: string,
  request?: RequestRow,
): Outcome {
  change.audit({
    contractId: row.contract_id,
    operation: header.event_type,
    ...(request === undefined ? {} : { capability: request.capability }),
    status: "error",
    request: {
      event_id: header.event_id,
      ...(request === undefined ? {} : { request_id: request.event_id }),
    },
    response: { reason },
  });
  return {
    outcome: "refused",
    reason,
    ...(request === undefined ? {} : { requestStatus: request.status }),
  };
}

/** The message of ours that one of the user's names, under the same contract. Read once: a step's writes come last. */
export function messageOf({ vault, named }: Change, header: EnvelopeHeader): OutgoingRow | undefined {
  const { ref } = header;
  if (ref === undefined) return undefined;
  if (!named.has(ref)) named.set(ref, vault.store.outgoingOf(ref));
  const row = named.get(ref);
  return row?.contract_id === header.contract_id ? row : undefined;
}

/** The request a message names, if it is one of this contract's. */
export function requestOf(change: Change, header: EnvelopeHeader): RequestRow | undefined {
  const row = messageOf(change, header);
  return isRequest(row) ? row : undefined;
}

/** How an authentic answer counts. The first valid one wins; a bad one is recorded and leaves the request open. */
export async function takeAnswer(
  change: Change,
  contractRow: ContractRow,
  header: EnvelopeHeader,
  answer: ResponsePayload,
): Promise<Outcome> {
  const { vault, now } = change;
  const row = requestOf(change, header);
  const refuse = (reason: string) => refuseMessage(change, header, contractRow, reason, row);
  if (row === undefined || row.kind !== kindOfResponse(header.event_type)) return refuse("unknown_request");
  if (row.status !== "pending") return refuse("already_ended");
  if (operationOf(kindNamed(row.kind)!, row.operation)?.unanswered === true) return refuse("not_asked");
  const counted = countAnswer(answer.decision, {
    expiresAt: row.expires_at,
    graceUntil: row.grace_until,
    now,
  });
  if (counted === "late") return refuse("too_late");

  const kind = kindNamed(row.kind)!;
  const operation = operationOf(kind, row.operation)!;
  const content = contentOf(vault, row);
  const verified = await verifyAnswer(answer, {
    payload: content.payload,
    ...(content.request_digest === undefined ? {} : { requestDigest: content.request_digest }),
    operation,
    input: content.input,
    userId: vault.userId,
    serviceId: vault.config.serviceId,
    contractId: row.contract_id,
    userSigningKey: vault.contractOf(contractRow).user_signing_key,
  });
  if (!verified.ok) return refuse(verified.error);

  let status: "approved" | "offline_approved" | "denied" = counted;
  let reason = answer.reason;
  if (status !== "denied" && content.match_code !== undefined && answer.match_code !== content.match_code) {
    status = "denied";
    reason = "match_code_wrong";
  }
  if (answer.report === true) reason = "reported";
  const ourReason: Record<string, string> =
    reason === "match_code_wrong" || reason === "reported" ? { reason } : {};
  const stored: AnswerContent = { approval: answer.approval, ...(reason === undefined ? {} : { reason }) };
  const keepsResult = status !== "denied" && answer.result !== undefined;
  const resultUntil =
    keepsResult && operation.sharesValue === true ? row.expires_at + UNREAD_RESULT_MS : null;
  change.due(resultUntil);
  change.audit({
    contractId: row.contract_id,
    operation: `${row.kind}.response`,
    capability: row.capability,
    status: status === "denied" ? "denied" : "success",
    request: { event_id: header.event_id, request_id: row.event_id },
    response: { status, ...ourReason },
  });
  change.write((hash) =>
    vault.store.updateOutgoing(row.n, {
      status,
      changed_at: now,
      // An answer shows that the ask arrived, receipt or not.
      delivered_at: row.delivered_at ?? now,
      sealed: null,
      next_send_at: null,
      answer_id: header.event_id,
      answer_seq: header.seq,
      answer_hash: hash,
      answer: vault.wrapper.wrap(stored, `outgoing/answer/${row.n}`),
      result: keepsResult ? vault.wrapper.wrap(answer.result, `outgoing/result/${row.n}`) : null,
      result_until: resultUntil,
    }),
  );
  const data = { request_id: row.event_id, kind: row.kind, status, ...ourReason };
  change.tell(`${row.kind}.response`, row.contract_id, data, content.callback_url);
  if (answer.report === true) change.tell("request.reported", row.contract_id, data, content.callback_url);
  const step = machineOf(row)?.answered?.(
    stateIn(change, row),
    { status, ...(keepsResult ? { result: answer.result } : {}) },
    factsOf(change, row, status),
  );
  await takeStep(change, row, step);
  await tellParent(change, row, status);
  change.changed.push(row.event_id);
  // A no under a superseded contract cools off where the same would be asked again: under its successor.
  const current = contractRow.status === "superseded" ? vault.store.currentContract() : contractRow;
  const cooling: Cooling | undefined =
    status === "denied" && row.sameness !== null && current !== undefined
      ? [...coolingOf(current, now), [row.sameness, now + COOLING_OFF_MS]]
      : undefined;
  if (cooling !== undefined && current !== undefined && current !== contractRow)
    change.write(() => vault.store.updateContract(current.contract_id, { cooling: JSON.stringify(cooling) }));
  return {
    outcome: "stored",
    requestStatus: status,
    remembered: true,
    ...(cooling === undefined || current !== contractRow
      ? {}
      : { contract: { cooling: JSON.stringify(cooling) } }),
  };
}

/** Something the user's vault sends under a request, other than the answer: a signal, a line of chat. */
export async function takeHeard(
  change: Change,
  contractRow: ContractRow,
  header: EnvelopeHeader,
  payload: unknown,
): Promise<Outcome> {
  const row = requestOf(change, header);
  const heard = row === undefined ? undefined : machineOf(row)?.hears?.[header.event_type];
  if (row === undefined || heard === undefined)
    return refuseMessage(change, header, contractRow, "unknown_request", row);
  const parsed = heard.payload.safeParse(payload);
  if (!parsed.success) return refuseMessage(change, header, contractRow, "malformed", row);
  // Whoever speaks under a message has it, even when its receipt is still on the way.
  const status = (await concludeDelivered(change, row)) ? "delivered" : row.status;
  const stepped = heard.run(stateIn(change, row), parsed.data as never, factsOf(change, row, status));
  if (!stepped.ok) return refuseMessage(change, header, contractRow, stepped.error.reason, row);
  change.audit({
    contractId: row.contract_id,
    operation: header.event_type,
    capability: row.capability,
    status: "success",
    request: { event_id: header.event_id, request_id: row.event_id },
    response: stepped.value.summary ?? {},
  });
  await takeStep(change, row, stepped.value);
  change.changed.push(row.event_id);
  return { outcome: "stored", requestStatus: status };
}

/** The user's vault has a message that nobody answers: it is done. False for any other request. */
export async function concludeDelivered(change: Change, row: RequestRow): Promise<boolean> {
  const { now } = change;
  if (row.status !== "pending" || operationOf(kindNamed(row.kind)!, row.operation)?.unanswered !== true)
    return false;
  change.audit({
    contractId: row.contract_id,
    operation: `${row.kind}.delivered`,
    capability: row.capability,
    status: "success",
    request: { request_id: row.event_id },
    response: { status: "delivered" },
  });
  const step = machineOf(row)?.delivered?.(stateIn(change, row), factsOf(change, row, "delivered"));
  await takeStep(change, row, step, {
    status: "delivered",
    changed_at: now,
    delivered_at: now,
    sealed: null,
    next_send_at: null,
  });
  return true;
}

// ---- Ends and actions -----------------------------------------------------------------------------------

/** Ends a pending request from this side. */
export async function endRequest(
  change: Change,
  row: RequestRow,
  status: "expired" | "cancelled",
  request: AuditDraft["request"] = {},
  silent = false,
): Promise<void> {
  const { vault, now } = change;
  change.audit({
    contractId: row.contract_id,
    operation: status === "expired" ? "request.expire" : "request.cancel",
    capability: row.capability,
    status: "success",
    request: { request_id: row.event_id, ...request },
    response: { status },
  });
  change.tell(
    `request.${status}`,
    row.contract_id,
    { request_id: row.event_id, kind: row.kind, status },
    contentOf(vault, row).callback_url,
  );
  const step = machineOf(row)?.ended(stateIn(change, row), status, factsOf(change, row, status));
  await takeStep(
    change,
    row,
    step,
    { status, changed_at: now, sealed: null, next_send_at: null, due_at: null },
    silent,
  );
  await tellParent(change, row, status);
  change.changed.push(row.event_id);
}

/** Ends what a request of an ending contract still lives on as: a call in progress. */
export async function endMachine(change: Change, row: RequestRow): Promise<void> {
  const step = machineOf(row)?.ended(stateIn(change, row), "cancelled", factsOf(change, row));
  await takeStep(change, row, step && { ...step, dueAt: undefined }, { due_at: null }, true);
  change.changed.push(row.event_id);
}

/** Withdraws a request the backend no longer wants answered, and tells the user's vault so. */
export async function cancelRequest(
  change: Change,
  requestId: string,
  keyId: string,
): Promise<Failed | undefined> {
  const found = findRequest(change.vault, requestId);
  if (found === undefined) return noSuch("request");
  const { row } = found;
  if (row.status === "cancelled") return undefined;
  if (row.status !== "pending")
    return fault("conflict", `the request has ended already: it is ${row.status}`);
  await withdraw(change, row, { key_id: keyId });
  return undefined;
}

/** Ends a pending request and tells the user's vault so. */
async function withdraw(
  change: Change,
  row: RequestRow,
  request: AuditDraft["request"],
  silent = false,
): Promise<void> {
  await endRequest(change, row, "cancelled", request, silent);
  if (silent || change.ending.has(row.contract_id)) return;
  await change.say(change.vault.store.contract(row.contract_id)!, {
    eventType: "request.cancelled",
    ref: row.event_id,
    payload: { request_id: row.event_id },
    expiresAt: row.grace_until,
  });
}

/** An action that came with an Idempotency-Key, and the state it led to. */
interface KeyedAct extends Idempotency {
  at: number;
  state: unknown;
}

const actsOf = (vault: Vault, row: RequestRow, now: number): KeyedAct[] =>
  row.acted === null
    ? []
    : (
        vault.wrapper.unwrap(new Uint8Array(row.acted), `outgoing/acted/${row.n}`) as unknown as KeyedAct[]
      ).filter(({ at }) => at > now - IDEMPOTENCY_MS);

/** The row as an earlier action with this key left it: a repetition gets the first answer again. */
export function rowAfterAct(vault: Vault, row: RequestRow, key: string, now: number): RequestRow {
  const act = actsOf(vault, row, now).find((earlier) => earlier.key === key);
  if (act === undefined || act.state === null) return row;
  return { ...row, state: vault.wrapper.wrap(act.state, `outgoing/state/${row.n}`).slice().buffer };
}

/** Runs an action of the request's kind. */
export async function actOnRequest(
  change: Change,
  call: {
    requestId: string;
    path: string;
    action: string;
    input: unknown;
    keyId: string;
    idempotency?: Idempotency;
  },
): Promise<Failed | undefined> {
  const { vault, now } = change;
  const found = findRequest(vault, call.requestId);
  const resource = found && resourceOf(kindNamed(found.row.kind)!, found.row.operation);
  const action = resource?.getPath === call.path ? resource.machine?.actions?.[call.action] : undefined;
  if (found === undefined || action === undefined) return noSuch("request");
  const { row, contractRow } = found;
  const acts = actsOf(vault, row, now);
  if (call.idempotency !== undefined) {
    const { key } = call.idempotency;
    const earlier = acts.find((act) => act.key === key);
    if (earlier !== undefined)
      return isRepetition(earlier.digest, call.idempotency)
        ? undefined
        : fault("conflict", "this Idempotency-Key was used with another request; use a new key");
    if (acts.length >= MAX_KEYED_ACTIONS)
      return fault(
        "rate_limited",
        `${MAX_KEYED_ACTIONS} calls with an Idempotency-Key were made on this request within 24 hours`,
        Math.ceil((acts[0]!.at + IDEMPOTENCY_MS - now) / 1_000),
      );
  }
  if (action.withdraws === true && row.status === "pending")
    return cancelRequest(change, call.requestId, call.keyId);
  const refuse = (failed: Failed): Failed => {
    change.audit({
      contractId: row.contract_id,
      operation: `${row.kind}.${call.action}`,
      capability: row.capability,
      status: "denied",
      request: { request_id: row.event_id, key_id: call.keyId },
      response: { code: failed.error.code },
    });
    return failed;
  };
  if (action.needsGrant === true) {
    // The rate counts asks; this goes on with one.
    const decision = decide(vault, contractRow, { capability: row.capability }, now, { rated: false });
    if (!decision.allowed) return refuse(refusalOf(decision, row.capability));
  }
  const stepped = action.run(stateIn(change, row), call.input as never, factsOf(change, row));
  if (!stepped.ok) return refuse(fault(stepped.error.code, stepped.error.detail));
  change.audit({
    contractId: row.contract_id,
    operation: `${row.kind}.${call.action}`,
    capability: row.capability,
    status: "success",
    request: { request_id: row.event_id, key_id: call.keyId },
    response: stepped.value.summary ?? {},
  });
  await takeStep(change, row, stepped.value);
  if (call.idempotency !== undefined) {
    const { key, digest } = call.idempotency;
    const act: KeyedAct = { key, digest, at: now, state: stateIn(change, row) ?? null };
    const acted = vault.wrapper.wrap([...acts, act], `outgoing/acted/${row.n}`);
    change.write(() => vault.store.updateOutgoing(row.n, { acted }));
  }
  change.changed.push(row.event_id);
  return undefined;
}

/** What is due on a row with a time of its own: its machine's next look, a shared value to destroy. */
export async function takeDue(change: Change, row: RequestRow): Promise<void> {
  const { vault, now } = change;
  if (row.result_until !== null) {
    if (row.result_until <= now) {
      change.write(() => vault.store.updateOutgoing(row.n, { result: null, result_until: null }));
      change.audit({
        contractId: row.contract_id,
        operation: "result.destroy",
        capability: row.capability,
        status: "success",
        request: { request_id: row.event_id },
      });
    } else change.due(row.result_until);
  }
  if (row.due_at === null) return;
  if (row.due_at > now) {
    change.due(row.due_at);
    return;
  }
  // An earlier part of this change has stepped on it, and has said when to look again.
  if (change.states.has(row.n)) return;
  const step = machineOf(row)?.due?.(stateOf(vault, row), factsOf(change, row));
  if (step !== undefined)
    change.audit({
      contractId: row.contract_id,
      operation: `${row.kind}.due`,
      capability: row.capability,
      status: "success",
      request: { request_id: row.event_id },
      response: step.summary ?? {},
    });
  await takeStep(change, row, step, { due_at: null });
  change.changed.push(row.event_id);
}

/** A read of a shared value: recorded, and from the first one on the value has READ_RESULT_MS left. */
export function recordRead(change: Change, row: RequestRow, keyId: string): void {
  const until = Math.min(row.result_until!, change.now + READ_RESULT_MS);
  change.audit({
    contractId: row.contract_id,
    operation: `${row.kind}.read`,
    capability: row.capability,
    status: "success",
    request: { request_id: row.event_id, key_id: keyId },
  });
  change.due(until);
  change.write(() => change.vault.store.updateOutgoing(row.n, { result_until: until }));
}

/** A request by the id that was given out. */
export function findRequest(
  vault: Vault,
  requestId: string,
): { row: RequestRow; contractRow: ContractRow } | undefined {
  const row = vault.store.outgoingOf(requestId);
  if (!isRequest(row)) return undefined;
  const contractRow = vault.store.contract(row.contract_id);
  return contractRow === undefined ? undefined : { row, contractRow };
}
