// The Worker's entry: the HTTP app, the minute's wake-up call, and the objects' classes.

import { AuditLog } from "../durable-objects/audit-log/audit-log.ts";
import { Directory } from "../durable-objects/directory/directory.ts";
import { Journal } from "../durable-objects/journal/journal.ts";
import { NatsBridge } from "../durable-objects/nats-bridge/nats-bridge.ts";
import { UserConnection } from "../durable-objects/user-connection/user-connection.ts";
import type { Env } from "./env.ts";
import { app } from "./http/app.ts";
import { directoryOf } from "./http/objects.ts";
import { wakeBridges } from "./nats/shards.ts";
import { WebhookSender } from "./webhooks/sender.ts";

export { AuditLog, Directory, Journal, NatsBridge, UserConnection, WebhookSender };

export default {
  fetch: app.fetch,
  /**
   * Every minute: a bridge lost to a deploy or an eviction comes back without waiting for traffic, and so does what is
   * left to do after VAULT_KEK was changed.
   */
  async scheduled(_controller, env) {
    await Promise.all([
      wakeBridges(env),
      env.VAULT_KEK_PREVIOUS === undefined ? undefined : directoryOf(env).keysState(),
    ]);
  },
} satisfies ExportedHandler<Env>;
