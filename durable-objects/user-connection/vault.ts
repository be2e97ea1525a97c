// What every step on a user's object works with: the store, the keys, sealing, and the one way to commit.
//
// A step runs alone (the object's queue), reads rows, does its cryptography, and ends in `commit`, which writes
// the step's rows, its audit entries and the alarm in one transaction. A crash before it leaves nothing; a crash
// after it leaves everything, and the alarm repeats what has to leave the object.

import { signEntry } from "../../src/audit/chain.ts";
import type { Config } from "../../src/config.ts";
import { type AgreementKey, importAgreementKey } from "../../src/crypto/agreement.ts";
import { seal } from "../../src/crypto/seal.ts";
import type { Wrapper } from "../../src/crypto/wrap.ts";
import type { Env } from "../../src/env.ts";
import { type AuditEntry, CHAIN_START } from "../../src/protocol/audit.ts";
import type { Contract } from "../../src/protocol/contract.ts";
import { fromBase64 } from "../../src/protocol/encoding.ts";
import { newEventId, newRoutedId } from "../../src/protocol/ids.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import { messageSpaceSubject, toUserSubject } from "../../src/protocol/subjects.ts";
import type { OutboundMessage } from "../../src/rpc.ts";
import type { ContractRow, SealedRow, Store } from "./store.ts";

/** How long a receipt may wait for the user: as long as the message it answers could have been repeated. */
const RECEIPT_LIFETIME_MS = 30 * 24 * 3_600_000;

export interface AuditDraft {
  contractId?: string;
  operation: string;
  capability?: string;
  status: AuditEntry["status"];
  request?: AuditEntry["request_summary"];
  response?: AuditEntry["response_summary"];
}

export interface SealedMessage {
  n: number;
  eventId: string;
  bytes: Uint8Array<ArrayBuffer>;
}

/** A message to be sealed under a contract. */
export interface MessageDraft {
  eventType: string;
  ref?: string;
  /** 0 in setup. */
  seq: number;
  expiresAt: number;
  /** Absent in setup. */
  contractId?: string;
}

export class Vault {
  readonly env: Env;
  readonly config: Config;
  readonly storage: DurableObjectStorage;
  readonly store: Store;
  readonly userId: string;
  readonly wrapper: Wrapper;
  /** Private keys in use, imported once: importing costs as much as agreeing. */
  readonly #keys = new Map<string, AgreementKey>();
  /** When the alarm is set for; undefined when not known to be set. */
  #alarmAt: number | undefined;

  constructor(env: Env, config: Config, storage: DurableObjectStorage, store: Store, userId: string) {
    this.env = env;
    this.config = config;
    this.storage = storage;
    this.store = store;
    this.userId = userId;
    this.wrapper = config.wrapperFor(userId);
  }

  now(): number {
    return Date.now();
  }

  /**
   * Signs the entries onto the chain, then writes them with the step's rows in one transaction and sets the alarm
   * to `due` if that is sooner than what is set. `write` gets each entry's hash. Nothing happened if it throws.
   */
  async commit(
    drafts: readonly AuditDraft[],
    write: (hashes: string[]) => void,
    due?: number,
  ): Promise<string[]> {
    const last = this.store.lastAudit();
    let head = last === undefined ? CHAIN_START : (JSON.parse(last.entry) as AuditEntry).event_hash;
    let n = last?.n ?? 0;
    const entries: { n: number; text: string; hash: string }[] = [];
    for (const draft of drafts) {
      n += 1;
      const entry = await signEntry(
        this.config.signingKey,
        {
          event_id: newRoutedId(this.userId, n),
          timestamp: toTimestamp(this.now()),
          service_id: this.config.serviceId,
          user_id: this.userId,
          ...(draft.contractId === undefined ? {} : { contract_id: draft.contractId }),
          operation: draft.operation,
          ...(draft.capability === undefined ? {} : { capability_used: draft.capability }),
          status: draft.status,
          request_summary: draft.request ?? {},
          response_summary: draft.response ?? {},
        },
        head,
      );
      head = entry.event_hash;
      entries.push({ n, text: JSON.stringify(entry), hash: head });
    }
    const hashes = entries.map(({ hash }) => hash);
    this.storage.transactionSync(() => {
      this.store.create(this.userId);
      write(hashes);
      for (const entry of entries) this.store.insertAudit(entry.n, entry.text);
    });
    this.store.created();
    // No await since the transaction: rows and alarm become durable together, before any reply leaves.
    if (due !== undefined) this.wakeBy(due);
    return hashes;
  }

  /** Makes sure the alarm fires no later than `due`. setAlarm costs a row, so a sooner one is left as it is. */
  wakeBy(due: number): void {
    if (this.#alarmAt !== undefined && this.#alarmAt <= due) return;
    this.#alarmAt = due;
    void this.storage.setAlarm(due);
  }

  /** To be called when the alarm fires: it is no longer set. */
  alarmFired(): void {
    this.#alarmAt = undefined;
  }

  /** The alarm that an earlier life of this object left. */
  alarmFound(at: number | null): void {
    this.#alarmAt ??= at ?? undefined;
  }

  contractOf(row: ContractRow): Contract {
    return JSON.parse(row.contract) as Contract;
  }

  /** The private half of one of our connection keys; undefined once it is destroyed. */
  async connectionKey(keyId: string, contractId: string): Promise<AgreementKey | undefined> {
    const row = this.store.connectionKey(keyId);
    if (row === undefined || row.contract_id !== contractId) {
      this.#keys.delete(keyId);
      return undefined;
    }
    let key = this.#keys.get(keyId);
    if (key === undefined) {
      const secret = this.wrapper.unwrapBytes(new Uint8Array(row.secret), `connection_keys/secret/${keyId}`);
      key = await importAgreementKey(secret);
      this.#keys.set(keyId, key);
    }
    return key;
  }

  /** Forgets imported keys whose rows were deleted. */
  forgetKeys(): void {
    this.#keys.clear();
  }

  /** Seals a message to a user's connection key (base64) under the next row's id; `n` is the row it belongs to. */
  async seal(
    n: number,
    draft: MessageDraft,
    userKey: string,
    payload: (eventId: string) => unknown,
  ): Promise<SealedMessage> {
    const eventId = newRoutedId(this.userId, n);
    const bytes = await seal(
      this.config.signingKey,
      fromBase64(userKey)!,
      {
        event_id: eventId,
        event_type: draft.eventType,
        ...(draft.ref === undefined ? {} : { ref: draft.ref }),
        to: this.userId,
        ...(draft.contractId === undefined ? {} : { contract_id: draft.contractId }),
        seq: draft.seq,
        timestamp: toTimestamp(this.now()),
        expires_at: toTimestamp(draft.expiresAt),
      },
      payload(eventId),
    );
    return { n, eventId, bytes };
  }

  /** A message that is published once and never stored: a receipt, or the refusal of a submission. */
  async sealReply(
    draft: { eventType: string; ref: string; contractId?: string; setup: boolean; messageSpace: string },
    userKey: string,
    payload: unknown,
  ): Promise<OutboundMessage[]> {
    const now = this.now();
    const eventId = newEventId();
    const bytes = await seal(
      this.config.signingKey,
      fromBase64(userKey)!,
      {
        event_id: eventId,
        event_type: draft.eventType,
        ref: draft.ref,
        to: this.userId,
        ...(draft.contractId === undefined ? {} : { contract_id: draft.contractId }),
        seq: 0,
        timestamp: toTimestamp(now),
        expires_at: toTimestamp(now + RECEIPT_LIFETIME_MS),
      },
      payload,
    );
    return this.outbound({
      bytes,
      eventId,
      eventType: draft.eventType,
      ref: draft.ref,
      messageSpace: draft.messageSpace,
      setup: draft.setup,
      sending: 1,
    });
  }

  /** The messages that carry sealed bytes: on MessageSpace, where a stream keeps them, and in setup on toUser too. */
  outbound(message: {
    bytes: Uint8Array;
    eventId: string;
    eventType: string;
    ref?: string | undefined;
    messageSpace: string;
    setup: boolean;
    sending: number;
  }): OutboundMessage[] {
    const { serviceId } = this.config;
    const stored: OutboundMessage = {
      cluster: "messagespace",
      subject: messageSpaceSubject(message.messageSpace, serviceId, message.eventType, message.ref),
      bytes: message.bytes,
      msgId: `${message.eventId}-${message.sending}`,
    };
    if (!message.setup || message.ref === undefined) return [stored];
    const live: OutboundMessage = {
      cluster: "servicespace",
      subject: toUserSubject(serviceId, this.userId, message.eventType, message.ref),
      bytes: message.bytes,
    };
    return [stored, live];
  }

  /** The messages of an outgoing row that has not been receipted. */
  outboundOf(row: SealedRow, contract: Contract): OutboundMessage[] {
    return this.outbound({
      bytes: new Uint8Array(row.sealed),
      eventId: row.event_id,
      eventType: row.event_type,
      ref: row.ref ?? undefined,
      messageSpace: contract.message_space,
      setup: row.seq === 0,
      sending: row.sendings + 1,
    });
  }
}
