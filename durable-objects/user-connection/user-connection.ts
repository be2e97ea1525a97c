// Everything about one user: one SQLite database, one writer, one transaction per step. This class is the shell:
// it queues the steps, commits what they gathered, and sees to it that what they left leaves the object.

import { DurableObject } from "cloudflare:workers";
import { atPoint } from "../../src/at-point.ts";
import { configOf, inMaintenance } from "../../src/config.ts";
import { credentialsForm } from "../../src/contracts/agreement.ts";
import type { AmendmentInput } from "../../src/contracts/amendment.ts";
import type { ConsentReceipt } from "../../src/contracts/receipt.ts";
import { verifyJson } from "../../src/crypto/signing.ts";
import type { Env } from "../../src/env.ts";
import { errorText, log } from "../../src/log.ts";
import { decodeNkey } from "../../src/nats/nkey.ts";
import { issueCredentials } from "../../src/nats/user-credentials.ts";
import type { AuditEntry } from "../../src/protocol/audit.ts";
import {
  isEnded,
  type LastingCredentialsRequest,
  type NatsCredentials,
  type Revocation,
} from "../../src/protocol/contract.ts";
import { toBase64 } from "../../src/protocol/encoding.ts";
import { MAX_ROW, parseRoutedId } from "../../src/protocol/ids.ts";
import { LABELS } from "../../src/protocol/labels.ts";
import { SETUP_CLOCK_SKEW_MS } from "../../src/protocol/limits.ts";
import { fromTimestamp, toTimestamp } from "../../src/protocol/primitives.ts";
import { isReceiptSubject, userOfSubject } from "../../src/protocol/subjects.ts";
import type {
  AmendmentView,
  AskInput,
  AuditPage,
  AuditStretch,
  CallTicket,
  ContractDetail,
  ContractView,
  DirectoryForRoutes,
  ErasureView,
  Idempotency,
  InboundMessage,
  InboundOutcome,
  Page,
  RequestView,
  RpcResult,
  SaidView,
  Transferable,
  TransferPage,
  UserConnectionApi,
  UserEventView,
} from "../../src/rpc.ts";
import { Rewrapper } from "../rewrap.ts";
import { Serial } from "../serial.ts";
import { exportPage, importPage, MAINTENANCE_ALARM_MS } from "../transfer.ts";
import { amendContract, amendmentView, supersededFault } from "./amending.ts";
import {
  actOnRequest,
  ask,
  askedView,
  cancelRequest,
  findRequest,
  recordRead,
  rowAfterAct,
} from "./asking.ts";
import { CallSockets, issueTicket, readSaid, useTicket } from "./calls.ts";
import { Change } from "./change.ts";
import { cancelByService, rejectByService } from "./ending.ts";
import { erasureView, finishErasure, forgetElsewhere, requestErasure } from "./erasing.ts";
import { type Failed, fault, noSuch, overCalls } from "./faults.ts";
import { readEvent, waitingEvents } from "./hearing.ts";
import { Outbox } from "./outbox.ts";
import { setPaused } from "./pausing.ts";
import { receive, takeRevocation } from "./receive.ts";
import { rotate } from "./rotating.ts";
import { SCHEMA, WRAPPED } from "./schema.ts";
import { acceptContract, inviteHash, issuedColumns } from "./setup.ts";
import { type ContractRow, Store } from "./store.ts";
import { tick } from "./timers.ts";
import { Vault } from "./vault.ts";
import { contractDetail, contractView, receiptOf, requestView } from "./views.ts";
import { Waiters } from "./waiters.ts";

/** After an alarm that failed. */
const ALARM_RETRY_MS = 5_000;

/**
 * The order in which messages that came together are taken in: receipts behind the rest. They have no number and only
 * confirm; an answer that came along shows by itself that its request arrived, and its receipt then costs no row.
 */
const receiptsLast = (messages: readonly InboundMessage[]): number[] => {
  const isReceipt = (at: number) => isReceiptSubject(messages[at]!.subject);
  const places = [...messages.keys()];
  return [...places.filter((at) => !isReceipt(at)), ...places.filter(isReceipt)];
};

export class UserConnection extends DurableObject<Env> implements UserConnectionApi, Transferable {
  readonly #store: Store;
  readonly #serial = new Serial();
  readonly #waiters = new Waiters();
  readonly #outbox: Outbox;
  readonly #sockets: CallSockets;
  #vault: Promise<Vault> | undefined;
  #rewrapper: Rewrapper | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#store = new Store(ctx.storage);
    this.#outbox = new Outbox(env, this.#store, this.#serial);
    this.#sockets = new CallSockets(ctx);
  }

  /** `userId` is needed only for a user about whom nothing is stored yet. */
  async #open(userId?: string): Promise<Vault | undefined> {
    const known = this.#store.userId() ?? userId;
    if (known === undefined) return undefined;
    this.#vault ??= (async () => {
      const config = await configOf(this.env);
      const vault = new Vault(this.env, config, this.ctx.storage, this.#store, known);
      if (this.#store.exists) vault.alarmFound(await this.ctx.storage.getAlarm());
      return vault;
    })();
    // A failed opening is not kept: the next call tries again.
    this.#vault.catch(() => {
      this.#vault = undefined;
    });
    return this.#vault;
  }

  /**
   * Runs one step alone and commits what it gathered. A step that fails commits what it gathered all the same:
   * the audit entry of the refusal.
   */
  async #step<T>(vault: Vault, step: (change: Change) => Promise<T>): Promise<T> {
    return this.#serial.run(async () => {
      const change = new Change(vault);
      const result = await step(change);
      if (!change.isEmpty) await change.commit();
      this.#after(vault, change);
      return result;
    });
  }

  /** What follows a commit. Skipped by a crash, all of it is done again: by the alarm, or when the caller asks anew. */
  #after(vault: Vault, change: Change): void {
    this.#wake(vault, change);
    if (change.records) this.ctx.waitUntil(vault.feeder.feed());
    this.ctx.waitUntil(this.#outbox.flush(vault, change));
  }

  /** Whoever watches a request that changed is told: callers that hold the line, sockets of a call. */
  #wake(vault: Vault, change: Change): void {
    for (const id of new Set(change.changed.splice(0))) {
      this.#waiters.wake(id);
      this.#sockets.push(vault, id);
    }
  }

  /**
   * Runs a call of an API key, if that key has not made too many about this user. Those too many cost nothing but
   * an entry a minute: the chain says so, and cannot be made to grow by it.
   */
  async #counted<T>(vault: Vault, keyId: string, call: () => Promise<RpcResult<T>>): Promise<RpcResult<T>> {
    const taken = vault.calls.take(keyId, vault.now());
    if (taken.allowed) {
      const result = await call();
      return { ...result, rate: [taken.state, ...(result.rate ?? [])] };
    }
    const refused = overCalls(taken);
    if (taken.worthTelling && this.#store.exists)
      await this.#step(vault, async (change) => {
        change.audit({
          operation: "key.limit",
          status: "denied",
          request: { key_id: keyId },
          response: { code: refused.error.code },
        });
      });
    return { ...refused, rate: [taken.state] };
  }

  // ---- From the user ------------------------------------------------------------------------------------

  async receive(messages: InboundMessage[]): Promise<InboundOutcome[]> {
    const config = await configOf(this.env);
    const first = messages[0];
    const userId = first === undefined ? undefined : userOfSubject(first.subject, config.serviceId);
    if (userId === undefined)
      return messages.map(() => ({ handled: "done", rejected: { reason: "subject_mismatch" }, replies: [] }));
    const vault = (await this.#open(userId))!;
    return this.#serial.run(async () => {
      const outcomes = new Array<InboundOutcome>(messages.length);
      for (const at of receiptsLast(messages)) {
        const change = new Change(vault);
        change.onCommitted = () => this.#wake(vault, change);
        try {
          outcomes[at] = await receive(change, messages[at]!);
          this.#after(vault, change);
        } catch (error) {
          // Nothing of this message was committed; it comes again. What follows may overtake it: `seq` tells.
          log("error", "user.receive_failed", { user_id: userId, error: errorText(error) });
          outcomes[at] = { handled: "retry", replies: [] };
        }
      }
      return outcomes;
    });
  }

  // ---- Asking -------------------------------------------------------------------------------------------

  async ask(input: AskInput): Promise<RpcResult<RequestView>> {
    const vault = (await this.#open(input.userId))!;
    return this.#counted(vault, input.keyId, async () => {
      const asked = await this.#step(vault, (change) => ask(change, input));
      if (!("n" in asked)) return asked;
      const { rate } = asked;
      return { ok: true, value: askedView(vault, asked), ...(rate === undefined ? {} : { rate }) };
    });
  }

  async request(requestId: string, keyId: string, waitMs = 0): Promise<RpcResult<RequestView>> {
    const vault = await this.#open();
    if (vault === undefined) return noSuch("request");
    return this.#counted(vault, keyId, () => this.#readRequest(vault, requestId, keyId, waitMs));
  }

  async #readRequest(
    vault: Vault,
    requestId: string,
    keyId: string,
    waitMs: number,
  ): Promise<RpcResult<RequestView>> {
    const found = findRequest(vault, requestId);
    if (found === undefined) return noSuch("request");
    if (waitMs > 0) {
      const isOver = () => this.#store.outgoing(found.row.n)?.status !== "pending";
      await this.#waiters.until(requestId, waitMs, isOver);
    }
    const { row, contractRow } = waitMs > 0 ? findRequest(vault, requestId)! : found;
    if (row.result === null || row.result_until === null)
      return { ok: true, value: requestView(vault, row, vault.contractOf(contractRow)) };
    // A shared value is read: that is an operation of its own, and there is no value without its entry.
    return this.#step(vault, async (change) => {
      const now = findRequest(vault, requestId)!;
      if (now.row.result_until !== null) recordRead(change, now.row, keyId);
      return { ok: true as const, value: requestView(vault, now.row, vault.contractOf(now.contractRow)) };
    });
  }

  async requests(query: {
    status?: string;
    kind?: string;
    operations?: string[];
    limit: number;
    cursor?: string;
  }): Promise<RpcResult<Page<RequestView>>> {
    const vault = await this.#open();
    if (vault === undefined) return { ok: true, value: { items: [] } };
    const before = query.cursor === undefined ? MAX_ROW : Number(query.cursor);
    if (!Number.isSafeInteger(before))
      return fault("invalid_request", "the cursor is not one this list gave out");
    const rows = this.#store.requests({ ...query, before, limit: query.limit + 1 });
    const page = rows.slice(0, query.limit);
    const items = page.map((row) => {
      const view = requestView(vault, row, vault.contractOf(this.#store.contract(row.contract_id)!));
      // A list shows no shared values: each is read by itself, and recorded.
      if (row.result_until !== null) delete view.result;
      return view;
    });
    const last = page.at(-1);
    return {
      ok: true,
      value: {
        items,
        ...(rows.length > query.limit && last !== undefined ? { nextCursor: String(last.n) } : {}),
      },
    };
  }

  async cancelRequest(requestId: string, keyId: string): Promise<RpcResult<RequestView>> {
    return this.#onRequest(requestId, keyId, (change) => cancelRequest(change, requestId, keyId));
  }

  async act(call: {
    requestId: string;
    path: string;
    action: string;
    input: unknown;
    keyId: string;
    idempotency?: Idempotency;
  }): Promise<RpcResult<RequestView>> {
    const { requestId, keyId, idempotency } = call;
    return this.#onRequest(requestId, keyId, (change) => actOnRequest(change, call), idempotency?.key);
  }

  async #onRequest(
    requestId: string,
    keyId: string,
    step: (change: Change) => Promise<Failed | undefined>,
    key?: string,
  ): Promise<RpcResult<RequestView>> {
    const vault = await this.#open();
    if (vault === undefined) return noSuch("request");
    return this.#counted(vault, keyId, async () => {
      const failed = await this.#step(vault, step);
      if (failed !== undefined) return failed;
      const { row, contractRow } = findRequest(vault, requestId)!;
      const shown = key === undefined ? row : rowAfterAct(vault, row, key, vault.now());
      return { ok: true, value: requestView(vault, shown, vault.contractOf(contractRow)) };
    });
  }

  // ---- Calls --------------------------------------------------------------------------------------------

  async callTicket(requestId: string, keyId: string): Promise<RpcResult<CallTicket>> {
    const vault = await this.#open();
    if (vault === undefined) return noSuch("call");
    return this.#counted(vault, keyId, () =>
      this.#step(vault, async (change) => issueTicket(change, requestId, keyId)),
    );
  }

  async said(call: {
    requestId: string;
    after: number;
    limit: number;
    keyId: string;
  }): Promise<RpcResult<SaidView[]>> {
    const vault = await this.#open();
    if (vault === undefined) return noSuch("call");
    return this.#counted(vault, call.keyId, () =>
      this.#step(vault, async (change) => readSaid(change, call)),
    );
  }

  /** `/<call id>?ticket=&after=`, a WebSocket: the Worker has checked the form, the ticket is checked here. */
  override async fetch(request: Request): Promise<Response> {
    const url = new URL(request.url);
    const requestId = url.pathname.slice(1);
    const after = Number(url.searchParams.get("after"));
    const refused = (failed: Failed) => Response.json(failed.error, { status: 400 });
    const vault = await this.#open();
    if (vault === undefined) return refused(noSuch("call"));
    const used = await this.#step(vault, async (change) =>
      useTicket(change, requestId, url.searchParams.get("ticket") ?? ""),
    );
    if (!used.ok) return refused(used);
    const socket = this.#sockets.open(vault, requestId, used.keyId, after);
    return "ok" in socket ? refused(socket) : new Response(null, { status: 101, webSocket: socket });
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    const vault = await this.#open();
    if (vault === undefined) return;
    const asked = this.#sockets.read(socket, message, vault.now());
    if (asked === undefined) return;
    const taken = vault.calls.take(asked.keyId, vault.now());
    if (!taken.allowed) return this.#sockets.refuse(socket, overCalls(taken));
    const failed = await this.#step(vault, (change) => actOnRequest(change, asked));
    if (failed !== undefined) this.#sockets.refuse(socket, failed);
  }

  override async webSocketClose(socket: WebSocket, code: number): Promise<void> {
    // Codes below 1000 and 1005, 1006, 1015 are never sent (RFC 6455 §7.4.1).
    socket.close(code === 1005 || code === 1006 || code === 1015 ? 1000 : code);
  }

  // ---- What the user said of their own accord -----------------------------------------------------------

  async userEvents(query: { limit: number; cursor?: string }): Promise<RpcResult<Page<UserEventView>>> {
    const vault = await this.#open();
    if (vault === undefined) return { ok: true, value: { items: [] } };
    const after = query.cursor === undefined ? 0 : Number(query.cursor);
    if (!Number.isSafeInteger(after))
      return fault("invalid_request", "the cursor is not one this list gave out");
    const rows = waitingEvents(vault, after, query.limit + 1);
    const page = rows.slice(0, query.limit);
    const last = page.at(-1);
    return {
      ok: true,
      value: {
        items: page.map(({ view }) => view),
        ...(rows.length > query.limit && last !== undefined ? { nextCursor: String(last.n) } : {}),
      },
    };
  }

  async userEvent(eventId: string, keyId: string): Promise<RpcResult<UserEventView & { content: unknown }>> {
    const vault = await this.#open();
    if (vault === undefined) return noSuch("event");
    return this.#counted(vault, keyId, () =>
      this.#step(vault, async (change) => readEvent(change, eventId, keyId)),
    );
  }

  // ---- Contracts ----------------------------------------------------------------------------------------

  async contract(contractId: string): Promise<RpcResult<ContractDetail>> {
    const vault = await this.#open();
    const row = this.#store.contract(contractId);
    if (vault === undefined || row === undefined) return noSuch("contract");
    return { ok: true, value: await contractDetail(vault, row) };
  }

  async activeContract(offeringId?: string): Promise<string | undefined> {
    const vault = await this.#open();
    const row = this.#store.currentContract();
    if (vault === undefined || row === undefined) return undefined;
    const matches = offeringId === undefined || vault.contractOf(row).offering_id === offeringId;
    return matches ? row.contract_id : undefined;
  }

  /** Runs a step on a contract of this user and answers with how it stands after. */
  async #onContract(
    contractId: string,
    step: (change: Change, row: ContractRow) => Promise<Failed | undefined>,
  ): Promise<RpcResult<ContractView>> {
    const vault = await this.#open();
    if (vault === undefined) return noSuch("contract");
    const failed = await this.#step(vault, async (change) => {
      const row = this.#store.contract(contractId);
      return row === undefined ? noSuch("contract") : step(change, row);
    });
    return failed ?? { ok: true, value: contractView(vault, this.#store.contract(contractId)!) };
  }

  acceptContract(contractId: string, keyId: string): Promise<RpcResult<ContractView>> {
    return this.#onContract(contractId, async (change, row) => {
      if (row.status === "active") return undefined;
      if (row.status !== "pending")
        return fault("conflict", `the contract is ${row.status}; only a pending one can be accepted`);
      if (this.#store.currentContract() !== undefined)
        return fault("conflict", "the user has another active contract; cancel it before accepting this one");
      const columns = await acceptContract(
        change,
        {
          contractId,
          contract: change.vault.contractOf(row),
          userSignature: row.user_signature,
          submitEventId: row.submit_event_id,
        },
        { key_id: keyId },
      );
      change.updateContract(row, columns, { listed: true });
      return undefined;
    });
  }

  rejectContract(
    contractId: string,
    reason: string | undefined,
    keyId: string,
  ): Promise<RpcResult<ContractView>> {
    return this.#onContract(contractId, async (change, row) => {
      if (row.status === "rejected") return undefined;
      if (row.status !== "pending")
        return fault("conflict", `the contract is ${row.status}; only a pending one can be rejected`);
      await rejectByService(change, row, reason, { key_id: keyId });
      return undefined;
    });
  }

  cancelContract(
    contractId: string,
    reason: string | undefined,
    keyId: string,
  ): Promise<RpcResult<ContractView>> {
    return this.#onContract(contractId, async (change, row) => {
      if (row.status === "cancelled") return undefined;
      if (row.status === "pending")
        return fault("conflict", "the contract is still pending; reject it instead");
      if (row.status === "superseded") return supersededFault(row);
      if (isEnded(row.status))
        return fault("conflict", `the contract has ended already: it is ${row.status}`);
      await cancelByService(change, row, reason, { key_id: keyId });
      return undefined;
    });
  }

  pauseContract(
    contractId: string,
    reason: string | undefined,
    keyId: string,
  ): Promise<RpcResult<ContractView>> {
    return this.#onContract(contractId, (change, row) =>
      setPaused(change, row, "paused", reason, { key_id: keyId }),
    );
  }

  resumeContract(
    contractId: string,
    reason: string | undefined,
    keyId: string,
  ): Promise<RpcResult<ContractView>> {
    return this.#onContract(contractId, (change, row) =>
      setPaused(change, row, "active", reason, { key_id: keyId }),
    );
  }

  async amendContract(
    contractId: string,
    input: AmendmentInput,
    caller: { keyId: string; idempotency?: Idempotency },
  ): Promise<RpcResult<AmendmentView>> {
    const vault = await this.#open();
    if (vault === undefined || this.#store.contract(contractId) === undefined) return noSuch("contract");
    // Before the step: nothing waits for the Directory while it answers.
    const directory = this.env.DIRECTORY.getByName("directory") as unknown as DirectoryForRoutes;
    const published = await directory.offer();
    return this.#step(vault, (change) =>
      amendContract(change, this.#store.contract(contractId)!, input, published, caller),
    );
  }

  async amendments(
    contractId: string,
    query: { limit: number; cursor?: string },
  ): Promise<RpcResult<Page<AmendmentView>>> {
    const vault = await this.#open();
    if (vault === undefined || this.#store.contract(contractId) === undefined) return noSuch("contract");
    const before = query.cursor === undefined ? MAX_ROW : Number(query.cursor);
    if (!Number.isSafeInteger(before))
      return fault("invalid_request", "the cursor is not one this list gave out");
    const rows = this.#store.amendments(contractId, before, query.limit + 1);
    const page = rows.slice(0, query.limit);
    const last = page.at(-1);
    return {
      ok: true,
      value: {
        items: page.map((row) => amendmentView(vault, row)),
        ...(rows.length > query.limit && last !== undefined ? { nextCursor: String(last.n) } : {}),
      },
    };
  }

  async consentReceipt(contractId: string, keyId: string): Promise<RpcResult<ConsentReceipt>> {
    const vault = await this.#open();
    const row = this.#store.contract(contractId);
    if (vault === undefined || row === undefined) return noSuch("contract");
    return this.#step(vault, async (change) => {
      const receipt = await receiptOf(vault, this.#store.contract(contractId)!);
      if (receipt === undefined)
        return fault("conflict", `the contract is ${row.status}: there is no consent to show`);
      change.audit({
        contractId,
        operation: "receipt.issue",
        status: "success",
        request: { key_id: keyId },
        response: { receipt_id: receipt.receipt_id, state: receipt.state },
      });
      return { ok: true as const, value: receipt };
    });
  }

  async rotateConnectionKey(
    contractId: string,
    keyId: string,
  ): Promise<RpcResult<{ contract_id: string; key_id: string; previous_key_id: string }>> {
    const vault = await this.#open();
    if (vault === undefined) return noSuch("contract");
    return this.#step(vault, async (change) => {
      const row = this.#store.contract(contractId);
      if (row === undefined) return noSuch("contract");
      if (row.status === "superseded") return supersededFault(row);
      if (row.status !== "active" && row.status !== "paused")
        return fault("conflict", `the contract is ${row.status}; it has no keys to replace`);
      const keys = await rotate(change, row, { key_id: keyId });
      return {
        ok: true as const,
        value: { contract_id: contractId, key_id: keys.keyId, previous_key_id: keys.previousKeyId },
      };
    });
  }

  async contractByInvite(code: string): Promise<{ contractId: string; isPending: boolean } | undefined> {
    const row = this.#store.contractByInvite(inviteHash(code));
    if (row === undefined || isEnded(row.status)) return undefined;
    return { contractId: row.contract_id, isPending: row.status === "pending" };
  }

  async profile(
    keyId: string,
  ): Promise<RpcResult<{ contract_id: string; profile: unknown; updated_at: string }>> {
    const vault = await this.#open();
    if (vault === undefined) return noSuch("user");
    return this.#step(vault, async (change) => {
      const row = this.#store.currentContract();
      const stored = row === undefined ? undefined : this.#store.profile(row.contract_id);
      if (row === undefined || stored === undefined)
        return noSuch("profile: the user has no active contract");
      // A read of personal data is an operation like any other: no entry, no data.
      change.audit({
        contractId: row.contract_id,
        operation: "profile.read",
        status: "success",
        request: { key_id: keyId },
      });
      return {
        ok: true as const,
        value: {
          contract_id: row.contract_id,
          profile: vault.wrapper.unwrap(new Uint8Array(stored.data), `profiles/data/${row.contract_id}`),
          updated_at: toTimestamp(stored.updated_at),
        },
      };
    });
  }

  // ---- From the user, over HTTPS ------------------------------------------------------------------------

  async renewCredentials(request: LastingCredentialsRequest): Promise<RpcResult<NatsCredentials>> {
    const vault = await this.#open();
    const row = this.#store.contract(request.contract_id);
    if (vault === undefined || row === undefined) return noSuch("contract");
    const contract = vault.contractOf(row);
    if (Math.abs(fromTimestamp(request.timestamp) - vault.now()) > SETUP_CLOCK_SKEW_MS)
      return fault(
        "signature_invalid",
        "the timestamp is more than 300 seconds off; check the clock and sign anew",
      );
    const natsKey = decodeNkey("user", request.nats_public_key);
    const form = credentialsForm(request);
    if (
      request.nats_public_key !== contract.nats_public_key ||
      natsKey === undefined ||
      !(await verifyJson(contract.user_signing_key, LABELS.credentials, form, request.signature)) ||
      !(await verifyJson(toBase64(natsKey), LABELS.credentials, form, request.nats_signature))
    )
      return fault("signature_invalid", "both signatures must be by the keys that the contract names");
    return this.#step(vault, async (change) => {
      const { status, credentials_until } = this.#store.contract(request.contract_id)!;
      // What is open under a superseded contract may still be answered; with its keys that ends.
      const isFinishing =
        status === "superseded" && this.#store.connectionKeyIds(request.contract_id).length > 0;
      if ((isEnded(status) && !isFinishing) || status === "pending")
        return fault("contract_required", `the contract is ${status}: it has no credentials`);
      const credentials = await issueCredentials(
        vault.config,
        { userId: vault.userId, natsPublicKey: contract.nats_public_key },
        "lasting",
        change.now,
      );
      change
        .audit({
          contractId: request.contract_id,
          operation: "credentials.renew",
          status: "success",
          response: { expires_at: credentials.expires_at },
        })
        .write(() =>
          this.#store.updateContract(
            request.contract_id,
            issuedColumns(credentials, change.now, credentials_until ?? 0),
          ),
        );
      return { ok: true as const, value: credentials };
    });
  }

  async revokeByUser(revocation: Revocation): Promise<RpcResult<{ status: "cancelled" }>> {
    const vault = await this.#open();
    if (vault === undefined) return noSuch("contract");
    return this.#step(vault, async (change) => {
      const row = this.#store.contract(revocation.contract_id);
      if (row === undefined) return noSuch("contract");
      const done = { ok: true as const, value: { status: "cancelled" as const } };
      if (row.status === "cancelled") return done;
      if (row.status === "superseded") return supersededFault(row);
      if (isEnded(row.status))
        return fault("conflict", `the contract has ended already: it is ${row.status}`);
      // An unsigned try costs no row; who may revoke is shown by the signature alone.
      return (await takeRevocation(change, row, revocation, { via: "https" }))
        ? done
        : fault("signature_invalid", "the revocation must be signed by the key that signed the contract");
    });
  }

  async audit(query: { after?: string; operation?: string; limit: number }): Promise<RpcResult<AuditPage>> {
    const vault = await this.#open();
    if (vault === undefined) {
      // Of someone who was erased: where the chain ended, so that who knew it sees that it was not cut.
      const { n, head } = this.#store.chainEnd();
      return { ok: true, value: { items: [], ...(n === 0 ? {} : { prunedTo: head }) } };
    }
    const after = query.after === undefined ? { userId: vault.userId, row: 0 } : parseRoutedId(query.after);
    if (after === undefined || after.userId !== vault.userId)
      return fault("invalid_request", "after: not an entry of this user's chain");
    const rows = this.#store.auditAfter(after.row, query.limit + 1, query.operation);
    const items = rows.slice(0, query.limit).map(({ entry }) => JSON.parse(entry) as AuditEntry);
    const last = items.at(-1);
    const prunedTo = query.after === undefined ? vault.heads.prunedTo() : undefined;
    return {
      ok: true,
      value: {
        items,
        ...(rows.length > query.limit && last !== undefined ? { nextCursor: last.event_id } : {}),
        ...(prunedTo === undefined ? {} : { prunedTo }),
      },
    };
  }

  async auditProof(eventId: string): Promise<RpcResult<AuditStretch>> {
    const vault = await this.#open();
    if (vault === undefined) return noSuch("entry");
    return vault.heads.proofOf(eventId);
  }

  async rewrap(): ReturnType<UserConnectionApi["rewrap"]> {
    const vault = await this.#open();
    const { kek } = await configOf(this.env);
    // Alone: what a step has read is not written back under it.
    const batch =
      vault === undefined
        ? { done: true, damaged: 0 }
        : await this.#serial.run(() => {
            this.#rewrapper ??= new Rewrapper(vault.storage, vault.wrapper, WRAPPED);
            return this.#rewrapper.batch();
          });
    return { ...batch, kek: kek.id };
  }

  /** A field, so out of reach of any caller over RPC: prunes as if the set age were over for all before. */
  pruneAudit = async (before: number): Promise<boolean> => {
    const vault = (await this.#open())!;
    return this.ctx.storage.transactionSync(() => vault.heads.prune(before));
  };

  /** As `pruneAudit` a field: for whoever has changed rows behind the object's back. */
  forgetRead = (): void => this.#store.forgetRead();

  // ---- Moving a deployment ------------------------------------------------------------------------------

  async exportPage(after?: string): Promise<RpcResult<TransferPage>> {
    return exportPage(this.ctx.storage, after);
  }

  async importPage(page: TransferPage): Promise<RpcResult<{ rows: number; done: boolean }>> {
    const { storage } = this.ctx;
    return importPage(storage, page, {
      steps: SCHEMA,
      finish: () => void storage.setAlarm(Date.now()),
    });
  }

  async restart(): Promise<void> {
    this.ctx.abort("restarted after an import");
  }

  // ---- Erasure ------------------------------------------------------------------------------------------

  async eraseUser(
    userId: string,
    reason: string | undefined,
    keyId: string,
  ): Promise<RpcResult<ErasureView>> {
    const vault = await this.#open();
    if (vault !== undefined) return this.#step(vault, (change) => requestErasure(change, keyId, reason));
    const done = this.#store.erasure();
    if (done === undefined) return noSuch("user");
    await forgetElsewhere({ env: this.env, userId }, done);
    return { ok: true, value: erasureView(userId, done) };
  }

  // ---- Time ---------------------------------------------------------------------------------------------

  override async alarm(): Promise<void> {
    // Nothing is done, and nothing forgotten.
    if (inMaintenance(this.env)) return this.ctx.storage.setAlarm(Date.now() + MAINTENANCE_ALARM_MS);
    try {
      await atPoint("user.alarm", () => this.#tick());
    } catch (error) {
      // The platform gives up on an alarm after a few failures; a due expiry must not be given up.
      log("error", "user.alarm_failed", { user_id: this.#store.userId(), error: errorText(error) });
      await this.ctx.storage.setAlarm(Date.now() + ALARM_RETRY_MS);
    }
  }

  async #tick(): Promise<void> {
    const vault = await this.#open();
    if (vault === undefined) return;
    vault.alarmFired();
    // First, so that an alarm is set for what the Journal or the log has not, and for nothing else.
    await this.#outbox.settle(vault);
    const change = await this.#serial.run(() => tick(vault, this.#outbox));
    this.#wake(vault, change);
    this.ctx.waitUntil(vault.feeder.feed());
    await Promise.all([
      this.#outbox.bring(vault, change),
      this.#outbox.index(vault).then(() => this.#outbox.publish(vault, change.send)),
    ]);
    // In this object's turn: no step comes between what the others forget and what this one does.
    const isErased = await this.#serial.run(() => finishErasure(vault));
    if (isErased) this.#vault = undefined;
  }
}
