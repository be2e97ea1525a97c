// Both clusters and the Worker, wired together: what tests, the demo and `npm run dev` run on.

import { rmSync } from "node:fs";
import { join } from "node:path";
import type { Bundle } from "./bundle.ts";
import { type Cluster, startMessageSpace, startServiceSpace } from "./cluster.ts";
import { makePrivateDir, readJsonFile, writePrivateFile } from "./files.ts";
import { completeIdentity, makeIdentity, type ServiceIdentity } from "./identity.ts";
import type { NatsPorts } from "./nats-server.ts";
import type { MessageSpaceMaterial, ServiceSpaceMaterial } from "./operator.ts";
import { ensureTlsFiles, trustAuthority } from "./tls.ts";
import { WorkerProcess } from "./worker.ts";

/** How a stack is started. Only `dir` is needed. */
export interface StackOptions {
  /** Folder of keys, credentials, stream data, storage and logs. What it holds is used again. */
  dir: string;
  /** Chosen freely where left out. */
  ports?: { worker?: number | undefined; serviceSpace?: NatsPorts; messageSpace?: NatsPorts };
  /** Both clusters over wss, with a local authority that this process and the Worker then trust. */
  tls?: boolean;
  /** Settings over the stack's own, e.g. `{ SERVICE_NAME: "Shop" }`; undefined removes one. */
  vars?: Record<string, string | undefined>;
  /** Deletes `dir` first. */
  fresh?: boolean;
  /** A bundle built before; else the sources are bundled (cached until they change). */
  bundle?: Bundle;
  /** Waits until /ready answers 200; default true. */
  waitUntilReady?: boolean;
  /** Milliseconds between calls of scheduled(); default one minute. */
  cronIntervalMs?: number;
  /** Whether the Worker's port leads straight into it (worker.ts). */
  direct?: boolean;
  /** Where a profiler may attach to the Worker (worker.ts). */
  inspectorPort?: number;
}

/** A running stack. */
export interface Stack {
  /** Folder given at the start. */
  dir: string;
  /** The Worker's origin. */
  baseUrl: string;
  adminApiKey: string;
  serviceId: string;
  identity: ServiceIdentity;
  serviceSpace: Cluster<ServiceSpaceMaterial>;
  messageSpace: Cluster<MessageSpaceMaterial>;
  worker: WorkerProcess;
  /** Every setting and secret the Worker was given. */
  bindings: Record<string, string>;
  /** PEM file of the local authority, with `tls`. */
  caFile: string | undefined;
  /** .creds file of the development credential that reads MessageSpace. */
  userVaultCredsFile: string;
  /** Ends the Worker, then both clusters. */
  stop(): Promise<void>;
}

const READY_TIMEOUT_MS = 30_000;
const READY_POLL_MS = 100;
const READY_REQUEST_TIMEOUT_MS = 5_000;

/** Starts everything, or nothing: if one part fails the others are stopped again. */
export async function startStack(options: StackOptions): Promise<Stack> {
  const { dir, ports } = options;
  if (options.fresh) rmSync(dir, { recursive: true, force: true });
  makePrivateDir(dir);
  const identity = loadIdentity(dir);
  const serviceId = identity.service_id;
  const tls = options.tls ? ensureTlsFiles(join(dir, "tls")) : undefined;
  if (tls) trustAuthority(tls.caFile);

  // Stopped in the reverse order of starting, so that the Worker goes first.
  const started: (() => Promise<void>)[] = [];
  const stop = async () => {
    for (const end of started.splice(0).reverse()) await end();
  };
  try {
    const serviceSpace = await startServiceSpace({
      dir: join(dir, "servicespace"),
      serviceId,
      ports: ports?.serviceSpace,
      tls,
    });
    started.push(() => serviceSpace.server.stop());
    const messageSpace = await startMessageSpace({
      dir: join(dir, "messagespace"),
      serviceId,
      ports: ports?.messageSpace,
      tls,
    });
    started.push(() => messageSpace.server.stop());
    const userVaultCredsFile = join(dir, "messagespace", "user-vault.creds");
    writePrivateFile(userVaultCredsFile, messageSpace.material.creds.user_vault);

    const worker = new WorkerProcess({
      dir: join(dir, "worker"),
      port: ports?.worker,
      bindings: {},
      bundle: options.bundle,
      caFile: tls?.caFile,
      cronIntervalMs: options.cronIntervalMs,
      direct: options.direct,
      inspectorPort: options.inspectorPort,
    });
    const bindings = withOverrides(
      workerBindings(identity, serviceSpace, messageSpace, await worker.reservePort()),
      options.vars ?? {},
    );
    worker.setBindings({ ...bindings, ...options.vars });
    await worker.start();
    started.push(() => worker.stop());
    if (options.waitUntilReady ?? true) await waitUntilReady(worker);
    return {
      dir,
      baseUrl: worker.baseUrl,
      adminApiKey: identity.admin_api_key,
      serviceId,
      identity,
      serviceSpace,
      messageSpace,
      worker,
      bindings,
      caFile: tls?.caFile,
      userVaultCredsFile,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Settings of a stack that is measured or shaken: a few people get what in life are the calls of thousands. */
export const UNBRAKED = {
  USER_ASKS_PER_MINUTE: "1000000",
  KEY_CALLS_PER_MINUTE: "1000000",
  USER_MESSAGES_PER_MINUTE: "1000000",
} as const;

/** Every setting and secret of a Worker on these clusters. */
export function workerBindings(
  identity: ServiceIdentity,
  serviceSpace: Cluster<ServiceSpaceMaterial>,
  messageSpace: Cluster<MessageSpaceMaterial>,
  publicUrl: string,
): Record<string, string> {
  return {
    ENVIRONMENT: identity.environment,
    PUBLIC_URL: publicUrl,
    SERVICE_NAME: "Example Service",
    SERVICE_TYPE: "retail",
    SERVICESPACE_URL: serviceSpace.server.wsUrl,
    SERVICESPACE_PUBLIC_ENDPOINT: serviceSpace.server.wsUrl,
    MESSAGESPACE_URL: messageSpace.server.wsUrl,
    SERVICESPACE_USERS_ACCOUNT: serviceSpace.material.users_account.public_key,
    BRIDGE_SHARDS: "1",
    // Who plays with a stack, or tests, waits for no batch longer than needed.
    AUDIT_BATCH_SECONDS: "1",
    ...identity.secrets,
    SERVICESPACE_CREDS: serviceSpace.material.creds.bridge,
    MESSAGESPACE_CREDS: messageSpace.material.creds.service,
    SERVICESPACE_USERS_SIGNING_SEED: required(serviceSpace.material.users_account.signing_seed),
    SERVICESPACE_OPERATOR_SIGNING_SEED: serviceSpace.material.operator.signing_seed,
    SERVICESPACE_SYSTEM_CREDS: serviceSpace.material.creds.system,
  };
}

/** Waits until /ready says 200. The error holds its last answer and the end of the log. */
export async function waitUntilReady(worker: WorkerProcess, timeoutMs = READY_TIMEOUT_MS): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  let last = "no answer";
  while (Date.now() < deadline) {
    if (!worker.running)
      throw new Error(`the Worker ended while starting; log: ${worker.logFile}\n${worker.logTail()}`);
    try {
      const response = await fetch(`${worker.baseUrl}/ready`, {
        // A connection kept from a life of the Worker that was killed would be dead.
        headers: { connection: "close" },
        signal: AbortSignal.timeout(READY_REQUEST_TIMEOUT_MS),
      });
      const body = await response.text();
      if (response.ok) return;
      last = `${response.status} ${body}`;
    } catch (error) {
      last = String(error);
    }
    await new Promise((resolve) => setTimeout(resolve, READY_POLL_MS));
  }
  throw new Error(
    `the Worker was not ready within ${timeoutMs} ms: ${last}; log: ${worker.logFile}\n${worker.logTail()}`,
  );
}

/** The identity kept in the folder, made on the first run. */
function loadIdentity(dir: string): ServiceIdentity {
  const file = join(dir, "identity.json");
  const found = readJsonFile<ServiceIdentity>(file);
  const identity = found ? completeIdentity(found) : makeIdentity("dev");
  if (identity !== found) writePrivateFile(file, JSON.stringify(identity, null, 2));
  return identity;
}

function withOverrides(
  bindings: Record<string, string>,
  overrides: Record<string, string | undefined>,
): Record<string, string> {
  const result = { ...bindings };
  for (const [name, value] of Object.entries(overrides)) {
    if (value === undefined) delete result[name];
    else result[name] = value;
  }
  return result;
}

function required(text: string | undefined): string {
  if (text === undefined) throw new Error("the users' account has no signing key: delete the stack's folder");
  return text;
}
