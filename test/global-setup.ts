// One pair of real clusters for all tests inside workerd, with every setting and secret of a Worker on them.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { startMessageSpace, startServiceSpace } from "../scripts/stack/cluster.ts";
import { makeIdentity } from "../scripts/stack/identity.ts";
import { workerBindings } from "../scripts/stack/stack.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** Every setting and secret of the Worker: already in `env` of the tests. */
    workerBindings: Record<string, string>;
    serviceId: string;
    /** FAULTS=all in the environment: see test/workerd/faults.test.ts. */
    allFaults: boolean;
    /** Text of the first admin key. */
    adminApiKey: string;
    serviceSpace: {
      ws: string;
      tcp: string;
      usersAccount: string;
      usersSigningSeed: string;
      systemCreds: string;
      operatorSigningSeed: string;
    };
    /** `userVaultCreds`: text of the .creds file that may read all of MessageSpace. */
    messageSpace: { ws: string; tcp: string; userVaultCreds: string };
  }
}

/** Where the Worker believes to be reached; nothing listens there. */
const PUBLIC_URL = "https://vault.example.com";

/** Called by the runner before the first test; what it returns is called after the last. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const dir = mkdtempSync(join(tmpdir(), "service-vault-test-"));
  const identity = makeIdentity("dev");
  const serviceId = identity.service_id;
  const serviceSpace = await startServiceSpace({ dir: join(dir, "servicespace"), serviceId });
  const stop = async () => {
    await serviceSpace.server.stop();
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    const messageSpace = await startMessageSpace({ dir: join(dir, "messagespace"), serviceId });
    const { users_account } = serviceSpace.material;
    // Each file has a Directory of its own, and each would keep the users' account as it sees it. So none of them may:
    // revocations are tested on accounts that are made for it, and end to end.
    const {
      SERVICESPACE_OPERATOR_SIGNING_SEED: operatorSigningSeed,
      SERVICESPACE_SYSTEM_CREDS: systemCreds,
      ...bindings
    } = workerBindings(identity, serviceSpace, messageSpace, PUBLIC_URL);
    project.provide("workerBindings", bindings);
    project.provide("serviceId", serviceId);
    project.provide("allFaults", process.env.FAULTS === "all");
    project.provide("adminApiKey", identity.admin_api_key);
    project.provide("serviceSpace", {
      ws: serviceSpace.server.wsUrl,
      tcp: serviceSpace.server.tcpUrl,
      usersAccount: users_account.public_key,
      usersSigningSeed: users_account.signing_seed as string,
      systemCreds: systemCreds!,
      operatorSigningSeed: operatorSigningSeed!,
    });
    project.provide("messageSpace", {
      ws: messageSpace.server.wsUrl,
      tcp: messageSpace.server.tcpUrl,
      userVaultCreds: messageSpace.material.creds.user_vault,
    });
    return async () => {
      await messageSpace.server.stop();
      await stop();
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
