// What every step on a user's object works with: the store, the keys, the alarm, and what messages look like on
// the way out.

import type { Config } from "../../src/config.ts";
import { type AgreementKey, importAgreementKey } from "../../src/crypto/agreement.ts";
import { seal } from "../../src/crypto/seal.ts";
import type { Wrapper } from "../../src/crypto/wrap.ts";
import type { Env } from "../../src/env.ts";
import type { Contract } from "../../src/protocol/contract.ts";
import { fromBase64 } from "../../src/protocol/encoding.ts";
import { newEventId } from "../../src/protocol/ids.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import { messageSpaceSubject, toUserSubject } from "../../src/protocol/subjects.ts";
import { Quota } from "../../src/rate/quota.ts";
import type { OutboundMessage } from "../../src/rpc.ts";
import { journalFor } from "../../src/webhooks/shards.ts";
import { Feeder, sinkNames } from "../feeder.ts";
import { HeadCarrier } from "../heads.ts";
import type { ContractRow, SealedRow, Store } from "./store.ts";

/** How long a receipt may wait for the user: as long as the message it answers could have been repeated. */
const RECEIPT_LIFETIME_MS = 30 * 24 * 3_600_000;

const MINUTE_SECONDS = 60;
const DAY_SECONDS = 86_400;
/** Minutes' worth of the user's messages that a day may bring: a talk may be lively, but not all day. */
const BUSY_MINUTES_A_DAY = 20;

export class Vault {
  readonly env: Env;
  readonly config: Config;
  readonly storage: DurableObjectStorage;
  readonly store: Store;
  readonly userId: string;
  readonly wrapper: Wrapper;
  /** Brings the heads of this user's chain into the audit log. */
  readonly heads: HeadCarrier;
  /** Brings the entries to the sinks, where there are any. */
  readonly feeder: Feeder;
  /** Calls of each API key about this user. In memory: an object that was away forgets at most a minute. */
  readonly calls: Quota;
  /** Messages of the user, in a minute and in a day: what they cost in rows stays. */
  readonly inbound: readonly Quota[];
  /** Private keys in use, imported once: importing costs as much as agreeing. */
  readonly #keys = new Map<string, AgreementKey>();
  readonly #contracts = new Map<string, { text: string; contract: Contract }>();
  /** When the alarm is set for; undefined when not known to be set. */
  #alarmAt: number | undefined;

  constructor(env: Env, config: Config, storage: DurableObjectStorage, store: Store, userId: string) {
    this.env = env;
    this.config = config;
    this.storage = storage;
    this.store = store;
    this.userId = userId;
    this.wrapper = config.wrapperFor(userId);
    const messages = config.USER_MESSAGES_PER_MINUTE;
    this.calls = new Quota({
      name: "key",
      quota: config.KEY_CALLS_PER_MINUTE,
      windowSeconds: MINUTE_SECONDS,
    });
    this.inbound = [
      new Quota({ name: "minute", quota: messages, windowSeconds: MINUTE_SECONDS }),
      new Quota({ name: "day", quota: messages * BUSY_MINUTES_A_DAY, windowSeconds: DAY_SECONDS }),
    ];
    this.heads = new HeadCarrier({
      sql: storage.sql,
      ownerId: userId,
      exists: () => store.exists,
      handOver: (leaf) => journalFor(env, userId).append([], leaf),
      ask: (leaf) => journalFor(env, userId).carry(leaf),
      // A logged head confirms its entries' events, too.
      mayNote: (n) => store.isTold(n),
    });
    this.feeder = new Feeder({
      sql: storage.sql,
      ownerId: userId,
      sinks: sinkNames(config),
      exists: () => store.exists,
      handOver: (entries) => journalFor(env, userId).takeEntries(entries),
      wakeBy: (at) => this.wakeBy(at),
    });
  }

  now(): number {
    return Date.now();
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

  /** Parsed once while its text stays what it was: every step on a request looks into the contract several times. */
  contractOf(row: ContractRow): Readonly<Contract> {
    let known = this.#contracts.get(row.contract_id);
    if (known?.text !== row.contract) {
      known = { text: row.contract, contract: JSON.parse(row.contract) as Contract };
      this.#contracts.set(row.contract_id, known);
    }
    return known.contract;
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

  /** Destroys one of our private connection keys. Called in a transaction. */
  destroyKey(keyId: string): void {
    this.store.destroyConnectionKey(keyId);
    this.#keys.delete(keyId);
  }

  /**
   * Destroys our private connection keys of a contract, which is over with that. Called in a transaction. NATS
   * credentials that would outlive it have to be taken back: the contract's index row says so until the Directory
   * has it.
   */
  destroyKeys(contractId: string): void {
    this.store.destroyConnectionKeys(contractId);
    this.#keys.clear();
    if ((this.store.contract(contractId)?.credentials_until ?? 0) > this.now())
      this.store.raiseIndexVersion(contractId);
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
    /** Of a message that is kept until it is receipted. */
    madeAt?: number;
  }): OutboundMessage[] {
    const { serviceId } = this.config;
    const stored: OutboundMessage = {
      cluster: "messagespace",
      subject: messageSpaceSubject(message.messageSpace, serviceId, message.eventType, message.ref),
      bytes: message.bytes,
      msgId: `${message.eventId}-${message.sending}`,
      ...(message.madeAt === undefined ? {} : { madeAt: message.madeAt }),
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
      ...(row.sendings === 0 ? { madeAt: row.created_at } : {}),
    });
  }
}
