import { describe, expect, it } from "vitest";
import { eventType } from "../../../../src/protocol/primitives.ts";
import { notification } from "../../../../src/requests/kinds/notification.ts";
import { askEventType, isHeard, kindAsking } from "../../../../src/requests/registry.ts";
import { factsAt, REQUEST_ID } from "./facts.ts";

const NOW = Date.UTC(2026, 0, 15);
const [operation] = notification.operations;
const machine = notification.machine!;
const minimal = { title: "Hello", body: "Good news.\nTwo lines of it." };

describe("a notification", () => {
  it("travels under its category, `general` when it names none", () => {
    expect(askEventType(notification, minimal)).toBe("notify.general");
    expect(askEventType(notification, { ...minimal, category: "orders" })).toBe("notify.orders");
    expect(eventType.safeParse("notify.orders").success).toBe(true);
    expect(kindAsking("notify.orders")).toBe("notification");
    for (const other of ["notify", "notify.a.b", "notification.orders"])
      expect(kindAsking(other)).toBeUndefined();
    expect(isHeard("notify.read")).toBe(true);
  });

  it("is granted by category", () => {
    expect(operation!.grant({ ...minimal, category: "orders" }, undefined)).toEqual({
      capability: "send_notifications",
      resources: ["orders"],
    });
  });

  it.each([
    {},
    { category: "orders", priority: "urgent" },
    {
      data: { order: { id: 1042 } },
      action_url: "https://a.example/x",
      image_url: "https://a.example/i.png",
    },
  ])("with %j is shown to the user as it stands", (change) => {
    const asked = operation!.input.parse({ ...minimal, ...change });
    const payload = operation!.toPayload(asked, undefined);
    expect(operation!.payload.parse(payload)).toEqual({ category: "general", ...minimal, ...change });
  });

  it.each([
    { title: "" },
    { title: "x".repeat(101) },
    { title: "two\nlines" },
    { body: "" },
    { body: "x".repeat(4_001) },
    { body: "turned \u202e around" },
    { category: "Orders" },
    { category: "a.b" },
    { priority: "loud" },
    { action_url: "http://a.example/" },
    { action_url: "javascript:alert(1)" },
    { image_url: "data:image/png;base64,AAAA" },
    { data: { text: "x".repeat(16_384) } },
  ])("with %j is refused", (change) => {
    expect(operation!.input.safeParse({ ...minimal, ...change }).success).toBe(false);
  });

  it("is delivered once the user's vault has it, then read; read twice is read once", () => {
    const facts = factsAt(NOW, minimal);
    const { state } = machine.initial(facts);
    expect(notification.view({ status: "pending", payload: {}, state })).toEqual({ delivered: false });
    const delivered = machine.delivered!(state, facts);
    expect(delivered.tell).toEqual([
      { type: "notification.delivered", data: { notification_id: REQUEST_ID } },
    ]);
    const read = { read_at: "2026-01-15T00:01:00.000Z" };
    const heard = machine.hears!["notify.read"]!;
    const first = heard.run(delivered.state, read as never, facts);
    expect(first).toMatchObject({ ok: true, value: { tell: [{ type: "notification.read" }] } });
    const after = first.ok ? first.value.state : undefined;
    expect(notification.view({ status: "delivered", payload: {}, state: after })).toEqual({
      delivered: true,
      delivered_at: "2026-01-15T00:00:00.000Z",
      ...read,
    });
    const again = heard.run(after, { read_at: "2026-01-16T00:00:00.000Z" } as never, facts);
    expect(again).toEqual({ ok: true, value: { state: after } });
    expect(heard.payload.safeParse({ read_at: "yesterday" }).success).toBe(false);
  });
});
