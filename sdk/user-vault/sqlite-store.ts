// The store in one SQLite file, through node:sqlite. WAL with synchronous=FULL: a commit that has returned survives
// a power cut. The file is held exclusively: two processes acting as the same person would give the same number to
// two messages.

import { chmodSync, existsSync } from "node:fs";
import { DatabaseSync, type SQLInputValue, type SQLOutputValue, type StatementSync } from "node:sqlite";
import type { Json } from "../../src/protocol/json.ts";
import { VaultError } from "./errors.ts";
import type {
  AskRow,
  ConnectionKeyRow,
  ContractRow,
  IdentityRow,
  OutboxRow,
  ReceiptRow,
  ReceivedRow,
  VaultStore,
  VaultTransaction,
} from "./store.ts";

/** Grows with the schema; a file of a newer version is refused rather than misread. */
const SCHEMA_VERSION = 2;
/** How long opening waits for another process to let go of the file. */
const BUSY_TIMEOUT_MS = 500;
const SQLITE_BUSY = 5;
const SQLITE_LOCKED = 6;
/** The file holds private keys: its owner alone may read it. */
const PRIVATE_FILE_MODE = 0o600;

const SCHEMA = `
CREATE TABLE identities (
  service_id TEXT PRIMARY KEY, user_id TEXT NOT NULL UNIQUE, signing_seed BLOB NOT NULL,
  message_space TEXT NOT NULL UNIQUE, created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE contracts (
  contract_id TEXT PRIMARY KEY, service_id TEXT NOT NULL, submit_event_id TEXT NOT NULL UNIQUE,
  created_at INTEGER NOT NULL, terms TEXT NOT NULL,
  status TEXT NOT NULL, sent_seq INTEGER NOT NULL, state TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE connection_keys (
  contract_id TEXT NOT NULL, key_id TEXT NOT NULL, secret BLOB NOT NULL, created_at INTEGER NOT NULL,
  retired_seq INTEGER, retired_at INTEGER, PRIMARY KEY (contract_id, key_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE received (
  service_id TEXT NOT NULL, event_id TEXT NOT NULL, contract_id TEXT NOT NULL, seq INTEGER NOT NULL,
  event_type TEXT NOT NULL, received_at INTEGER NOT NULL, outcome TEXT NOT NULL, reason TEXT,
  receipt_due INTEGER NOT NULL, PRIMARY KEY (service_id, event_id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX received_seq ON received (contract_id, seq) WHERE seq > 0;
CREATE INDEX received_due ON received (contract_id, received_at) WHERE receipt_due = 1;
CREATE TABLE outbox (
  event_id TEXT PRIMARY KEY, service_id TEXT NOT NULL, contract_id TEXT NOT NULL, event_type TEXT NOT NULL,
  ref TEXT, seq INTEGER NOT NULL, subject TEXT NOT NULL, bytes BLOB NOT NULL, created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL, sendings INTEGER NOT NULL, last_sent_at INTEGER, next_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX outbox_seq ON outbox (contract_id, seq) WHERE seq > 0;
CREATE TABLE asks (
  request_id TEXT PRIMARY KEY, contract_id TEXT NOT NULL, service_id TEXT NOT NULL, state TEXT NOT NULL,
  kind TEXT NOT NULL, operation TEXT, payload TEXT, received_at INTEGER NOT NULL, expires_at INTEGER NOT NULL,
  answerable_until INTEGER NOT NULL, answer TEXT, outcome TEXT, undelivered INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX asks_open ON asks (answerable_until) WHERE state = 'open';
CREATE TABLE receipts (
  event_id TEXT PRIMARY KEY, contract_id TEXT NOT NULL, service_id TEXT NOT NULL, event_type TEXT NOT NULL,
  ref TEXT, seq INTEGER NOT NULL, sent_at INTEGER NOT NULL, received_at TEXT NOT NULL, outcome TEXT NOT NULL,
  reason TEXT, request_status TEXT, event_hash TEXT
) STRICT, WITHOUT ROWID;
`;

/** Version 2: what the person holds. Values are JSON; service_id is "" for what belongs to no service. */
const HOLDINGS_SCHEMA = `
CREATE TABLE holdings (
  service_id TEXT NOT NULL, collection TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY (service_id, collection, key)
) STRICT, WITHOUT ROWID;
`;

type Row = Record<string, SQLOutputValue>;
type Param = SQLInputValue | undefined;

const text = (value: SQLOutputValue | undefined): string => value as string;
const whole = (value: SQLOutputValue | undefined): number => value as number;
const bytes = (value: SQLOutputValue | undefined): Uint8Array => value as Uint8Array;
/** A member that SQLite holds as NULL is left out of the row. */
const optional = <Name extends string, T>(
  name: Name,
  value: SQLOutputValue | undefined,
  read: (value: SQLOutputValue) => T,
): { [K in Name]?: T } =>
  (value === null || value === undefined ? {} : { [name]: read(value) }) as { [K in Name]?: T };

/** Opens the store at `path`, making it if there is none; `:memory:` keeps it in memory, for tests. */
export function openSqliteStore(path: string): VaultStore {
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS });
    if (path !== ":memory:") {
      chmodSync(path, PRIVATE_FILE_MODE);
      // Taken by the kernel with the first write and gone with the process, however it ends.
      db.exec("PRAGMA locking_mode = EXCLUSIVE");
      db.exec("PRAGMA journal_mode = WAL");
    }
    db.exec("PRAGMA synchronous = FULL");
    // Deleted keys are overwritten, not just unlinked.
    db.exec("PRAGMA secure_delete = ON");
    migrate(db, path);
    if (path !== ":memory:")
      for (const file of [`${path}-wal`, `${path}-shm`])
        if (existsSync(file)) chmodSync(file, PRIVATE_FILE_MODE);
    return new SqliteStore(db);
  } catch (error) {
    db?.close();
    if (error instanceof VaultError) throw error;
    const code = (error as { errcode?: number }).errcode;
    if (code === SQLITE_BUSY || code === SQLITE_LOCKED)
      throw new VaultError("store_busy", `${path} is in use: another process has this vault open.`, {
        cause: error,
      });
    throw new VaultError("store_unusable", `${path} cannot be used: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

function migrate(db: DatabaseSync, path: string): void {
  // IMMEDIATE, so that the lock is had here, where the caller learns about it, and not in the middle of its work.
  db.exec("BEGIN IMMEDIATE");
  const version = whole(db.prepare("PRAGMA user_version").get()?.user_version);
  if (version > SCHEMA_VERSION) {
    db.exec("ROLLBACK");
    throw new VaultError(
      "store_unusable",
      `${path} was written by a newer version (${version}) of this library.`,
    );
  }
  if (version < 1) db.exec(SCHEMA);
  if (version < 2) db.exec(HOLDINGS_SCHEMA);
  db.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
  db.exec("COMMIT");
}

class SqliteStore implements VaultStore {
  readonly #db: DatabaseSync;
  readonly #tx: SqliteTransaction;
  #inside = false;

  constructor(db: DatabaseSync) {
    this.#db = db;
    this.#tx = new SqliteTransaction(db);
  }

  transaction<T>(work: (tx: VaultTransaction) => T): T {
    if (!this.#db.isOpen) throw new VaultError("vault_closed", "The vault's store is closed.");
    if (this.#inside) throw new Error("a transaction cannot be begun inside another");
    this.#db.exec("BEGIN IMMEDIATE");
    this.#inside = true;
    try {
      const result = work(this.#tx);
      // A promise would go on writing after the commit, in a transaction of nobody's.
      if (result instanceof Promise) throw new Error("a transaction must not be asynchronous");
      this.#db.exec("COMMIT");
      return result;
    } catch (error) {
      // SQLite may have rolled back by itself (disk full, I/O error).
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      throw error;
    } finally {
      this.#inside = false;
    }
  }

  scrub(): void {
    // The write-ahead log still holds pages from before the deletion until it is emptied.
    this.#db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close();
  }
}

/** What of a contract's row lives in the `state` column. */
type ContractState = Omit<
  ContractRow,
  "contractId" | "serviceId" | "createdAt" | "terms" | "status" | "sentSeq"
>;

class SqliteTransaction implements VaultTransaction {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  constructor(db: DatabaseSync) {
    this.#db = db;
  }

  #prepared(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #all(sql: string, ...params: Param[]): Row[] {
    return this.#prepared(sql).all(...params.map((param) => param ?? null)) as Row[];
  }

  #one<T>(read: (row: Row) => T, sql: string, ...params: Param[]): T | undefined {
    const row = this.#prepared(sql).get(...params.map((param) => param ?? null)) as Row | undefined;
    return row === undefined ? undefined : read(row);
  }

  #run(sql: string, ...params: Param[]): void {
    this.#prepared(sql).run(...params.map((param) => param ?? null));
  }

  identity(serviceId: string): IdentityRow | undefined {
    return this.#one(toIdentity, "SELECT * FROM identities WHERE service_id = ?", serviceId);
  }

  identities(): IdentityRow[] {
    return this.#all("SELECT * FROM identities ORDER BY created_at").map(toIdentity);
  }

  insertIdentity(row: IdentityRow): void {
    this.#run(
      "INSERT INTO identities VALUES (?, ?, ?, ?, ?)",
      row.serviceId,
      row.userId,
      row.signingSeed,
      row.messageSpace,
      row.createdAt,
    );
  }

  contract(contractId: string): ContractRow | undefined {
    return this.#one(toContract, "SELECT * FROM contracts WHERE contract_id = ?", contractId);
  }

  contractBySubmit(submitEventId: string): ContractRow | undefined {
    return this.#one(toContract, "SELECT * FROM contracts WHERE submit_event_id = ?", submitEventId);
  }

  contracts(): ContractRow[] {
    return this.#all("SELECT * FROM contracts ORDER BY created_at DESC, contract_id").map(toContract);
  }

  saveContract(row: ContractRow): void {
    const { contractId, serviceId, createdAt, terms, status, sentSeq, ...state } = row;
    this.#run(
      `INSERT INTO contracts VALUES (?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (contract_id) DO UPDATE SET status = excluded.status, sent_seq = excluded.sent_seq,
         state = excluded.state`,
      contractId,
      serviceId,
      terms.submitEventId,
      createdAt,
      JSON.stringify(terms),
      status,
      sentSeq,
      JSON.stringify(state satisfies ContractState),
    );
  }

  connectionKeys(contractId: string): ConnectionKeyRow[] {
    return this.#all(
      "SELECT * FROM connection_keys WHERE contract_id = ? ORDER BY created_at DESC",
      contractId,
    ).map(toConnectionKey);
  }

  saveConnectionKey(row: ConnectionKeyRow): void {
    this.#run(
      "INSERT OR REPLACE INTO connection_keys VALUES (?, ?, ?, ?, ?, ?)",
      row.contractId,
      row.keyId,
      row.secret,
      row.createdAt,
      row.retiredSeq,
      row.retiredAt,
    );
  }

  deleteConnectionKeys(contractId: string, keyId?: string): void {
    this.#run(
      "DELETE FROM connection_keys WHERE contract_id = ?1 AND (?2 IS NULL OR key_id = ?2)",
      contractId,
      keyId,
    );
  }

  received(serviceId: string, eventId: string): ReceivedRow | undefined {
    return this.#one(
      toReceived,
      "SELECT * FROM received WHERE service_id = ? AND event_id = ?",
      serviceId,
      eventId,
    );
  }

  saveReceived(row: ReceivedRow): void {
    this.#run(
      `INSERT INTO received VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (service_id, event_id) DO UPDATE SET receipt_due = excluded.receipt_due`,
      row.serviceId,
      row.eventId,
      row.contractId,
      row.seq,
      row.eventType,
      row.receivedAt,
      row.outcome,
      row.reason,
      row.receiptDue ? 1 : 0,
    );
  }

  receivedSeq(contractId: string, seq: number): boolean {
    return (
      this.#one(
        () => true,
        "SELECT 1 FROM received WHERE contract_id = ? AND seq = ? AND seq > 0",
        contractId,
        seq,
      ) ?? false
    );
  }

  missingSeq(contractId: string, above: number, limit: number): number[] {
    const missing: number[] = [];
    let expected = above + 1;
    const arrived = this.#prepared(
      "SELECT seq FROM received WHERE contract_id = ? AND seq > ? AND seq > 0 ORDER BY seq",
    ).iterate(contractId, above);
    for (const row of arrived) {
      const seq = whole((row as Row).seq);
      while (expected < seq && missing.length < limit) missing.push(expected++);
      if (missing.length >= limit) break;
      expected = seq + 1;
    }
    return missing;
  }

  receiptsDue(contractId: string, limit: number): ReceivedRow[] {
    return this.#all(
      "SELECT * FROM received WHERE contract_id = ? AND receipt_due = 1 ORDER BY received_at LIMIT ?",
      contractId,
      limit,
    ).map(toReceived);
  }

  forgetReceived(before: number): { contractId: string; seq: number }[] {
    const highest = this.#all(
      "SELECT contract_id, MAX(seq) AS seq FROM received WHERE received_at < ? GROUP BY contract_id",
      before,
    ).map((row) => ({ contractId: text(row.contract_id), seq: whole(row.seq) }));
    this.#run("DELETE FROM received WHERE received_at < ?", before);
    return highest;
  }

  outboxMessage(eventId: string): OutboxRow | undefined {
    return this.#one(toOutbox, "SELECT * FROM outbox WHERE event_id = ?", eventId);
  }

  outboxMessageBySeq(contractId: string, seq: number): OutboxRow | undefined {
    return this.#one(
      toOutbox,
      "SELECT * FROM outbox WHERE contract_id = ? AND seq = ? AND seq > 0",
      contractId,
      seq,
    );
  }

  outbox(contractId: string): OutboxRow[] {
    return this.#all("SELECT * FROM outbox WHERE contract_id = ? ORDER BY seq, created_at", contractId).map(
      toOutbox,
    );
  }

  outboxDue(contractId: string, now: number, limit: number): OutboxRow[] {
    return this.#all(
      `SELECT * FROM outbox WHERE contract_id = ? AND next_at <= ? AND expires_at > ?
       ORDER BY seq, created_at LIMIT ?`,
      contractId,
      now,
      now,
      limit,
    ).map(toOutbox);
  }

  outboxExpired(now: number): OutboxRow[] {
    return this.#all("SELECT * FROM outbox WHERE expires_at <= ?", now).map(toOutbox);
  }

  saveOutbox(row: OutboxRow): void {
    this.#run(
      `INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (event_id) DO UPDATE SET sendings = excluded.sendings, last_sent_at = excluded.last_sent_at,
         next_at = excluded.next_at`,
      row.eventId,
      row.serviceId,
      row.contractId,
      row.eventType,
      row.ref,
      row.seq,
      row.subject,
      row.bytes,
      row.createdAt,
      row.expiresAt,
      row.sendings,
      row.lastSentAt,
      row.nextAt,
    );
  }

  deleteOutbox(eventId: string): void {
    this.#run("DELETE FROM outbox WHERE event_id = ?", eventId);
  }

  ask(requestId: string): AskRow | undefined {
    return this.#one(toAsk, "SELECT * FROM asks WHERE request_id = ?", requestId);
  }

  asks({ state, contractId }: { state?: AskRow["state"]; contractId?: string } = {}): AskRow[] {
    return this.#all(
      `SELECT * FROM asks WHERE (?1 IS NULL OR state = ?1) AND (?2 IS NULL OR contract_id = ?2)
       ORDER BY received_at DESC, request_id`,
      state,
      contractId,
    ).map(toAsk);
  }

  openAskCount(contractId: string): number {
    return (
      this.#one(
        (row) => whole(row.count),
        "SELECT COUNT(*) AS count FROM asks WHERE contract_id = ? AND state = 'open'",
        contractId,
      ) ?? 0
    );
  }

  asksPast(now: number): AskRow[] {
    return this.#all("SELECT * FROM asks WHERE state = 'open' AND answerable_until <= ?", now).map(toAsk);
  }

  saveAsk(row: AskRow): void {
    this.#run(
      "INSERT OR REPLACE INTO asks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      row.requestId,
      row.contractId,
      row.serviceId,
      row.state,
      row.kind,
      row.operation,
      row.payload === undefined ? undefined : JSON.stringify(row.payload),
      row.receivedAt,
      row.expiresAt,
      row.answerableUntil,
      row.answer === undefined ? undefined : JSON.stringify(row.answer),
      row.outcome,
      row.undelivered ? 1 : 0,
    );
  }

  receipt(eventId: string): ReceiptRow | undefined {
    return this.#one(toReceipt, "SELECT * FROM receipts WHERE event_id = ?", eventId);
  }

  receipts(contractId?: string): ReceiptRow[] {
    return this.#all(
      "SELECT * FROM receipts WHERE (?1 IS NULL OR contract_id = ?1) ORDER BY received_at, event_id",
      contractId,
    ).map(toReceipt);
  }

  saveReceipt(row: ReceiptRow): void {
    this.#run(
      "INSERT OR IGNORE INTO receipts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      row.eventId,
      row.contractId,
      row.serviceId,
      row.eventType,
      row.ref,
      row.seq,
      row.sentAt,
      row.receivedAt,
      row.outcome,
      row.reason,
      row.requestStatus,
      row.eventHash,
    );
  }

  holding(serviceId: string, collection: string, key: string): Json | undefined {
    return this.#one(
      (row) => JSON.parse(text(row.value)) as Json,
      "SELECT value FROM holdings WHERE service_id = ? AND collection = ? AND key = ?",
      serviceId,
      collection,
      key,
    );
  }

  holdings(serviceId: string, collection: string): { key: string; value: Json }[] {
    return this.#all(
      "SELECT key, value FROM holdings WHERE service_id = ? AND collection = ? ORDER BY key",
      serviceId,
      collection,
    ).map((row) => ({ key: text(row.key), value: JSON.parse(text(row.value)) as Json }));
  }

  holdingCollections(): { serviceId: string; collection: string; count: number }[] {
    return this.#all(
      "SELECT service_id, collection, COUNT(*) AS count FROM holdings GROUP BY service_id, collection",
    ).map((row) => ({
      serviceId: text(row.service_id),
      collection: text(row.collection),
      count: whole(row.count),
    }));
  }

  saveHolding(serviceId: string, collection: string, key: string, value: Json): void {
    this.#run(
      "INSERT OR REPLACE INTO holdings VALUES (?, ?, ?, ?)",
      serviceId,
      collection,
      key,
      JSON.stringify(value),
    );
  }

  deleteHolding(serviceId: string, collection: string, key: string): void {
    this.#run(
      "DELETE FROM holdings WHERE service_id = ? AND collection = ? AND key = ?",
      serviceId,
      collection,
      key,
    );
  }

  nextDue(): number | undefined {
    return this.#one(
      (row) => (row.due === null ? undefined : whole(row.due)),
      `SELECT MIN(due) AS due FROM (
         SELECT MIN(next_at) AS due FROM outbox
         UNION ALL SELECT MIN(expires_at) FROM outbox
         UNION ALL SELECT MIN(answerable_until) FROM asks WHERE state = 'open')`,
    );
  }
}

const toIdentity = (row: Row): IdentityRow => ({
  serviceId: text(row.service_id),
  userId: text(row.user_id),
  signingSeed: bytes(row.signing_seed),
  messageSpace: text(row.message_space),
  createdAt: whole(row.created_at),
});

const toContract = (row: Row): ContractRow => ({
  contractId: text(row.contract_id),
  serviceId: text(row.service_id),
  createdAt: whole(row.created_at),
  terms: JSON.parse(text(row.terms)) as ContractRow["terms"],
  status: text(row.status) as ContractRow["status"],
  sentSeq: whole(row.sent_seq),
  ...(JSON.parse(text(row.state)) as ContractState),
});

const toConnectionKey = (row: Row): ConnectionKeyRow => ({
  contractId: text(row.contract_id),
  keyId: text(row.key_id),
  secret: bytes(row.secret),
  createdAt: whole(row.created_at),
  ...optional("retiredSeq", row.retired_seq, whole),
  ...optional("retiredAt", row.retired_at, whole),
});

const toReceived = (row: Row): ReceivedRow => ({
  serviceId: text(row.service_id),
  eventId: text(row.event_id),
  contractId: text(row.contract_id),
  seq: whole(row.seq),
  eventType: text(row.event_type),
  receivedAt: whole(row.received_at),
  outcome: text(row.outcome) as ReceivedRow["outcome"],
  ...optional("reason", row.reason, text),
  receiptDue: row.receipt_due === 1,
});

const toOutbox = (row: Row): OutboxRow => ({
  eventId: text(row.event_id),
  serviceId: text(row.service_id),
  contractId: text(row.contract_id),
  eventType: text(row.event_type),
  ...optional("ref", row.ref, text),
  seq: whole(row.seq),
  subject: text(row.subject),
  bytes: bytes(row.bytes),
  createdAt: whole(row.created_at),
  expiresAt: whole(row.expires_at),
  sendings: whole(row.sendings),
  ...optional("lastSentAt", row.last_sent_at, whole),
  nextAt: whole(row.next_at),
});

const toAsk = (row: Row): AskRow => ({
  requestId: text(row.request_id),
  contractId: text(row.contract_id),
  serviceId: text(row.service_id),
  state: text(row.state) as AskRow["state"],
  kind: text(row.kind),
  ...optional("operation", row.operation, text),
  ...optional("payload", row.payload, (value) => JSON.parse(text(value)) as NonNullable<AskRow["payload"]>),
  receivedAt: whole(row.received_at),
  expiresAt: whole(row.expires_at),
  answerableUntil: whole(row.answerable_until),
  ...optional("answer", row.answer, (value) => JSON.parse(text(value)) as NonNullable<AskRow["answer"]>),
  ...optional("outcome", row.outcome, (value) => text(value) as NonNullable<AskRow["outcome"]>),
  ...(row.undelivered === 1 ? { undelivered: true } : {}),
});

const toReceipt = (row: Row): ReceiptRow => ({
  eventId: text(row.event_id),
  contractId: text(row.contract_id),
  serviceId: text(row.service_id),
  eventType: text(row.event_type),
  ...optional("ref", row.ref, text),
  seq: whole(row.seq),
  sentAt: whole(row.sent_at),
  receivedAt: text(row.received_at),
  outcome: text(row.outcome) as ReceiptRow["outcome"],
  ...optional("reason", row.reason, text),
  ...optional("requestStatus", row.request_status, text),
  ...optional("eventHash", row.event_hash, text),
});
