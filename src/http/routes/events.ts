// The journal as a feed: every event in order, whether or not a webhook was told of it.

import { z } from "@hono/zod-openapi";
import { base64urlnopad } from "@scure/base";
import type { Env } from "../../env.ts";
import { eventId, identityId } from "../../protocol/primitives.ts";
import type { FeedItem, FeedPage } from "../../rpc.ts";
import { type WebhookEvent, webhookEvent, webhookEventType } from "../../webhooks/event.ts";
import { journalAt, journalCount } from "../../webhooks/shards.ts";
import type { App } from "../app-env.ts";
import { ApiError, invalidField, isRestart } from "../errors.ts";
import { API_PREFIX, defineRoute } from "../route.ts";
import { answer, listQuery } from "../schemas.ts";

const MAX_WAIT_SECONDS = 30;
/** A journal that restarts is there again well within this. */
const RETRY_PAUSE_MS = 100;
const MAX_RETRIES = 3;
const MAX_CURSOR_CHARACTERS = 512;
/** base58 has no 0, so a cursor is never taken for an event's id. */
const CURSOR_PREFIX = "0";
/** Where an event's id is the cursor, the other shards go on from its time. Their clocks differ by less. */
const CLOCK_SKEW_MS = 60_000;

/** A position in each shard, in their order. */
type Positions = number[];

const encodeCursor = (positions: Positions): string =>
  CURSOR_PREFIX + base64urlnopad.encode(new TextEncoder().encode(positions.join(".")));

function decodeCursor(text: string): Positions | undefined {
  try {
    const decoded = new TextDecoder().decode(base64urlnopad.decode(text.slice(CURSOR_PREFIX.length)));
    return /^\d{1,15}(\.\d{1,15})*$/.test(decoded) ? decoded.split(".").map(Number) : undefined;
  } catch {
    return undefined;
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Repeats a read that was cut off by a restart of its object, until the deadline at the least. */
async function persist<T>(deadline: number, call: () => Promise<T>): Promise<T> {
  for (let retries = 0; ; retries++) {
    try {
      return await call();
    } catch (error) {
      if (!isRestart(error) || (retries >= MAX_RETRIES && Date.now() >= deadline)) throw error;
      await pause(RETRY_PAUSE_MS);
    }
  }
}

async function positionsOf(env: Env, after: string | undefined): Promise<Positions> {
  const shards = Array.from({ length: journalCount(env) }, (_, shard) => shard);
  if (after === undefined) return shards.map(() => 0);
  if (after.startsWith(CURSOR_PREFIX)) {
    const positions = decodeCursor(after);
    // Shards added since have not been read yet.
    if (positions !== undefined && positions.length <= shards.length)
      return shards.map((shard) => positions[shard] ?? 0);
  } else if (eventId.safeParse(after).success) {
    const deadline = Date.now();
    const places = await Promise.all(
      shards.map((shard) => persist(deadline, () => journalAt(env, shard).locate(after))),
    );
    const found = places.find((place) => place !== undefined);
    if (found !== undefined) {
      const since = found.recordedAt - CLOCK_SKEW_MS;
      return Promise.all(
        places.map(
          (place, shard) =>
            place?.position ?? persist(deadline, () => journalAt(env, shard).positionBefore(since)),
        ),
      );
    }
  }
  throw invalidField(
    "after",
    "must be the next_cursor of an earlier answer, or the event_id of an event kept",
  );
}

interface Query {
  positions: Positions;
  type?: string;
  userId?: string;
  limit: number;
}

async function readShard(
  env: Env,
  shard: number,
  { positions, type, userId, limit }: Query,
  deadline: number,
): Promise<FeedPage> {
  return persist(deadline, () => {
    const waitMs = deadline - Date.now();
    return journalAt(env, shard).read({
      after: positions[shard]!,
      limit,
      ...(type === undefined ? {} : { type }),
      ...(userId === undefined ? {} : { userId }),
      ...(waitMs > 0 ? { waitMs } : {}),
    });
  });
}

/**
 * One page over all shards. Within a shard, and so for each user, the order is the journal's; between shards events
 * are put in by their timestamps, as far as they have come.
 */
function merge(
  pages: Map<number, FeedPage>,
  positions: Positions,
  limit: number,
): { events: WebhookEvent[]; positions: Positions } {
  const next = [...positions];
  const waiting = new Map<number, FeedItem[]>();
  for (const [shard, page] of pages) waiting.set(shard, [...page.items]);
  const events: WebhookEvent[] = [];
  while (events.length < limit) {
    let first: [number, FeedItem] | undefined;
    for (const [shard, [head]] of waiting)
      if (head !== undefined && (first === undefined || head.event.timestamp < first[1].event.timestamp))
        first = [shard, head];
    if (first === undefined) break;
    const [shard, item] = first;
    waiting.get(shard)!.shift();
    next[shard] = item.position;
    events.push(item.event);
  }
  // What was looked at and did not match need not be looked at again.
  for (const [shard, page] of pages) if (waiting.get(shard)!.length === 0) next[shard] = page.position;
  return { events, positions: next };
}

/** Reads at once, and if there is nothing holds the line at every shard until one has something. */
async function readFeed(env: Env, shards: readonly number[], query: Query, waitSeconds: number) {
  const deadline = Date.now() + waitSeconds * 1_000;
  const read = async (shard: number, until: number) =>
    [shard, await readShard(env, shard, query, until)] as const;
  if (shards.length > 1 || waitSeconds === 0) {
    const pages = new Map(await Promise.all(shards.map((shard) => read(shard, 0))));
    const now = merge(pages, query.positions, query.limit);
    if (now.events.length > 0 || waitSeconds === 0) return now;
  }
  const waits = shards.map(async (shard) => {
    const page = await read(shard, deadline);
    if (page[1].items.length === 0) throw page;
    return page;
  });
  try {
    return merge(new Map([await Promise.any(waits)]), query.positions, query.limit);
  } catch (error) {
    const outcomes = (error as AggregateError).errors as unknown[];
    const failed = outcomes.find((outcome) => !Array.isArray(outcome));
    if (failed !== undefined) throw failed;
    return merge(new Map(outcomes as [number, FeedPage][]), query.positions, query.limit);
  }
}

export function eventRoutes(app: App): void {
  app.openapi(
    defineRoute("requests:read", {
      method: "get",
      path: `${API_PREFIX}/events`,
      tags: ["Events"],
      summary: "Every event, in order",
      description:
        "What webhooks deliver, to be read at your own pace: kept 30 days, in order for each user. Read with `after` set to the `next_cursor` of the answer before; with `wait` an answer comes as soon as there is something new. Events hold ids and status only.",
      request: {
        query: z.object({
          limit: listQuery.limit,
          after: z
            .string()
            .max(MAX_CURSOR_CHARACTERS)
            .optional()
            .describe(
              "`next_cursor` of the answer before, or the `event_id` of the last event you have. Absent: from the oldest event kept.",
            ),
          cursor: z.string().max(MAX_CURSOR_CHARACTERS).optional().describe("The same as `after`."),
          wait: z.coerce
            .number()
            .int()
            .min(0)
            .max(MAX_WAIT_SECONDS)
            .default(0)
            .describe("Seconds to hold the line while there is nothing to answer with."),
          type: webhookEventType.optional(),
          user_id: identityId.optional(),
        }),
      },
      responses: {
        200: answer(
          "Events, oldest first. `next_cursor` is always there: with it the reading goes on.",
          z.object({ events: z.array(webhookEvent), next_cursor: z.string() }),
        ),
      },
    }),
    async (c) => {
      const { limit, after, cursor, wait, type, user_id } = c.req.valid("query");
      if (after !== undefined && cursor !== undefined && after !== cursor)
        throw new ApiError("invalid_request", "`after` and `cursor` are the same; send one of them");
      const positions = await positionsOf(c.env, after ?? cursor);
      const query: Query = {
        positions,
        limit,
        ...(type === undefined ? {} : { type }),
        ...(user_id === undefined ? {} : { userId: user_id }),
      };
      const page = await readFeed(
        c.env,
        positions.map((_, shard) => shard),
        query,
        wait,
      );
      return c.json({ events: page.events, next_cursor: encodeCursor(page.positions) }, 200);
    },
  );
}
