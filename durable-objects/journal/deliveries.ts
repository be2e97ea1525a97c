// The list of deliveries, and delivering again. A delivery that succeeded at once has no row: that it was made
// follows from where its endpoint's cursor is, so it is in the list all the same.

import { toTimestamp } from "../../src/protocol/primitives.ts";
import type {
  ApiFault,
  AttemptView,
  DeliveryPage,
  DeliveryStatus,
  DeliveryView,
  RpcResult,
} from "../../src/rpc.ts";
import { matchesTypes } from "../../src/webhooks/event.ts";
import type { Dispatcher } from "./dispatcher.ts";
import {
  CALLBACK,
  callbackLane,
  type DeliveryRow,
  type EventHead,
  isCallbackLane,
  type LoggedAttempt,
  type Store,
} from "./store.ts";

/** Endpoints there can be, and the callback: the rank of a delivery is its event's n times this, plus its target's. */
const RANKS_PER_EVENT = 64;
/** Deliveries looked at for one page; a page may hold less than asked for and still have a successor. */
const MAX_LOOKED_AT = 20_000;
const READ_BATCH = 100;
/** Ranges of one endpoint that may be under way at once. */
const MAX_REPLAYS = 10;
/** An event is recorded after it happened, but maybe by a clock that runs behind. */
const CLOCK_SKEW_MS = 60_000;

const fault = (code: ApiFault["code"], detail: string): { ok: false; error: ApiFault } => ({
  ok: false,
  error: { code, detail },
});
const NO_SUCH_DELIVERY = fault("not_found", "there is no such delivery, or its 30 days are over");
export const NO_SUCH_WEBHOOK = fault("not_found", "there is no webhook of this id");
const DISABLED = fault("conflict", "the webhook is disabled; enable it first");

export function attemptView([at, duration, outcome]: LoggedAttempt): AttemptView {
  return {
    at: toTimestamp(at),
    duration_ms: duration,
    ...(typeof outcome === "number"
      ? { status_code: outcome }
      : { error: outcome as NonNullable<AttemptView["error"]> }),
  };
}

export class Deliveries {
  readonly #store: Store;
  readonly #dispatcher: Dispatcher;

  constructor(store: Store, dispatcher: Dispatcher) {
    this.#store = store;
    this.#dispatcher = dispatcher;
  }

  async list(query: {
    status?: DeliveryStatus;
    webhookId?: string;
    limit: number;
    before?: number;
  }): Promise<RpcResult<DeliveryPage>> {
    // The place of a target in this list is part of the ranks.
    const targets = (await this.#dispatcher.endpoints()).map(({ webhookId }) => webhookId).sort();
    if (query.webhookId !== undefined && !targets.includes(query.webhookId)) return NO_SUCH_WEBHOOK;
    const wanted = query.webhookId === undefined ? targets : [query.webhookId];
    const before = query.before ?? ((this.#store.last()?.n ?? 0) + 1) * RANKS_PER_EVENT;
    const items: DeliveryPage["items"] = [];
    let looked = 0;
    let rank = before;
    const take = (head: EventHead, at: number, target: string): boolean => {
      looked += 1;
      rank = at;
      const delivery = this.#delivery(head, target);
      if (delivery !== undefined && (query.status === undefined || delivery.status === query.status))
        items.push({ rank: at, at: head.recorded_at, delivery });
      return items.length >= query.limit || looked >= MAX_LOOKED_AT;
    };
    const finish = (isEnd: boolean): RpcResult<DeliveryPage> => ({
      ok: true,
      value: { items, ...(isEnd ? {} : { rank }) },
    });

    for (const [head, targetsHere] of this.#candidates(query, before)) {
      for (let at = targets.length - 1; at >= 0; at--) {
        const target = targets[at]!;
        const itsRank = head.n * RANKS_PER_EVENT + at;
        if (itsRank >= before || !wanted.includes(target)) continue;
        if (targetsHere !== undefined && !targetsHere.has(target)) continue;
        if (take(head, itsRank, target)) return finish(false);
      }
    }
    return finish(true);
  }

  /** Events that may have such deliveries, newest first, and for which targets where that is known. */
  *#candidates(
    query: { status?: DeliveryStatus; webhookId?: string },
    before: number,
  ): Generator<[EventHead, Set<string> | undefined]> {
    let upTo = Math.floor((before - 1) / RANKS_PER_EVENT);
    for (;;) {
      if (query.status === "dead") {
        // Few among many: found by their rows.
        const rows = this.#store.dead(query.webhookId, upTo, READ_BATCH);
        const last = rows.at(-1)?.n;
        if (last === undefined) return;
        // The batch may end in the middle of an event: that event waits for the next one. It has fewer rows than a
        // batch holds.
        const batch = rows.length < READ_BATCH ? rows : rows.filter(({ n }) => n > last);
        const byEvent = new Map<number, Set<string>>();
        for (const { lane, n } of batch)
          byEvent.set(n, (byEvent.get(n) ?? new Set()).add(isCallbackLane(lane) ? CALLBACK : lane));
        for (const [n, targets] of byEvent) yield [this.#store.event(n)!, targets];
        upTo = batch.at(-1)!.n - 1;
        if (rows.length < READ_BATCH) return;
      } else {
        const heads = this.#store.headsUpTo(upTo, READ_BATCH);
        for (const head of heads) yield [head, undefined];
        if (heads.length < READ_BATCH) return;
        upTo = heads.at(-1)!.n - 1;
      }
    }
  }

  /** How an event stands with a target; undefined when it is not for it. */
  #delivery(head: EventHead, target: string): DeliveryView | undefined {
    const lane = this.#laneOf(head, target);
    const state = this.#dispatcher.row(target);
    if (lane === undefined || state === undefined) return undefined;
    const row = this.#store.delivery(lane, head.n);
    if (row !== undefined) return viewOf(head, target, row);
    if (head.n <= state.listed_from) return undefined;
    const types = state.types === null ? undefined : (JSON.parse(state.types) as string[]);
    if (!matchesTypes(types, head.type)) return undefined;
    const isDelivered = this.#dispatcher.isSettled(target, head.n);
    const first = this.#dispatcher.remembered(lane, head.n);
    return {
      ...idsOf(head, target),
      status: isDelivered ? "delivered" : "pending",
      attempt_count: isDelivered ? 1 : 0,
      attempts: first === undefined ? [] : [attemptView(first)],
    };
  }

  #laneOf(head: EventHead, target: string): string | undefined {
    if (target !== CALLBACK) return target;
    return head.callback === null ? undefined : callbackLane(this.#store.callbackUrl(head));
  }

  /** Delivers one event to one target again, from the schedule's beginning. */
  async redeliver(deliveryId: string): Promise<RpcResult<DeliveryView>> {
    const [, target = "", eventId = ""] = /^([^.]+)\.([^.]+)$/.exec(deliveryId) ?? [];
    const head = await this.#store.eventById(eventId);
    const endpoint = (await this.#dispatcher.endpoints()).find(({ webhookId }) => webhookId === target);
    if (endpoint === undefined || head === undefined) return NO_SUCH_DELIVERY;
    const lane = this.#laneOf(head, target);
    if (lane === undefined || this.#delivery(head, target) === undefined) return NO_SUCH_DELIVERY;
    if (!this.#isEnabled(endpoint)) return DISABLED;
    const row = this.#dispatcher.redeliver(lane, head.n);
    this.#dispatcher.wake();
    return { ok: true, value: viewOf(head, target, row) };
  }

  /** Delivers the events of a time range to an endpoint again, whatever came of them before. */
  async redeliverRange(range: {
    replayId: string;
    webhookId: string;
    fromMs: number;
    toMs: number;
  }): Promise<RpcResult<{ events: number }>> {
    const { replayId, webhookId, fromMs, toMs } = range;
    const endpoint = (await this.#dispatcher.endpoints()).find((known) => known.webhookId === webhookId);
    if (endpoint === undefined || webhookId === CALLBACK) return NO_SUCH_WEBHOOK;
    if (!this.#isEnabled(endpoint)) return DISABLED;
    if (this.#dispatcher.replaysOf(webhookId) >= MAX_REPLAYS)
      return fault(
        "conflict",
        `${MAX_REPLAYS} ranges are being delivered to this webhook; wait for one to end`,
      );
    const position = this.#store.positionBefore(fromMs - CLOCK_SKEW_MS);
    const lastN = this.#store.last()?.n ?? 0;
    const counts = this.#store.countByType({ after: position, lastN, fromAt: fromMs, toAt: toMs });
    const events = [...counts]
      .filter(([type]) => matchesTypes(endpoint.types, type))
      .reduce((sum, [, count]) => sum + count, 0);
    if (events > 0) {
      this.#dispatcher.replay({
        replay_id: replayId,
        webhook_id: webhookId,
        position,
        last_n: lastN,
        from_at: fromMs,
        to_at: toMs,
      });
      this.#dispatcher.wake();
    }
    return { ok: true, value: { events } };
  }

  #isEnabled({ webhookId, enabled }: { webhookId: string; enabled: boolean }): boolean {
    return enabled && (this.#dispatcher.row(webhookId)?.disabled ?? null) === null;
  }
}

const idsOf = (head: EventHead, target: string) => ({
  delivery_id: `${target}.${head.event_id}`,
  webhook_id: target,
  event_id: head.event_id,
  event_type: head.type,
  created_at: toTimestamp(head.recorded_at),
});

const viewOf = (head: EventHead, target: string, row: DeliveryRow): DeliveryView => ({
  ...idsOf(head, target),
  status: row.status,
  attempt_count: row.log.length,
  attempts: row.log.map(attemptView),
  ...(row.next_at === null ? {} : { next_attempt_at: toTimestamp(row.next_at) }),
});
