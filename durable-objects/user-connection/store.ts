// SQL of one user's object, typed. Reads before the first write find no tables and answer "nothing", so that a
// call about a user who does not exist costs no row.

import type { AmendmentStatus, AmendmentType } from "../../src/contracts/amendment.ts";
import type { RequestStatus } from "../../src/protocol/asking.ts";
import { type AuditEntry, CHAIN_START } from "../../src/protocol/audit.ts";
import type { ContractStatus } from "../../src/protocol/contract.ts";
import { routedRow } from "../../src/protocol/ids.ts";
import { migrate } from "../migrations.ts";
import type { ErasureRow } from "./erasing.ts";
import { SCHEMA } from "./schema.ts";
import { hasArrived, type Received, take } from "./sequence.ts";

export interface ContractRow {
  contract_id: string;
  status: ContractStatus;
  contract: string;
  user_signature: string;
  signed_at: string;
  submit_event_id: string;
  user_connection_key: string;
  service_connection_key: string | null;
  accepted_at: string | null;
  service_signature: string | null;
  created_at: number;
  activated_at: number | null;
  expires_at: number | null;
  ended_at: number | null;
  ended_by: "user" | "service" | null;
  ended_reason: string | null;
  last_activity_at: number | null;
  received_seq: number;
  missing_seq: string;
  revoked_capabilities: string;
  cooling: string;
  open_from: number;
  index_version: number;
  indexed_version: number;
  successor: string | null;
  invite: string | null;
  consent_changed_at: number | null;
  notified_end: number | null;
  rotating_key_id: string | null;
  rotation_row: number | null;
  rotated_at: number | null;
  rotated_seq: number;
  user_rotate_seq: number;
  credentials_issued_at: number | null;
  credentials_until: number | null;
}

export interface ConnectionKeyRow {
  key_id: string;
  contract_id: string;
  secret: ArrayBuffer;
  created_at: number;
  retired_seq: number | null;
  retired_at: number | null;
}

export interface AmendmentRow {
  n: number;
  amendment_id: string;
  contract_id: string;
  type: AmendmentType;
  status: AmendmentStatus;
  reason: string;
  offer: string;
  offering_id: string;
  contract_expires_at: string | null;
  created_at: number;
  expires_at: number;
  decided_at: number | null;
  successor: string | null;
  user_reason: ArrayBuffer | null;
  idempotency_key: string | null;
  idempotency_digest: string | null;
}

export interface OutgoingRow {
  n: number;
  event_id: string;
  event_type: string;
  ref: string | null;
  contract_id: string;
  seq: number;
  created_at: number;
  sealed: ArrayBuffer | null;
  sealed_until: number;
  sendings: number;
  next_send_at: number | null;
  delivered_at: number | null;
  kind: string | null;
  operation: string | null;
  capability: string | null;
  status: RequestStatus | null;
  expires_at: number | null;
  grace_until: number | null;
  sameness: string | null;
  content: ArrayBuffer | null;
  idempotency_key: string | null;
  idempotency_digest: string | null;
  changed_at: number | null;
  answer_id: string | null;
  answer_seq: number | null;
  answer_hash: string | null;
  answer: ArrayBuffer | null;
  result: ArrayBuffer | null;
  result_until: number | null;
  state: ArrayBuffer | null;
  due_at: number | null;
  parent: number | null;
  acted: ArrayBuffer | null;
}

/** What is needed of an ask to count it, or to know it again. */
export type RecentAsk = Pick<RequestRow, "n" | "capability" | "idempotency_key" | "created_at">;

/** Asks known by heart at most; whoever looks further back reads them. */
const MAX_KNOWN_ASKS = 1_000;

/** An outgoing row that has not been receipted. */
export type SealedRow = OutgoingRow & { sealed: ArrayBuffer };

/**
 * The lowest outgoing row that may still need attention. Rows never reopen, so each contract's mark is a lower
 * bound for all of them, and the highest is the tightest.
 */
export const openFrom = (contracts: readonly ContractRow[]): number =>
  Math.max(0, ...contracts.map((row) => row.open_from));

/** An outgoing row that is a request. */
export type RequestRow = OutgoingRow & {
  kind: string;
  operation: string;
  capability: string;
  status: RequestStatus;
  expires_at: number;
  grace_until: number;
  content: ArrayBuffer;
  changed_at: number;
};

/** What an ask looks at of those that wait beside it. */
export type PendingAsk = Pick<
  RequestRow,
  "n" | "event_id" | "kind" | "operation" | "sameness" | "expires_at" | "grace_until"
>;

export const isRequest = (row: OutgoingRow | undefined): row is RequestRow =>
  row !== undefined && row.kind !== null;

export interface InboundRow {
  event_id: string;
  contract_id: string;
  seq: number;
  received_at: number;
  receipt: string;
}

export interface KeptRow {
  n: number;
  event_id: string | null;
  contract_id: string;
  request: number | null;
  type: string;
  sender: "user" | "service";
  content: ArrayBuffer;
  created_at: number;
  until: number | null;
}

export interface TicketRow {
  hash: string;
  request: number;
  key_id: string;
  until: number;
}

/** Events the Journal is to have: of an entry, or, with an `n`, a row of `events`. */
export interface UntoldRow {
  /** The entry, or the last one before the row. */
  entry: number;
  n: number | null;
  /** A JSON array. */
  events: string;
  callback: ArrayBuffer | null;
}

const isCurrent = ({ status }: ContractRow): boolean => status === "active" || status === "paused";

/** A contract's row as it stands, and how many answers have left their number beside it. */
interface Standing {
  row: Readonly<ContractRow>;
  beside: number;
}

/** Answers since a contract's row was written; with this one it is written again. So many are looked for on waking. */
export const MAX_ANSWERS_BESIDE = 32;

/** The last entry under a logged head. */
const LOGGED = "SELECT coalesce(max(n), 0) FROM heads";

/** What stays of a user who was erased. */
const KEPT_TABLES = new Set(["schema_version", "meta", "erasure", "forgotten", "handed"]);

/** What a column may be given; bytes become exactly their own BLOB, whatever buffer they lie in. */
export type Value = SqlStorageValue | Uint8Array;
export type Columns<Row> = { [Column in keyof Row]?: Value };

const binding = (value: Value): SqlStorageValue =>
  value instanceof Uint8Array ? (value.slice().buffer as ArrayBuffer) : value;

export class Store {
  readonly #storage: DurableObjectStorage;
  #exists: boolean;
  /** Once it is stored it stays, until an erasure. */
  #userId: string | undefined;
  /** Contracts as they stand, and the chain's end: read in every step, several times. */
  readonly #contracts = new Map<string, Standing>();
  #end: { n: number; head: string } | undefined;
  /** The last row given out, and each contract's last number. */
  #lastRow: number | undefined;
  readonly #lastSeqs = new Map<string, number>();
  /** All asks since an instant, oldest first: each ask is counted against those before it. */
  #asks: { since: number; known: RecentAsk[] } | undefined;
  /** The Journal has the events of all entries up to this one: sent no more while this object lives. */
  #toldUpTo = 0;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
    this.#exists =
      storage.sql.exec("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'meta'").toArray()
        .length > 0;
    // An object that exists is brought up to date before anything reads it.
    if (this.#exists) migrate(storage, SCHEMA);
  }

  /** Whether anything was ever written about this user. */
  get exists(): boolean {
    return this.#exists;
  }

  /** Whether anything is stored that is about this user: not before the first contract, nor after an erasure. */
  get isKnown(): boolean {
    return this.userId() !== undefined;
  }

  /** Makes the tables. Called inside the first transaction that writes; if that fails, they are gone with it. */
  create(userId: string): void {
    if (!this.#exists) migrate(this.#storage, SCHEMA);
    // Someone who was erased may come back.
    else if (this.userId() !== undefined) return;
    this.#storage.sql.exec("INSERT INTO meta (name, value) VALUES ('user_id', ?)", userId);
  }

  /** To be called once the transaction of `create` has committed. */
  created(): void {
    this.#exists = true;
  }

  /** Writes all or nothing. Whatever writes contracts or entries does so in here, or only adds to what is known. */
  transaction<T>(write: () => T): T {
    try {
      return this.#storage.transactionSync(write);
    } catch (error) {
      // What was read inside is not what is stored.
      this.forgetRead();
      throw error;
    }
  }

  /** What is known of the rows is read again. */
  forgetRead(): void {
    this.#contracts.clear();
    this.#end = undefined;
    this.#lastRow = undefined;
    this.#lastSeqs.clear();
    this.#asks = undefined;
  }

  #rows<Row>(query: string, ...bindings: Value[]): Row[] {
    if (!this.#exists) return [];
    return this.#storage.sql.exec(query, ...bindings.map(binding)).toArray() as unknown as Row[];
  }

  #insert<Row>(table: string, columns: Columns<Row>): void {
    const names = Object.keys(columns);
    this.#storage.sql.exec(
      `INSERT INTO ${table} (${names.join(", ")}) VALUES (${names.map(() => "?").join(", ")})`,
      ...(Object.values(columns) as Value[]).map(binding),
    );
  }

  #update<Row>(table: string, key: string, id: Value, columns: Columns<Row>): void {
    const assignments = Object.keys(columns).map((name) => `${name} = ?`);
    this.#storage.sql.exec(
      `UPDATE ${table} SET ${assignments.join(", ")} WHERE ${key} = ?`,
      ...(Object.values(columns) as Value[]).map(binding),
      binding(id),
    );
  }

  userId(): string | undefined {
    this.#userId ??= this.#rows<{ value: string }>("SELECT value FROM meta WHERE name = 'user_id'")[0]?.value;
    return this.#userId;
  }

  // Erasure

  erasure(): ErasureRow | undefined {
    return this.#rows<ErasureRow>("SELECT erasure_id, key_id, requested_at, erased_at FROM erasure")[0];
  }

  /** Whether the user is being erased: nothing new begins. */
  isErasing(): boolean {
    return this.erasure()?.erased_at === null;
  }

  putErasure(row: ErasureRow): void {
    this.#storage.sql.exec("DELETE FROM erasure");
    this.#insert("erasure", { id: 1, ...row });
  }

  /** Whether a contract's id was refused for good before the user was erased. */
  isForgotten(contractId: string): boolean {
    return this.#rows("SELECT 1 FROM forgotten WHERE contract_id = ?", contractId).length > 0;
  }

  /**
   * Deletes everything about the user but the ids of their contracts, the chain's end and how far sinks got. Called
   * in a transaction.
   */
  forget(now: number): void {
    const { sql } = this.#storage;
    const end = this.chainEnd();
    sql.exec("INSERT OR IGNORE INTO forgotten (contract_id) SELECT contract_id FROM contracts");
    const tables = this.#rows<{ name: string }>("SELECT name FROM sqlite_master WHERE type = 'table'")
      .map(({ name }) => name)
      .filter((name) => !/^(sqlite|_cf)_/.test(name) && !KEPT_TABLES.has(name));
    // Whatever tables there will be: what is not said to be kept goes.
    for (const name of tables) sql.exec(`DELETE FROM "${name}"`);
    sql.exec("DELETE FROM meta WHERE name = 'user_id'");
    this.#userId = undefined;
    this.forgetRead();
    // As after pruning, but without the leaf's salt and place: nothing in the log can be found from it.
    if (end.n > 0)
      sql.exec(
        "INSERT INTO heads (n, head, salt, leaf_index, at) VALUES (?, ?, x'', -1, ?)",
        end.n,
        end.head,
        now,
      );
    sql.exec("UPDATE erasure SET erased_at = ?, key_id = ''", now);
  }

  // Contracts

  contract(contractId: string): ContractRow | undefined {
    return this.#standing(contractId)?.row;
  }

  contracts(): ContractRow[] {
    return this.#rows<ContractRow>("SELECT * FROM contracts ORDER BY created_at").map(
      (stored) => this.#withAnswers(stored).row,
    );
  }

  /** The contract that an ask would use: active or paused. There is at most one. */
  currentContract(): ContractRow | undefined {
    for (const { row } of this.#contracts.values()) if (isCurrent(row)) return row;
    const [stored] = this.#rows<ContractRow>("SELECT * FROM contracts WHERE status IN ('active', 'paused')");
    return stored && this.#known(stored).row;
  }

  /** The newest contract that came by an invite, given as its code's hash. */
  contractByInvite(invite: string): ContractRow | undefined {
    const [stored] = this.#rows<ContractRow>(
      "SELECT * FROM contracts WHERE invite = ? ORDER BY created_at DESC LIMIT 1",
      invite,
    );
    return stored && this.#withAnswers(stored).row;
  }

  #standing(contractId: string): Standing | undefined {
    const known = this.#contracts.get(contractId);
    if (known !== undefined) return known;
    const [stored] = this.#rows<ContractRow>("SELECT * FROM contracts WHERE contract_id = ?", contractId);
    return stored && this.#known(stored);
  }

  #known(stored: ContractRow): Standing {
    const standing = this.#withAnswers(stored);
    this.#contracts.set(stored.contract_id, standing);
    return standing;
  }

  /**
   * A row of `contracts` with what answers add that have left their number in their request's row since it was written.
   * They are in rows from its `open_from` on: those were open then, or came later. Only under a contract in force: the
   * write that ends it takes them along.
   */
  #withAnswers(stored: ContractRow): Standing {
    const answers = isCurrent(stored)
      ? this.#rows<{ answer_seq: number; changed_at: number }>(
          `SELECT answer_seq, changed_at FROM outgoing WHERE n >= ? AND answer_seq > ? AND contract_id = ?
           ORDER BY answer_seq`,
          stored.open_from,
          stored.received_seq,
          stored.contract_id,
        )
      : [];
    if (answers.length === 0) return { row: Object.freeze(stored), beside: 0 };
    const { highest, missing } = answers.reduce(
      (received, { answer_seq }) =>
        hasArrived(received, answer_seq) ? received : take(received, answer_seq),
      this.received(stored),
    );
    const row: ContractRow = {
      ...stored,
      received_seq: highest,
      missing_seq: JSON.stringify(missing),
      last_activity_at: Math.max(
        stored.last_activity_at ?? 0,
        ...answers.map(({ changed_at }) => changed_at),
      ),
      open_from: this.firstOpen(stored.open_from),
    };
    return { row: Object.freeze(row), beside: answers.length };
  }

  /**
   * Whether the row of the request it answers is enough to remember an answer's number: the next one, under a contract
   * in force. What leaves a gap or fills one is in the contract's row, so that all that is beside it is a run of
   * numbers, whose order says nothing.
   */
  mayBeBeside(contractId: string, seq: number): boolean {
    const standing = this.#standing(contractId);
    return (
      standing !== undefined &&
      isCurrent(standing.row) &&
      seq === standing.row.received_seq + 1 &&
      standing.beside + 1 < MAX_ANSWERS_BESIDE
    );
  }

  insertContract(row: Columns<ContractRow>): void {
    this.#insert("contracts", row);
  }

  /** Called in a transaction. What answers have left beside the row goes along: it says all again. */
  updateContract(contractId: string, columns: Columns<ContractRow>): void {
    const standing = this.#standing(contractId);
    let all = columns;
    if (standing !== undefined && standing.beside > 0) {
      const { received_seq, missing_seq, last_activity_at, open_from } = standing.row;
      all = { received_seq, missing_seq, last_activity_at, open_from, ...columns };
    }
    this.#update("contracts", "contract_id", contractId, all);
    if (standing !== undefined) this.#stands(standing, all, 0);
  }

  /** An answer's number stays in its request's row, which says so in the same transaction (`mayBeBeside`). */
  noteBeside(contractId: string, seq: number, at: number): void {
    const standing = this.#standing(contractId)!;
    this.#stands(standing, { received_seq: seq, last_activity_at: at }, standing.beside + 1);
  }

  #stands({ row }: Standing, columns: Columns<ContractRow>, beside: number): void {
    const now = Object.freeze({ ...row, ...(columns as Partial<ContractRow>) });
    this.#contracts.set(row.contract_id, { row: now, beside });
  }

  /** Says that the Directory has something new to learn of a contract. Called in a transaction. */
  raiseIndexVersion(contractId: string): void {
    this.#contracts.delete(contractId);
    this.#storage.sql.exec(
      "UPDATE contracts SET index_version = index_version + 1 WHERE contract_id = ?",
      contractId,
    );
  }

  received(row: ContractRow): Received {
    return { highest: row.received_seq, missing: JSON.parse(row.missing_seq) as [number, number][] };
  }

  // Keys and profile

  connectionKey(keyId: string): { contract_id: string; secret: ArrayBuffer } | undefined {
    return this.#rows<{ contract_id: string; secret: ArrayBuffer }>(
      "SELECT contract_id, secret FROM connection_keys WHERE key_id = ?",
      keyId,
    )[0];
  }

  connectionKeyIds(contractId: string): string[] {
    return this.#rows<{ key_id: string }>(
      "SELECT key_id FROM connection_keys WHERE contract_id = ? ORDER BY created_at DESC",
      contractId,
    ).map(({ key_id }) => key_id);
  }

  /** Newest first. */
  connectionKeys(contractId: string): ConnectionKeyRow[] {
    return this.#rows<ConnectionKeyRow>(
      "SELECT * FROM connection_keys WHERE contract_id = ? ORDER BY created_at DESC",
      contractId,
    );
  }

  updateConnectionKey(keyId: string, columns: Columns<ConnectionKeyRow>): void {
    this.#update("connection_keys", "key_id", keyId, columns);
  }

  destroyConnectionKey(keyId: string): void {
    this.#storage.sql.exec("DELETE FROM connection_keys WHERE key_id = ?", keyId);
  }

  insertConnectionKey(row: {
    key_id: string;
    contract_id: string;
    secret: Uint8Array;
    created_at: number;
  }): void {
    this.#insert("connection_keys", row);
  }

  destroyConnectionKeys(contractId: string): void {
    this.#storage.sql.exec("DELETE FROM connection_keys WHERE contract_id = ?", contractId);
  }

  profile(contractId: string): { data: ArrayBuffer; updated_at: number; seq: number } | undefined {
    return this.#rows<{ data: ArrayBuffer; updated_at: number; seq: number }>(
      "SELECT data, updated_at, seq FROM profiles WHERE contract_id = ?",
      contractId,
    )[0];
  }

  putProfile(contractId: string, data: Uint8Array, updatedAt: number, seq = 0): void {
    this.#storage.sql.exec(
      "INSERT OR REPLACE INTO profiles (contract_id, data, updated_at, seq) VALUES (?, ?, ?, ?)",
      contractId,
      binding(data),
      updatedAt,
      seq,
    );
  }

  deleteProfile(contractId: string): void {
    this.#storage.sql.exec("DELETE FROM profiles WHERE contract_id = ?", contractId);
  }

  // Outgoing

  outgoing(n: number): OutgoingRow | undefined {
    return this.#rows<OutgoingRow>("SELECT * FROM outgoing WHERE n = ?", n)[0];
  }

  /** The row that was given out under an id. */
  outgoingOf(eventId: string): OutgoingRow | undefined {
    const n = routedRow(eventId);
    const row = n === undefined ? undefined : this.outgoing(n);
    return row?.event_id === eventId ? row : undefined;
  }

  lastOutgoing(): number {
    this.#lastRow ??= this.#rows<{ n: number | null }>("SELECT max(n) AS n FROM outgoing")[0]?.n ?? 0;
    return this.#lastRow;
  }

  lastSeq(contractId: string): number {
    const known = this.#lastSeqs.get(contractId);
    if (known !== undefined) return known;
    const [row] = this.#rows<{ seq: number }>(
      "SELECT seq FROM outgoing WHERE contract_id = ? AND seq > 0 ORDER BY n DESC LIMIT 1",
      contractId,
    );
    const last = row?.seq ?? 0;
    this.#lastSeqs.set(contractId, last);
    return last;
  }

  insertOutgoing(
    place: Pick<OutgoingRow, "n" | "contract_id" | "seq">,
    columns: Omit<Columns<OutgoingRow>, keyof typeof place>,
  ): void {
    this.#insert("outgoing", { ...columns, ...place });
    this.#noteAsk({ ...columns, ...place });
    this.#lastRow = place.n;
    if (place.seq > 0) this.#lastSeqs.set(place.contract_id, place.seq);
  }

  updateOutgoing(n: number, columns: Columns<OutgoingRow>): void {
    this.#update("outgoing", "n", n, columns);
  }

  /** Rows with a time of their own: a machine's next look, a shared value to destroy. */
  timedRows(): RequestRow[] {
    return this.#rows<RequestRow>(
      "SELECT * FROM outgoing WHERE due_at IS NOT NULL OR result_until IS NOT NULL ORDER BY n",
    );
  }

  /** Requests that wait for an answer, without what was sent: it is by far the largest part of a row. */
  pendingAsks(from: number): PendingAsk[] {
    return this.#rows<PendingAsk>(
      `SELECT n, event_id, kind, operation, sameness, expires_at, grace_until FROM outgoing
       WHERE n >= ? AND status = 'pending' AND kind IS NOT NULL ORDER BY n`,
      from,
    );
  }

  /** Rows that still need something: a delivery or an answer. `from` is the lowest that may. */
  openRows(from: number): OutgoingRow[] {
    return this.#rows<OutgoingRow>(
      "SELECT * FROM outgoing WHERE n >= ? AND (sealed IS NOT NULL OR status = 'pending') ORDER BY n",
      from,
    );
  }

  /** The lowest open row from `from` on, or the number of the next row when none is. */
  firstOpen(from: number): number {
    // Of the very first transaction nothing can be read: what it has put into the outbox must not be passed over.
    if (!this.#exists) return from;
    const first = this.#rows<{ n: number }>(
      "SELECT n FROM outgoing WHERE n >= ? AND (sealed IS NOT NULL OR status = 'pending') ORDER BY n LIMIT 1",
      from,
    )[0];
    return first?.n ?? this.lastOutgoing() + 1;
  }

  destroyResults(contractId: string): void {
    this.#storage.sql.exec(
      "UPDATE outgoing SET result = NULL, result_until = NULL WHERE contract_id = ? AND result IS NOT NULL",
      contractId,
    );
  }

  requests(query: {
    before: number;
    limit: number;
    status?: string;
    kind?: string;
    operations?: string[];
  }): RequestRow[] {
    return this.#rows<RequestRow>(
      `SELECT * FROM outgoing WHERE n < ?1 AND kind IS NOT NULL
         AND (?2 IS NULL OR status = ?2) AND (?3 IS NULL OR kind = ?3)
         AND (?4 IS NULL OR operation IN (SELECT value FROM json_each(?4))) ORDER BY n DESC LIMIT ?5`,
      query.before,
      query.status ?? null,
      query.kind ?? null,
      query.operations === undefined ? null : JSON.stringify(query.operations),
      query.limit,
    );
  }

  /** Asks since an instant, newest first: all that come before an older one. */
  asksSince(since: number): RecentAsk[] {
    if (this.#asks !== undefined && since >= this.#asks.since) {
      const { known } = this.#asks;
      const before = known.findLastIndex(({ created_at }) => created_at < since);
      return known.slice(before + 1).reverse();
    }
    const found = this.#readAsks(since);
    if (found.length <= MAX_KNOWN_ASKS) this.#asks = { since, known: found.toReversed() };
    return found;
  }

  /** Newest first, read lazily: as far as they are wanted. */
  #readAsks(since: number): RecentAsk[] {
    const found: RecentAsk[] = [];
    if (!this.#exists) return found;
    const cursor = this.#storage.sql.exec(
      "SELECT n, capability, idempotency_key, created_at, kind FROM outgoing ORDER BY n DESC",
    );
    for (const row of cursor) {
      if ((row.created_at as number) < since) break;
      if (row.kind !== null) found.push(row as unknown as RecentAsk);
    }
    return found;
  }

  /** A row just written, where it is an ask. */
  #noteAsk(ask: Columns<RecentAsk & OutgoingRow>): void {
    if (this.#asks === undefined || ask.kind === undefined || ask.kind === null) return;
    const { known } = this.#asks;
    const { n, capability, created_at, idempotency_key = null } = ask;
    known.push({ n, capability, created_at, idempotency_key } as RecentAsk);
    if (known.length > MAX_KNOWN_ASKS) this.#asks.since = known.shift()!.created_at + 1;
  }

  // Amendments

  insertAmendment(row: Columns<AmendmentRow>): void {
    this.#insert("amendments", row);
  }

  updateAmendment(n: number, columns: Columns<AmendmentRow>): void {
    this.#update("amendments", "n", n, columns);
  }

  /** The proposal that waits for the user: at most one per contract. */
  pendingAmendment(contractId: string): AmendmentRow | undefined {
    return this.pendingAmendments().find((row) => row.contract_id === contractId);
  }

  pendingAmendments(): AmendmentRow[] {
    return this.#rows<AmendmentRow>("SELECT * FROM amendments WHERE status = 'pending' ORDER BY n");
  }

  /** Newest first, below the row `before`. */
  amendments(contractId: string, before: number, limit: number): AmendmentRow[] {
    return this.#rows<AmendmentRow>(
      "SELECT * FROM amendments WHERE contract_id = ? AND n < ? ORDER BY n DESC LIMIT ?",
      contractId,
      before,
      limit,
    );
  }

  amendmentByKey(idempotencyKey: string, since: number): AmendmentRow | undefined {
    return this.#rows<AmendmentRow>(
      "SELECT * FROM amendments WHERE idempotency_key = ? AND created_at >= ? ORDER BY n DESC LIMIT 1",
      idempotencyKey,
      since,
    )[0];
  }

  /** Forgets what the person said to proposals of a contract. */
  destroyAmendmentReasons(contractId: string): void {
    this.#storage.sql.exec(
      "UPDATE amendments SET user_reason = NULL WHERE contract_id = ? AND user_reason IS NOT NULL",
      contractId,
    );
  }

  // Events

  /** An event that goes along with no entry; `after`: the chain's last. */
  insertEvent(event: string, callback: Uint8Array | null, after: number): void {
    this.#insert("events", { event, callback, after_entry: after });
  }

  /** Events the Journal has not confirmed, in order. Those of entries are confirmed by the logged head that covers them. */
  untold(limit: number): UntoldRow[] {
    return this.#rows<UntoldRow>(
      `SELECT n AS entry, NULL AS n, events, NULL AS callback FROM audit
         WHERE n > max(?1, (${LOGGED})) AND events IS NOT NULL
       UNION ALL SELECT after_entry AS entry, n, '[' || event || ']' AS events, callback FROM events
       ORDER BY entry, n LIMIT ?2`,
      this.#toldUpTo,
      limit,
    );
  }

  /** Whether the Journal has the events of all entries up to this one. */
  isTold(entry: number): boolean {
    const first = this.#rows(
      `SELECT 1 FROM audit WHERE n > max(?, (${LOGGED})) AND n <= ? AND events IS NOT NULL LIMIT 1`,
      this.#toldUpTo,
      entry,
    );
    return first.length === 0;
  }

  /** The Journal has these, the next of what `untold` found. Those of entries are durably confirmed with the head. */
  told(rows: readonly UntoldRow[]): void {
    for (const { entry, n } of rows) if (n === null) this.#toldUpTo = Math.max(this.#toldUpTo, entry);
    const last = rows.findLast(({ n }) => n !== null);
    if (last !== undefined) this.#storage.sql.exec("DELETE FROM events WHERE n <= ?", last.n);
  }

  /** Confirms by themselves the events that the Journal has, of entries written by then that no logged head covers. */
  confirmTold(writtenBy: string): void {
    if (!this.#exists) return;
    this.#storage.sql.exec(
      `UPDATE audit SET events = NULL WHERE n > (${LOGGED}) AND n <= ? AND events IS NOT NULL
         AND json_extract(entry, '$.timestamp') <= ?`,
      this.#toldUpTo,
      writtenBy,
    );
  }

  // Kept for the backend to read

  lastKept(): number {
    return this.#rows<{ n: number | null }>("SELECT max(n) AS n FROM kept")[0]?.n ?? 0;
  }

  insertKept(row: Columns<KeptRow>): void {
    this.#insert("kept", row);
  }

  /** What was kept under a request after the `after`th, oldest first. */
  keptUnder(request: number, after: number, limit: number): KeptRow[] {
    return this.#rows<KeptRow>(
      "SELECT * FROM kept WHERE n > ? AND request = ? ORDER BY n LIMIT ?",
      after,
      request,
      limit,
    );
  }

  /** Under no request: the user's own events, oldest first. */
  keptEvents(after: number, limit: number): KeptRow[] {
    return this.#rows<KeptRow>(
      "SELECT * FROM kept WHERE n > ? AND request IS NULL ORDER BY n LIMIT ?",
      after,
      limit,
    );
  }

  keptEvent(eventId: string): KeptRow | undefined {
    return this.#rows<KeptRow>("SELECT * FROM kept WHERE event_id = ?", eventId)[0];
  }

  countKeptEvents(): number {
    return this.#rows<{ n: number }>("SELECT count(*) AS n FROM kept WHERE request IS NULL")[0]?.n ?? 0;
  }

  deleteKept(request: number, type: string): void {
    this.#storage.sql.exec("DELETE FROM kept WHERE request = ? AND type = ?", request, type);
  }

  deleteKeptOf(contractId: string): void {
    this.#storage.sql.exec("DELETE FROM kept WHERE contract_id = ?", contractId);
  }

  /** When what is kept under a request is destroyed. */
  keepUntil(request: number, until: number): void {
    this.#storage.sql.exec("UPDATE kept SET until = ? WHERE request = ?", until, request);
  }

  keepEventUntil(n: number, until: number): void {
    this.#storage.sql.exec("UPDATE kept SET until = ? WHERE n = ?", until, n);
  }

  nextKeptUntil(): number | undefined {
    return (
      this.#rows<{ until: number | null }>("SELECT min(until) AS until FROM kept")[0]?.until ?? undefined
    );
  }

  deleteKeptUntil(now: number): void {
    this.#storage.sql.exec("DELETE FROM kept WHERE until <= ?", now);
  }

  // Tickets

  ticket(hash: string): TicketRow | undefined {
    return this.#rows<TicketRow>("SELECT * FROM tickets WHERE hash = ?", hash)[0];
  }

  countTickets(request: number, now: number): number {
    return (
      this.#rows<{ n: number }>(
        "SELECT count(*) AS n FROM tickets WHERE request = ? AND until > ?",
        request,
        now,
      )[0]?.n ?? 0
    );
  }

  /** Those that ran out go with it. */
  insertTicket(row: TicketRow, now: number): void {
    this.#storage.sql.exec("DELETE FROM tickets WHERE until <= ?", now);
    this.#insert("tickets", row as unknown as Columns<TicketRow>);
  }

  deleteTicket(hash: string): void {
    this.#storage.sql.exec("DELETE FROM tickets WHERE hash = ?", hash);
  }

  // Inbound

  inbound(eventId: string): InboundRow | undefined {
    return this.#rows<InboundRow>("SELECT * FROM inbound WHERE event_id = ?", eventId)[0];
  }

  insertInbound(row: InboundRow): void {
    this.#insert("inbound", row as unknown as Columns<InboundRow>);
  }

  // Audit

  lastAudit(): { n: number; entry: string } | undefined {
    return this.#rows<{ n: number; entry: string }>("SELECT n, entry FROM audit ORDER BY n DESC LIMIT 1")[0];
  }

  /** The chain's last entry by number and hash, also where the entry itself was erased. */
  chainEnd(): { n: number; head: string } {
    this.#end ??= this.#storedEnd();
    return this.#end;
  }

  #storedEnd(): { n: number; head: string } {
    const last = this.lastAudit();
    if (last !== undefined) return { n: last.n, head: (JSON.parse(last.entry) as AuditEntry).event_hash };
    const [kept] = this.#rows<{ n: number; head: string }>(
      "SELECT n, head FROM heads ORDER BY n DESC LIMIT 1",
    );
    return kept ?? { n: 0, head: CHAIN_START };
  }

  /** `salt`: of the leaf that the entry becomes if it is a head (heads.ts). `events`: what its step tells. */
  insertAudit(
    row: { n: number; text: string; hash: string; salt: Uint8Array },
    events: readonly string[],
  ): void {
    const { n, text: entry, hash: head, salt } = row;
    const told = events.length === 0 ? {} : { events: `[${events.join(",")}]` };
    this.#insert("audit", { n, entry, salt, ...told });
    this.#end = { n, head };
  }

  auditAfter(n: number, limit: number, operation: string | undefined): { n: number; entry: string }[] {
    return this.#rows<{ n: number; entry: string }>(
      `SELECT n, entry FROM audit WHERE n > ?1 AND (?2 IS NULL OR json_extract(entry, '$.operation') = ?2)
       ORDER BY n LIMIT ?3`,
      n,
      operation ?? null,
      limit,
    );
  }
}
