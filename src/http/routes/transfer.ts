// A whole deployment out of one place and into another, object by object, page by page (docs/RUNBOOK.md). Only in
// maintenance: then nobody writes, and what is read here is one moment.

import { z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { AUDIT_LOG_NAME } from "../../../durable-objects/audit-log/audit-log.ts";
import { DIRECTORY_NAME } from "../../../durable-objects/directory/directory.ts";
import type { Env } from "../../env.ts";
import { identityId } from "../../protocol/primitives.ts";
import type { Transferable } from "../../rpc.ts";
import { journalCount, journalName } from "../../webhooks/shards.ts";
import type { App, AppEnv } from "../app-env.ts";
import { ApiError, unwrap } from "../errors.ts";
import { directoryOf } from "../objects.ts";
import { API_PREFIX, defineRoute } from "../route.ts";
import { answer, json } from "../schemas.ts";

const tags = ["Moving a deployment"];
export const TRANSFER_FORMAT = "vettid-service-vault/1";
const USERS_PER_PAGE = 500;
/** A page, 256 KiB of values and one row of at most 2 MB more, as base64 in JSON. */
const MAX_PAGE_BODY_BYTES = 4_000_000;
const MAX_NAME_CHARACTERS = 64;
/** Proves that two deployments have the same VAULT_KEK without saying anything of it. */
const KEY_CHECK = "vettid-transfer-key-check-v1";
const USER_PREFIX = "user-";

const name = z.string().regex(/^[a-z_]{1,64}$/);
const cell = z.union([z.string(), z.number(), z.null(), z.strictObject({ base64: z.string() })]);
const transferPage = z.strictObject({
  schema_version: z.int().min(0),
  after: z.string().optional(),
  tables: z.array(
    z.strictObject({ name, columns: z.array(name).min(1), rows: z.array(z.array(cell).min(1)) }),
  ),
  next: z.string().optional(),
});
const manifest = z.object({
  format: z.literal(TRANSFER_FORMAT),
  version: z.string(),
  service_id: z.string(),
  key_check: z.string().describe("Equal where VAULT_KEK is equal."),
  journal_shards: z.int(),
  objects: z.array(z.string()).describe("In the order to import them."),
  next_cursor: z.string().optional(),
});
const objectParam = z.object({
  object: z.string().max(MAX_NAME_CHARACTERS).describe("One of `objects`: `directory`, `user-<user_id>`, …"),
});

/** A fresh stub of the object of this name. Throws `not_found` for a name that stands for none. */
function objectOf(env: Env, object: string): Transferable {
  const found = (): unknown => {
    if (object === DIRECTORY_NAME) return env.DIRECTORY.getByName(DIRECTORY_NAME);
    if (object === AUDIT_LOG_NAME) return env.AUDIT_LOG.getByName(AUDIT_LOG_NAME);
    if (Array.from({ length: journalCount(env) }, (_, shard) => journalName(shard)).includes(object))
      return env.JOURNAL.getByName(object);
    const userId = object.startsWith(USER_PREFIX) ? object.slice(USER_PREFIX.length) : "";
    if (identityId.safeParse(userId).success) return env.USER_CONNECTION.getByName(userId);
    throw new ApiError("not_found", "there is no object of this name");
  };
  return found() as Transferable;
}

function onlyInMaintenance(c: Context<AppEnv>): void {
  if (c.var.config.MAINTENANCE !== "on")
    throw new ApiError("conflict", 'set MAINTENANCE = "on" and deploy: while others write, nothing is whole');
}

export function transferRoutes(app: App): void {
  app.openapi(
    defineRoute(
      "admin",
      {
        method: "get",
        path: `${API_PREFIX}/transfer`,
        tags,
        summary: "What an export is made of",
        description: "Only in maintenance. `scripts/transfer.ts` reads it all and writes it all.",
        request: { query: z.object({ cursor: z.string().max(MAX_NAME_CHARACTERS).optional() }) },
        responses: { 200: answer("Some of the objects.", manifest, "TransferManifest") },
      },
      ["conflict"],
    ),
    async (c) => {
      onlyInMaintenance(c);
      const { cursor } = c.req.valid("query");
      const { config } = c.var;
      const users = await directoryOf(c.env).userIds(cursor ?? "", USERS_PER_PAGE);
      const shards = journalCount(c.env);
      return c.json(
        {
          format: TRANSFER_FORMAT as typeof TRANSFER_FORMAT,
          version: "1",
          service_id: config.serviceId,
          key_check: config.fingerprint(KEY_CHECK).digest,
          journal_shards: shards,
          objects: [
            // The Directory last: until it is there, no user is found, and a half import serves nobody.
            ...(cursor === undefined
              ? [AUDIT_LOG_NAME, ...Array.from({ length: shards }, (_, shard) => journalName(shard))]
              : []),
            ...users.map((userId) => USER_PREFIX + userId),
            ...(users.length < USERS_PER_PAGE ? [DIRECTORY_NAME] : []),
          ],
          ...(users.length === USERS_PER_PAGE && { next_cursor: users.at(-1)! }),
        },
        200,
      );
    },
  );

  app.openapi(
    defineRoute(
      "admin",
      {
        method: "get",
        path: `${API_PREFIX}/transfer/{object}/read`,
        tags,
        summary: "Some of an object's rows",
        description: "Only in maintenance. Rows as they are stored: what is wrapped stays wrapped.",
        request: { params: objectParam, query: z.object({ after: z.string().max(4_096).optional() }) },
        responses: { 200: answer("A page; without `next`, the last one.", transferPage, "TransferPage") },
      },
      ["conflict", "not_found"],
    ),
    async (c) => {
      onlyInMaintenance(c);
      const { object } = c.req.valid("param");
      const page = await objectOf(c.env, object).exportPage(c.req.valid("query").after);
      return c.json(unwrap(page), 200);
    },
  );

  app.openapi(
    defineRoute(
      "admin",
      {
        method: "post",
        path: `${API_PREFIX}/transfer/{object}/write`,
        tags,
        summary: "Put some rows into an object",
        description:
          "Only in maintenance, and into a deployment nothing was done in. An object's pages in order; the same page again is taken once.",
        maxBodyBytes: MAX_PAGE_BODY_BYTES,
        request: {
          params: objectParam,
          body: { required: true, content: json(transferPage, "TransferPage") },
        },
        responses: {
          200: answer("The page is stored.", z.object({ rows: z.int(), done: z.boolean() })),
        },
      },
      ["conflict", "not_found"],
    ),
    async (c) => {
      onlyInMaintenance(c);
      const { object } = c.req.valid("param");
      const page = c.req.valid("json");
      const taken = unwrap(await objectOf(c.env, object).importPage(page));
      if (taken.done) {
        // What the object remembers is of before. The call ends with the object, which is no failure.
        await objectOf(c.env, object)
          .restart()
          .catch(() => {});
      }
      return c.json(taken, 200);
    },
  );
}
