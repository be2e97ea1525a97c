// Brokers that die, freeze or lose their disk, and a bridge that is killed.

import { afterAll, beforeAll, expect, test } from "vitest";
import { ensureMessageSpaceStream } from "../../../scripts/stack/cluster.ts";
import { newEventId } from "../../../src/protocol/ids.ts";
import { messageSpaceSubject } from "../../../src/protocol/subjects.ts";
import type { BridgeState, OutboundMessage } from "../../../src/rpc.ts";
import { type BridgeStack, eventually, startBridgeStack } from "./harness.ts";

const STACK_TIMEOUT_MS = 60_000;
const TEST_TIMEOUT_MS = 60_000;
/** A call that waits for nobody, on a busy machine. */
const AT_ONCE_MS = 1_000;
/** A publish that waits for a session and for an acknowledgement in vain. */
const LONGEST_PUBLISH_MS = 7_500;
/** Two pings unanswered, and the next attempt. */
const NOTICED_MS = 15_000;
/** The longest pause between attempts, the dial and what the session needs. */
const RECOVERED_MS = 10_000;

let stack: BridgeStack;

beforeAll(async () => {
  stack = await startBridgeStack();
  await stack.ready();
}, STACK_TIMEOUT_MS);

afterAll(() => stack?.stop(), STACK_TIMEOUT_MS);

function message(): OutboundMessage {
  const ref = newEventId();
  return {
    cluster: "messagespace",
    subject: messageSpaceSubject(newEventId(), stack.serviceId, "auth.request", ref),
    bytes: new Uint8Array(300),
    msgId: `${ref}-1`,
  };
}

async function timed<T>(promise: Promise<T>): Promise<{ value: T; tookMs: number }> {
  const began = Date.now();
  const value = await promise;
  return { value, tookMs: Date.now() - began };
}

const stateWhere = (what: string, timeoutMs: number, holds: (state: BridgeState) => boolean) =>
  eventually(what, timeoutMs, async () => {
    const state = await stack.state();
    return holds(state) ? state : undefined;
  });

const publishedAgain = () =>
  eventually("a stored message", RECOVERED_MS, async () =>
    (await stack.publish([message()]))[0] === "stored" ? true : undefined,
  );

const received = (userId: string, count: number, timeoutMs: number) =>
  eventually(`${count} messages`, timeoutMs, async () => {
    const texts = (await stack.received(userId)).received.map(({ text }) => text);
    return texts.length >= count ? texts : undefined;
  });

test(
  "while the platform's broker is down a publish fails at once, and works again after",
  async () => {
    await stack.messageSpace.server.kill();
    const down = await stateWhere(
      "the loss is noticed",
      AT_ONCE_MS,
      (s) => s.messagespace.status !== "ready",
    );
    expect(down.servicespace.status).toBe("ready");
    for (let n = 0; n < 3; n++) {
      const { value, tookMs } = await timed(stack.publish([message(), message()]));
      expect(value).toEqual(["failed", "failed"]);
      expect(tookMs).toBeLessThan(AT_ONCE_MS);
    }
    expect((await stack.state()).messagespace.last_error).toBeDefined();
    // What an owner keeps and repeats is seen to wait, from the commit that made it.
    const kept = { ...message(), madeAt: Date.now() - 5_000 };
    expect(await stack.publish([kept])).toEqual(["failed"]);
    const { unsent } = await stack.metrics();
    expect(unsent.messages).toBe(1);
    expect(unsent.oldestMs).toBeGreaterThanOrEqual(5_000);
    expect((await stack.state()).oldest_unsent_seconds).toBeGreaterThanOrEqual(5);
    await stack.messageSpace.server.start();
    await publishedAgain();
    expect(await stack.publish([kept])).toEqual(["stored"]);
    expect((await stack.metrics()).unsent).toEqual({ messages: 0, oldestMs: 0 });
  },
  TEST_TIMEOUT_MS,
);

test(
  "a frozen broker is noticed: publishing fails in time, then at once, and works again after",
  async () => {
    stack.messageSpace.server.pause();
    const first = await timed(stack.publish([message()]));
    expect(first.value).toEqual(["failed"]);
    expect(first.tookMs).toBeLessThan(LONGEST_PUBLISH_MS);
    await stateWhere("the freeze is noticed", NOTICED_MS, (s) => s.messagespace.status !== "ready");
    const second = await timed(stack.publish([message()]));
    expect(second.value).toEqual(["failed"]);
    expect(second.tookMs).toBeLessThan(LONGEST_PUBLISH_MS);
    stack.messageSpace.server.resume();
    await publishedAgain();
  },
  TEST_TIMEOUT_MS,
);

test(
  "a stream that is gone fails a publish in time",
  async () => {
    await stack.messageSpace.server.kill();
    stack.messageSpace.server.wipeStreams();
    await stack.messageSpace.server.start();
    await stack.ready();
    const { value, tookMs } = await timed(stack.publish([message()]));
    expect(value).toEqual(["failed"]);
    expect(tookMs).toBeLessThan(LONGEST_PUBLISH_MS);
    await ensureMessageSpaceStream(stack.messageSpace);
    expect(await stack.publish([message()])).toEqual(["stored"]);
  },
  TEST_TIMEOUT_MS,
);

test(
  "after the service's broker died, what users send arrives again",
  async () => {
    const alice = await stack.user();
    await alice.send("before");
    await stack.serviceSpace.server.kill();
    await stack.serviceSpace.server.start();
    await eventually("a message sent", RECOVERED_MS, () =>
      alice.send("after").then(
        () => true,
        () => undefined,
      ),
    );
    expect(await received(alice.userId, 2, RECOVERED_MS)).toEqual(
      expect.arrayContaining(["before", "after"]),
    );
  },
  TEST_TIMEOUT_MS,
);

test(
  "a cluster that lost its disk gets stream and consumer back",
  async () => {
    const alice = await stack.user();
    await stack.serviceSpace.server.kill();
    stack.serviceSpace.server.wipeStreams();
    await stack.serviceSpace.server.start();
    await stateWhere(
      "the bridge is back",
      RECOVERED_MS,
      (s) => s.servicespace.status === "ready" && s.pending === 0,
    );
    await eventually("a message sent", RECOVERED_MS, () =>
      alice.send("anew").then(
        () => true,
        () => undefined,
      ),
    );
    expect(await received(alice.userId, 1, RECOVERED_MS)).toEqual(["anew"]);
  },
  TEST_TIMEOUT_MS,
);

test(
  "a service's broker that froze and came back delivers what was sent meanwhile",
  async () => {
    const alice = await stack.user();
    stack.serviceSpace.server.pause();
    await stateWhere("the freeze is noticed", NOTICED_MS, (s) => s.servicespace.status !== "ready");
    stack.serviceSpace.server.resume();
    await eventually("a message sent", RECOVERED_MS, () =>
      alice.send("thawed").then(
        () => true,
        () => undefined,
      ),
    );
    expect(await received(alice.userId, 1, NOTICED_MS)).toContain("thawed");
  },
  TEST_TIMEOUT_MS,
);

test(
  "killed in the middle of its work, the bridge comes back by its alarm alone and nothing is lost",
  async () => {
    const alice = await stack.user();
    await stack.behave(alice.userId, { delayMs: 200 });
    const sent = Array.from({ length: 200 }, (_, n) => `message ${n}`);
    await Promise.all(sent.map((text) => alice.send(text)));
    await stack.worker.kill();
    await stack.worker.start();
    // Only the recorder is asked from here on: nobody calls the bridge but its alarm.
    const texts = await eventually("every message", 40_000, async () => {
      const seen = new Set((await stack.received(alice.userId)).received.map(({ text }) => text));
      return seen.size >= sent.length ? seen : undefined;
    });
    expect([...texts].toSorted()).toEqual(sent.toSorted());
  },
  TEST_TIMEOUT_MS,
);
