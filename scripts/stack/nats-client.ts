// NATS from scripts and tests: a session from the text of a .creds file, and the streams.

import {
  connect,
  credsAuthenticator,
  DiscardPolicy,
  type JetStreamManager,
  type NatsConnection,
  NatsError,
  nanos,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from "nats.ws";
import { FROM_USER_STREAM, MESSAGESPACE_STREAM } from "./operator.ts";

const CONNECT_TIMEOUT_MS = 5_000;
/** Longest that anything stays on MessageSpace: envelopes expire after 31 days at most (PROTOCOL §4). */
const MESSAGESPACE_MAX_AGE_MS = 31 * 24 * 3_600_000;

/** Opens a session over WebSocket. It does not reconnect: a script or test wants to know. */
export function connectWithCreds(url: string, creds: string, inboxPrefix?: string): Promise<NatsConnection> {
  return connect({
    servers: url,
    authenticator: credsAuthenticator(new TextEncoder().encode(creds)),
    reconnect: false,
    timeout: CONNECT_TIMEOUT_MS,
    ...(inboxPrefix !== undefined && { inboxPrefix }),
  });
}

/** The platform's stream: kept by age, so that a vault that was away gets what it missed. */
export function messageSpaceStreamConfig(): Partial<StreamConfig> & { name: string } {
  return {
    name: MESSAGESPACE_STREAM,
    subjects: ["MessageSpace.>"],
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    max_age: nanos(MESSAGESPACE_MAX_AGE_MS),
    deny_delete: true,
    deny_purge: true,
    allow_rollup_hdrs: false,
  };
}

/** The service's stream: each message is worked off once; when it is full, publishers are told. */
export function fromUserStreamConfig(serviceId: string): Partial<StreamConfig> & { name: string } {
  return {
    name: FROM_USER_STREAM,
    subjects: [`ServiceSpace.${serviceId}.fromUser.>`],
    retention: RetentionPolicy.Workqueue,
    storage: StorageType.File,
    discard: DiscardPolicy.New,
    deny_delete: true,
    deny_purge: true,
    allow_rollup_hdrs: false,
  };
}

/** Makes the stream unless it exists; an existing one is left as it is. */
export async function ensureStream(
  nc: NatsConnection,
  config: Partial<StreamConfig> & { name: string },
): Promise<void> {
  // The check asks for account-wide information that these credentials may not have.
  const manager: JetStreamManager = await nc.jetstreamManager({ checkAPI: false });
  try {
    await manager.streams.info(config.name);
  } catch (error) {
    if (!(error instanceof NatsError) || error.api_error?.code !== NOT_FOUND) throw error;
    await manager.streams.add(config);
  }
}

const NOT_FOUND = 404;
