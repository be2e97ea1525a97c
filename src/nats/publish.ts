// Publishing on one session: many messages in flight together, bounded, each with its outcome. "Stored" is said by
// the broker or not at all; whatever ends in doubt has failed, and its owner repeats it under the same message id.

import { atPoint } from "../at-point.ts";
import type { OutboundMessage, PublishOutcome } from "../rpc.ts";
import { Acknowledgements } from "./acknowledgements.ts";
import { type BrokerSession, describeError, type LiveSession, within } from "./session.ts";

/** A publish waits this long for a session that is coming up. */
const READY_TIMEOUT_MS = 2_000;
/** And this long for the broker's word, after which the message counts as failed. */
const ACK_TIMEOUT_MS = 4_000;
/** Bounds of what one session has taken on: over them a message fails at once, before memory does. */
export const MAX_IN_FLIGHT_MESSAGES = 4_096;
export const MAX_IN_FLIGHT_BYTES = 32 * 1_024 * 1_024;

/** What may be written into a PUB line. The library checks none of it; a space or line break would be a command. */
const SUBJECT = /^[A-Za-z0-9_$-]+(?:\.[A-Za-z0-9_$-]+)*$/;

/** Why messages of a batch failed, and how many for each reason. Holds no contents. */
export type FailureReport = (failures: { reason: string; count: number }[]) => void;

/** What one batch of messages came to, in order. */
class Tally {
  readonly outcomes: PublishOutcome[];
  readonly #failures = new Map<string, number>();

  constructor(size: number) {
    this.outcomes = new Array<PublishOutcome>(size).fill("failed");
  }

  failed(reason: string): void {
    this.#failures.set(reason, (this.#failures.get(reason) ?? 0) + 1);
  }

  report(to: FailureReport | undefined): void {
    if (this.#failures.size > 0) to?.([...this.#failures].map(([reason, count]) => ({ reason, count })));
  }
}

/**
 * The broker has read all that was written before the pong it sends. One ping is under way at a time: whatever is
 * written meanwhile shares the next.
 */
class Flushes {
  readonly #session: LiveSession;
  #underWay: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;

  constructor(session: LiveSession) {
    this.#session = session;
  }

  /** Resolves when the broker has read what has been written until now. */
  next(): Promise<void> {
    this.#next ??= this.#underWay
      .catch(() => {})
      .then(() => {
        this.#next = undefined;
        this.#underWay = within(this.#session.connection.flush(), ACK_TIMEOUT_MS, "flush");
        return this.#underWay;
      });
    return this.#next;
  }
}

/** The publishing side of a session. */
export class Publisher {
  readonly #session: BrokerSession;
  readonly #onFailures: FailureReport | undefined;
  #messages = 0;
  #bytes = 0;
  #open: { session: LiveSession; words: Acknowledgements; flushes: Flushes } | undefined;

  constructor(session: BrokerSession, onFailures?: FailureReport) {
    this.#session = session;
    this.#onFailures = onFailures;
  }

  /** What is in flight now. */
  get load(): { messages: number; bytes: number } {
    return { messages: this.#messages, bytes: this.#bytes };
  }

  /** Publishes a batch; the outcomes are in its order. Never rejects. Takes at most about six seconds. */
  async publish(batch: readonly OutboundMessage[]): Promise<PublishOutcome[]> {
    const tally = new Tally(batch.length);
    const admitted: number[] = [];
    let bytes = 0;
    for (const [at, message] of batch.entries()) {
      if (!SUBJECT.test(message.subject)) tally.failed("the subject is malformed");
      else if (!this.#admits(message.bytes.length)) tally.failed("too many messages in flight");
      else {
        admitted.push(at);
        bytes += message.bytes.length;
        this.#messages += 1;
        this.#bytes += message.bytes.length;
      }
    }
    try {
      await this.#send(batch, admitted, tally);
    } catch (error) {
      tally.failed(describeError(error));
    } finally {
      this.#messages -= admitted.length;
      this.#bytes -= bytes;
    }
    tally.report(this.#onFailures);
    return tally.outcomes;
  }

  /** What lives as long as the session. */
  #openFor(session: LiveSession): { words: Acknowledgements; flushes: Flushes } {
    if (this.#open?.session !== session) {
      const words = new Acknowledgements(session, ACK_TIMEOUT_MS);
      this.#open = { session, words, flushes: new Flushes(session) };
    }
    return this.#open;
  }

  #admits(bytes: number): boolean {
    return this.#messages < MAX_IN_FLIGHT_MESSAGES && this.#bytes + bytes <= MAX_IN_FLIGHT_BYTES;
  }

  async #send(batch: readonly OutboundMessage[], admitted: number[], tally: Tally): Promise<void> {
    if (admitted.length === 0) return;
    await this.#session.ready(READY_TIMEOUT_MS);
    const { live } = this.#session;
    if (live === undefined) {
      for (const _ of admitted) tally.failed("the broker is not connected");
      return;
    }
    const { connection } = live;
    const { words, flushes } = this.#openFor(live);
    const flushed: number[] = [];
    const acknowledged: Promise<void>[] = [];
    for (const at of admitted) {
      const { subject, bytes, msgId } = batch[at]!;
      if (msgId !== undefined) {
        acknowledged.push(
          (async () => {
            try {
              const word = await atPoint("bridge.publish", () => words.publish(subject, bytes, msgId));
              if (word.stored) tally.outcomes[at] = "stored";
              else tally.failed(word.reason);
            } catch (error) {
              tally.failed(describeError(error));
            }
          })(),
        );
        continue;
      }
      try {
        connection.publish(subject, bytes);
        flushed.push(at);
      } catch (error) {
        tally.failed(describeError(error));
      }
    }
    if (flushed.length > 0) {
      try {
        await flushes.next();
        for (const at of flushed) tally.outcomes[at] = "stored";
      } catch (error) {
        for (const _ of flushed) tally.failed(describeError(error));
      }
    }
    await Promise.all(acknowledged);
  }
}
