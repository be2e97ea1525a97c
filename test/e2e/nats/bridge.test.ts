import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MAX_IN_FLIGHT_MESSAGES } from "../../../src/nats/publish.ts";
import { newEventId } from "../../../src/protocol/ids.ts";
import { MAX_ENVELOPE_BYTES } from "../../../src/protocol/limits.ts";
import { internalSubject, messageSpaceSubject, toUserSubject } from "../../../src/protocol/subjects.ts";
import type { OutboundMessage } from "../../../src/rpc.ts";
import type { RecorderView } from "../../workerd/fixtures/nats-bridge/index.ts";
import { type BridgeStack, collect, eventually, startBridgeStack } from "./harness.ts";

const STACK_TIMEOUT_MS = 60_000;
const TEST_TIMEOUT_MS = 30_000;
const SOON_MS = 10_000;
/** What a killed shard had taken comes again after the stream's ack_wait of 10 s. */
const LONG_MS = 25_000;
const SHARDS = [0, 1, 2];

let stack: BridgeStack;

beforeAll(async () => {
  stack = await startBridgeStack({ BRIDGE_SHARDS: "3" });
  await stack.ready();
}, STACK_TIMEOUT_MS);

afterAll(() => stack?.stop(), STACK_TIMEOUT_MS);

const utf8 = (text: string) => new TextEncoder().encode(text);
const numbers = (count: number) => Array.from({ length: count }, (_, n) => n);

/** Messages to one person on the platform's cluster, each with an id of its own. */
function toPlatform(space: string, count: number): OutboundMessage[] {
  return numbers(count).map((n) => {
    const ref = newEventId();
    return {
      cluster: "messagespace",
      subject: messageSpaceSubject(space, stack.serviceId, "auth.request", ref),
      bytes: utf8(`message ${n}`),
      msgId: `${ref}-1`,
    };
  });
}

/** What the platform's stream holds for a person, in order. */
async function storedFor(space: string): Promise<string[]> {
  const platform = await stack.platform();
  const manager = await platform.jetstreamManager({ checkAPI: false });
  const consumer = await manager.consumers.add("MESSAGESPACE", {
    filter_subject: `MessageSpace.${space}.>`,
    ack_policy: "none" as never,
    name: newEventId(),
    inactive_threshold: 5e9,
  });
  const held = consumer.num_pending;
  if (held === 0) return [];
  const found: string[] = [];
  const messages = await platform
    .jetstream()
    .consumers.getPullConsumerFor(consumer)
    .fetch({ max_messages: held, expires: 5_000 });
  for await (const message of messages) found.push(message.string());
  return found;
}

const texts = (view: RecorderView) => view.received.map(({ text }) => text);

/** What the user's object wrote down, once it is at least this many messages. */
const received = (userId: string, count: number, timeoutMs = SOON_MS) =>
  eventually(`${count} messages`, timeoutMs, async () => {
    const view = await stack.received(userId);
    return view.received.length >= count ? view : undefined;
  });

/** Messages a shard has had its users' objects take in. */
const takenIn = async (shard: number): Promise<number> =>
  (await stack.metrics(shard)).counted.counters
    .filter(({ family, labels }) => family === "vettid_received_total" && labels.outcome === "done")
    .reduce((sum, { value }) => sum + value, 0);

/** Once nothing waits in the stream and nothing is unacknowledged. */
const drained = () =>
  eventually("an empty stream", LONG_MS, async () => {
    const { pending, unacknowledged } = await stack.state();
    return pending === 0 && unacknowledged === 0 ? true : undefined;
  });

describe("publishing", { timeout: TEST_TIMEOUT_MS }, () => {
  test("a batch of 500 is stored by the platform's stream, in order", async () => {
    const space = newEventId();
    const outcomes = await stack.publish(toPlatform(space, 500));
    expect(outcomes).toEqual(new Array(500).fill("stored"));
    expect(await storedFor(space)).toEqual(numbers(500).map((n) => `message ${n}`));
  });

  test("a repeat under the same message id is stored, and there once", async () => {
    const space = newEventId();
    const batch = toPlatform(space, 1);
    expect(await stack.publish(batch)).toEqual(["stored"]);
    expect(await stack.publish(batch)).toEqual(["stored"]);
    expect(await storedFor(space)).toHaveLength(1);
  });

  test("without a message id a message reaches whoever listens, on either cluster", async () => {
    const alice = await stack.user();
    const space = newEventId();
    const answer = toUserSubject(stack.serviceId, alice.userId, "contract.rejected", newEventId());
    const receipt = messageSpaceSubject(space, stack.serviceId, "receipt", newEventId());
    const atAlice = collect(alice.connection, `ServiceSpace.${stack.serviceId}.toUser.${alice.userId}.>`);
    const atPlatform = collect(await stack.platform(), `MessageSpace.${space}.>`);
    await Promise.all([atAlice.listening, atPlatform.listening]);
    const outcomes = await stack.publish([
      { cluster: "servicespace", subject: answer, bytes: utf8("no") },
      { cluster: "messagespace", subject: receipt, bytes: utf8("got it") },
    ]);
    expect(outcomes).toEqual(["stored", "stored"]);
    expect(await atAlice.first()).toEqual({ subject: answer, text: "no" });
    expect(await atPlatform.first()).toEqual({ subject: receipt, text: "got it" });
  });

  test("what one session may have in flight is bounded: the rest fails at once", async () => {
    const over = 100;
    const outcomes = await stack.publish(toPlatform(newEventId(), MAX_IN_FLIGHT_MESSAGES + over));
    expect(outcomes.slice(MAX_IN_FLIGHT_MESSAGES)).toEqual(new Array(over).fill("failed"));
    expect(outcomes[0]).toBe("stored");
    expect(await stack.publish(toPlatform(newEventId(), 1))).toEqual(["stored"]);
  });

  test("a subject that would be a command to the broker is refused, the others of the batch are stored", async () => {
    const space = newEventId();
    const [first, bad, last] = toPlatform(space, 3);
    bad!.subject = `MessageSpace.${space}.fromService.${stack.serviceId}.x 0\r\n\r\nPUB MessageSpace.${space}.injected`;
    expect(await stack.publish([first!, bad!, last!])).toEqual(["stored", "failed", "stored"]);
    expect(await storedFor(space)).toEqual(["message 0", "message 2"]);
  });

  test("what the credentials do not allow fails, and the state says why", async () => {
    const [message] = toPlatform(newEventId(), 1);
    message!.subject = `MessageSpace.${newEventId()}.fromService.someone_else.auth.request`;
    // Each has its own word from the broker, in whatever order the words come.
    const [before, after] = toPlatform(newEventId(), 2);
    const outcomes = await stack.publish([before!, message!, after!]);
    expect(outcomes).toEqual(["stored", "failed", "stored"]);
    const { messagespace } = await stack.state();
    expect(messagespace).toMatchObject({
      status: "ready",
      last_error: expect.stringContaining("someone_else"),
    });
  });
});

describe("what users send", { timeout: TEST_TIMEOUT_MS }, () => {
  test("arrives once, in order for each user, many in one call", async () => {
    const users = await Promise.all(numbers(8).map(() => stack.user()));
    const sent = numbers(100).map((n) => `message ${n}`);
    for (const { userId } of users) await stack.behave(userId, { delayMs: 20 });
    await Promise.all(
      users.map(async (user) => {
        for (const text of sent) await user.send(text);
      }),
    );
    for (const { userId } of users) {
      const view = await received(userId, sent.length);
      expect(texts(view)).toEqual(sent);
      expect(view.calls).toBeLessThan(sent.length / 2);
      expect(view.concurrency).toBe(1);
    }
    await drained();
  });

  test("three shards share the work, and each message is handled once", async () => {
    await Promise.all(SHARDS.map((shard) => stack.ready(shard)));
    const before = await Promise.all(SHARDS.map(takenIn));
    const users = await Promise.all(numbers(4).map(() => stack.user()));
    const sent = numbers(200).map((n) => `message ${n}`);
    await Promise.all(users.flatMap((user) => sent.map((text) => user.send(text))));
    for (const { userId } of users) {
      const view = await received(userId, sent.length);
      expect(texts(view).toSorted()).toEqual(sent.toSorted());
    }
    await drained();
    const after = await Promise.all(SHARDS.map(takenIn));
    const shares = after.map((count, shard) => count - before[shard]!);
    expect(shares.reduce((sum, count) => sum + count)).toBe(users.length * sent.length);
    for (const share of shares) expect(share).toBeGreaterThan(0);
  });

  test("when one shard of three is killed in the middle of it, the others take over and nothing is missing", async () => {
    await Promise.all(SHARDS.map((shard) => stack.ready(shard)));
    const users = await Promise.all(numbers(6).map(() => stack.user()));
    for (const { userId } of users) await stack.behave(userId, { delayMs: 50 });
    const sent = numbers(100).map((n) => `message ${n}`);
    await Promise.all(users.flatMap((user) => sent.map((text) => user.send(text))));
    await stack.kill(1);
    for (const { userId } of users) {
      const view = await eventually("every message", LONG_MS, async () => {
        const now = await stack.received(userId);
        return new Set(texts(now)).size >= sent.length ? now : undefined;
      });
      // What it had taken and not acknowledged came again.
      expect([...new Set(texts(view))].toSorted()).toEqual(sent.toSorted());
    }
    // What the objects took from it and it could not acknowledge any more comes again as well.
    await drained();
    const { startedAt } = await stack.metrics(1);
    expect(startedAt).toBeGreaterThan((await stack.metrics(0)).startedAt);
    expect(await stack.publish(toPlatform(newEventId(), 1), 1)).toEqual(["stored"]);
  });

  test("comes again when the object throws", async () => {
    const alice = await stack.user();
    await stack.behave(alice.userId, { throwOn: { text: "first", times: 2 } });
    await alice.send("first");
    const view = await received(alice.userId, 1);
    expect(texts(view)).toEqual(["first"]);
    expect(view.calls).toBe(3);
    await drained();
  });

  test("comes again when the object asks for it; what the object took of the same call does not", async () => {
    const alice = await stack.user();
    await stack.behave(alice.userId, { retryOn: { text: "second", times: 1 }, delayMs: 50 });
    await Promise.all(["zeroth", "first", "second", "third"].map((text) => alice.send(text)));
    const view = await received(alice.userId, 4);
    expect(texts(view).slice(0, 3).toSorted()).toEqual(["first", "third", "zeroth"]);
    expect(texts(view).slice(3)).toEqual(["second"]);
    await drained();
  });

  test("a message that makes its object throw for ever blocks neither its user's others nor anyone else's", async () => {
    const [alice, bob] = [await stack.user(), await stack.user()];
    const forever = Number.MAX_SAFE_INTEGER;
    await stack.behave(alice.userId, { throwOn: { text: "poison", times: forever }, delayMs: 50 });
    await Promise.all(["before", "poison", "after"].map((text) => alice.send(text)));
    await Promise.all(numbers(50).map((n) => bob.send(`message ${n}`)));
    expect((await received(bob.userId, 50)).received).toHaveLength(50);
    expect(texts(await received(alice.userId, 2)).toSorted()).toEqual(["after", "before"]);
    await eventually("the poison waits for its next try", SOON_MS, async () =>
      (await stack.state()).unacknowledged === 1 ? true : undefined,
    );
    await stack.behave(alice.userId, {});
    expect(texts(await received(alice.userId, 3))).toContain("poison");
    await drained();
  });

  test("large messages are taken as memory allows, and all of them", async () => {
    const users = await Promise.all(numbers(4).map(() => stack.user()));
    const text = `${"x".repeat(MAX_ENVELOPE_BYTES - 10)}`;
    await Promise.all(users.map(({ userId }) => stack.behave(userId, { delayMs: 100 })));
    for (const n of numbers(12)) await Promise.all(users.map((user) => user.send(`${text}${n}`)));
    for (const { userId } of users) {
      const view = await received(userId, 12, 20_000);
      const tails = view.received.map(({ text }) => Number(text.slice(text.lastIndexOf("x") + 1)));
      expect(tails.toSorted((a, b) => a - b)).toEqual(numbers(12));
    }
    await drained();
  });

  test("is rejected without any call when the subject names no user or the message is too large", async () => {
    const alice = await stack.user();
    const provider = await stack.provider(
      [`ServiceSpace.${stack.serviceId}.fromUser.>`],
      [internalSubject(stack.serviceId, "rejected"), "_INBOX.>"],
    );
    const rejections = collect(provider, internalSubject(stack.serviceId, "rejected"));
    await rejections.listening;
    const rejected = async () =>
      (await Promise.all(SHARDS.map((shard) => stack.state(shard)))).reduce(
        (sum, state) => sum + state.rejected,
        0,
      );
    const before = await rejected();
    const stream = provider.jetstream();
    await stream.publish(`ServiceSpace.${stack.serviceId}.fromUser.nobody.events.test`, utf8("x"));
    await stream.publish(
      `ServiceSpace.${stack.serviceId}.fromUser.${alice.userId}.events.test`,
      randomBytes(MAX_ENVELOPE_BYTES + 1),
    );
    const seen = [await rejections.first(), await rejections.first()].map(({ text }) => JSON.parse(text));
    const at = expect.stringMatching(/^\d{4}-.*Z$/);
    expect(seen).toContainEqual({ reason: "subject", at });
    expect(seen).toContainEqual({ reason: "too_large", user_id: alice.userId, at });
    await drained();
    expect(await rejected()).toBe(before + 2);
    expect((await stack.received(alice.userId)).calls).toBe(0);
  });

  test("what the object refuses is counted and told with ids alone; its answers are published", async () => {
    const alice = await stack.user();
    const space = newEventId();
    const provider = await stack.provider([], [internalSubject(stack.serviceId, "rejected")]);
    const rejections = collect(provider, internalSubject(stack.serviceId, "rejected"));
    const toAlice = toUserSubject(stack.serviceId, alice.userId, "receipt", newEventId());
    const toSpace = messageSpaceSubject(space, stack.serviceId, "receipt", newEventId());
    const atAlice = collect(alice.connection, toAlice);
    const atPlatform = collect(await stack.platform(), toSpace);
    await Promise.all([rejections.listening, atAlice.listening, atPlatform.listening]);
    await stack.behave(alice.userId, {
      rejectOn: "bad",
      replyTo: {
        text: "good",
        replies: [
          { cluster: "servicespace", subject: toAlice, text: "receipt" },
          { cluster: "messagespace", subject: toSpace, text: "receipt" },
        ],
      },
    });
    await alice.send("bad and secret");
    await alice.send("good");
    expect(JSON.parse((await rejections.first()).text)).toEqual({
      reason: "schema",
      event_id: "1111111111111111111111",
      user_id: alice.userId,
      at: expect.any(String),
    });
    expect((await atAlice.first()).text).toBe("receipt");
    expect((await atPlatform.first()).text).toBe("receipt");
  });
});

test("health is published with each alarm", { timeout: TEST_TIMEOUT_MS }, async () => {
  const provider = await stack.provider([], [internalSubject(stack.serviceId, "health")]);
  const health = collect(provider, internalSubject(stack.serviceId, "health"));
  const { shard, servicespace, messagespace, pending } = JSON.parse((await health.first(15_000)).text);
  expect(SHARDS).toContain(shard);
  expect([servicespace.status, messagespace.status, pending]).toEqual(["ready", "ready", 0]);
});
