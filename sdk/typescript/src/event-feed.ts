// Every event in order, for as long as you like: the journal read by long polling.

import { isPassing, pauseMs, sleep, type Transport } from "./transport.ts";
import type { AnyEventType, WebhookEvent } from "./webhook-event.ts";

const MAX_HOLD_SECONDS = 30;
const HOLD_MARGIN_MS = 15_000;

export interface EventsOptions {
  /**
   * `event_id` of the last event you have, or a `next_cursor`; the reading begins after it. Absent: at the oldest
   * event kept (30 days).
   */
  after?: string;
  /** Only this type, as `contract.cancelled`. */
  type?: AnyEventType;
  /** Only this user. */
  userId?: string;
  /** false: ends when there is nothing more. Default true: waits for what comes. */
  follow?: boolean;
  /** Ends the reading: the loop is left as if there were no more events. */
  signal?: AbortSignal;
}

/**
 * Events in the order of the journal. It outlasts restarts and lost connections. What is refused for good (a key
 * without the scope, an `after` the journal no longer knows) is thrown.
 */
export async function* readEvents(
  transport: Transport,
  { after, type, userId, follow = true, signal }: EventsOptions,
): AsyncGenerator<WebhookEvent, void, undefined> {
  let cursor = after;
  let failures = 0;
  for (;;) {
    const query = new URLSearchParams({ limit: "100" });
    if (cursor !== undefined) query.set("after", cursor);
    if (type !== undefined) query.set("type", type);
    if (userId !== undefined) query.set("user_id", userId);
    if (follow) query.set("wait", String(MAX_HOLD_SECONDS));
    let page: { events: WebhookEvent[]; next_cursor: string };
    try {
      page = (await transport.once(
        { method: "GET", path: `/api/v1/events?${query}`, repeat: "always", gives: "json" },
        {
          timeoutMs: MAX_HOLD_SECONDS * 1_000 + HOLD_MARGIN_MS,
          ...(signal === undefined ? {} : { signal }),
        },
      )) as typeof page;
      failures = 0;
    } catch (error) {
      if (signal?.aborted) return;
      if (!isPassing(error)) throw error;
      try {
        await sleep(pauseMs(failures++, error), signal);
      } catch {
        return;
      }
      continue;
    }
    for (const event of page.events) {
      if (signal?.aborted) return;
      yield event;
    }
    // With a filter a page may be empty although there is more behind it: only one that got no further is the end.
    if (!follow && page.events.length === 0 && page.next_cursor === cursor) return;
    cursor = page.next_cursor;
  }
}
