// Two real clusters and the bridge in a real workerd, all of which a test may stop, freeze and kill.

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type NatsConnection } from "nats.ws";
import { unstable_getMiniflareWorkerOptions, unstable_readConfig } from "wrangler";
import { type Bundle, OFFLINE_ENV } from "../../../scripts/stack/bundle.ts";
import { type Cluster, startMessageSpace, startServiceSpace } from "../../../scripts/stack/cluster.ts";
import { PROJECT_ROOT } from "../../../scripts/stack/files.ts";
import { makeIdentity } from "../../../scripts/stack/identity.ts";
import { connectWithCreds } from "../../../scripts/stack/nats-client.ts";
import {
  type MessageSpaceMaterial,
  makeUserCreds,
  type ServiceSpaceMaterial,
} from "../../../scripts/stack/operator.ts";
import { workerBindings } from "../../../scripts/stack/stack.ts";
import { WorkerProcess } from "../../../scripts/stack/worker.ts";
import { importSigningKey } from "../../../src/crypto/signing.ts";
import { credsAuthenticator, credsText } from "../../../src/nats/creds.ts";
import { decodeSeed, encodeNkey, encodeSeed } from "../../../src/nats/nkey.ts";
import { within } from "../../../src/nats/session.ts";
import { mintUserJwt } from "../../../src/nats/user-jwt.ts";
import { toBase64 } from "../../../src/protocol/encoding.ts";
import { userInboxPrefix, userPermissions } from "../../../src/protocol/subjects.ts";
import type { BridgeMetrics, BridgeState, OutboundMessage, PublishOutcome } from "../../../src/rpc.ts";
import type { Behaviour, RecorderView } from "../../workerd/fixtures/nats-bridge/index.ts";

const FIXTURE = join(PROJECT_ROOT, "test", "workerd", "fixtures", "nats-bridge", "wrangler.toml");
const POLL_MS = 25;

/** Waits until `probe` gives something, and gives that. */
export async function eventually<T>(
  what: string,
  timeoutMs: number,
  probe: () => Promise<T | undefined>,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const found = await probe();
    if (found !== undefined) return found;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** Messages on a subject from now on, taken one by one. `listening`: the server has the subscription. */
export function collect(connection: NatsConnection, subject: string) {
  const subscription = connection.subscribe(subject);
  const messages = subscription[Symbol.asyncIterator]();
  return {
    listening: connection.flush(),
    first: async (timeoutMs = 10_000): Promise<{ subject: string; text: string }> => {
      const { value } = await within(messages.next(), timeoutMs, `a message on ${subject}`);
      return { subject: value.subject, text: value.string() };
    },
  };
}

async function bundleFixture(dir: string): Promise<Bundle> {
  mkdirSync(dir, { recursive: true });
  const child = spawn(
    process.execPath,
    [
      join(PROJECT_ROOT, "node_modules", "wrangler", "bin", "wrangler.js"),
      ...["deploy", "--dry-run", "--config", FIXTURE, "--outdir", dir],
    ],
    { cwd: dir, env: { ...process.env, ...OFFLINE_ENV }, stdio: ["ignore", "pipe", "pipe"] },
  );
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (said += text));
  const code = await new Promise((resolve) => child.once("close", resolve));
  if (code !== 0) throw new Error(`the fixture could not be bundled:\n${said}`);
  const { workerOptions } = unstable_getMiniflareWorkerOptions(unstable_readConfig({ config: FIXTURE }));
  writeFileSync(join(dir, "miniflare.json"), JSON.stringify({ ...workerOptions, bindings: {} }));
  return { dir };
}

/** A user's NATS session on the service's cluster, with permissions as a contract gives them. */
export interface UserSession {
  userId: string;
  connection: NatsConnection;
  /** Publishes as a user vault does: acknowledged by the stream. */
  send(text: string | Uint8Array, eventType?: string): Promise<void>;
}

export interface BridgeStack {
  serviceId: string;
  serviceSpace: Cluster<ServiceSpaceMaterial>;
  messageSpace: Cluster<MessageSpaceMaterial>;
  worker: WorkerProcess;
  publish(batch: OutboundMessage[], shard?: number): Promise<PublishOutcome[]>;
  state(shard?: number): Promise<BridgeState>;
  ensure(shard?: number): Promise<void>;
  metrics(shard?: number): Promise<BridgeMetrics>;
  /** Ends one shard as a crash would; the others live on. */
  kill(shard: number): Promise<void>;
  ready(shard?: number): Promise<BridgeState>;
  behave(userId: string, behaviour: Behaviour): Promise<void>;
  received(userId: string): Promise<RecorderView>;
  user(): Promise<UserSession>;
  /** A session on the platform's cluster that may read all of MessageSpace. */
  platform(): Promise<NatsConnection>;
  /** A session in the account that owns the service's streams, with the permissions given. */
  provider(publish: string[], subscribe: string[]): Promise<NatsConnection>;
  stop(): Promise<void>;
}

/** Starts it all on free ports. `vars` go over the Worker's settings. */
export async function startBridgeStack(vars: Record<string, string> = {}): Promise<BridgeStack> {
  const dir = mkdtempSync(join(tmpdir(), "service-vault-bridge-"));
  const identity = makeIdentity("dev");
  const serviceId = identity.service_id;
  const [serviceSpace, messageSpace, bundle] = await Promise.all([
    startServiceSpace({ dir: join(dir, "servicespace"), serviceId }),
    startMessageSpace({ dir: join(dir, "messagespace"), serviceId }),
    bundleFixture(join(dir, "bundle")),
  ]);
  const bindings = {
    ...workerBindings(identity, serviceSpace, messageSpace, "https://vault.example.com"),
    ...vars,
  };
  const worker = new WorkerProcess({ dir: join(dir, "worker"), bindings, bundle });
  await worker.start();
  const sessions: NatsConnection[] = [];

  const call = async (object: "bridge" | "recorder", name: string, method: string, argument?: unknown) => {
    const response = await fetch(worker.baseUrl, {
      method: "POST",
      headers: { connection: "close" },
      body: JSON.stringify({ object, name, method, argument }),
    });
    const { value, error } = (await response.json()) as { value?: unknown; error?: string };
    if (error !== undefined) throw new Error(error);
    return value;
  };
  const keep = (connection: NatsConnection) => {
    sessions.push(connection);
    return connection;
  };
  const state = async (shard = 0) => (await call("bridge", `shard-${shard}`, "state")) as BridgeState;

  return {
    serviceId,
    serviceSpace,
    messageSpace,
    worker,
    state,
    publish: async (batch, shard = 0) =>
      (await call(
        "bridge",
        `shard-${shard}`,
        "publish",
        batch.map((message) => ({ ...message, bytes: toBase64(message.bytes) })),
      )) as PublishOutcome[],
    ensure: async (shard = 0) => void (await call("bridge", `shard-${shard}`, "ensure")),
    metrics: async (shard = 0) => (await call("bridge", `shard-${shard}`, "metrics")) as BridgeMetrics,
    kill: async (shard) => void (await call("bridge", `shard-${shard}`, "kill")),
    ready: (shard = 0) =>
      eventually("the bridge is ready", 20_000, async () => {
        const now = await state(shard);
        return now.servicespace.status === "ready" && now.messagespace.status === "ready" ? now : undefined;
      }),
    behave: async (userId, behaviour) => void (await call("recorder", userId, "behave", behaviour)),
    received: async (userId) => (await call("recorder", userId, "view")) as RecorderView,
    user: async () => {
      const userId = (await importSigningKey(randomBytes(32))).id;
      const seed = randomBytes(32);
      const now = Math.floor(Date.now() / 1_000);
      const { users_account } = serviceSpace.material;
      const jwt = await mintUserJwt({
        signingKey: await importSigningKey(decodeSeed("account", users_account.signing_seed!)!),
        account: users_account.public_key,
        userNatsKey: encodeNkey("user", (await importSigningKey(seed)).publicKey),
        name: userId,
        permissions: userPermissions(serviceId, userId, "lasting"),
        maxSubscriptions: 20,
        nowSeconds: now,
        expiresAtSeconds: now + 3_600,
      });
      const connection = keep(
        await connect({
          servers: serviceSpace.server.wsUrl,
          authenticator: credsAuthenticator(credsText(jwt, encodeSeed("user", seed))),
          inboxPrefix: userInboxPrefix(serviceId, userId),
          maxReconnectAttempts: -1,
          reconnectTimeWait: 100,
        }),
      );
      const stream = connection.jetstream();
      return {
        userId,
        connection,
        send: async (text, eventType = "events.test") => {
          const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
          await stream.publish(`ServiceSpace.${serviceId}.fromUser.${userId}.${eventType}`, bytes);
        },
      };
    },
    platform: async () =>
      keep(await connectWithCreds(messageSpace.server.wsUrl, messageSpace.material.creds.user_vault)),
    provider: async (publish, subscribe) => {
      const { service_account } = serviceSpace.material;
      const creds = await makeUserCreds({
        name: "provider",
        accountPublicKey: service_account.public_key,
        issuerSeed: service_account.seed,
        publish,
        subscribe,
      });
      return keep(await connectWithCreds(serviceSpace.server.wsUrl, creds));
    },
    stop: async () => {
      for (const session of sessions) await session.close();
      await worker.stop();
      await Promise.all([serviceSpace.server.stop(), messageSpace.server.stop()]);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
