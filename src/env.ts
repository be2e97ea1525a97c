// The Worker's bindings, settings and secrets as the runtime hands them over; config.ts checks what they say.

import type { AuditLog } from "../durable-objects/audit-log/audit-log.ts";
import type { Directory } from "../durable-objects/directory/directory.ts";
import type { Journal } from "../durable-objects/journal/journal.ts";
import type { NatsBridge } from "../durable-objects/nats-bridge/nats-bridge.ts";
import type { UserConnection } from "../durable-objects/user-connection/user-connection.ts";

export interface Env {
  USER_CONNECTION: DurableObjectNamespace<UserConnection>;
  NATS_BRIDGE: DurableObjectNamespace<NatsBridge>;
  DIRECTORY: DurableObjectNamespace<Directory>;
  JOURNAL: DurableObjectNamespace<Journal>;
  AUDIT_LOG: DurableObjectNamespace<AuditLog>;
  /** The published log: checkpoint and tiles. */
  AUDIT_R2: R2Bucket;
  PUBLIC_RATE_LIMIT: RateLimit;
  LOG_RATE_LIMIT: RateLimit;

  ENVIRONMENT: string;
  PUBLIC_URL: string;
  SERVICE_NAME: string;
  SERVICE_TYPE: string;
  /** The domain the service claims; verified by its TXT record. */
  SERVICE_DOMAIN?: string;
  /** Resolvers of DNS over HTTPS (JSON form), URLs separated by commas; of several, two must agree. */
  DOH_RESOLVERS?: string;
  /** Whose law governs what is agreed, as consent receipts name it: `DE`, `US-CA`. */
  SERVICE_JURISDICTION?: string;
  SERVICESPACE_URL: string;
  SERVICESPACE_PUBLIC_ENDPOINT: string;
  SERVICESPACE_USERS_ACCOUNT: string;
  MESSAGESPACE_URL: string;
  BRIDGE_SHARDS: string;
  /** Default 1. May be raised, never lowered. */
  JOURNAL_SHARDS?: string;
  /** Asks that may reach one user in a minute, of all API keys together. Default 120. */
  USER_ASKS_PER_MINUTE?: string;
  /** Calls one API key may make about one user in a minute. Default 600. */
  KEY_CALLS_PER_MINUTE?: string;
  /**
   * Messages taken of one user in a minute. What is over is dropped unanswered: its sender keeps it and sends it
   * again. Default 1200, more than a person's vault has to say.
   */
  USER_MESSAGES_PER_MINUTE?: string;
  /** Witnesses of the audit log, `vkey|url` separated by commas. */
  WITNESSES?: string;
  /** The audit log's name, where it is not to follow from PUBLIC_URL. */
  AUDIT_LOG_ORIGIN?: string;

  /** `on`: nothing is asked, sent or delivered; a deployment can be exported or imported. Default off. */
  MAINTENANCE?: string;
  /** Seconds from one batch of the audit log to the next, while there are leaves. Default 5. */
  AUDIT_BATCH_SECONDS?: string;
  /** Days after which entries may leave the users' chains; absent: never. */
  AUDIT_RETENTION_DAYS?: string;

  /** Where copies of new audit entries are sent, and the `whsec_` secret they are signed with; both or neither. */
  AUDIT_SINK_URL?: string;
  AUDIT_SINK_SECRET?: string;
  /** A bucket for copies of new audit entries; not the published log's. */
  AUDIT_SINK_R2?: R2Bucket;

  SERVICE_SIGNING_KEY: string;
  SERVICE_ENCRYPTION_KEY: string;
  AUDIT_LOG_KEY: string;
  WEBHOOK_SIGNING_KEY: string;
  VAULT_KEK: string;
  /** The KEK before the current one, while values under it remain. */
  VAULT_KEK_PREVIOUS?: string;
  SERVICESPACE_CREDS: string;
  MESSAGESPACE_CREDS: string;
  SERVICESPACE_USERS_SIGNING_SEED: string;
  /** Seed (SO…) of the operator's key that signs the users' account: revokes user JWTs on the cluster. */
  SERVICESPACE_OPERATOR_SIGNING_SEED?: string;
  /** A user of the cluster's system account, with which the account is pushed. */
  SERVICESPACE_SYSTEM_CREDS?: string;
  BOOTSTRAP_API_KEY: string;
}

declare global {
  namespace Cloudflare {
    interface Env extends VaultEnv {}
  }
}
type VaultEnv = Env;
