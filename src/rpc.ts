// What crosses between the Worker and its objects, and between objects. Deploys are not atomic: a change here
// stays readable by the version before it.

import type { Snapshot } from "./metrics/meter.ts";
import type { RateState } from "./rate/quota.ts";

/** A message for one of the clusters, sealed already. */
export interface OutboundMessage {
  cluster: "servicespace" | "messagespace";
  subject: string;
  bytes: Uint8Array;
  /**
   * `Nats-Msg-Id` of a message that a stream must hold: the outcome is then the stream's acknowledgement.
   * Without it the message goes to whoever listens now.
   */
  msgId?: string;
  /**
   * Of a message its owner keeps, while no broker has acknowledged it: when the commit that made it was, in
   * milliseconds since the epoch. For the metrics.
   */
  madeAt?: number;
}

/** `stored`: the stream has it (or, without msgId, it was handed to the broker). `failed`: send it again later. */
export type PublishOutcome = "stored" | "failed";

/** A message as it came from a user, before anything about it is believed. */
export interface InboundMessage {
  subject: string;
  bytes: Uint8Array;
}

export interface InboundOutcome {
  /** `done`: committed or refused for good, acknowledge it. `retry`: nothing was committed, deliver it again. */
  handled: "done" | "retry";
  /** Set when it was refused before decryption; the bridge counts it and tells `internal.rejected`. */
  rejected?: { reason: string; event_id?: string };
  /** Receipts: published at once, never stored; a lost one is made anew when the message is repeated. */
  replies: OutboundMessage[];
}

/** An error an HTTP caller is shown, as the objects return it. */
export interface ApiFault {
  code:
    | "invalid_request"
    | "signature_invalid"
    | "forbidden"
    | "contract_required"
    | "capability_denied"
    | "not_found"
    | "conflict"
    | "payload_too_large"
    | "rate_limited"
    | "unavailable";
  /** What happened and what to change; never a key or a value of the user's. */
  detail: string;
  details?: { path: string; message: string }[];
  retryAfterSeconds?: number;
}

/** `rate`: how the caller stands with the quotas the call was counted against. */
export type RpcResult<T> = ({ ok: true; value: T } | { ok: false; error: ApiFault }) & { rate?: RateState[] };

/** State of one broker session as the bridge sees it now. */
export interface SessionState {
  status: "connecting" | "ready" | "closed";
  /** RFC 3339; when the state was entered. */
  since: string;
  last_error?: string;
  /** Days until the credentials expire; absent when they do not. */
  credentials_days_left?: number;
}

export interface BridgeState {
  shard: number;
  servicespace: SessionState;
  messagespace: SessionState;
  /** Messages waiting in the stream and delivered but not yet acknowledged; absent while the session is down. */
  pending?: number;
  unacknowledged?: number;
  redelivered?: number;
  rejected: number;
  /** Messages no broker has taken, and the age of the oldest; absent from a version that did not count them. */
  unsent?: number;
  oldest_unsent_seconds?: number;
}

/** What a shard has measured, and how it stands. */
export interface BridgeMetrics {
  state: BridgeState;
  /** When this life of the object began, in milliseconds since the epoch: since then it counts. */
  startedAt: number;
  counted: Snapshot;
  publishing: Record<OutboundMessage["cluster"], { messages: number; bytes: number }>;
  /** Messages held here that no user's object has taken yet. */
  waiting: number;
  unsent: { messages: number; oldestMs: number };
}

/** How far a shard of the journal has got. */
export interface JournalMetrics {
  /** Events recorded, ever. */
  events: number;
  endpoints: { webhookId: string; waiting: number; retrying: number }[];
  /** Where copies of audit entries go. */
  sinks: SinkState[];
}

/** What came of one batch of rewrapping. */
export interface RewrapBatch {
  /** Nothing under an older key is left that can be opened. */
  done: boolean;
  /** Values that do not open: changed or moved since they were stored. */
  damaged: number;
}

/** An object that wraps what it stores, as the Directory sweeps over it after VAULT_KEK was changed. */
export interface Rewrapped {
  /** Brings one batch under the newest key; `kek` is its id there, which may not be the Directory's yet. */
  rewrap(): Promise<RewrapBatch & { kek: string }>;
}

// ---- UserConnection -------------------------------------------------------------------------------------

/** Set by the Worker on each call that creates: the client's Idempotency-Key and what it came with. */
export interface Idempotency {
  key: string;
  /** base64 of a keyed digest over method, path and canonical body. */
  digest: string;
  /** The same under the key before the current one, while that is being rotated. */
  earlier?: string;
}

export interface AskInput {
  /** The object is addressed by it, but cannot learn its own name from a stub: every call that may write carries it. */
  userId: string;
  kind: string;
  operation: string;
  /** The kind's own fields, as its schema returned them. */
  input: unknown;
  purpose?: string;
  context?: Record<string, string | number | boolean>;
  expiresInSeconds: number;
  offlineGraceSeconds: number;
  callbackUrl?: string;
  metadata?: unknown;
  idempotency?: Idempotency;
  /** Answers with an open request just like it instead of making another. */
  join?: boolean;
  /** Id of the API key that asks, for the audit entry. */
  keyId: string;
}

/** A request as `GET requests/{id}` shows it; the kind's view adds its own fields. */
export interface RequestView {
  request_id: string;
  user_id: string;
  contract_id: string;
  kind: string;
  /** Names the kind's operation where it has several. */
  operation: string;
  status: import("./protocol/asking.ts").RequestStatus;
  created_at: string;
  expires_at: string;
  delivered_at?: string;
  responded_at?: string;
  /** When `status` was entered. */
  timestamp: string;
  /** Why a denial or an end came about: the user's word, `match_code_wrong`, `reported`. */
  reason?: string;
  result?: unknown;
  /** The answer carried a shared value that is no longer kept. */
  result_destroyed?: boolean;
  request_payload: unknown;
  approval?: import("./protocol/asking.ts").Approval;
  user_signing_key: string;
  metadata?: unknown;
  /** The kind's own state; the kind's view turns it into fields. */
  state?: unknown;
  /** Shown once, in the answer to the POST. */
  match_code?: string;
}

export interface ContractView {
  contract_id: string;
  user_id: string;
  service_id: string;
  offering_id: string;
  offering_name: string;
  offering: import("./protocol/offer.ts").Offering;
  capabilities: string[];
  status: import("./protocol/contract.ts").ContractStatus;
  created_at: string;
  activated_at?: string;
  expires_at?: string;
  cancelled_at?: string;
  cancelled_by?: "user" | "service";
  cancelled_reason?: string;
  /** The contract this one took the place of, and the one that took its place. */
  supersedes?: string;
  superseded_by?: string;
}

/** A change the service proposed. */
export interface AmendmentView {
  amendment_id: string;
  contract_id: string;
  type: import("./contracts/amendment.ts").AmendmentType;
  status: import("./contracts/amendment.ts").AmendmentStatus;
  reason: string;
  offering_id: string;
  /** What the user is asked to agree to. */
  offering: import("./protocol/offer.ts").Offering;
  /** The end that is proposed for the contract. */
  contract_expires_at?: string;
  created_at: string;
  /** Until when the user may agree. */
  expires_at: string;
  decided_at?: string;
  successor_contract_id?: string;
  user_reason?: string;
}

export interface ContractDetail extends ContractView {
  /** Absent until accepted. */
  record?: import("./protocol/contract.ts").ContractRecord;
  verification: { valid: boolean; checks: import("./contracts/agreement.ts").Check[] };
  connection: {
    last_activity_at?: string;
    /** X25519 key ids of either side, newest first. */
    service_key_ids: string[];
    user_key_ids: string[];
    /** Highest sequence number sent and received, and the received side's gaps. */
    sent_seq: number;
    received_seq: number;
    missing_seq: number[];
  };
}

export interface Page<T> {
  items: T[];
  nextCursor?: string;
}

export interface AuditPage extends Page<import("./protocol/audit.ts").AuditEntry> {
  /** On the first page, when the chain's beginning was pruned: the hash of the last entry that was. */
  prunedTo?: string;
}

/** What an object has to show that an entry is in the log; the AuditLog has the rest. */
export interface AuditStretch {
  /** The chain from the entry up to the first logged head at or after it. */
  entries: import("./protocol/audit.ts").AuditEntry[];
  /** Of that head's leaf. */
  opening: import("./audit/leaf.ts").LeafOpening;
  index: number;
}

export interface CallTicket {
  ticket: string;
  expires_at: string;
}

/** A signal or a line of chat; the members of its payload stand beside these. */
export interface SaidView {
  position: number;
  type: string;
  from: "user" | "service";
  at: string;
  signal?: unknown;
  text?: string;
  sent_at?: string;
}

/** Something a user sent of their own accord. */
export interface UserEventView {
  event_id: string;
  contract_id: string;
  /** `events.<name>` or `call.request`. */
  type: string;
  received_at: string;
  readable_until: string;
}

/** The object of one user. It answers for users it does not know without writing a row. */
export interface UserConnectionApi extends Rewrapped {
  /** Messages of this one user, in order; the user is the one their subject names. */
  receive(messages: InboundMessage[]): Promise<InboundOutcome[]>;

  ask(input: AskInput): Promise<RpcResult<RequestView>>;
  /** With `waitMs`, holds until the status is no longer pending, or the time is over. */
  request(requestId: string, keyId: string, waitMs?: number): Promise<RpcResult<RequestView>>;
  requests(query: {
    status?: string;
    kind?: string;
    /** Names of the kind's operations; absent: all. */
    operations?: string[];
    limit: number;
    cursor?: string;
  }): Promise<RpcResult<Page<RequestView>>>;
  cancelRequest(requestId: string, keyId: string): Promise<RpcResult<RequestView>>;
  /** A ticket to a live call's WebSocket, good for one opening. */
  callTicket(requestId: string, keyId: string): Promise<RpcResult<CallTicket>>;
  /** What was said in a call after a position, oldest first. */
  said(call: {
    requestId: string;
    after: number;
    limit: number;
    keyId: string;
  }): Promise<RpcResult<SaidView[]>>;
  /** What the user said of their own accord and nobody has read yet, oldest first. */
  userEvents(query: { limit: number; cursor?: string }): Promise<RpcResult<Page<UserEventView>>>;
  /** One of them with its content: it is destroyed soon after. */
  userEvent(eventId: string, keyId: string): Promise<RpcResult<UserEventView & { content: unknown }>>;
  /** Runs an action of the request's kind (`complete`, `refund`); `input` as its schema returned it. */
  act(call: {
    requestId: string;
    /** Where requests of its sort are read: an action's name alone does not say what it is done to. */
    path: string;
    action: string;
    input: unknown;
    keyId: string;
    idempotency?: Idempotency;
  }): Promise<RpcResult<RequestView>>;

  contract(contractId: string): Promise<RpcResult<ContractDetail>>;
  acceptContract(contractId: string, keyId: string): Promise<RpcResult<ContractView>>;
  rejectContract(
    contractId: string,
    reason: string | undefined,
    keyId: string,
  ): Promise<RpcResult<ContractView>>;
  cancelContract(
    contractId: string,
    reason: string | undefined,
    keyId: string,
  ): Promise<RpcResult<ContractView>>;
  pauseContract(
    contractId: string,
    reason: string | undefined,
    keyId: string,
  ): Promise<RpcResult<ContractView>>;
  resumeContract(
    contractId: string,
    reason: string | undefined,
    keyId: string,
  ): Promise<RpcResult<ContractView>>;
  /** Proposes a change; `input` as its schema returned it. */
  amendContract(
    contractId: string,
    input: import("./contracts/amendment.ts").AmendmentInput,
    caller: { keyId: string; idempotency?: Idempotency },
  ): Promise<RpcResult<AmendmentView>>;
  /** Newest first. */
  amendments(
    contractId: string,
    query: { limit: number; cursor?: string },
  ): Promise<RpcResult<Page<AmendmentView>>>;
  consentReceipt(
    contractId: string,
    keyId: string,
  ): Promise<RpcResult<import("./contracts/receipt.ts").ConsentReceipt>>;
  /** Begins to replace our connection key; one rotation at a time. */
  rotateConnectionKey(
    contractId: string,
    keyId: string,
  ): Promise<RpcResult<{ contract_id: string; key_id: string; previous_key_id: string }>>;
  /** The contract, pending or in force, that this user came to by an invite; undefined when there is none. */
  contractByInvite(code: string): Promise<{ contractId: string; isPending: boolean } | undefined>;
  /** The id of the active contract, or of the active one for this offering; undefined when there is none. */
  activeContract(offeringId?: string): Promise<string | undefined>;
  profile(keyId: string): Promise<RpcResult<{ contract_id: string; profile: unknown; updated_at: string }>>;

  /** POST /connect/credentials: signatures are checked inside, against the contract's own keys. */
  renewCredentials(
    request: import("./protocol/contract.ts").LastingCredentialsRequest,
  ): Promise<RpcResult<import("./protocol/contract.ts").NatsCredentials>>;
  /** POST /connect/revoke. */
  revokeByUser(
    revocation: import("./protocol/contract.ts").Revocation,
  ): Promise<RpcResult<{ status: "cancelled" }>>;

  audit(query: { after?: string; operation?: string; limit: number }): Promise<RpcResult<AuditPage>>;
  auditProof(eventId: string): Promise<RpcResult<AuditStretch>>;

  /** Erases the user, or says how far that is. What stands is ended first, with notice. */
  eraseUser(userId: string, reason: string | undefined, keyId: string): Promise<RpcResult<ErasureView>>;
}

export interface ErasureView {
  user_id: string;
  erasure_id: string;
  status: "erasing" | "erased";
  requested_at: string;
  /** At the latest. */
  erased_by?: string;
  erased_at?: string;
}

// ---- Directory ------------------------------------------------------------------------------------------

export type Scope =
  | "requests:read"
  | "requests:write"
  | "contracts:read"
  | "contracts:write"
  | "audit:read"
  | "admin";

export interface ApiKeyFacts {
  keyId: string;
  scopes: Scope[];
  /** Milliseconds since the epoch; absent when it does not expire. */
  expiresAt?: number;
}

export interface InviteTerms {
  inviteId: string;
  offeringId?: string;
  expiresAt: number;
  maxUses: number;
  matchCodeRequired: boolean;
}

/** What the Directory's index knows of a contract; `version` grows with every change at the user's object. */
export interface ContractIndexRow {
  contractId: string;
  userId: string;
  offeringId: string;
  offeringName: string;
  status: import("./protocol/contract.ts").ContractStatus;
  createdAt: number;
  version: number;
  view: ContractView;
  /** The nkey (U…) that the contract names; absent from a version that did not say. */
  natsKey?: string;
  /** Set once the contract is over and its credentials have to be taken back, until they have expired anyway. */
  revocation?: CredentialsRevocation;
}

export interface CredentialsRevocation {
  /** The second, since the epoch, in which the last JWT for the nkey was issued. */
  issuedAtSeconds: number;
  /** Milliseconds since the epoch: when none of them is valid any more. */
  expiresAt: number;
}

export type InviteRefusal = "invite_invalid" | "invite_expired" | "invite_used_up" | "match_code_wrong";
/** Why a submission cannot be accepted on terms the service no longer publishes, or never did. */
export type TermsRefusal = "offer_outdated" | "offering_changed";

/** What the user's object needs of the Directory. */
export interface DirectoryForUsers {
  /**
   * Holds a submission against what the service publishes and counts one use of its invite. A refusal counts
   * nothing. Repeating it for the same contract counts nothing again, so a crash between this and the caller's
   * commit is harmless. A wrong match code uses up the invite's one try for that user.
   */
  redeemInvite(use: {
    code: string;
    matchCode?: string;
    userId: string;
    contractId: string;
    offerId: string;
    /** The contract's snapshot: must be, to the byte of its canonical form, what is published now. */
    offering: import("./protocol/offer.ts").Offering;
    now: number;
  }): Promise<{ ok: true } | { ok: false; reason: InviteRefusal | TermsRefusal }>;
  /**
   * Writes or updates index rows; an older version than the stored one changes nothing. A revocation is durable when
   * this resolves, and is brought to the cluster from then on by the Directory alone.
   */
  indexContracts(rows: ContractIndexRow[]): Promise<void>;
  /** Forgets a user and notes that it did, once for an erasure. Called again, it forgets what has come since. */
  forgetUser(erasure: { userId: string; erasureId: string; keyId: string }): Promise<void>;
}

/** How user JWTs end, and whether the cluster refuses those it must. */
export interface NatsCredentialsState {
  /** `short_lived`: nothing revokes them on the cluster; they run out. */
  mode: "revocable" | "short_lived";
  user_jwt_lifetime_seconds: number;
  /** JWTs the cluster has to refuse until they have run out, and those it was not seen to refuse yet. */
  revocations?: number;
  waiting?: number;
  /** When the cluster was last asked. */
  checked_at?: string;
  /** Why the cluster's list is not known to be right. */
  problem?: string;
}

/** Whether anything is still wrapped under the VAULT_KEK before. */
export interface VaultKekState {
  key_id: string;
  previous_key_id?: string;
  /** `current`: there is no previous key. `rewrapped`: the previous one may be taken away. */
  status: "current" | "rewrapping" | "rewrapped";
  /** Objects that were not seen to be done. */
  objects_left?: number;
  /** Values that do not open, and were left as they are. */
  damaged_values?: number;
}

export interface KeysState {
  nats_credentials: NatsCredentialsState;
  vault_kek: VaultKekState;
}

/** What the bridge needs of the Directory. */
export interface DirectoryForBridge {
  /** A session with the service's cluster has come up: what it holds may be older than what it was told. */
  clusterIsUp(): Promise<void>;
}

/** What the routes need of the Directory. */
export interface DirectoryForRoutes {
  /** Undefined for a key that does not exist, was deleted or has another secret. `secretHash`: SHA-256, hex. */
  apiKey(keyId: string, secretHash: string): Promise<ApiKeyFacts | undefined>;
  /** The current signed offer; `offeringId` narrows it to one offering. */
  offer(offeringId?: string): Promise<import("./protocol/offer.ts").Offer>;
  /** Whether an invite can be used now, without using it. */
  invite(code: string): Promise<{ ok: true; terms: InviteTerms } | { ok: false; reason: InviteRefusal }>;
  /** The user of a contract. */
  userOfContract(contractId: string): Promise<string | undefined>;
  /** How the deployment's keys stand; `count` also counts what is left to rewrap. */
  keysState(options?: { count?: boolean }): Promise<KeysState>;
}

/** The domain the service claims, as it was last looked at. */
export interface DomainView {
  domain?: string;
  status: "not_configured" | import("./discovery/domain-state.ts").DomainStatus;
  verified: boolean;
  /** What its DNS must say. */
  record?: { type: "TXT"; name: string; value: string };
  verified_at?: string;
  /** When the record was last seen. */
  confirmed_at?: string;
  lapsed_at?: string;
  last_check?: { at: string } & import("./discovery/domain-check.ts").DomainCheck;
  next_check_at?: string;
}

/** `failing`: it is away or says what cannot be used. `refused`: it says no. */
export type RegistryStatus = "pending" | "attested" | "refused" | "failing";

export interface RegistryView {
  registry_id: string;
  url: string;
  /** Its name: the host. */
  registry: string;
  status: RegistryStatus | "expired";
  registry_key?: string;
  /** What the offer carries. */
  attestation?: import("./protocol/offer.ts").Attestation;
  /** Why it is not attested. */
  detail?: string;
  created_at: string;
  asked_at?: string;
  next_ask_at: string;
}

// ---- AuditLog -------------------------------------------------------------------------------------------

export interface OfferedLeaf {
  /** 32 bytes: `leafOf` of src/audit/leaf.ts. The log learns no salt, no user and no head. */
  leaf: Uint8Array;
}

export interface LeafPosition {
  /** In the log, from 0; for good. */
  index: number;
}

/** A leaf that its chain's owner hands to the Journal. */
export interface HandedLeaf extends OfferedLeaf {
  /** `user_id`, or `service_id` for the service's own chain: an owner's newer leaf covers what the one before did. */
  ownerId: string;
}

/** What the Journal needs of the AuditLog: it carries the heads of all chains there. */
export interface AuditLogForJournal {
  /**
   * Puts leaves into the log and answers, after some seconds, when they are under a published checkpoint; in the
   * order given. `unavailable`, an exception or no answer: offer the same leaves again; each lands once.
   */
  offer(leaves: OfferedLeaf[]): Promise<RpcResult<LeafPosition[]>>;
  /** Where a leaf is, if it is under a published checkpoint. Waits for nothing. */
  position(leaf: OfferedLeaf): Promise<Partial<LeafPosition>>;
}

export interface LeafProof extends LeafPosition {
  /** Leaves under the proof's checkpoint. */
  size: number;
  /** c2sp.org/tlog-proof, without an `extra` line. */
  proof: string;
}

/**
 * Why the log takes no more leaves. `behind`: R2 shows more than this storage holds, as after a restore of storage.
 * `forked`: R2 shows another tree. `checkpoint_missing`, `checkpoint_went_back`, `checkpoint_unreadable`: R2 lost what
 * was published. `origin_changed`: the settings name another log. `storage_damaged`: this storage does not agree
 * with itself.
 */
export type HaltReason =
  | "behind"
  | "forked"
  | "checkpoint_missing"
  | "checkpoint_went_back"
  | "checkpoint_unreadable"
  | "origin_changed"
  | "storage_damaged";

export interface AuditLogState {
  status: "open" | "halted";
  reason?: HaltReason;
  detail?: string;
  /** Leaves sequenced, and those under the published checkpoint. */
  size: number;
  published_size: number;
  /** Leaves that wait for the next batch. */
  waiting: number;
  /** The size each witness cosigned last. */
  witnesses: { name: string; size: number }[];
}

export interface AuditLogForRoutes {
  proof(leaf: OfferedLeaf | LeafPosition): Promise<RpcResult<LeafProof>>;
  /** RFC 6962 §2.1.2, hashes as base64. */
  consistency(from: number, to: number): Promise<RpcResult<string[]>>;
  /** The checkpoint as published; undefined before the first batch. */
  checkpoint(): Promise<string | undefined>;
  state(): Promise<AuditLogState>;
  /** After a halt, when what was wrong has been put right. */
  resume(options?: { republish?: boolean }): Promise<AuditLogState>;
}

// ---- Journal --------------------------------------------------------------------------------------------

/** An event for the backend, and where else than to the endpoints it is to be delivered. */
export interface JournalEntry {
  event: import("./webhooks/event.ts").WebhookEvent;
  /** The ask's `callback_url`; its target was checked when the ask was made, and is again at each attempt. */
  callbackUrl?: string;
}

/** What the users' objects need of the journal. */
export interface JournalForUsers extends Rewrapped {
  /**
   * Writes events in the order given; they are durable when this resolves. One that is there already (the same
   * `user_id` and `event_id`; a user's comes with the same `timestamp` again) is skipped, so a batch whose answer was
   * lost can be sent again as a whole. A user's next batch is sent after the one before has resolved. Rejects with TypeError, writing nothing, when an entry is
   * no event or the batch is too long: that is a fault of the caller's code, not of the moment.
   *
   * `leaf` is brought into the audit log together with those of others. It is held in memory only, and nothing is said
   * of it here: `carry` tells what came of it.
   */
  append(entries: JournalEntry[], leaf?: HandedLeaf): Promise<void>;
  /**
   * Where the audit log has a leaf, if it is under a published checkpoint; waits for no batch. A leaf that is not there
   * is handed over by the same call. After `unavailable`, an exception or no answer, ask again.
   */
  carry(leaf: HandedLeaf): Promise<RpcResult<Partial<LeafPosition>>>;
  /**
   * Queues audit entries for the sinks; durable when this resolves, in the order of the calls. After an exception or
   * no answer, hand the same over again: a sink may then get them twice.
   */
  takeEntries(entries: HandOver): Promise<RpcResult<null>>;
  /** Forgets a user's events, with their deliveries, and entries; an event says so, once for an erasure. */
  forgetUser(userId: string, erasureId: string): Promise<void>;
}

/** Entries of one chain for sinks, in the chain's order. */
export interface HandOver {
  ownerId: string;
  sinks: import("./audit/sinks.ts").SinkName[];
  /** JSON of each entry. */
  lines: string[];
}

/** How far a shard is with a sink. */
export interface SinkState {
  sink: import("./audit/sinks.ts").SinkName;
  status: "ok" | "failing";
  /** Entries that wait, and since when the oldest does. */
  waiting: number;
  waiting_since?: string;
  /** Entries taken by the sink, and when the last were. */
  delivered: number;
  delivered_at?: string;
  failing_since?: string;
  last_error?: string;
  next_attempt_at?: string;
}

/** An event with its place in its shard. */
export interface FeedItem {
  position: number;
  event: import("./webhooks/event.ts").WebhookEvent;
}

export interface FeedPage {
  items: FeedItem[];
  /** How far was read, matching or not: where the next page begins. */
  position: number;
  /** Whether the journal holds more behind `position`. */
  more: boolean;
}

export interface FeedQuery {
  /** A position of this shard; 0 for its beginning. */
  after: number;
  type?: string;
  userId?: string;
  limit: number;
  /** Holds until there is something to answer with, or the time is over. */
  waitMs?: number;
}

/** A webhook endpoint as the journal needs it; without `url`, the secrets that callback URLs are signed with. */
export interface WebhookEndpoint {
  webhookId: string;
  url?: string;
  /** Absent: every type. */
  types?: string[];
  enabled: boolean;
  /** Grows with each enabling: what a shard has noted of an earlier one no longer counts. */
  epoch: number;
  /** Milliseconds since the epoch; earlier events are not delivered. */
  createdAt: number;
  /** The newest first; `until` is when an older one stops. */
  secrets: { secret: string; until?: number }[];
}

/** What the journal needs of the Directory. */
export interface DirectoryForJournal {
  webhookEndpoints(): Promise<WebhookEndpoint[]>;
  disableWebhook(webhookId: string, epoch: number, reason: "gone" | "failing"): Promise<void>;
}

export type DeliveryStatus = "pending" | "delivered" | "dead";

export interface AttemptView {
  at: string;
  duration_ms: number;
  /** Absent where there was no answer. */
  status_code?: number;
  error?: "timeout" | "connection_failed" | "target_refused";
}

export interface DeliveryView {
  delivery_id: string;
  /** `callback` for a delivery to an ask's callback_url. */
  webhook_id: string;
  event_id: string;
  event_type: string;
  status: DeliveryStatus;
  attempt_count: number;
  /** The latest; those of a delivery that succeeded at once are kept in memory only. */
  attempts: AttemptView[];
  next_attempt_at?: string;
  created_at: string;
}

export interface DeliveryPage {
  /** Newest first; `rank` is the place in this shard's list, `at` when its event was recorded. */
  items: { rank: number; at: number; delivery: DeliveryView }[];
  /** How far was looked, matching or not. Absent at the list's end. */
  rank?: number;
}

/** What the routes need of the journal. */
export interface JournalForRoutes {
  read(query: FeedQuery): Promise<FeedPage>;
  /** The place of an event; undefined when this shard does not hold it. */
  locate(eventId: string): Promise<{ position: number; recordedAt: number } | undefined>;
  /** The last position recorded before an instant. */
  positionBefore(ms: number): Promise<number>;
  /** Takes a change of the endpoints up at once rather than within half a minute. */
  endpointsChanged(): Promise<void>;
  deliveries(query: {
    status?: DeliveryStatus;
    webhookId?: string;
    limit: number;
    before?: number;
  }): Promise<RpcResult<DeliveryPage>>;
  redeliver(deliveryId: string): Promise<RpcResult<DeliveryView>>;
  /** `replayId` makes a repetition of the same command recognisable. */
  redeliverRange(range: {
    replayId: string;
    webhookId: string;
    fromMs: number;
    toMs: number;
  }): Promise<RpcResult<{ events: number }>>;
  testEndpoint(webhookId: string, eventId: string): Promise<RpcResult<AttemptView & { delivered: boolean }>>;
  metrics(): Promise<JournalMetrics>;
}

// ---- Moving a deployment ----------------------------------------------------------------------------------

/** A value of a database, as JSON holds it. */
export type StoredCell = string | number | null | { base64: string };

/** Some rows of one object's database, in order. */
export interface TransferPage {
  /** Steps of its schema the database had taken; 0 for an object nothing was ever written to. */
  schema_version: number;
  /** The `next` of the page before; absent in an object's first. */
  after?: string;
  tables: { name: string; columns: string[]; rows: StoredCell[][] }[];
  /** Absent in an object's last. */
  next?: string;
}

/** What every object that stores anything can do in maintenance. */
export interface Transferable {
  exportPage(after?: string): Promise<RpcResult<TransferPage>>;
  importPage(page: TransferPage): Promise<RpcResult<{ rows: number; done: boolean }>>;
  /** Ends this life of the object, so that the next one reads what was imported. Rejects. */
  restart(): Promise<void>;
}
