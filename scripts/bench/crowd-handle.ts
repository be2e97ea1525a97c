// The crowd's process, held from the run: crowd.ts says what it does.

import { join } from "node:path";
import { PROJECT_ROOT } from "../stack/files.ts";
import { makeUserCreds } from "../stack/operator.ts";
import { ProcessGroup } from "../stack/process-group.ts";
import type { Stack } from "../stack/stack.ts";
import type { CrowdApi, CrowdSettings } from "./crowd.ts";

export interface CrowdHandle extends CrowdApi {
  stop(): Promise<void>;
}

/** Every subject: the floor's user in the account that owns the service's streams. */
export const ownerCreds = ({ serviceSpace }: Stack): Promise<string> =>
  makeUserCreds({
    name: "bench-floor",
    accountPublicKey: serviceSpace.material.service_account.public_key,
    issuerSeed: serviceSpace.material.service_account.seed,
    publish: [">"],
    subscribe: [">"],
  });

export const platformCreds = ({ messageSpace }: Stack): Promise<string> =>
  makeUserCreds({
    name: "bench-floor",
    accountPublicKey: messageSpace.material.platform_account.public_key,
    issuerSeed: messageSpace.material.platform_account.seed,
    publish: [">"],
    subscribe: [">"],
  });

async function settingsFor(stack: Stack): Promise<CrowdSettings> {
  const { serviceSpace, messageSpace, serviceId } = stack;
  const { users_account } = serviceSpace.material;
  return {
    serviceId,
    users: {
      url: serviceSpace.server.wsUrl,
      creds: await makeUserCreds({
        name: "bench-crowd",
        accountPublicKey: users_account.public_key,
        issuerSeed: users_account.signing_seed!,
        publish: [`ServiceSpace.${serviceId}.fromUser.>`],
        subscribe: ["_INBOX.>"],
      }),
    },
    messageSpace: { url: messageSpace.server.wsUrl, creds: messageSpace.material.creds.user_vault },
    owner: { url: serviceSpace.server.wsUrl, creds: await ownerCreds(stack) },
  };
}

export async function startCrowd(stack: Stack): Promise<CrowdHandle> {
  const group = new ProcessGroup({
    name: "the crowd",
    command: process.execPath,
    args: [join(PROJECT_ROOT, "scripts", "bench", "crowd.ts")],
    logFile: join(stack.dir, "crowd.log"),
    ipc: true,
  });
  const pending = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  group.child.on("message", (message) => {
    const { id, result, error } = message as { id: number; result?: unknown; error?: string };
    const call = pending.get(id);
    pending.delete(id);
    if (error === undefined) call?.resolve(result);
    else call?.reject(group.failure(`failed: ${error}`));
  });
  void group.exited.then(() => {
    for (const { reject } of pending.values()) reject(group.failure("ended"));
  });
  group.child.send(await settingsFor(stack));
  let next = 0;
  const call = (method: string, ...args: unknown[]) => {
    // What is awaited must keep this process alive.
    group.child.channel?.ref();
    return new Promise((resolve, reject) => {
      const id = next++;
      pending.set(id, { resolve, reject });
      group.child.send({ id, method, args });
    }).finally(() => {
      if (pending.size === 0) group.child.channel?.unref();
    });
  };
  return new Proxy({} as CrowdHandle, {
    get: (_, name: string) => {
      if (name === "then") return undefined;
      if (name === "stop") return () => group.stop();
      return (...args: unknown[]) => call(name, ...args);
    },
  });
}
