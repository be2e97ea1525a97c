// The service itself: whether it lives, whether it is connected, who it is.

import { z } from "@hono/zod-openapi";
import { allBridges } from "../../nats/shards.ts";
import { offer } from "../../protocol/offer.ts";
import { identityId, publicKey } from "../../protocol/primitives.ts";
import type { BridgeState, SessionState } from "../../rpc.ts";
import type { App } from "../app-env.ts";
import { directoryOf } from "../objects.ts";
import { API_PREFIX, defineRoute } from "../route.ts";
import { answer } from "../schemas.ts";
import { VERSION } from "../version.ts";

/** A shard that does not answer in this time counts as down. */
const SHARD_TIMEOUT_MS = 5_000;

const sessionState = z.object({
  status: z.enum(["connecting", "ready", "closed"]),
  since: z.string(),
  last_error: z.string().optional(),
  credentials_days_left: z.int().optional(),
});
const readiness = z.object({
  status: z.enum(["ready", "not_ready"]),
  shards: z.array(
    z.object({
      shard: z.int(),
      servicespace: sessionState,
      messagespace: sessionState,
      pending: z.int().optional().describe("Messages waiting in the stream."),
      unacknowledged: z.int().optional(),
      redelivered: z.int().optional(),
      rejected: z.int(),
    }),
  ),
});

/** Whatever a shard's state says, or that it does not answer. */
async function stateOf(shard: number, state: Promise<BridgeState>): Promise<BridgeState> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("no answer")), SHARD_TIMEOUT_MS);
  });
  try {
    return await Promise.race([state, late]);
  } catch {
    const down: SessionState = {
      status: "closed",
      since: new Date().toISOString(),
      last_error: "the shard does not answer",
    };
    return { shard, servicespace: down, messagespace: down, rejected: 0 };
  } finally {
    clearTimeout(timer);
  }
}

export function serviceRoutes(app: App): void {
  app.openapi(
    defineRoute("public", {
      method: "get",
      path: "/health",
      tags: ["Service"],
      summary: "Whether the Worker runs",
      responses: { 200: answer("It runs.", z.object({ status: z.literal("ok") })) },
    }),
    (c) => c.json({ status: "ok" as const }, 200),
  );

  app.openapi(
    defineRoute("public", {
      method: "get",
      path: "/ready",
      tags: ["Service"],
      summary: "Whether both broker sessions of every shard are up",
      responses: {
        200: answer("Every session is up.", readiness),
        503: answer("A session is down.", readiness),
      },
    }),
    async (c) => {
      const shards = await Promise.all(
        allBridges(c.env).map((bridge, shard) => stateOf(shard, bridge.state() as Promise<BridgeState>)),
      );
      const ready = shards.every(
        ({ servicespace, messagespace }) =>
          servicespace.status === "ready" && messagespace.status === "ready",
      );
      if (ready) return c.json({ status: "ready" as const, shards }, 200);
      c.header("Retry-After", "5");
      return c.json({ status: "not_ready" as const, shards }, 503);
    },
  );

  app.openapi(
    defineRoute("public", {
      method: "get",
      path: "/.well-known/vettid-service",
      tags: ["Service"],
      summary: "The signed offer, for whoever wants to know this service",
      responses: { 200: answer("The current offer with every offering.", offer, "Offer") },
    }),
    async (c) => {
      c.header("Cache-Control", "public, max-age=300");
      return c.json(await directoryOf(c.env).offer(), 200);
    },
  );

  app.openapi(
    defineRoute("requests:read", {
      method: "get",
      path: `${API_PREFIX}/info`,
      tags: ["Service"],
      summary: "Who this service is",
      responses: {
        200: answer(
          "The service's identity.",
          z.object({
            service_id: identityId,
            service_name: z.string(),
            service_type: z.string(),
            domain: z.string().optional(),
            domain_verified: z.boolean(),
            public_key: publicKey,
            encryption_key: publicKey,
            nats_endpoint: z.string(),
            version: z.string(),
          }),
        ),
      },
    }),
    async (c) => {
      const { config } = c.var;
      const { verified } = await directoryOf(c.env).domain();
      return c.json(
        {
          service_id: config.serviceId,
          service_name: config.SERVICE_NAME,
          service_type: config.SERVICE_TYPE,
          ...(config.SERVICE_DOMAIN === undefined ? {} : { domain: config.SERVICE_DOMAIN }),
          domain_verified: verified,
          public_key: config.signingKey.publicKeyText,
          encryption_key: config.encryptionKey.publicKeyText,
          nats_endpoint: config.SERVICESPACE_PUBLIC_ENDPOINT,
          version: VERSION,
        },
        200,
      );
    },
  );
}
