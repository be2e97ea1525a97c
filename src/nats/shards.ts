// Which bridge shard serves whom. Shards share one durable consumer; a user's messages to the platform always
// leave through the same shard.

import type { NatsBridge } from "../../durable-objects/nats-bridge/nats-bridge.ts";
import type { Env } from "../env.ts";
import { shardOf } from "../protocol/ids.ts";

export const shardName = (shard: number): string => `shard-${shard}`;

const shardCount = (env: Env): number => Math.max(1, Number(env.BRIDGE_SHARDS));

export const allBridges = (env: Env): DurableObjectStub<NatsBridge>[] =>
  Array.from({ length: shardCount(env) }, (_, shard) => env.NATS_BRIDGE.getByName(shardName(shard)));

/** The shard a user's outbox publishes through. */
export const bridgeFor = (env: Env, userId: string): DurableObjectStub<NatsBridge> =>
  env.NATS_BRIDGE.getByName(shardName(shardOf(userId, shardCount(env))));

/** For what any shard can do: changing the users' account. */
export const anyBridge = (env: Env): DurableObjectStub<NatsBridge> => env.NATS_BRIDGE.getByName(shardName(0));

export async function wakeBridges(env: Env): Promise<void> {
  await Promise.allSettled(allBridges(env).map((bridge) => bridge.ensure()));
}
