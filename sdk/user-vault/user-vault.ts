// The person's vault: store, mailbox, sessions and policy put together.

import { credentialsForm, setupForm, signContract } from "../../src/contracts/agreement.ts";
import { verifyAttestation } from "../../src/contracts/attestation.ts";
import { domainRecordName, findingIn } from "../../src/contracts/domain.ts";
import { missingData } from "../../src/contracts/negotiation.ts";
import { verifyOffer } from "../../src/contracts/offer.ts";
import { newAgreementKey } from "../../src/crypto/agreement.ts";
import { contractIdOf } from "../../src/crypto/hash.ts";
import { signJson } from "../../src/crypto/signing.ts";
import type { Approval } from "../../src/protocol/asking.ts";
import {
  type Contract,
  type ContractRecord,
  isEnded,
  matchCode as matchCodeSchema,
  type NatsCredentials,
  type Profile,
  profile as profileSchema,
} from "../../src/protocol/contract.ts";
import { newEventId } from "../../src/protocol/ids.ts";
import type { Json } from "../../src/protocol/json.ts";
import { LABELS } from "../../src/protocol/labels.ts";
import { REVOCATION_NOTICE_MS } from "../../src/protocol/limits.ts";
import type { AuditResponse } from "../../src/protocol/messages.ts";
import type { Attestation, Offer, Offering } from "../../src/protocol/offer.ts";
import { timestamp, toTimestamp } from "../../src/protocol/primitives.ts";
import { userInboxPrefix } from "../../src/protocol/subjects.ts";
import type { KindOperation } from "../../src/requests/kind.ts";
import { ED25519_FORMAT } from "../../src/requests/kinds/sign.ts";
import { resendPauseMs } from "../../src/requests/lifecycle.ts";
import { kindNamed, operationOf } from "../../src/requests/registry.ts";
import type { OutboundMessage } from "../../src/rpc.ts";
import type { Answer } from "./answer.ts";
import { type AuditReport, readPages } from "./audit.ts";
import { VaultError } from "./errors.ts";
import {
  type Ask,
  askView,
  type ContractInfo,
  contractView,
  type Log,
  proposedOffering,
  type Receipt,
  receiptView,
  type VaultEvent,
} from "./events.ts";
import type { Handler } from "./handlers/handler.ts";
import { Handlers } from "./handlers/index.ts";
import { INBOX, type Notification } from "./handlers/notification.ts";
import { PAYMENT_METHODS, type PaymentMethod } from "./handlers/payment.ts";
import { newTransactionKey, TRANSACTION_KEYS } from "./handlers/sign.ts";
import { DATA, type Holding, PERSONAL } from "./holdings.ts";
import { type Fetch, ServiceHttp } from "./http.ts";
import { newNatsKey, openNatsKey } from "./identity.ts";
import { type Invite, isLoopback, parseInvite } from "./invite.ts";
import { assertWebSocket, isFresh, type MessageSpaceAccess, PlatformLink, ServiceLink } from "./links.ts";
import { Mailbox } from "./mailbox.ts";
import type { AskState, ContractRow, OutboxRow, ReceivedRow, VaultStore } from "./store.ts";

/** How long `connect` waits for the service's decision unless told otherwise. */
const CONNECT_TIMEOUT_MS = 30_000;
/** How long `delivered`, `settled` and `caughtUp` wait unless told otherwise. */
const DELIVERY_TIMEOUT_MS = 30_000;
/** Messages and receipts published together. */
const PUBLISH_BATCH = 64;
/** The clockwork looks after what is due no more often than the first and no less often than the second. */
const SHORTEST_TICK_MS = 1_000;
const LONGEST_TICK_MS = 60_000;
/** A revocation goes over HTTPS when NATS has not taken it after this. */
const REVOKE_OVER_HTTPS_AFTER_MS = 5_000;
/** Pause after a revocation over HTTPS failed. */
const REVOKE_HTTPS_RETRY_MS = 30_000;
const CAUGHT_UP_POLL_MS = 100;
/** A TXT record that does not come in time proves nothing. */
const DNS_TIMEOUT_MS = 3_000;

/**
 * Decides about an ask. `"later"` leaves it open, to be answered by `UserVault.answer`. Called once for each ask, and
 * once more after a restart for those still open; a decision it returned is kept or lost as a whole. When it throws,
 * the ask stays open.
 */
export type Policy = (ask: Ask) => Promise<Answer | "later"> | Answer | "later";

export interface UserVaultOptions {
  /** Belongs to the vault from here on: `close` closes it. */
  store: VaultStore;
  messageSpace: MessageSpaceAccess;
  /** Absent: every ask waits for `answer`. */
  policy?: Policy;
  /** How kinds are answered from what the vault holds; absent: by every handler of this library. */
  handlers?: readonly Handler[];
  /** Absent: nothing is logged. */
  log?: Log;
  fetch?: Fetch;
  /** Milliseconds since the epoch. */
  now?: () => number;
  /** Reads TXT records (as `resolveTxt` of node:dns/promises); absent: domains are shown as not checked. */
  resolveTxt?: (name: string) => Promise<string[][]>;
}

export interface ConnectOptions {
  /** What is shared with the service; must hold the offering's required data. */
  profile?: Profile;
  /** The code the inviter told the person. */
  matchCode?: string;
  /** Needed when the invite leaves a choice. */
  offeringId?: string;
  /** RFC 3339, UTC with milliseconds: when the contract ends by itself. */
  expiresAt?: string;
  /** How long to wait for the service's decision, milliseconds. */
  timeoutMs?: number;
}

/** `unproven`: it was looked at, and is not so. `not_checked`: nobody could tell. */
export type Proof = "verified" | "unproven" | "not_checked";

/** What an invite leads to, verified, before anything is agreed. */
export interface Preview {
  invite: Invite;
  /** As signed by the service. */
  offer: Offer;
  service_id: string;
  service_name: string;
  service_type: string;
  /** `verified`: the domain's own TXT record names this service. `unproven`: it does not. */
  domain?: { name: string; proof: Proof };
  /** What registries are said to attest; `verified`: under the key the registry itself publishes. */
  attestations: { registry: string; statement: string; expires_at: string; proof: Proof }[];
  offerings: {
    offering_id: string;
    name: string;
    description: string;
    /** What the service may ask, in its own words. */
    grants: {
      capability: string;
      description: string;
      scope?: string[];
      requires_approval_each_use: boolean;
    }[];
    required_data: { data_type: string; purpose: string; retention?: string }[];
    optional_data: { data_type: string; purpose: string; retention?: string }[];
    pricing?: NonNullable<Offering["pricing"]>;
    terms_url?: string;
    acceptance: "automatic" | "manual";
    match_code_needed: boolean;
  }[];
}

export class UserVault {
  readonly #store: VaultStore;
  readonly #mailbox: Mailbox;
  readonly #http: ServiceHttp;
  readonly #platform: PlatformLink;
  readonly #policy: Policy | undefined;
  readonly #now: () => number;
  readonly #log: Log;
  readonly #resolveTxt: UserVaultOptions["resolveTxt"];
  readonly #links = new Map<string, ServiceLink>();
  readonly #listeners = new Set<(event: VaultEvent) => void>();
  /** Re-examined whenever anything was committed or published. */
  readonly #waiters = new Set<() => void>();
  readonly #pumping = new Map<string, { again: boolean }>();
  readonly #consulted = new Set<string>();
  /** Contracts whose link still runs on a setup JWT. */
  readonly #inSetup = new Set<string>();
  #online = false;
  #closed = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #workQueued = false;

  private constructor(options: UserVaultOptions) {
    const { store, messageSpace, policy, log, fetch: fetcher, now, resolveTxt } = options;
    assertWebSocket(messageSpace.endpoint, "The platform's");
    this.#store = store;
    this.#policy = policy;
    this.#log = log ?? (() => {});
    this.#now = now ?? Date.now;
    this.#resolveTxt = resolveTxt;
    this.#http = new ServiceHttp(fetcher ?? ((url, init) => fetch(url, init)));
    this.#mailbox = new Mailbox({
      store,
      now: this.#now,
      emit: (event) => this.#emit(event),
      onWork: () => this.#work(),
      log: this.#log,
      ...(options.handlers === undefined ? {} : { handlers: new Handlers(options.handlers) }),
    });
    this.#platform = new PlatformLink({
      access: messageSpace,
      deliver: (serviceId, subject, bytes) => this.#mailbox.receive(serviceId, subject, bytes),
      log: this.#log,
    });
  }

  /** Opens a vault over its store; offline until `start` or `connect`. */
  static async open(options: UserVaultOptions): Promise<UserVault> {
    const vault = new UserVault(options);
    await vault.#mailbox.expire();
    return vault;
  }

  // ---- life ---------------------------------------------------------------------------------------------

  /** Goes online: fetches what was missed, sends what waits, asks the policy about what is open. */
  start(): void {
    this.#assertOpen();
    if (this.#online) return;
    this.#online = true;
    this.#platform.start();
    this.#work();
    for (const row of this.#store.transaction((tx) => tx.asks({ state: "open" })))
      this.#consult(row.requestId);
  }

  /** Goes offline; what was begun is finished and stored first. Nothing is lost, `start` goes on from here. */
  async stop(): Promise<void> {
    this.#online = false;
    clearTimeout(this.#timer);
    for (const link of this.#links.values()) link.stop();
    this.#links.clear();
    this.#platform.stop();
    this.#consulted.clear();
    await this.#mailbox.idle();
    for (const check of [...this.#waiters]) check();
  }

  /** Goes offline for good and closes the store. */
  async close(): Promise<void> {
    await this.stop();
    this.#closed = true;
    this.#store.close();
  }

  /** Calls `listener` for each event, after what it tells of is durable. Returns a function that ends it. */
  on(listener: (event: VaultEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Whether the sessions are up: the platform's, and each live contract's. */
  status(): {
    online: boolean;
    platform: boolean;
    platform_error?: string;
    services: { contract_id: string; ready: boolean }[];
  } {
    const error = this.#platform.ready ? undefined : this.#platform.lastError;
    return {
      online: this.#online,
      platform: this.#platform.ready,
      ...(error === undefined ? {} : { platform_error: error }),
      services: [...this.#links].map(([contract_id, link]) => ({ contract_id, ready: link.ready })),
    };
  }

  // ---- connecting ---------------------------------------------------------------------------------------

  /**
   * Fetches and verifies the offer behind an invite. Throws VaultError `invite_invalid`, `offer_refused` (another
   * service, a bad signature, out of date), `service_refused` (used up, expired) or `service_unreachable`.
   */
  async preview(inviteUrl: string): Promise<Preview> {
    const invite = parseInvite(inviteUrl);
    const offer = await this.#offer(invite);
    const [domain, attestations] = await Promise.all([
      offer.domain === undefined ? undefined : this.#domain(offer.domain, offer),
      Promise.all(offer.attestations.map((attestation) => this.#attestation(attestation, offer, invite))),
    ]);
    return {
      invite,
      offer,
      service_id: offer.service_id,
      service_name: offer.service_name,
      service_type: offer.service_type,
      ...(domain === undefined ? {} : { domain }),
      attestations,
      offerings: offer.offerings.map(describeOffering),
    };
  }

  async #offer(invite: Invite): Promise<Offer> {
    const received = await this.#http.offer(invite.origin, invite.code);
    const verified = await verifyOffer(received, { pinnedServiceId: invite.serviceId, now: this.#now() });
    if (!verified.ok)
      throw new VaultError("offer_refused", `The offer does not verify (${verified.error}): do not connect.`);
    return verified.value;
  }

  async #domain(name: string, offer: Offer): Promise<NonNullable<Preview["domain"]>> {
    if (this.#resolveTxt === undefined) return { name, proof: "not_checked" };
    let timer: ReturnType<typeof setTimeout> | undefined;
    try {
      const late = new Promise<undefined>((resolve) => {
        timer = setTimeout(() => resolve(undefined), DNS_TIMEOUT_MS);
      });
      const records = await Promise.race([this.#resolveTxt(domainRecordName(name)), late]);
      if (records === undefined) return { name, proof: "not_checked" };
      const found = findingIn(
        records.map((parts) => parts.join("")),
        { serviceId: offer.service_id, publicKey: offer.service_public_key },
      );
      return { name, proof: found === "verified" ? "verified" : "unproven" };
    } catch (error) {
      const code = (error as { code?: unknown }).code;
      return { name, proof: code === "ENOTFOUND" || code === "ENODATA" ? "unproven" : "not_checked" };
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * The attestation names its own key, which proves nothing: the registry is asked which key it has. It is not told
   * about whom.
   */
  async #attestation(
    attestation: Attestation,
    offer: Offer,
    invite: Invite,
  ): Promise<Preview["attestations"][number]> {
    const { registry, statement, expires_at } = attestation;
    const shown = (proof: Proof) => ({ registry, statement, expires_at, proof });
    const verified = await verifyAttestation(attestation, { serviceId: offer.service_id, now: this.#now() });
    if (!verified.ok) return shown("unproven");
    const document = await this.#http.registry(registry, isLoopback(invite.origin));
    if (document === undefined) return shown("not_checked");
    return shown(
      document.registry === registry && document.registry_key === attestation.registry_key
        ? "verified"
        : "unproven",
    );
  }

  /**
   * Agrees to what an invite offers: signs a contract, submits it and waits for the service. Goes online if it has
   * to. Resolves with the contract: `active`, or `pending` when the service has not decided in time (it goes on by
   * itself; watch `contract_changed`). After a crash, the same call goes on where it was.
   *
   * Throws VaultError: what `preview` throws, and `offering_required`, `offering_unknown`, `required_data_missing`,
   * `match_code_missing`, `already_connected`, `rejected` (with the service's reason).
   */
  async connect(inviteUrl: string, options: ConnectOptions = {}): Promise<ContractInfo> {
    this.#assertOpen();
    const invite = parseInvite(inviteUrl);
    const contractId = this.#resumable(invite) ?? (await this.#agree(invite, options));
    this.start();
    const timeoutMs = options.timeoutMs ?? CONNECT_TIMEOUT_MS;
    const waiting = await this.#until(() => this.#decided(contractId), timeoutMs);
    // A decision by hand may have been made while the vault was away, and lie in the stream.
    if (waiting !== undefined && this.#row(contractId).status === "pending") await this.caughtUp(timeoutMs);
    const row = this.#row(contractId);
    if (row.status === "rejected")
      throw new VaultError(
        "rejected",
        `The service turned the contract down: ${row.reason ?? "no reason given"}.`,
      );
    return contractView(row);
  }

  /** A contract that this very invite led to and that has not been turned down. */
  #resumable({ code, serviceId }: Invite): string | undefined {
    return this.#store
      .transaction((tx) => tx.contracts())
      .find((row) => row.serviceId === serviceId && row.terms.inviteCode === code && !isEnded(row.status))
      ?.contractId;
  }

  /** Whether there is nothing to wait for: decided, or in the hands of a person at the service. */
  #decided(contractId: string): true | undefined {
    return this.#store.transaction((tx) => {
      const row = tx.contract(contractId);
      if (row?.status !== "pending") return true;
      const { submitEventId, contract } = row.terms;
      const arrived = tx.receipt(submitEventId) !== undefined;
      return arrived && contract.offering_snapshot.acceptance === "manual" ? true : undefined;
    });
  }

  /** Signs and stores a contract; returns its id, or that of the one the service already has. */
  async #agree(invite: Invite, options: ConnectOptions): Promise<string> {
    const profile = options.profile ?? {};
    if (!profileSchema.safeParse(profile).success)
      throw new VaultError(
        "required_data_missing",
        "The profile has too many fields or one without a proper name.",
      );
    const offer = await this.#offer(invite);
    const offering = chooseOffering(offer, options.offeringId);
    const missing = missingData(offering, profile);
    if (missing.length > 0)
      throw new VaultError("required_data_missing", `${offer.service_name} needs: ${missing.join(", ")}.`);
    if (options.matchCode !== undefined && !matchCodeSchema.safeParse(options.matchCode).success)
      throw new VaultError("match_code_missing", "The match code is 2 to 6 digits.");
    if (offering.match_code === true && options.matchCode === undefined)
      throw new VaultError(
        "match_code_missing",
        "This invite comes with a code: ask whoever invited you for it.",
      );
    if (options.expiresAt !== undefined && !timestamp.safeParse(options.expiresAt).success)
      throw new VaultError("answer_invalid", "expiresAt must be RFC 3339 in UTC with milliseconds.");
    const live = this.contracts().find(
      ({ service_id, status }) =>
        service_id === offer.service_id && (status === "active" || status === "paused"),
    );
    if (live?.offering_id === offering.offering_id) return live.contract_id;
    if (live !== undefined)
      throw new VaultError(
        "already_connected",
        `There is a contract with ${offer.service_name} already (${live.offering_name}): end it first.`,
      );

    const { row: identity, key } = await this.#mailbox.identityFor(offer.service_id);
    const natsKey = await newNatsKey();
    const setup = await this.#setupCredentials(
      invite.origin,
      invite.code,
      offer.service_id,
      natsKey.seedText,
    );
    if (setup.outcome === "connected") {
      const known = this.#store.transaction((tx) => tx.contract(setup.contractId));
      if (known !== undefined && !isEnded(known.status)) return known.contractId;
      throw new VaultError(
        "already_connected",
        `${offer.service_name} has an active contract (${setup.contractId}) that this vault does not hold.`,
      );
    }

    const { key: connectionKey, secret } = await newAgreementKey();
    const now = this.#now();
    const contract: Contract = {
      v: 1,
      user_id: identity.userId,
      user_signing_key: key.publicKeyText,
      service_id: offer.service_id,
      offer_id: offer.offer_id,
      offering_id: offering.offering_id,
      offering_snapshot: offering,
      user_connection_key: connectionKey.publicKeyText,
      nats_public_key: natsKey.publicText,
      message_space: identity.messageSpace,
      created_at: toTimestamp(now),
      ...(options.expiresAt === undefined ? {} : { expires_at: options.expiresAt }),
    };
    const contractId = contractIdOf(contract);
    const signedAt = toTimestamp(now);
    const userSignature = await signContract(key, contractId, signedAt);
    await this.#mailbox.submit({
      contract: {
        contractId,
        serviceId: offer.service_id,
        status: "pending",
        createdAt: now,
        terms: {
          origin: invite.origin,
          inviteCode: invite.code,
          submitEventId: newEventId(),
          contract,
          userSignature,
          signedAt,
          offer,
        },
        profile,
        natsSeed: natsKey.seedText,
        credentials: setup.credentials,
        sentSeq: 0,
        receivedFloor: 0,
        pauseSeq: 0,
        rotateSeq: 0,
      },
      connectionKeyId: connectionKey.keyId,
      connectionSecret: secret,
      payload: {
        invite_code: invite.code,
        ...(options.matchCode === undefined ? {} : { match_code: options.matchCode }),
        contract,
        user_signature: userSignature,
        signed_at: signedAt,
        profile,
      },
    });
    return contractId;
  }

  // ---- reading ------------------------------------------------------------------------------------------

  /** All contracts, newest first, ended ones too. */
  contracts(): ContractInfo[] {
    return this.#store.transaction((tx) => tx.contracts()).map(contractView);
  }

  /** Throws VaultError `contract_unknown`. */
  contract(contractId: string): ContractInfo {
    return contractView(this.#row(contractId));
  }

  /** The contract record, which proves itself by `verifyContractRecord`. Throws VaultError `contract_not_active` before it is accepted. */
  record(contractId: string): ContractRecord {
    const { terms, acceptance } = this.#row(contractId);
    if (acceptance === undefined)
      throw new VaultError("contract_not_active", `Contract ${contractId} was not accepted.`);
    return {
      contract: terms.contract,
      user_signature: terms.userSignature,
      signed_at: terms.signedAt,
      service_public_key: terms.offer.service_public_key,
      service_connection_key: acceptance.serviceConnectionKey,
      accepted_at: acceptance.acceptedAt,
      service_signature: acceptance.serviceSignature,
    };
  }

  /** Asks, newest first. */
  asks(filter: { state?: AskState; contractId?: string } = {}): Ask[] {
    return this.#store.transaction((tx) =>
      tx.asks(filter).flatMap((row) => {
        const contract = tx.contract(row.contractId);
        return contract === undefined ? [] : [askView(row, contract)];
      }),
    );
  }

  /** Throws VaultError `ask_unknown`. */
  ask(requestId: string): Ask {
    const view = this.#store.transaction((tx) => {
      const row = tx.ask(requestId);
      const contract = row === undefined ? undefined : tx.contract(row.contractId);
      return row === undefined || contract === undefined ? undefined : askView(row, contract);
    });
    if (view === undefined) throw new VaultError("ask_unknown", `There is no ask ${requestId}.`);
    return view;
  }

  /** The signed statement an ask was answered with; undefined while it was not. */
  approval(requestId: string): Approval | undefined {
    return this.#store.transaction((tx) => tx.ask(requestId)?.answer?.approval);
  }

  /** What the service said to have of us, oldest first: the audit log must show each `event_hash`. */
  history(contractId?: string): Receipt[] {
    return this.#store.transaction((tx) => tx.receipts(contractId)).map(receiptView);
  }

  /**
   * Asks the service for its chain of everything it did about us, page by page, and verifies it: entries, their order
   * and signatures, that their heads are in the service's public log, and that every entry our receipts name is
   * there. What does not hold is in `findings`. Needs the vault online. Throws VaultError `timeout`,
   * `contract_unknown`, `contract_not_active`.
   */
  async requestAudit(
    contractId: string,
    options: { witnessKeys?: readonly string[]; timeoutMs?: number } = {},
  ): Promise<AuditReport> {
    this.#assertOpen();
    const row = this.#row(contractId);
    // Those received from here on may be of entries behind the last page.
    const receipts = this.contracts()
      .filter(({ service_id }) => service_id === row.serviceId)
      .flatMap(({ contract_id }) => this.history(contract_id));
    const heard = new Map<string, AuditResponse>();
    const ignore = this.on((event) => {
      if (event.type === "heard" && event.event_type === "audit.response" && event.ref !== undefined)
        heard.set(event.ref, event.payload as AuditResponse);
    });
    try {
      const pages: AuditResponse[] = [];
      let after: string | undefined;
      do {
        const asked = await this.say(contractId, "audit.request", after === undefined ? {} : { after });
        const page = await this.#until(
          () => heard.get(asked.event_id),
          options.timeoutMs ?? DELIVERY_TIMEOUT_MS,
        );
        if (page === undefined)
          throw new VaultError("timeout", "The service has not shown its chain in time.");
        pages.push(page);
        after = page.next_after;
      } while (after !== undefined);
      return await readPages(pages, row, receipts, options.witnessKeys);
    } finally {
      ignore();
    }
  }

  // ---- acting -------------------------------------------------------------------------------------------

  /**
   * Answers an open ask; durable when it resolves, sent as soon as the vault is online. The first answer is the only
   * one. Throws VaultError `ask_unknown`, `ask_closed`, `answer_invalid`, `match_code_missing` or `too_large`.
   */
  async answer(requestId: string, answer: Answer): Promise<{ event_id: string }> {
    this.#assertOpen();
    return { event_id: await this.#mailbox.answer(requestId, answer) };
  }

  /** Ends a contract at once, whether or not the service can be reached; see `delivered`. */
  async revoke(contractId: string, reason?: string): Promise<{ event_id: string }> {
    this.#assertOpen();
    return { event_id: await this.#mailbox.revoke(contractId, reason) };
  }

  /** Replaces what is shared under a contract. */
  async updateProfile(contractId: string, profile: Profile): Promise<{ event_id: string }> {
    this.#assertOpen();
    return { event_id: await this.#mailbox.updateProfile(contractId, profile) };
  }

  /** Turns down the change a service proposed; the contract stays as it is. */
  async declineUpdate(contractId: string, reason?: string): Promise<{ event_id: string }> {
    this.#assertOpen();
    return { event_id: await this.#mailbox.declineUpdate(contractId, reason) };
  }

  /**
   * Agrees to the change a service proposes: signs a new contract with new keys, which takes the old one's place once
   * the service has accepted it. Goes online if it has to. Without `profile` the shared fields stay; without
   * `expiresAt` the end is the one the service asks for, or the one there was.
   *
   * Throws VaultError `update_unknown`, `required_data_missing`, `contract_not_active`, `rejected`.
   */
  async acceptUpdate(
    contractId: string,
    options: Pick<ConnectOptions, "profile" | "expiresAt" | "timeoutMs"> = {},
  ): Promise<ContractInfo> {
    this.#assertOpen();
    const successorId = this.#agreeing(contractId) ?? (await this.#agreeToUpdate(contractId, options));
    this.start();
    const decided = () => (this.#row(successorId).status === "pending" ? undefined : true);
    await this.#until(decided, options.timeoutMs ?? CONNECT_TIMEOUT_MS);
    const row = this.#row(successorId);
    if (row.status === "rejected")
      throw new VaultError("rejected", `The service turned it down: ${row.reason ?? "no reason given"}.`);
    return contractView(row);
  }

  /** A successor that waits for the service's word, from an earlier call. */
  #agreeing(contractId: string): string | undefined {
    const offerId = this.#row(contractId).proposal?.offer.offer_id;
    return this.#store
      .transaction((tx) => tx.contracts())
      .find(
        ({ status, terms }) =>
          status === "pending" &&
          terms.contract.supersedes === contractId &&
          terms.offer.offer_id === offerId,
      )?.contractId;
  }

  async #agreeToUpdate(
    contractId: string,
    options: Pick<ConnectOptions, "profile" | "expiresAt">,
  ): Promise<string> {
    const old = this.#row(contractId);
    const { proposal } = old;
    const now = this.#now();
    if (proposal === undefined || proposal.expiresAt <= now)
      throw new VaultError("update_unknown", "The service proposes no change to this contract.");
    if (old.status !== "active" && old.status !== "paused")
      throw new VaultError("contract_not_active", `Contract ${contractId} is ${old.status}.`);
    const offering = proposedOffering(proposal);
    const profile = options.profile ?? old.profile;
    const missing = missingData(offering, profile);
    if (missing.length > 0)
      throw new VaultError("required_data_missing", `The change needs: ${missing.join(", ")}.`);
    const expiresAt = options.expiresAt ?? proposal.contractExpiresAt ?? old.terms.contract.expires_at;
    const { row: identity, key } = await this.#mailbox.identityFor(old.serviceId);
    const natsKey = await newNatsKey();
    const { key: connectionKey, secret } = await newAgreementKey();
    const contract: Contract = {
      v: 1,
      user_id: identity.userId,
      user_signing_key: key.publicKeyText,
      service_id: old.serviceId,
      offer_id: proposal.offer.offer_id,
      offering_id: offering.offering_id,
      offering_snapshot: offering,
      user_connection_key: connectionKey.publicKeyText,
      nats_public_key: natsKey.publicText,
      message_space: identity.messageSpace,
      created_at: toTimestamp(now),
      ...(expiresAt === undefined ? {} : { expires_at: expiresAt }),
      supersedes: contractId,
    };
    const successorId = contractIdOf(contract);
    const signedAt = toTimestamp(now);
    const userSignature = await signContract(key, successorId, signedAt);
    await this.#mailbox.submit({
      contract: {
        contractId: successorId,
        serviceId: old.serviceId,
        status: "pending",
        createdAt: now,
        terms: {
          origin: old.terms.origin,
          // The same invite opened again leads here from now on.
          inviteCode: old.terms.inviteCode,
          submitEventId: newEventId(),
          contract,
          userSignature,
          signedAt,
          offer: proposal.offer,
        },
        profile,
        natsSeed: natsKey.seedText,
        sentSeq: 0,
        receivedFloor: 0,
        pauseSeq: 0,
        rotateSeq: 0,
      },
      connectionKeyId: connectionKey.keyId,
      connectionSecret: secret,
      payload: { contract, user_signature: userSignature, signed_at: signedAt, profile },
    });
    return successorId;
  }

  /** Takes single capabilities of a contract back; the rest stays. Throws VaultError `capability_unknown`. */
  async revokeCapabilities(contractId: string, capabilities: string[]): Promise<{ event_id: string }> {
    this.#assertOpen();
    return { event_id: await this.#mailbox.revokeCapabilities(contractId, capabilities) };
  }

  /** Replaces this side's connection key. */
  async rotateKey(contractId: string): Promise<{ event_id: string }> {
    this.#assertOpen();
    return { event_id: await this.#mailbox.rotateKey(contractId) };
  }

  /** Says something under a live contract: a call's signal, that a notification was read. Sent until receipted. */
  async say(
    contractId: string,
    eventType: string,
    payload: Json,
    ref?: string,
  ): Promise<{ event_id: string }> {
    this.#assertOpen();
    return { event_id: await this.#mailbox.say(contractId, eventType, payload, ref) };
  }

  /** Tells a service of something it declared that it listens to (`handler_manifest.event_handlers`). */
  sendEvent(contractId: string, type: string, data: Json): Promise<{ event_id: string }> {
    return this.say(contractId, `events.${type}`, { data });
  }

  /** Asks a service to call: it answers with a call whose `call_request_id` is this message's id. */
  requestCall(
    contractId: string,
    wish: { type: "text" | "voice" | "video"; purpose: string },
  ): Promise<{ event_id: string }> {
    return this.say(contractId, "call.request", wish);
  }

  /** Sends a signal in a call, by the id of its ask. What the service signals comes as a `heard` event. */
  signal(callId: string, signal: Json): Promise<{ event_id: string }> {
    return this.say(this.ask(callId).contract_id, "call.signal", { signal }, callId);
  }

  /** Writes a line in a text chat. */
  chat(callId: string, text: string): Promise<{ event_id: string }> {
    const sentAt = toTimestamp(this.#now());
    return this.say(this.ask(callId).contract_id, "chat.message", { text, sent_at: sentAt }, callId);
  }

  /** Ends a call that was answered. */
  hangUp(callId: string, reason?: string): Promise<{ event_id: string }> {
    const payload: { [name: string]: Json } = reason === undefined ? {} : { reason };
    return this.say(this.ask(callId).contract_id, "call.end", payload, callId);
  }

  // ---- payments and notifications -----------------------------------------------------------------------

  /** Keeps a reference to a way of paying, under a name of the person's; never its numbers. */
  addPaymentMethod(name: string, method: PaymentMethod): void {
    this.holdings.put(PAYMENT_METHODS, name, method as Json);
  }

  /** What services told the person, the newest first. */
  notifications(): ({ notification_id: string } & Notification)[] {
    const services = new Set(this.contracts().map(({ service_id }) => service_id));
    return [...services]
      .flatMap((serviceId) => this.holdings.list(INBOX, serviceId))
      .map(({ key, value }) => ({ notification_id: key, ...(value as unknown as Notification) }))
      .sort((a, b) => (a.received_at < b.received_at ? 1 : -1));
  }

  /**
   * Marks a notification as read and tells its service; the second time, nothing. Throws VaultError
   * `notification_unknown`, `contract_not_active`.
   */
  async readNotification(notificationId: string): Promise<{ event_id: string } | undefined> {
    const found = this.notifications().find(({ notification_id }) => notification_id === notificationId);
    if (found === undefined)
      throw new VaultError("notification_unknown", `There is no notification ${notificationId}.`);
    if (found.read_at !== undefined) return undefined;
    const { notification_id: _, ...told } = found;
    const readAt = toTimestamp(this.#now());
    return {
      event_id: await this.#mailbox.say(
        found.contract_id,
        "notify.read",
        { read_at: readAt },
        notificationId,
        { collection: INBOX, key: notificationId, value: { ...told, read_at: readAt } as Json },
      ),
    };
  }

  // ---- holdings -----------------------------------------------------------------------------------------

  /**
   * What the person holds, by collection and key: their own, or, with `serviceId`, what a service keeps with them.
   * Handlers answer from it. `put` throws VaultError `holding_invalid`.
   */
  readonly holdings = {
    get: (collection: string, key: string, serviceId: string = PERSONAL): Json | undefined =>
      this.#mailbox.readHoldings((tx) => tx.holding(serviceId, collection, key)),
    list: (collection: string, serviceId: string = PERSONAL): Holding[] =>
      this.#mailbox.readHoldings((tx) => tx.holdings(serviceId, collection)),
    collections: (): { serviceId: string; collection: string; count: number }[] =>
      this.#mailbox.readHoldings((tx) => tx.holdingCollections()),
    put: (collection: string, key: string, value: Json, serviceId: string = PERSONAL): void => {
      this.#assertOpen();
      this.#mailbox.hold(serviceId, collection, key, value);
    },
    delete: (collection: string, key: string, serviceId: string = PERSONAL): void => {
      this.#assertOpen();
      this.#mailbox.hold(serviceId, collection, key, undefined);
    },
  };

  /** Keeps personal data under a path (`address/home`), to be shared when a service asks and the person agrees. */
  setData(path: string, value: Json): void {
    this.holdings.put(DATA, path, value);
  }

  /**
   * Makes a key that signs transactions of the format `ed25519`, for one service or, without `serviceId`, for all (who
   * then can tell by it that they deal with the same person). Returns its public half, base64.
   */
  async createTransactionKey(serviceId: string = PERSONAL): Promise<string> {
    const key = await newTransactionKey();
    this.holdings.put(TRANSACTION_KEYS, ED25519_FORMAT, key, serviceId);
    return key.public_key;
  }

  removeData(path: string): void {
    this.holdings.delete(DATA, path);
  }

  /** The person's data, sorted by path. */
  data(): { path: string; value: Json }[] {
    return this.holdings.list(DATA).map(({ key, value }) => ({ path: key, value }));
  }

  // ---- waiting ------------------------------------------------------------------------------------------

  /** The service's receipt for a message of ours. Throws VaultError `timeout`; the message is sent on all the same. */
  async delivered(eventId: string, timeoutMs = DELIVERY_TIMEOUT_MS): Promise<Receipt> {
    const row = await this.#until(() => this.#store.transaction((tx) => tx.receipt(eventId)), timeoutMs);
    if (row === undefined)
      throw new VaultError(
        "timeout",
        "The service has not confirmed it yet; it stays in the outbox and is sent again.",
      );
    return receiptView(row);
  }

  /** Resolves true when the service has all that waits to be sent, receipts too; false when the time is over. */
  async settled(timeoutMs = DELIVERY_TIMEOUT_MS): Promise<boolean> {
    const done = () =>
      this.#store.transaction((tx) =>
        tx
          .contracts()
          .every(
            (row) =>
              !isLinked(row, this.#now()) ||
              (tx.outbox(row.contractId).length === 0 && tx.receiptsDue(row.contractId, 1).length === 0),
          ),
      ) || undefined;
    return (await this.#until(done, timeoutMs)) !== undefined;
  }

  /** Resolves true when everything the platform holds for this vault has been handled; false when the time is over. */
  async caughtUp(timeoutMs = DELIVERY_TIMEOUT_MS): Promise<boolean> {
    const deadline = Date.now() + timeoutMs;
    while (this.#online) {
      if (await this.#platform.caughtUp()) {
        await this.#mailbox.idle();
        return true;
      }
      if (Date.now() >= deadline) return false;
      await new Promise((resolve) => setTimeout(resolve, CAUGHT_UP_POLL_MS));
    }
    return false;
  }

  /** What `look` finds, as soon as it finds something; undefined when the time is over or the vault goes offline. */
  #until<T>(look: () => T | undefined, timeoutMs: number): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      const check = () => {
        try {
          const found = look();
          if (found !== undefined) finish(() => resolve(found));
          else if (!this.#online) finish(() => resolve(undefined));
        } catch (error) {
          finish(() => reject(error as Error));
        }
      };
      const finish = (end: () => void) => {
        clearTimeout(timer);
        this.#waiters.delete(check);
        end();
      };
      const timer = setTimeout(() => finish(() => resolve(undefined)), timeoutMs);
      this.#waiters.add(check);
      check();
    });
  }

  // ---- clockwork ----------------------------------------------------------------------------------------

  #emit(event: VaultEvent): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(event);
      } catch (error) {
        this.#log("error", "a listener threw", { error: String(error) });
      }
    }
    if (event.type === "ask") this.#consult(event.ask.request_id);
    if (event.type === "contract_changed" && event.contract.status === "active") {
      // A setup JWT cannot publish what comes next, the receipt for the acceptance first of all.
      const link = this.#links.get(event.contract.contract_id);
      if (link !== undefined && this.#inSetup.delete(event.contract.contract_id)) {
        if (event.contract.supersedes === undefined) link.refresh();
        else {
          // Its submission went over the session of the contract it took the place of; now it has its own.
          link.stop();
          this.#links.delete(event.contract.contract_id);
          this.#work();
        }
      }
    }
  }

  /** Something was committed: links, outbox and waiters are looked after, once for many commits. */
  #work(): void {
    if (this.#workQueued || this.#closed) return;
    this.#workQueued = true;
    queueMicrotask(() => {
      this.#workQueued = false;
      if (this.#closed) return;
      if (this.#online) {
        this.#syncLinks();
        for (const contractId of this.#links.keys()) void this.#pump(contractId);
        this.#schedule();
      }
      for (const check of [...this.#waiters]) check();
    });
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    const now = this.#now();
    const due = this.#store.transaction((tx) => tx.nextDue()) ?? Number.POSITIVE_INFINITY;
    const pause = Math.min(Math.max(due - now, SHORTEST_TICK_MS), LONGEST_TICK_MS);
    this.#timer = setTimeout(() => {
      this.#mailbox.expire().then(
        () => this.#work(),
        (error) => {
          // A full disk passes; what is due stays due.
          this.#log("error", "the clockwork failed", { error: String(error) });
          this.#work();
        },
      );
    }, pause);
  }

  /** One session per contract that has anything left to say, one consumer per service that may still write. */
  #syncLinks(): void {
    const now = this.#now();
    const rows = this.#store.transaction((tx) => tx.contracts());
    const spaces = new Map<string, string>();
    for (const row of rows) {
      const link = this.#links.get(row.contractId);
      if (!isLinked(row, now)) {
        link?.stop();
        this.#links.delete(row.contractId);
        continue;
      }
      spaces.set(row.terms.contract.message_space, row.serviceId);
      if (link === undefined) this.#links.set(row.contractId, this.#newLink(row));
    }
    this.#platform.setSpaces(spaces);
  }

  #newLink(row: ContractRow): ServiceLink {
    const { contractId, serviceId } = row;
    if (row.status === "pending") this.#inSetup.add(contractId);
    const carrier = this.#carrierOf(row);
    const link = new ServiceLink({
      contractId,
      serviceId,
      userId: row.terms.contract.user_id,
      natsSeed: carrier.natsSeed!,
      credentials: (renew) => this.#credentials(carrier.contractId, renew),
      deliver: (service, subject, bytes) => this.#mailbox.receive(service, subject, bytes),
      onReady: () => {
        // What no broker has taken yet need not wait for its turn.
        this.#store.transaction((tx) => {
          for (const message of tx.outbox(contractId))
            if (message.sendings === 0) tx.saveOutbox({ ...message, nextAt: this.#now() });
        });
        this.#work();
      },
      log: this.#log,
    });
    link.start();
    return link;
  }

  /** Whose session a contract uses: until it is accepted, a successor has none of its own. */
  #carrierOf(row: ContractRow): ContractRow {
    const { supersedes } = row.terms.contract;
    if (row.status !== "pending" || supersedes === undefined) return row;
    const old = this.#store.transaction((tx) => tx.contract(supersedes));
    return old?.natsSeed === undefined ? row : old;
  }

  /** A JWT for the contract's nkey: the stored one while it is fresh, else a new one over HTTPS. */
  async #credentials(contractId: string, renew: boolean): Promise<NatsCredentials> {
    const row = this.#row(contractId);
    const { origin, inviteCode } = row.terms;
    if (!renew && row.credentials !== undefined && isFresh(row.credentials, this.#now()))
      return row.credentials;
    let credentials: NatsCredentials;
    try {
      credentials =
        row.status === "pending"
          ? await this.#pendingCredentials(row, origin, inviteCode)
          : await this.#lastingCredentials(row);
    } catch (error) {
      if (error instanceof VaultError && error.code === "service_refused" && isEnded(row.status))
        this.#onLinkRefused(row);
      throw error;
    }
    assertWebSocket(credentials.endpoint, "The service's");
    // The acceptance may have come while we asked: its JWT is the one to use.
    const now = this.#row(contractId);
    if (now.status !== row.status && now.credentials !== undefined) return now.credentials;
    this.#mailbox.storeCredentials(contractId, credentials);
    return credentials;
  }

  async #pendingCredentials(row: ContractRow, origin: string, code: string): Promise<NatsCredentials> {
    const setup = await this.#setupCredentials(origin, code, row.serviceId, row.natsSeed!);
    // Accepted while we were away: the acceptance itself comes over MessageSpace.
    return setup.outcome === "credentials" ? setup.credentials : this.#lastingCredentials(row);
  }

  async #setupCredentials(origin: string, code: string, serviceId: string, natsSeed: string) {
    const { row: identity, key } = await this.#mailbox.identityFor(serviceId);
    const natsKey = await openNatsKey(natsSeed);
    const request = {
      signing_key: key.publicKeyText,
      nats_public_key: natsKey.publicText,
      timestamp: toTimestamp(this.#now()),
    };
    const form = setupForm(serviceId, code, request);
    const answer = await this.#http.setupCredentials(origin, code, {
      ...request,
      signature: await signJson(key, LABELS.setup, form),
      nats_signature: await natsKey.signJson(LABELS.setup, form),
    });
    if (answer.outcome === "credentials") {
      assertWebSocket(answer.credentials.endpoint, "The service's");
      if (
        answer.inboxPrefix !== undefined &&
        answer.inboxPrefix !== userInboxPrefix(serviceId, identity.userId)
      )
        throw new VaultError("service_refused", "The service names an inbox that is not this user's.");
    }
    return answer;
  }

  async #lastingCredentials(row: ContractRow): Promise<NatsCredentials> {
    const { key } = await this.#mailbox.identityFor(row.serviceId);
    const natsKey = await openNatsKey(row.natsSeed!);
    const request = {
      contract_id: row.contractId,
      nats_public_key: natsKey.publicText,
      timestamp: toTimestamp(this.#now()),
    };
    const form = credentialsForm(request);
    return this.#http.renewCredentials(row.terms.origin, {
      ...request,
      signature: await signJson(key, LABELS.credentials, form),
      nats_signature: await natsKey.signJson(LABELS.credentials, form),
    });
  }

  /** The service gives no more credentials for a contract that ended: it knows, and wants no receipt any more. */
  #onLinkRefused(row: ContractRow): void {
    const waiting = this.#store.transaction((tx) => tx.outbox(row.contractId));
    if (waiting.length === 0) this.#mailbox.abandonLink(row.contractId);
  }

  /** Publishes what is due for one contract; one run at a time. */
  async #pump(contractId: string): Promise<void> {
    const running = this.#pumping.get(contractId);
    if (running !== undefined) {
      running.again = true;
      return;
    }
    const state = { again: false };
    this.#pumping.set(contractId, state);
    try {
      do {
        state.again = false;
        if (await this.#publishDue(contractId)) state.again = true;
      } while (state.again && this.#online);
    } catch (error) {
      this.#log("error", "publishing failed", { contract_id: contractId, error: String(error) });
    } finally {
      this.#pumping.delete(contractId);
    }
  }

  /** One batch; true when there may be more to do at once. */
  async #publishDue(contractId: string): Promise<boolean> {
    const link = this.#links.get(contractId);
    if (link === undefined || this.#closed) return false;
    const now = this.#now();
    const { row, messages, receipts } = this.#store.transaction((tx) => ({
      row: tx.contract(contractId),
      messages: tx.outboxDue(contractId, now, PUBLISH_BATCH),
      receipts: tx.receiptsDue(contractId, PUBLISH_BATCH),
    }));
    if (row === undefined || (messages.length === 0 && receipts.length === 0)) return false;
    const notice = messages.find(({ eventType }) => eventType === "contract.revoke");
    if (notice !== undefined && (await this.#revokeOverHttps(row, notice, link.ready))) return false;
    if (!link.ready) return false;

    const batch: { message: OutboundMessage; sent: (at: number) => void }[] = [];
    for (const message of messages) batch.push(this.#outgoing(message));
    // While pending there is nothing receipted; after it, receipts need the lasting JWT.
    if (row.status !== "pending")
      for (const received of receipts) {
        const outgoing = await this.#outgoingReceipt(received);
        if (outgoing !== undefined) batch.push(outgoing);
      }
    if (batch.length === 0) return false;
    const outcomes = await link.publish(batch.map(({ message }) => message));
    if (this.#closed) return false;
    const at = this.#now();
    let stored = 0;
    for (const [index, outcome] of outcomes.entries()) {
      if (outcome !== "stored") continue;
      stored += 1;
      batch[index]!.sent(at);
    }
    for (const check of [...this.#waiters]) check();
    // What failed waits for the clockwork or the next session.
    return stored === outcomes.length;
  }

  #outgoing(row: OutboxRow): { message: OutboundMessage; sent: (at: number) => void } {
    return {
      message: {
        cluster: "servicespace",
        subject: row.subject,
        bytes: row.bytes,
        // The number stays until the broker has taken this sending: a repeat in doubt is dropped there.
        msgId: `${row.eventId}-${row.sendings + 1}`,
      },
      sent: (at) =>
        this.#store.transaction((tx) => {
          // Receipted in the meantime, perhaps even before the broker's own word came.
          const current = tx.outboxMessage(row.eventId);
          if (current === undefined) return;
          const sendings = row.sendings + 1;
          tx.saveOutbox({ ...current, sendings, lastSentAt: at, nextAt: at + resendPauseMs(sendings) });
        }),
    };
  }

  async #outgoingReceipt(
    received: ReceivedRow,
  ): Promise<{ message: OutboundMessage; sent: (at: number) => void } | undefined> {
    const receipt = await this.#mailbox.sealReceipt(received);
    if (receipt === undefined) return undefined;
    const { subject, bytes, eventId } = receipt;
    return {
      message: { cluster: "servicespace", subject, bytes, msgId: `${eventId}-1` },
      sent: () => this.#store.transaction((tx) => tx.saveReceived({ ...received, receiptDue: false })),
    };
  }

  /** The way out for a revocation that NATS does not take, or whose receipt could no longer be read. */
  async #revokeOverHttps(row: ContractRow, notice: OutboxRow, linkReady: boolean): Promise<boolean> {
    const age = this.#now() - notice.createdAt;
    if (row.revocation === undefined) return false;
    if (age < REVOKE_OVER_HTTPS_AFTER_MS || (linkReady && age < REVOCATION_NOTICE_MS)) return false;
    try {
      await this.#http.revoke(row.terms.origin, row.revocation);
    } catch (error) {
      this.#log("warn", "the revocation was not taken over HTTPS", {
        contract_id: row.contractId,
        error: (error as Error).message,
      });
      if (!linkReady)
        this.#store.transaction((tx) => {
          const current = tx.outboxMessage(notice.eventId);
          if (current !== undefined)
            tx.saveOutbox({ ...current, nextAt: this.#now() + REVOKE_HTTPS_RETRY_MS });
        });
      return false;
    }
    this.#mailbox.settleRevocation(row.contractId);
    return true;
  }

  #consult(requestId: string): void {
    if (!this.#online || this.#consulted.has(requestId)) return;
    const ask = this.ask(requestId);
    const policy: Policy | undefined = isAgreed(ask) ? () => ({ decision: "approved" }) : this.#policy;
    if (policy === undefined) return;
    this.#consulted.add(requestId);
    if (onlyPersonDecides(ask)) return;
    const decide = async () => {
      const answer = await policy(ask);
      if (answer !== "later" && !this.#closed) await this.answer(requestId, answer);
    };
    decide().catch((error) => {
      // Withdrawn, expired or answered by hand while the policy thought: nothing went wrong.
      if (error instanceof VaultError && (error.code === "ask_closed" || error.code === "vault_closed"))
        return;
      const message = error instanceof Error ? error.message : String(error);
      this.#log("error", "the policy failed", { request_id: requestId, error: message });
      this.#emit({ type: "policy_failed", request_id: requestId, message });
    });
  }

  #row(contractId: string): ContractRow {
    const row = this.#store.transaction((tx) => tx.contract(contractId));
    if (row === undefined) throw new VaultError("contract_unknown", `There is no contract ${contractId}.`);
    return row;
  }

  #assertOpen(): void {
    if (this.#closed) throw new VaultError("vault_closed", "The vault is closed.");
  }
}

const operationAsked = ({ kind: name, operation }: Ask): KindOperation | undefined => {
  const kind = kindNamed(name);
  return kind && operationOf(kind, operation);
};

/** An ask that no policy may decide about (a secret above the lowest tier). */
const onlyPersonDecides = (ask: Ask): boolean => operationAsked(ask)?.personDecides?.(ask.payload) === true;

/** An ask for what was agreed to already, to be answered within that (a combined datastore's reads and writes). */
const isAgreed = (ask: Ask): boolean => operationAsked(ask)?.standing === true;

/** Whether a contract needs a session: to send, or to receipt repeats of the other side's notice. */
const isLinked = (row: ContractRow, now: number): boolean =>
  row.natsSeed !== undefined &&
  !row.endSettled &&
  (!isEnded(row.status) || row.endedBy === "user" || (row.endedAt ?? 0) + REVOCATION_NOTICE_MS > now);

function chooseOffering(offer: Offer, offeringId: string | undefined): Offering {
  if (offeringId !== undefined) {
    const chosen = offer.offerings.find(({ offering_id }) => offering_id === offeringId);
    if (chosen === undefined)
      throw new VaultError(
        "offering_unknown",
        `The invite does not offer ${offeringId}; it offers: ${names(offer)}.`,
      );
    return chosen;
  }
  const [only, ...more] = offer.offerings;
  if (only === undefined)
    throw new VaultError("offering_unknown", `${offer.service_name} offers nothing at present.`);
  if (more.length > 0)
    throw new VaultError("offering_required", `The invite leaves a choice: ${names(offer)}.`);
  return only;
}

const names = (offer: Offer): string => offer.offerings.map(({ offering_id }) => offering_id).join(", ");

function describeOffering(offering: Offering): Preview["offerings"][number] {
  const data = (wanted: boolean) =>
    offering.required_data
      .filter(({ required }) => required === wanted)
      .map(({ data_type, purpose, retention }) => ({
        data_type,
        purpose,
        ...(retention === undefined ? {} : { retention }),
      }));
  return {
    offering_id: offering.offering_id,
    name: offering.name,
    description: offering.description,
    grants: offering.capabilities.map(({ capability, description, scope, requires_approval_each_use }) => ({
      capability,
      description,
      ...(scope === undefined ? {} : { scope }),
      requires_approval_each_use,
    })),
    required_data: data(true),
    optional_data: data(false),
    ...(offering.pricing === undefined ? {} : { pricing: offering.pricing }),
    ...(offering.terms_url === undefined ? {} : { terms_url: offering.terms_url }),
    acceptance: offering.acceptance,
    match_code_needed: offering.match_code === true,
  };
}
