// The life of a call, step by step, without an object around it.

import { describe, expect, it } from "vitest";
import { toBase58 } from "../../../../src/protocol/encoding.ts";
import { newRoutedId, randomBytes } from "../../../../src/protocol/ids.ts";
import { CHAT_KEPT_MS, call, MAX_CALL_MS, MAX_SAID } from "../../../../src/requests/kinds/call.ts";
import type { MachineFacts, Step } from "../../../../src/requests/machine.ts";

const NOW = 1_750_000_000_000;
const ID = newRoutedId(toBase58(randomBytes(32)), 1);
const machine = call.machine!;

const factsAt = (now: number, type = "text"): MachineFacts => ({
  now,
  requestId: ID,
  operation: "initiate",
  status: "pending",
  input: { type },
  expiresAt: NOW + 60_000,
  allows: () => true,
});

const rings = (type = "text") => machine.initial(factsAt(NOW, type)).state;
const talks = (type = "text") =>
  machine.answered!(rings(type), { status: "approved" }, factsAt(NOW + 1_000, type)).state;
const eventsOf = (step: Step<unknown>): string[] => (step.tell ?? []).map(({ type }) => type);
const act = (state: unknown, name: string, input: unknown, now = NOW + 2_000) =>
  machine.actions![name]!.run(state, input as never, factsAt(now));
const hear = (state: unknown, type: string, payload: unknown, now = NOW + 2_000) =>
  machine.hears![type]!.run(state, payload as never, factsAt(now));

describe("a call that rings", () => {
  it("is connected by an approval, and looked at again when the longest call is over", () => {
    const step = machine.answered!(rings(), { status: "approved" }, factsAt(NOW + 1_000));
    expect(step).toMatchObject({ state: { status: "connected" }, dueAt: NOW + 1_000 + MAX_CALL_MS });
    expect(eventsOf(step)).toEqual(["call.accepted"]);
  });

  it.each([
    [
      "rejected by a denial",
      "rejected",
      () => machine.answered!(rings(), { status: "denied" }, factsAt(NOW)),
    ],
    ["missed when it expires", "missed", () => machine.ended(rings(), "expired", factsAt(NOW))],
    ["ended when it is taken back", "ended", () => machine.ended(rings(), "cancelled", factsAt(NOW))],
  ])("is %s", (_, status, step) => {
    const taken = step();
    expect(taken).toMatchObject({ state: { status, endedAt: NOW }, forget: ["call.signal", "result"] });
    expect(eventsOf(taken)).toEqual([`call.${status}`]);
  });

  it("takes the caller's signals, but no lines before the answer, and no end by whom it rings at", () => {
    expect(act(rings(), "signal", { signal: 1 })).toMatchObject({ ok: true });
    expect(act(rings(), "message", { text: "Hello" })).toMatchObject({
      ok: false,
      error: { code: "conflict" },
    });
    expect(hear(rings(), "call.end", {})).toEqual({ ok: false, error: { reason: "not_answered" } });
  });
});

describe("a call that is connected", () => {
  it("says a signal to the user and keeps the user's for the backend", () => {
    expect(act(talks(), "signal", { signal: { a: 1 } })).toMatchObject({
      value: {
        say: [{ eventType: "call.signal", payload: { signal: { a: 1 } } }],
        keep: [{ from: "service" }],
      },
    });
    const heard = hear(talks(), "call.signal", { signal: { b: 2 } });
    expect(heard).toMatchObject({ value: { keep: [{ from: "user", content: { signal: { b: 2 } } }] } });
    expect(heard.ok && heard.value.say).toBeUndefined();
  });

  it("is over when the longest call is, whatever is said in it", () => {
    const step = act(talks(), "signal", { signal: 1 });
    expect(step.ok && step.value.dueAt).toBe(NOW + 1_000 + MAX_CALL_MS);
  });

  it.each([
    ["ended", "Goodbye"],
    ["failed", "failed"],
  ])("is %s for the reason %s, by either side", (status, reason) => {
    expect(act(talks(), "end", { reason })).toMatchObject({
      value: { state: { status, reason, endedBy: "service" }, say: [{ eventType: "call.end" }] },
    });
    const byUser = hear(talks(), "call.end", { reason });
    expect(byUser).toMatchObject({ value: { state: { status, reason, endedBy: "user" } } });
    expect(byUser.ok && byUser.value.say).toBeUndefined();
  });

  it("is over when nobody ends it, and its lines stay readable for a day", () => {
    const end = NOW + 1_000 + MAX_CALL_MS;
    const step = machine.due!(talks(), factsAt(end));
    expect(step).toMatchObject({
      state: { status: "ended", reason: "too_long" },
      keepUntil: end + CHAT_KEPT_MS,
      say: [{ eventType: "call.end" }],
    });
  });

  it("carries so much and no more, in either direction", () => {
    const full = { ...(talks() as object), said: MAX_SAID };
    expect(act(full, "signal", { signal: 1 })).toMatchObject({ ok: false, error: { code: "rate_limited" } });
    expect(hear(full, "call.signal", { signal: 1 })).toEqual({ ok: false, error: { reason: "too_many" } });
  });

  it("carries lines only when it is a text chat", () => {
    expect(act(talks("voice"), "message", { text: "Hello" })).toMatchObject({ ok: false });
    expect(hear(talks("voice"), "chat.message", { text: "Hello", sent_at: "" })).toEqual({
      ok: false,
      error: { reason: "not_a_chat" },
    });
  });
});

describe("a call that is over", () => {
  const over = machine.ended(talks(), "cancelled", factsAt(NOW + 3_000)).state;

  it("stays as it ended, whoever ends it again", () => {
    expect(act(over, "end", { reason: "again" })).toMatchObject({ value: { state: over } });
    expect(hear(over, "call.end", {})).toMatchObject({ value: { state: over } });
    expect(machine.ended(over, "cancelled", factsAt(NOW + 9_000)).state).toEqual(over);
    expect(machine.due!(over, factsAt(NOW + 9_000)).state).toEqual(over);
  });

  it("carries nothing any more", () => {
    expect(act(over, "signal", { signal: 1 })).toMatchObject({ ok: false, error: { code: "conflict" } });
    expect(hear(over, "chat.message", { text: "Hello", sent_at: "" })).toEqual({
      ok: false,
      error: { reason: "call_over" },
    });
  });

  it("is shown with its length, and without the user's description", () => {
    const shown = call.pathView!({ status: "approved", payload: {}, state: over });
    expect(shown).toMatchObject({ status: "ended", duration_seconds: 2 });
    expect(shown).not.toHaveProperty("answer");
  });
});
