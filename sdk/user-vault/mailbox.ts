// The vault's messages in both directions, over its store alone: no network, no timers. What comes in is verified,
// acted on and remembered in one transaction; what goes out is sealed, numbered and stored in one transaction with
// the decision it carries. A crash between any two statements leaves either all of a step or nothing of it:
//
// - before the commit: an inbound message is delivered again and handled as if for the first time; an answer was
//   not given, its number not used;
// - after the commit, before the broker is told: the message comes again, is known, and gets the same receipt;
// - after the commit, before the publish: the outbox and `receiptDue` still say what has to be sent.

import { z } from "zod";
import {
  signCapabilityRevocation,
  signRevocation,
  verifyAcceptance,
  verifyRevocation,
} from "../../src/contracts/agreement.ts";
import { verifyOffer } from "../../src/contracts/offer.ts";
import { accept, type Recipient, type VerifiedMessage } from "../../src/crypto/accept.ts";
import { type AgreementKey, importAgreementKey, newAgreementKey } from "../../src/crypto/agreement.ts";
import { keyIdOf } from "../../src/crypto/hash.ts";
import { isSoundAgreementKey } from "../../src/crypto/keys.ts";
import { MessageTooLarge, seal } from "../../src/crypto/seal.ts";
import { importSigningKey, type SigningKey, signJson } from "../../src/crypto/signing.ts";
import { kindName, requestStatus } from "../../src/protocol/asking.ts";
import {
  type ContractAccepted,
  type ContractExpiring,
  type ContractSubmit,
  type ContractUpdate,
  type contractRejected,
  isEnded,
  type NatsCredentials,
  type Profile,
  profile as profileSchema,
  type Revocation,
} from "../../src/protocol/contract.ts";
import { fromBase64 } from "../../src/protocol/encoding.ts";
import type { EnvelopeHeader } from "../../src/protocol/envelope.ts";
import { newEventId } from "../../src/protocol/ids.ts";
import type { Json } from "../../src/protocol/json.ts";
import {
  MAX_ENVELOPE_LIFETIME_MS,
  REVOCATION_NOTICE_MS,
  SEEN_IDS_RETENTION_MS,
} from "../../src/protocol/limits.ts";
import {
  isReceipted,
  kindOfRequest,
  kindOfResponse,
  type Receipt as ReceiptPayload,
  type ServiceEventType,
  servicePayloads,
} from "../../src/protocol/messages.ts";
import { eventId as eventIdSchema, fromTimestamp, toTimestamp } from "../../src/protocol/primitives.ts";
import { fromUserSubject, messageSpaceSubject, toUserSubject } from "../../src/protocol/subjects.ts";
import { withoutWithheld } from "../../src/requests/lifecycle.ts";
import { kindAsking, kindNamed } from "../../src/requests/registry.ts";
import {
  type Answer,
  buildAnswer,
  checkAsk,
  isGranted,
  MAX_REASON_CHARACTERS,
  NOT_GRANTED,
  UNSUPPORTED,
} from "./answer.ts";
import { VaultError } from "./errors.ts";
import { askView, contractExpiry, contractView, type Log, receiptView, type VaultEvent } from "./events.ts";
import type { HandlerContext } from "./handlers/handler.ts";
import { Handlers } from "./handlers/index.ts";
import { checkHolding, HoldingsDraft } from "./holdings.ts";
import { newIdentity } from "./identity.ts";
import { Lanes } from "./lanes.ts";
import type {
  AskRow,
  ContractRow,
  IdentityRow,
  OutboxRow,
  ReceivedRow,
  VaultStore,
  VaultTransaction,
} from "./store.ts";

/** A submission that has not arrived after this is given up. */
const SUBMIT_LIFETIME_MS = 7 * 24 * 3_600_000;
/** A submission that arrived may wait for the service's decision this long. */
const PENDING_LIFETIME_MS = 31 * 24 * 3_600_000;
/** Profile changes, key rotations and refusals of changes. */
const MESSAGE_LIFETIME_MS = 30 * 24 * 3_600_000;
/** A receipt that is not read by then is asked for again by a repeat of its message. */
const RECEIPT_LIFETIME_MS = 7 * 24 * 3_600_000;
/** A revocation is repeated as long as an envelope may live: the service has to learn of it. */
const REVOKE_LIFETIME_MS = MAX_ENVELOPE_LIFETIME_MS;
/** Asks waiting for a decision per contract; over this the service is told to stop. */
export const MAX_OPEN_ASKS = 256;
/** Missing numbers named in one receipt (bounded by the receipt's schema). */
const MAX_MISSING_NAMED = 64;
/** How often an answer is computed again because what it was computed from changed meanwhile. */
const MAX_ANSWER_ATTEMPTS = 8;
/** A message named as missing is sent again at once, unless it was sent this recently and may be on its way. */
const MISSING_RESEND_AFTER_MS = 2_000;
/** What was sent under a contract before it was superseded is waited for this long. */
const SUPERSEDED_ARRIVAL_MS = 24 * 3_600_000;

/** A request is taken as it is; `checkAsk` judges it strictly afterwards, so that a refusal can be answered. */
const looseRequest = z.looseObject({ request_id: eventIdSchema, kind: kindName });

/** Setup messages name no contract: the event they answer is the submission. */
const SETUP_TYPES: ReadonlySet<string> = new Set(["contract.accepted", "contract.rejected", "receipt"]);
/** What an ended contract still lets in (PROTOCOL §7). */
const AFTER_END_TYPES: ReadonlySet<string> = new Set(["receipt", "contract.cancelled", "contract.accepted"]);
/** What a paused contract lets in. */
const PAUSED_TYPES: ReadonlySet<string> = new Set([
  "contract.resumed",
  "contract.paused",
  "contract.cancelled",
  "contract.update",
  "contract.expiring",
  "audit.response",
  "request.cancelled",
  "key.rotate",
  "key.rotated",
]);

export interface MailboxOptions {
  store: VaultStore;
  /** Milliseconds since the epoch. */
  now: () => number;
  emit: (event: VaultEvent) => void;
  /** Something may have to be sent, or a contract's links to change. */
  onWork: () => void;
  log: Log;
  /** How kinds are answered from what the vault holds; by default, every handler of this library. */
  handlers?: Handlers;
}

/** What a handler decided; written in one transaction with the memory of the message. */
interface Verdict {
  outcome: "stored" | "refused";
  reason?: string;
  /** Sealed in answer to the message. */
  send?: OutboxRow;
  /** Further writes; `contract` is fresh, and saved afterwards. */
  write?: (tx: VaultTransaction, contract: ContractRow, events: VaultEvent[]) => void;
}

const REFUSED = (reason: string): Verdict => ({ outcome: "refused", reason });
const UNSUPPORTED_REASON = "unsupported";
const STORED: Verdict = { outcome: "stored" };

export class Mailbox {
  readonly #store: VaultStore;
  readonly #now: () => number;
  readonly #emit: (event: VaultEvent) => void;
  readonly #onWork: () => void;
  readonly #log: Log;
  readonly #handlers: Handlers;
  readonly #lanes = new Lanes();
  /** By service; keys are imported once. */
  readonly #signers = new Map<string, SigningKey>();

  constructor({ store, now, emit, onWork, log, handlers }: MailboxOptions) {
    this.#store = store;
    this.#now = now;
    this.#emit = emit;
    this.#onWork = onWork;
    this.#log = log;
    this.#handlers = handlers ?? new Handlers();
  }

  /** Resolves when no message is being handled and no answer written. */
  idle(): Promise<void> {
    return this.#lanes.idle();
  }

  // ---- identity and connecting --------------------------------------------------------------------------

  /** The identity for a service, made and stored when it is first needed. */
  async identityFor(serviceId: string): Promise<{ row: IdentityRow; key: SigningKey }> {
    let row = this.#store.transaction((tx) => tx.identity(serviceId));
    if (row === undefined) {
      const fresh = await newIdentity(serviceId, this.#now());
      row = this.#store.transaction((tx) => {
        // Another call may have been faster; its identity is the one.
        const stored = tx.identity(serviceId);
        if (stored === undefined) tx.insertIdentity(fresh);
        return stored ?? fresh;
      });
    }
    return { row, key: await this.#signer(row) };
  }

  async #signer(identity: IdentityRow): Promise<SigningKey> {
    let key = this.#signers.get(identity.serviceId);
    if (key === undefined) {
      key = await importSigningKey(identity.signingSeed);
      this.#signers.set(identity.serviceId, key);
    }
    return key;
  }

  /**
   * Stores a signed contract with its keys and its sealed submission. From here on the submission is sent until the
   * service answers, whatever happens to this process. `connectionSecret` is the contract's X25519 private key.
   */
  submit(submission: {
    contract: ContractRow;
    connectionKeyId: string;
    connectionSecret: Uint8Array;
    payload: ContractSubmit;
  }): Promise<void> {
    const { contract, connectionKeyId, connectionSecret, payload } = submission;
    const { serviceId, contractId } = contract;
    return this.#lanes.run(serviceId, async () => {
      const { row: identity, key } = await this.identityFor(serviceId);
      const now = this.#now();
      const { submitEventId, offer } = contract.terms;
      const bytes = await sealed(
        key,
        offer.service_encryption_key,
        {
          event_id: submitEventId,
          event_type: "contract.submit",
          to: serviceId,
          signing_key: key.publicKeyText,
          seq: 0,
          timestamp: toTimestamp(now),
          expires_at: toTimestamp(now + SUBMIT_LIFETIME_MS),
        },
        payload,
      );
      const events: VaultEvent[] = [];
      this.#store.transaction((tx) => {
        tx.saveContract(contract);
        tx.saveConnectionKey({
          contractId,
          keyId: connectionKeyId,
          secret: connectionSecret,
          createdAt: now,
        });
        tx.saveOutbox({
          eventId: submitEventId,
          serviceId,
          contractId,
          eventType: "contract.submit",
          seq: 0,
          subject: fromUserSubject(serviceId, identity.userId, "contract.submit"),
          bytes,
          createdAt: now,
          expiresAt: now + SUBMIT_LIFETIME_MS,
          sendings: 0,
          nextAt: now,
        });
        events.push({ type: "contract_changed", contract: contractView(contract) });
      });
      this.#done(events);
    });
  }

  /** Keeps a JWT the service gave for the contract's nkey. */
  storeCredentials(contractId: string, credentials: NatsCredentials): void {
    this.#store.transaction((tx) => {
      const contract = tx.contract(contractId);
      if (contract === undefined || contract.endSettled) return;
      contract.credentials = credentials;
      tx.saveContract(contract);
    });
  }

  // ---- inbound ------------------------------------------------------------------------------------------

  /**
   * Handles one message as it came from a broker. When it resolves, everything the message meant is committed (or it
   * was refused for good) and the broker may forget it; when it rejects, nothing was, and it has to come again.
   */
  receive(serviceId: string, subject: string, bytes: Uint8Array): Promise<void> {
    return this.#lanes.run(serviceId, async () => {
      const identity = this.#store.transaction((tx) => tx.identity(serviceId));
      if (identity === undefined) return;
      const acceptance = await accept(bytes, subject, this.#recipient(identity));
      switch (acceptance.outcome) {
        case "rejected": {
          const { reason, eventId } = acceptance;
          this.#log("warn", "a message was not believed", {
            service_id: serviceId,
            reason,
            event_id: eventId,
          });
          this.#emit({
            type: "message_refused",
            service_id: serviceId,
            reason,
            ...(eventId === undefined ? {} : { event_id: eventId }),
          });
          return;
        }
        case "seen":
          this.#store.transaction((tx) => {
            const known = tx.received(serviceId, acceptance.header.event_id);
            if (known !== undefined) tx.saveReceived({ ...known, receiptDue: true });
          });
          this.#onWork();
          return;
        case "malformed": {
          const known = this.#schemaOf(acceptance.header.event_type) !== undefined;
          return this.#commit(acceptance.header, REFUSED(known ? "malformed" : "unsupported_type"));
        }
        case "verified":
          return this.#handle(identity, acceptance.message);
      }
    });
  }

  /** What `accept` has to know, read from the store at the moment it asks. */
  #recipient(identity: IdentityRow): Recipient {
    const { serviceId, userId, messageSpace } = identity;
    return {
      now: this.#now(),
      id: userId,
      subjectsOf: ({ event_type, ref, contract_id }) => {
        const subjects = [messageSpaceSubject(messageSpace, serviceId, event_type, ref)];
        if (contract_id === undefined && ref !== undefined && SETUP_TYPES.has(event_type))
          subjects.push(toUserSubject(serviceId, userId, event_type, ref));
        return subjects;
      },
      signingKeyOf: (header) => {
        if (header.from !== serviceId) return undefined;
        const contract = this.#contractOf(header);
        if (contract?.serviceId !== serviceId || !admits(contract, header)) return undefined;
        // Checked for soundness with the offer, before the contract was signed.
        return fromBase64(contract.terms.offer.service_public_key);
      },
      seen: (header) =>
        // What is not receipted changes nothing by being repeated, so it need not be remembered.
        isReceipted(header.event_type)
          ? this.#store.transaction((tx) => {
              if (tx.received(serviceId, header.event_id) !== undefined) return "seen";
              if (header.seq === 0 || header.contract_id === undefined) return "new";
              const floor = tx.contract(header.contract_id)?.receivedFloor ?? 0;
              return header.seq <= floor || tx.receivedSeq(header.contract_id, header.seq)
                ? "seq_reused"
                : "new";
            })
          : "new",
      keyOf: async (header): Promise<AgreementKey | undefined> => {
        const contractId = this.#contractOf(header)?.contractId;
        if (contractId === undefined) return undefined;
        const keys = this.#store.transaction((tx) => tx.connectionKeys(contractId));
        const key = keys.find(({ keyId }) => keyId === header.key_id);
        return key === undefined ? undefined : importAgreementKey(key.secret);
      },
      schemaOf: (eventType) => this.#schemaOf(eventType),
    };
  }

  #contractOf(header: EnvelopeHeader): ContractRow | undefined {
    const { contract_id, ref } = header;
    return this.#store.transaction((tx) => {
      if (contract_id !== undefined) return tx.contract(contract_id);
      return ref === undefined ? undefined : tx.contractBySubmit(ref);
    });
  }

  #schemaOf(eventType: string): z.ZodType | undefined {
    if (askedKind(eventType) !== undefined) return looseRequest;
    const hears = this.#handlers.hearing(eventType);
    if (hears !== undefined) return hears.payload;
    return Object.hasOwn(servicePayloads, eventType)
      ? servicePayloads[eventType as ServiceEventType]
      : undefined;
  }

  async #handle(identity: IdentityRow, message: VerifiedMessage): Promise<void> {
    const { header, payload } = message;
    const contract = this.#contractOf(header);
    if (contract === undefined) return;
    const eventType = header.event_type;
    if (eventType === "receipt") return this.#onReceipt(header, payload as ReceiptPayload);
    if (eventType === "contract.rejected")
      return this.#onRejected(contract, payload as z.infer<typeof contractRejected>);
    if (eventType === "contract.accepted")
      return this.#onAccepted(contract, header, payload as ContractAccepted);

    const verdict =
      // What was sent before the pause is as good as ever, in whatever order it arrives.
      contract.status === "paused" && header.seq > contract.pauseSeq && !PAUSED_TYPES.has(eventType)
        ? REFUSED("paused")
        : this.#handlers.hearing(eventType) !== undefined
          ? this.#onHeard(contract, header, payload as Json)
          : await this.#judge(identity, contract, header, payload);
    this.#commit(header, verdict);
  }

  /** What a message of an existing contract means. */
  async #judge(
    identity: IdentityRow,
    contract: ContractRow,
    header: EnvelopeHeader,
    payload: unknown,
  ): Promise<Verdict> {
    const kind = askedKind(header.event_type);
    if (kind !== undefined)
      return this.#onAsk(identity, contract, header, kind, payload as { [name: string]: Json });
    switch (header.event_type) {
      case "request.cancelled":
        return this.#onRequestCancelled(contract, (payload as { request_id: string }).request_id);
      case "contract.cancelled":
        return this.#onCancelled(contract, payload as Revocation);
      case "contract.paused":
      case "contract.resumed":
        return this.#onPause(header, header.event_type === "contract.paused");
      case "contract.update":
        return this.#onUpdate(contract, header, payload as ContractUpdate);
      case "contract.expiring":
        return {
          outcome: "stored",
          write: (_tx, fresh, events) => {
            fresh.endsInactiveAt = (payload as ContractExpiring).expires_at;
            events.push({ type: "contract_changed", contract: contractView(fresh) });
          },
        };
      case "key.rotate":
        return this.#onKeyRotate(
          identity,
          contract,
          header,
          payload as { connection_key: string; previous_key_id: string },
        );
      case "audit.response":
        // Verified by whoever asked (`requestAudit`); kept by nobody: it can be asked for again.
        return {
          outcome: "stored",
          write: (_tx, fresh, events) => {
            const { event_id, event_type, ref } = header;
            const heard = { contract_id: fresh.contractId, event_type, event_id, payload: payload as Json };
            events.push({ type: "heard", ...heard, ...(ref === undefined ? {} : { ref }) });
          },
        };
      case "key.rotated":
        return this.#onKeyRotated(contract, header, (payload as { key_id: string }).key_id);
      default:
        return REFUSED("unsupported_type");
    }
  }

  /** Writes a verdict and the memory of its message in one transaction, then says so. */
  #commit(header: EnvelopeHeader, verdict: Verdict): void {
    const contractId = this.#contractOf(header)?.contractId;
    if (contractId === undefined) return;
    const { outcome, reason, send, write } = verdict;
    const events: VaultEvent[] = [];
    this.#store.transaction((tx) => {
      tx.saveReceived({
        serviceId: header.from,
        eventId: header.event_id,
        contractId,
        seq: header.seq,
        eventType: header.event_type,
        receivedAt: this.#now(),
        outcome,
        ...(reason === undefined ? {} : { reason }),
        receiptDue: isReceipted(header.event_type),
      });
      const contract = tx.contract(contractId)!;
      // It may have expired while the message was verified: then nothing of it is answered any more.
      if (send !== undefined && !isOver(contract.status)) this.#post(tx, contract, send);
      write?.(tx, contract, events);
      tx.saveContract(contract);
    });
    if (outcome === "refused")
      this.#log("warn", "a message was refused", {
        contract_id: contractId,
        event_type: header.event_type,
        reason,
      });
    this.#done(events);
  }

  #onReceipt(header: EnvelopeHeader, receipt: ReceiptPayload): void {
    if (header.ref !== receipt.event_id) return;
    const now = this.#now();
    const events: VaultEvent[] = [];
    let ended = false;
    this.#store.transaction((tx) => {
      const contractId = this.#contractIdIn(tx, header);
      const contract = contractId === undefined ? undefined : tx.contract(contractId);
      if (contract === undefined) return;
      // Numbers the service lacks are sent again now instead of at their next turn.
      for (const seq of receipt.missing_seq ?? []) {
        const missing = tx.outboxMessageBySeq(contract.contractId, seq);
        if (missing !== undefined && (missing.lastSentAt ?? 0) <= now - MISSING_RESEND_AFTER_MS)
          tx.saveOutbox({ ...missing, nextAt: now });
      }
      const sent = tx.outboxMessage(receipt.event_id);
      // Known already, or of another contract: a receipt settles only what waits for it.
      if (sent === undefined || sent.contractId !== contract.contractId) return;
      tx.deleteOutbox(sent.eventId);
      const row = {
        eventId: sent.eventId,
        contractId: sent.contractId,
        serviceId: sent.serviceId,
        eventType: sent.eventType,
        ...(sent.ref === undefined ? {} : { ref: sent.ref }),
        seq: sent.seq,
        sentAt: sent.createdAt,
        receivedAt: receipt.received_at,
        outcome: receipt.outcome,
        ...(receipt.reason === undefined ? {} : { reason: receipt.reason }),
        ...(receipt.request_status === undefined ? {} : { requestStatus: receipt.request_status }),
        ...(receipt.event_hash === undefined ? {} : { eventHash: receipt.event_hash }),
      };
      tx.saveReceipt(row);
      events.push({ type: "delivered", receipt: receiptView(row) });

      const ask = sent.ref !== undefined && kindOfResponse(sent.eventType) ? tx.ask(sent.ref) : undefined;
      const counted = requestStatus.safeParse(receipt.request_status);
      if (ask?.answer?.eventId === sent.eventId && counted.success) {
        ask.outcome = counted.data;
        tx.saveAsk(ask);
        events.push({ type: "ask_changed", ask: askView(ask, contract) });
      }
      if (
        sent.eventType === "contract.submit" &&
        receipt.outcome === "refused" &&
        contract.status === "pending"
      ) {
        this.#end(tx, contract, events, { status: "rejected", reason: receipt.reason ?? "refused" });
        this.#settleEnd(tx, contract);
        ended = true;
      }
      // The service has our revocation: nothing is left to be said under this contract.
      if (sent.eventType === "contract.revoke") {
        this.#settleEnd(tx, contract);
        ended = true;
      }
      tx.saveContract(contract);
    });
    if (ended) this.#store.scrub();
    this.#done(events);
  }

  #contractIdIn(tx: VaultTransaction, { contract_id, ref }: EnvelopeHeader): string | undefined {
    if (contract_id !== undefined) return contract_id;
    return ref === undefined ? undefined : tx.contractBySubmit(ref)?.contractId;
  }

  async #onAccepted(
    contract: ContractRow,
    header: EnvelopeHeader,
    accepted: ContractAccepted,
  ): Promise<void> {
    const { userSignature, offer } = contract.terms;
    const form = {
      contract_id: contract.contractId,
      user_signature: userSignature,
      service_connection_key: accepted.service_connection_key,
      accepted_at: accepted.accepted_at,
    };
    const believable =
      accepted.contract_id === contract.contractId &&
      isSoundAgreementKey(fromBase64(accepted.service_connection_key)!) &&
      (await verifyAcceptance(offer.service_public_key, form, accepted.service_signature));
    if (!believable) {
      // Not remembered and not receipted: there is no key of the service's yet that a receipt could be sealed to,
      // and an acceptance that does verify must still be able to come.
      this.#log("error", "an acceptance does not verify", { contract_id: contract.contractId });
      this.#emit({
        type: "message_refused",
        service_id: contract.serviceId,
        reason: "acceptance_invalid",
        event_id: header.event_id,
      });
      return;
    }
    if (contract.status !== "pending") return;
    this.#commit(header, {
      outcome: "stored",
      write: (tx, fresh, events) => {
        if (fresh.status !== "pending") return;
        fresh.status = "active";
        fresh.acceptance = {
          serviceConnectionKey: accepted.service_connection_key,
          acceptedAt: accepted.accepted_at,
          serviceSignature: accepted.service_signature,
        };
        fresh.serviceKey = accepted.service_connection_key;
        fresh.credentials = accepted.nats_credentials;
        // An acceptance says as much as a receipt: the submission need not be sent again.
        tx.deleteOutbox(fresh.terms.submitEventId);
        this.#supersede(tx, fresh, events);
        events.push({ type: "contract_changed", contract: contractView(fresh) });
      },
    });
    void this.#followRevocations();
  }

  /** The contract that an accepted one names gives way to it; what is open under it can still be answered. */
  #supersede(tx: VaultTransaction, successor: ContractRow, events: VaultEvent[]): void {
    const { supersedes } = successor.terms.contract;
    const old = supersedes === undefined ? undefined : tx.contract(supersedes);
    if (old === undefined || isEnded(old.status)) return;
    old.status = "superseded";
    old.endedAt = this.#now();
    old.successor = successor.contractId;
    old.profile = {};
    delete old.proposal;
    delete old.rotatingKeyId;
    tx.saveContract(old);
    events.push({ type: "contract_changed", contract: contractView(old) });
  }

  /**
   * A person who ended a contract while its successor was on the way meant both: the successor is ended as soon as
   * the service has accepted it. Looked for again by the clockwork, so that a crash only delays it.
   */
  async #followRevocations(): Promise<void> {
    const contracts = this.#store.transaction((tx) => tx.contracts());
    for (const row of contracts) {
      if (row.status !== "active" && row.status !== "paused") continue;
      const old = contracts.find(({ contractId }) => contractId === row.terms.contract.supersedes);
      if (old?.status !== "cancelled" || old.endedBy !== "user") continue;
      await this.revoke(row.contractId, old.reason).catch((error) =>
        this.#log("warn", "a successor was not ended", {
          contract_id: row.contractId,
          error: (error as Error).message,
        }),
      );
    }
  }

  #onRejected(contract: ContractRow, { reason }: z.infer<typeof contractRejected>): void {
    if (contract.status !== "pending") return;
    const events: VaultEvent[] = [];
    this.#store.transaction((tx) => {
      const fresh = tx.contract(contract.contractId)!;
      this.#end(tx, fresh, events, { status: "rejected", reason });
      this.#settleEnd(tx, fresh);
      tx.saveContract(fresh);
    });
    this.#store.scrub();
    this.#done(events);
  }

  async #onAsk(
    identity: IdentityRow,
    contract: ContractRow,
    header: EnvelopeHeader,
    kind: string,
    payload: { [name: string]: Json },
  ): Promise<Verdict> {
    if (payload.request_id !== header.event_id || payload.kind !== kind) return REFUSED("request_mismatch");
    const known = this.#store.transaction((tx) => ({
      ask: tx.ask(header.event_id),
      open: tx.openAskCount(contract.contractId),
    }));
    // Its withdrawal came first: there is nothing to decide.
    if (known.ask !== undefined) return STORED;

    const now = this.#now();
    const checked = checkAsk(kind, payload, manifestOf(contract));
    const headerEnd = fromTimestamp(header.expires_at);
    const ask: AskRow = {
      requestId: header.event_id,
      contractId: contract.contractId,
      serviceId: contract.serviceId,
      state: "open",
      kind,
      ...(typeof payload.operation === "string" ? { operation: payload.operation } : {}),
      payload,
      receivedAt: now,
      expiresAt: headerEnd,
      answerableUntil: headerEnd,
    };
    // What nobody answers is refused by its receipt.
    const isTold = kindNamed(kind)?.operations.every(({ unanswered }) => unanswered) === true;
    if (checked.verdict === "unsupported")
      return isTold ? REFUSED(UNSUPPORTED_REASON) : this.#answerAtOnce(identity, contract, ask, UNSUPPORTED);

    const { payload: shown } = checked;
    ask.expiresAt = fromTimestamp(shown.expires_at);
    ask.answerableUntil = Math.min(ask.expiresAt + shown.offline_grace_seconds * 1_000, headerEnd);
    const granted = contract.terms.contract.offering_snapshot.capabilities.filter(
      ({ capability }) => contract.revokedCapabilities?.includes(capability) !== true,
    );
    if (!isGranted(checked, granted, fromTimestamp(header.timestamp)))
      return isTold ? REFUSED("not_granted") : this.#answerAtOnce(identity, contract, ask, NOT_GRANTED);
    if (isTold) return this.#onTold(contract, header, kind, payload);
    if (known.open >= MAX_OPEN_ASKS) return REFUSED("too_many_open_asks");
    return {
      outcome: "stored",
      write: (tx, fresh, events) => {
        if (isOver(fresh.status)) ask.state = "withdrawn";
        else if (ask.answerableUntil <= now) ask.state = "expired";
        tx.saveAsk(ask);
        events.push({ type: ask.state === "open" ? "ask" : "ask_changed", ask: askView(ask, fresh) });
      },
    };
  }

  /** An answer nobody has to think about, in one transaction with the ask itself. */
  async #answerAtOnce(
    identity: IdentityRow,
    contract: ContractRow,
    ask: AskRow,
    answer: Answer,
  ): Promise<Verdict> {
    const { row, send } = await this.#answered(identity, contract, ask, answer);
    return {
      outcome: "stored",
      send,
      write: (tx, fresh, events) => {
        tx.saveAsk(row);
        events.push({ type: "ask_changed", ask: askView(row, fresh) });
      },
    };
  }

  /** Something nobody answers: its handler keeps it, in the transaction that stores the message. */
  #onTold(
    contract: ContractRow,
    header: EnvelopeHeader,
    kind: string,
    payload: { [name: string]: Json },
  ): Verdict {
    const receives = this.#handlers.of(kind)?.receives;
    if (receives === undefined) return REFUSED(UNSUPPORTED_REASON);
    const { event_id, event_type } = header;
    const draft = new HoldingsDraft((work) => this.#store.transaction(work), contract.serviceId);
    const refused = receives(
      { requestId: event_id, kind, payload, context: this.#contextOf(contract) },
      draft,
    );
    if (refused !== undefined) return REFUSED(refused.refuse);
    return {
      outcome: "stored",
      write: (tx, fresh, events) => {
        for (const touched of draft.apply(tx)) events.push({ type: "holdings_changed", ...touched });
        events.push({ type: "heard", contract_id: fresh.contractId, event_type, event_id, payload });
      },
    };
  }

  /**
   * Something said under a kind: its handler changes what is held in the transaction that stores the message. Not
   * asynchronous, and committed without a pause: nothing can change between the handler's reading and its writing.
   */
  #onHeard(contract: ContractRow, header: EnvelopeHeader, payload: Json): Verdict {
    const { event_id, event_type, ref } = header;
    const draft = new HoldingsDraft((work) => this.#store.transaction(work), contract.serviceId);
    const refused = this.#handlers
      .hearing(event_type)!
      .run(
        payload,
        { ...this.#contextOf(contract), eventId: event_id, ...(ref === undefined ? {} : { ref }) },
        draft,
      );
    if (refused !== undefined) return REFUSED(refused.refuse);
    return {
      outcome: "stored",
      write: (tx, fresh, events) => {
        for (const touched of draft.apply(tx)) events.push({ type: "holdings_changed", ...touched });
        events.push({
          type: "heard",
          contract_id: fresh.contractId,
          event_type,
          event_id,
          ...(ref === undefined ? {} : { ref }),
          payload,
        });
      },
    };
  }

  #contextOf(contract: ContractRow): HandlerContext {
    return {
      now: this.#now(),
      serviceId: contract.serviceId,
      userId: contract.terms.contract.user_id,
      contract: contract.terms.contract,
      contractId: contract.contractId,
      manifest: manifestOf(contract),
      services: () =>
        this.#store
          .transaction((tx) => tx.contracts())
          .filter(({ status }) => status === "active" || status === "paused")
          .map(({ serviceId, terms }) => ({
            service_id: serviceId,
            service_name: terms.offer.service_name,
          })),
      newId: newEventId,
    };
  }

  #onRequestCancelled(contract: ContractRow, requestId: string): Verdict {
    return {
      outcome: "stored",
      write: (tx, fresh, events) => {
        const ask = tx.ask(requestId);
        if (ask === undefined) {
          // The ask itself is still on its way; when it comes it must not be shown.
          const now = this.#now();
          tx.saveAsk({
            requestId,
            contractId: contract.contractId,
            serviceId: contract.serviceId,
            state: "withdrawn",
            kind: "unknown",
            receivedAt: now,
            expiresAt: now,
            answerableUntil: now,
          });
        } else if (ask.contractId === contract.contractId && ask.state === "open") {
          ask.state = "withdrawn";
          tx.saveAsk(ask);
          events.push({ type: "ask_changed", ask: askView(ask, fresh) });
        }
      },
    };
  }

  async #onCancelled(contract: ContractRow, revocation: Revocation): Promise<Verdict> {
    const valid =
      revocation.contract_id === contract.contractId &&
      revocation.by === "service" &&
      (await verifyRevocation(contract.terms.offer.service_public_key, revocation));
    if (!valid) return REFUSED("signature_invalid");
    return {
      outcome: "stored",
      write: (tx, fresh, events) => {
        if (isEnded(fresh.status)) {
          // Both ended it at once: the service knows of the end, so our own notice need not arrive.
          for (const row of tx.outbox(fresh.contractId)) tx.deleteOutbox(row.eventId);
        } else {
          fresh.revocation = revocation;
          this.#end(tx, fresh, events, {
            status: "cancelled",
            by: "service",
            ...(revocation.reason === undefined ? {} : { reason: revocation.reason }),
          });
        }
        // Only the receipt is left to be sent, and that needs no key of ours but the signing key.
        tx.deleteConnectionKeys(fresh.contractId);
      },
    };
  }

  #onPause(header: EnvelopeHeader, pause: boolean): Verdict {
    return {
      outcome: "stored",
      write: (_tx, fresh, events) => {
        // A repeat that overtook a later change must not undo it.
        if (header.seq <= fresh.pauseSeq || isEnded(fresh.status)) return;
        fresh.pauseSeq = header.seq;
        fresh.status = pause ? "paused" : "active";
        events.push({ type: "contract_changed", contract: contractView(fresh) });
      },
    };
  }

  async #onUpdate(contract: ContractRow, header: EnvelopeHeader, proposal: ContractUpdate): Promise<Verdict> {
    const verified = await verifyOffer(proposal.offer, {
      pinnedServiceId: contract.serviceId,
      now: this.#now(),
    });
    if (!verified.ok) return REFUSED(`offer_${verified.error}`);
    if (!verified.value.offerings.some(({ offering_id }) => offering_id === proposal.offering_id))
      return REFUSED("offering_unknown");
    if (isEnded(contract.status)) return REFUSED("superseded");
    return {
      outcome: "stored",
      write: (_tx, fresh, events) => {
        if (isEnded(fresh.status) || (fresh.proposal?.seq ?? 0) > header.seq) return;
        fresh.proposal = {
          eventId: header.event_id,
          seq: header.seq,
          ...(proposal.expires_at === undefined ? {} : { contractExpiresAt: proposal.expires_at }),
          offeringId: proposal.offering_id,
          summary: proposal.summary,
          offer: verified.value,
          expiresAt: fromTimestamp(header.expires_at),
        };
        events.push({ type: "contract_changed", contract: contractView(fresh) });
      },
    };
  }

  async #onKeyRotate(
    identity: IdentityRow,
    contract: ContractRow,
    header: EnvelopeHeader,
    {
      connection_key: newKey,
      previous_key_id: previous,
    }: { connection_key: string; previous_key_id: string },
  ): Promise<Verdict> {
    const keyBytes = fromBase64(newKey)!;
    const currentId =
      contract.serviceKey === undefined ? undefined : keyIdOf(fromBase64(contract.serviceKey)!);
    const newId = keyIdOf(keyBytes);
    if (header.seq <= contract.rotateSeq) return REFUSED("superseded");
    // Sent anew because its answer expired, it names a key we have adopted already: confirm it again.
    if (newId !== currentId && previous !== currentId) return REFUSED("key_unknown");
    if (!isSoundAgreementKey(keyBytes)) return REFUSED("key_refused");
    const adopted: ContractRow = { ...contract, serviceKey: newKey };
    const now = this.#now();
    // Sealed to the new key, so that the confirmation shows that it is in use.
    const send = await this.#sealed(identity, adopted, {
      eventType: "key.rotated",
      ref: header.event_id,
      payload: { key_id: newId },
      expiresAt: now + MESSAGE_LIFETIME_MS,
    });
    return {
      outcome: "stored",
      send,
      write: (_tx, fresh) => {
        fresh.serviceKey = newKey;
        fresh.rotateSeq = header.seq;
      },
    };
  }

  #onKeyRotated(contract: ContractRow, header: EnvelopeHeader, keyId: string): Verdict {
    if (contract.rotatingKeyId === undefined) return STORED;
    if (contract.rotatingKeyId !== keyId) return REFUSED("key_unknown");
    return {
      outcome: "stored",
      write: (tx, fresh) => {
        delete fresh.rotatingKeyId;
        const now = this.#now();
        for (const key of tx.connectionKeys(fresh.contractId))
          if (key.keyId !== keyId && key.retiredSeq === undefined)
            tx.saveConnectionKey({ ...key, retiredSeq: header.seq, retiredAt: now });
      },
    };
  }

  // ---- outbound -----------------------------------------------------------------------------------------

  /**
   * Answers an open ask: the decision, the signed statement and the sealed answer become durable in one transaction,
   * or nothing of it does. Returns the answer's event id. Throws VaultError `ask_unknown`, `ask_closed` (answered,
   * withdrawn or expired), `answer_invalid`, `match_code_missing`, `too_large`, `holding_invalid`, `store_busy`.
   */
  answer(requestId: string, answer: Answer): Promise<string> {
    const serviceId = this.#store.transaction((tx) => tx.ask(requestId)?.serviceId);
    if (serviceId === undefined) throw new VaultError("ask_unknown", `There is no ask ${requestId}.`);
    return this.#lanes.run(serviceId, async () => {
      for (let attempt = 1; attempt <= MAX_ANSWER_ATTEMPTS; attempt++) {
        const eventId = await this.#answerOnce(requestId, answer);
        if (eventId !== undefined) return eventId;
      }
      throw new VaultError("store_busy", "What the answer rests on keeps changing; try again.");
    });
  }

  /** Undefined, and nothing stored, when what the answer was computed from changed before it could be stored. */
  async #answerOnce(requestId: string, answer: Answer): Promise<string | undefined> {
    const { ask, contract, identity } = this.#store.transaction((tx) => {
      const ask = tx.ask(requestId)!;
      return { ask, contract: tx.contract(ask.contractId)!, identity: tx.identity(ask.serviceId)! };
    });
    assertOpen(ask, this.#now());
    const draft = new HoldingsDraft((work) => this.#store.transaction(work), contract.serviceId);
    const handled = await this.#handled(identity, contract, ask, answer, draft);
    const { row, send } = await this.#answered(identity, contract, ask, handled);
    const events: VaultEvent[] = [];
    const stored = this.#store.transaction((tx) => {
      // The clock went on while the answer was sealed; a withdrawal cannot have come in, it waits for this lane,
      // but an expiry can, and so can a change of what the person holds.
      assertOpen(tx.ask(requestId)!, this.#now());
      if (!draft.isCurrent(tx)) return false;
      const fresh = tx.contract(ask.contractId)!;
      tx.saveAsk(row);
      this.#post(tx, fresh, send);
      tx.saveContract(fresh);
      // A refusal leaves nothing behind but its answer.
      if (handled.decision === "approved")
        for (const touched of draft.apply(tx)) events.push({ type: "holdings_changed", ...touched });
      events.push({ type: "ask_changed", ask: askView(row, fresh) });
      return true;
    });
    if (!stored) return undefined;
    if (draft.writes) this.#store.scrub();
    this.#done(events);
    return send.eventId;
  }

  /** The answer with the result its kind's handler computed, or the denial the handler came to. */
  async #handled(
    identity: IdentityRow,
    contract: ContractRow,
    ask: AskRow,
    answer: Answer,
    draft: HoldingsDraft,
  ): Promise<Answer> {
    const handler = this.#handlers.of(ask.kind)?.answer;
    if (answer.decision !== "approved" || answer.result !== undefined || handler === undefined) return answer;
    const payload = ask.payload as { [name: string]: Json };
    // What cannot be shown can only be denied; `buildAnswer` says so.
    if (checkAsk(ask.kind, payload, manifestOf(contract)).verdict !== "shown") return answer;
    const key = await this.#signer(identity);
    const handled = await handler(
      {
        requestId: ask.requestId,
        kind: ask.kind,
        ...(ask.operation === undefined ? {} : { operation: ask.operation }),
        payload,
        context: this.#contextOf(contract),
      },
      answer,
      draft,
      { publicKey: key.publicKeyText, sign: (label, value) => signJson(key, label, value) },
    );
    if ("refuse" in handled)
      return { decision: "denied", reason: handled.refuse.slice(0, MAX_REASON_CHARACTERS) };
    return handled.result === undefined ? answer : { ...answer, result: handled.result };
  }

  /** Says something under a contract (`call.signal`, `notify.read`); `ref` is the request it belongs to. */
  say(
    contractId: string,
    eventType: string,
    payload: Json,
    ref?: string,
    /** Something of this service's that is held from then on. */
    held?: { collection: string; key: string; value: Json },
  ): Promise<string> {
    const change = ({ serviceId }: ContractRow, tx: VaultTransaction) => {
      if (held !== undefined) tx.saveHolding(serviceId, held.collection, held.key, held.value);
    };
    return this.#sendAs(contractId, eventType, payload, change, ref);
  }

  // ---- holdings -----------------------------------------------------------------------------------------

  /** Reads what is held, in a transaction of its own. */
  readHoldings<T>(read: (tx: VaultTransaction) => T): T {
    return this.#store.transaction(read);
  }

  /** Keeps a value, or lets go of it when undefined. Throws VaultError `holding_invalid`. */
  hold(serviceId: string, collection: string, key: string, value: Json | undefined): void {
    if (value !== undefined) checkHolding(collection, key, value);
    this.#store.transaction((tx) => {
      if (value === undefined) tx.deleteHolding(serviceId, collection, key);
      else tx.saveHolding(serviceId, collection, key, value);
    });
    this.#store.scrub();
    this.#emit({ type: "holdings_changed", service_id: serviceId, collection });
  }

  async #answered(
    identity: IdentityRow,
    contract: ContractRow,
    ask: AskRow,
    answer: Answer,
  ): Promise<{ row: AskRow; send: OutboxRow }> {
    const now = this.#now();
    const payload = ask.payload!;
    const checked = checkAsk(ask.kind, payload as { [name: string]: Json }, manifestOf(contract));
    const response = await buildAnswer(
      await this.#signer(identity),
      {
        requestId: ask.requestId,
        kind: ask.kind,
        payload,
        userId: identity.userId,
        serviceId: contract.serviceId,
        contractId: contract.contractId,
        ...(checked.verdict === "shown" && checked.input !== undefined ? { input: checked.input } : {}),
      },
      checked.verdict === "shown" ? checked.operation : undefined,
      answer,
      now,
    );
    const send = await this.#sealed(identity, contract, {
      eventType: `${ask.kind}.response`,
      ref: ask.requestId,
      payload: response,
      expiresAt: Math.min(ask.answerableUntil, now + MAX_ENVELOPE_LIFETIME_MS),
    });
    return {
      row: {
        ...ask,
        // What was for the vault to keep is kept where it can be let go of again, not in the ask.
        ...(checked.verdict === "shown"
          ? { payload: withoutWithheld(checked.operation, payload as { [name: string]: Json }) }
          : {}),
        state: "answered",
        // Neither the result nor its salt: they are the service's now, and destroyed here.
        answer: {
          eventId: send.eventId,
          decision: response.decision,
          ...(response.reason === undefined ? {} : { reason: response.reason }),
          ...(response.report === true ? { report: true } : {}),
          approval: response.approval,
          answeredAt: now,
        },
      },
      send,
    };
  }

  /** Shares a changed profile. Returns the message's event id. */
  updateProfile(contractId: string, profile: Profile): Promise<string> {
    if (!profileSchema.safeParse(profile).success)
      throw new VaultError(
        "answer_invalid",
        "The profile has too many fields or a field without a proper name.",
      );
    return this.#sendAs(contractId, "profile.update", { profile }, (contract) => {
      contract.profile = profile;
    });
  }

  /** Turns down a change the service proposed; the contract stays as it is. */
  declineUpdate(contractId: string, reason?: string): Promise<string> {
    const proposal = this.#contract(contractId).proposal;
    if (proposal === undefined || proposal.expiresAt <= this.#now())
      throw new VaultError("update_unknown", "The service proposes no change to this contract.");
    return this.#sendAs(
      contractId,
      "contract.update.denied",
      reason === undefined ? {} : { reason },
      (contract) => {
        delete contract.proposal;
      },
      proposal.eventId,
    );
  }

  /** Takes single capabilities back: nothing is answered under them from the commit on. */
  async revokeCapabilities(contractId: string, capabilities: string[]): Promise<string> {
    const { serviceId, terms } = this.#contract(contractId);
    const granted = terms.contract.offering_snapshot.capabilities.map(({ capability }) => capability);
    const unknown = capabilities.find((name) => !granted.includes(name));
    if (unknown !== undefined || capabilities.length === 0)
      throw new VaultError("capability_unknown", `The contract does not grant ${unknown ?? "nothing"}.`);
    const { key } = await this.identityFor(serviceId);
    const payload = await signCapabilityRevocation(key, contractId, capabilities);
    return this.#sendAs(contractId, "capability.revoke", payload, (contract, tx) => {
      contract.revokedCapabilities = [...new Set([...(contract.revokedCapabilities ?? []), ...capabilities])];
      for (const ask of tx.asks({ state: "open", contractId })) {
        const payload = ask.payload as { [name: string]: Json };
        const checked = checkAsk(ask.kind, payload, manifestOf(contract));
        const isLeft =
          checked.verdict === "shown" &&
          checked.operation.capabilities.some(
            (name) => granted.includes(name) && contract.revokedCapabilities?.includes(name) !== true,
          );
        if (isLeft) continue;
        ask.state = "withdrawn";
        tx.saveAsk(ask);
      }
    });
  }

  /** Begins to replace our connection key of a contract; the old one is kept until the service has changed over. */
  async rotateKey(contractId: string): Promise<string> {
    const { key, secret } = await newAgreementKey();
    const { serviceId } = this.#contract(contractId);
    return this.#lanes.run(serviceId, async () => {
      const contract = this.#contract(contractId);
      const keys = this.#store.transaction((tx) => tx.connectionKeys(contractId));
      // One at a time: a rotation that was not confirmed is told again, with the same key.
      const pending = keys.find(({ keyId }) => keyId === contract.rotatingKeyId);
      const previous = keys.find(
        ({ keyId, retiredSeq }) => keyId !== pending?.keyId && retiredSeq === undefined,
      );
      if (previous === undefined) throw notActive(contract);
      const next = pending === undefined ? key : await importAgreementKey(pending.secret);
      return this.#sendNow(
        contractId,
        "key.rotate",
        { connection_key: next.publicKeyText, previous_key_id: previous.keyId },
        (fresh, tx) => {
          if (pending !== undefined) return;
          fresh.rotatingKeyId = key.keyId;
          tx.saveConnectionKey({ contractId, keyId: key.keyId, secret, createdAt: this.#now() });
        },
      );
    });
  }

  /**
   * Ends a contract. From the commit on nothing of it is answered any more; the signed notice is sent until the
   * service has it. Returns the notice's event id. Throws VaultError `contract_unknown` or `contract_not_active`.
   */
  revoke(contractId: string, reason?: string): Promise<string> {
    const { serviceId } = this.#contract(contractId);
    return this.#lanes.run(serviceId, async () => {
      const contract = this.#contract(contractId);
      assertLive(contract);
      const { row: identity, key } = await this.identityFor(serviceId);
      const now = this.#now();
      const revocation = await signRevocation(key, {
        contract_id: contractId,
        by: "user",
        at: toTimestamp(now),
        ...(reason === undefined ? {} : { reason }),
      });
      const send = await this.#sealed(identity, contract, {
        eventType: "contract.revoke",
        payload: revocation,
        expiresAt: now + REVOKE_LIFETIME_MS,
      });
      const events: VaultEvent[] = [];
      this.#store.transaction((tx) => {
        const fresh = tx.contract(contractId)!;
        assertLive(fresh);
        fresh.revocation = revocation;
        this.#end(tx, fresh, events, {
          status: "cancelled",
          by: "user",
          ...(reason === undefined ? {} : { reason }),
        });
        this.#post(tx, fresh, send);
        tx.saveContract(fresh);
      });
      this.#done(events);
      return send.eventId;
    });
  }

  /** The service took the revocation over HTTPS: its receipt is no longer needed. */
  settleRevocation(contractId: string): void {
    const events: VaultEvent[] = [];
    this.#store.transaction((tx) => {
      const contract = tx.contract(contractId);
      if (contract === undefined || contract.endSettled) return;
      const now = toTimestamp(this.#now());
      for (const sent of tx.outbox(contractId)) {
        tx.deleteOutbox(sent.eventId);
        const row = {
          eventId: sent.eventId,
          contractId,
          serviceId: sent.serviceId,
          eventType: sent.eventType,
          seq: sent.seq,
          sentAt: sent.createdAt,
          receivedAt: now,
          outcome: "stored" as const,
        };
        tx.saveReceipt(row);
        events.push({ type: "delivered", receipt: receiptView(row) });
      }
      this.#settleEnd(tx, contract);
      tx.saveContract(contract);
    });
    this.#store.scrub();
    this.#done(events);
  }

  /** The service has no link for this ended contract any more: there is nobody to send a receipt to. */
  abandonLink(contractId: string): void {
    this.#store.transaction((tx) => {
      const contract = tx.contract(contractId);
      if (contract === undefined || !isEnded(contract.status)) return;
      this.#settleEnd(tx, contract);
      tx.saveContract(contract);
    });
    this.#store.scrub();
    this.#onWork();
  }

  #sendAs(
    contractId: string,
    eventType: string,
    payload: unknown,
    change: (contract: ContractRow, tx: VaultTransaction) => void,
    ref?: string,
  ): Promise<string> {
    const { serviceId } = this.#contract(contractId);
    return this.#lanes.run(serviceId, () => this.#sendNow(contractId, eventType, payload, change, ref));
  }

  /** Seals and stores a message in the lane the caller holds. */
  async #sendNow(
    contractId: string,
    eventType: string,
    payload: unknown,
    change: (contract: ContractRow, tx: VaultTransaction) => void,
    ref?: string,
  ): Promise<string> {
    const contract = this.#contract(contractId);
    assertLive(contract);
    const { row: identity } = await this.identityFor(contract.serviceId);
    const send = await this.#sealed(identity, contract, {
      eventType,
      ...(ref === undefined ? {} : { ref }),
      payload,
      expiresAt: this.#now() + MESSAGE_LIFETIME_MS,
    });
    const events: VaultEvent[] = [];
    this.#store.transaction((tx) => {
      const fresh = tx.contract(contractId)!;
      assertLive(fresh);
      change(fresh, tx);
      this.#post(tx, fresh, send);
      tx.saveContract(fresh);
      events.push({ type: "contract_changed", contract: contractView(fresh) });
    });
    this.#done(events);
    return send.eventId;
  }

  /** Seals a message under the contract's next number; `#post` makes the number and the message durable together. */
  async #sealed(
    identity: IdentityRow,
    contract: ContractRow,
    message: { eventType: string; ref?: string; payload: unknown; expiresAt: number },
  ): Promise<OutboxRow> {
    const { eventType, ref, payload, expiresAt } = message;
    if (contract.serviceKey === undefined) throw notActive(contract);
    const now = this.#now();
    const eventId = newEventId();
    const seq = contract.sentSeq + 1;
    const bytes = await sealed(
      await this.#signer(identity),
      contract.serviceKey,
      {
        event_id: eventId,
        event_type: eventType,
        ...(ref === undefined ? {} : { ref }),
        to: contract.serviceId,
        contract_id: contract.contractId,
        seq,
        timestamp: toTimestamp(now),
        expires_at: toTimestamp(expiresAt),
      },
      payload,
    );
    return {
      eventId,
      serviceId: contract.serviceId,
      contractId: contract.contractId,
      eventType,
      ...(ref === undefined ? {} : { ref }),
      seq,
      subject: fromUserSubject(contract.serviceId, identity.userId, eventType, ref),
      bytes,
      createdAt: now,
      expiresAt,
      sendings: 0,
      nextAt: now,
    };
  }

  #post(tx: VaultTransaction, contract: ContractRow, send: OutboxRow): void {
    // The lane keeps others from sealing in between; were it ever broken, two messages with one number would be
    // worse than an error.
    if (send.seq !== contract.sentSeq + 1)
      throw new Error("a message was sealed under a number already given");
    contract.sentSeq = send.seq;
    tx.saveOutbox(send);
  }

  /** A receipt for a message, sealed anew each time; undefined when the service's key is gone or not yet known. */
  async sealReceipt(
    received: ReceivedRow,
  ): Promise<{ eventId: string; subject: string; bytes: Uint8Array } | undefined> {
    const { contract, identity, missing } = this.#store.transaction((tx) => {
      const contract = tx.contract(received.contractId);
      return {
        contract,
        identity: tx.identity(received.serviceId),
        missing:
          contract === undefined
            ? []
            : tx.missingSeq(contract.contractId, contract.receivedFloor, MAX_MISSING_NAMED),
      };
    });
    if (contract?.serviceKey === undefined || identity === undefined) return undefined;
    const payload: ReceiptPayload = {
      event_id: received.eventId,
      received_at: toTimestamp(received.receivedAt),
      outcome: received.outcome,
      ...(received.reason === undefined ? {} : { reason: received.reason }),
      ...(missing.length === 0 ? {} : { missing_seq: missing }),
    };
    const now = this.#now();
    const eventId = newEventId();
    const bytes = await sealed(
      await this.#signer(identity),
      contract.serviceKey,
      {
        event_id: eventId,
        event_type: "receipt",
        ref: received.eventId,
        to: contract.serviceId,
        contract_id: contract.contractId,
        seq: 0,
        timestamp: toTimestamp(now),
        expires_at: toTimestamp(now + RECEIPT_LIFETIME_MS),
      },
      payload,
    );
    return {
      eventId,
      subject: fromUserSubject(contract.serviceId, identity.userId, "receipt", received.eventId),
      bytes,
    };
  }

  // ---- time ---------------------------------------------------------------------------------------------

  /**
   * Does what is due by the clock: asks and contracts that expired, messages that can no longer arrive, keys that
   * have served. Safe to call at any time and as often as one likes.
   */
  async expire(): Promise<void> {
    const now = this.#now();
    const events: VaultEvent[] = [];
    const rotateAgain: string[] = [];
    let scrub = false;
    this.#store.transaction((tx) => {
      for (const message of tx.outboxExpired(now)) {
        tx.deleteOutbox(message.eventId);
        const { contractId, eventType, eventId, ref } = message;
        events.push({
          type: "undelivered",
          event_id: eventId,
          event_type: eventType,
          contract_id: contractId,
        });
        const contract = tx.contract(contractId);
        if (contract === undefined) continue;
        const ask = ref !== undefined && kindOfResponse(eventType) !== undefined ? tx.ask(ref) : undefined;
        if (ask?.answer?.eventId === eventId) {
          ask.undelivered = true;
          tx.saveAsk(ask);
          events.push({ type: "ask_changed", ask: askView(ask, contract) });
        } else if (eventType === "contract.submit" && contract.status === "pending") {
          this.#end(tx, contract, events, { status: "expired", reason: "submission_undelivered" });
          this.#settleEnd(tx, contract);
          scrub = true;
        } else if (eventType === "contract.revoke") {
          this.#settleEnd(tx, contract);
          scrub = true;
        } else if (
          eventType === "key.rotate" &&
          contract.rotatingKeyId !== undefined &&
          !isEnded(contract.status)
        ) {
          rotateAgain.push(contractId);
        }
        tx.saveContract(contract);
      }
      for (const ask of tx.asksPast(now)) {
        ask.state = "expired";
        tx.saveAsk(ask);
        const contract = tx.contract(ask.contractId);
        if (contract !== undefined) events.push({ type: "ask_changed", ask: askView(ask, contract) });
      }
      for (const contract of tx.contracts()) {
        if (contract.endSettled) continue;
        if (this.#age(tx, contract, now, events)) scrub = true;
        tx.saveContract(contract);
      }
      // Whatever was sealed before a message we forget now has expired: numbers up to its own are settled.
      for (const { contractId, seq } of tx.forgetReceived(now - SEEN_IDS_RETENTION_MS)) {
        const contract = tx.contract(contractId);
        if (contract === undefined || seq <= contract.receivedFloor) continue;
        contract.receivedFloor = seq;
        tx.saveContract(contract);
      }
    });
    if (scrub) this.#store.scrub();
    for (const contractId of rotateAgain) await this.rotateKey(contractId);
    await this.#followRevocations();
    if (events.length > 0) this.#done(events);
  }

  /** What time does to one contract; true when secrets were deleted. */
  #age(tx: VaultTransaction, contract: ContractRow, now: number, events: VaultEvent[]): boolean {
    const expiry = contractExpiry(contract);
    if (contract.proposal !== undefined && contract.proposal.expiresAt <= now) delete contract.proposal;
    if (!isEnded(contract.status)) {
      const over =
        (expiry !== undefined && expiry <= now) ||
        (contract.status === "pending" && contract.createdAt + PENDING_LIFETIME_MS <= now);
      if (!over) return this.#dropRetiredKeys(tx, contract, now);
      this.#end(tx, contract, events, { status: "expired" });
      this.#settleEnd(tx, contract);
      return true;
    }
    if (contract.status === "superseded") return this.#finishSuperseded(tx, contract, now, events);
    if (contract.endedAt === undefined || contract.endedAt + REVOCATION_NOTICE_MS > now) return false;
    // Seven days after the end no connection key is left, receipt or not (PROTOCOL §7). A notice of ours that has
    // not arrived keeps its sealed bytes and what it takes to send them.
    tx.deleteConnectionKeys(contract.contractId);
    if (tx.outbox(contract.contractId).length === 0) this.#settleEnd(tx, contract);
    return true;
  }

  /** A superseded contract's keys go once nothing is open under it, at the latest after 7 days (PROTOCOL §7). */
  #finishSuperseded(tx: VaultTransaction, contract: ContractRow, now: number, events: VaultEvent[]): boolean {
    const { contractId, endedAt = now } = contract;
    const isOpen =
      tx.openAskCount(contractId) > 0 ||
      tx.outbox(contractId).length > 0 ||
      tx.receiptsDue(contractId, 1).length > 0;
    const isDone = !isOpen && endedAt + SUPERSEDED_ARRIVAL_MS <= now;
    if (!isDone && endedAt + REVOCATION_NOTICE_MS > now) return false;
    this.#withdrawAsks(tx, contract, events);
    this.#settleEnd(tx, contract);
    return true;
  }

  #withdrawAsks(tx: VaultTransaction, contract: ContractRow, events: VaultEvent[]): void {
    for (const ask of tx.asks({ state: "open", contractId: contract.contractId })) {
      ask.state = "withdrawn";
      tx.saveAsk(ask);
      events.push({ type: "ask_changed", ask: askView(ask, contract) });
    }
  }

  /** Old keys go once every message sealed to them has arrived or expired (PROTOCOL §7). */
  #dropRetiredKeys(tx: VaultTransaction, contract: ContractRow, now: number): boolean {
    let dropped = false;
    for (const key of tx.connectionKeys(contract.contractId)) {
      if (key.retiredSeq === undefined || key.retiredAt === undefined) continue;
      const [firstMissing] = tx.missingSeq(contract.contractId, contract.receivedFloor, 1);
      const complete = firstMissing === undefined || firstMissing > key.retiredSeq;
      if (!complete && key.retiredAt + MAX_ENVELOPE_LIFETIME_MS > now) continue;
      tx.deleteConnectionKeys(contract.contractId, key.keyId);
      dropped = true;
    }
    return dropped;
  }

  /** A contract's end as it becomes true: what it let the service ask for and know is gone. */
  #end(
    tx: VaultTransaction,
    contract: ContractRow,
    events: VaultEvent[],
    end: { status: "cancelled" | "rejected" | "expired"; by?: "user" | "service"; reason?: string },
  ): void {
    if (contract.status === "active" || contract.status === "paused") {
      // With the contract in force ends what was still to be finished under those it superseded.
      for (const old of tx.contracts()) {
        if (old.serviceId !== contract.serviceId || old.status !== "superseded" || old.endSettled === true)
          continue;
        this.#withdrawAsks(tx, old, events);
        this.#settleEnd(tx, old);
        tx.saveContract(old);
      }
    }
    contract.status = end.status;
    contract.endedAt = this.#now();
    if (end.by !== undefined) contract.endedBy = end.by;
    if (end.reason !== undefined) contract.reason = end.reason;
    contract.profile = {};
    delete contract.proposal;
    delete contract.rotatingKeyId;
    for (const message of tx.outbox(contract.contractId)) tx.deleteOutbox(message.eventId);
    this.#withdrawAsks(tx, contract, events);
    events.push({ type: "contract_changed", contract: contractView(contract) });
  }

  /** Nothing is left to be said: every secret of the contract goes. Its record and history stay. */
  #settleEnd(tx: VaultTransaction, contract: ContractRow): void {
    contract.endSettled = true;
    delete contract.natsSeed;
    delete contract.credentials;
    tx.deleteConnectionKeys(contract.contractId);
    for (const message of tx.outbox(contract.contractId)) tx.deleteOutbox(message.eventId);
  }

  #contract(contractId: string): ContractRow {
    const contract = this.#store.transaction((tx) => tx.contract(contractId));
    if (contract === undefined)
      throw new VaultError("contract_unknown", `There is no contract ${contractId}.`);
    return contract;
  }

  #done(events: readonly VaultEvent[]): void {
    for (const event of events) this.#emit(event);
    this.#onWork();
  }
}

/** What was agreed to, not what the service publishes since. */
const manifestOf = (contract: ContractRow) => contract.terms.offer.handler_manifest;

/** The kind an event type asks for: `<kind>.request`, or one of its own (`call.initiate`). */
const askedKind = (eventType: string): string | undefined =>
  kindOfRequest(eventType) ?? kindAsking(eventType);

/** Whether nothing passes any more; what is open under a superseded contract is still finished under it. */
const isOver = (status: ContractRow["status"]): boolean => isEnded(status) && status !== "superseded";

/** Which messages a contract's state lets through to verification. */
function admits(contract: ContractRow, { contract_id, event_type, seq }: EnvelopeHeader): boolean {
  const setup = contract_id === undefined;
  if (setup && !SETUP_TYPES.has(event_type)) return false;
  if ((seq === 0) !== (setup || event_type === "receipt")) return false;
  // The acceptance has not come yet; without a receipt the service sends this again after it has.
  if (!setup && contract.status === "pending" && event_type !== "receipt") return false;
  return !isOver(contract.status) || AFTER_END_TYPES.has(event_type);
}

const notActive = (contract: ContractRow): VaultError =>
  isEnded(contract.status)
    ? new VaultError("contract_ended", `Contract ${contract.contractId} has ended (${contract.status}).`)
    : new VaultError("contract_not_active", `Contract ${contract.contractId} is ${contract.status}.`);

function assertLive(contract: ContractRow): void {
  if (contract.status !== "active" && contract.status !== "paused") throw notActive(contract);
}

function assertOpen(ask: AskRow, now: number): void {
  if (ask.state !== "open")
    throw new VaultError("ask_closed", `Ask ${ask.requestId} is no longer open: it is ${ask.state}.`);
  if (ask.answerableUntil <= now)
    throw new VaultError("ask_closed", `Ask ${ask.requestId} is no longer open: it has expired.`);
}

/** Seals to a public key given as base64. Throws VaultError `too_large`. */
async function sealed(
  sender: SigningKey,
  recipient: string,
  header: Parameters<typeof seal>[2],
  payload: unknown,
): Promise<Uint8Array> {
  try {
    return await seal(sender, fromBase64(recipient)!, header, payload);
  } catch (error) {
    if (error instanceof MessageTooLarge) throw new VaultError("too_large", error.message, { cause: error });
    throw error;
  }
}
