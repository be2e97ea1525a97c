// The messages a shard was given and no broker has taken. Their owners keep them and repeat them; this only remembers
// that they do, so that the age of the oldest can be told without waking anybody.

import type { OutboundMessage } from "../../src/rpc.ts";

/** Messages remembered at most. In an outage of a large deployment the rest is not counted; the oldest came first. */
export const MAX_UNSENT = 10_000;
/**
 * Owners repeat a message that no broker has acknowledged every 20 seconds. One not heard of for this long was
 * withdrawn or has expired.
 */
export const FORGOTTEN_AFTER_MS = 60_000;

/** Without the number that grows with each end-to-end resend. */
const messageOf = (msgId: string): string => msgId.slice(0, msgId.lastIndexOf("-"));

export class Unsent {
  readonly #messages = new Map<string, { madeAt: number; heardOf: number }>();

  failed({ msgId, madeAt }: OutboundMessage, now: number): void {
    if (msgId === undefined || madeAt === undefined) return;
    const id = messageOf(msgId);
    if (this.#messages.size < MAX_UNSENT || this.#messages.has(id))
      this.#messages.set(id, { madeAt, heardOf: now });
  }

  stored({ msgId }: OutboundMessage): void {
    if (msgId !== undefined) this.#messages.delete(messageOf(msgId));
  }

  /** How many there are, and how old the oldest is. */
  read(now: number): { messages: number; oldestMs: number } {
    let oldest = now;
    for (const [id, { madeAt, heardOf }] of this.#messages) {
      if (heardOf + FORGOTTEN_AFTER_MS <= now) this.#messages.delete(id);
      else oldest = Math.min(oldest, madeAt);
    }
    return { messages: this.#messages.size, oldestMs: now - oldest };
  }
}
