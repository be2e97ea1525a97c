// The Worker's bindings, settings and secrets as the runtime hands them over; config.ts checks what they say.

import type { Directory } from "../durable-objects/directory/directory.ts";
import type { NatsBridge } from "../durable-objects/nats-bridge/nats-bridge.ts";
import type { UserConnection } from "../durable-objects/user-connection/user-connection.ts";

export interface Env {
  USER_CONNECTION: DurableObjectNamespace<UserConnection>;
  NATS_BRIDGE: DurableObjectNamespace<NatsBridge>;
  DIRECTORY: DurableObjectNamespace<Directory>;
  PUBLIC_RATE_LIMIT: RateLimit;

  ENVIRONMENT: string;
  PUBLIC_URL: string;
  SERVICE_NAME: string;
  SERVICE_TYPE: string;
  SERVICE_DOMAIN?: string;
  SERVICESPACE_URL: string;
  SERVICESPACE_PUBLIC_ENDPOINT: string;
  SERVICESPACE_USERS_ACCOUNT: string;
  MESSAGESPACE_URL: string;
  BRIDGE_SHARDS: string;

  SERVICE_SIGNING_KEY: string;
  SERVICE_ENCRYPTION_KEY: string;
  AUDIT_LOG_KEY: string;
  VAULT_KEK: string;
  /** The KEK before the current one, while values under it remain. */
  VAULT_KEK_PREVIOUS?: string;
  SERVICESPACE_CREDS: string;
  MESSAGESPACE_CREDS: string;
  SERVICESPACE_USERS_SIGNING_SEED: string;
  BOOTSTRAP_API_KEY: string;
}

declare global {
  namespace Cloudflare {
    interface Env extends VaultEnv {}
  }
}
type VaultEnv = Env;
