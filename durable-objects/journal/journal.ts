// The journal: every event in the order it came, the feed the backend reads it by, and its delivery to endpoints and
// callback URLs. One object per shard; a user's events are all in one shard, so they are in order.
//
// An event is durable when `append` resolves; only then does the user's object forget it. Delivery follows from what
// is stored: an object that was killed walks on from its stored positions when its alarm fires or the next event
// comes, whichever is first.

import { DurableObject } from "cloudflare:workers";
import { atPoint } from "../../src/at-point.ts";
import { deliveryOf, objectOf } from "../../src/audit/sinks.ts";
import { type Config, configOf, inMaintenance } from "../../src/config.ts";
import { sha256 } from "../../src/crypto/hash.ts";
import type { Env } from "../../src/env.ts";
import { errorText, log } from "../../src/log.ts";
import { concatBytes, toBase58 } from "../../src/protocol/encoding.ts";
import { utf8 } from "../../src/protocol/json.ts";
import { fromTimestamp, toTimestamp } from "../../src/protocol/primitives.ts";
import type {
  AttemptView,
  AuditLogForJournal,
  DeliveryPage,
  DeliveryStatus,
  DeliveryView,
  DirectoryForJournal,
  FeedPage,
  FeedQuery,
  HandedLeaf,
  HandOver,
  JournalEntry,
  JournalForRoutes,
  JournalForUsers,
  JournalMetrics,
  LeafPosition,
  RpcResult,
  Transferable,
  TransferPage,
} from "../../src/rpc.ts";
import type { AttemptRequest } from "../../src/webhooks/attempt.ts";
import { eventText, TEST_EVENT_TYPE, type WebhookEvent, webhookEvent } from "../../src/webhooks/event.ts";
import { type AttemptResult, isSuccess } from "../../src/webhooks/schedule.ts";
import { serviceJournal } from "../../src/webhooks/shards.ts";
import { signedHeaders } from "../../src/webhooks/signature.ts";
import { checkTarget, targetPolicy } from "../../src/webhooks/target.ts";
import { AUDIT_LOG_NAME } from "../audit-log/audit-log.ts";
import { DIRECTORY_NAME } from "../directory/directory.ts";
import { migrate } from "../migrations.ts";
import { Rewrapper } from "../rewrap.ts";
import { exportPage, importPage, MAINTENANCE_ALARM_MS } from "../transfer.ts";
import { LeafCarrier } from "./carrier.ts";
import { attemptView, Deliveries, NO_SUCH_WEBHOOK } from "./deliveries.ts";
import { Dispatcher } from "./dispatcher.ts";
import { SCHEMA, WRAPPED } from "./schema.ts";
import { outcomeOf, Sinks, type SinksDeps } from "./sinks.ts";
import { CALLBACK, type EndpointRow, logged, Store } from "./store.ts";

/** How long an event is kept. */
export const RETENTION_MS = 30 * 24 * 3_600_000;
/** Old events are deleted at most this often, and so many at a time. */
export const SWEEP_INTERVAL_MS = 6 * 3_600_000;
const SWEEP_BATCH = 5_000;
const SWEEP_PAUSE_MS = 1_000;
/** After an alarm that failed. */
const ALARM_RETRY_MS = 5_000;
/** Entries of one call; far below the platform's 32 MiB for one call. */
export const MAX_APPEND = 500;
/** The longest a call may hold the line. */
const MAX_WAIT_MS = 30_000;
/** Callers that may hold the line at once; beyond, a call answers with what is. */
const MAX_WAITERS = 200;
/** Events looked at for one page of the feed. */
const MAX_SCAN = 10_000;
const JSON_LINES = "application/x-ndjson";
/** Whose key callback URLs are wrapped under. */
const WRAP_OWNER = "journal";

interface Parts {
  sinks: Sinks;
  store: Store;
  dispatcher: Dispatcher;
  deliveries: Deliveries;
}

/** One call of `append`. */
interface Arrived {
  events: { event: WebhookEvent; callbackUrl: string | undefined }[];
  stored(): void;
  failed(error: unknown): void;
}

/** What `ctx.exports` has of sender.ts. */
interface SenderExports {
  WebhookSender: { send(request: AttemptRequest): Promise<AttemptResult> };
}

export class Journal extends DurableObject<Env> implements JournalForUsers, JournalForRoutes, Transferable {
  /** How an attempt leaves: in an invocation of its own. Static, so out of reach of any caller over RPC. */
  static send = (ctx: DurableObjectState, request: AttemptRequest): Promise<AttemptResult> =>
    (ctx.exports as unknown as SenderExports).WebhookSender.send(request);

  /** The time as this object sees it. A field, so out of reach of any caller over RPC. */
  now = (): number => Date.now();
  #parts: Parts | undefined;
  #rewrapper: Rewrapper | undefined;
  /** When the alarm is set for; undefined when it is not. */
  #alarmAt: number | undefined;
  #sweepAt = 0;
  readonly #waiters = new Set<() => void>();
  /** Calls of `append` whose events are not stored yet, in their order. */
  readonly #arrived: Arrived[] = [];
  readonly #carrier = new LeafCarrier({
    offer: (leaves) => atPoint("carrier.offer", () => this.#auditLog().offer(leaves)),
    position: (leaf) => this.#auditLog().position(leaf),
    batchMs: async () => (await configOf(this.env)).AUDIT_BATCH_SECONDS * 1_000,
    waitUntil: (done) => this.ctx.waitUntil(done),
  });

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    ctx.blockConcurrencyWhile(async () => {
      migrate(ctx.storage, SCHEMA);
      this.#alarmAt = (await ctx.storage.getAlarm()) ?? undefined;
    });
  }

  #auditLog(): AuditLogForJournal {
    return this.env.AUDIT_LOG.getByName(AUDIT_LOG_NAME) as unknown as AuditLogForJournal;
  }

  /** Rejects with ConfigError on incomplete settings, at each call: the next deployment may have mended them. */
  async #open(): Promise<Parts> {
    if (this.#parts !== undefined) return this.#parts;
    const config = await configOf(this.env);
    if (this.#parts !== undefined) return this.#parts;
    const store = new Store(this.ctx.storage.sql, config.wrapperFor(WRAP_OWNER));
    const directory = () => this.env.DIRECTORY.getByName(DIRECTORY_NAME) as unknown as DirectoryForJournal;
    const dispatcher = new Dispatcher({
      store,
      key: config.webhookKey,
      policy: targetPolicy(config),
      now: () => this.now(),
      random: Math.random,
      send: (request) => atPoint("journal.attempt", () => Journal.send(this.ctx, request)),
      endpoints: () => directory().webhookEndpoints(),
      reportDisabled: async (row) => {
        const { webhook_id, epoch, disabled } = row;
        await atPoint("journal.disable", () => directory().disableWebhook(webhook_id, epoch, disabled!));
        await atPoint("journal.tell_disabled", () =>
          serviceJournal(this.env).append([{ event: disabledEvent(row) }]),
        );
      },
      wakeBy: (at) => this.#wakeBy(at),
    });
    const sinks = new Sinks({
      storage: this.ctx.storage,
      shard: this.ctx.id.name ?? "",
      targets: this.#sinkTargets(config),
      now: () => this.now(),
      random: Math.random,
      wakeBy: (at) => this.#wakeBy(at),
    });
    this.#parts = { store, dispatcher, deliveries: new Deliveries(store, dispatcher), sinks };
    return this.#parts;
  }

  /** How a batch of audit entries gets to each sink that is configured. */
  #sinkTargets({ sinks: { https, r2 }, webhookKey: key, ...config }: Config): SinksDeps["targets"] {
    return {
      ...(https === undefined
        ? {}
        : {
            https: async (batch) => {
              if (!checkTarget(https.url, targetPolicy(config)).ok)
                return { ok: false, error: "target_refused" };
              const { id, body } = deliveryOf(batch);
              const headers = await signedHeaders({
                id,
                now: this.now(),
                body: utf8(body),
                secrets: [https.secret],
                key,
              });
              return outcomeOf(await Journal.send(this.ctx, { url: https.url, headers, body }), this.now());
            },
          }),
      ...(r2 === undefined
        ? {}
        : {
            r2: async (batch) => {
              const { key, body } = objectOf(batch);
              await r2.put(key, body, { httpMetadata: { contentType: JSON_LINES } });
              return { ok: true };
            },
          }),
    };
  }

  // ---- For the users' objects ---------------------------------------------------------------------------

  async append(entries: JournalEntry[], leaf?: HandedLeaf): Promise<void> {
    // What is refused for now is handed over again when its owner asks.
    if (leaf !== undefined) this.#carrier.take(leaf);
    if (entries.length === 0) return;
    if (entries.length > MAX_APPEND) throw new TypeError(`append: at most ${MAX_APPEND} events at once`);
    const checked = entries.map(({ event, callbackUrl }) => {
      const parsed = webhookEvent.safeParse(event);
      if (!parsed.success) {
        const [issue] = parsed.error.issues;
        throw new TypeError(`append: not an event: ${issue?.path.join(".")}: ${issue?.message}`);
      }
      return { event: parsed.data, callbackUrl };
    });
    await this.#open();
    await new Promise<void>((stored, failed) => {
      this.#arrived.push({ events: checked, stored, failed });
      if (this.#arrived.length === 1) setTimeout(() => this.#appendArrived(), 0);
    });
  }

  /**
   * Stores what has arrived since the last time, in one transaction: making it durable takes as long for the events
   * of many users as for those of one. Each caller hears of it when it is so; if it fails, all of them ask again.
   */
  #appendArrived(): void {
    const group: Arrived[] = [];
    for (let count = 0; this.#arrived.length > 0; ) {
      count += this.#arrived[0]!.events.length;
      if (count > MAX_APPEND && group.length > 0) break;
      group.push(this.#arrived.shift()!);
    }
    if (this.#arrived.length > 0) setTimeout(() => this.#appendArrived(), 0);
    try {
      this.#store(group.flatMap(({ events }) => events));
      for (const { stored } of group) stored();
    } catch (error) {
      for (const { failed } of group) failed(error);
    }
  }

  #store(events: Arrived["events"]): void {
    const { store, dispatcher } = this.#parts!;
    let n = store.last()?.n ?? 0;
    const before = n;
    atPoint("journal.append", () => {
      this.ctx.storage.transactionSync(() => {
        const recordedAt = Math.max(this.now(), store.last()?.recorded_at ?? 0);
        for (const { event, callbackUrl } of events) {
          const userId = event.user_id ?? "";
          const at = fromTimestamp(event.timestamp);
          if (store.has(userId, event.event_id, at)) continue;
          n += 1;
          store.insertEvent(
            {
              n,
              user_id: userId,
              event_id: event.event_id,
              type: event.type,
              at,
              recorded_at: recordedAt,
              body: eventText(event),
            },
            callbackUrl,
          );
        }
      });
      if (n === before) return;
      // No await since the transaction: events and alarm become durable together, before any reply or attempt leaves.
      this.#scheduleSweep(store);
      store.extendIndex(this.ctx.storage);
      dispatcher.wake(n);
    });
    if (n === before) return;
    for (const wake of [...this.#waiters]) wake();
  }

  async carry(leaf: HandedLeaf): Promise<RpcResult<Partial<LeafPosition>>> {
    return this.#carrier.carry(leaf);
  }

  async rewrap(): ReturnType<JournalForUsers["rewrap"]> {
    const { kek, wrapperFor } = await configOf(this.env);
    this.#rewrapper ??= new Rewrapper(this.ctx.storage, wrapperFor(WRAP_OWNER), WRAPPED);
    return { ...this.#rewrapper.batch(), kek: kek.id };
  }

  // ---- Audit entries for the sinks -----------------------------------------------------------------------

  async takeEntries(entries: HandOver): Promise<RpcResult<null>> {
    return (await this.#open()).sinks.take(entries);
  }

  // ---- Erasure ------------------------------------------------------------------------------------------

  async forgetUser(userId: string, erasureId: string): Promise<void> {
    const { store, sinks } = await this.#open();
    // Who was erased is not said: whoever asked for it knows the erasure by its id. It is the newest event from here
    // on, so that all of the user's can go.
    await this.append([
      {
        event: {
          type: "user.erased",
          timestamp: toTimestamp(this.now()),
          event_id: erasureId,
          data: { erasure_id: erasureId },
        },
      },
    ]);
    this.ctx.storage.transactionSync(() => {
      store.forget(userId);
      sinks.forget(userId);
    });
  }

  // ---- The feed -----------------------------------------------------------------------------------------

  async read(query: FeedQuery): Promise<FeedPage> {
    const { store } = await this.#open();
    const deadline = this.now() + Math.min(query.waitMs ?? 0, MAX_WAIT_MS);
    let { after } = query;
    for (;;) {
      const { rows, scanned } = store.feed({ ...query, after, maxScan: MAX_SCAN });
      after = scanned;
      const more = scanned < (store.last()?.n ?? 0);
      const left = deadline - this.now();
      if (rows.length > 0 || left <= 0 || this.#waiters.size >= MAX_WAITERS) {
        return {
          items: rows.map(({ n, body }) => ({ position: n, event: JSON.parse(body) as WebhookEvent })),
          position: after,
          more,
        };
      }
      // With more to look at, others get their turn in between.
      await this.#nextAppend(more ? 0 : left);
    }
  }

  /** Resolves at the next append, or when the time is over. */
  async #nextAppend(waitMs: number): Promise<void> {
    let wake: () => void = () => {};
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve) => {
      wake = resolve;
      this.#waiters.add(wake);
      timer = setTimeout(resolve, waitMs);
    });
    clearTimeout(timer);
    this.#waiters.delete(wake);
  }

  async locate(eventId: string): Promise<{ position: number; recordedAt: number } | undefined> {
    const row = await (await this.#open()).store.eventById(eventId);
    return row === undefined ? undefined : { position: row.n, recordedAt: row.recorded_at };
  }

  async positionBefore(ms: number): Promise<number> {
    return (await this.#open()).store.positionBefore(ms);
  }

  // ---- Deliveries ---------------------------------------------------------------------------------------

  async endpointsChanged(): Promise<void> {
    const { dispatcher } = await this.#open();
    await dispatcher.refresh();
    dispatcher.wake();
  }

  async deliveries(query: {
    status?: DeliveryStatus;
    webhookId?: string;
    limit: number;
    before?: number;
  }): Promise<RpcResult<DeliveryPage>> {
    return (await this.#open()).deliveries.list(query);
  }

  async redeliver(deliveryId: string): Promise<RpcResult<DeliveryView>> {
    return (await this.#open()).deliveries.redeliver(deliveryId);
  }

  async redeliverRange(range: {
    replayId: string;
    webhookId: string;
    fromMs: number;
    toMs: number;
  }): Promise<RpcResult<{ events: number }>> {
    return (await this.#open()).deliveries.redeliverRange(range);
  }

  /** One attempt, now, outside every schedule, at an enabled or a disabled endpoint. */
  async testEndpoint(
    webhookId: string,
    eventId: string,
  ): Promise<RpcResult<AttemptView & { delivered: boolean }>> {
    const { dispatcher } = await this.#open();
    await dispatcher.refresh();
    const endpoint = (await dispatcher.endpoints()).find((known) => known.webhookId === webhookId);
    if (endpoint === undefined || webhookId === CALLBACK) return NO_SUCH_WEBHOOK;
    const event: WebhookEvent = {
      type: TEST_EVENT_TYPE,
      timestamp: toTimestamp(this.now()),
      event_id: eventId,
      data: { webhook_id: webhookId },
    };
    const { at, duration, result } = await dispatcher.attemptOnce(endpoint, eventId, eventText(event));
    const delivered = "status" in result && isSuccess(result.status);
    return { ok: true, value: { ...attemptView(logged(at, duration, result)), delivered } };
  }

  /** How far this shard has got; reads a few rows and writes none. */
  async metrics(): Promise<JournalMetrics> {
    const { store, dispatcher, sinks } = await this.#open();
    const lastN = store.last()?.n ?? 0;
    const retrying = store.retrying();
    return {
      events: lastN,
      endpoints: dispatcher
        .waiting(lastN)
        .map(({ webhookId, waiting }) => ({ webhookId, waiting, retrying: retrying.get(webhookId) ?? 0 })),
      sinks: sinks.states(),
    };
  }

  // ---- The alarm ----------------------------------------------------------------------------------------

  /** Makes sure the alarm fires no later than `at`. setAlarm costs a row, so a sooner one is left as it is. */
  #wakeBy(at: number): void {
    if (this.#alarmAt !== undefined && this.#alarmAt <= at) return;
    this.#alarmAt = at;
    void this.ctx.storage.setAlarm(at);
  }

  /** An event in the journal is a reason to be awake when its 30 days are over. */
  #scheduleSweep(store: Store): void {
    const oldest = store.oldest();
    if (oldest === undefined) return;
    this.#sweepAt = Math.max(this.#sweepAt, oldest.recorded_at + RETENTION_MS);
    this.#wakeBy(this.#sweepAt);
  }

  // ---- Moving a deployment ------------------------------------------------------------------------------

  async exportPage(after?: string): Promise<RpcResult<TransferPage>> {
    return exportPage(this.ctx.storage, after);
  }

  async importPage(page: TransferPage): Promise<RpcResult<{ rows: number; done: boolean }>> {
    const { storage } = this.ctx;
    return importPage(storage, page, {
      steps: SCHEMA,
      finish: () => void storage.setAlarm(Date.now()),
    });
  }

  async restart(): Promise<void> {
    this.ctx.abort("restarted after an import");
  }

  override async alarm(): Promise<void> {
    // Nothing is done, and nothing forgotten.
    if (inMaintenance(this.env)) return this.ctx.storage.setAlarm(Date.now() + MAINTENANCE_ALARM_MS);
    this.#alarmAt = undefined;
    try {
      await atPoint("journal.alarm", () => this.#tick());
    } catch (error) {
      // The platform gives up on an alarm after a few failures; a due delivery must not be given up.
      log("error", "journal.alarm_failed", { error: errorText(error) });
      this.#wakeBy(Date.now() + ALARM_RETRY_MS);
    }
  }

  async #tick(): Promise<void> {
    const { store, dispatcher, sinks } = await this.#open();
    const now = this.now();
    sinks.wake();
    // Not awaited by anyone here: a receiver that hangs must not hold up the alarm the others' retries wait for.
    dispatcher.save();
    dispatcher.wake(store.last()?.n ?? 0);
    if (now >= this.#sweepAt) {
      const more = store.prune(now - RETENTION_MS, SWEEP_BATCH);
      this.#sweepAt = now + (more ? SWEEP_PAUSE_MS : SWEEP_INTERVAL_MS);
    }
    // The newest event is kept whatever its age: nothing has to be awake for it alone.
    if ((store.oldest()?.n ?? 0) < (store.last()?.n ?? 0)) this.#scheduleSweep(store);
  }
}

/** The id follows from what happened: a report that is repeated, or made by several shards, is one event. */
function disabledEvent(row: EndpointRow): WebhookEvent {
  const digest = sha256(utf8(`webhook.disabled\n${row.webhook_id}\n${row.epoch}`)).subarray(0, 16);
  return {
    type: "webhook.disabled",
    timestamp: toTimestamp(row.disabled_at!),
    event_id: toBase58(concatBytes(Uint8Array.of(1), digest)),
    data: {
      webhook_id: row.webhook_id,
      reason: row.disabled!,
      ...(row.failing_since === null ? {} : { failing_since: toTimestamp(row.failing_since) }),
    },
  };
}
