// What the bridge decides about each message, without a broker: grouping, pauses, bounds.

import { describe, expect, test } from "vitest";
import {
  groupSize,
  Lanes,
  MAX_RETRIED_DELIVERIES,
  type Rejection,
  retryDelayMs,
} from "../../../durable-objects/nats-bridge/lanes.ts";
import { identityOf } from "../../../src/crypto/hash.ts";
import { type Delivery, parseAckSubject } from "../../../src/nats/pull.ts";
import type { InboundMessage, InboundOutcome, OutboundMessage } from "../../../src/rpc.ts";

const serviceId = identityOf(Uint8Array.of(0));
const userIds = Array.from({ length: 40 }, (_, n) => identityOf(Uint8Array.of(n + 1)));
const alice = userIds[0]!;
const done: InboundOutcome = { handled: "done", replies: [] };

/** A delivery that writes down how it was settled. */
class Sent implements Delivery {
  readonly subject: string;
  readonly bytes: Uint8Array;
  settled: string | undefined;

  readonly sequence: number;
  readonly deliveryCount: number;
  readonly storedAt = 0;

  constructor(userId: string, sequence: number, deliveryCount = 1, size = 10) {
    this.sequence = sequence;
    this.deliveryCount = deliveryCount;
    this.subject = `ServiceSpace.${serviceId}.fromUser.${userId}.events.test`;
    this.bytes = new Uint8Array(size);
  }
  ack() {
    this.#settle("ack");
  }
  retryAfter(delayMs: number) {
    this.#settle(`retry ${delayMs}`);
  }
  terminate() {
    this.#settle("terminate");
  }
  #settle(how: string) {
    if (this.settled !== undefined) throw new Error(`settled twice: ${this.settled}, ${how}`);
    this.settled = how;
  }
}

function lanesWith(receive: (userId: string, messages: InboundMessage[]) => Promise<InboundOutcome[]>) {
  const rejections: Rejection[] = [];
  const replies: OutboundMessage[] = [];
  const lanes = new Lanes({
    serviceId,
    receive,
    reply: (messages) => replies.push(...messages),
    reject: (rejection) => rejections.push(rejection),
    onFailure: () => {},
  });
  return { lanes, rejections, replies };
}

const settle = () => new Promise((resolve) => setTimeout(resolve, 20));
const accept = (lanes: Lanes, messages: Sent[]) => {
  for (const message of messages) lanes.accept(message);
  return messages;
};

test("pauses double from a second to a minute", () => {
  expect([0, 1, 2, 3, 6, 7, 8, 1_000, Number.MAX_SAFE_INTEGER].map(retryDelayMs)).toEqual([
    1_000, 1_000, 2_000, 4_000, 32_000, 60_000, 60_000, 60_000, 60_000,
  ]);
});

test("the subject of an acknowledgement tells sequence and delivery count, in its old and its new form", () => {
  const place = { deliveryCount: 3, sequence: 1234, storedAt: 1_700_000_000_000 };
  expect(parseAckSubject("$JS.ACK.FROM_USER.BRIDGE.3.1234.1300.1700000000000000000.7")).toEqual(place);
  expect(parseAckSubject("$JS.ACK._.hash.FROM_USER.BRIDGE.3.1234.1300.1700000000000000000.7")).toEqual(place);
  for (const other of [
    "",
    "_INBOX.x.1",
    "$JS.ACK.a.b.c.d.e.f.g",
    "$JS.API.FROM_USER.BRIDGE.3.1234.1300.17.7",
  ]) {
    expect(parseAckSubject(other)).toBeUndefined();
  }
});

describe("one call carries", () => {
  const waiting = (size: number, alone = false) => ({ delivery: new Sent(alice, 1, 1, size), alone });

  test("at most a hundred messages and eight MiB, and always one", () => {
    expect(groupSize(Array.from({ length: 300 }, () => waiting(10)))).toBe(100);
    expect(groupSize(Array.from({ length: 30 }, () => waiting(1_000_000)))).toBe(8);
    expect(groupSize([waiting(20_000_000), waiting(1)])).toBe(1);
    expect(groupSize([])).toBe(0);
  });

  test("a message that failed before alone, and those in front of it without it", () => {
    expect(groupSize([waiting(1, true), waiting(1)])).toBe(1);
    expect(groupSize([waiting(1), waiting(1), waiting(1, true), waiting(1)])).toBe(2);
  });
});

describe("the lanes", () => {
  test("call at most sixteen objects at once, one call for each user, in order", async () => {
    let open = 0;
    let most = 0;
    const seen = new Map<string, number[]>();
    const { lanes } = lanesWith(async (userId, messages) => {
      most = Math.max(most, ++open);
      await settle();
      open -= 1;
      seen.set(userId, [...(seen.get(userId) ?? []), ...messages.map(({ bytes }) => bytes.length)]);
      return messages.map(() => done);
    });
    const messages = userIds.flatMap((userId) => [1, 2, 3].map((size) => new Sent(userId, size, 1, size)));
    accept(lanes, messages);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(most).toBe(16);
    for (const userId of userIds) expect(seen.get(userId)).toEqual([1, 2, 3]);
    for (const message of messages) expect(message.settled).toBe("ack");
  });

  test("settle each message by its own outcome", async () => {
    const reply: OutboundMessage = { cluster: "messagespace", subject: "s", bytes: new Uint8Array() };
    const { lanes, rejections, replies } = lanesWith(async () => [
      { handled: "done", replies: [reply] },
      { handled: "retry", replies: [] },
      { handled: "done", rejected: { reason: "signature", event_id: "e" }, replies: [] },
    ]);
    const messages = accept(lanes, [new Sent(alice, 1), new Sent(alice, 2, 3), new Sent(alice, 3)]);
    await settle();
    expect(messages.map(({ settled }) => settled)).toEqual(["ack", "retry 4000", "ack"]);
    expect(rejections).toEqual([{ user_id: alice, reason: "signature", event_id: "e" }]);
    expect(replies).toEqual([reply]);
  });

  test("put a whole call back when the object throws or answers for another number of messages", async () => {
    for (const receive of [() => Promise.reject(new Error("no")), () => Promise.resolve([done])]) {
      const { lanes, rejections } = lanesWith(receive);
      const messages = accept(lanes, [new Sent(alice, 1, 2), new Sent(alice, 2, 1)]);
      await settle();
      expect(messages.map(({ settled }) => settled)).toEqual(["retry 2000", "retry 2000"]);
      expect(rejections).toEqual([]);
    }
  });

  test("send what failed together one by one when it comes again", async () => {
    const calls: number[] = [];
    const { lanes } = lanesWith(async (_, messages) => {
      calls.push(messages.length);
      if (calls.length === 1) throw new Error("no");
      return messages.map(() => done);
    });
    accept(lanes, [new Sent(alice, 1), new Sent(alice, 2)]);
    await settle();
    accept(lanes, [new Sent(alice, 1, 2), new Sent(alice, 2, 2), new Sent(alice, 3), new Sent(alice, 4)]);
    await settle();
    expect(calls).toEqual([2, 1, 1, 2]);
  });

  test("give a message up only after a day of minutes", async () => {
    const { lanes, rejections } = lanesWith(() => Promise.reject(new Error("no")));
    const messages = accept(lanes, [new Sent(alice, 1, 1_439), new Sent(alice, 2, 1_440)]);
    await settle();
    expect(messages.map(({ settled }) => settled)).toEqual(["retry 60000", "terminate"]);
    expect(rejections).toEqual([{ user_id: alice, reason: "undeliverable" }]);
  });

  test("give up a message that its object, being up, puts back again and again; the others pass it", async () => {
    const { lanes, rejections } = lanesWith((_userId, messages) =>
      Promise.resolve(messages.map((_, at) => (at === 0 ? { handled: "retry", replies: [] } : done))),
    );
    const poison = (deliveryCount: number) => new Sent(alice, deliveryCount, deliveryCount);
    const tries = [poison(1), poison(MAX_RETRIED_DELIVERIES - 1), poison(MAX_RETRIED_DELIVERIES)];
    for (const message of tries) {
      const [, other] = accept(lanes, [message, new Sent(alice, 1_000 + message.sequence)]);
      await settle();
      expect(other!.settled).toBe("ack");
    }
    expect(tries.map(({ settled }) => settled)).toEqual(["retry 1000", "retry 60000", "terminate"]);
    expect(rejections).toEqual([{ user_id: alice, reason: "undeliverable" }]);
  });

  test("refuse a subject that names no user without any call", async () => {
    const { lanes, rejections } = lanesWith(() => Promise.reject(new Error("called")));
    const bad = [
      `ServiceSpace.${serviceId}.fromUser.nobody.events.test`,
      `ServiceSpace.${serviceId}.fromUser.${alice}0.events.test`,
      `ServiceSpace.${serviceId}.fromUser.${alice}`,
      `ServiceSpace.${alice}.fromUser.${alice}.events.test`,
      `ServiceSpace.${serviceId}.toUser.${alice}.events.test`,
    ].map((subject) => Object.assign(new Sent(alice, 1), { subject }));
    accept(lanes, bad);
    await settle();
    expect(bad.map(({ settled }) => settled)).toEqual(bad.map(() => "terminate"));
    expect(rejections).toEqual(bad.map(() => ({ reason: "subject" })));
  });

  test("bound what one user may have waiting, and let the others pass", async () => {
    const { lanes, rejections } = lanesWith((userId, messages) =>
      userId === alice ? new Promise(() => {}) : Promise.resolve(messages.map(() => done)),
    );
    // Behind the open call at most 500 wait here and 500 in the stream.
    const flood = accept(
      lanes,
      Array.from({ length: 1_200 }, (_, n) => new Sent(alice, n)),
    );
    const other = accept(lanes, [new Sent(userIds[1]!, 5_000)]);
    await settle();
    expect(flood.filter(({ settled }) => settled === "retry 1000")).toHaveLength(500);
    expect(flood.filter(({ settled }) => settled === "terminate")).toHaveLength(200);
    expect(rejections).toHaveLength(200);
    expect(rejections[0]).toEqual({ user_id: alice, reason: "too_many_waiting" });
    expect(other[0]!.settled).toBe("ack");
    // What went to another shard is forgotten, and there is room again.
    lanes.sweep(Date.now() + 60_000);
    const later = accept(
      lanes,
      Array.from({ length: 101 }, (_, n) => new Sent(alice, 9_000 + n)),
    );
    expect(later.at(-1)!.settled).toBe("retry 1000");
  });
});
