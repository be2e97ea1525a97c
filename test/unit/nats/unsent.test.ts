// What a shard remembers of messages that no broker has taken, for the age of the oldest.

import { expect, test } from "vitest";
import { FORGOTTEN_AFTER_MS, MAX_UNSENT, Unsent } from "../../../durable-objects/nats-bridge/unsent.ts";
import type { OutboundMessage } from "../../../src/rpc.ts";

const NOW = 1_700_000_000_000;
const message = (id: string, madeAt?: number, sending = 1): OutboundMessage => ({
  cluster: "messagespace",
  subject: "MessageSpace.x",
  bytes: new Uint8Array(),
  msgId: `${id}-${sending}`,
  ...(madeAt === undefined ? {} : { madeAt }),
});

test("the oldest counts from the commit that made it, until a broker has it under whatever number", () => {
  const unsent = new Unsent();
  expect(unsent.read(NOW)).toEqual({ messages: 0, oldestMs: 0 });
  unsent.failed(message("a", NOW - 5_000), NOW);
  unsent.failed(message("b", NOW - 9_000), NOW);
  expect(unsent.read(NOW + 1_000)).toEqual({ messages: 2, oldestMs: 10_000 });
  unsent.failed(message("b", NOW - 9_000), NOW + 2_000);
  unsent.stored(message("b", undefined, 2));
  expect(unsent.read(NOW + 2_000)).toEqual({ messages: 1, oldestMs: 7_000 });
});

test("one that its owner no longer tries is forgotten; what nobody keeps was never counted", () => {
  const unsent = new Unsent();
  unsent.failed(message("receipt"), NOW);
  unsent.failed(message("withdrawn", NOW), NOW);
  expect(unsent.read(NOW + FORGOTTEN_AFTER_MS - 1).messages).toBe(1);
  expect(unsent.read(NOW + FORGOTTEN_AFTER_MS)).toEqual({ messages: 0, oldestMs: 0 });
});

test("an outage of a large deployment does not fill the memory", () => {
  const unsent = new Unsent();
  for (let n = 0; n < MAX_UNSENT + 1_000; n++) unsent.failed(message(`m${n}`, NOW + n), NOW + n);
  expect(unsent.read(NOW + 20_000)).toEqual({ messages: MAX_UNSENT, oldestMs: 20_000 });
});
