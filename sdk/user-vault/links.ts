// The vault's sessions with the two clusters (PROTOCOL §3, §5). They carry sealed bytes and hold nothing: whatever
// was in flight when one ends is still in the store. The session loop, the publisher and the puller are those of
// src/nats; what is added here is a user's side of them: credentials that expire, and consumers per service.

import {
  AckPolicy,
  DeliverPolicy,
  type JetStreamManager,
  type NatsConnection,
  nanos,
  ReplayPolicy,
} from "nats.ws";
import { credsText } from "../../src/nats/creds.ts";
import { Publisher } from "../../src/nats/publish.ts";
import { pullMessages } from "../../src/nats/pull.ts";
import { BrokerSession, describeError, type LiveSession } from "../../src/nats/session.ts";
import type { NatsCredentials } from "../../src/protocol/contract.ts";
import { fromTimestamp } from "../../src/protocol/primitives.ts";
import { userInboxPrefix } from "../../src/protocol/subjects.ts";
import type { OutboundMessage, PublishOutcome } from "../../src/rpc.ts";
import { VaultError } from "./errors.ts";
import type { Log } from "./events.ts";

/** A JWT is renewed when this much of its life is left, so that one is at hand before the cluster drops the session. */
const RENEW_BEFORE_MS = 120_000;
/** While a session is up on a JWT that could not be renewed yet. */
const RENEW_RETRY_MS = 20_000;
/** Pauses after credentials could not be had: growing to the second value. */
const FIRST_CREDENTIALS_PAUSE_MS = 1_000;
const LONGEST_CREDENTIALS_PAUSE_MS = 60_000;
/** So many failed attempts in a row make a JWT suspect: revoked, or for a cluster that was set up anew. */
const SUSPECT_AFTER_FAILURES = 5;
/** A suspect JWT is replaced at most this often. */
const SUSPECT_RENEW_MS = 30_000;
const WATCH_INTERVAL_MS = 1_000;
/** Longer than the session's own limit for one attempt. */
const READY_TIMEOUT_MS = 20_000;
/** A message that could not be stored comes again after this. */
const REDELIVER_AFTER_MS = 2_000;
const API_TIMEOUT_MS = 3_000;
/** A message delivered and not acknowledged comes again after this. */
const ACK_WAIT_MS = 30_000;
const MAX_ACK_PENDING = 1_000;
const UNLIMITED = -1;

/** Whether a JWT will still do for a session begun now. */
export const isFresh = (credentials: NatsCredentials, now: number): boolean =>
  fromTimestamp(credentials.expires_at) - now > RENEW_BEFORE_MS;

/** Hands a message on; resolves once it may be forgotten by the broker, rejects when it has to come again. */
export type Deliver = (serviceId: string, subject: string, bytes: Uint8Array) => Promise<void>;

export interface ServiceLinkOptions {
  contractId: string;
  serviceId: string;
  userId: string;
  /** Seed of the nkey the JWTs are for (SU…). */
  natsSeed: string;
  /** A JWT that is fresh; with `renew`, a new one even if the stored one looks good. */
  credentials: (renew: boolean) => Promise<NatsCredentials>;
  deliver: Deliver;
  /** The session has come up: what waits can be sent. */
  onReady: () => void;
  log: Log;
}

/** Keeps one contract's session with the service's cluster up, each time with credentials that hold. */
export class ServiceLink {
  readonly #options: ServiceLinkOptions;
  #running: AbortController | undefined;
  #session: BrokerSession | undefined;
  #publisher: Publisher | undefined;
  /** Ends the wait for the next thing to do with the credentials. */
  #nudge: (() => void) | undefined;

  constructor(options: ServiceLinkOptions) {
    this.#options = options;
  }

  get ready(): boolean {
    return this.#session?.connection !== undefined;
  }

  start(): void {
    if (this.#running !== undefined) return;
    const running = new AbortController();
    this.#running = running;
    void this.#run(running.signal);
  }

  stop(): void {
    this.#running?.abort();
    this.#running = undefined;
    this.#nudge?.();
    this.#drop();
  }

  /** Begins anew with the credentials that are stored now: the contract was accepted, and allows more than setup. */
  refresh(): void {
    this.#drop();
    this.#nudge?.();
  }

  /** Publishes sealed messages; outcomes in their order. All fail when the session is not up. */
  async publish(batch: readonly OutboundMessage[]): Promise<PublishOutcome[]> {
    return this.#publisher === undefined ? batch.map(() => "failed") : this.#publisher.publish(batch);
  }

  #drop(): void {
    this.#session?.stop();
    this.#session = undefined;
    this.#publisher = undefined;
  }

  async #run(stopped: AbortSignal): Promise<void> {
    const { contractId, log } = this.#options;
    let failures = 0;
    let renew = false;
    while (!stopped.aborted) {
      let credentials: NatsCredentials;
      try {
        credentials = await this.#options.credentials(renew);
        failures = 0;
      } catch (error) {
        if (stopped.aborted) return;
        log("warn", "no credentials for the service's cluster", {
          contract_id: contractId,
          error: (error as Error).message,
        });
        // A session on the old JWT goes on as long as the cluster lets it.
        const pause =
          this.#session === undefined
            ? Math.min(FIRST_CREDENTIALS_PAUSE_MS * 2 ** failures++, LONGEST_CREDENTIALS_PAUSE_MS)
            : RENEW_RETRY_MS;
        await this.#wait(pause, stopped);
        continue;
      }
      if (stopped.aborted) return;
      this.#drop();
      this.#begin(credentials);
      renew = await this.#untilDue(credentials, stopped);
    }
  }

  #begin(credentials: NatsCredentials): void {
    const { contractId, serviceId, userId, natsSeed, deliver, onReady, log } = this.#options;
    const prefix = userInboxPrefix(serviceId, userId);
    const session = new BrokerSession({
      url: credentials.endpoint,
      creds: credsText(credentials.user_jwt, natsSeed),
      inboxPrefix: prefix,
      name: "vettid user vault",
      onUp: async ({ connection }) => {
        // Not `<prefix>.>`: replies to our own publishes arrive below it as well.
        for (const subject of [`${prefix}.contract.>`, `${prefix}.receipt.*`])
          connection.subscribe(subject, {
            callback: (error, message) => {
              if (error !== null) return;
              deliver(serviceId, message.subject, message.data.slice()).catch((failure) =>
                // The same bytes come over MessageSpace, where they can be delivered again.
                log("error", "a setup message was not stored", {
                  contract_id: contractId,
                  error: describeError(failure),
                }),
              );
            },
          });
        await connection.flush();
        void session.ready(READY_TIMEOUT_MS).then((up) => {
          if (up !== undefined && this.#session === session) onReady();
        });
      },
    });
    this.#session = session;
    this.#publisher = new Publisher(session, (reasons) => {
      for (const { reason, count } of reasons)
        log("warn", "the service's cluster did not take messages", {
          contract_id: contractId,
          reason,
          count,
        });
    });
    session.start();
  }

  /** Waits until the credentials need attention; true when the JWT must be replaced although it has not expired. */
  async #untilDue(credentials: NatsCredentials, stopped: AbortSignal): Promise<boolean> {
    const begun = Date.now();
    const session = this.#session;
    const due = fromTimestamp(credentials.expires_at) - RENEW_BEFORE_MS;
    while (!stopped.aborted && this.#session === session) {
      if (Date.now() >= due) return false;
      const { failures, status } = session!.phase;
      if (status !== "ready" && failures >= SUSPECT_AFTER_FAILURES && Date.now() - begun >= SUSPECT_RENEW_MS)
        return true;
      await this.#wait(WATCH_INTERVAL_MS, stopped);
    }
    return false;
  }

  #wait(ms: number, stopped: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (stopped.aborted) return resolve();
      const done = () => {
        clearTimeout(timer);
        this.#nudge = undefined;
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#nudge = done;
    });
  }
}

/** Access to the platform's cluster, as the platform gives it to its users. */
export interface MessageSpaceAccess {
  /** `ws://` or `wss://`. */
  endpoint: string;
  /** The text of a .creds file. */
  creds: string;
  /** The inbox the credentials allow; `_INBOX` unless the platform says otherwise. */
  inboxPrefix?: string;
  /** The stream of everything services send; `MESSAGESPACE` unless the platform says otherwise. */
  stream?: string;
}

const DEFAULT_STREAM = "MESSAGESPACE";
const DEFAULT_INBOX_PREFIX = "_INBOX";

/** The durable consumer of one `message_space`: the platform keeps its place while the vault is away. */
const consumerName = (messageSpace: string): string => `vault_${messageSpace}`;

export interface PlatformLinkOptions {
  access: MessageSpaceAccess;
  deliver: Deliver;
  log: Log;
}

/** The session with the platform's cluster: one durable consumer for each service that may still write. */
export class PlatformLink {
  readonly #options: PlatformLinkOptions;
  readonly #stream: string;
  readonly #session: BrokerSession;
  #live: LiveSession | undefined;
  /** Service by message space: those that should be read. */
  #spaces: ReadonlyMap<string, string> = new Map();
  /** Those being read in the session that is up. */
  #open = new Map<string, AbortController>();

  constructor(options: PlatformLinkOptions) {
    const { access } = options;
    this.#options = options;
    this.#stream = access.stream ?? DEFAULT_STREAM;
    this.#session = new BrokerSession({
      url: access.endpoint,
      creds: access.creds,
      inboxPrefix: access.inboxPrefix ?? DEFAULT_INBOX_PREFIX,
      name: "vettid user vault",
      onUp: async (live) => {
        this.#live = live;
        this.#open = new Map();
        live.signal.addEventListener("abort", () => {
          if (this.#live === live) this.#live = undefined;
        });
        for (const messageSpace of this.#spaces.keys()) await this.#read(live, messageSpace);
      },
    });
  }

  get ready(): boolean {
    return this.#session.connection !== undefined;
  }

  /** Why the session is not up; for people. */
  get lastError(): string | undefined {
    return this.#session.describe().last_error;
  }

  start(): void {
    this.#session.start();
  }

  stop(): void {
    this.#session.stop();
  }

  /** Sets which message spaces are read, each with its service. */
  setSpaces(spaces: ReadonlyMap<string, string>): void {
    this.#spaces = spaces;
    const live = this.#live;
    if (live === undefined) return;
    for (const messageSpace of spaces.keys())
      this.#read(live, messageSpace).catch((error) => live.fail(describeError(error)));
    for (const [messageSpace, reading] of this.#open) {
      if (spaces.has(messageSpace)) continue;
      reading.abort();
      this.#open.delete(messageSpace);
      // Nothing of that service is waited for any more; the platform need not keep a place.
      this.#manager(live.connection)
        .then((manager) => manager.consumers.delete(this.#stream, consumerName(messageSpace)))
        .catch(() => {});
    }
  }

  /** Whether everything in the stream for us has been handled; false while the session is down. */
  async caughtUp(): Promise<boolean> {
    const live = this.#live;
    if (live === undefined || !this.ready) return false;
    try {
      const manager = await this.#manager(live.connection);
      for (const messageSpace of this.#spaces.keys()) {
        if (!this.#open.has(messageSpace)) return false;
        const { num_pending, num_ack_pending } = await manager.consumers.info(
          this.#stream,
          consumerName(messageSpace),
        );
        if (num_pending > 0 || num_ack_pending > 0) return false;
      }
      return true;
    } catch {
      return false;
    }
  }

  #manager(connection: NatsConnection): Promise<JetStreamManager> {
    // The check asks for account-wide information that a user's credentials may not have.
    return connection.jetstreamManager({ checkAPI: false, timeout: API_TIMEOUT_MS });
  }

  async #read(live: LiveSession, messageSpace: string): Promise<void> {
    if (this.#open.has(messageSpace)) return;
    const reading = new AbortController();
    this.#open.set(messageSpace, reading);
    const consumer = consumerName(messageSpace);
    const manager = await this.#manager(live.connection);
    // Creating what exists with the same settings is a success; a cluster that lost it gets it back here.
    await manager.consumers.add(this.#stream, {
      durable_name: consumer,
      filter_subject: `MessageSpace.${messageSpace}.>`,
      ack_policy: AckPolicy.Explicit,
      ack_wait: nanos(ACK_WAIT_MS),
      deliver_policy: DeliverPolicy.All,
      replay_policy: ReplayPolicy.Instant,
      max_deliver: UNLIMITED,
      max_ack_pending: MAX_ACK_PENDING,
    });
    if (live.signal.aborted || reading.signal.aborted) return;
    pullMessages(
      { ...live, signal: AbortSignal.any([live.signal, reading.signal]) },
      {
        stream: this.#stream,
        consumer,
        onDelivery: (delivery) => {
          const serviceId = this.#spaces.get(messageSpace);
          if (serviceId === undefined) return delivery.ack();
          this.#options.deliver(serviceId, delivery.subject, delivery.bytes).then(
            () => delivery.ack(),
            (error) => {
              this.#options.log("error", "a message was not stored", { error: describeError(error) });
              delivery.retryAfter(REDELIVER_AFTER_MS);
            },
          );
        },
      },
    );
  }
}

/** Only WebSocket endpoints can be reached from where a user's vault runs. Throws VaultError. */
export function assertWebSocket(endpoint: string, whose: string): void {
  if (!/^wss?:\/\//.test(endpoint))
    throw new VaultError(
      "service_refused",
      `${whose} NATS endpoint is not a WebSocket address (ws:// or wss://).`,
    );
}
