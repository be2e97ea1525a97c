// Invites: links by which a person's vault connects.

import { z } from "@hono/zod-openapi";
import { offeringId } from "../../protocol/offer.ts";
import { eventId, timestamp } from "../../protocol/primitives.ts";
import type { App } from "../app-env.ts";
import { unwrap } from "../errors.ts";
import { inviteLinks, qrDataUri } from "../links.ts";
import { callerOf } from "../middleware/idempotency.ts";
import { directoryOf } from "../objects.ts";
import { API_PREFIX, defineRoute } from "../route.ts";
import { answer, idParam, json, listOf, listQuery, metadata } from "../schemas.ts";

const tags = ["Contracts"];
const MAX_INVITE_USES = 1_000_000;
const MIN_INVITE_SECONDS = 60;
const MAX_INVITE_SECONDS = 365 * 24 * 3_600;
const DEFAULT_INVITE_SECONDS = 86_400;

const inviteView = z.object({
  invite_id: eventId,
  offering_id: offeringId.optional(),
  status: z.enum(["open", "used_up", "expired", "deleted"]),
  uses: z.int(),
  max_uses: z.int(),
  match_code_required: z.boolean(),
  wrong_match_codes: z.int(),
  created_at: timestamp,
  created_by: z.string().describe("The id of the API key that made it."),
  expires_at: timestamp,
  metadata: z.unknown().optional(),
});

export function inviteRoutes(app: App): void {
  app.openapi(
    defineRoute(
      "contracts:write",
      {
        method: "post",
        path: `${API_PREFIX}/contracts/invite`,
        tags,
        summary: "Invite someone to connect",
        description:
          "With a match code, tell it to the person on another way than the link. It may be typed wrong once (an invite of many uses takes up to ten wrong codes in all), then the invite is closed.",
        request: {
          body: {
            required: false,
            content: json(
              z.strictObject({
                offering_id: offeringId.optional().describe("The one offering; absent: all."),
                max_uses: z.int().min(1).max(MAX_INVITE_USES).default(1),
                expires_in_seconds: z
                  .int()
                  .min(MIN_INVITE_SECONDS)
                  .max(MAX_INVITE_SECONDS)
                  .default(DEFAULT_INVITE_SECONDS),
                match_code: z
                  .boolean()
                  .optional()
                  .describe("Whether the person must type a code; absent: when the offering asks for one."),
                metadata: metadata
                  .optional()
                  .describe("Yours: listed with the invite, never shown to the person."),
              }),
            ),
          },
        },
        responses: {
          201: answer(
            "The invite; its code and match code are shown this once.",
            z.object({
              invite_id: eventId,
              invite_code: eventId,
              invite_url: z.string(),
              deep_link: z.string(),
              qr_code: z.string().describe("The invite's URL as an image: a data URI."),
              match_code: z.string().optional().describe("To be told to the person."),
              expires_at: timestamp,
              max_uses: z.int(),
              offering_id: offeringId.optional(),
            }),
            "Invite",
          ),
        },
      },
      ["not_found", "conflict"],
    ),
    async (c) => {
      const body = c.req.valid("json") ?? {};
      const created = unwrap(
        await directoryOf(c.env).createInvite(
          {
            ...(body.offering_id === undefined ? {} : { offeringId: body.offering_id }),
            maxUses: body.max_uses ?? 1,
            expiresInSeconds: body.expires_in_seconds ?? DEFAULT_INVITE_SECONDS,
            ...(body.match_code === undefined ? {} : { matchCode: body.match_code }),
            ...(body.metadata === undefined ? {} : { metadata: body.metadata }),
          },
          callerOf(c),
        ),
      );
      const { config } = c.var;
      const links = inviteLinks(config.PUBLIC_URL, created.invite_code, config.serviceId);
      return c.json(
        {
          ...created,
          invite_url: links.inviteUrl,
          deep_link: links.deepLink,
          qr_code: qrDataUri(links.inviteUrl),
        },
        201,
      );
    },
  );

  app.openapi(
    defineRoute("contracts:read", {
      method: "get",
      path: `${API_PREFIX}/contracts/invites`,
      tags,
      summary: "Invites, newest first",
      request: { query: z.object(listQuery) },
      responses: { 200: answer("A page of invites, without their codes.", listOf("invites", inviteView)) },
    }),
    async (c) => {
      const { items, nextCursor } = unwrap(await directoryOf(c.env).invites(c.req.valid("query")));
      return c.json(
        { invites: items, ...(nextCursor === undefined ? {} : { next_cursor: nextCursor }) },
        200,
      );
    },
  );

  app.openapi(
    defineRoute(
      "contracts:write",
      {
        method: "delete",
        path: `${API_PREFIX}/contracts/invites/{id}`,
        tags,
        summary: "Withdraw an invite",
        request: { params: idParam("id", "The invite's id.") },
        responses: {
          200: answer("Withdrawn.", z.object({ invite_id: eventId, status: z.literal("deleted") })),
        },
      },
      ["not_found"],
    ),
    async (c) =>
      c.json(unwrap(await directoryOf(c.env).deleteInvite(c.req.valid("param").id, callerOf(c))), 200),
  );
}
