// What the service offers: offerings and the handler manifest.

import { z } from "@hono/zod-openapi";
import { handlerManifest, offering, offeringContent, offeringId } from "../../protocol/offer.ts";
import { publishableManifest } from "../../requests/kinds/custom.ts";
import type { App } from "../app-env.ts";
import { ApiError, unwrap } from "../errors.ts";
import { forgetManifest } from "../manifest.ts";
import { callerOf } from "../middleware/idempotency.ts";
import { directoryOf } from "../objects.ts";
import { API_PREFIX, defineRoute } from "../route.ts";
import { answer, json } from "../schemas.ts";

const tags = ["Offerings"];
const offeringParam = z.object({ id: offeringId });

export function offeringRoutes(app: App): void {
  app.openapi(
    defineRoute("contracts:read", {
      method: "get",
      path: `${API_PREFIX}/offerings`,
      tags,
      summary: "The published offerings",
      responses: {
        200: answer("Every published offering, by id.", z.object({ offerings: z.array(offering) })),
      },
    }),
    async (c) => c.json({ offerings: await directoryOf(c.env).offerings() }, 200),
  );

  app.openapi(
    defineRoute(
      "contracts:read",
      {
        method: "get",
        path: `${API_PREFIX}/offerings/{id}`,
        tags,
        summary: "One offering",
        request: {
          params: offeringParam,
          query: z.object({
            version: z.coerce
              .number()
              .int()
              .min(1)
              .optional()
              .describe("An earlier version; absent: the published one."),
          }),
        },
        responses: { 200: answer("The offering.", offering, "Offering") },
      },
      ["not_found"],
    ),
    async (c) => {
      const found = await directoryOf(c.env).offering(c.req.valid("param").id, c.req.valid("query").version);
      if (found === undefined) throw new ApiError("not_found", "there is no such offering or version");
      return c.json(found, 200);
    },
  );

  app.openapi(
    defineRoute(
      "admin",
      {
        method: "put",
        path: `${API_PREFIX}/offerings/{id}`,
        tags,
        summary: "Publish an offering, or a new version of it",
        description:
          "Makes a new version unless nothing changed. Existing contracts keep the version they were made on.",
        request: {
          params: offeringParam,
          body: { required: true, content: json(offeringContent.strict(), "OfferingContent") },
        },
        responses: { 200: answer("The version published now.", offering, "Offering") },
      },
      ["conflict"],
    ),
    async (c) =>
      c.json(
        unwrap(
          await directoryOf(c.env).putOffering(c.req.valid("param").id, c.req.valid("json"), callerOf(c)),
        ),
        200,
      ),
  );

  app.openapi(
    defineRoute(
      "admin",
      {
        method: "delete",
        path: `${API_PREFIX}/offerings/{id}`,
        tags,
        summary: "Withdraw an offering",
        description: "It leaves the offer. Contracts made on it stay; open invites for it no longer work.",
        request: { params: offeringParam },
        responses: {
          200: answer("Withdrawn.", z.object({ offering_id: offeringId, status: z.literal("deleted") })),
        },
      },
      ["not_found"],
    ),
    async (c) =>
      c.json(unwrap(await directoryOf(c.env).deleteOffering(c.req.valid("param").id, callerOf(c))), 200),
  );

  app.openapi(
    defineRoute("contracts:read", {
      method: "get",
      path: `${API_PREFIX}/manifest`,
      tags,
      summary: "Capabilities of the service's own, its event handlers and plans",
      responses: { 200: answer("The handler manifest.", handlerManifest, "HandlerManifest") },
    }),
    async (c) => c.json(await directoryOf(c.env).manifest(), 200),
  );

  app.openapi(
    defineRoute("admin", {
      method: "put",
      path: `${API_PREFIX}/manifest`,
      tags,
      summary: "Replace the handler manifest",
      request: { body: { required: true, content: json(publishableManifest, "HandlerManifest") } },
      responses: { 200: answer("The manifest published now.", handlerManifest, "HandlerManifest") },
    }),
    async (c) => {
      const published = unwrap(await directoryOf(c.env).putManifest(c.req.valid("json"), callerOf(c)));
      forgetManifest();
      return c.json(published, 200);
    },
  );
}
