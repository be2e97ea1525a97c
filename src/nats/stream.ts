// The stream of everything users send and its one durable consumer, shared by all shards of the bridge. Each shard
// makes sure of them when its session comes up: a cluster that lost its disk gets them back without anyone's help.

import {
  AckPolicy,
  type ConsumerConfig,
  DeliverPolicy,
  DiscardPolicy,
  type JetStreamManager,
  type NatsConnection,
  NatsError,
  nanos,
  ReplayPolicy,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from "nats.ws";
import { MAX_ENVELOPE_LIFETIME_MS } from "../protocol/limits.ts";
import { fromUserWildcard } from "../protocol/subjects.ts";
import { MAX_MESSAGE_BYTES } from "./limits.ts";

export const FROM_USER_STREAM = "FROM_USER";
export const BRIDGE_CONSUMER = "BRIDGE";

/** Room for a day and more of a bridge that is down; what does not fit is refused to its sender, who keeps it. */
const NEW_STREAM_MAX_BYTES = 512 * 1_024 * 1_024;
/** A publish repeated with the same `Nats-Msg-Id` within this is dropped by the broker. */
const DUPLICATE_WINDOW_MS = 120_000;
/** A message delivered and not acknowledged comes again after this: the bridge that had it is gone. */
export const ACK_WAIT_MS = 10_000;
/** Delivered and not settled, over all shards; messages waiting for a second try count, so it has to be generous. */
export const MAX_ACK_PENDING = 10_000;
/** Pull requests open at once; each shard has one, each lost session may leave one behind until it expires. */
const MAX_WAITING_PULLS = 256;
const UNLIMITED = -1;
const API_TIMEOUT_MS = 3_000;

const NOT_FOUND_CODE = 404;
const MAKE_ATTEMPTS = 3;
const MAKE_PAUSE_MS = 200;

/** What the bridge and PROTOCOL §3 rely on. */
const streamNeeds = (serviceId: string) => ({
  subjects: [fromUserWildcard(serviceId)],
  // A message is gone once it is acknowledged.
  retention: RetentionPolicy.Workqueue,
  // When it is full the sender is told; the oldest is never dropped for the newest.
  discard: DiscardPolicy.New,
  storage: StorageType.File,
  // No envelope lives longer.
  max_age: nanos(MAX_ENVELOPE_LIFETIME_MS),
  max_msg_size: MAX_MESSAGE_BYTES,
  duplicate_window: nanos(DUPLICATE_WINDOW_MS),
  // A stolen credential, or a header a user chose, must not empty the stream.
  deny_delete: true,
  deny_purge: true,
  allow_rollup_hdrs: false,
});

const consumerNeeds = {
  ack_policy: AckPolicy.Explicit,
  ack_wait: nanos(ACK_WAIT_MS),
  max_deliver: UNLIMITED,
  max_ack_pending: MAX_ACK_PENDING,
};

/** Which of `needs` differ, compared as JSON. */
const differing = (found: object, needs: object): string[] =>
  Object.entries(needs)
    .filter(([name, need]) => {
      const has = (found as Record<string, unknown>)[name];
      // The server leaves out what is false.
      return JSON.stringify(has ?? false) !== JSON.stringify(need);
    })
    .map(([name]) => name);

const apiError = (error: unknown) => (error instanceof NatsError ? error.api_error : undefined);

/** The settings of what exists; undefined when it had to be made. */
async function findOrMake<T>(
  info: () => Promise<{ config: T }>,
  add: () => Promise<unknown>,
): Promise<T | undefined> {
  for (let attempt = 1; ; attempt++) {
    try {
      return (await info()).config;
    } catch (error) {
      if (apiError(error)?.code !== NOT_FOUND_CODE) throw error;
    }
    try {
      // Making again what was made with equal settings is a success.
      await add();
      return undefined;
    } catch (error) {
      // Another shard may be at it: with other settings, being another version of us, or with ours, while the
      // server counts the disk space of both. What exists then is looked at; if nothing does, that was no race.
      if (apiError(error) === undefined || attempt >= MAKE_ATTEMPTS) throw error;
      await new Promise((resolve) => setTimeout(resolve, MAKE_PAUSE_MS));
    }
  }
}

/** A stream or consumer that exists with settings we cannot work with and the server does not let us change. */
export class StreamUnusable extends Error {
  readonly code = "stream_unusable";
}

async function update(what: string, names: string[], updated: Promise<unknown>): Promise<void> {
  try {
    await updated;
  } catch (error) {
    // A lost answer or a lost connection is not the server's refusal: the next session tries again.
    if (apiError(error) === undefined) throw error;
    throw new StreamUnusable(
      `${what} differs in ${names.join(", ")} and cannot be changed (${(error as Error).message}): ` +
        "drain it, delete it with an administrator's credentials, and it is made anew",
    );
  }
}

async function ensureStream({ streams }: JetStreamManager, serviceId: string): Promise<void> {
  const needs = streamNeeds(serviceId);
  const found = await findOrMake<StreamConfig>(
    () => streams.info(FROM_USER_STREAM),
    () => streams.add({ name: FROM_USER_STREAM, max_bytes: NEW_STREAM_MAX_BYTES, ...needs }),
  );
  if (found === undefined) return;
  // Size and replicas are the operator's to choose; that there is a bound is ours.
  const changes = found.max_bytes > 0 ? needs : { ...needs, max_bytes: NEW_STREAM_MAX_BYTES };
  const names = differing(found, changes);
  if (names.length > 0) {
    await update(`stream ${FROM_USER_STREAM}`, names, streams.update(FROM_USER_STREAM, changes));
  }
}

async function ensureConsumer({ consumers }: JetStreamManager): Promise<void> {
  const found = await findOrMake<ConsumerConfig>(
    () => consumers.info(FROM_USER_STREAM, BRIDGE_CONSUMER),
    () =>
      consumers.add(FROM_USER_STREAM, {
        ...consumerNeeds,
        durable_name: BRIDGE_CONSUMER,
        deliver_policy: DeliverPolicy.All,
        replay_policy: ReplayPolicy.Instant,
        max_waiting: MAX_WAITING_PULLS,
      }),
  );
  if (found === undefined) return;
  const names = differing(found, consumerNeeds);
  if (names.length > 0) {
    await update(
      `consumer ${BRIDGE_CONSUMER}`,
      names,
      consumers.update(FROM_USER_STREAM, BRIDGE_CONSUMER, consumerNeeds),
    );
  }
}

/**
 * Makes sure of the stream FROM_USER and the consumer BRIDGE. What exists is left alone, unless a setting we rely on
 * differs; several shards may do it at once. Throws StreamUnusable when such a setting cannot be changed.
 */
export async function ensureFromUser(connection: NatsConnection, serviceId: string): Promise<void> {
  // The check would ask for account-wide information, which these credentials may not have.
  const manager = await connection.jetstreamManager({ checkAPI: false, timeout: API_TIMEOUT_MS });
  await ensureStream(manager, serviceId);
  await ensureConsumer(manager);
}

/**
 * What a deployment would change or choke on, for a check beforehand: changes nothing. Empty when stream and consumer
 * are as they must be; `missing` is no problem, the bridge makes them.
 */
export async function inspectFromUser(
  connection: NatsConnection,
  serviceId: string,
): Promise<{ missing: string[]; differing: string[] }> {
  const { streams, consumers } = await connection.jetstreamManager({
    checkAPI: false,
    timeout: API_TIMEOUT_MS,
  });
  const missing: string[] = [];
  const found: string[] = [];
  const look = async (what: string, info: () => Promise<{ config: object }>, needs: object) => {
    try {
      const { config } = await info();
      found.push(...differing(config, needs).map((name) => `${what}: ${name}`));
    } catch (error) {
      if (apiError(error)?.code !== NOT_FOUND_CODE) throw error;
      missing.push(what);
    }
  };
  await look(`stream ${FROM_USER_STREAM}`, () => streams.info(FROM_USER_STREAM), streamNeeds(serviceId));
  if (missing.length === 0) {
    const info = () => consumers.info(FROM_USER_STREAM, BRIDGE_CONSUMER);
    await look(`consumer ${BRIDGE_CONSUMER}`, info, consumerNeeds);
  }
  return { missing, differing: found };
}

/** What waits in the stream, what is delivered and not settled, what of that was delivered more than once. */
export interface Backlog {
  pending: number;
  unacknowledged: number;
  redelivered: number;
}

/** How far the bridge is behind, over all shards. */
export async function backlogOf(connection: NatsConnection, timeoutMs: number): Promise<Backlog> {
  const manager = await connection.jetstreamManager({ checkAPI: false, timeout: timeoutMs });
  const info = await manager.consumers.info(FROM_USER_STREAM, BRIDGE_CONSUMER);
  return {
    pending: info.num_pending,
    unacknowledged: info.num_ack_pending,
    redelivered: info.num_redelivered,
  };
}
