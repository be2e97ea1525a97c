// Which combined datastores a user agreed to. Everything else about them comes from the registry.

import { z } from "@hono/zod-openapi";
import { eventId, identityId, timestamp } from "../../protocol/primitives.ts";
import { isApproved } from "../../requests/values.ts";
import type { App } from "../app-env.ts";
import { unwrap } from "../errors.ts";
import { userConnectionOf } from "../objects.ts";
import { API_PREFIX, defineRoute } from "../route.ts";
import { answer, listOf, listQuery } from "../schemas.ts";

const datastore = z.object({
  datastore_id: eventId,
  user_id: identityId,
  target_service_id: identityId,
  shared_data_schema: z.unknown(),
  agreed_at: timestamp,
});

export function collaborationRoutes(app: App): void {
  app.openapi(
    defineRoute("requests:read", {
      method: "get",
      path: `${API_PREFIX}/collaboration/datastores`,
      tags: ["Collaboration"],
      summary: "The combined datastores a user agreed to, newest first",
      request: { query: z.object({ ...listQuery, user_id: identityId }) },
      responses: { 200: answer("A page.", listOf("datastores", datastore)) },
    }),
    async (c) => {
      const { user_id, limit, cursor } = c.req.valid("query");
      const page = unwrap(
        await userConnectionOf(c.env, user_id).requests({
          limit,
          ...(cursor === undefined ? {} : { cursor }),
          kind: "collaboration",
          operations: ["request"],
        }),
      );
      const datastores = page.items
        .filter(({ status }) => isApproved(status))
        .map(({ request_id, request_payload, timestamp }) => {
          const agreed = request_payload as { target_service_id: string; shared_data_schema: unknown };
          return {
            datastore_id: request_id,
            user_id,
            target_service_id: agreed.target_service_id,
            shared_data_schema: agreed.shared_data_schema,
            agreed_at: timestamp,
          };
        });
      return c.json(
        { datastores, ...(page.nextCursor === undefined ? {} : { next_cursor: page.nextCursor }) },
        200,
      );
    },
  );
}
