// Delivering: what is attempted, when, and what is remembered of it.
//
// A cursor walks the journal for an endpoint (or for all callback URLs, or for a range to be delivered once more) and
// puts the events that are asked for into a lane. A lane is a receiver: it makes its attempts by itself, several at a
// time, and none waits for another lane. What fails becomes a row with a schedule, and the cursor goes on.
//
// Crashes. A cursor's position is stored now and then, and never beyond an event whose attempt is not settled:
// settled means a 2xx, or a row. An object that comes back walks on from the stored position, so what was attempted
// since is attempted again, with the same webhook-id. Nothing is skipped. Rows are written before the position that
// relies on them, and SQLite keeps that order.

import { atPoint } from "../../src/at-point.ts";
import type { SigningKey } from "../../src/crypto/signing.ts";
import { errorText, log } from "../../src/log.ts";
import { utf8 } from "../../src/protocol/json.ts";
import type { WebhookEndpoint } from "../../src/rpc.ts";
import type { AttemptRequest } from "../../src/webhooks/attempt.ts";
import { matchesTypes } from "../../src/webhooks/event.ts";
import {
  type AttemptResult,
  failingSince,
  holdMs,
  isWornOut,
  MAX_IN_FLIGHT,
  pauseAfter,
  verdictOn,
} from "../../src/webhooks/schedule.ts";
import { signedHeaders } from "../../src/webhooks/signature.ts";
import { checkTarget, type TargetPolicy } from "../../src/webhooks/target.ts";
import {
  CALLBACK,
  callbackLane,
  type DeliveryRow,
  type EndpointRow,
  type EventHead,
  type EventRow,
  isCallbackLane,
  type LoggedAttempt,
  logged,
  type ReplayRow,
  type Store,
} from "./store.ts";

/** How long the Directory's list of endpoints is used. */
export const ENDPOINTS_CACHE_MS = 30_000;
/** After the Directory, or whoever makes the attempts, could not be reached. */
const INTERNAL_RETRY_MS = 5_000;
/** While there is anything in hand, the alarm brings a crashed object back within this, and positions are stored. */
export const RECOVERY_MS = 15_000;
/** Settled deliveries after which positions are stored at once. A crash repeats at most these. */
export const MAX_UNSAVED = 100;
/** Events one cursor passes over without any to deliver before its position is stored. */
const MAX_UNSAVED_PASSED = 1_000;
/** Events an endpoint's cursor takes in hand ahead of what its lane can attempt at once. */
const ENDPOINT_WINDOW = 2 * MAX_IN_FLIGHT;
/** The same over all callback URLs. More, so that one origin that hangs does not keep the others' from being seen. */
const CALLBACK_WINDOW = 128;
/** Events read at a time, and looked at in one turn before others get theirs. */
const READ_BATCH = 64;
const MAX_READ_PER_TURN = 2_000;
/** Attempts begun by one call or alarm; a new one has a new allowance of subrequests. */
const MAX_ATTEMPTS_PER_WAKE = 500;
/** First attempts that succeeded, kept for the list of deliveries as long as this object is awake. */
const MAX_REMEMBERED = 2_000;

export interface DispatcherDeps {
  store: Store;
  key: SigningKey;
  policy: TargetPolicy;
  now(): number;
  /** In [0, 1). */
  random(): number;
  /** Makes one attempt. Rejects only when it could not be made for a reason of ours. */
  send(request: AttemptRequest): Promise<AttemptResult>;
  /** The Directory's list. */
  endpoints(): Promise<WebhookEndpoint[]>;
  /** Tells the Directory and the feed that an endpoint was disabled here. Repeated until it resolves. */
  reportDisabled(row: EndpointRow): Promise<void>;
  /** Makes sure the alarm fires no later than this. */
  wakeBy(at: number): void;
}

interface Task {
  n: number;
  /** Where the event came from; absent for one that has a row. */
  cursor?: Cursor;
}

/** A receiver. */
interface Lane {
  readonly id: string;
  /** Absent for a callback origin. */
  endpoint?: WebhookEndpoint;
  readonly inFlight: Map<number, Task>;
  /** New events that wait for their first attempt. */
  queue: Task[];
  failuresInARow: number;
  /** New events wait until then: the endpoint has been failing, or we could not make attempts. */
  heldUntil: number;
  /** Everything waits until then: the receiver asked for it. */
  quietUntil: number;
  /** When the first row is due; undefined when there is none. */
  nextDue: number | undefined;
}

/** A walk through the journal. */
interface Cursor {
  /** The endpoint's id or `callback`. */
  readonly webhookId: string;
  readonly window: number;
  /** Set on a range that is delivered once more. */
  readonly replay?: ReplayRow;
  /** Everything up to here was looked at. */
  readTo: number;
  /** Taken in hand and not settled, ascending. */
  readonly unsettled: Set<number>;
  /** Settled since the position was stored. */
  dirty: boolean;
}

export class Dispatcher {
  readonly #deps: DispatcherDeps;
  readonly #store: Store;
  readonly #lanes = new Map<string, Lane>();
  readonly #cursors = new Map<string, Cursor>();
  readonly #rows = new Map<string, EndpointRow>();
  /** Endpoint rows that differ from what is stored. */
  readonly #changed = new Set<string>();
  #endpoints: WebhookEndpoint[] | undefined;
  #endpointsUntil = 0;
  #refreshing: Promise<void> | undefined;
  #reporting = false;
  #lastN: number;
  #unsaved = 0;
  #attempts = 0;
  readonly #remembered = new Map<string, LoggedAttempt>();

  constructor(deps: DispatcherDeps) {
    this.#deps = deps;
    this.#store = deps.store;
    this.#lastN = deps.store.last()?.n ?? 0;
    for (const row of this.#store.endpoints()) this.#rows.set(row.webhook_id, row);
    for (const lane of this.#store.lanesWithDue()) this.#lane(lane);
  }

  /** To be called when something has happened from outside: an append, an alarm, a command. */
  wake(lastN = this.#lastN): void {
    this.#lastN = lastN;
    this.#attempts = 0;
    this.#pump();
  }

  // ---- The list of endpoints ----------------------------------------------------------------------------

  /** The list as it is now. Rejects when the Directory cannot be reached. */
  async refresh(): Promise<void> {
    this.#refreshing ??= (async () => {
      try {
        // The list's age counts from before it was asked for.
        const asked = this.#deps.now();
        this.#reconcile(await this.#deps.endpoints());
        this.#endpointsUntil = asked + ENDPOINTS_CACHE_MS;
      } finally {
        this.#refreshing = undefined;
      }
    })();
    await this.#refreshing;
  }

  /** The endpoints, asked for again when the list is too old. */
  async endpoints(): Promise<WebhookEndpoint[]> {
    if (this.#endpoints === undefined || this.#deps.now() >= this.#endpointsUntil) await this.refresh();
    return this.#endpoints!;
  }

  /** For each endpoint, how many events it has not got to. Includes endpoints that are disabled. */
  waiting(lastN: number): { webhookId: string; waiting: number }[] {
    return [...this.#rows.values()].map(({ webhook_id, position }) => {
      const cursor = this.#cursors.get(webhook_id);
      return {
        webhookId: webhook_id,
        waiting: Math.max(0, lastN - (cursor === undefined ? position : positionOf(cursor))),
      };
    });
  }

  /** Forgets the list: the next step asks the Directory. */
  forgetEndpoints(): void {
    this.#endpointsUntil = 0;
  }

  #reconcile(endpoints: WebhookEndpoint[]): void {
    this.#endpoints = endpoints;
    const listed = new Set(endpoints.map(({ webhookId }) => webhookId));
    for (const webhookId of [...this.#rows.keys()]) {
      if (listed.has(webhookId)) continue;
      this.#store.deleteEndpoint(webhookId);
      this.#rows.delete(webhookId);
      this.#changed.delete(webhookId);
      this.#lanes.delete(webhookId);
      for (const [id, cursor] of this.#cursors) if (cursor.webhookId === webhookId) this.#cursors.delete(id);
    }
    for (const endpoint of endpoints) this.#take(endpoint);
    for (const replay of this.#store.replays()) this.#startReplay(replay);
  }

  #take(endpoint: WebhookEndpoint): void {
    const { webhookId, epoch } = endpoint;
    const types = endpoint.types === undefined ? null : JSON.stringify(endpoint.types);
    let row = this.#rows.get(webhookId);
    if (row === undefined) {
      // The secret of callback URLs is made when it is first needed: the events that need it are older.
      const position = webhookId === CALLBACK ? 0 : this.#store.positionBefore(endpoint.createdAt);
      row = {
        webhook_id: webhookId,
        epoch,
        position,
        listed_from: position,
        types,
        failing_since: null,
        last_failure_at: null,
        disabled: null,
        disabled_at: null,
        reported: 0,
      };
      this.#rows.set(webhookId, row);
      this.#store.putEndpoint(row);
    }
    let cursor = this.#cursors.get(webhookId);
    if (cursor === undefined) {
      const window = webhookId === CALLBACK ? CALLBACK_WINDOW : ENDPOINT_WINDOW;
      cursor = { webhookId, window, readTo: row.position, unsettled: new Set(), dirty: false };
      this.#cursors.set(webhookId, cursor);
    }
    if (epoch > row.epoch || types !== row.types) {
      // Enabled again: what was noted before no longer counts. Delivery goes on where it stopped.
      if (epoch > row.epoch) {
        row.failing_since = row.last_failure_at = row.disabled = row.disabled_at = null;
        row.reported = 0;
        row.epoch = epoch;
      }
      if (types !== row.types) {
        row.types = types;
        row.listed_from = positionOf(cursor);
      }
      row.position = positionOf(cursor);
      this.#store.putEndpoint(row);
    }
    if (webhookId === CALLBACK) return;
    const lane = this.#lane(webhookId);
    lane.endpoint = endpoint;
    if (!this.#isEnabled(lane)) this.#rewind(lane);
  }

  #isEnabled(lane: Lane): boolean {
    if (isCallbackLane(lane.id)) return true;
    return lane.endpoint?.enabled === true && (this.#rows.get(lane.id)?.disabled ?? null) === null;
  }

  /** Puts down what waits in a lane: its cursors will read it again from the first event that is not settled. */
  #rewind(lane: Lane): void {
    for (const cursor of this.#cursors.values()) {
      if (cursor.webhookId !== lane.id) continue;
      cursor.readTo = positionOf(cursor);
      cursor.unsettled.clear();
    }
    lane.queue = [];
  }

  #lane(id: string): Lane {
    let lane = this.#lanes.get(id);
    if (lane === undefined) {
      lane = {
        id,
        inFlight: new Map(),
        queue: [],
        failuresInARow: 0,
        heldUntil: 0,
        quietUntil: 0,
        nextDue: this.#store.nextDue(id, new Map()),
      };
      this.#lanes.set(id, lane);
    }
    return lane;
  }

  // ---- Commands -----------------------------------------------------------------------------------------

  /** Begins the delivery of a range, unless the same command has begun it. */
  replay(row: ReplayRow): void {
    if (this.#cursors.has(replayId(row))) return;
    this.#store.putReplay(row);
    this.#startReplay(row);
  }

  replaysOf(webhookId: string): number {
    return this.#store.replays().filter((row) => row.webhook_id === webhookId).length;
  }

  #startReplay(row: ReplayRow): void {
    const id = replayId(row);
    if (this.#cursors.has(id)) return;
    this.#cursors.set(id, {
      webhookId: row.webhook_id,
      window: ENDPOINT_WINDOW,
      replay: row,
      readTo: row.position,
      unsettled: new Set(),
      dirty: false,
    });
  }

  /** Begins a delivery's schedule anew, now. */
  redeliver(laneId: string, n: number): DeliveryRow {
    const now = this.#deps.now();
    const first = this.remembered(laneId, n);
    const row: DeliveryRow = {
      lane: laneId,
      n,
      status: "pending",
      attempts: 0,
      started_at: now,
      next_at: now,
      log: this.#store.delivery(laneId, n)?.log ?? (first === undefined ? [] : [first]),
    };
    this.#store.putDelivery(row);
    const lane = this.#lane(laneId);
    lane.nextDue = this.#store.nextDue(laneId, lane.inFlight);
    return row;
  }

  // ---- For the list of deliveries -----------------------------------------------------------------------

  row(webhookId: string): EndpointRow | undefined {
    return this.#rows.get(webhookId);
  }

  /** Whether an endpoint's cursor is done with an event: delivered, or a row. */
  isSettled(webhookId: string, n: number): boolean {
    const cursor = this.#cursors.get(webhookId);
    return cursor !== undefined && n <= cursor.readTo && !cursor.unsettled.has(n);
  }

  remembered(lane: string, n: number): LoggedAttempt | undefined {
    return this.#remembered.get(`${lane}/${n}`);
  }

  // ---- Attempts -----------------------------------------------------------------------------------------

  /** Starts whatever can start now, and sees to it that the object is awake for the rest. */
  #pump(): void {
    const now = this.#deps.now();
    if (this.#endpoints === undefined || now >= this.#endpointsUntil) {
      if (this.#hasWork(now)) this.#refreshThenPump();
    } else {
      for (const lane of this.#lanes.values()) this.#startDue(lane, now);
      for (const cursor of [...this.#cursors.values()]) this.#read(cursor, now);
      for (const lane of this.#lanes.values()) this.#startQueued(lane, now);
    }
    this.#report();
    this.#schedule(now);
  }

  #hasWork(now: number): boolean {
    if (this.#endpoints === undefined) return this.#lastN > 0;
    return (
      [...this.#cursors.values()].some((cursor) => cursor.readTo < lastOf(cursor, this.#lastN)) ||
      [...this.#lanes.values()].some((lane) => lane.queue.length > 0 || (lane.nextDue ?? Infinity) <= now)
    );
  }

  #refreshThenPump(): void {
    if (this.#refreshing !== undefined) return;
    this.refresh().then(
      () => this.#pump(),
      (error) => {
        log("error", "webhook.endpoints_unavailable", { error: errorText(error) });
        this.#deps.wakeBy(this.#deps.now() + INTERNAL_RETRY_MS);
      },
    );
  }

  #limit(lane: Lane): number {
    return holdMs(lane.failuresInARow) > 0 ? 1 : MAX_IN_FLIGHT;
  }

  #room(lane: Lane): number {
    return Math.min(this.#limit(lane) - lane.inFlight.size, MAX_ATTEMPTS_PER_WAKE - this.#attempts);
  }

  #startDue(lane: Lane, now: number): void {
    if (lane.nextDue === undefined || lane.nextDue > now || lane.quietUntil > now) return;
    const room = this.#room(lane);
    if (room <= 0 || !this.#isEnabled(lane)) return;
    const due = this.#store.due(lane.id, now, room + lane.inFlight.size);
    for (const { n } of due.filter(({ n }) => !lane.inFlight.has(n)).slice(0, room)) this.#start(lane, { n });
    lane.nextDue = this.#store.nextDue(lane.id, lane.inFlight);
  }

  #startQueued(lane: Lane, now: number): void {
    if (lane.queue.length === 0 || Math.max(lane.heldUntil, lane.quietUntil) > now || !this.#isEnabled(lane))
      return;
    while (lane.queue.length > 0 && this.#room(lane) > 0) {
      const task = lane.queue.shift()!;
      const inFlight = lane.inFlight.get(task.n);
      if (inFlight === undefined) this.#start(lane, task);
      // In hand for another reason, with a row or another walk's position to bring it back after a crash: this walk
      // need not send it again. One of the same walk, from before the lane was rewound, settles it when it ends.
      else if (inFlight.cursor !== task.cursor) this.#settle(task);
    }
  }

  /** Takes new events in hand, as many as the cursor's window has room for. */
  #read(cursor: Cursor, now: number): void {
    const last = lastOf(cursor, this.#lastN);
    const lane = cursor.webhookId === CALLBACK ? undefined : this.#lanes.get(cursor.webhookId);
    if (cursor.webhookId !== CALLBACK && (lane === undefined || !this.#isEnabled(lane))) return;
    let looked = 0;
    while (cursor.readTo < last && cursor.unsettled.size < cursor.window && looked < MAX_READ_PER_TURN) {
      const heads = this.#store.headsAfter(cursor.readTo, READ_BATCH);
      // What is missing up to `last` was deleted before it was reached.
      if ((heads[0]?.n ?? Infinity) > last) cursor.readTo = last;
      for (const head of heads) {
        if (head.n > last || cursor.unsettled.size >= cursor.window) break;
        cursor.readTo = head.n;
        looked += 1;
        const target = this.#laneFor(cursor, lane, head);
        if (target === undefined) continue;
        // A row was made of it already, before a crash or a rewinding.
        if (cursor.replay === undefined && this.#store.delivery(target.id, head.n) !== undefined) continue;
        if (isCallbackLane(target.id) && target.heldUntil > now) {
          this.#spill(target, head.n, now);
          cursor.dirty = true;
        } else {
          cursor.unsettled.add(head.n);
          target.queue.push({ n: head.n, cursor });
        }
      }
    }
    // Others get their turn before this cursor goes on.
    if (looked >= MAX_READ_PER_TURN) setTimeout(() => this.#pump(), 0);
    if (cursor.readTo - storedPosition(cursor, this.#rows) > MAX_UNSAVED_PASSED) cursor.dirty = true;
    this.#finishReplay(cursor);
  }

  /** The lane an event goes into, if this cursor delivers it. */
  #laneFor(cursor: Cursor, lane: Lane | undefined, head: EventHead): Lane | undefined {
    const { replay } = cursor;
    if (replay !== undefined && (head.at < replay.from_at || head.at > replay.to_at)) return undefined;
    if (lane !== undefined) return matchesTypes(lane.endpoint?.types, head.type) ? lane : undefined;
    if (head.callback === null) return undefined;
    return this.#lane(callbackLane(this.#store.callbackUrl(head)));
  }

  /** Makes a row of an event whose callback origin is failing: its cursor goes on to the other origins' events. */
  #spill(lane: Lane, n: number, now: number): void {
    this.#store.putDelivery({
      lane: lane.id,
      n,
      status: "pending",
      attempts: 0,
      started_at: now,
      next_at: Math.max(lane.heldUntil, now + pauseAfter(1, this.#deps.random())),
      log: [],
    });
    lane.nextDue = this.#store.nextDue(lane.id, lane.inFlight);
  }

  #start(lane: Lane, task: Task): void {
    this.#attempts += 1;
    lane.inFlight.set(task.n, task);
    void this.#attempt(lane, task).catch((error) => {
      // Not the receiver's doing: nothing is noted, and the same attempt is made again.
      log("error", "webhook.attempt_not_made", { lane: lane.id, error: errorText(error) });
      lane.inFlight.delete(task.n);
      lane.quietUntil = Math.max(lane.quietUntil, this.#deps.now() + INTERNAL_RETRY_MS);
      if (task.cursor?.unsettled.has(task.n)) lane.queue.unshift(task);
      lane.nextDue = this.#store.nextDue(lane.id, lane.inFlight);
      this.#pump();
    });
  }

  async #attempt(lane: Lane, task: Task): Promise<void> {
    const event = this.#store.event(task.n);
    // Its 30 days were over before its turn came.
    if (event === undefined) return this.#settled(lane, task);
    const at = this.#deps.now();
    const { url, secrets } = this.#destination(lane, event);
    const result = await this.#send(url, secrets, event.event_id, event.body);
    this.#conclude(lane, task, event, at, result);
  }

  #destination(lane: Lane, event: EventRow): { url: string; secrets: string[] } {
    const endpoint = lane.endpoint ?? this.#endpoints!.find(({ webhookId }) => webhookId === CALLBACK)!;
    return {
      url: lane.endpoint?.url ?? this.#store.callbackUrl(event),
      secrets: this.#validSecrets(endpoint),
    };
  }

  #validSecrets({ secrets }: WebhookEndpoint): string[] {
    const now = this.#deps.now();
    return secrets.filter(({ until }) => until === undefined || until > now).map(({ secret }) => secret);
  }

  /** One signed attempt. */
  async #send(url: string, secrets: string[], id: string, body: string): Promise<AttemptResult> {
    const target = checkTarget(url, this.#deps.policy);
    if (!target.ok) return { error: "target_refused" };
    const headers = await signedHeaders({
      id,
      now: this.#deps.now(),
      body: utf8(body),
      secrets,
      key: this.#deps.key,
    });
    return this.#deps.send({ url: target.value.href, headers, body });
  }

  /** An attempt outside every schedule: nothing is noted. */
  async attemptOnce(
    endpoint: WebhookEndpoint,
    id: string,
    body: string,
  ): Promise<{ at: number; duration: number; result: AttemptResult }> {
    const at = this.#deps.now();
    const result = await this.#send(endpoint.url!, this.#validSecrets(endpoint), id, body);
    return { at, duration: this.#deps.now() - at, result };
  }

  #conclude(lane: Lane, task: Task, event: EventRow, at: number, result: AttemptResult): void {
    atPoint("journal.conclude", () => this.#note(lane, task, event, at, result));
  }

  #note(lane: Lane, task: Task, event: EventRow, at: number, result: AttemptResult): void {
    // The endpoint was deleted meanwhile, or replaced by its next life: there is nothing to note.
    if (this.#lanes.get(lane.id) !== lane) return;
    const now = this.#deps.now();
    const entry = logged(at, now - at, result);
    const earlier = this.#store.delivery(lane.id, task.n);
    // A decided delivery that is attempted again, by a walk over a range, begins a new schedule.
    const isOpen = earlier?.status === "pending" && earlier.attempts > 0;
    const attempts = (isOpen ? earlier.attempts : 0) + 1;
    const startedAt = isOpen ? earlier.started_at : at;
    const verdict = verdictOn(result, { attempts, startedAt, now, random: this.#deps.random() });
    const row: Omit<DeliveryRow, "status" | "next_at"> = {
      lane: lane.id,
      n: task.n,
      attempts,
      started_at: startedAt,
      log: [...(earlier?.log ?? []), entry],
    };
    if (verdict.kind === "delivered") {
      if (earlier !== undefined) this.#store.putDelivery({ ...row, status: "delivered", next_at: null });
      else this.#remember(lane, task.n, entry);
      this.#succeeded(lane);
    } else {
      const isEndpoint = !isCallbackLane(lane.id);
      if (verdict.kind === "retry") {
        this.#store.putDelivery({ ...row, status: "pending", next_at: verdict.at });
        lane.quietUntil = Math.max(lane.quietUntil, verdict.notBefore ?? 0);
      } else if (verdict.kind === "gone" && isEndpoint) {
        // It waits with the endpoint: whoever enables it again gets this, too.
        this.#store.putDelivery({
          ...row,
          status: "pending",
          next_at: now + pauseAfter(attempts, this.#deps.random()),
        });
      } else {
        this.#store.putDelivery({ ...row, status: "dead", next_at: null });
        log("warn", "webhook.dead_letter", { lane: lane.id, event_id: event.event_id, attempts });
      }
      // A callback URL that we do not call says nothing about its origin: nobody was asked.
      if (isEndpoint || !("error" in result && result.error === "target_refused"))
        this.#failed(lane, now, verdict.kind === "gone");
    }
    this.#settled(lane, task);
  }

  #succeeded(lane: Lane): void {
    lane.failuresInARow = 0;
    lane.heldUntil = 0;
    const row = this.#rows.get(lane.id);
    if (row === undefined || row.failing_since === null) return;
    row.failing_since = row.last_failure_at = null;
    this.#changed.add(lane.id);
  }

  #failed(lane: Lane, now: number, isGone: boolean): void {
    lane.failuresInARow += 1;
    lane.heldUntil = Math.max(lane.heldUntil, now + holdMs(lane.failuresInARow));
    const row = this.#rows.get(lane.id);
    if (row === undefined) {
      if (lane.heldUntil <= now) return;
      for (const task of lane.queue.splice(0)) {
        this.#spill(lane, task.n, now);
        this.#settle(task);
      }
      return;
    }
    row.failing_since = failingSince(row.failing_since ?? undefined, row.last_failure_at ?? undefined, now);
    row.last_failure_at = now;
    this.#changed.add(lane.id);
    if (row.disabled !== null || !(isGone || isWornOut(row.failing_since, now))) return;
    row.disabled = isGone ? "gone" : "failing";
    row.disabled_at = now;
    row.reported = 0;
    this.#rewind(lane);
    this.save();
  }

  #remember(lane: Lane, n: number, entry: LoggedAttempt): void {
    const oldest = this.#remembered.keys().next();
    if (this.#remembered.size >= MAX_REMEMBERED && !oldest.done) this.#remembered.delete(oldest.value);
    this.#remembered.set(`${lane.id}/${n}`, entry);
  }

  #settle({ cursor, n }: Task): void {
    // Not in hand any more: the lane was rewound meanwhile, and the cursor will come to this event again. A row
    // made of it by then only makes that a repetition.
    if (cursor === undefined || !cursor.unsettled.delete(n)) return;
    cursor.dirty = true;
    this.#unsaved += 1;
  }

  #settled(lane: Lane, task: Task): void {
    lane.inFlight.delete(task.n);
    this.#settle(task);
    lane.nextDue = this.#store.nextDue(lane.id, lane.inFlight);
    if (isCallbackLane(lane.id) && isIdle(lane)) this.#lanes.delete(lane.id);
    if (task.cursor !== undefined) this.#finishReplay(task.cursor);
    if (this.#unsaved >= MAX_UNSAVED) this.save();
    this.#pump();
  }

  #finishReplay(cursor: Cursor): void {
    const { replay } = cursor;
    if (replay === undefined || cursor.unsettled.size > 0 || cursor.readTo < replay.last_n) return;
    if (this.#cursors.delete(replayId(replay))) this.#store.deleteReplay(replay.replay_id);
  }

  // ---- What is stored of it -----------------------------------------------------------------------------

  /** Stores positions that have moved and endpoints that have changed, all in one turn. */
  save(): void {
    atPoint("journal.positions", () => this.#save());
  }

  #save(): void {
    for (const cursor of this.#cursors.values()) {
      if (!cursor.dirty) continue;
      cursor.dirty = false;
      if (cursor.replay !== undefined) {
        cursor.replay.position = positionOf(cursor);
        this.#store.putReplay(cursor.replay);
      } else {
        this.#rows.get(cursor.webhookId)!.position = positionOf(cursor);
        this.#changed.add(cursor.webhookId);
      }
    }
    for (const webhookId of this.#changed) this.#store.putEndpoint(this.#rows.get(webhookId)!);
    this.#changed.clear();
    this.#unsaved = 0;
  }

  #report(): void {
    const row = [...this.#rows.values()].find(
      ({ disabled, reported }) => disabled !== null && reported === 0,
    );
    if (row === undefined || this.#reporting) return;
    this.#reporting = true;
    const { epoch } = row;
    this.#deps
      .reportDisabled(row)
      .then(
        () => {
          // Enabled again meanwhile: that has reset the row.
          if (row.epoch !== epoch || this.#rows.get(row.webhook_id) !== row) return;
          row.reported = 1;
          this.#store.putEndpoint(row);
        },
        (error) => {
          log("error", "webhook.disabling_not_reported", { error: errorText(error) });
          return new Promise((resolve) => setTimeout(resolve, INTERNAL_RETRY_MS));
        },
      )
      .finally(() => {
        this.#reporting = false;
        this.#pump();
      });
  }

  /** Asks for the alarm when something will be due, and, while anything is in hand, as a remedy for a crash. */
  #schedule(now: number): void {
    let at = Infinity;
    if (this.#attempts >= MAX_ATTEMPTS_PER_WAKE) at = now;
    const cursors = [...this.#cursors.values()];
    const isUnsaved = cursors.some((cursor) => cursor.dirty || cursor.unsettled.size > 0);
    if (isUnsaved || this.#changed.size > 0 || this.#refreshing !== undefined || this.#reporting)
      at = Math.min(at, now + RECOVERY_MS);
    for (const lane of this.#lanes.values()) {
      if (!this.#isEnabled(lane)) continue;
      if (lane.inFlight.size > 0) at = Math.min(at, now + RECOVERY_MS);
      // A lane that is full goes on when an attempt ends, not at a time.
      if (lane.inFlight.size >= this.#limit(lane)) continue;
      if (lane.nextDue !== undefined) at = Math.min(at, Math.max(lane.nextDue, lane.quietUntil, now));
      if (lane.queue.length > 0) at = Math.min(at, Math.max(lane.heldUntil, lane.quietUntil, now));
    }
    if (at !== Infinity) this.#deps.wakeBy(at);
  }
}

const replayId = (row: ReplayRow): string => `replay/${row.replay_id}`;

const lastOf = (cursor: Cursor, lastN: number): number => cursor.replay?.last_n ?? lastN;

/** Everything up to here is settled. */
const positionOf = (cursor: Cursor): number => {
  const [first] = cursor.unsettled;
  return first === undefined ? cursor.readTo : first - 1;
};

const storedPosition = (cursor: Cursor, rows: ReadonlyMap<string, EndpointRow>): number =>
  cursor.replay?.position ?? rows.get(cursor.webhookId)?.position ?? 0;

const isIdle = (lane: Lane): boolean =>
  lane.inFlight.size === 0 &&
  lane.queue.length === 0 &&
  lane.nextDue === undefined &&
  lane.failuresInARow === 0;
