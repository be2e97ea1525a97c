// One step's effects, gathered and then committed together: rows, audit entries, events for the backend, messages
// to the user and the alarm. A step runs alone (the object's queue), reads, does its cryptography, and ends in
// `commit`: one transaction. A crash before it leaves nothing; a crash after it leaves everything, and the alarm
// repeats whatever then has to leave the object.

import { atPoint } from "../../src/at-point.ts";
import { signEntry } from "../../src/audit/chain.ts";
import { LEAF_SALT_BYTES } from "../../src/audit/leaf.ts";
import { seal } from "../../src/crypto/seal.ts";
import type { AuditEntry } from "../../src/protocol/audit.ts";
import { fromBase64 } from "../../src/protocol/encoding.ts";
import { newEventId, newRoutedId, randomBytes } from "../../src/protocol/ids.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import { resendPauseMs } from "../../src/requests/lifecycle.ts";
import { type EventData, eventText } from "../../src/webhooks/event.ts";
import { RECOVERY_MS } from "../heads.ts";
import type { Columns, ContractRow, OutgoingRow } from "./store.ts";
import type { Vault } from "./vault.ts";

export interface AuditDraft {
  contractId?: string;
  operation: string;
  capability?: string;
  status: AuditEntry["status"];
  request?: AuditEntry["request_summary"];
  response?: AuditEntry["response_summary"];
}

/** A message to the user, to be sealed and put in the outbox. */
export interface Message {
  eventType: string;
  ref?: string;
  /** `ref` is the message's own id. */
  ownRef?: boolean;
  /** A payload may name its own event id. */
  payload: unknown | ((eventId: string) => unknown);
  expiresAt: number;
  /** Setup messages have no contract in their header and no sequence number. */
  setup?: boolean;
  /** Further columns of the row: what makes it a request. */
  columns?: (n: number, eventId: string) => Columns<OutgoingRow>;
}

/** Whom a message is sealed to. */
export type Addressee = Pick<ContractRow, "contract_id" | "user_connection_key">;

export class Change {
  readonly vault: Vault;
  /** The step's one instant. */
  readonly now: number;
  /** Outgoing rows to be sent once committed. */
  readonly send: number[] = [];
  /** Requests whose state changed: whoever waits for them is woken. */
  readonly changed: string[] = [];
  /** Called in the turn of the commit; what still follows it in the step, as a receipt's sealing, nobody waits for. */
  onCommitted: () => void = () => {};
  /** States that machines are in after this step, by row: a second step on the same row goes on from here. */
  readonly states = new Map<number, unknown>();
  /** Rows that the step's message names by their ids, as they were read. */
  readonly named = new Map<string, OutgoingRow | undefined>();
  /** Whether this step asks the user something: more entries come with the answer. */
  asks = false;
  /** Contracts that end in this step. */
  readonly ending = new Set<string>();
  readonly #audits: AuditDraft[] = [];
  readonly #writes: ((hash: string) => void)[] = [];
  readonly #events: { text: string; callback: Uint8Array | null }[] = [];
  #due = Number.POSITIVE_INFINITY;
  #lastRow: number | undefined;
  readonly #lastSeq = new Map<string, number>();
  #indexed = false;

  constructor(vault: Vault) {
    this.vault = vault;
    this.now = vault.now();
  }

  /** Whether the Directory has something to learn from this change. */
  get index(): boolean {
    return this.#indexed;
  }

  /** Whether there is nothing to commit. */
  get isEmpty(): boolean {
    return this.#audits.length === 0 && this.#writes.length === 0 && this.#events.length === 0;
  }

  /** Whether entries are added to the chain. */
  get records(): boolean {
    return this.#audits.length > 0;
  }

  /** Whether the Journal has. */
  get tells(): boolean {
    return this.#events.length > 0;
  }

  audit(draft: AuditDraft): this {
    this.#audits.push(draft);
    return this;
  }

  /** Called in the transaction, with the hash of the step's first audit entry ("" when it has none). */
  write(write: (hash: string) => void): this {
    this.#writes.push(write);
    return this;
  }

  /** An event for the backend, with one id for good; `callback` is the URL its request came with. */
  tell(type: string, contractId: string | undefined, data: EventData, callback?: string): this {
    const text = eventText({
      type,
      timestamp: toTimestamp(this.now),
      event_id: newEventId(),
      ...(contractId === undefined ? {} : { contract_id: contractId }),
      user_id: this.vault.userId,
      data,
    });
    this.#events.push({
      text,
      callback:
        callback === undefined
          ? null
          : this.vault.wrapper.wrapBytes(new TextEncoder().encode(callback), "events/callback"),
    });
    return this;
  }

  /** Keeps something the user or the backend said, wrapped, for the backend to read. */
  keep(kept: {
    contractId: string;
    request?: number;
    eventId?: string;
    type: string;
    sender: "user" | "service";
    content: unknown;
    until?: number;
  }): this {
    const { store, wrapper } = this.vault;
    this.due(kept.until);
    return this.write(() => {
      const n = store.lastKept() + 1;
      store.insertKept({
        n,
        event_id: kept.eventId ?? null,
        contract_id: kept.contractId,
        request: kept.request ?? null,
        type: kept.type,
        sender: kept.sender,
        content: wrapper.wrap(kept.content, `kept/content/${n}`),
        created_at: this.now,
        until: kept.until ?? null,
      });
    });
  }

  /** Makes sure the alarm fires no later than `at`. */
  due(at: number | null | undefined): this {
    if (at !== null && at !== undefined) this.#due = Math.min(this.#due, at);
    return this;
  }

  /** Writes a contract's columns; when they are ones the Directory lists, it is told. */
  updateContract(row: ContractRow, columns: Columns<ContractRow>, { listed = false } = {}): this {
    if (listed) this.#indexed = true;
    const version = listed ? { index_version: row.index_version + 1 } : {};
    return this.write(() => this.vault.store.updateContract(row.contract_id, { ...columns, ...version }));
  }

  /** Says that a contract's row is new, or changed by a `write`, and the Directory must learn of it. */
  list(): this {
    this.#indexed = true;
    return this;
  }

  /** Seals a message and puts it in the outbox. Throws MessageTooLarge before anything is gathered. */
  async say(to: Addressee, message: Message): Promise<{ n: number; eventId: string }> {
    const { store, userId, config } = this.vault;
    const n = (this.#lastRow ?? store.lastOutgoing()) + 1;
    const contractId = to.contract_id;
    const seq = message.setup === true ? 0 : (this.#lastSeq.get(contractId) ?? store.lastSeq(contractId)) + 1;
    const eventId = newRoutedId(userId, n);
    const ref = message.ownRef === true ? eventId : message.ref;
    const payload =
      typeof message.payload === "function"
        ? (message.payload as (eventId: string) => unknown)(eventId)
        : message.payload;
    const sealed = await seal(
      config.signingKey,
      fromBase64(to.user_connection_key)!,
      {
        event_id: eventId,
        event_type: message.eventType,
        ...(ref === undefined ? {} : { ref }),
        to: userId,
        ...(message.setup === true ? {} : { contract_id: contractId }),
        seq,
        timestamp: toTimestamp(this.now),
        expires_at: toTimestamp(message.expiresAt),
      },
      payload,
    );
    this.#lastRow = n;
    if (seq > 0) this.#lastSeq.set(contractId, seq);
    const nextSendAt = Math.min(this.now + resendPauseMs(1), message.expiresAt);
    this.due(nextSendAt);
    this.send.push(n);
    const columns = message.columns?.(n, eventId) ?? {};
    this.write(() =>
      store.insertOutgoing(
        { n, contract_id: contractId, seq },
        {
          event_id: eventId,
          event_type: message.eventType,
          ref: ref ?? null,
          created_at: this.now,
          sealed,
          sealed_until: message.expiresAt,
          next_send_at: nextSendAt,
          ...columns,
        },
      ),
    );
    return { n, eventId };
  }

  /** Signs the entries onto the chain and writes everything. Nothing happened if it throws. Returns the hashes. */
  async commit(): Promise<string[]> {
    const { vault } = this;
    const { store } = vault;
    let { n, head } = store.chainEnd();
    const entries: { n: number; text: string; hash: string; salt: Uint8Array }[] = [];
    for (const draft of this.#audits) {
      n += 1;
      const entry = await signEntry(
        vault.config.signingKey,
        {
          event_id: newRoutedId(vault.userId, n),
          timestamp: toTimestamp(this.now),
          service_id: vault.config.serviceId,
          user_id: vault.userId,
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
      entries.push({ n, text: JSON.stringify(entry), hash: head, salt: randomBytes(LEAF_SALT_BYTES) });
    }
    // Events go along in the row of the step's last entry; a callback URL does not stay as long as an entry does.
    const rides = entries.length > 0 && this.#events.every(({ callback }) => callback === null);
    const events = this.#events.map(({ text }) => text);
    atPoint("user.commit", () => {
      store.transaction(() => {
        // A look at what is due makes nothing of a user who was erased meanwhile.
        if (!this.isEmpty) store.create(vault.userId);
        for (const write of this.#writes) write(entries[0]?.hash ?? "");
        for (const entry of entries) store.insertAudit(entry, entry.n === n && rides ? events : []);
        if (!rides) for (const event of this.#events) store.insertEvent(event.text, event.callback, n);
      });
      if (!this.isEmpty) store.created();
      // Behind what carries the new head into the audit log once this step is over.
      if (entries.length > 0) this.due(this.now + RECOVERY_MS);
      // No await since the transaction: rows and alarm become durable together, before any reply leaves.
      if (this.#due !== Number.POSITIVE_INFINITY) vault.wakeBy(this.#due);
    });
    this.onCommitted();
    return entries.map(({ hash }) => hash);
  }
}
