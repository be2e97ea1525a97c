// What a user's vault has to keep, and the promise it needs of whatever keeps it: a transaction is there as a whole
// or not at all, and once `transaction` has returned it survives a kill and a power cut. Everything else in this
// library leans on that: the vault never says or sends anything that is not stored first.

import type { Approval, Decision, RequestStatus } from "../../src/protocol/asking.ts";
import type {
  Contract,
  ContractStatus,
  NatsCredentials,
  Profile,
  Revocation,
} from "../../src/protocol/contract.ts";
import type { Json } from "../../src/protocol/json.ts";
import type { Offer } from "../../src/protocol/offer.ts";

/** Who the person is toward one service, and toward no other. */
export interface IdentityRow {
  serviceId: string;
  userId: string;
  /** Ed25519, 32 bytes. SECRET: whoever has it speaks for the person. */
  signingSeed: Uint8Array;
  messageSpace: string;
  /** Milliseconds since the epoch, as every time in these rows. */
  createdAt: number;
}

/** One contract, from its signing to long after its end. */
export interface ContractRow {
  contractId: string;
  serviceId: string;
  status: ContractStatus;
  createdAt: number;
  /** What was agreed; never changes. */
  terms: {
    /** Where the service's HTTP side answers. */
    origin: string;
    inviteCode: string;
    /** Event id of the contract.submit; its answers name it. */
    submitEventId: string;
    contract: Contract;
    userSignature: string;
    signedAt: string;
    /** The offer as signed by the service, for names, keys and the log's key. */
    offer: Offer;
  };
  /** The service's half of the contract record. */
  acceptance?: { serviceConnectionKey: string; acceptedAt: string; serviceSignature: string };
  /** Emptied when the contract ends. */
  profile: Profile;
  /** Seed of the NATS nkey (SU…). SECRET; gone when nothing is left to be said. */
  natsSeed?: string;
  /** The newest JWT for that nkey. */
  credentials?: NatsCredentials;
  /** What messages to the service are sealed to now, X25519, base64. */
  serviceKey?: string;
  /** The last number given to a message of ours. */
  sentSeq: number;
  /** All numbers of the service's up to this have arrived or expired. */
  receivedFloor: number;
  /** Numbers of the newest pause or resumption, and key rotation, that were applied: older ones arriving late are void. */
  pauseSeq: number;
  rotateSeq: number;
  /** A key of ours the service was told about and has not confirmed. */
  rotatingKeyId?: string;
  /** A change the service proposes. */
  proposal?: {
    eventId: string;
    /** Its number: an older proposal that comes late does not replace it. */
    seq?: number;
    offeringId: string;
    summary: string;
    offer: Offer;
    expiresAt: number;
    /** The end the service asks for, RFC 3339. */
    contractExpiresAt?: string;
  };
  /** Taken back by the person. */
  revokedCapabilities?: string[];
  /** The contract that took this one's place. */
  successor?: string;
  /** When the service says that it ends for want of use. */
  endsInactiveAt?: string;
  endedAt?: number;
  endedBy?: "user" | "service";
  /** Why it ended or was rejected. */
  reason?: string;
  /** The signed notice of the end, whoever gave it. */
  revocation?: Revocation;
  /** Both sides know of the end: nothing is left to be said, and every key is gone. */
  endSettled?: boolean;
}

/** One of our X25519 keys for a contract. */
export interface ConnectionKeyRow {
  contractId: string;
  keyId: string;
  /** 32 bytes. SECRET. */
  secret: Uint8Array;
  createdAt: number;
  /** The number of the message that confirmed its successor; it goes once all earlier numbers have arrived. */
  retiredSeq?: number;
  retiredAt?: number;
}

/** A message that arrived; kept so that its repeats change nothing and get the same receipt. */
export interface ReceivedRow {
  serviceId: string;
  eventId: string;
  contractId: string;
  /** 0 in setup. */
  seq: number;
  eventType: string;
  receivedAt: number;
  outcome: "stored" | "refused";
  reason?: string;
  /** Its receipt has to be sent (again). */
  receiptDue: boolean;
}

/** A message of ours until the service has said that it has it. */
export interface OutboxRow {
  eventId: string;
  serviceId: string;
  contractId: string;
  eventType: string;
  ref?: string;
  /** 0 in setup. */
  seq: number;
  subject: string;
  /** As it travels; sealed once, sent as often as needed. */
  bytes: Uint8Array;
  createdAt: number;
  expiresAt: number;
  /** Times the broker has taken it. */
  sendings: number;
  lastSentAt?: number;
  /** When it is sent next. */
  nextAt: number;
}

/** `open`: to be decided. `withdrawn`: by the service, or with the contract. */
export type AskState = "open" | "answered" | "withdrawn" | "expired";

export interface AskRow {
  requestId: string;
  contractId: string;
  serviceId: string;
  state: AskState;
  kind: string;
  operation?: string;
  /** As received: the answer's digest covers it. Absent when the withdrawal came before the ask. */
  payload?: Json;
  receivedAt: number;
  expiresAt: number;
  /** Expiry and grace: later answers do not count. */
  answerableUntil: number;
  answer?: {
    eventId: string;
    decision: Decision;
    reason?: string;
    report?: boolean;
    approval: Approval;
    answeredAt: number;
  };
  /** How the service counted the answer, from its receipt. */
  outcome?: RequestStatus;
  /** The answer expired before the service said that it has it. */
  undelivered?: boolean;
}

/** The service's signed word that it has a message of ours. The audit log is held against these. */
export interface ReceiptRow {
  /** Of our message. */
  eventId: string;
  contractId: string;
  serviceId: string;
  eventType: string;
  ref?: string;
  seq: number;
  sentAt: number;
  /** By the service's clock. */
  receivedAt: string;
  outcome: "stored" | "refused";
  reason?: string;
  requestStatus?: string;
  /** The audit entry that records the message, base64. */
  eventHash?: string;
}

/** Reading and writing inside a transaction. Rows handed out are copies. */
export interface VaultTransaction {
  identity(serviceId: string): IdentityRow | undefined;
  identities(): IdentityRow[];
  insertIdentity(row: IdentityRow): void;

  contract(contractId: string): ContractRow | undefined;
  contractBySubmit(submitEventId: string): ContractRow | undefined;
  /** Newest first. */
  contracts(): ContractRow[];
  /** Inserts, or replaces everything but `terms`. */
  saveContract(row: ContractRow): void;

  connectionKeys(contractId: string): ConnectionKeyRow[];
  saveConnectionKey(row: ConnectionKeyRow): void;
  /** Without `keyId`: all of the contract's. */
  deleteConnectionKeys(contractId: string, keyId?: string): void;

  received(serviceId: string, eventId: string): ReceivedRow | undefined;
  saveReceived(row: ReceivedRow): void;
  receivedSeq(contractId: string, seq: number): boolean;
  /** Numbers from `above` + 1 up to the highest received that are missing, lowest first, at most `limit`. */
  missingSeq(contractId: string, above: number, limit: number): number[];
  receiptsDue(contractId: string, limit: number): ReceivedRow[];
  /** Deletes those received before an instant; gives the highest number among them by contract. */
  forgetReceived(before: number): { contractId: string; seq: number }[];

  outboxMessage(eventId: string): OutboxRow | undefined;
  outboxMessageBySeq(contractId: string, seq: number): OutboxRow | undefined;
  /** In the order they were sealed. */
  outbox(contractId: string): OutboxRow[];
  outboxDue(contractId: string, now: number, limit: number): OutboxRow[];
  outboxExpired(now: number): OutboxRow[];
  saveOutbox(row: OutboxRow): void;
  deleteOutbox(eventId: string): void;

  ask(requestId: string): AskRow | undefined;
  /** Newest first. */
  asks(filter?: { state?: AskState; contractId?: string }): AskRow[];
  openAskCount(contractId: string): number;
  asksPast(now: number): AskRow[];
  saveAsk(row: AskRow): void;

  receipt(eventId: string): ReceiptRow | undefined;
  /** Oldest first. */
  receipts(contractId?: string): ReceiptRow[];
  saveReceipt(row: ReceiptRow): void;

  /** What is held for an owner: a service by its id, or "" for the person alone. */
  holding(serviceId: string, collection: string, key: string): Json | undefined;
  /** Sorted by key, by its UTF-8 bytes. */
  holdings(serviceId: string, collection: string): { key: string; value: Json }[];
  /** The collections that hold anything, of every owner. */
  holdingCollections(): { serviceId: string; collection: string; count: number }[];
  saveHolding(serviceId: string, collection: string, key: string, value: Json): void;
  deleteHolding(serviceId: string, collection: string, key: string): void;

  /** When the next message is due or anything expires; undefined when nothing waits. */
  nextDue(): number | undefined;
}

export interface VaultStore {
  /**
   * Runs `work` in one transaction. When it returns, all of its writes are durable together; when it throws, none
   * was made. Synchronous on purpose: nothing else can come between two statements.
   */
  transaction<T>(work: (tx: VaultTransaction) => T): T;
  /** Called after secrets were deleted: makes sure that no copy stays behind where the store can prevent it. */
  scrub(): void;
  close(): void;
}
