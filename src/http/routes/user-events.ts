// What users send of their own accord. Webhooks and feed name it by id; the content is read here, once.

import { z } from "@hono/zod-openapi";
import { contractId, eventId, timestamp } from "../../protocol/primitives.ts";
import type { App } from "../app-env.ts";
import { unwrap } from "../errors.ts";
import { userInPath } from "../objects.ts";
import { API_PREFIX, defineRoute } from "../route.ts";
import { answer, idParam, listOf, listQuery } from "../schemas.ts";

const tags = ["Users"];
const userParam = idParam("user_id", "The user's id.");

const event = z.object({
  event_id: eventId.describe("`user_event_id` of the event that told of it."),
  contract_id: contractId,
  type: z.string().describe("`events.<name>`, by a name the manifest declares, or `call.request`."),
  received_at: timestamp,
  readable_until: timestamp,
});

export function userEventRoutes(app: App): void {
  app.openapi(
    defineRoute(
      "requests:read",
      {
        method: "get",
        path: `${API_PREFIX}/users/{user_id}/events`,
        tags,
        summary: "What a user sent and can still be read, oldest first",
        request: { params: userParam, query: z.object(listQuery) },
        responses: { 200: answer("A page, without contents.", listOf("events", event)) },
      },
      ["not_found"],
    ),
    async (c) => {
      const { limit, cursor } = c.req.valid("query");
      const page = unwrap(
        await userInPath(c.env, c.req.valid("param").user_id).userEvents({
          limit,
          ...(cursor === undefined ? {} : { cursor }),
        }),
      );
      return c.json(
        { events: page.items, ...(page.nextCursor === undefined ? {} : { next_cursor: page.nextCursor }) },
        200,
      );
    },
  );

  app.openapi(
    defineRoute(
      "requests:read",
      {
        method: "get",
        path: `${API_PREFIX}/users/{user_id}/events/{event_id}`,
        tags,
        summary: "One thing a user sent, with its content",
        description:
          "Readable for 30 days, and for 300 seconds from the first reading; each reading is recorded.",
        request: { params: userParam.extend(idParam("event_id", "The event's id.").shape) },
        responses: {
          200: answer("The event.", event.extend({ content: z.unknown().describe("As the user sent it.") })),
        },
      },
      ["not_found"],
    ),
    async (c) => {
      const { user_id, event_id } = c.req.valid("param");
      return c.json(
        unwrap(await userInPath(c.env, user_id).userEvent(event_id, c.var.caller.keyId)) as never,
        200,
      );
    },
  );
}
