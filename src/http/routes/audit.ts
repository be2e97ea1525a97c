// The audit chains: a user's, or the service's own.

import { z } from "@hono/zod-openapi";
import { identityId } from "../../protocol/primitives.ts";
import type { App } from "../app-env.ts";
import { unwrap } from "../errors.ts";
import { directoryOf, userConnectionOf } from "../objects.ts";
import { API_PREFIX, defineRoute } from "../route.ts";
import { answer, auditEntryView, listOf, listQuery } from "../schemas.ts";

const MAX_EVENT_ID_CHARACTERS = 96;
const MAX_OPERATION_CHARACTERS = 64;

export function auditRoutes(app: App): void {
  app.openapi(
    defineRoute("audit:read", {
      method: "get",
      path: `${API_PREFIX}/audit`,
      tags: ["Audit"],
      summary: "Entries of an audit chain, in order",
      description: "Each entry names the hash of the one before it and is signed by the service.",
      request: {
        query: z.object({
          limit: listQuery.limit,
          user_id: identityId.optional().describe("Whose chain; absent: the service's own."),
          after: z
            .string()
            .max(MAX_EVENT_ID_CHARACTERS)
            .optional()
            .describe("`event_id` of the last entry already known."),
          cursor: z.string().max(MAX_EVENT_ID_CHARACTERS).optional().describe("The same as `after`."),
          operation: z.string().max(MAX_OPERATION_CHARACTERS).optional(),
        }),
      },
      responses: { 200: answer("A page of entries.", listOf("entries", auditEntryView)) },
    }),
    async (c) => {
      const { user_id, after, cursor, operation, limit } = c.req.valid("query");
      const from = after ?? cursor;
      const chain = user_id === undefined ? directoryOf(c.env) : userConnectionOf(c.env, user_id);
      const page = unwrap(
        await chain.audit({
          limit,
          ...(from === undefined ? {} : { after: from }),
          ...(operation === undefined ? {} : { operation }),
        }),
      );
      return c.json(
        {
          entries: page.items,
          ...(page.nextCursor === undefined ? {} : { next_cursor: page.nextCursor }),
        },
        200,
      );
    },
  );
}
