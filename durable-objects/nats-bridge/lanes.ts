// Hands messages to the users' objects and settles them by what those answer. Each user has a lane: order is kept
// within it, one call is open at a time, and what one user's object refuses to take is that user's trouble alone.
//
// Nothing here is worth keeping: a message not yet settled is delivered again, and the object knows it by its id.

import { Deadlines } from "../../src/nats/deadlines.ts";
import type { Delivery } from "../../src/nats/pull.ts";
import { ACK_WAIT_MS } from "../../src/nats/stream.ts";
import { MAX_ENVELOPE_BYTES } from "../../src/protocol/limits.ts";
import { identityId } from "../../src/protocol/primitives.ts";
import { userOfSubject } from "../../src/protocol/subjects.ts";
import type { InboundMessage, InboundOutcome, OutboundMessage } from "../../src/rpc.ts";

/** Objects called at once; more gain nothing, they share one thread and one disk. */
const MAX_CONCURRENT_OBJECTS = 16;
/** One call carries at most this many messages and bytes; a call may hold 32 MiB. */
const MAX_GROUP_MESSAGES = 100;
const MAX_GROUP_BYTES = 8 * 1_024 * 1_024;
/** Answers come before the stream delivers again; one that comes later is not waited for. */
const RECEIVE_TIMEOUT_MS = 8_000;
/** Messages of one user waiting for their turn here; half of what the bridge holds. */
const MAX_LANE_MESSAGES = 500;
/**
 * Messages of one user waiting in the stream for another try. They count toward the consumer's MAX_ACK_PENDING, and
 * were there no bound, one user could stop the delivery to all. Past it messages are dropped: their sender keeps
 * them and sends them again until there is a receipt.
 */
const MAX_WAITING_MESSAGES = 500;
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 60_000;
/**
 * A message whose object keeps throwing is given up after this many deliveries: at a minute's pause each, about a
 * day. Not sooner, because an outage of hours is no reason to make every sender repeat; not never, because the
 * stream is no place for what nobody will take. The sender repeats it in any case.
 */
const MAX_DELIVERIES = 1_440;
/**
 * An object that answers, and says `retry` to this one message again and again, is up: the message is what fails.
 * It is given up after this many deliveries, about a quarter of an hour in which whatever else the object needs
 * (the Directory, during setup) may have come back.
 */
export const MAX_RETRIED_DELIVERIES = 20;

/** `rejected`: taken in by nobody, before decryption. `given_up`: never taken in. */
export type Settlement = "done" | "rejected" | "retry" | "given_up";

/** A message nobody accepted, as told to `internal.rejected`: ids and a reason, no content. */
export interface Rejection {
  reason: string;
  user_id?: string;
  event_id?: string;
}

export interface LanesOptions {
  serviceId: string;
  /** The call to the user's object. */
  receive(userId: string, messages: InboundMessage[]): Promise<InboundOutcome[]>;
  /** Publishes what the object answered, best effort. */
  reply(messages: OutboundMessage[]): void;
  reject(rejection: Rejection): void;
  onSettled?(delivery: Delivery, settlement: Settlement): void;
  /** A call that failed: the object threw, or did not answer. */
  onFailure(userId: string, messages: number, error: unknown): void;
}

/** The pause before a message is delivered again: doubling with each delivery, capped. */
export const retryDelayMs = (deliveryCount: number): number =>
  Math.min(FIRST_RETRY_MS * 2 ** Math.min(Math.max(0, deliveryCount - 1), 30), LONGEST_RETRY_MS);

/** A message waiting for its turn. */
export interface Waiting {
  delivery: Delivery;
  /** It was in a call that failed: if it is what made the object throw, the others must get past it. */
  alone: boolean;
}

/** How many of a lane's first messages one call carries. */
export function groupSize(lane: readonly Waiting[]): number {
  let bytes = 0;
  let size = 0;
  for (const { delivery, alone } of lane) {
    bytes += delivery.bytes.length;
    if (size > 0 && (alone || size >= MAX_GROUP_MESSAGES || bytes > MAX_GROUP_BYTES)) break;
    size += 1;
    if (alone) break;
  }
  return size;
}

/** A message put back into the stream for another try. */
interface PutBack {
  /** When it has surely come again, here or at another shard. */
  until: number;
  alone: boolean;
}

/** The lanes of one session. */
export class Lanes {
  readonly #options: LanesOptions;
  /** Messages waiting for their turn, by user. */
  readonly #lanes = new Map<string, Waiting[]>();
  /** Users with waiting messages and no open call, the longest waiting first. */
  readonly #ready = new Set<string>();
  readonly #busy = new Set<string>();
  /** By user and sequence. */
  readonly #putBack = new Map<string, Map<number, PutBack>>();
  readonly #deadlines = new Deadlines(RECEIVE_TIMEOUT_MS);
  #scheduled = false;

  constructor(options: LanesOptions) {
    this.#options = options;
  }

  /** Messages waiting for their turn. */
  get waiting(): number {
    let messages = 0;
    for (const lane of this.#lanes.values()) messages += lane.length;
    return messages;
  }

  /** Takes a message over. It is settled by the time its object has answered, or at once. */
  accept(delivery: Delivery): void {
    const { serviceId, reject } = this.#options;
    const userId = userOfSubject(delivery.subject, serviceId);
    if (userId === undefined || !identityId.safeParse(userId).success) {
      reject({ reason: "subject" });
      delivery.terminate();
      this.#options.onSettled?.(delivery, "given_up");
      return;
    }
    if (delivery.bytes.length > MAX_ENVELOPE_BYTES) {
      this.#giveUp(userId, delivery, "too_large");
      return;
    }
    const putBack = this.#putBack.get(userId);
    const alone = putBack?.get(delivery.sequence)?.alone ?? false;
    putBack?.delete(delivery.sequence);
    const lane = this.#lanes.get(userId) ?? [];
    if (lane.length >= MAX_LANE_MESSAGES) {
      this.#retry(userId, delivery, FIRST_RETRY_MS, alone);
      return;
    }
    lane.push({ delivery, alone });
    this.#lanes.set(userId, lane);
    if (!this.#busy.has(userId)) this.#ready.add(userId);
    this.#schedule();
  }

  /** Forgets what has left the stream by another shard's hand. */
  sweep(now: number): void {
    for (const [userId, sequences] of this.#putBack) {
      for (const [sequence, { until }] of sequences) if (until <= now) sequences.delete(sequence);
      if (sequences.size === 0) this.#putBack.delete(userId);
    }
  }

  /** After the rest of the frame has been read: a user's messages that came together go together. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#dispatch();
    });
  }

  #dispatch(): void {
    for (const userId of this.#ready) {
      if (this.#busy.size >= MAX_CONCURRENT_OBJECTS) return;
      const lane = this.#lanes.get(userId)!;
      const group = lane.splice(0, groupSize(lane)).map(({ delivery }) => delivery);
      if (lane.length === 0) this.#lanes.delete(userId);
      this.#ready.delete(userId);
      this.#busy.add(userId);
      this.#deliver(userId, group).finally(() => {
        this.#busy.delete(userId);
        if (this.#lanes.has(userId)) this.#ready.add(userId);
        this.#dispatch();
      });
    }
  }

  async #deliver(userId: string, group: Delivery[]): Promise<void> {
    const { receive, reply, reject, onFailure, onSettled } = this.#options;
    let outcomes: InboundOutcome[];
    try {
      const messages = group.map(({ subject, bytes }) => ({ subject, bytes }));
      outcomes = await this.#deadlines.within(receive(userId, messages), "the user's object");
      if (outcomes.length !== group.length) {
        throw new Error(`the user's object answered ${outcomes.length} of ${group.length} messages`);
      }
    } catch (error) {
      onFailure(userId, group.length, error);
      const delayMs = retryDelayMs(Math.max(...group.map(({ deliveryCount }) => deliveryCount)));
      for (const delivery of group) {
        if (delivery.deliveryCount < MAX_DELIVERIES) this.#retry(userId, delivery, delayMs, true);
        else this.#giveUp(userId, delivery, "undeliverable");
      }
      return;
    }
    const replies: OutboundMessage[] = [];
    for (const [at, { handled, rejected, replies: own }] of outcomes.entries()) {
      const delivery = group[at]!;
      if (handled === "retry") {
        if (delivery.deliveryCount >= MAX_RETRIED_DELIVERIES) this.#giveUp(userId, delivery, "undeliverable");
        else this.#retry(userId, delivery, retryDelayMs(delivery.deliveryCount), false);
        continue;
      }
      delivery.ack();
      onSettled?.(delivery, rejected === undefined ? "done" : "rejected");
      replies.push(...own);
      if (rejected !== undefined) reject({ user_id: userId, ...rejected });
    }
    if (replies.length > 0) reply(replies);
  }

  #retry(userId: string, delivery: Delivery, delayMs: number, alone: boolean): void {
    const now = Date.now();
    const waiting = this.#putBack.get(userId) ?? new Map<number, PutBack>();
    if (waiting.size >= MAX_WAITING_MESSAGES) {
      for (const [sequence, { until }] of waiting) if (until <= now) waiting.delete(sequence);
      if (waiting.size >= MAX_WAITING_MESSAGES) {
        this.#giveUp(userId, delivery, "too_many_waiting");
        return;
      }
    }
    waiting.set(delivery.sequence, { until: now + delayMs + ACK_WAIT_MS, alone });
    this.#putBack.set(userId, waiting);
    delivery.retryAfter(delayMs);
    this.#options.onSettled?.(delivery, "retry");
  }

  #giveUp(userId: string, delivery: Delivery, reason: string): void {
    this.#options.reject({ reason, user_id: userId });
    delivery.terminate();
    this.#options.onSettled?.(delivery, "given_up");
  }
}
