// How others find and recognise the service: the domain that names it, and the registries that attest to it.

import { z } from "@hono/zod-openapi";
import { attestation } from "../../protocol/offer.ts";
import { publicKey, timestamp } from "../../protocol/primitives.ts";
import { MAX_TARGET_CHARACTERS } from "../../webhooks/target.ts";
import type { App } from "../app-env.ts";
import { unwrap } from "../errors.ts";
import { callerOf } from "../middleware/idempotency.ts";
import { directoryOf } from "../objects.ts";
import { API_PREFIX, defineRoute } from "../route.ts";
import { answer, idParam, json } from "../schemas.ts";

const tags = ["Discovery"];

const domainView = z.object({
  domain: z.string().optional(),
  status: z
    .enum(["not_configured", "unchecked", "verified", "unproven", "lapsed"])
    .describe(
      "`unchecked`: nobody could tell yet. `unproven`: the record is not there. `lapsed`: it was there once. The offer names the domain while it is `unchecked` or `verified`.",
    ),
  verified: z.boolean(),
  record: z
    .object({ type: z.literal("TXT"), name: z.string(), value: z.string() })
    .optional()
    .describe("What to publish in the domain's DNS."),
  verified_at: timestamp.optional(),
  confirmed_at: timestamp.optional().describe("When the record was last seen."),
  lapsed_at: timestamp.optional(),
  last_check: z
    .object({
      at: timestamp,
      outcome: z
        .enum(["verified", "no_record", "wrong_record", "unresolved"])
        .describe("`unresolved`: too few resolvers answered, or they do not agree."),
      lookups: z.array(
        z.object({
          resolver: z.string(),
          outcome: z.enum(["verified", "no_record", "wrong_record", "failed"]),
          detail: z.string().optional(),
        }),
      ),
    })
    .optional(),
  next_check_at: timestamp.optional(),
});

const registryView = z.object({
  registry_id: z.string(),
  url: z.string(),
  registry: z.string().describe("Its name: the host."),
  status: z
    .enum(["pending", "attested", "refused", "failing", "expired"])
    .describe(
      "`pending`: it has yet to look. `refused`: it says no, and its earlier word has left the offer. `failing`: it is away; its earlier word holds until it expires.",
    ),
  registry_key: publicKey
    .optional()
    .describe("Its key as first heard, or as given; another is not believed."),
  attestation: attestation.optional().describe("What new offers carry."),
  detail: z.string().optional(),
  created_at: timestamp,
  asked_at: timestamp.optional(),
  next_ask_at: timestamp,
});

export function discoveryRoutes(app: App): void {
  app.openapi(
    defineRoute("contracts:read", {
      method: "get",
      path: `${API_PREFIX}/domain`,
      tags,
      summary: "The domain the service claims, and whether its DNS says so",
      responses: { 200: answer("The domain as it was last looked at.", domainView, "Domain") },
    }),
    async (c) => c.json(await directoryOf(c.env).domain(), 200),
  );

  app.openapi(
    defineRoute(
      "admin",
      {
        method: "post",
        path: `${API_PREFIX}/domain/verify`,
        tags,
        summary: "Look at the domain's TXT record now",
        description:
          "Asks every configured resolver over HTTPS; where there are several, two must say the same. From then on the record is looked at each day, and a change is told as `domain.verified` or `domain.lapsed`. Answers 200 also when the record is not there: see `status` and `last_check`.",
        responses: { 200: answer("What was found.", domainView, "Domain") },
      },
      ["conflict"],
    ),
    async (c) => c.json(unwrap(await directoryOf(c.env).verifyDomain(callerOf(c))), 200),
  );

  app.openapi(
    defineRoute("contracts:read", {
      method: "get",
      path: `${API_PREFIX}/registries`,
      tags,
      summary: "The registries the service is registered with",
      responses: {
        200: answer("Every registry, oldest first.", z.object({ registries: z.array(registryView) })),
      },
    }),
    async (c) => c.json({ registries: await directoryOf(c.env).registries() }, 200),
  );

  app.openapi(
    defineRoute(
      "admin",
      {
        method: "post",
        path: `${API_PREFIX}/registries`,
        tags,
        summary: "Register the service with a registry",
        description:
          "Signs a registration and sends it. What the registry attests is verified, carried in new offers until it expires, and renewed in time. A registry that is away or has yet to look is asked again each hour; the same call asks at once.",
        request: {
          body: {
            required: true,
            content: json(
              z.strictObject({
                url: z
                  .string()
                  .min(1)
                  .max(MAX_TARGET_CHARACTERS)
                  .describe("The registry's origin, as https://registry.example."),
                registry_key: publicKey
                  .optional()
                  .describe(
                    "Its Ed25519 key, when you know it from elsewhere; absent: the key it shows first.",
                  ),
              }),
            ),
          },
        },
        responses: { 201: answer("The registry, and what it said.", registryView, "Registry") },
      },
      ["conflict"],
    ),
    async (c) => {
      const { url, registry_key } = c.req.valid("json");
      const wanted = { url, ...(registry_key === undefined ? {} : { registryKey: registry_key }) };
      return c.json(unwrap(await directoryOf(c.env).addRegistry(wanted, callerOf(c))), 201);
    },
  );

  app.openapi(
    defineRoute(
      "admin",
      {
        method: "delete",
        path: `${API_PREFIX}/registries/{id}`,
        tags,
        summary: "Leave a registry",
        description:
          "What it attested leaves new offers at once. The registry is not told: its own entry ends when it is not renewed.",
        request: { params: idParam("id", "The registry's id.") },
        responses: {
          200: answer("Deleted.", z.object({ registry_id: z.string(), status: z.literal("deleted") })),
        },
      },
      ["not_found"],
    ),
    async (c) =>
      c.json(unwrap(await directoryOf(c.env).deleteRegistry(c.req.valid("param").id, callerOf(c))), 200),
  );
}
