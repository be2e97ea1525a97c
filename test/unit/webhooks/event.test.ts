import { describe, expect, it } from "vitest";
import { toBase58 } from "../../../src/protocol/encoding.ts";
import { newEventId, newRoutedId, randomBytes } from "../../../src/protocol/ids.ts";
import {
  EVENT_TYPES,
  eventText,
  isKnownFilter,
  MAX_EVENT_BYTES,
  matchesTypes,
  type WebhookEvent,
  webhookEvent,
} from "../../../src/webhooks/event.ts";

const userId = toBase58(randomBytes(32));
const event: WebhookEvent = {
  type: "auth.response",
  timestamp: "2026-03-01T08:15:00.000Z",
  event_id: newEventId(),
  data: { request_id: newEventId(), status: "approved", attempts: 1, offline: false, data_types: ["email"] },
};

describe("an event", () => {
  it("is ids and status words, with or without a user", () => {
    expect(webhookEvent.parse(event)).toEqual(event);
    const ofUser = { ...event, event_id: newRoutedId(userId, 7), user_id: userId };
    expect(webhookEvent.parse(ofUser)).toEqual(ofUser);
  });

  it.each([
    ["a type without a dot", { type: "auth" }],
    ["a type with capitals", { type: "Auth.response" }],
    ["a type of five names", { type: "a.b.c.d.e" }],
    ["a time without milliseconds", { timestamp: "2026-03-01T08:15:00Z" }],
    ["an id with a dot, which would end a webhook-id early", { event_id: `${newEventId()}.1` }],
    ["no data", { data: undefined }],
    ["nested data", { data: { person: { name: "Ada" } } }],
    ["a list of objects", { data: { items: [{}] } }],
    ["null", { data: { status: null } }],
    ["a fraction", { data: { amount: 1.5 } }],
    ["a long text", { data: { note: "x".repeat(257) } }],
    ["too many members", { data: Object.fromEntries(Array.from({ length: 33 }, (_, n) => [`m${n}`, n])) }],
    ["a member nobody knows", { result: "secret" }],
  ])("is not %s", (_what, change) => {
    expect(webhookEvent.safeParse({ ...event, ...change }).success).toBe(false);
  });

  it("is at most 20,000 bytes, counted as UTF-8", () => {
    const list = Array.from({ length: 30 }, (_, n) => [`m${n}`, ["ä".repeat(256), "ä".repeat(100)]]);
    const large = { ...event, data: Object.fromEntries(list) };
    expect(JSON.stringify(large).length).toBeLessThan(MAX_EVENT_BYTES);
    expect(new TextEncoder().encode(JSON.stringify(large)).length).toBeGreaterThan(MAX_EVENT_BYTES);
    expect(webhookEvent.safeParse(large).success).toBe(false);
  });

  it("has one text, whatever the order its members came in", () => {
    const { data, ...rest } = event;
    const shuffled = webhookEvent.parse({ data, ...rest });
    expect(eventText(shuffled)).toBe(eventText(webhookEvent.parse(event)));
  });
});

describe("a filter", () => {
  it("without entries lets everything pass", () => {
    expect(matchesTypes(undefined, "contract.created")).toBe(true);
  });

  it.each([
    [["contract.created"], "contract.created", true],
    [["contract.created"], "contract.cancelled", false],
    [["contract.*"], "contract.cancelled", true],
    [["contract.*"], "contracts.cancelled", false],
    [["contract.*", "auth.response"], "auth.response", true],
    [["custom.*"], "custom.loyalty.response", true],
    [["custom.loyalty.*"], "custom.loyalty.response", true],
    [["custom.loyalty.*"], "custom.other.response", false],
    [[], "contract.created", false],
  ])("%j and %s: %s", (types, type, expected) => {
    expect(matchesTypes(types, type)).toBe(expected);
  });

  it.each([
    ["contract.created", true],
    ["contract.*", true],
    ["contract", false],
    ["contract*", false],
    ["*", false],
    [".*", false],
    ["contract.creatd", false],
    ["nothing.*", false],
  ])("entry %s can match: %s", (entry, expected) => {
    expect(isKnownFilter(entry, EVENT_TYPES)).toBe(expected);
  });
});
