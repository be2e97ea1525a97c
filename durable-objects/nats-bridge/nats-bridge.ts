// The bridge between the users' objects and the two clusters: a shard holds one session to each, publishes what it
// is given and says when the broker has it, pulls what users sent and hands it on, and acknowledges after the user's
// object has committed.
//
// It owns no data and may be killed at any instruction. What was in flight to a broker is reported as failed or not
// at all, and its owner sends it again; what was delivered and not acknowledged is delivered again.
//
// An outgoing WebSocket neither hibernates nor keeps its object alive. So an alarm, the only thing stored, keeps the
// object up and brings it back; scheduled() and each publish wake it too.

import { DurableObject } from "cloudflare:workers";
import { atPoint } from "../../src/at-point.ts";
import { type Config, configOf } from "../../src/config.ts";
import type { Env } from "../../src/env.ts";
import { type LogFields, log } from "../../src/log.ts";
import { Meter, type Snapshot } from "../../src/metrics/meter.ts";
import type { AccountChange } from "../../src/nats/account-jwt.ts";
import { type AccountUpdate, updateAccount } from "../../src/nats/account-update.ts";
import { Publisher } from "../../src/nats/publish.ts";
import { pullMessages } from "../../src/nats/pull.ts";
import { BrokerSession, describeError, type LiveSession } from "../../src/nats/session.ts";
import {
  type Backlog,
  BRIDGE_CONSUMER,
  backlogOf,
  ensureFromUser,
  FROM_USER_STREAM,
} from "../../src/nats/stream.ts";
import { daysLeft } from "../../src/nats/user-jwt.ts";
import { utf8 } from "../../src/protocol/json.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import { internalSubject, serviceInboxPrefix } from "../../src/protocol/subjects.ts";
import { Quota } from "../../src/rate/quota.ts";
import type {
  BridgeMetrics,
  BridgeState,
  DirectoryForBridge,
  OutboundMessage,
  PublishOutcome,
  SessionState,
} from "../../src/rpc.ts";
import { Lanes, type Rejection } from "./lanes.ts";
import { Unsent } from "./unsent.ts";

/** An idle object is evicted after some two minutes; and after a crash this is how long inbound messages wait. */
const ALARM_INTERVAL_MS = 10_000;
/** How long state() waits for the broker's numbers; without them it answers what it knows. */
const BACKLOG_TIMEOUT_MS = 1_000;
/** The broker's numbers are asked for at most this often, however many ask us. */
const BACKLOG_CACHE_MS = 1_000;

/** In an outage every message fails: one line of log in this time says it, with the number of those it stands for. */
const LOG_INTERVAL_MS = 5_000;

/** Longer than the session's own limit for one attempt. */
const SYSTEM_SESSION_TIMEOUT_MS = 6_000;

/** Rejections told to `internal.rejected`; beyond, they are counted alone. */
const TOLD_REJECTIONS = { name: "rejected", quota: 600, windowSeconds: 60 };

const SHARD_NAME = /^shard-(\d+)$/;

type ClusterName = OutboundMessage["cluster"];

interface Cluster {
  session: BrokerSession;
  publisher: Publisher;
  creds: string;
}

/** What a life of the object is made of, once the settings are parsed. */
interface Running {
  config: Config;
  clusters: Record<ClusterName, Cluster>;
}

/** Writes a line of log at most every LOG_INTERVAL_MS. Ids and reasons only, never contents. */
class Log {
  readonly #event: string;
  #quietUntil = 0;
  #kept = 0;

  constructor(event: string) {
    this.#event = event;
  }

  warn(fields: LogFields): void {
    const now = Date.now();
    if (now < this.#quietUntil) {
      this.#kept += 1;
      return;
    }
    log("warn", this.#event, { ...fields, ...(this.#kept > 0 && { alike_since_last: this.#kept }) });
    this.#quietUntil = now + LOG_INTERVAL_MS;
    this.#kept = 0;
  }
}

/** One shard, addressed as `shard-<n>`. */
export class NatsBridge extends DurableObject<Env> {
  #running: Promise<Running> | undefined;
  /** Of the ServiceSpace session that is up. */
  #lanes: Lanes | undefined;
  /** Messages rejected since this life of the object began. */
  #rejected = 0;
  /** What this life of the object has counted: of its own work, and of the Worker isolates that report to it. */
  readonly #meter = new Meter();
  readonly #unsent = new Unsent();
  readonly #telling = new Quota(TOLD_REJECTIONS);
  readonly #startedAt = Date.now();
  #backlog: { at: number; value: Promise<Backlog | undefined> } | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    // Before anything else runs here, so that an object killed in its first call comes back as well.
    ctx.blockConcurrencyWhile(async () => {
      if ((await ctx.storage.getAlarm()) === null) await ctx.storage.setAlarm(Date.now() + ALARM_INTERVAL_MS);
    });
  }

  /**
   * Publishes a batch, both clusters side by side; the outcomes are in its order. Answers within some seconds even
   * if no broker does. A message in doubt is `failed`: it may be stored, and is repeated under the same msgId.
   * Rejects only with ConfigError.
   */
  async publish(batch: OutboundMessage[]): Promise<PublishOutcome[]> {
    return this.#publish(await this.#start(), batch);
  }

  /** The sessions as they are now, and how far the bridge is behind. Rejects with ConfigError. */
  async state(): Promise<BridgeState> {
    const { clusters } = await this.#start();
    const unsent = this.#unsent.read(Date.now());
    return {
      shard: this.#shard,
      servicespace: sessionState(clusters.servicespace),
      messagespace: sessionState(clusters.messagespace),
      ...(await this.#currentBacklog(clusters.servicespace.session)),
      rejected: this.#rejected,
      unsent: unsent.messages,
      oldest_unsent_seconds: Math.floor(unsent.oldestMs / 1_000),
    };
  }

  /** Everything measured here. Rejects with ConfigError. */
  async metrics(): Promise<BridgeMetrics> {
    const { clusters } = await this.#start();
    return {
      state: await this.state(),
      startedAt: this.#startedAt,
      counted: this.#meter.snapshot(),
      publishing: {
        servicespace: clusters.servicespace.publisher.load,
        messagespace: clusters.messagespace.publisher.load,
      },
      waiting: this.#lanes?.waiting ?? 0,
      unsent: this.#unsent.read(Date.now()),
    };
  }

  /** Takes over what a Worker isolate has counted. */
  async report(counted: Snapshot): Promise<void> {
    this.#meter.add(counted);
  }

  /**
   * Changes the list of revocations in the users' account, over a session of its own that ends with it: it is rarely
   * needed, and its credentials may do nothing else. Rejects with ConfigError.
   */
  async updateAccount(change: AccountChange): Promise<AccountUpdate> {
    const config = await configOf(this.env);
    const { revoking, serviceId } = config;
    if (revoking === undefined) return { outcome: "refused", reason: "no operator's key is set" };
    const session = new BrokerSession({
      url: config.SERVICESPACE_URL,
      creds: revoking.systemCreds,
      inboxPrefix: serviceInboxPrefix(serviceId),
      name: "vault-account-updates",
    });
    try {
      session.start();
      const connection = await session.ready(SYSTEM_SESSION_TIMEOUT_MS);
      if (connection === undefined) {
        const reason = session.describe().last_error ?? "no answer";
        return { outcome: "failed", reason: `the cluster's system account: ${reason}` };
      }
      return await updateAccount(connection, {
        account: config.SERVICESPACE_USERS_ACCOUNT,
        signer: revoking.operatorKey,
        change,
      });
    } finally {
      session.stop();
    }
  }

  /** Makes sure that the sessions are up or on their way. Rejects with ConfigError. */
  async ensure(): Promise<void> {
    await this.#start();
  }

  override async alarm(): Promise<void> {
    // First, so that nothing below can cost the next one. An alarm that throws is given up after some repeats.
    await atPoint("bridge.alarm", () => this.ctx.storage.setAlarm(Date.now() + ALARM_INTERVAL_MS));
    try {
      const running = await this.#start();
      if (this.#shard >= running.config.BRIDGE_SHARDS) return await this.#retire(running);
      this.#lanes?.sweep(Date.now());
      const state = await this.state();
      for (const cluster of ["servicespace", "messagespace"] as const) {
        const { status, last_error } = state[cluster];
        // Without an error it is a first attempt, under way since this call.
        if (status !== "ready" && last_error !== undefined) {
          log("warn", "bridge.session_down", { shard: state.shard, cluster, ...state[cluster] });
        }
      }
      await this.#publishInternal(running, "health", { at: toTimestamp(Date.now()), ...state });
    } catch (error) {
      log("error", "bridge.alarm_failed", { shard: this.#shard, error: describeError(error) });
    }
  }

  get #shard(): number {
    return Number(SHARD_NAME.exec(this.ctx.id.name ?? "")?.[1] ?? 0);
  }

  #start(): Promise<Running> {
    // A failure is the settings', and of this isolate: asked again it is the same, and says so again.
    this.#running ??= configOf(this.env).then((config) => this.#open(config));
    return this.#running.then((running) => {
      // In maintenance nothing is taken from the clusters: it would be for objects that are being moved.
      if (running.config.MAINTENANCE === "off")
        for (const { session } of Object.values(running.clusters)) session.start();
      return running;
    });
  }

  #open(config: Config): Running {
    const cluster = (name: ClusterName, onUp?: (session: LiveSession) => Promise<void>): Cluster => {
      const creds = name === "servicespace" ? config.SERVICESPACE_CREDS : config.MESSAGESPACE_CREDS;
      const session = new BrokerSession({
        url: name === "servicespace" ? config.SERVICESPACE_URL : config.MESSAGESPACE_URL,
        creds,
        inboxPrefix: serviceInboxPrefix(config.serviceId),
        name: `vault-bridge-${this.#shard}`,
        onEnd: () => this.#meter.count("vettid_session_ended_total", { cluster: name }),
        ...(onUp !== undefined && { onUp }),
      });
      const failed = new Log("bridge.publish_failed");
      const publisher = new Publisher(session, (failures) =>
        failed.warn({ shard: this.#shard, cluster: name, failures }),
      );
      return { session, publisher, creds };
    };
    const running: Running = {
      config,
      clusters: {
        servicespace: cluster("servicespace", (session) => this.#consume(running, session)),
        messagespace: cluster("messagespace"),
      },
    };
    return running;
  }

  /** A shard that the settings no longer name: its messages are the other shards' to pull. */
  async #retire({ clusters }: Running): Promise<void> {
    for (const { session } of Object.values(clusters)) session.stop();
    await this.ctx.storage.deleteAlarm();
  }

  async #consume(running: Running, session: LiveSession): Promise<void> {
    const { serviceId } = running.config;
    await atPoint("bridge.set_up", () => ensureFromUser(session.connection, serviceId));
    const failed = new Log("bridge.receive_failed");
    const lanes = new Lanes({
      serviceId,
      receive: (userId, messages) =>
        atPoint("bridge.receive", () => this.env.USER_CONNECTION.getByName(userId).receive(messages)),
      reply: (messages) => void this.#publish(running, messages),
      reject: (rejection) => this.#reject(running, rejection),
      onSettled: (delivery, outcome) => {
        this.#meter.count("vettid_received_total", { outcome });
        if (outcome === "done") {
          const age = Math.max(0, Date.now() - delivery.storedAt) / 1_000;
          this.#meter.observe("vettid_received_age_seconds", {}, age);
        }
      },
      onFailure: (userId, messages, error) => {
        this.#meter.count("vettid_object_calls_failed_total");
        failed.warn({ shard: this.#shard, user_id: userId, messages, error: describeError(error) });
      },
    });
    this.#lanes = lanes;
    pullMessages(session, {
      stream: FROM_USER_STREAM,
      consumer: BRIDGE_CONSUMER,
      onDelivery: (delivery) => {
        if (delivery.deliveryCount > 1) this.#meter.count("vettid_received_redelivered_total");
        lanes.accept(delivery);
      },
    });
    if (this.#shard === 0) this.ctx.waitUntil(this.#announce());
  }

  /** The Directory knows what the cluster must refuse; a cluster that was restored may not. */
  async #announce(): Promise<void> {
    try {
      await (this.env.DIRECTORY.getByName("directory") as unknown as DirectoryForBridge).clusterIsUp();
    } catch (error) {
      log("warn", "bridge.directory_unreachable", { error: describeError(error) });
    }
  }

  async #publish({ clusters }: Running, batch: readonly OutboundMessage[]): Promise<PublishOutcome[]> {
    const outcomes = new Array<PublishOutcome>(batch.length).fill("failed");
    await Promise.all(
      (Object.keys(clusters) as ClusterName[]).map(async (name) => {
        const places = [...batch.keys()].filter((at) => batch[at]!.cluster === name);
        if (places.length === 0) return;
        const begun = Date.now();
        const own = await clusters[name].publisher.publish(places.map((at) => batch[at]!));
        const now = Date.now();
        this.#meter.observe("vettid_publish_duration_seconds", { cluster: name }, (now - begun) / 1_000);
        for (const [index, at] of places.entries()) {
          outcomes[at] = own[index]!;
          this.#measureOutcome(batch[at]!, own[index]!, now);
        }
      }),
    );
    return outcomes;
  }

  #measureOutcome(message: OutboundMessage, outcome: PublishOutcome, now: number): void {
    this.#meter.count("vettid_published_total", { cluster: message.cluster, outcome });
    if (outcome === "failed") {
      this.#unsent.failed(message, now);
      return;
    }
    this.#unsent.stored(message);
    if (message.madeAt !== undefined)
      this.#meter.observe("vettid_outbox_age_seconds", {}, Math.max(0, now - message.madeAt) / 1_000);
  }

  #reject(running: Running, rejection: Rejection): void {
    this.#rejected += 1;
    this.#meter.count("vettid_rejected_total", { reason: rejection.reason });
    // All are counted; what a flood of garbage makes us publish in turn is bounded.
    if (!this.#telling.take("rejected", Date.now()).allowed) return;
    void this.#publishInternal(running, "rejected", { ...rejection, at: toTimestamp(Date.now()) });
  }

  /** For the provider's own consumers, best effort. */
  async #publishInternal(running: Running, name: string, content: object): Promise<void> {
    const subject = internalSubject(running.config.serviceId, name);
    // While the session is down there is nobody to tell: no wait, and no complaint in the log.
    if (running.clusters.servicespace.session.connection === undefined) return;
    await running.clusters.servicespace.publisher.publish([
      { cluster: "servicespace", subject, bytes: utf8(JSON.stringify(content)) },
    ]);
  }

  #currentBacklog(session: BrokerSession): Promise<Backlog | undefined> {
    const { connection } = session;
    if (connection === undefined) return Promise.resolve(undefined);
    const now = Date.now();
    if (this.#backlog === undefined || now - this.#backlog.at >= BACKLOG_CACHE_MS) {
      this.#backlog = { at: now, value: backlogOf(connection, BACKLOG_TIMEOUT_MS).catch(() => undefined) };
    }
    return this.#backlog.value;
  }
}

function sessionState({ session, creds }: Cluster): SessionState {
  let days: number | undefined;
  try {
    days = daysLeft(creds, Date.now());
  } catch {
    // Credentials that cannot be read: the session says so, as its last error.
  }
  return { ...session.describe(), ...(days !== undefined && { credentials_days_left: days }) };
}
