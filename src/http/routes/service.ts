// The service itself: whether it lives, whether it is connected, who it is.

import { z } from "@hono/zod-openapi";
import { inTime } from "../../../durable-objects/in-time.ts";
import { allBridges } from "../../nats/shards.ts";
import { offer } from "../../protocol/offer.ts";
import { identityId, publicKey, timestamp } from "../../protocol/primitives.ts";
import type { BridgeState, KeysState, SessionState } from "../../rpc.ts";
import type { App } from "../app-env.ts";
import { directoryOf } from "../objects.ts";
import { API_PREFIX, defineRoute } from "../route.ts";
import { answer } from "../schemas.ts";
import { VERSION } from "../version.ts";

/** An object that does not answer in this time counts as down. */
const OBJECT_TIMEOUT_MS = 5_000;

const sessionState = z.object({
  status: z.enum(["connecting", "ready", "closed"]),
  since: z.string(),
  last_error: z.string().optional(),
  credentials_days_left: z.int().optional(),
});
const natsCredentials = z.object({
  mode: z
    .enum(["revocable", "short_lived"])
    .describe(
      "`short_lived`: no operator's key is set, so user JWTs are not revoked on the cluster but run out.",
    ),
  user_jwt_lifetime_seconds: z.int(),
  waiting: z.int().optional().describe("Revoked JWTs that the cluster was not seen to refuse yet."),
  problem: z.string().optional().describe("Why the cluster's list is not known to be right."),
});
const vaultKek = z.object({
  status: z
    .enum(["current", "rewrapping", "rewrapped"])
    .describe("`rewrapped`: nothing is left under VAULT_KEK_PREVIOUS, it may be taken away."),
});
const keysState = z.object({
  nats_credentials: natsCredentials.extend({
    revocations: z.int().optional().describe("JWTs the cluster has to refuse until they have run out."),
    checked_at: timestamp.optional().describe("When the cluster was last asked."),
  }),
  vault_kek: vaultKek.extend({
    key_id: z.string().describe("The id that each value wrapped under VAULT_KEK carries."),
    previous_key_id: z.string().optional(),
    objects_left: z.int().optional().describe("Objects that may still hold values under the previous key."),
    damaged_values: z.int().optional().describe("Values that do not open, and were left as they are."),
  }),
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
      rejected: z.int().describe("Messages refused since this life of the shard began."),
      unsent: z.int().optional().describe("Messages that no broker has taken yet."),
      oldest_unsent_seconds: z.int().optional(),
    }),
  ),
  nats_credentials: natsCredentials.optional(),
  vault_kek: vaultKek.optional(),
});

/** Whatever a shard's state says, or that it does not answer. */
async function stateOf(shard: number, state: Promise<BridgeState>): Promise<BridgeState> {
  const down: SessionState = {
    status: "closed",
    since: new Date().toISOString(),
    last_error: "the shard does not answer",
  };
  return inTime(state, OBJECT_TIMEOUT_MS).catch(() => ({
    shard,
    servicespace: down,
    messagespace: down,
    rejected: 0,
  }));
}

/** How the keys stand, without what is an operator's alone to know. Nothing when the Directory does not answer. */
async function publicKeysState(
  state: Promise<KeysState>,
): Promise<Partial<Pick<z.infer<typeof readiness>, keyof KeysState>>> {
  const keys = await inTime(state, OBJECT_TIMEOUT_MS).catch(() => undefined);
  if (keys === undefined) return {};
  const { revocations: _count, checked_at: _at, ...nats_credentials } = keys.nats_credentials;
  return { nats_credentials, vault_kek: { status: keys.vault_kek.status } };
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
      const [shards, keys] = await Promise.all([
        Promise.all(
          allBridges(c.env).map((bridge, shard) => stateOf(shard, bridge.state() as Promise<BridgeState>)),
        ),
        publicKeysState(directoryOf(c.env).keysState()),
      ]);
      const ready = shards.every(
        ({ servicespace, messagespace }) =>
          servicespace.status === "ready" && messagespace.status === "ready",
      );
      if (ready) return c.json({ status: "ready" as const, shards, ...keys }, 200);
      c.header("Retry-After", "5");
      return c.json({ status: "not_ready" as const, shards, ...keys }, 503);
    },
  );

  app.openapi(
    defineRoute("admin", {
      method: "get",
      path: `${API_PREFIX}/keys`,
      tags: ["Service"],
      summary: "How the deployment's keys stand",
      description:
        "Whether user credentials can be revoked on the cluster and are, and how far a rotation of `VAULT_KEK` has come. No key is shown.",
      responses: { 200: answer("The state of the keys.", keysState, "KeysState") },
    }),
    async (c) => c.json(await directoryOf(c.env).keysState({ count: true }), 200),
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
