// Which bridge shard serves whom. Shards share one durable consumer; a user's messages to the platform always
// leave through the same shard.

import type { NatsBridge } from "../../durable-objects/nats-bridge/nats-bridge.ts";
import type { Env } from "../env.ts";
import { fromBase58 } from "../protocol/encoding.ts";

export const shardName = (shard: number): string => `shard-${shard}`;

const shardCount = (env: Env): number => Math.max(1, Number(env.BRIDGE_SHARDS));

export const allBridges = (env: Env): DurableObjectStub<NatsBridge>[] =>
  Array.from({ length: shardCount(env) }, (_, shard) => env.NATS_BRIDGE.getByName(shardName(shard)));

/** The shard a user's outbox publishes through: by the id's first bytes, which are uniform. */
export function bridgeFor(env: Env, userId: string): DurableObjectStub<NatsBridge> {
  const id = fromBase58(userId);
  const shard = id === undefined ? 0 : ((id[0]! << 8) | id[1]!) % shardCount(env);
  return env.NATS_BRIDGE.getByName(shardName(shard));
}

export async function wakeBridges(env: Env): Promise<void> {
  await Promise.allSettled(allBridges(env).map((bridge) => bridge.ensure()));
}
