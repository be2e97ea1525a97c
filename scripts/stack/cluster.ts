// The two clusters, each one real server here: made on the first run, found again on the next.

import { join } from "node:path";
import { readJsonFile, writePrivateFile } from "./files.ts";
import { connectWithCreds, ensureStream, messageSpaceStreamConfig } from "./nats-client.ts";
import { type NatsPorts, NatsServer } from "./nats-server.ts";
import {
  type MessageSpaceMaterial,
  makeMessageSpaceMaterial,
  makeServiceSpaceMaterial,
  OPERATOR_MATERIAL_VERSION,
  type OperatorMaterial,
  PROVISIONER_INBOX_PREFIX,
  type ServiceSpaceMaterial,
} from "./operator.ts";
import type { TlsFiles } from "./tls.ts";

/** How a cluster is started. */
export interface ClusterOptions {
  /** Folder of the cluster: operator.json with every seed, and the server's files. */
  dir: string;
  serviceId: string;
  ports?: NatsPorts | undefined;
  tls?: TlsFiles | undefined;
}

/** A running cluster: the server and who may do what on it. */
export interface Cluster<Material extends OperatorMaterial> {
  server: NatsServer;
  material: Material;
}

/** Starts the service's own cluster. The stream on it is the bridge's to make. */
export async function startServiceSpace(options: ClusterOptions): Promise<Cluster<ServiceSpaceMaterial>> {
  const material = await loadMaterial(options, makeServiceSpaceMaterial);
  const server = new NatsServer({
    name: "ServiceSpace",
    operator: material,
    accounts: [material.service_account, material.users_account],
    ...serverOptions(options),
  });
  await server.start();
  return { server, material };
}

/** Starts a development copy of the platform's cluster, and makes its stream. */
export async function startMessageSpace(options: ClusterOptions): Promise<Cluster<MessageSpaceMaterial>> {
  const material = await loadMaterial(options, makeMessageSpaceMaterial);
  const server = new NatsServer({
    name: "MessageSpace",
    operator: material,
    accounts: [material.platform_account, material.services_account],
    ...serverOptions(options),
  });
  await server.start();
  try {
    await ensureMessageSpaceStream({ server, material });
  } catch (error) {
    await server.stop();
    throw error;
  }
  return { server, material };
}

/** Makes the MESSAGESPACE stream unless it is there; also wanted after its data was wiped. */
export async function ensureMessageSpaceStream(cluster: Cluster<MessageSpaceMaterial>): Promise<void> {
  const { server, material } = cluster;
  const nc = await connectWithCreds(server.wsUrl, material.creds.provisioner, PROVISIONER_INBOX_PREFIX);
  try {
    await ensureStream(nc, messageSpaceStreamConfig());
  } finally {
    await nc.close();
  }
}

function serverOptions({ dir, ports, tls }: ClusterOptions) {
  return { dir, ports, tls };
}

async function loadMaterial<Material extends OperatorMaterial>(
  { dir, serviceId }: ClusterOptions,
  make: (serviceId: string) => Promise<Material>,
): Promise<Material> {
  const file = join(dir, "operator.json");
  const found = readJsonFile<Material>(file);
  if (!found) {
    const made = await make(serviceId);
    writePrivateFile(file, JSON.stringify(made, null, 2));
    return made;
  }
  if (found.version !== OPERATOR_MATERIAL_VERSION || found.service_id !== serviceId) {
    throw new Error(
      `${file} was made by another version of this project or for another service: delete ${dir} to have it made anew`,
    );
  }
  return found;
}
