// Generated from the routes by scripts/sdk-generate.ts. Do not edit.

import type { PageList } from "../page-list.ts";
import type { RequestHandle } from "../request-handle.ts";
import type { CallOptions } from "../transport.ts";

/** Every method there is, in namespaces. */
export interface Api {
  /** Who this service is */
  info(options?: CallOptions): Promise<InfoAnswer>;
  /** How the deployment's keys stand. Whether user credentials can be revoked on the cluster and are, and how far a rotation of `VAULT_KEK` has come. No key is shown. */
  keys(options?: CallOptions): Promise<KeysState>;
  /** What is measured: sessions, lag, outbox, calls. Prometheus text format 0.0.4; with `Accept: application/json` the same families as JSON. Counters are kept in memory: each family's help says since when. */
  metrics(options?: CallOptions): Promise<Metrics>;
  readonly apiKeys: {
    /** Make an API key */
    create(input: ApiKeysCreateInput, options?: CallOptions): Promise<CreatedApiKey>;
    /** Delete an API key. It may work up to 30 s more. The last key with the scope admin cannot be deleted. */
    delete(id: string, options?: CallOptions): Promise<ApiKeysDeleteAnswer>;
    /** Every API key */
    list(options?: CallOptions): PageList<ApiKeysListItem, ApiKeysListPage>;
    /** Give an API key a new secret. The old secret works on for the grace time. An even older one, still in its grace, stops at once. */
    rotate(id: string, input?: ApiKeysRotateInput, options?: CallOptions): Promise<CreatedApiKey>;
  };
  readonly audit: {
    /** Entries of an audit chain, in order. Each entry names the hash of the one before it and is signed by the service. */
    list(input?: AuditListInput, options?: CallOptions): PageList<AuditEntry, AuditListPage>;
    /** The proof that an entry is in the public log. The chain from the entry up to the first head that was logged at or after it, and that head's inclusion as c2sp.org/tlog-proof, whose `extra` opens the leaf. `unavailable` for the second or so until an entry is in the log. */
    proof(eventId: string, input?: AuditProofInput, options?: CallOptions): Promise<AuditProofAnswer>;
    /** Verifies a chain, and proofs of its heads, that the caller holds. Against this service's keys and the witnesses it asks. It looks at nothing stored. A verdict by the service on itself is a convenience: `npm run audit:verify` and the SDK come to the same without it. */
    verify(input: AuditVerifyInput, options?: CallOptions): Promise<AuditVerifyAnswer>;
    readonly log: {
      /** How the audit log stands */
      get(options?: CallOptions): Promise<AuditLogState>;
      /** Let a halted log look again. It goes on if what was wrong has been put right; while the bucket shows another tree than this one, it stays halted. `republish`: the bucket was lost, and the object's storage is known to be the newest. A log that runs is left alone. */
      resume(input?: AuditLogResumeInput, options?: CallOptions): Promise<AuditLogState>;
    };
  };
  readonly auth: {
    /** Authentication: one request */
    get(id: string, input?: WaitInput, options?: CallOptions): Promise<AuthAnswer>;
    /** Ask a user to log in. Needs `authenticate` or `authenticate.continuous` in the user's contract. The ask is stored before this answers. Send an Idempotency-Key to repeat it safely. */
    request(input: AuthRequestInput, options?: CallOptions): Promise<RequestHandle<AuthAnswer>>;
    /** An ask made before, by its id: to wait for, read or take back. */
    handle(id: string): RequestHandle<AuthAnswer>;
    readonly sessions: {
      /** Ask a user to confirm again and again that they are there. Needs `authenticate.continuous` in the user's contract. The ask is stored before this answers. Send an Idempotency-Key to repeat it safely. */
      create(
        input: AuthSessionsCreateInput,
        options?: CallOptions,
      ): Promise<RequestHandle<AuthSessionsAnswer>>;
      /** End a session */
      delete(id: string, options?: CallOptions): Promise<AuthSessionsAnswer>;
      /** Continuous authentication: one request */
      get(id: string, input?: WaitInput, options?: CallOptions): Promise<AuthSessionsAnswer>;
      /** An ask made before, by its id: to wait for, read or take back. */
      handle(id: string): RequestHandle<AuthSessionsAnswer>;
    };
  };
  readonly authz: {
    /** Authorization: one request */
    get(id: string, input?: WaitInput, options?: CallOptions): Promise<AuthzAnswer>;
    /** Ask a user to permit an action on a resource. Needs `authorization_request` in the user's contract. The ask is stored before this answers. Send an Idempotency-Key to repeat it safely. */
    request(input: AuthzRequestInput, options?: CallOptions): Promise<RequestHandle<AuthzAnswer>>;
    /** An ask made before, by its id: to wait for, read or take back. */
    handle(id: string): RequestHandle<AuthzAnswer>;
  };
  readonly call: {
    /** End a call, or stop it ringing. Send an Idempotency-Key to repeat it safely. */
    end(id: string, input?: CallEndInput, options?: CallOptions): Promise<CallAnswer>;
    /** Calls: one request */
    get(id: string, input?: WaitInput, options?: CallOptions): Promise<CallAnswer>;
    /** Call a user, or open a text chat. Needs `text_chat` or `voice_call` or `video_call` in the user's contract. The ask is stored before this answers. Send an Idempotency-Key to repeat it safely. */
    initiate(input: CallInitiateInput, options?: CallOptions): Promise<RequestHandle<CallAnswer>>;
    /** Write a line in a text chat. Send an Idempotency-Key to repeat it safely. */
    message(id: string, input: CallMessageInput, options?: CallOptions): Promise<CallAnswer>;
    /** Send a signal to the user's vault. Send an Idempotency-Key to repeat it safely. */
    signal(id: string, input: CallSignalInput, options?: CallOptions): Promise<CallAnswer>;
    /** A ticket to a call's WebSocket. Good for one opening within 60 seconds. Give it to the agent's browser instead of an API key. */
    ticket(id: string, options?: CallOptions): Promise<CallTicketAnswer>;
    /** An ask made before, by its id: to wait for, read or take back. */
    handle(id: string): RequestHandle<CallAnswer>;
    readonly signals: {
      /** Signals and chat lines of a call, in order. Signals are destroyed when the call ends, lines of a chat a day later. Each reading is recorded. */
      list(
        id: string,
        input?: CallSignalsListInput,
        options?: CallOptions,
      ): PageList<CallSignalsListItem, CallSignalsListPage>;
    };
  };
  readonly collaboration: {
    /** Ask which other services a user is connected to. Needs `list_connections` in the user's contract. The ask is stored before this answers. Send an Idempotency-Key to repeat it safely. */
    connections(
      input: CollaborationConnectionsInput,
      options?: CallOptions,
    ): Promise<RequestHandle<CollaborationAnswer>>;
    /** Collaboration: one request */
    get(id: string, input?: WaitInput, options?: CallOptions): Promise<CollaborationAnswer>;
    /** Ask a user to share data with another service through a datastore in their vault. Needs `request_collaboration` in the user's contract. The ask is stored before this answers. Send an Idempotency-Key to repeat it safely. */
    request(
      input: CollaborationRequestInput,
      options?: CallOptions,
    ): Promise<RequestHandle<CollaborationAnswer>>;
    /** An ask made before, by its id: to wait for, read or take back. */
    handle(id: string): RequestHandle<CollaborationAnswer>;
    readonly datastores: {
      /** Ask the user's vault who accessed a combined datastore. Needs `request_collaboration` in the user's contract. The ask is stored before this answers. Send an Idempotency-Key to repeat it safely. */
      audit(
        datastoreId: string,
        input: CollaborationDatastoresAuditInput,
        options?: CallOptions,
      ): Promise<RequestHandle<CollaborationAnswer>>;
      /** The combined datastores a user agreed to, newest first */
      list(
        input: CollaborationDatastoresListInput,
        options?: CallOptions,
      ): PageList<CollaborationDatastoresListItem, CollaborationDatastoresListPage>;
      /** Read fields of a combined datastore. Needs `request_collaboration` in the user's contract. The ask is stored before this answers. Send an Idempotency-Key to repeat it safely. */
      read(
        datastoreId: string,
        input: CollaborationDatastoresReadInput,
        options?: CallOptions,
      ): Promise<RequestHandle<CollaborationAnswer>>;
      /** Write fields of a combined datastore. Needs `request_collaboration` in the user's contract. The ask is stored before this answers. Send an Idempotency-Key to repeat it safely. */
      write(
        datastoreId: string,
        input: CollaborationDatastoresWriteInput,
        options?: CallOptions,
      ): Promise<RequestHandle<CollaborationAnswer>>;
      /** An ask made before, by its id: to wait for, read or take back. */
      handle(id: string): RequestHandle<CollaborationAnswer>;
    };
  };
  readonly contracts: {
    /** Accept a pending contract */
    accept(id: string, options?: CallOptions): Promise<Contract>;
    /** End a contract. At once and for good: open requests are cancelled, what the person shared is destroyed, they are told. */
    delete(id: string, input?: ContractsDeleteInput, options?: CallOptions): Promise<ContractsDeleteAnswer>;
    /** One contract, with its proof and the state of the connection */
    get(id: string, options?: CallOptions): Promise<ContractDetail>;
    /** Invite someone to connect. With a match code, tell it to the person on another way than the link. It may be typed wrong once (an invite of many uses takes up to ten wrong codes in all), then the invite is closed. */
    invite(input?: ContractsInviteInput, options?: CallOptions): Promise<Invite>;
    /** Contracts, newest first */
    list(input?: ContractsListInput, options?: CallOptions): PageList<Contract, ContractsListPage>;
    /** Stop asking under a contract for a while. Asks are refused until it is resumed; answers to open requests count. The person is told. */
    pause(id: string, input?: ContractsPauseInput, options?: CallOptions): Promise<Contract>;
    /** The consent receipt of a contract. Signed; with the fields of ISO/IEC TS 27560. It can be verified offline, and stays the same while the consent does. */
    receipt(id: string, options?: CallOptions): Promise<ConsentReceipt>;
    /** Turn down a pending contract */
    reject(id: string, input?: ContractsRejectInput, options?: CallOptions): Promise<Contract>;
    /** Take a paused contract up again. The person is told. */
    resume(id: string, input?: ContractsResumeInput, options?: CallOptions): Promise<Contract>;
    /** Replace the service's connection key of a contract. Done by itself after 1,000 messages or 30 days. The old key is destroyed once the user's vault has confirmed the new one and everything sealed to the old one has arrived. While a rotation is under way, this answers with that one. */
    rotateKey(id: string, options?: CallOptions): Promise<ContractsRotateKeyAnswer>;
    readonly amendments: {
      /** Propose a change to a contract. Nothing changes until the person agrees by a new contract, which then takes this one's place. A newer proposal replaces one that is still open. */
      create(id: string, input?: ContractsAmendmentsCreateInput, options?: CallOptions): Promise<Amendment>;
      /** Changes that were proposed, newest first */
      list(
        id: string,
        input?: ContractsAmendmentsListInput,
        options?: CallOptions,
      ): PageList<Amendment, ContractsAmendmentsListPage>;
    };
    readonly invites: {
      /** Withdraw an invite */
      delete(id: string, options?: CallOptions): Promise<ContractsInvitesDeleteAnswer>;
      /** Invites, newest first */
      list(
        input?: ContractsInvitesListInput,
        options?: CallOptions,
      ): PageList<ContractsInvitesListItem, ContractsInvitesListPage>;
    };
  };
  readonly custom: {
    /** Custom: one request */
    get(id: string, input?: WaitInput, options?: CallOptions): Promise<VaultRequest>;
    /** Ask a user something of the service's own making. Needs `custom.<name>` in the user's contract. The fields beside these are those of the capability's `request_schema` in the handler manifest; the answer's `result` is of its `response_schema`. */
    request(
      name: string,
      input: CustomRequestInput,
      options?: CallOptions,
    ): Promise<RequestHandle<VaultRequest>>;
    /** An ask made before, by its id: to wait for, read or take back. */
    handle(id: string): RequestHandle<VaultRequest>;
  };
  readonly data: {
    /** Ask a user what data of theirs there is, without values. Needs `browse_metadata` in the user's contract. The ask is stored before this answers. Send an Idempotency-Key to repeat it safely. */
    browse(input: DataBrowseInput, options?: CallOptions): Promise<RequestHandle<DataAnswer>>;
    /** Data: one request */
    get(id: string, input?: WaitInput, options?: CallOptions): Promise<DataAnswer>;
    /** Read values of the service's own namespace in the user's vault. Needs `read_data` in the user's contract. The ask is stored before this answers. Send an Idempotency-Key to repeat it safely. */
    read(input: DataReadInput, options?: CallOptions): Promise<RequestHandle<DataAnswer>>;
    /** Ask a user to share data of theirs. Needs `request_data` in the user's contract. The ask is stored before this answers. Send an Idempotency-Key to repeat it safely. */
    request(input: DataRequestInput, options?: CallOptions): Promise<RequestHandle<DataAnswer>>;
    /** Keep a value in the service's own namespace in the user's vault. Needs `write_data` in the user's contract. The ask is stored before this answers. Send an Idempotency-Key to repeat it safely. */
    write(input: DataWriteInput, options?: CallOptions): Promise<RequestHandle<DataAnswer>>;
    /** An ask made before, by its id: to wait for, read or take back. */
    handle(id: string): RequestHandle<DataAnswer>;
  };
  readonly domain: {
    /** The domain the service claims, and whether its DNS says so */
    get(options?: CallOptions): Promise<Domain>;
    /** Look at the domain's TXT record now. Asks every configured resolver over HTTPS; where there are several, two must say the same. From then on the record is looked at each day, and a change is told as `domain.verified` or `domain.lapsed`. Answers 200 also when the record is not there: see `status` and `last_check`. */
    verify(options?: CallOptions): Promise<Domain>;
  };
  readonly manifest: {
    /** Capabilities of the service's own, its event handlers and plans */
    get(options?: CallOptions): Promise<HandlerManifest>;
    /** Replace the handler manifest */
    put(input: HandlerManifest, options?: CallOptions): Promise<HandlerManifest>;
  };
  readonly notifications: {
    /** Notifications: one request */
    get(id: string, input?: WaitInput, options?: CallOptions): Promise<NotificationsAnswer>;
    /** Tell a user something. Needs `send_notifications` in the user's contract. The ask is stored before this answers. Send an Idempotency-Key to repeat it safely. */
    send(input: NotificationsSendInput, options?: CallOptions): Promise<RequestHandle<NotificationsAnswer>>;
    /** An ask made before, by its id: to wait for, read or take back. */
    handle(id: string): RequestHandle<NotificationsAnswer>;
  };
  readonly offerings: {
    /** Withdraw an offering. It leaves the offer. Contracts made on it stay; open invites for it no longer work. */
    delete(id: string, options?: CallOptions): Promise<OfferingsDeleteAnswer>;
    /** One offering */
    get(id: string, input?: OfferingsGetInput, options?: CallOptions): Promise<Offering>;
    /** The published offerings */
    list(options?: CallOptions): PageList<Offering, OfferingsListPage>;
    /** Publish an offering, or a new version of it. Makes a new version unless nothing changed. Existing contracts keep the version they were made on. */
    put(id: string, input: OfferingContent, options?: CallOptions): Promise<Offering>;
  };
  readonly payment: {
    /** An approved payment was carried out. Send an Idempotency-Key to repeat it safely. */
    complete(id: string, input: PaymentCompleteInput, options?: CallOptions): Promise<PaymentAnswer>;
    /** An approved payment could not be carried out. Send an Idempotency-Key to repeat it safely. */
    fail(id: string, input: PaymentFailInput, options?: CallOptions): Promise<PaymentAnswer>;
    /** Payments: one request */
    get(id: string, input?: WaitInput, options?: CallOptions): Promise<PaymentAnswer>;
    /** An approved payment is being carried out. Send an Idempotency-Key to repeat it safely. */
    processing(id: string, input?: PaymentProcessingInput, options?: CallOptions): Promise<PaymentAnswer>;
    /** Money of a completed payment was given back, all of it or a part. Send an Idempotency-Key to repeat it safely. */
    refund(id: string, input?: PaymentRefundInput, options?: CallOptions): Promise<PaymentAnswer>;
    /** Ask a user to pay. Needs `payment.one_time` or `payment.subscription` in the user's contract. The ask is stored before this answers. Send an Idempotency-Key to repeat it safely. */
    request(input: PaymentRequestInput, options?: CallOptions): Promise<RequestHandle<PaymentAnswer>>;
    /** An ask made before, by its id: to wait for, read or take back. */
    handle(id: string): RequestHandle<PaymentAnswer>;
  };
  readonly presence: {
    /** Presence: one request */
    get(id: string, input?: WaitInput, options?: CallOptions): Promise<PresenceAnswer>;
    /** Ask a user whether they are available. Needs `verify_presence` in the user's contract. The ask is stored before this answers. Send an Idempotency-Key to repeat it safely. */
    request(input: PresenceRequestInput, options?: CallOptions): Promise<RequestHandle<PresenceAnswer>>;
    /** An ask made before, by its id: to wait for, read or take back. */
    handle(id: string): RequestHandle<PresenceAnswer>;
  };
  readonly registries: {
    /** Register the service with a registry. Signs a registration and sends it. What the registry attests is verified, carried in new offers until it expires, and renewed in time. A registry that is away or has yet to look is asked again each hour; the same call asks at once. */
    create(input: RegistriesCreateInput, options?: CallOptions): Promise<Registry>;
    /** Leave a registry. What it attested leaves new offers at once. The registry is not told: its own entry ends when it is not renewed. */
    delete(id: string, options?: CallOptions): Promise<RegistriesDeleteAnswer>;
    /** The registries the service is registered with */
    list(options?: CallOptions): PageList<Registry, RegistriesListPage>;
  };
  readonly requests: {
    /** Take back a pending request */
    cancel(id: string, options?: CallOptions): Promise<VaultRequest>;
    /** One request of any kind */
    get(id: string, input?: WaitInput, options?: CallOptions): Promise<VaultRequest>;
    /** A user's requests, newest first */
    list(input: RequestsListInput, options?: CallOptions): PageList<VaultRequest, RequestsListPage>;
  };
  readonly secrets: {
    /** Have a secret deleted. Needs `secret.minor.write` or `secret.critical.write` in the user's contract. The ask is stored before this answers. Send an Idempotency-Key to repeat it safely. */
    delete(
      secretId: string,
      input: SecretsDeleteInput,
      options?: CallOptions,
    ): Promise<RequestHandle<SecretsAnswer>>;
    /** Secrets: one request */
    get(id: string, input?: WaitInput, options?: CallOptions): Promise<SecretsAnswer>;
    /** Ask which secrets the user's vault keeps for the service. Needs `secret.minor.read` or `secret.critical.read` or `secret.user_owned.use` in the user's contract. The ask is stored before this answers. Send an Idempotency-Key to repeat it safely. */
    list(input: SecretsListInput, options?: CallOptions): Promise<RequestHandle<SecretsAnswer>>;
    /** Ask for a secret back. Needs `secret.minor.read` or `secret.critical.read` in the user's contract. The ask is stored before this answers. Send an Idempotency-Key to repeat it safely. */
    retrieve(input: SecretsRetrieveInput, options?: CallOptions): Promise<RequestHandle<SecretsAnswer>>;
    /** Keep a secret in the user's vault. Needs `secret.minor.write` or `secret.critical.write` or `secret.user_owned.issue` in the user's contract. The ask is stored before this answers. Send an Idempotency-Key to repeat it safely. */
    store(input: SecretsStoreInput, options?: CallOptions): Promise<RequestHandle<SecretsAnswer>>;
    /** Change a secret. Needs `secret.minor.write` or `secret.critical.write` in the user's contract. The ask is stored before this answers. Send an Idempotency-Key to repeat it safely. */
    update(
      secretId: string,
      input: SecretsUpdateInput,
      options?: CallOptions,
    ): Promise<RequestHandle<SecretsAnswer>>;
    /** An ask made before, by its id: to wait for, read or take back. */
    handle(id: string): RequestHandle<SecretsAnswer>;
    readonly userOwned: {
      /** Have the user's vault sign, decrypt or derive with a user-owned secret. Needs `secret.user_owned.use` in the user's contract. The ask is stored before this answers. Send an Idempotency-Key to repeat it safely. */
      use(input: SecretsUserOwnedUseInput, options?: CallOptions): Promise<RequestHandle<SecretsAnswer>>;
      /** An ask made before, by its id: to wait for, read or take back. */
      handle(id: string): RequestHandle<SecretsAnswer>;
    };
  };
  readonly sign: {
    /** Ask a user to sign a document. Needs `sign_document` in the user's contract. The ask is stored before this answers. Send an Idempotency-Key to repeat it safely. */
    document(input: SignDocumentInput, options?: CallOptions): Promise<RequestHandle<SignAnswer>>;
    /** Signatures: one request */
    get(id: string, input?: WaitInput, options?: CallOptions): Promise<SignAnswer>;
    /** Ask a user to sign a transaction. Needs `sign_transaction` in the user's contract. The ask is stored before this answers. Send an Idempotency-Key to repeat it safely. */
    transaction(input: SignTransactionInput, options?: CallOptions): Promise<RequestHandle<SignAnswer>>;
    /** An ask made before, by its id: to wait for, read or take back. */
    handle(id: string): RequestHandle<SignAnswer>;
  };
  readonly subscriptions: {
    /** The charge for the running period went through. Send an Idempotency-Key to repeat it safely. */
    complete(
      id: string,
      input: SubscriptionsCompleteInput,
      options?: CallOptions,
    ): Promise<SubscriptionsAnswer>;
    /** Ask a user to agree to a subscription. Needs `payment.subscription` or `payment.auto_renew` in the user's contract. The ask is stored before this answers. Send an Idempotency-Key to repeat it safely. */
    create(
      input: SubscriptionsCreateInput,
      options?: CallOptions,
    ): Promise<RequestHandle<SubscriptionsAnswer>>;
    /** End a subscription */
    delete(id: string, options?: CallOptions): Promise<SubscriptionsAnswer>;
    /** The charge for the running period failed: it is tried again, a few times. Send an Idempotency-Key to repeat it safely. */
    fail(id: string, input: SubscriptionsFailInput, options?: CallOptions): Promise<SubscriptionsAnswer>;
    /** Subscriptions: one request */
    get(id: string, input?: WaitInput, options?: CallOptions): Promise<SubscriptionsAnswer>;
    /** Subscriptions: a user's, newest first */
    list(
      input: SubscriptionsListInput,
      options?: CallOptions,
    ): PageList<SubscriptionsAnswer, SubscriptionsListPage>;
    /** An ask made before, by its id: to wait for, read or take back. */
    handle(id: string): RequestHandle<SubscriptionsAnswer>;
  };
  readonly transfer: {
    /** What an export is made of. Only in maintenance. `scripts/transfer.ts` reads it all and writes it all. */
    get(input?: TransferGetInput, options?: CallOptions): Promise<TransferManifest>;
    /** Some of an object's rows. Only in maintenance. Rows as they are stored: what is wrapped stays wrapped. */
    read(object: string, input?: TransferReadInput, options?: CallOptions): Promise<TransferPage>;
    /** Put some rows into an object. Only in maintenance, and into a deployment nothing was done in. An object's pages in order; the same page again is taken once. */
    write(object: string, input: TransferPage, options?: CallOptions): Promise<TransferWriteAnswer>;
  };
  readonly users: {
    /** Erase a user. A contract that stands is ended first, and the person told; once they know, at the latest after 7 days, everything stored about them is deleted. Ask again to see how far it is. The event `user.erased` names the erasure, not the person. */
    delete(userId: string, input?: UsersDeleteInput, options?: CallOptions): Promise<UsersDeleteAnswer>;
    /** A connected user */
    get(userId: string, options?: CallOptions): Promise<UsersGetAnswer>;
    /** What a user shares. Each read is audited. Gone once the contract ends. */
    profile(userId: string, options?: CallOptions): Promise<UsersProfileAnswer>;
    readonly events: {
      /** One thing a user sent, with its content. Readable for 30 days, and for 300 seconds from the first reading; each reading is recorded. */
      get(userId: string, eventId: string, options?: CallOptions): Promise<UsersEventsGetAnswer>;
      /** What a user sent and can still be read, oldest first */
      list(
        userId: string,
        input?: UsersEventsListInput,
        options?: CallOptions,
      ): PageList<UsersEventsListItem, UsersEventsListPage>;
    };
  };
  readonly webhooks: {
    /** Add a webhook. It is told of events from now on. At most 50. */
    create(input: WebhooksCreateInput, options?: CallOptions): Promise<CreatedWebhook>;
    /** Delete a webhook. What is being delivered to it at this moment may still arrive. */
    delete(id: string, options?: CallOptions): Promise<WebhooksDeleteAnswer>;
    /** Every webhook */
    list(options?: CallOptions): PageList<Webhook, WebhooksListPage>;
    /** Deliver the events of a time range again. Every event of the range that the webhook asks for, by `timestamp`, both ends included, whatever came of it before. */
    redeliver(
      id: string,
      input: WebhooksRedeliverInput,
      options?: CallOptions,
    ): Promise<WebhooksRedeliverAnswer>;
    /** Give a webhook a new secret. Deliveries carry a `v1` signature with each secret for 24 h. X-VettID-Signature is made with the new one at once. The id `callback` stands for the secret of all callback URLs. */
    rotateSecret(id: string, options?: CallOptions): Promise<WebhooksRotateSecretAnswer>;
    /** Send a test event. One attempt, now, of an event of type `webhook.test`, and what came of it. Works for a disabled webhook, too. */
    test(id: string, options?: CallOptions): Promise<WebhooksTestAnswer>;
    /** Change a webhook. A webhook that is enabled again goes on where it stopped; what the journal no longer keeps is skipped. */
    update(id: string, input?: WebhooksUpdateInput, options?: CallOptions): Promise<Webhook>;
    readonly deliveries: {
      /** Deliveries, newest first */
      list(
        input?: WebhooksDeliveriesListInput,
        options?: CallOptions,
      ): PageList<Delivery, WebhooksDeliveriesListPage>;
      /** Deliver one event again. With the same `webhook-id`, whatever came of it before, on a fresh schedule. */
      redeliver(id: string, options?: CallOptions): Promise<Delivery>;
    };
  };
}

/** Types of events, but for the answers to asks of the service's own making: `custom.<name>.response`. */
export type EventType =
  | "auth.response"
  | "auth.session_ended"
  | "authz.response"
  | "call.accepted"
  | "call.ended"
  | "call.missed"
  | "call.rejected"
  | "call.requested"
  | "call.response"
  | "call.signal"
  | "capability.revoked"
  | "chat.message"
  | "collaboration.response"
  | "contract.activated"
  | "contract.cancelled"
  | "contract.created"
  | "contract.expired"
  | "contract.expiring"
  | "contract.paused"
  | "contract.resumed"
  | "contract.updated"
  | "data.response"
  | "domain.lapsed"
  | "domain.verified"
  | "notification.delivered"
  | "notification.read"
  | "notification.response"
  | "payment.approved"
  | "payment.completed"
  | "payment.denied"
  | "payment.failed"
  | "payment.refunded"
  | "payment.response"
  | "presence.response"
  | "profile.updated"
  | "request.cancelled"
  | "request.expired"
  | "request.reported"
  | "secret.response"
  | "sign.response"
  | "subscription.cancelled"
  | "subscription.reminder"
  | "subscription.renewal_failed"
  | "subscription.renewed"
  | "user.erased"
  | "user.event"
  | "webhook.disabled"
  | "webhook.test";

export interface AgreedContract {
  v: 1;
  user_id: string;
  user_signing_key: string;
  service_id: string;
  offer_id: string;
  offering_id: string;
  offering_snapshot: {
    name: string;
    description: string;
    capabilities: {
      capability: string;
      description: string;
      scope?: string[];
      constraints?: {
        max_per_hour?: number;
        max_per_day?: number;
        max_amount?: {
          amount: number;
          currency: string;
        };
        valid_from?: string;
        valid_until?: string;
      };
      requires_approval_each_use: boolean;
    }[];
    required_data: {
      data_type: string;
      required: boolean;
      purpose: string;
      retention?: string;
    }[];
    pricing?: {
      type: "free" | "one_time" | "subscription";
      amount?: number;
      currency?: string;
      billing_cycle?: "day" | "week" | "month" | "year";
      trial_days?: number;
    };
    terms_url?: string;
    terms_hash?: string;
    acceptance: "automatic" | "manual";
    inactivity_expiry_days?: number;
    match_code?: boolean;
    offering_id: string;
    version: number;
  };
  user_connection_key: string;
  nats_public_key: string;
  message_space: string;
  created_at: string;
  expires_at?: string;
  supersedes?: string;
}

export interface Amendment {
  amendment_id: string;
  contract_id: string;
  type: "add_capabilities" | "remove_capabilities" | "upgrade" | "downgrade" | "extend";
  /** `expired`: not agreed to in time, withdrawn for a newer one, or the contract ended first. */
  status: "pending" | "applied" | "rejected" | "expired";
  reason: string;
  offering_id: string;
  /** What the person is asked to agree to. */
  offering: Offering;
  /** The end that is proposed for the contract. */
  contract_expires_at?: string;
  created_at: string;
  /** Until when the person may agree. */
  expires_at: string;
  decided_at?: string;
  /** The contract that took this one's place. */
  successor_contract_id?: string;
  /** Why the person said no. */
  user_reason?: string;
}

export interface ApiKeysCreateInput {
  /** What it is for. */
  name: string;
  scopes: (
    | "requests:read"
    | "requests:write"
    | "contracts:read"
    | "contracts:write"
    | "audit:read"
    | "admin"
  )[];
  expires_in_seconds?: number | undefined;
}

export interface ApiKeysDeleteAnswer {
  key_id: string;
  status: "deleted";
  /** How long copies in memory may still let it through. */
  may_work_seconds: number;
}

export interface ApiKeysListItem {
  key_id: string;
  name: string;
  scopes: (
    | "requests:read"
    | "requests:write"
    | "contracts:read"
    | "contracts:write"
    | "audit:read"
    | "admin"
  )[];
  created_at: string;
  expires_at?: string;
  /** The day (UTC) of its last use. */
  last_used_day?: string;
  rotated_at?: string;
  /** Until when the secret before the last rotation works. */
  previous_valid_until?: string;
}

export interface ApiKeysListPage {
  api_keys: {
    key_id: string;
    name: string;
    scopes: (
      | "requests:read"
      | "requests:write"
      | "contracts:read"
      | "contracts:write"
      | "audit:read"
      | "admin"
    )[];
    created_at: string;
    expires_at?: string;
    /** The day (UTC) of its last use. */
    last_used_day?: string;
    rotated_at?: string;
    /** Until when the secret before the last rotation works. */
    previous_valid_until?: string;
  }[];
}

export interface ApiKeysRotateInput {
  grace_seconds?: number | undefined;
}

export interface Approval {
  statement: ApprovalStatement;
  signature: string;
}

export interface ApprovalStatement {
  v: 1;
  request_id: string;
  request_digest: string;
  kind: string;
  decision: "approved" | "denied";
  user_id: string;
  service_id: string;
  contract_id: string;
  responded_at: string;
  valid_until?: string;
  constraints?: Record<string, unknown>;
  result_digest?: string;
}

export interface AuditEntry {
  event_id: string;
  timestamp: string;
  service_id: string;
  user_id?: string;
  contract_id?: string;
  operation: string;
  capability_used?: string;
  status: "success" | "denied" | "error";
  request_summary: Record<string, string | number | boolean>;
  response_summary: Record<string, string | number | boolean>;
  salt: string;
  previous_hash: string;
  event_hash: string;
  signature: string;
}

export interface AuditListInput {
  /** How many to answer with. */
  limit?: number | undefined;
  /** Whose chain; absent: the service's own. */
  user_id?: string | undefined;
  /** `event_id` of the last entry already known. */
  after?: string | undefined;
  /** The same as `after`. */
  cursor?: string | undefined;
  operation?: string | undefined;
}

export interface AuditListPage {
  entries: AuditEntry[];
  next_cursor?: string;
  /** Where the chain's beginning was pruned: `event_hash` of the last entry that was. */
  pruned_to?: string;
}

export interface AuditLogResumeInput {
  republish?: boolean | undefined;
}

export interface AuditLogState {
  status: "open" | "halted";
  reason?:
    | "behind"
    | "forked"
    | "checkpoint_missing"
    | "checkpoint_went_back"
    | "checkpoint_unreadable"
    | "origin_changed"
    | "storage_damaged";
  detail?: string;
  /** Leaves. */
  size: number;
  /** Leaves under the published checkpoint. */
  published_size: number;
  /** Leaves that wait for the next batch. */
  waiting: number;
  witnesses: {
    name: string;
    /** What it cosigned last. */
    size: number;
  }[];
}

export interface AuditProofAnswer {
  event_id: string;
  /** `user_id`, or `service_id` for the service's own chain. */
  owner_id: string;
  /** From the entry to the head, in order. */
  entries: AuditEntry[];
  /** `event_hash` of the last of them. */
  head: string;
  /** In the log, from 0. */
  leaf_index: number;
  /** As in the offer: take it from there, not from here. */
  log_vkey: string;
  /** c2sp.org/tlog-proof. */
  proof: string;
}

export interface AuditProofInput {
  /** Whose chain; absent: the service's own. */
  user_id?: string | undefined;
}

export interface AuditVerifyAnswer {
  valid: boolean;
  entries: number;
  /** Entries up to the last head that a proof shows in the log. */
  covered: number;
  heads: {
    entry: number;
    leaf_index: number;
    size: number;
    cosigners: {
      name: string;
      time_seconds: number;
    }[];
  }[];
  findings: {
    kind:
      | "changed"
      | "removed"
      | "reordered"
      | "truncated"
      | "rewritten"
      | "foreign"
      | "rolled_back"
      | "forked"
      | "log_damaged"
      | "not_in_log"
      | "not_cosigned";
    /** Place in the entries handed in, from 0. */
    entry?: number;
    event_id?: string;
    detail: string;
  }[];
}

export interface AuditVerifyInput {
  /** Whose chain; absent: the service's own. */
  user_id?: string | undefined;
  /** In order. */
  entries: unknown[];
  /** `event_hash` of the entry before the first; absent: the beginning. */
  after?: string | undefined;
  proofs?: string[] | undefined;
  /** The same, for a single one. */
  proof?: string | undefined;
}

export interface AuthAnswer {
  request_id: string;
  user_id: string;
  contract_id: string;
  kind: string;
  operation: string;
  status: RequestStatus;
  created_at: string;
  expires_at: string;
  /** When the user's vault confirmed that it has the ask. */
  delivered_at?: string;
  responded_at?: string;
  /** When `status` was entered. */
  timestamp: string;
  reason?: string;
  result?: {
    authenticated: boolean;
    user_attestation?: Approval;
    timestamp: string;
  };
  /** The answer carried a shared value that is no longer kept. */
  result_destroyed?: boolean;
  /** What the user saw and signed the digest of. */
  request_payload: unknown;
  /** The user's signed statement; verifiable offline. */
  approval?: Approval;
  user_signing_key: string;
  metadata?: unknown;
}

export interface AuthRequestInput {
  /** Whom to ask. */
  user_id: string;
  /** What surrounds the ask, as the person sees it: device, place, order number. Flat and short. */
  context?: Record<string, string | number | boolean> | undefined;
  /** Told when this request ends, beside the webhooks. https only; http to this machine in development. */
  callback_url?: string | undefined;
  /** How long the person may answer: 60 s to 30 days; the default is the kind's. */
  expires_in_seconds?: number | undefined;
  /** How long after expiry an answer given in time may still arrive; the default is the kind's. */
  offline_grace_seconds?: number | undefined;
  /** Yours: kept with the request and shown with it, never sent to the person. */
  metadata?: unknown;
  /** Why you ask, in words for the person. */
  purpose: string;
  /** The person must type the number that this call's answer carries; show it where they log in. */
  match_code?: boolean | undefined;
  /** Makes it a check of this continuous session, which then has to be granted. */
  session_id?: string | undefined;
}

export interface AuthSessionsAnswer {
  request_id: string;
  user_id: string;
  contract_id: string;
  kind: string;
  operation: string;
  status: "pending" | "active" | "ended";
  created_at: string;
  expires_at: string;
  /** When the user's vault confirmed that it has the ask. */
  delivered_at?: string;
  responded_at?: string;
  /** When `status` was entered. */
  timestamp: string;
  reason?: string;
  result?: unknown;
  /** The answer carried a shared value that is no longer kept. */
  result_destroyed?: boolean;
  /** What the user saw and signed the digest of. */
  request_payload: unknown;
  /** The user's signed statement; verifiable offline. */
  approval?: Approval;
  user_signing_key: string;
  metadata?: unknown;
  session_id: string;
  session_status: "pending" | "active" | "ended";
  /** How often the user confirms that they are still there. */
  interval_seconds: number;
  /** Unanswered checks in a row that end the session. */
  max_misses: number;
  /** Unanswered checks in a row, now. */
  misses: number;
  /** Checks asked so far. */
  checks: number;
  last_answer?: {
    request_id?: string;
    status: RequestStatus;
    at: string;
  };
  ended_at?: string;
  end_reason?: string;
}

export interface AuthSessionsCreateInput {
  /** Whom to ask. */
  user_id: string;
  /** What surrounds the ask, as the person sees it: device, place, order number. Flat and short. */
  context?: Record<string, string | number | boolean> | undefined;
  /** Told when this request ends, beside the webhooks. https only; http to this machine in development. */
  callback_url?: string | undefined;
  /** How long the person may answer: 60 s to 30 days; the default is the kind's. */
  expires_in_seconds?: number | undefined;
  /** How long after expiry an answer given in time may still arrive; the default is the kind's. */
  offline_grace_seconds?: number | undefined;
  /** Yours: kept with the request and shown with it, never sent to the person. */
  metadata?: unknown;
  /** Why you ask, in words for the person. */
  purpose: string;
  /** How often the user confirms that they are still there. */
  interval_seconds: number;
  /** Unanswered checks in a row that end the session. */
  max_misses: number;
}

export interface AuthzAnswer {
  request_id: string;
  user_id: string;
  contract_id: string;
  kind: string;
  operation: string;
  status: RequestStatus;
  created_at: string;
  expires_at: string;
  /** When the user's vault confirmed that it has the ask. */
  delivered_at?: string;
  responded_at?: string;
  /** When `status` was entered. */
  timestamp: string;
  reason?: string;
  result?: unknown;
  /** The answer carried a shared value that is no longer kept. */
  result_destroyed?: boolean;
  /** What the user saw and signed the digest of. */
  request_payload: unknown;
  /** The user's signed statement; verifiable offline. */
  approval?: Approval;
  user_signing_key: string;
  metadata?: unknown;
  action: string;
  resource: string;
  /** Absent while the request is pending. */
  allowed?: boolean;
  /** Limits the person set; signed with the approval, for the backend to keep. */
  constraints?: Record<string, unknown>;
  /** Until when the person lets the approval be relied on. */
  approval_expires_at?: string;
}

export interface AuthzRequestInput {
  /** Whom to ask. */
  user_id: string;
  /** What surrounds the ask, as the person sees it: device, place, order number. Flat and short. */
  context?: Record<string, string | number | boolean> | undefined;
  /** Told when this request ends, beside the webhooks. https only; http to this machine in development. */
  callback_url?: string | undefined;
  /** How long the person may answer: 60 s to 30 days; the default is the kind's. */
  expires_in_seconds?: number | undefined;
  /** How long after expiry an answer given in time may still arrive; the default is the kind's. */
  offline_grace_seconds?: number | undefined;
  /** Yours: kept with the request and shown with it, never sent to the person. */
  metadata?: unknown;
  /** Why you ask, in words for the person. */
  purpose?: string | undefined;
  /** What is to be done: `transfer`, `door.open`. */
  action: string;
  /** To what: `account/42`, `front door`. */
  resource: string;
}

export interface CallAnswer {
  request_id: string;
  user_id: string;
  contract_id: string;
  kind: string;
  operation: string;
  status: "ringing" | "connected" | "rejected" | "missed" | "ended" | "failed";
  created_at: string;
  expires_at: string;
  /** When the user's vault confirmed that it has the ask. */
  delivered_at?: string;
  responded_at?: string;
  /** When `status` was entered. */
  timestamp: string;
  reason?: string;
  result?: unknown;
  /** The answer carried a shared value that is no longer kept. */
  result_destroyed?: boolean;
  /** What the user saw and signed the digest of. */
  request_payload: unknown;
  /** The user's signed statement; verifiable offline. */
  approval?: Approval;
  user_signing_key: string;
  metadata?: unknown;
  call_id: string;
  type: "text" | "voice" | "video";
  /** The user's session description; gone when the call is over. */
  answer?: unknown;
  started_at: string;
  connected_at?: string;
  ended_at?: string;
  ended_by?: "user" | "service";
  end_reason?: string;
  duration_seconds?: number;
}

export interface CallEndInput {
  reason?: string | undefined;
}

export interface CallInitiateInput {
  /** Whom to ask. */
  user_id: string;
  /** What surrounds the ask, as the person sees it: device, place, order number. Flat and short. */
  context?: Record<string, string | number | boolean> | undefined;
  /** Told when this request ends, beside the webhooks. https only; http to this machine in development. */
  callback_url?: string | undefined;
  /** How long the person may answer: 60 s to 30 days; the default is the kind's. */
  expires_in_seconds?: number | undefined;
  /** How long after expiry an answer given in time may still arrive; the default is the kind's. */
  offline_grace_seconds?: number | undefined;
  /** Yours: kept with the request and shown with it, never sent to the person. */
  metadata?: unknown;
  /** Why you ask, in words for the person. */
  purpose?: string | undefined;
  type?: "text" | "voice" | "video" | undefined;
  /** The same as type. */
  call_type?: "text" | "voice" | "video" | undefined;
  /** Who is calling, as the person is shown it. */
  agent_info?:
    | {
        name: string;
        agent_id?: string | undefined;
        title?: string | undefined;
        avatar_url?: string | undefined;
      }
    | undefined;
  ice_servers?:
    | {
        urls: string[];
        username?: string | undefined;
        credential?: string | undefined;
      }[]
    | undefined;
  offer?: unknown;
  /** `user_event_id` of the `call.requested` that this call answers. */
  call_request_id?: string | undefined;
}

export interface CallMessageInput {
  text: string;
}

export interface CallSignalInput {
  signal: unknown;
}

export interface CallSignalsListInput {
  /** `position` of the last one already known. */
  after?: number | undefined;
  limit?: number | undefined;
}

export interface CallSignalsListItem {
  /** Grows with each; where the next reading begins. */
  position: number;
  type: "call.signal" | "chat.message";
  from: "user" | "service";
  at: string;
  signal?: unknown;
  text?: string;
  sent_at?: string;
}

export interface CallSignalsListPage {
  signals: {
    /** Grows with each; where the next reading begins. */
    position: number;
    type: "call.signal" | "chat.message";
    from: "user" | "service";
    at: string;
    signal?: unknown;
    text?: string;
    sent_at?: string;
  }[];
}

export interface CallTicketAnswer {
  ticket: string;
  expires_at: string;
  signaling_url: string;
}

export interface CollaborationAnswer {
  request_id: string;
  user_id: string;
  contract_id: string;
  kind: string;
  operation: string;
  status: RequestStatus;
  created_at: string;
  expires_at: string;
  /** When the user's vault confirmed that it has the ask. */
  delivered_at?: string;
  responded_at?: string;
  /** When `status` was entered. */
  timestamp: string;
  reason?: string;
  result?: unknown;
  /** The answer carried a shared value that is no longer kept. */
  result_destroyed?: boolean;
  /** What the user saw and signed the digest of. */
  request_payload: unknown;
  /** The user's signed statement; verifiable offline. */
  approval?: Approval;
  user_signing_key: string;
  metadata?: unknown;
  datastore_id?: string;
  connections?: {
    service_id: string;
    service_name: string;
  }[];
  values?: Record<string, unknown>;
  accesses?: {
    at: string;
    service_id: string;
    action: "read" | "write";
    fields: string[];
  }[];
}

export interface CollaborationConnectionsInput {
  /** Whom to ask. */
  user_id: string;
  /** What surrounds the ask, as the person sees it: device, place, order number. Flat and short. */
  context?: Record<string, string | number | boolean> | undefined;
  /** Told when this request ends, beside the webhooks. https only; http to this machine in development. */
  callback_url?: string | undefined;
  /** How long the person may answer: 60 s to 30 days; the default is the kind's. */
  expires_in_seconds?: number | undefined;
  /** How long after expiry an answer given in time may still arrive; the default is the kind's. */
  offline_grace_seconds?: number | undefined;
  /** Yours: kept with the request and shown with it, never sent to the person. */
  metadata?: unknown;
  /** Why you ask, in words for the person. */
  purpose?: string | undefined;
}

export interface CollaborationDatastoresAuditInput {
  /** Whom to ask. */
  user_id: string;
  /** What surrounds the ask, as the person sees it: device, place, order number. Flat and short. */
  context?: Record<string, string | number | boolean> | undefined;
  /** Told when this request ends, beside the webhooks. https only; http to this machine in development. */
  callback_url?: string | undefined;
  /** How long the person may answer: 60 s to 30 days; the default is the kind's. */
  expires_in_seconds?: number | undefined;
  /** How long after expiry an answer given in time may still arrive; the default is the kind's. */
  offline_grace_seconds?: number | undefined;
  /** Yours: kept with the request and shown with it, never sent to the person. */
  metadata?: unknown;
  /** Why you ask, in words for the person. */
  purpose?: string | undefined;
}

export interface CollaborationDatastoresListInput {
  /** How many to answer with. */
  limit?: number | undefined;
  /** `next_cursor` of the page before. */
  cursor?: string | undefined;
  user_id: string;
}

export interface CollaborationDatastoresListItem {
  datastore_id: string;
  user_id: string;
  target_service_id: string;
  shared_data_schema: unknown;
  agreed_at: string;
}

export interface CollaborationDatastoresListPage {
  datastores: {
    datastore_id: string;
    user_id: string;
    target_service_id: string;
    shared_data_schema: unknown;
    agreed_at: string;
  }[];
  next_cursor?: string;
}

export interface CollaborationDatastoresReadInput {
  /** Whom to ask. */
  user_id: string;
  /** What surrounds the ask, as the person sees it: device, place, order number. Flat and short. */
  context?: Record<string, string | number | boolean> | undefined;
  /** Told when this request ends, beside the webhooks. https only; http to this machine in development. */
  callback_url?: string | undefined;
  /** How long the person may answer: 60 s to 30 days; the default is the kind's. */
  expires_in_seconds?: number | undefined;
  /** How long after expiry an answer given in time may still arrive; the default is the kind's. */
  offline_grace_seconds?: number | undefined;
  /** Yours: kept with the request and shown with it, never sent to the person. */
  metadata?: unknown;
  /** Why you ask, in words for the person. */
  purpose?: string | undefined;
  fields: string[];
}

export interface CollaborationDatastoresWriteInput {
  /** Whom to ask. */
  user_id: string;
  /** What surrounds the ask, as the person sees it: device, place, order number. Flat and short. */
  context?: Record<string, string | number | boolean> | undefined;
  /** Told when this request ends, beside the webhooks. https only; http to this machine in development. */
  callback_url?: string | undefined;
  /** How long the person may answer: 60 s to 30 days; the default is the kind's. */
  expires_in_seconds?: number | undefined;
  /** How long after expiry an answer given in time may still arrive; the default is the kind's. */
  offline_grace_seconds?: number | undefined;
  /** Yours: kept with the request and shown with it, never sent to the person. */
  metadata?: unknown;
  /** Why you ask, in words for the person. */
  purpose?: string | undefined;
  values: Record<string, unknown>;
}

export interface CollaborationRequestInput {
  /** Whom to ask. */
  user_id: string;
  /** What surrounds the ask, as the person sees it: device, place, order number. Flat and short. */
  context?: Record<string, string | number | boolean> | undefined;
  /** Told when this request ends, beside the webhooks. https only; http to this machine in development. */
  callback_url?: string | undefined;
  /** How long the person may answer: 60 s to 30 days; the default is the kind's. */
  expires_in_seconds?: number | undefined;
  /** How long after expiry an answer given in time may still arrive; the default is the kind's. */
  offline_grace_seconds?: number | undefined;
  /** Yours: kept with the request and shown with it, never sent to the person. */
  metadata?: unknown;
  /** Why you ask, in words for the person. */
  purpose: string;
  target_service_id: string;
  shared_data_schema: {
    fields: {
      name: string;
      type: "string" | "number" | "boolean" | "object" | "array";
      description?: string | undefined;
    }[];
    /** By service id: the asking service's and the target's. */
    access: Record<
      string,
      {
        read?: string[] | undefined;
        write?: string[] | undefined;
      }
    >;
  };
}

export interface ConsentReceipt {
  v: 1;
  schema: "ISO/IEC TS 27560:2023";
  receipt_id: string;
  issued_at: string;
  state: "issued" | "withdrawn" | "expired";
  principal: {
    user_id: string;
    public_key: string;
  };
  controller: {
    service_id: string;
    public_key: string;
    name: string;
    type: string;
    domain?: string;
  };
  lawful_basis: "consent";
  given: {
    at: string;
    method: "signed_contract";
    signature: string;
  };
  valid_until?: string;
  ended?: {
    at: string;
    by?: "principal" | "controller";
    superseded_by?: string;
  };
  purposes: {
    purpose: string;
    description: string;
    state: "issued" | "withdrawn" | "expired";
    scope?: string[];
    constraints?: {
      max_per_hour?: number;
      max_per_day?: number;
      max_amount?: {
        amount: number;
        currency: string;
      };
      valid_from?: string;
      valid_until?: string;
    };
    each_use_approved: boolean;
  }[];
  data_categories: {
    category: string;
    purpose: string;
    optional: boolean;
    retention?: string;
  }[];
  retention: {
    until: "contract_end";
    inactivity_expiry_days?: number;
  };
  third_parties: {
    name: string;
    purpose: string;
  }[];
  jurisdiction?: string;
  terms_url?: string;
  terms_hash?: string;
  withdrawal: {
    methods: ("contract.revoke" | "capability.revoke")[];
    effect: "immediate";
  };
  contract: {
    contract_id: string;
    offering_id: string;
    offering_name: string;
    offering_version: number;
    supersedes?: string;
  };
  signature: string;
}

export interface Contract {
  contract_id: string;
  user_id: string;
  service_id: string;
  offering_id: string;
  offering_name: string;
  offering: Offering;
  capabilities: string[];
  status: "pending" | "active" | "paused" | "rejected" | "cancelled" | "expired" | "superseded";
  created_at: string;
  activated_at?: string;
  expires_at?: string;
  cancelled_at?: string;
  cancelled_by?: "user" | "service";
  cancelled_reason?: string;
  supersedes?: string;
  /** The contract that took its place; act on that one. */
  superseded_by?: string;
}

export interface ContractDetail {
  contract_id: string;
  user_id: string;
  service_id: string;
  offering_id: string;
  offering_name: string;
  offering: Offering;
  capabilities: string[];
  status: "pending" | "active" | "paused" | "rejected" | "cancelled" | "expired" | "superseded";
  created_at: string;
  activated_at?: string;
  expires_at?: string;
  cancelled_at?: string;
  cancelled_by?: "user" | "service";
  cancelled_reason?: string;
  supersedes?: string;
  /** The contract that took its place; act on that one. */
  superseded_by?: string;
  /** What proves the contract by itself; absent until accepted. */
  record?: ContractRecord;
  verification: {
    valid: boolean;
    checks: {
      check: string;
      ok: boolean;
      detail: string;
    }[];
  };
  connection: {
    last_activity_at?: string;
    service_key_ids: string[];
    user_key_ids: string[];
    sent_seq: number;
    received_seq: number;
    missing_seq: number[];
  };
}

export interface ContractRecord {
  contract: AgreedContract;
  user_signature: string;
  signed_at: string;
  service_public_key: string;
  service_connection_key: string;
  accepted_at: string;
  service_signature: string;
}

export type ContractsAmendmentsCreateInput =
  | {
      type: "add_capabilities";
      capabilities: {
        capability: string;
        description: string;
        scope?: string[] | undefined;
        constraints?:
          | {
              max_per_hour?: number | undefined;
              max_per_day?: number | undefined;
              max_amount?:
                | {
                    amount: number;
                    currency: string;
                  }
                | undefined;
              valid_from?: string | undefined;
              valid_until?: string | undefined;
            }
          | undefined;
        requires_approval_each_use: boolean;
      }[];
      reason: string;
      expires_in_seconds?: number | undefined;
    }
  | {
      type: "remove_capabilities";
      capabilities: string[];
      reason: string;
      expires_in_seconds?: number | undefined;
    }
  | {
      type: "upgrade";
      offering_id: string;
      reason: string;
      expires_in_seconds?: number | undefined;
    }
  | {
      type: "downgrade";
      offering_id: string;
      reason: string;
      expires_in_seconds?: number | undefined;
    }
  | {
      type: "extend";
      expires_at: string;
      reason: string;
      expires_in_seconds?: number | undefined;
    };

export interface ContractsAmendmentsListInput {
  /** How many to answer with. */
  limit?: number | undefined;
  /** `next_cursor` of the page before. */
  cursor?: string | undefined;
}

export interface ContractsAmendmentsListPage {
  amendments: Amendment[];
  next_cursor?: string;
}

export interface ContractsDeleteAnswer {
  contract_id: string;
  status: "cancelled";
}

export interface ContractsDeleteInput {
  /** Told to the person. */
  reason?: string | undefined;
}

export interface ContractsInviteInput {
  /** The one offering; absent: all. */
  offering_id?: string | undefined;
  max_uses?: number | undefined;
  expires_in_seconds?: number | undefined;
  /** Whether the person must type a code; absent: when the offering asks for one. */
  match_code?: boolean | undefined;
  /** Yours: listed with the invite, never shown to the person. */
  metadata?: unknown;
}

export interface ContractsInvitesDeleteAnswer {
  invite_id: string;
  status: "deleted";
}

export interface ContractsInvitesListInput {
  /** How many to answer with. */
  limit?: number | undefined;
  /** `next_cursor` of the page before. */
  cursor?: string | undefined;
}

export interface ContractsInvitesListItem {
  invite_id: string;
  offering_id?: string;
  status: "open" | "used_up" | "expired" | "deleted";
  uses: number;
  max_uses: number;
  match_code_required: boolean;
  wrong_match_codes: number;
  created_at: string;
  /** The id of the API key that made it. */
  created_by: string;
  expires_at: string;
  metadata?: unknown;
}

export interface ContractsInvitesListPage {
  invites: {
    invite_id: string;
    offering_id?: string;
    status: "open" | "used_up" | "expired" | "deleted";
    uses: number;
    max_uses: number;
    match_code_required: boolean;
    wrong_match_codes: number;
    created_at: string;
    /** The id of the API key that made it. */
    created_by: string;
    expires_at: string;
    metadata?: unknown;
  }[];
  next_cursor?: string;
}

export interface ContractsListInput {
  /** How many to answer with. */
  limit?: number | undefined;
  /** `next_cursor` of the page before. */
  cursor?: string | undefined;
  /** Rows to skip. */
  offset?: number | undefined;
  status?: "pending" | "active" | "paused" | "rejected" | "cancelled" | "expired" | "superseded" | undefined;
  user_id?: string | undefined;
  offering_id?: string | undefined;
}

export interface ContractsListPage {
  contracts: Contract[];
  next_cursor?: string;
  /** Over all pages. */
  total_count: number;
}

export interface ContractsPauseInput {
  /** Told to the person. */
  reason?: string | undefined;
}

export interface ContractsRejectInput {
  /** Told to the person. */
  reason?: string | undefined;
}

export interface ContractsResumeInput {
  /** Told to the person. */
  reason?: string | undefined;
}

export interface ContractsRotateKeyAnswer {
  contract_id: string;
  key_id: string;
  previous_key_id: string;
}

export interface CreatedApiKey {
  key_id: string;
  name: string;
  scopes: (
    | "requests:read"
    | "requests:write"
    | "contracts:read"
    | "contracts:write"
    | "audit:read"
    | "admin"
  )[];
  created_at: string;
  expires_at?: string;
  /** The day (UTC) of its last use. */
  last_used_day?: string;
  rotated_at?: string;
  /** Until when the secret before the last rotation works. */
  previous_valid_until?: string;
  /** The key itself, shown this once; only its hash is stored. */
  api_key: string;
}

export interface CreatedWebhook {
  webhook_id: string;
  url: string;
  /** Absent: every type. */
  types?: string[];
  description?: string;
  status: "enabled" | "disabled";
  /** `gone`: it answered 410. `failing`: nothing but failures for five days. */
  disabled_reason?: "requested" | "gone" | "failing";
  disabled_at?: string;
  created_at: string;
  secret_rotated_at?: string;
  previous_secret_valid_until?: string;
  /** `whsec_…`, shown this once. */
  secret: string;
}

export interface CustomRequestInput {
  /** Whom to ask. */
  user_id: string;
  /** What surrounds the ask, as the person sees it: device, place, order number. Flat and short. */
  context?: Record<string, string | number | boolean> | undefined;
  /** Told when this request ends, beside the webhooks. https only; http to this machine in development. */
  callback_url?: string | undefined;
  /** How long the person may answer: 60 s to 30 days; the default is the kind's. */
  expires_in_seconds?: number | undefined;
  /** How long after expiry an answer given in time may still arrive; the default is the kind's. */
  offline_grace_seconds?: number | undefined;
  /** Yours: kept with the request and shown with it, never sent to the person. */
  metadata?: unknown;
  /** Why you ask, in words for the person. */
  purpose?: string | undefined;
  [name: string]: unknown;
}

export interface DataAnswer {
  request_id: string;
  user_id: string;
  contract_id: string;
  kind: string;
  operation: string;
  status: RequestStatus;
  created_at: string;
  expires_at: string;
  /** When the user's vault confirmed that it has the ask. */
  delivered_at?: string;
  responded_at?: string;
  /** When `status` was entered. */
  timestamp: string;
  reason?: string;
  result?: unknown;
  /** The answer carried a shared value that is no longer kept. */
  result_destroyed?: boolean;
  /** What the user saw and signed the digest of. */
  request_payload: unknown;
  /** The user's signed statement; verifiable offline. */
  approval?: Approval;
  user_signing_key: string;
  /** Of a browse. */
  metadata?: {
    /** The path to ask for. */
    data_type: string;
    /** In words for people. */
    name: string;
    value_type?: "string" | "number" | "boolean" | "array" | "object" | "null";
  }[];
  /** Of a request or a read: values by path; destroyed 300 s after they were first read. */
  data?: Record<string, unknown>;
  /** What the person allows: to use it for this purpose once, or as long as the contract lives. */
  share?: "once" | "contract";
  /** Limits the person set; signed with the approval, for the backend to keep. */
  constraints?: Record<string, unknown>;
}

export interface DataBrowseInput {
  /** Whom to ask. */
  user_id: string;
  /** What surrounds the ask, as the person sees it: device, place, order number. Flat and short. */
  context?: Record<string, string | number | boolean> | undefined;
  /** Told when this request ends, beside the webhooks. https only; http to this machine in development. */
  callback_url?: string | undefined;
  /** How long the person may answer: 60 s to 30 days; the default is the kind's. */
  expires_in_seconds?: number | undefined;
  /** How long after expiry an answer given in time may still arrive; the default is the kind's. */
  offline_grace_seconds?: number | undefined;
  /** Yours: kept with the request and shown with it, never sent to the person. */
  metadata?: unknown;
  /** Why you ask, in words for the person. */
  purpose?: string | undefined;
  /** Absent: whatever the contract's scope covers. */
  data_types?: string[] | undefined;
}

export interface DataReadInput {
  /** Whom to ask. */
  user_id: string;
  /** What surrounds the ask, as the person sees it: device, place, order number. Flat and short. */
  context?: Record<string, string | number | boolean> | undefined;
  /** Told when this request ends, beside the webhooks. https only; http to this machine in development. */
  callback_url?: string | undefined;
  /** How long the person may answer: 60 s to 30 days; the default is the kind's. */
  expires_in_seconds?: number | undefined;
  /** How long after expiry an answer given in time may still arrive; the default is the kind's. */
  offline_grace_seconds?: number | undefined;
  /** Yours: kept with the request and shown with it, never sent to the person. */
  metadata?: unknown;
  /** Why you ask, in words for the person. */
  purpose?: string | undefined;
  /** Of the service's own namespace; absent ones are left out. */
  keys: string[];
}

export interface DataRequestInput {
  /** Whom to ask. */
  user_id: string;
  /** What surrounds the ask, as the person sees it: device, place, order number. Flat and short. */
  context?: Record<string, string | number | boolean> | undefined;
  /** Told when this request ends, beside the webhooks. https only; http to this machine in development. */
  callback_url?: string | undefined;
  /** How long the person may answer: 60 s to 30 days; the default is the kind's. */
  expires_in_seconds?: number | undefined;
  /** How long after expiry an answer given in time may still arrive; the default is the kind's. */
  offline_grace_seconds?: number | undefined;
  /** Yours: kept with the request and shown with it, never sent to the person. */
  metadata?: unknown;
  /** Why you ask, in words for the person. */
  purpose: string;
  /** What to share, as `address/home`. */
  data_paths: string[];
}

export interface DataWriteInput {
  /** Whom to ask. */
  user_id: string;
  /** What surrounds the ask, as the person sees it: device, place, order number. Flat and short. */
  context?: Record<string, string | number | boolean> | undefined;
  /** Told when this request ends, beside the webhooks. https only; http to this machine in development. */
  callback_url?: string | undefined;
  /** How long the person may answer: 60 s to 30 days; the default is the kind's. */
  expires_in_seconds?: number | undefined;
  /** How long after expiry an answer given in time may still arrive; the default is the kind's. */
  offline_grace_seconds?: number | undefined;
  /** Yours: kept with the request and shown with it, never sent to the person. */
  metadata?: unknown;
  /** Why you ask, in words for the person. */
  purpose?: string | undefined;
  /** In the service's own namespace in the user's vault. */
  key: string;
  value: unknown;
}

export interface Delivery {
  delivery_id: string;
  /** `callback` for a delivery to an ask's `callback_url`. */
  webhook_id: string;
  event_id: string;
  event_type: string;
  status: "pending" | "delivered" | "dead";
  attempt_count: number;
  /** The latest. Of a delivery that succeeded at once, details are kept for a short time only. */
  attempts: {
    at: string;
    duration_ms: number;
    status_code?: number;
    error?: "timeout" | "connection_failed" | "target_refused";
  }[];
  next_attempt_at?: string;
  created_at: string;
}

export interface Domain {
  domain?: string;
  /** `unchecked`: nobody could tell yet. `unproven`: the record is not there. `lapsed`: it was there once. The offer names the domain while it is `unchecked` or `verified`. */
  status: "not_configured" | "unchecked" | "verified" | "unproven" | "lapsed";
  verified: boolean;
  /** What to publish in the domain's DNS. */
  record?: {
    type: "TXT";
    name: string;
    value: string;
  };
  verified_at?: string;
  /** When the record was last seen. */
  confirmed_at?: string;
  lapsed_at?: string;
  last_check?: {
    at: string;
    /** `unresolved`: too few resolvers answered, or they do not agree. */
    outcome: "verified" | "no_record" | "wrong_record" | "unresolved";
    lookups: {
      resolver: string;
      outcome: "verified" | "no_record" | "wrong_record" | "failed";
      detail?: string;
    }[];
  };
  next_check_at?: string;
}

export interface HandlerManifest {
  capabilities: {
    name: string;
    description: string;
    request_schema: Record<string, unknown>;
    response_schema: Record<string, unknown>;
  }[];
  event_handlers: {
    event_type: string;
    description: string;
  }[];
  plans: {
    plan_id: string;
    name: string;
    amount: {
      amount: number;
      currency: string;
    };
    billing_cycle: "day" | "week" | "month" | "year";
    trial_days?: number;
  }[];
}

export interface InfoAnswer {
  service_id: string;
  service_name: string;
  service_type: string;
  domain?: string;
  domain_verified: boolean;
  public_key: string;
  encryption_key: string;
  nats_endpoint: string;
  version: string;
}

export interface Invite {
  invite_id: string;
  invite_code: string;
  invite_url: string;
  deep_link: string;
  /** The invite's URL as an image: a data URI. */
  qr_code: string;
  /** To be told to the person. */
  match_code?: string;
  expires_at: string;
  max_uses: number;
  offering_id?: string;
}

export interface KeysState {
  nats_credentials: {
    /** `short_lived`: no operator's key is set, so user JWTs are not revoked on the cluster but run out. */
    mode: "revocable" | "short_lived";
    user_jwt_lifetime_seconds: number;
    /** Revoked JWTs that the cluster was not seen to refuse yet. */
    waiting?: number;
    /** Why the cluster's list is not known to be right. */
    problem?: string;
    /** JWTs the cluster has to refuse until they have run out. */
    revocations?: number;
    /** When the cluster was last asked. */
    checked_at?: string;
  };
  vault_kek: {
    /** `rewrapped`: nothing is left under VAULT_KEK_PREVIOUS, it may be taken away. */
    status: "current" | "rewrapping" | "rewrapped";
    /** The id that each value wrapped under VAULT_KEK carries. */
    key_id: string;
    previous_key_id?: string;
    /** Objects that may still hold values under the previous key. */
    objects_left?: number;
    /** Values that do not open, and were left as they are. */
    damaged_values?: number;
  };
}

export interface Metrics {
  /** When it was gathered. */
  at: string;
  families: {
    name: string;
    type: "counter" | "gauge" | "histogram";
    /** What it counts, in which unit, and since when. */
    help: string;
    samples: {
      /** The family's name; a histogram's end in _bucket, _sum, _count. */
      name: string;
      labels: Record<string, string>;
      value: number;
    }[];
  }[];
}

export interface NotificationsAnswer {
  request_id: string;
  user_id: string;
  contract_id: string;
  kind: string;
  operation: string;
  status: RequestStatus;
  created_at: string;
  expires_at: string;
  delivered_at?: string;
  responded_at?: string;
  /** When `status` was entered. */
  timestamp: string;
  reason?: string;
  result?: unknown;
  /** The answer carried a shared value that is no longer kept. */
  result_destroyed?: boolean;
  /** What the user saw and signed the digest of. */
  request_payload: unknown;
  /** The user's signed statement; verifiable offline. */
  approval?: Approval;
  user_signing_key: string;
  metadata?: unknown;
  notification_id: string;
  delivered: boolean;
  /** When the person read it, by their vault's clock. */
  read_at?: string;
}

export interface NotificationsSendInput {
  /** Whom to ask. */
  user_id: string;
  /** What surrounds the ask, as the person sees it: device, place, order number. Flat and short. */
  context?: Record<string, string | number | boolean> | undefined;
  /** Told when this request ends, beside the webhooks. https only; http to this machine in development. */
  callback_url?: string | undefined;
  /** How long the person may answer: 60 s to 30 days; the default is the kind's. */
  expires_in_seconds?: number | undefined;
  /** How long after expiry an answer given in time may still arrive; the default is the kind's. */
  offline_grace_seconds?: number | undefined;
  /** Yours: kept with the request and shown with it, never sent to the person. */
  metadata?: unknown;
  /** Why you ask, in words for the person. */
  purpose?: string | undefined;
  title: string;
  body: string;
  /** `normal` when absent. */
  priority?: "low" | "normal" | "high" | "urgent" | undefined;
  data?: unknown;
  /** Where to go on from here; https only. */
  action_url?: string | undefined;
  /** https only. */
  image_url?: string | undefined;
  /** `general` when absent; a grant's scope may name categories. */
  category?: string | undefined;
}

export interface Offer {
  v: 1;
  offer_id: string;
  service_id: string;
  service_name: string;
  service_type: string;
  service_public_key: string;
  service_encryption_key: string;
  service_nats_endpoint: string;
  domain?: string;
  attestations: {
    registry: string;
    registry_key: string;
    service_id: string;
    statement: string;
    issued_at: string;
    expires_at: string;
    signature: string;
  }[];
  offerings: {
    name: string;
    description: string;
    capabilities: {
      capability: string;
      description: string;
      scope?: string[];
      constraints?: {
        max_per_hour?: number;
        max_per_day?: number;
        max_amount?: {
          amount: number;
          currency: string;
        };
        valid_from?: string;
        valid_until?: string;
      };
      requires_approval_each_use: boolean;
    }[];
    required_data: {
      data_type: string;
      required: boolean;
      purpose: string;
      retention?: string;
    }[];
    pricing?: {
      type: "free" | "one_time" | "subscription";
      amount?: number;
      currency?: string;
      billing_cycle?: "day" | "week" | "month" | "year";
      trial_days?: number;
    };
    terms_url?: string;
    terms_hash?: string;
    acceptance: "automatic" | "manual";
    inactivity_expiry_days?: number;
    match_code?: boolean;
    offering_id: string;
    version: number;
  }[];
  handler_manifest: {
    capabilities: {
      name: string;
      description: string;
      request_schema: Record<string, unknown>;
      response_schema: Record<string, unknown>;
    }[];
    event_handlers: {
      event_type: string;
      description: string;
    }[];
    plans: {
      plan_id: string;
      name: string;
      amount: {
        amount: number;
        currency: string;
      };
      billing_cycle: "day" | "week" | "month" | "year";
      trial_days?: number;
    }[];
  };
  log_vkey: string;
  log_url: string;
  issued_at: string;
  valid_until: string;
  signature: string;
}

export interface Offering {
  name: string;
  description: string;
  capabilities: {
    capability: string;
    description: string;
    scope?: string[];
    constraints?: {
      max_per_hour?: number;
      max_per_day?: number;
      max_amount?: {
        amount: number;
        currency: string;
      };
      valid_from?: string;
      valid_until?: string;
    };
    requires_approval_each_use: boolean;
  }[];
  required_data: {
    data_type: string;
    required: boolean;
    purpose: string;
    retention?: string;
  }[];
  pricing?: {
    type: "free" | "one_time" | "subscription";
    amount?: number;
    currency?: string;
    billing_cycle?: "day" | "week" | "month" | "year";
    trial_days?: number;
  };
  terms_url?: string;
  terms_hash?: string;
  acceptance: "automatic" | "manual";
  inactivity_expiry_days?: number;
  match_code?: boolean;
  offering_id: string;
  version: number;
}

export interface OfferingContent {
  name: string;
  description: string;
  capabilities: {
    capability: string;
    description: string;
    scope?: string[];
    constraints?: {
      max_per_hour?: number;
      max_per_day?: number;
      max_amount?: {
        amount: number;
        currency: string;
      };
      valid_from?: string;
      valid_until?: string;
    };
    requires_approval_each_use: boolean;
  }[];
  required_data: {
    data_type: string;
    required: boolean;
    purpose: string;
    retention?: string;
  }[];
  pricing?: {
    type: "free" | "one_time" | "subscription";
    amount?: number;
    currency?: string;
    billing_cycle?: "day" | "week" | "month" | "year";
    trial_days?: number;
  };
  terms_url?: string;
  terms_hash?: string;
  acceptance: "automatic" | "manual";
  inactivity_expiry_days?: number;
  match_code?: boolean;
}

export interface OfferingsDeleteAnswer {
  offering_id: string;
  status: "deleted";
}

export interface OfferingsGetInput {
  /** An earlier version; absent: the published one. */
  version?: number | undefined;
}

export interface OfferingsListPage {
  offerings: Offering[];
}

export interface PaymentAnswer {
  request_id: string;
  user_id: string;
  contract_id: string;
  kind: string;
  operation: string;
  status:
    | "pending"
    | "approved"
    | "denied"
    | "processing"
    | "completed"
    | "failed"
    | "refunded"
    | "partial_refund"
    | "expired"
    | "cancelled";
  created_at: string;
  expires_at: string;
  /** When the user's vault confirmed that it has the ask. */
  delivered_at?: string;
  responded_at?: string;
  /** When `status` was entered. */
  timestamp: string;
  reason?: string;
  result?: unknown;
  /** The answer carried a shared value that is no longer kept. */
  result_destroyed?: boolean;
  /** What the user saw and signed the digest of. */
  request_payload: unknown;
  /** The user's signed statement; verifiable offline. */
  approval?: Approval;
  user_signing_key: string;
  metadata?: unknown;
  /** Minor units. */
  amount: number;
  currency: string;
  payment_status:
    | "pending"
    | "approved"
    | "denied"
    | "processing"
    | "completed"
    | "failed"
    | "refunded"
    | "partial_refund"
    | "expired"
    | "cancelled";
  payment_id?: string;
  method?: {
    type: string;
    reference?: string;
    label?: string;
  };
  transaction_id?: string;
  receipt_url?: string;
  completed_at?: string;
  failed_at?: string;
  failure_reason?: string;
  /** Minor units given back so far. */
  refunded_amount?: number;
  refunds?: {
    amount: number;
    at: string;
    reason?: string;
  }[];
}

export interface PaymentCompleteInput {
  transaction_id: string;
  receipt_url?: string | undefined;
}

export interface PaymentFailInput {
  reason: string;
}

export type PaymentProcessingInput = Record<string, never>;

export interface PaymentRefundInput {
  /** Minor units, or with the payment's currency; absent: everything that is left. */
  amount?:
    | number
    | {
        /** In the currency's minor unit: 1999 is EUR 19.99. */
        amount: number;
        currency: string;
      }
    | undefined;
  reason?: string | undefined;
}

export interface PaymentRequestInput {
  /** Whom to ask. */
  user_id: string;
  /** What surrounds the ask, as the person sees it: device, place, order number. Flat and short. */
  context?: Record<string, string | number | boolean> | undefined;
  /** Told when this request ends, beside the webhooks. https only; http to this machine in development. */
  callback_url?: string | undefined;
  /** How long the person may answer: 60 s to 30 days; the default is the kind's. */
  expires_in_seconds?: number | undefined;
  /** How long after expiry an answer given in time may still arrive; the default is the kind's. */
  offline_grace_seconds?: number | undefined;
  /** Yours: kept with the request and shown with it, never sent to the person. */
  metadata?: unknown;
  /** Why you ask, in words for the person. */
  purpose?: string | undefined;
  amount: {
    /** In the currency's minor unit: 1999 is EUR 19.99. */
    amount: number;
    currency: string;
  };
  /** What is paid for, in words for the person. */
  description: string;
  merchant_info?:
    | {
        name: string;
        category_code?: string | undefined;
        country?: string | undefined;
        address?: string | undefined;
        website?: string | undefined;
      }
    | undefined;
  /** Must add up to the amount. */
  items?:
    | {
        name: string;
        /** 1 when absent. */
        quantity?: number | undefined;
        /** In minor units; negative for a discount. */
        unit_amount: number;
      }[]
    | undefined;
  /** Types of payment methods to choose from, as `card`; absent: any. */
  allowed_methods?: string[] | undefined;
  /** Makes it a payment that comes again, `payment.subscription`. */
  recurring_info?:
    | {
        billing_cycle: "day" | "week" | "month" | "year";
        plan_id?: string | undefined;
        payments?: number | undefined;
        subscription_id?: string | undefined;
        period_start?: string | undefined;
        period_end?: string | undefined;
      }
    | undefined;
}

export interface PresenceAnswer {
  request_id: string;
  user_id: string;
  contract_id: string;
  kind: string;
  operation: string;
  status: RequestStatus;
  created_at: string;
  expires_at: string;
  /** When the user's vault confirmed that it has the ask. */
  delivered_at?: string;
  responded_at?: string;
  /** When `status` was entered. */
  timestamp: string;
  reason?: string;
  result?: unknown;
  /** The answer carried a shared value that is no longer kept. */
  result_destroyed?: boolean;
  /** What the user saw and signed the digest of. */
  request_payload: unknown;
  /** The user's signed statement; verifiable offline. */
  approval?: Approval;
  user_signing_key: string;
  metadata?: unknown;
  /** Absent until the person has answered. */
  available?: boolean;
  until?: string;
}

export interface PresenceRequestInput {
  /** Whom to ask. */
  user_id: string;
  /** What surrounds the ask, as the person sees it: device, place, order number. Flat and short. */
  context?: Record<string, string | number | boolean> | undefined;
  /** Told when this request ends, beside the webhooks. https only; http to this machine in development. */
  callback_url?: string | undefined;
  /** How long the person may answer: 60 s to 30 days; the default is the kind's. */
  expires_in_seconds?: number | undefined;
  /** How long after expiry an answer given in time may still arrive; the default is the kind's. */
  offline_grace_seconds?: number | undefined;
  /** Yours: kept with the request and shown with it, never sent to the person. */
  metadata?: unknown;
  /** Why you ask, in words for the person. */
  purpose?: string | undefined;
}

export interface RegistriesCreateInput {
  /** The registry's origin, as https://registry.example. */
  url: string;
  /** Its Ed25519 key, when you know it from elsewhere; absent: the key it shows first. */
  registry_key?: string | undefined;
}

export interface RegistriesDeleteAnswer {
  registry_id: string;
  status: "deleted";
}

export interface RegistriesListPage {
  registries: Registry[];
}

export interface Registry {
  registry_id: string;
  url: string;
  /** Its name: the host. */
  registry: string;
  /** `pending`: it has yet to look. `refused`: it says no, and its earlier word has left the offer. `failing`: it is away; its earlier word holds until it expires. */
  status: "pending" | "attested" | "refused" | "failing" | "expired";
  /** Its key as first heard, or as given; another is not believed. */
  registry_key?: string;
  /** What new offers carry. */
  attestation?: {
    registry: string;
    registry_key: string;
    service_id: string;
    statement: string;
    issued_at: string;
    expires_at: string;
    signature: string;
  };
  detail?: string;
  created_at: string;
  asked_at?: string;
  next_ask_at: string;
}

export type RequestStatus =
  | "pending"
  | "approved"
  | "offline_approved"
  | "denied"
  | "expired"
  | "cancelled"
  | "delivered";

export interface RequestsListInput {
  /** How many to answer with. */
  limit?: number | undefined;
  /** `next_cursor` of the page before. */
  cursor?: string | undefined;
  user_id: string;
  status?:
    | "pending"
    | "approved"
    | "offline_approved"
    | "denied"
    | "expired"
    | "cancelled"
    | "delivered"
    | undefined;
  kind?: string | undefined;
}

export interface RequestsListPage {
  requests: VaultRequest[];
  next_cursor?: string;
}

export interface SecretsAnswer {
  request_id: string;
  user_id: string;
  contract_id: string;
  kind: string;
  operation: string;
  status: RequestStatus;
  created_at: string;
  expires_at: string;
  /** When the user's vault confirmed that it has the ask. */
  delivered_at?: string;
  responded_at?: string;
  /** When `status` was entered. */
  timestamp: string;
  reason?: string;
  result?: unknown;
  /** The answer carried a shared value that is no longer kept. */
  result_destroyed?: boolean;
  /** What the user saw and signed the digest of. */
  request_payload: unknown;
  /** The user's signed statement; verifiable offline. */
  approval?: Approval;
  user_signing_key: string;
  metadata?: unknown;
  secret_id?: string;
  secret_type?: "minor" | "critical" | "user_owned";
  name?: string;
  /** base64; readable for 300 s from the first reading. */
  data?: string;
  secrets?: {
    secret_id: string;
    secret_type: "minor" | "critical" | "user_owned";
    name: string;
    description?: string;
    /** Kept with the secret in the user's vault. */
    metadata?: Record<string, unknown>;
    created_at: string;
    updated_at: string;
  }[];
  output?: string;
  public_key?: string;
}

export interface SecretsDeleteInput {
  /** Whom to ask. */
  user_id: string;
  /** Why you ask, in words for the person. */
  purpose?: string | undefined;
  expires_in_seconds?: number | undefined;
  offline_grace_seconds?: number | undefined;
}

export interface SecretsListInput {
  /** Whom to ask. */
  user_id: string;
  /** What surrounds the ask, as the person sees it: device, place, order number. Flat and short. */
  context?: Record<string, string | number | boolean> | undefined;
  /** Told when this request ends, beside the webhooks. https only; http to this machine in development. */
  callback_url?: string | undefined;
  /** How long the person may answer: 60 s to 30 days; the default is the kind's. */
  expires_in_seconds?: number | undefined;
  /** How long after expiry an answer given in time may still arrive; the default is the kind's. */
  offline_grace_seconds?: number | undefined;
  /** Yours: kept with the request and shown with it, never sent to the person. */
  metadata?: unknown;
  /** Why you ask, in words for the person. */
  purpose?: string | undefined;
  /** One tier. Absent: every tier whose reading the contract grants; `minor` must be among them. */
  secret_type?: "minor" | "critical" | "user_owned" | undefined;
}

export interface SecretsRetrieveInput {
  /** Whom to ask. */
  user_id: string;
  /** What surrounds the ask, as the person sees it: device, place, order number. Flat and short. */
  context?: Record<string, string | number | boolean> | undefined;
  /** Told when this request ends, beside the webhooks. https only; http to this machine in development. */
  callback_url?: string | undefined;
  /** How long the person may answer: 60 s to 30 days; the default is the kind's. */
  expires_in_seconds?: number | undefined;
  /** How long after expiry an answer given in time may still arrive; the default is the kind's. */
  offline_grace_seconds?: number | undefined;
  /** Yours: kept with the request and shown with it, never sent to the person. */
  metadata?: unknown;
  /** Why you ask, in words for the person. */
  purpose: string;
  /** The id of the request that stored the secret. */
  secret_id: string;
}

export interface SecretsStoreInput {
  /** Whom to ask. */
  user_id: string;
  /** What surrounds the ask, as the person sees it: device, place, order number. Flat and short. */
  context?: Record<string, string | number | boolean> | undefined;
  /** Told when this request ends, beside the webhooks. https only; http to this machine in development. */
  callback_url?: string | undefined;
  /** How long the person may answer: 60 s to 30 days; the default is the kind's. */
  expires_in_seconds?: number | undefined;
  /** How long after expiry an answer given in time may still arrive; the default is the kind's. */
  offline_grace_seconds?: number | undefined;
  /** Kept with the secret in the user's vault. */
  metadata?: Record<string, unknown> | undefined;
  /** Why you ask, in words for the person. */
  purpose?: string | undefined;
  secret_type: "minor" | "critical" | "user_owned";
  name: string;
  description?: string | undefined;
  /** The secret, base64, at most 65536 bytes. */
  data: string;
}

export interface SecretsUpdateInput {
  /** Whom to ask. */
  user_id: string;
  /** What surrounds the ask, as the person sees it: device, place, order number. Flat and short. */
  context?: Record<string, string | number | boolean> | undefined;
  /** Told when this request ends, beside the webhooks. https only; http to this machine in development. */
  callback_url?: string | undefined;
  /** How long the person may answer: 60 s to 30 days; the default is the kind's. */
  expires_in_seconds?: number | undefined;
  /** How long after expiry an answer given in time may still arrive; the default is the kind's. */
  offline_grace_seconds?: number | undefined;
  /** Kept with the secret in the user's vault. */
  metadata?: Record<string, unknown> | undefined;
  /** Why you ask, in words for the person. */
  purpose?: string | undefined;
  name?: string | undefined;
  description?: string | undefined;
  /** The secret, base64, at most 65536 bytes. */
  data?: string | undefined;
}

export interface SecretsUserOwnedUseInput {
  /** Whom to ask. */
  user_id: string;
  /** What surrounds the ask, as the person sees it: device, place, order number. Flat and short. */
  context?: Record<string, string | number | boolean> | undefined;
  /** Told when this request ends, beside the webhooks. https only; http to this machine in development. */
  callback_url?: string | undefined;
  /** How long the person may answer: 60 s to 30 days; the default is the kind's. */
  expires_in_seconds?: number | undefined;
  /** How long after expiry an answer given in time may still arrive; the default is the kind's. */
  offline_grace_seconds?: number | undefined;
  /** Yours: kept with the request and shown with it, never sent to the person. */
  metadata?: unknown;
  /** Why you ask, in words for the person. */
  purpose?: string | undefined;
  /** The id of the request that stored the secret. */
  secret_id: string;
  operation: "sign" | "decrypt" | "derive";
  /** base64. `sign`: what is signed. `decrypt`: 24-byte nonce and ciphertext. `derive`: what the output is for. */
  payload: string;
}

export interface SignAnswer {
  request_id: string;
  user_id: string;
  contract_id: string;
  kind: string;
  operation: string;
  status: RequestStatus;
  created_at: string;
  expires_at: string;
  /** When the user's vault confirmed that it has the ask. */
  delivered_at?: string;
  responded_at?: string;
  /** When `status` was entered. */
  timestamp: string;
  reason?: string;
  result?: unknown;
  /** The answer carried a shared value that is no longer kept. */
  result_destroyed?: boolean;
  /** What the user saw and signed the digest of. */
  request_payload: unknown;
  /** The user's signed statement; verifiable offline. */
  approval?: Approval;
  user_signing_key: string;
  metadata?: unknown;
  /** base64; of a document, over the form in PROTOCOL §6. */
  signature?: string;
  /** base64; of a document, the user's identity key. */
  signing_key?: string;
}

export interface SignDocumentInput {
  /** Whom to ask. */
  user_id: string;
  /** What surrounds the ask, as the person sees it: device, place, order number. Flat and short. */
  context?: Record<string, string | number | boolean> | undefined;
  /** Told when this request ends, beside the webhooks. https only; http to this machine in development. */
  callback_url?: string | undefined;
  /** How long the person may answer: 60 s to 30 days; the default is the kind's. */
  expires_in_seconds?: number | undefined;
  /** How long after expiry an answer given in time may still arrive; the default is the kind's. */
  offline_grace_seconds?: number | undefined;
  /** Yours: kept with the request and shown with it, never sent to the person. */
  metadata?: unknown;
  /** Why you ask, in words for the person. */
  purpose?: string | undefined;
  document: {
    /** As the person knows it. */
    name: string;
    media_type: string;
    /** SHA-256 of the document's bytes, base64. */
    sha256: string;
    /** The document itself, base64, at most 393216 bytes; absent when the person has it. */
    bytes?: string | undefined;
  };
}

export interface SignTransactionInput {
  /** Whom to ask. */
  user_id: string;
  /** What surrounds the ask, as the person sees it: device, place, order number. Flat and short. */
  context?: Record<string, string | number | boolean> | undefined;
  /** Told when this request ends, beside the webhooks. https only; http to this machine in development. */
  callback_url?: string | undefined;
  /** How long the person may answer: 60 s to 30 days; the default is the kind's. */
  expires_in_seconds?: number | undefined;
  /** How long after expiry an answer given in time may still arrive; the default is the kind's. */
  offline_grace_seconds?: number | undefined;
  /** Yours: kept with the request and shown with it, never sent to the person. */
  metadata?: unknown;
  /** Why you ask, in words for the person. */
  purpose?: string | undefined;
  transaction: {
    /** What kind of transaction it is; the person's vault holds a key for each. */
    format: string;
    /** The bytes to sign, base64. */
    payload: string;
  };
}

export interface SubscriptionsAnswer {
  request_id: string;
  user_id: string;
  contract_id: string;
  kind: string;
  operation: string;
  status: "pending_approval" | "trialing" | "active" | "past_due" | "lapsed" | "cancelled";
  created_at: string;
  expires_at: string;
  /** When the user's vault confirmed that it has the ask. */
  delivered_at?: string;
  responded_at?: string;
  /** When `status` was entered. */
  timestamp: string;
  reason?: string;
  result?: unknown;
  /** The answer carried a shared value that is no longer kept. */
  result_destroyed?: boolean;
  /** What the user saw and signed the digest of. */
  request_payload: unknown;
  /** The user's signed statement; verifiable offline. */
  approval?: Approval;
  user_signing_key: string;
  metadata?: unknown;
  subscription_id: string;
  subscription_status: "pending_approval" | "trialing" | "active" | "past_due" | "lapsed" | "cancelled";
  plan_id: string;
  amount: {
    /** In the currency's minor unit: 1999 is EUR 19.99. */
    amount: number;
    currency: string;
  };
  billing_cycle: "day" | "week" | "month" | "year";
  auto_renew: boolean;
  trial_days?: number;
  trial_ends_at?: string;
  current_period_start?: string;
  /** What is agreed to lasts until then. */
  current_period_end?: string;
  failed_attempts?: number;
  next_attempt_at?: string;
  last_failure?: string;
  last_payment?: {
    transaction_id: string;
    receipt_url?: string;
    at: string;
  };
  method?: {
    type: string;
    reference?: string;
    label?: string;
  };
  ended_at?: string;
  end_reason?: string;
}

export interface SubscriptionsCompleteInput {
  transaction_id: string;
  receipt_url?: string | undefined;
}

export interface SubscriptionsCreateInput {
  /** Whom to ask. */
  user_id: string;
  /** What surrounds the ask, as the person sees it: device, place, order number. Flat and short. */
  context?: Record<string, string | number | boolean> | undefined;
  /** Told when this request ends, beside the webhooks. https only; http to this machine in development. */
  callback_url?: string | undefined;
  /** How long the person may answer: 60 s to 30 days; the default is the kind's. */
  expires_in_seconds?: number | undefined;
  /** How long after expiry an answer given in time may still arrive; the default is the kind's. */
  offline_grace_seconds?: number | undefined;
  /** Yours: kept with the request and shown with it, never sent to the person. */
  metadata?: unknown;
  /** Why you ask, in words for the person. */
  purpose?: string | undefined;
  plan_id: string;
  amount: {
    /** In the currency's minor unit: 1999 is EUR 19.99. */
    amount: number;
    currency: string;
  };
  billing_cycle: "day" | "week" | "month" | "year";
  /** Renewals need no new approval, as long as the contract grants `payment.auto_renew`. */
  auto_renew: boolean;
  trial_days?: number | undefined;
  description?: string | undefined;
}

export interface SubscriptionsFailInput {
  reason: string;
}

export interface SubscriptionsListInput {
  /** How many to answer with. */
  limit?: number | undefined;
  /** `next_cursor` of the page before. */
  cursor?: string | undefined;
  user_id: string;
}

export interface SubscriptionsListPage {
  subscriptions: SubscriptionsAnswer[];
  next_cursor?: string;
}

export interface TransferGetInput {
  cursor?: string | undefined;
}

export interface TransferManifest {
  format: "vettid-service-vault/1";
  version: string;
  service_id: string;
  /** Equal where VAULT_KEK is equal. */
  key_check: string;
  journal_shards: number;
  /** In the order to import them. */
  objects: string[];
  next_cursor?: string;
}

export interface TransferPage {
  schema_version: number;
  after?: string;
  tables: {
    name: string;
    columns: string[];
    rows: (
      | string
      | number
      | null
      | {
          base64: string;
        }
    )[][];
  }[];
  next?: string;
}

export interface TransferReadInput {
  after?: string | undefined;
}

export interface TransferWriteAnswer {
  rows: number;
  done: boolean;
}

export interface UsersDeleteAnswer {
  user_id: string;
  erasure_id: string;
  status: "erasing" | "erased";
  requested_at: string;
  /** At the latest. */
  erased_by?: string;
  erased_at?: string;
}

export interface UsersDeleteInput {
  /** Told to the person. */
  reason?: string | undefined;
}

export interface UsersEventsGetAnswer {
  /** `user_event_id` of the event that told of it. */
  event_id: string;
  contract_id: string;
  /** `events.<name>`, by a name the manifest declares, or `call.request`. */
  type: string;
  received_at: string;
  readable_until: string;
  /** As the user sent it. */
  content: unknown;
}

export interface UsersEventsListInput {
  /** How many to answer with. */
  limit?: number | undefined;
  /** `next_cursor` of the page before. */
  cursor?: string | undefined;
}

export interface UsersEventsListItem {
  /** `user_event_id` of the event that told of it. */
  event_id: string;
  contract_id: string;
  /** `events.<name>`, by a name the manifest declares, or `call.request`. */
  type: string;
  received_at: string;
  readable_until: string;
}

export interface UsersEventsListPage {
  events: {
    /** `user_event_id` of the event that told of it. */
    event_id: string;
    contract_id: string;
    /** `events.<name>`, by a name the manifest declares, or `call.request`. */
    type: string;
    received_at: string;
    readable_until: string;
  }[];
  next_cursor?: string;
}

export interface UsersGetAnswer {
  user_id: string;
  contract_id: string;
  contract: Contract;
}

export interface UsersProfileAnswer {
  user_id: string;
  contract_id: string;
  profile: unknown;
  updated_at: string;
}

export interface VaultRequest {
  request_id: string;
  user_id: string;
  contract_id: string;
  kind: string;
  operation: string;
  status: RequestStatus;
  created_at: string;
  expires_at: string;
  /** When the user's vault confirmed that it has the ask. */
  delivered_at?: string;
  responded_at?: string;
  /** When `status` was entered. */
  timestamp: string;
  reason?: string;
  result?: unknown;
  /** The answer carried a shared value that is no longer kept. */
  result_destroyed?: boolean;
  /** What the user saw and signed the digest of. */
  request_payload: unknown;
  /** The user's signed statement; verifiable offline. */
  approval?: Approval;
  user_signing_key: string;
  metadata?: unknown;
  [name: string]: unknown;
}

export interface WaitInput {
  /** Seconds to hold the line until the request is no longer pending. */
  wait?: number | undefined;
}

export interface Webhook {
  webhook_id: string;
  url: string;
  /** Absent: every type. */
  types?: string[];
  description?: string;
  status: "enabled" | "disabled";
  /** `gone`: it answered 410. `failing`: nothing but failures for five days. */
  disabled_reason?: "requested" | "gone" | "failing";
  disabled_at?: string;
  created_at: string;
  secret_rotated_at?: string;
  previous_secret_valid_until?: string;
}

export interface WebhooksCreateInput {
  /** https, a public host, port 443 or one from 1024 up; in development also http to this machine. */
  url: string;
  /** Absent: every type. A group as `contract.*` is allowed. */
  types?: string[] | undefined;
  description?: string | undefined;
}

export interface WebhooksDeleteAnswer {
  webhook_id: string;
  status: "deleted";
}

export interface WebhooksDeliveriesListInput {
  /** How many to answer with. */
  limit?: number | undefined;
  /** `next_cursor` of the page before. */
  cursor?: string | undefined;
  status?: "pending" | "delivered" | "dead" | undefined;
  /** A webhook's id, or `callback` for deliveries to callback URLs. */
  endpoint?: string | undefined;
}

export interface WebhooksDeliveriesListPage {
  deliveries: Delivery[];
  next_cursor?: string;
}

export interface WebhooksListPage {
  webhooks: Webhook[];
  /** `whpk_…` */
  public_key: string;
}

export interface WebhooksRedeliverAnswer {
  webhook_id: string;
  from: string;
  to: string;
  events: number;
}

export interface WebhooksRedeliverInput {
  from: string;
  to: string;
}

export interface WebhooksRotateSecretAnswer {
  webhook_id: string;
  /** `whsec_…`, shown this once. */
  secret: string;
  previous_secret_valid_until?: string;
}

export interface WebhooksTestAnswer {
  at: string;
  duration_ms: number;
  status_code?: number;
  error?: "timeout" | "connection_failed" | "target_refused";
  event_id: string;
  delivered: boolean;
}

export interface WebhooksUpdateInput {
  /** https, a public host, port 443 or one from 1024 up; in development also http to this machine. */
  url?: string | undefined;
  /** null: every type. */
  types?: string[] | null | undefined;
  description?: string | null | undefined;
  status?: "enabled" | "disabled" | undefined;
}
