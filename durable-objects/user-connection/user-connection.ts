// Everything about one user: one SQLite database, one writer, one transaction per step. This class is the shell:
// it queues the steps, sends what they left in the outbox, keeps the one alarm, and holds those who wait.

import { DurableObject } from "cloudflare:workers";
import { configOf } from "../../src/config.ts";
import { credentialsForm } from "../../src/contracts/agreement.ts";
import { verifyJson } from "../../src/crypto/signing.ts";
import type { Env } from "../../src/env.ts";
import { decodeNkey } from "../../src/nats/nkey.ts";
import { bridgeFor } from "../../src/nats/shards.ts";
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
import { REVOCATION_NOTICE_MS, SETUP_CLOCK_SKEW_MS } from "../../src/protocol/limits.ts";
import { isReceipted } from "../../src/protocol/messages.ts";
import { fromTimestamp, toTimestamp } from "../../src/protocol/primitives.ts";
import { userOfSubject } from "../../src/protocol/subjects.ts";
import { resendPauseMs } from "../../src/requests/lifecycle.ts";
import type {
  ApiFault,
  AskInput,
  ContractDetail,
  ContractView,
  InboundMessage,
  InboundOutcome,
  OutboundMessage,
  Page,
  RequestView,
  RpcResult,
  UserConnectionApi,
} from "../../src/rpc.ts";
import { Serial } from "../serial.ts";
import { ask, cancelRequest, endRequest, findRequest } from "./asking.ts";
import { cancelByService, endContract } from "./ending.ts";
import { type Aftermath, judgeRevocation, receive } from "./receive.ts";
import { prepareAcceptance } from "./setup.ts";
import { type ContractRow, isRequest, type OutgoingRow, openFrom, type SealedRow, Store } from "./store.ts";
import { type AuditDraft, Vault } from "./vault.ts";
import { contractDetail, contractView, indexRow, requestView } from "./views.ts";

/** The longest a call may hold the line. */
const MAX_WAIT_MS = 30_000;
/** Callers that may hold the line for one user at once; beyond, a call answers with what is. */
const MAX_WAITERS = 100;
/** Pauses between attempts to hand a message to the bridge while this object stays awake. */
const PUBLISH_RETRY_MS = [250, 1_000, 3_000];
/** After an alarm that found something it could not do (the Directory was unreachable). */
const ALARM_RETRY_MS = 5_000;

const fault = (code: ApiFault["code"], detail: string): { ok: false; error: ApiFault } => ({
  ok: false,
  error: { code, detail },
});
const noSuch = (what: string) => fault("not_found", `there is no such ${what}`);

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export class UserConnection extends DurableObject<Env> implements UserConnectionApi {
  readonly #store: Store;
  readonly #serial = new Serial();
  #vault: Promise<Vault> | undefined;
  /** Those who hold the line, by request id. Lost with the object: the Worker asks again. */
  readonly #waiters = new Map<string, Set<() => void>>();
  #waiting = 0;
  /** Rows a broker has acknowledged since this object woke, with the sending it acknowledged. */
  readonly #acknowledged = new Map<number, number>();

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#store = new Store(ctx.storage);
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

  // ---- From the user ------------------------------------------------------------------------------------

  async receive(messages: InboundMessage[]): Promise<InboundOutcome[]> {
    const config = await configOf(this.env);
    const first = messages[0];
    const userId = first === undefined ? undefined : userOfSubject(first.subject, config.serviceId);
    if (userId === undefined)
      return messages.map(() => ({ handled: "done", rejected: { reason: "subject_mismatch" }, replies: [] }));
    const vault = (await this.#open(userId))!;
    const aftermath: Aftermath = { send: [], changed: [], index: false };
    const outcomes = await this.#serial.run(async () => {
      const handled: InboundOutcome[] = [];
      for (const message of messages) {
        try {
          handled.push(await receive(vault, message, aftermath));
        } catch (error) {
          // Nothing of this message was committed; it comes again. What follows may overtake it: `seq` tells.
          console.error(JSON.stringify({ event: "receive_failed", user_id: userId, error: String(error) }));
          handled.push({ handled: "retry", replies: [] });
        }
      }
      return handled;
    });
    this.#after(vault, aftermath);
    return outcomes;
  }

  /** What follows a commit. Skipped by a crash, all of it is done again: by the alarm, or when the caller asks anew. */
  #after(vault: Vault, { send, changed, index }: Aftermath): void {
    for (const id of changed) this.#wake(id);
    if (index) this.ctx.waitUntil(this.#indexAndSend(vault, send));
    else if (send.length > 0) this.ctx.waitUntil(this.#send(vault, send));
  }

  // ---- Asking -------------------------------------------------------------------------------------------

  async ask(input: AskInput): Promise<RpcResult<RequestView>> {
    const vault = (await this.#open(input.userId))!;
    const { answer, send } = await this.#serial.run(() => ask(vault, input));
    if (send !== undefined) this.#after(vault, { send: [send], changed: [], index: false });
    return answer;
  }

  async request(requestId: string, waitMs = 0): Promise<RpcResult<RequestView>> {
    const vault = await this.#open();
    if (vault === undefined) return noSuch("request");
    const found = findRequest(vault, requestId);
    if (found === undefined) return noSuch("request");
    if (found.row.status !== "pending" || waitMs <= 0 || this.#waiting >= MAX_WAITERS)
      return this.#view(vault, requestId);
    await this.#change(requestId, Math.min(waitMs, MAX_WAIT_MS));
    return this.#view(vault, requestId);
  }

  #view(vault: Vault, requestId: string): RpcResult<RequestView> {
    const found = findRequest(vault, requestId);
    if (found === undefined) return noSuch("request");
    return { ok: true, value: requestView(vault, found.row, vault.contractOf(found.contractRow)) };
  }

  /** Resolves when the request changed its status, or the time is over. */
  async #change(requestId: string, waitMs: number): Promise<void> {
    const deadline = Date.now() + waitMs;
    this.#waiting += 1;
    try {
      for (;;) {
        const left = deadline - Date.now();
        if (left <= 0) return;
        let wake: () => void = () => {};
        let timer: ReturnType<typeof setTimeout> | undefined;
        const waiters = this.#waiters.get(requestId) ?? new Set();
        this.#waiters.set(requestId, waiters);
        await new Promise<void>((resolve) => {
          wake = resolve;
          waiters.add(wake);
          timer = setTimeout(resolve, left);
        });
        clearTimeout(timer);
        waiters.delete(wake);
        if (waiters.size === 0) this.#waiters.delete(requestId);
        const row = this.#store.outgoing(parseRoutedId(requestId)!.row);
        if (row?.status !== "pending") return;
      }
    } finally {
      this.#waiting -= 1;
    }
  }

  #wake(requestId: string): void {
    for (const wake of this.#waiters.get(requestId) ?? []) wake();
  }

  async requests(query: {
    status?: string;
    kind?: string;
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
    const items = page.map((row) =>
      requestView(vault, row, vault.contractOf(this.#store.contract(row.contract_id)!)),
    );
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
    const vault = await this.#open();
    if (vault === undefined) return noSuch("request");
    const { answer, send, changed } = await this.#serial.run(() => cancelRequest(vault, requestId, keyId));
    this.#after(vault, {
      send: send === undefined ? [] : [send],
      changed: changed === undefined ? [] : [changed],
      index: false,
    });
    return answer;
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
    step: (vault: Vault, row: ContractRow) => Promise<{ ok: false; error: ApiFault } | Partial<Aftermath>>,
  ): Promise<RpcResult<ContractView>> {
    const vault = await this.#open();
    if (vault === undefined) return noSuch("contract");
    return this.#serial.run(async () => {
      const row = this.#store.contract(contractId);
      if (row === undefined) return noSuch("contract");
      const result = await step(vault, row);
      if ("ok" in result) return result;
      this.#after(vault, { send: [], changed: [], index: false, ...result });
      return { ok: true as const, value: contractView(vault, this.#store.contract(contractId)!) };
    });
  }

  acceptContract(contractId: string, keyId: string): Promise<RpcResult<ContractView>> {
    return this.#onContract(contractId, async (vault, row) => {
      if (row.status === "active") return {};
      if (row.status !== "pending")
        return fault("conflict", `the contract is ${row.status}; only a pending one can be accepted`);
      if (this.#store.currentContract() !== undefined)
        return fault("conflict", "the user has another active contract; cancel it before accepting this one");
      const acceptance = await prepareAcceptance(
        vault,
        {
          contractId,
          contract: vault.contractOf(row),
          userSignature: row.user_signature,
          submitEventId: row.submit_event_id,
        },
        { key_id: keyId },
      );
      await vault.commit(
        [acceptance.audit],
        () => {
          this.#store.updateContract(contractId, {
            ...acceptance.columns,
            index_version: row.index_version + 1,
          });
          acceptance.write();
        },
        acceptance.nextSendAt,
      );
      return { send: [acceptance.message.n], index: true };
    });
  }

  rejectContract(
    contractId: string,
    reason: string | undefined,
    keyId: string,
  ): Promise<RpcResult<ContractView>> {
    return this.#onContract(contractId, async (vault, row) => {
      if (row.status === "rejected") return {};
      if (row.status !== "pending")
        return fault("conflict", `the contract is ${row.status}; only a pending one can be rejected`);
      const now = vault.now();
      const contract = vault.contractOf(row);
      const n = this.#store.lastOutgoing() + 1;
      const sealedUntil = now + REVOCATION_NOTICE_MS;
      const sealed = await vault.seal(
        n,
        { eventType: "contract.rejected", ref: row.submit_event_id, seq: 0, expiresAt: sealedUntil },
        contract.user_connection_key,
        () => ({ reason: "declined", ...(reason === undefined ? {} : { detail: reason }) }),
      );
      const ending = endContract(
        vault,
        row,
        { status: "rejected", by: "service", reason, now },
        {
          contractId,
          operation: "contract.reject",
          status: "success",
          request: { key_id: keyId },
          response: { status: "rejected" },
        },
      );
      const due = now + resendPauseMs(1);
      await vault.commit(
        ending.audits,
        () => {
          ending.write();
          this.#store.insertOutgoing({
            n,
            event_id: sealed.eventId,
            event_type: "contract.rejected",
            ref: row.submit_event_id,
            contract_id: contractId,
            seq: 0,
            created_at: now,
            sealed: sealed.bytes,
            sealed_until: sealedUntil,
            next_send_at: due,
          });
        },
        due,
      );
      return { send: [n], index: true };
    });
  }

  cancelContract(
    contractId: string,
    reason: string | undefined,
    keyId: string,
  ): Promise<RpcResult<ContractView>> {
    return this.#onContract(contractId, async (vault, row) => {
      if (row.status === "cancelled") return {};
      if (row.status === "pending")
        return fault("conflict", "the contract is still pending; reject it instead");
      if (isEnded(row.status))
        return fault("conflict", `the contract has ended already: it is ${row.status}`);
      const { ending, n, due } = await cancelByService(vault, row, reason, keyId);
      await vault.commit(ending.audits, ending.write, due);
      return { send: [n], changed: ending.cancelled, index: true };
    });
  }

  async profile(
    keyId: string,
  ): Promise<RpcResult<{ contract_id: string; profile: unknown; updated_at: string }>> {
    const vault = await this.#open();
    if (vault === undefined) return noSuch("user");
    return this.#serial.run(async () => {
      const row = this.#store.currentContract();
      const stored = row === undefined ? undefined : this.#store.profile(row.contract_id);
      if (row === undefined || stored === undefined)
        return noSuch("profile: the user has no active contract");
      // A read of personal data is an operation like any other: no entry, no data.
      await vault.commit(
        [
          {
            contractId: row.contract_id,
            operation: "profile.read",
            status: "success",
            request: { key_id: keyId },
          },
        ],
        () => {},
      );
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
    const now = vault.now();
    const contract = vault.contractOf(row);
    if (Math.abs(fromTimestamp(request.timestamp) - now) > SETUP_CLOCK_SKEW_MS)
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
    if (isEnded(row.status) || row.status === "pending")
      return fault("contract_required", `the contract is ${row.status}: it has no credentials`);
    return this.#serial.run(async () => {
      // Looked at again: the contract may have ended while this call waited its turn.
      if (isEnded(this.#store.contract(request.contract_id)!.status))
        return fault("contract_required", "the contract has ended: it has no credentials");
      const credentials = await issueCredentials(
        vault.config,
        { userId: vault.userId, natsPublicKey: contract.nats_public_key },
        "lasting",
        now,
      );
      await vault.commit(
        [
          {
            contractId: request.contract_id,
            operation: "credentials.renew",
            status: "success",
            response: { expires_at: credentials.expires_at },
          },
        ],
        () => {},
      );
      return { ok: true as const, value: credentials };
    });
  }

  async revokeByUser(revocation: Revocation): Promise<RpcResult<{ status: "cancelled" }>> {
    const vault = await this.#open();
    if (vault === undefined) return noSuch("contract");
    return this.#serial.run(async () => {
      const row = this.#store.contract(revocation.contract_id);
      if (row === undefined) return noSuch("contract");
      const aftermath: Aftermath = { send: [], changed: [], index: false };
      const outcome = await judgeRevocation(vault, row, revocation, { via: "https" }, aftermath);
      // An unsigned try costs no row; who may revoke is shown by the signature alone.
      if (outcome.outcome === "refused")
        return fault(
          "signature_invalid",
          "the revocation must be signed by the key that signed the contract",
        );
      if (row.status === "cancelled") return { ok: true as const, value: { status: "cancelled" as const } };
      if (isEnded(row.status))
        return fault("conflict", `the contract has ended already: it is ${row.status}`);
      await vault.commit([outcome.audit, ...(outcome.more ?? [])], ([hash]) => outcome.write?.(hash!));
      this.#after(vault, aftermath);
      return { ok: true as const, value: { status: "cancelled" as const } };
    });
  }

  async audit(query: {
    after?: string;
    operation?: string;
    limit: number;
  }): Promise<RpcResult<Page<AuditEntry>>> {
    const vault = await this.#open();
    if (vault === undefined) return { ok: true, value: { items: [] } };
    const after = query.after === undefined ? { userId: vault.userId, row: 0 } : parseRoutedId(query.after);
    if (after === undefined || after.userId !== vault.userId)
      return fault("invalid_request", "after: not an entry of this user's chain");
    const rows = this.#store.auditAfter(after.row, query.limit + 1, query.operation);
    const items = rows.slice(0, query.limit).map(({ entry }) => JSON.parse(entry) as AuditEntry);
    const last = items.at(-1);
    return {
      ok: true,
      value: {
        items,
        ...(rows.length > query.limit && last !== undefined ? { nextCursor: last.event_id } : {}),
      },
    };
  }

  // ---- The outbox ---------------------------------------------------------------------------------------

  /**
   * Hands rows to the bridge, a few times while this object is awake. Whatever comes of it, the alarm looks at every
   * row that has no receipt yet: a broker's acknowledgement is not delivery.
   */
  async #send(vault: Vault, ns: readonly number[]): Promise<void> {
    let left = [...ns];
    for (const pause of [...PUBLISH_RETRY_MS, undefined]) {
      left = await this.#publish(vault, this.#sealedRows(left));
      if (left.length === 0 || pause === undefined) return;
      await sleep(pause);
    }
  }

  /** Those of the rows that still have something to send. */
  #sealedRows(ns: readonly number[]): SealedRow[] {
    return ns
      .map((n) => this.#store.outgoing(n))
      .filter((row): row is SealedRow => row !== undefined && row.sealed !== null);
  }

  /** One batch to the bridge. Returns the rows no stream holds yet. */
  async #publish(vault: Vault, open: SealedRow[]): Promise<number[]> {
    // Nothing leaves under a contract that the Directory does not know yet: whoever learns of it can find it.
    const rows = open.filter((row) => this.#store.contract(row.contract_id)!.indexed_version > 0);
    const unlisted = open.filter((row) => !rows.includes(row)).map(({ n }) => n);
    if (rows.length === 0) return unlisted;
    const batch: { n: number; sending: number; message: OutboundMessage }[] = rows.flatMap((row) => {
      const contract = vault.contractOf(this.#store.contract(row.contract_id)!);
      return vault
        .outboundOf(row, contract)
        .map((message) => ({ n: row.n, sending: row.sendings + 1, message }));
    });
    try {
      const outcomes = await bridgeFor(this.env, vault.userId).publish(batch.map(({ message }) => message));
      const failed: number[] = [];
      for (const [at, { n, sending, message }] of batch.entries()) {
        if (message.msgId === undefined) continue;
        if (outcomes[at] === "stored") this.#acknowledged.set(n, sending);
        else failed.push(n);
      }
      await this.#forgetUnreceipted(vault, rows, failed);
      return [...failed, ...unlisted];
    } catch {
      return open.map(({ n }) => n);
    }
  }

  /** A message that is never receipted has done its part once a stream holds it. */
  async #forgetUnreceipted(vault: Vault, rows: OutgoingRow[], failed: readonly number[]): Promise<void> {
    const done = rows.filter((row) => !isReceipted(row.event_type) && !failed.includes(row.n));
    if (done.length === 0) return;
    await this.#serial.run(() =>
      vault.commit([], () => {
        for (const { n } of done) this.#store.updateOutgoing(n, { sealed: null, next_send_at: null });
      }),
    );
  }

  async #indexAndSend(vault: Vault, send: readonly number[]): Promise<void> {
    await this.#index(vault);
    await this.#send(vault, send);
  }

  /** Tells the Directory of contracts that changed. If it cannot be reached, the alarm tries again. */
  async #index(vault: Vault): Promise<void> {
    const rows = this.#store.contracts().filter((row) => row.indexed_version < row.index_version);
    if (rows.length === 0) return;
    try {
      await this.env.DIRECTORY.getByName("directory").indexContracts(rows.map((row) => indexRow(vault, row)));
    } catch {
      vault.wakeBy(vault.now() + ALARM_RETRY_MS);
      return;
    }
    await this.#serial.run(() =>
      vault.commit([], () => {
        for (const row of rows)
          this.#store.updateContract(row.contract_id, { indexed_version: row.index_version });
      }),
    );
  }

  // ---- Time ---------------------------------------------------------------------------------------------

  override async alarm(): Promise<void> {
    try {
      const vault = await this.#open();
      if (vault === undefined) return;
      vault.alarmFired();
      const { changed, resend } = await this.#serial.run(() => this.#tick(vault));
      for (const id of changed) this.#wake(id);
      await this.#index(vault);
      await this.#publish(vault, resend);
    } catch (error) {
      // The platform gives up on an alarm after a few failures; a due expiry must not be given up.
      console.error(JSON.stringify({ event: "alarm_failed", error: String(error) }));
      await this.ctx.storage.setAlarm(Date.now() + ALARM_RETRY_MS);
    }
  }

  /** Everything that is due: expiries, ends of contracts, keys to destroy, messages to send again. */
  async #tick(vault: Vault): Promise<{ changed: string[]; resend: SealedRow[] }> {
    const now = vault.now();
    const audits: AuditDraft[] = [];
    const writes: (() => void)[] = [];
    const changed: string[] = [];
    const resend: number[] = [];
    const due: number[] = [];
    const rows = this.#store.contracts();
    const expired = rows.filter(
      (row) =>
        ["pending", "active", "paused"].includes(row.status) &&
        row.expires_at !== null &&
        row.expires_at <= now,
    );
    const open = this.#store.openRows(openFrom(rows));
    for (const n of this.#acknowledged.keys())
      if (!open.some((row) => row.n === n)) this.#acknowledged.delete(n);

    for (const row of expired) {
      const ending = endContract(
        vault,
        row,
        { status: "expired", by: "service", now },
        {
          contractId: row.contract_id,
          operation: "contract.expire",
          status: "success",
          response: { status: "expired" },
        },
      );
      audits.push(...ending.audits);
      writes.push(ending.write);
      changed.push(...ending.cancelled);
    }
    for (const row of rows) {
      if (expired.includes(row)) continue;
      if (!isEnded(row.status)) {
        if (row.expires_at !== null) due.push(row.expires_at);
        continue;
      }
      if (this.#store.connectionKeyIds(row.contract_id).length === 0) continue;
      const destroyAt = row.ended_at! + REVOCATION_NOTICE_MS;
      if (destroyAt > now) due.push(destroyAt);
      else
        writes.push(() => {
          this.#store.destroyConnectionKeys(row.contract_id);
          vault.forgetKeys();
        });
    }
    const ended = new Set(expired.map((row) => row.contract_id));
    for (const row of open) {
      if (ended.has(row.contract_id)) continue;
      if (isRequest(row) && row.status === "pending") {
        if (row.grace_until <= now) {
          const ending = endRequest(vault, row, "expired", now);
          audits.push(ending.audit);
          writes.push(ending.write);
          changed.push(row.event_id);
          continue;
        }
        due.push(row.grace_until);
      }
      if (row.sealed === null) continue;
      if (row.sealed_until <= now) {
        writes.push(() => this.#store.updateOutgoing(row.n, { sealed: null, next_send_at: null }));
      } else if (row.next_send_at !== null && row.next_send_at <= now) {
        // The number grows only past a sending that a broker acknowledged: until then the same one is repeated.
        const sendings = Math.max(row.sendings, this.#acknowledged.get(row.n) ?? 0);
        const nextSendAt = Math.min(now + resendPauseMs(sendings + 1), row.sealed_until);
        writes.push(() => this.#store.updateOutgoing(row.n, { sendings, next_send_at: nextSendAt }));
        resend.push(row.n);
        due.push(nextSendAt);
      } else if (row.next_send_at !== null) {
        due.push(row.next_send_at);
      }
    }
    if (audits.length > 0 || writes.length > 0)
      await vault.commit(audits, () => {
        for (const write of writes) write();
      });
    if (due.length > 0) vault.wakeBy(Math.min(...due));
    return {
      changed,
      resend: this.#sealedRows(resend),
    };
  }
}
