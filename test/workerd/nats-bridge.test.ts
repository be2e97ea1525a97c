// The bridge inside the Worker as it is deployed: how it comes back when its object is gone.

import { abortAllDurableObjects, reset, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, expect, inject, test } from "vitest";
import { newEventId } from "../../src/protocol/ids.ts";
import { messageSpaceSubject } from "../../src/protocol/subjects.ts";
import type { OutboundMessage } from "../../src/rpc.ts";

const READY_TIMEOUT_MS = 10_000;
const POLL_MS = 20;
/** As the bridge has it: no more than 30 seconds, or an idle object is evicted. */
const LONGEST_ALARM_MS = 30_000;

const bridge = () => env.NATS_BRIDGE.getByName("shard-0");

afterEach(() => reset());

function message(): OutboundMessage {
  const ref = newEventId();
  return {
    cluster: "messagespace",
    subject: messageSpaceSubject(newEventId(), inject("serviceId"), "auth.request", ref),
    bytes: new TextEncoder().encode("sealed"),
    msgId: `${ref}-1`,
  };
}

async function ready() {
  const deadline = Date.now() + READY_TIMEOUT_MS;
  for (;;) {
    const state = await bridge().state();
    if (state.servicespace.status === "ready" && state.messagespace.status === "ready") return state;
    if (Date.now() > deadline) throw new Error(`the bridge is not ready: ${JSON.stringify(state)}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

const alarmIn = () =>
  runInDurableObject(
    bridge(),
    async (_, { storage }) => ((await storage.getAlarm()) ?? Number.NaN) - Date.now(),
  );

test("the first publish of a cold bridge waits for the session and is stored", async () => {
  expect(await bridge().publish([message(), message()])).toEqual(["stored", "stored"]);
  expect(await ready()).toMatchObject({ shard: 0, pending: 0, unacknowledged: 0, rejected: 0 });
});

test("any call arms an alarm, and each alarm the next", async () => {
  await bridge().ensure();
  expect(await alarmIn()).toBeLessThanOrEqual(LONGEST_ALARM_MS);
  expect(await runDurableObjectAlarm(bridge())).toBe(true);
  expect(await alarmIn()).toBeGreaterThan(0);
});

test("after its object was aborted it publishes again, under its next life's sessions", async () => {
  const before = await ready();
  await abortAllDurableObjects();
  expect(await bridge().publish([message()])).toEqual(["stored"]);
  const after = await ready();
  expect(Date.parse(after.messagespace.since)).toBeGreaterThan(Date.parse(before.messagespace.since));
});

test("a shard that the settings no longer name lets its alarm go", async () => {
  const retired = env.NATS_BRIDGE.getByName("shard-7");
  await retired.ensure();
  expect(await runDurableObjectAlarm(retired)).toBe(true);
  expect(await runDurableObjectAlarm(retired)).toBe(false);
});
