// Webhook endpoints and what became of each delivery.
//
// Endpoints are the Directory's, deliveries the journal's. A change is made in the Directory first; the shards are
// told at once, and would notice within half a minute if that call were lost.

import { z } from "@hono/zod-openapi";
import { base64urlnopad } from "@scure/base";
import {
  CALLBACK_ID,
  MAX_WEBHOOKS,
  ROTATION_OVERLAP_MS,
} from "../../../durable-objects/directory/webhooks.ts";
import type { Env } from "../../env.ts";
import { prose, timestamp } from "../../protocol/primitives.ts";
import { kinds } from "../../requests/registry.ts";
import type { DeliveryPage, RpcResult } from "../../rpc.ts";
import { EVENT_TYPES, isKnownFilter, MAX_FILTER_TYPES, responseType } from "../../webhooks/event.ts";
import { allJournals, serviceJournal } from "../../webhooks/shards.ts";
import { publicKeyText } from "../../webhooks/signature.ts";
import { MAX_TARGET_CHARACTERS } from "../../webhooks/target.ts";
import type { App } from "../app-env.ts";
import { ApiError, invalidField, unwrap } from "../errors.ts";
import { callerOf } from "../middleware/idempotency.ts";
import { directoryOf } from "../objects.ts";
import { API_PREFIX, defineRoute } from "../route.ts";
import { answer, idParam, json, listQuery } from "../schemas.ts";

const tags = ["Webhooks"];
const MAX_DESCRIPTION_CHARACTERS = 200;
const MAX_FILTER_CHARACTERS = 128;
/** Events of a range are looked for in the 30 days the journal keeps. */
const MAX_RANGE_MS = 31 * 24 * 3_600_000;

const knownTypes = [...EVENT_TYPES, ...kinds.map(({ name }) => responseType(name)), "custom.any.response"];

const url = z
  .string()
  .max(MAX_TARGET_CHARACTERS)
  .describe("https, a public host, port 443 or one from 1024 up; in development also http to this machine.");
const types = z
  .array(
    z
      .string()
      .max(MAX_FILTER_CHARACTERS)
      .refine(
        (entry) => isKnownFilter(entry, knownTypes) || /^custom\.[a-z0-9_]{1,32}\.response$/.test(entry),
        "must be a type of event, as `contract.created`, or a group of them, as `contract.*`",
      ),
  )
  .min(1)
  .max(MAX_FILTER_TYPES)
  .refine((entries) => new Set(entries).size === entries.length, "must name each type once");
const description = prose(MAX_DESCRIPTION_CHARACTERS);

const webhookView = z.object({
  webhook_id: z.string(),
  url: z.string(),
  types: z.array(z.string()).optional().describe("Absent: every type."),
  description: z.string().optional(),
  status: z.enum(["enabled", "disabled"]),
  disabled_reason: z
    .enum(["requested", "gone", "failing"])
    .optional()
    .describe("`gone`: it answered 410. `failing`: nothing but failures for five days."),
  disabled_at: timestamp.optional(),
  created_at: timestamp,
  secret_rotated_at: timestamp.optional(),
  previous_secret_valid_until: timestamp.optional(),
});
const secret = z.string().describe("`whsec_…`, shown this once.");

const attemptView = z.object({
  at: timestamp,
  duration_ms: z.int(),
  status_code: z.int().optional(),
  error: z.enum(["timeout", "connection_failed", "target_refused"]).optional(),
});
const deliveryStatus = z.enum(["pending", "delivered", "dead"]);
const deliveryView = z.object({
  delivery_id: z.string(),
  webhook_id: z.string().describe("`callback` for a delivery to an ask's `callback_url`."),
  event_id: z.string(),
  event_type: z.string(),
  status: deliveryStatus,
  attempt_count: z.int(),
  attempts: z
    .array(attemptView)
    .describe("The latest. Of a delivery that succeeded at once, details are kept for a short time only."),
  next_attempt_at: timestamp.optional(),
  created_at: timestamp,
});

const webhookParam = idParam("id", "The webhook's id.");

/** Tells every shard. A shard that cannot be reached now asks by itself within half a minute. */
async function tellShards(env: Env): Promise<void> {
  await Promise.allSettled(allJournals(env).map((journal) => journal.endpointsChanged()));
}

/** Waits until the shards know before the caller is answered: its next call may rely on it. */
async function changed<T>(env: Env, result: RpcResult<T>): Promise<T> {
  const value = unwrap(result);
  await tellShards(env);
  return value;
}

/** Where a page of deliveries ends in each shard; 0 where a shard has no more. */
const encodeCursor = (ranks: number[]): string =>
  base64urlnopad.encode(new TextEncoder().encode(ranks.join(".")));

function decodeCursor(text: string, shards: number): number[] {
  try {
    const decoded = new TextDecoder().decode(base64urlnopad.decode(text));
    if (/^\d{1,16}(\.\d{1,16})*$/.test(decoded)) {
      const ranks = decoded.split(".").map(Number);
      if (ranks.length === shards && ranks.every(Number.isSafeInteger)) return ranks;
    }
  } catch {}
  throw invalidField("cursor", "must be the next_cursor of an earlier page of this list");
}

export function webhookRoutes(app: App): void {
  app.openapi(
    defineRoute("admin", {
      method: "get",
      path: `${API_PREFIX}/webhooks`,
      tags,
      summary: "Every webhook",
      responses: {
        200: answer(
          "Webhooks, oldest first, and the public key that every delivery's `v1a` signature is verified with.",
          z.object({ webhooks: z.array(webhookView), public_key: z.string().describe("`whpk_…`") }),
        ),
      },
    }),
    async (c) =>
      c.json(
        {
          webhooks: await directoryOf(c.env).webhooks(),
          public_key: publicKeyText(c.var.config.webhookKey.publicKey),
        },
        200,
      ),
  );

  app.openapi(
    defineRoute(
      "admin",
      {
        method: "post",
        path: `${API_PREFIX}/webhooks`,
        tags,
        summary: "Add a webhook",
        description: `It is told of events from now on. At most ${MAX_WEBHOOKS}.`,
        request: {
          body: {
            required: true,
            content: json(
              z.strictObject({
                url,
                types: types.optional().describe("Absent: every type. A group as `contract.*` is allowed."),
                description: description.optional(),
              }),
            ),
          },
        },
        responses: {
          201: answer("The webhook with its secret.", webhookView.extend({ secret }), "CreatedWebhook"),
        },
      },
      ["conflict"],
    ),
    async (c) => {
      const { url, types, description } = c.req.valid("json");
      const wanted = {
        url,
        ...(types === undefined ? {} : { types }),
        ...(description === undefined ? {} : { description }),
      };
      return c.json(await changed(c.env, await directoryOf(c.env).createWebhook(wanted, callerOf(c))), 201);
    },
  );

  // Before webhooks/{id}: `deliveries` would otherwise be read as a webhook's id.
  app.openapi(
    defineRoute(
      "requests:read",
      {
        method: "get",
        path: `${API_PREFIX}/webhooks/deliveries`,
        tags,
        summary: "Deliveries, newest first",
        request: {
          query: z.object({
            ...listQuery,
            status: deliveryStatus.optional(),
            endpoint: z
              .string()
              .max(64)
              .optional()
              .describe(`A webhook's id, or \`${CALLBACK_ID}\` for deliveries to callback URLs.`),
          }),
        },
        responses: {
          200: answer(
            "A page of deliveries. It may hold fewer than asked for and still have a successor.",
            z.object({ deliveries: z.array(deliveryView), next_cursor: z.string().optional() }),
          ),
        },
      },
      ["not_found"],
    ),
    async (c) => {
      const { limit, cursor, status, endpoint } = c.req.valid("query");
      const journals = allJournals(c.env);
      const from = cursor === undefined ? undefined : decodeCursor(cursor, journals.length);
      const pages = await Promise.all(
        journals.map(async (journal, shard): Promise<DeliveryPage> => {
          const before = from?.[shard];
          if (before === 0) return { items: [] };
          return unwrap(
            await journal.deliveries({
              limit,
              ...(status === undefined ? {} : { status }),
              ...(endpoint === undefined ? {} : { webhookId: endpoint }),
              ...(before === undefined ? {} : { before }),
            }),
          );
        }),
      );
      const items = pages
        .flatMap((page, shard) => page.items.map((item) => ({ ...item, shard })))
        .sort((a, b) => b.at - a.at || b.rank - a.rank)
        .slice(0, limit);
      const ranks = pages.map((page, shard) => {
        const shown = items.filter((item) => item.shard === shard);
        if (shown.length === page.items.length) return page.rank ?? 0;
        return shown.at(-1)?.rank ?? page.items[0]!.rank + 1;
      });
      return c.json(
        {
          deliveries: items.map(({ delivery }) => delivery),
          ...(ranks.every((rank) => rank === 0) ? {} : { next_cursor: encodeCursor(ranks) }),
        },
        200,
      );
    },
  );

  app.openapi(
    defineRoute(
      "admin",
      {
        method: "post",
        path: `${API_PREFIX}/webhooks/deliveries/{id}/redeliver`,
        tags,
        summary: "Deliver one event again",
        description: "With the same `webhook-id`, whatever came of it before, on a fresh schedule.",
        request: { params: idParam("id", "The delivery's id.") },
        responses: { 202: answer("The delivery, pending.", deliveryView, "Delivery") },
      },
      ["not_found", "conflict"],
    ),
    async (c) => {
      const deliveryId = c.req.valid("param").id;
      const [, webhookId = "", eventId = ""] = /^([^.]+)\.([^.]+)$/.exec(deliveryId) ?? [];
      const request = { webhook_id: webhookId, event_id: eventId };
      unwrap(await directoryOf(c.env).noteWebhookCommand("webhook.redelivered", request, callerOf(c)));
      let refusal: unknown;
      for (const journal of allJournals(c.env)) {
        try {
          return c.json(unwrap(await journal.redeliver(deliveryId)), 202);
        } catch (error) {
          if (!(error instanceof ApiError) || error.code !== "not_found") throw error;
          refusal = error;
        }
      }
      throw refusal;
    },
  );

  app.openapi(
    defineRoute(
      "admin",
      {
        method: "patch",
        path: `${API_PREFIX}/webhooks/{id}`,
        tags,
        summary: "Change a webhook",
        description:
          "A webhook that is enabled again goes on where it stopped; what the journal no longer keeps is skipped.",
        request: {
          params: webhookParam,
          body: {
            required: true,
            content: json(
              z
                .strictObject({
                  url: url.optional(),
                  types: types.nullable().optional().describe("null: every type."),
                  description: description.nullable().optional(),
                  status: z.enum(["enabled", "disabled"]).optional(),
                })
                .refine((change) => Object.keys(change).length > 0, "must change something"),
            ),
          },
        },
        responses: { 200: answer("The webhook.", webhookView, "Webhook") },
      },
      ["not_found"],
    ),
    async (c) => {
      const { url, types, description, status } = c.req.valid("json");
      const change = {
        ...(url === undefined ? {} : { url }),
        ...(types === undefined ? {} : { types }),
        ...(description === undefined ? {} : { description }),
        ...(status === undefined ? {} : { status }),
      };
      const { id } = c.req.valid("param");
      return c.json(
        await changed(c.env, await directoryOf(c.env).changeWebhook(id, change, callerOf(c))),
        200,
      );
    },
  );

  app.openapi(
    defineRoute(
      "admin",
      {
        method: "delete",
        path: `${API_PREFIX}/webhooks/{id}`,
        tags,
        summary: "Delete a webhook",
        description: "What is being delivered to it at this moment may still arrive.",
        request: { params: webhookParam },
        responses: {
          200: answer("Deleted.", z.object({ webhook_id: z.string(), status: z.literal("deleted") })),
        },
      },
      ["not_found"],
    ),
    async (c) => {
      const { id } = c.req.valid("param");
      return c.json(await changed(c.env, await directoryOf(c.env).deleteWebhook(id, callerOf(c))), 200);
    },
  );

  app.openapi(
    defineRoute(
      "admin",
      {
        method: "post",
        path: `${API_PREFIX}/webhooks/{id}/rotate-secret`,
        tags,
        summary: "Give a webhook a new secret",
        description: `Deliveries carry a \`v1\` signature with each secret for ${ROTATION_OVERLAP_MS / 3_600_000} h. X-VettID-Signature is made with the new one at once. The id \`${CALLBACK_ID}\` stands for the secret of all callback URLs.`,
        request: { params: webhookParam },
        responses: {
          200: answer(
            "The new secret.",
            z.object({
              webhook_id: z.string(),
              secret,
              previous_secret_valid_until: timestamp.optional(),
            }),
          ),
        },
      },
      ["not_found"],
    ),
    async (c) => {
      const { id } = c.req.valid("param");
      return c.json(await changed(c.env, await directoryOf(c.env).rotateWebhookSecret(id, callerOf(c))), 200);
    },
  );

  app.openapi(
    defineRoute(
      "admin",
      {
        method: "post",
        path: `${API_PREFIX}/webhooks/{id}/test`,
        tags,
        summary: "Send a test event",
        description:
          "One attempt, now, of an event of type `webhook.test`, and what came of it. Works for a disabled webhook, too.",
        request: { params: webhookParam },
        responses: {
          200: answer(
            "What the receiver answered.",
            attemptView.extend({ event_id: z.string(), delivered: z.boolean() }),
          ),
        },
      },
      ["not_found"],
    ),
    async (c) => {
      const { id } = c.req.valid("param");
      const request = { webhook_id: id };
      const { commandId } = unwrap(
        await directoryOf(c.env).noteWebhookCommand("webhook.tested", request, callerOf(c)),
      );
      const attempt = unwrap(await serviceJournal(c.env).testEndpoint(id, commandId));
      return c.json({ event_id: commandId, ...attempt }, 200);
    },
  );

  app.openapi(
    defineRoute(
      "admin",
      {
        method: "post",
        path: `${API_PREFIX}/webhooks/{id}/redeliver`,
        tags,
        summary: "Deliver the events of a time range again",
        description:
          "Every event of the range that the webhook asks for, by `timestamp`, both ends included, whatever came of it before.",
        request: {
          params: webhookParam,
          body: { required: true, content: json(z.strictObject({ from: timestamp, to: timestamp })) },
        },
        responses: {
          202: answer(
            "How many events are being delivered.",
            z.object({ webhook_id: z.string(), from: timestamp, to: timestamp, events: z.int() }),
          ),
        },
      },
      ["not_found", "conflict"],
    ),
    async (c) => {
      const { id } = c.req.valid("param");
      const { from, to } = c.req.valid("json");
      const fromMs = Date.parse(from);
      const toMs = Date.parse(to);
      if (toMs < fromMs || toMs - fromMs > MAX_RANGE_MS)
        throw invalidField("to", "must be at or after `from`, by 31 days at most");
      const request = { webhook_id: id, from, to };
      const { commandId } = unwrap(
        await directoryOf(c.env).noteWebhookCommand("webhook.redelivered", request, callerOf(c)),
      );
      let events = 0;
      for (const journal of allJournals(c.env))
        events += unwrap(
          await journal.redeliverRange({ replayId: commandId, webhookId: id, fromMs, toMs }),
        ).events;
      return c.json({ webhook_id: id, from, to, events }, 202);
    },
  );
}
