// Keys for backends and operators.

import { z } from "@hono/zod-openapi";
import { line, timestamp } from "../../protocol/primitives.ts";
import type { App } from "../app-env.ts";
import { unwrap } from "../errors.ts";
import { KEY_CACHE_MS } from "../middleware/authenticate.ts";
import { callerOf } from "../middleware/idempotency.ts";
import { directoryOf } from "../objects.ts";
import { API_PREFIX, defineRoute } from "../route.ts";
import { answer, idParam, json, scope } from "../schemas.ts";

const tags = ["API keys"];
const MIN_LIFETIME_SECONDS = 60;
const MAX_LIFETIME_SECONDS = 10 * 365 * 24 * 3_600;
const DEFAULT_GRACE_SECONDS = 24 * 3_600;
const MAX_GRACE_SECONDS = 30 * 24 * 3_600;

const keyView = z.object({
  key_id: z.string(),
  name: z.string(),
  scopes: z.array(scope),
  created_at: timestamp,
  expires_at: timestamp.optional(),
  last_used_day: z.string().optional().describe("The day (UTC) of its last use."),
  rotated_at: timestamp.optional(),
  previous_valid_until: timestamp
    .optional()
    .describe("Until when the secret before the last rotation works."),
});
const createdKey = keyView.extend({
  api_key: z.string().describe("The key itself, shown this once; only its hash is stored."),
});
const keyParam = idParam("id", "The key's id: the third part of its text.");

export function apiKeyRoutes(app: App): void {
  app.openapi(
    defineRoute("admin", {
      method: "get",
      path: `${API_PREFIX}/api-keys`,
      tags,
      summary: "Every API key",
      responses: { 200: answer("Keys that were not deleted.", z.object({ api_keys: z.array(keyView) })) },
    }),
    async (c) => c.json({ api_keys: await directoryOf(c.env).apiKeys() }, 200),
  );

  app.openapi(
    defineRoute(
      "admin",
      {
        method: "post",
        path: `${API_PREFIX}/api-keys`,
        tags,
        summary: "Make an API key",
        request: {
          body: {
            required: true,
            content: json(
              z.strictObject({
                name: line(100).describe("What it is for."),
                scopes: z
                  .array(scope)
                  .min(1)
                  .max(scope.options.length)
                  .refine((scopes) => new Set(scopes).size === scopes.length, "must name each scope once"),
                expires_in_seconds: z.int().min(MIN_LIFETIME_SECONDS).max(MAX_LIFETIME_SECONDS).optional(),
              }),
            ),
          },
        },
        responses: { 201: answer("The key, shown once.", createdKey, "CreatedApiKey") },
      },
      ["conflict"],
    ),
    async (c) => {
      const { name, scopes, expires_in_seconds } = c.req.valid("json");
      const wanted = {
        name,
        scopes,
        ...(expires_in_seconds === undefined ? {} : { expiresInSeconds: expires_in_seconds }),
      };
      return c.json(unwrap(await directoryOf(c.env).createApiKey(wanted, callerOf(c))), 201);
    },
  );

  app.openapi(
    defineRoute(
      "admin",
      {
        method: "delete",
        path: `${API_PREFIX}/api-keys/{id}`,
        tags,
        summary: "Delete an API key",
        description: `It may work up to ${KEY_CACHE_MS / 1_000} s more. The last key with the scope admin cannot be deleted.`,
        request: { params: keyParam },
        responses: {
          200: answer(
            "Deleted.",
            z.object({
              key_id: z.string(),
              status: z.literal("deleted"),
              may_work_seconds: z.int().describe("How long copies in memory may still let it through."),
            }),
          ),
        },
      },
      ["not_found", "conflict"],
    ),
    async (c) => {
      const deleted = unwrap(await directoryOf(c.env).deleteApiKey(c.req.valid("param").id, callerOf(c)));
      return c.json({ ...deleted, may_work_seconds: KEY_CACHE_MS / 1_000 }, 200);
    },
  );

  app.openapi(
    defineRoute(
      "admin",
      {
        method: "post",
        path: `${API_PREFIX}/api-keys/{id}/rotate`,
        tags,
        summary: "Give an API key a new secret",
        description:
          "The old secret works on for the grace time. An even older one, still in its grace, stops at once.",
        request: {
          params: keyParam,
          body: {
            required: false,
            content: json(
              z.strictObject({
                grace_seconds: z.int().min(0).max(MAX_GRACE_SECONDS).default(DEFAULT_GRACE_SECONDS),
              }),
            ),
          },
        },
        responses: { 200: answer("The key with its new secret, shown once.", createdKey, "CreatedApiKey") },
      },
      ["not_found", "conflict"],
    ),
    async (c) => {
      const { grace_seconds = DEFAULT_GRACE_SECONDS } = c.req.valid("json") ?? {};
      const rotated = await directoryOf(c.env).rotateApiKey(
        c.req.valid("param").id,
        grace_seconds,
        callerOf(c),
      );
      return c.json(unwrap(rotated), 200);
    },
  );
}
