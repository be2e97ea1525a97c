// What tests of the journal share: events, endpoints, and a real receiver that is looked at over HTTP.

import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { inject } from "vitest";
import type { NewWebhook } from "../../durable-objects/directory/webhooks.ts";
import type { Journal } from "../../durable-objects/journal/journal.ts";
import { directoryOf } from "../../src/http/objects.ts";
import { toBase58 } from "../../src/protocol/encoding.ts";
import { newEventId, newRoutedId, randomBytes } from "../../src/protocol/ids.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import type { EventData, WebhookEvent } from "../../src/webhooks/event.ts";
import { journalAt, journalName } from "../../src/webhooks/shards.ts";
import type { ReceivedDelivery, ReceiverRule } from "../webhook-receiver-setup.ts";
import { countingRows, type RowCount } from "./count-rows.ts";

export const caller = { keyId: "testkey00001" };
export const newUserId = (): string => toBase58(randomBytes(32));

const POLL_MS = 40;

let made = 0;
export function makeEvent(change: Partial<WebhookEvent> = {}, data: EventData = {}): WebhookEvent {
  const userId = change.user_id ?? newUserId();
  made += 1;
  return {
    type: "auth.response",
    timestamp: toTimestamp(Date.now()),
    event_id: newRoutedId(userId, made),
    user_id: userId,
    data: { request_id: newEventId(), status: "approved", ...data },
    ...change,
  };
}

export const makeEvents = (count: number, change: Partial<WebhookEvent> = {}): WebhookEvent[] =>
  Array.from({ length: count }, (_, n) => makeEvent(change, { n }));

/** Fresh stubs: one that was cut off stays so. */
export const journal = (shard = 0) => journalAt(env, shard);
const stub = (shard = 0) => env.JOURNAL.getByName(journalName(shard));

/** Not the RPC promise itself: whoever looks at one makes calls on what it will be. */
export const append = async (...events: WebhookEvent[]): Promise<void> => {
  await journal().append(events.map((event) => ({ event })));
};

/** One receiver of its own on the shared server. */
export class Receiver {
  readonly name = newEventId();
  readonly url: string;
  readonly #control: string;

  /** `host`: 127.0.0.1 or localhost, which are different origins. */
  constructor(host = "127.0.0.1") {
    const base = inject("webhookReceiver");
    this.url = `${base.replace("127.0.0.1", host)}/hook/${this.name}`;
    this.#control = `${base}/control/${this.name}`;
  }

  /** How the next calls are answered; the last rule stays. */
  async answer(...rules: ReceiverRule[]): Promise<void> {
    const response = await fetch(this.#control, { method: "PUT", body: JSON.stringify(rules) });
    await response.text();
  }

  async look(): Promise<{ received: ReceivedDelivery[]; maxOpen: number }> {
    return (await fetch(this.#control)).json();
  }

  async received(): Promise<ReceivedDelivery[]> {
    return (await this.look()).received;
  }

  async ids(): Promise<string[]> {
    return (await this.received()).map(({ headers }) => headers["webhook-id"]!);
  }

  /** Waits until so many calls have come, and returns them. */
  async waitFor(count: number, timeoutMs = 5_000): Promise<ReceivedDelivery[]> {
    return until(
      async () => {
        const received = await this.received();
        return received.length >= count ? received : undefined;
      },
      `${count} deliveries`,
      timeoutMs,
    );
  }
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export async function until<T>(
  look: () => Promise<T | undefined | false>,
  what: string,
  timeoutMs = 5_000,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await sleep(POLL_MS);
  }
}

/** Adds an endpoint and tells the journal. */
export async function addEndpoint(receiver: Receiver, wanted: Partial<NewWebhook> = {}) {
  const created = await directoryOf(env).createWebhook({ url: receiver.url, ...wanted }, caller);
  if (!created.ok) throw new Error(created.error.detail);
  await journal().endpointsChanged();
  return created.value;
}

/** Lets the journal's clock run ahead by so much, as long as the object lives. */
export async function shiftClock(ms: number, shard = 0): Promise<void> {
  await runInDurableObject(stub(shard), (instance: Journal) => {
    instance.now = () => Date.now() + ms;
  });
}

/** Lets the alarm fire now, whatever it is set for. */
export const fireAlarm = (shard = 0): Promise<boolean> => runDurableObjectAlarm(stub(shard));

/** Runs SQL in the journal. */
export const query = <Row extends Record<string, SqlStorageValue>>(
  sql: string,
  ...bindings: SqlStorageValue[]
): Promise<Row[]> =>
  runInDurableObject(stub(), (_instance: Journal, state) =>
    state.storage.sql.exec<Row>(sql, ...bindings).toArray(),
  );

export const deliveries = async (
  wanted: Parameters<ReturnType<typeof journal>["deliveries"]>[0] = { limit: 100 },
) => {
  const page = await journal().deliveries(wanted);
  if (!page.ok) throw new Error(page.error.detail);
  return page.value.items.map(({ delivery }) => delivery);
};

export const feed = async (limit = 100) =>
  (await journal().read({ after: 0, limit })).items.map(({ event }) => event);

/** Every row the journal's SQL writes while `run` runs; setAlarm is counted beside. */
export async function countRows(run: () => Promise<void>): Promise<RowCount> {
  const counting = await countingRows(stub() as DurableObjectStub<never>);
  await run();
  return counting.stop();
}
