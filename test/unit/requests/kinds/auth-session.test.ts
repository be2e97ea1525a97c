import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { auth } from "../../../../src/requests/kinds/auth.ts";
import {
  sessionMachine as machine,
  type SessionState,
  sessions,
} from "../../../../src/requests/kinds/auth-session.ts";
import type { Step } from "../../../../src/requests/machine.ts";
import { factsAt, REQUEST_ID } from "./facts.ts";

const START = Date.UTC(2026, 0, 15);
const terms = { interval_seconds: 600, max_misses: 2 };
const at = (now: number) => factsAt(now, terms);

const begin = (status: "approved" | "denied" = "approved"): Step<SessionState> =>
  machine.answered!(machine.initial(at(START)).state, { status }, at(START)) as Step<SessionState>;
const due = (state: SessionState, now: number) => machine.due!(state, at(now)) as Step<SessionState>;
const followed = (state: SessionState, now: number, status: "approved" | "denied" | "expired") =>
  machine.followed!(state, { requestId: "check", status }, at(now)) as Step<SessionState>;

describe("a continuous session", () => {
  it("asks again at each interval, in its own name", () => {
    const { state, dueAt } = begin();
    expect(state).toMatchObject({ status: "active", last: { request_id: REQUEST_ID, status: "approved" } });
    expect(dueAt).toBe(START + 600_000);
    const asked = due(state, dueAt!);
    expect(asked.ask).toEqual([
      {
        kind: "auth",
        operation: "authenticate",
        input: { session_id: REQUEST_ID },
        expiresInSeconds: 300,
        offlineGraceSeconds: 0,
      },
    ]);
    const answered = followed(asked.state, dueAt! + 5_000, "approved");
    expect(answered.state).toMatchObject({
      misses: 0,
      checks: 1,
      last: { request_id: "check", status: "approved" },
    });
    expect(answered.dueAt).toBe(dueAt! + 600_000);
  });

  it("asks nothing more while a check is open, or too early", () => {
    const { state, dueAt } = begin();
    expect(due(state, dueAt! - 1).ask).toBeUndefined();
    const asked = due(state, dueAt!);
    expect(due(asked.state, dueAt! + 1_000).ask).toBeUndefined();
  });

  it("ends after too many misses in a row; an answer in between starts the count anew", () => {
    let { state, dueAt } = begin();
    const check = (status: "approved" | "expired") => {
      const step = followed(due(state, dueAt!).state, dueAt! + 300_000, status);
      ({ state } = step);
      dueAt = step.dueAt;
      return step;
    };
    check("expired");
    expect(state.misses).toBe(1);
    check("approved");
    expect(state.misses).toBe(0);
    check("expired");
    const last = check("expired");
    expect(last).toMatchObject({
      state: { status: "ended", endReason: "missed", misses: 2 },
      tell: [{ type: "auth.session_ended", data: { session_id: REQUEST_ID, reason: "missed" } }],
    });
    expect(last.dueAt).toBeUndefined();
  });

  it("ends at once when the user says no, to it or to a check", () => {
    expect(begin("denied")).toMatchObject({ state: { status: "ended", endReason: "denied" } });
    const { state, dueAt } = begin();
    const no = followed(due(state, dueAt!).state, dueAt!, "denied");
    expect(no).toMatchObject({ state: { status: "ended", endReason: "denied" }, withdrawAsked: true });
  });

  it("ends when the contract allows it no more; a rate that is used up is a miss", () => {
    const { state, dueAt } = begin();
    const asked = due(state, dueAt!).state;
    const refused = (refusal: string) =>
      machine.followed!(asked, { status: "cancelled", refusal }, at(dueAt!)).state as SessionState;
    expect(refused("capability_denied")).toMatchObject({ status: "ended", endReason: "not_allowed" });
    expect(refused("contract_required")).toMatchObject({ status: "ended", endReason: "not_allowed" });
    expect(refused("rate_limited")).toMatchObject({ status: "active", misses: 1 });
  });

  it("is ended by the backend, once, and with its contract", () => {
    const { state } = begin();
    const end = machine.actions!.end!;
    const first = end.run(state, {} as never, at(START)) as { ok: true; value: Step<SessionState> };
    expect(first.value).toMatchObject({ state: { endReason: "service" }, withdrawAsked: true });
    expect(end.run(first.value.state, {} as never, at(START))).toEqual({
      ok: true,
      value: { state: first.value.state },
    });
    expect(machine.ended(state, "cancelled", at(START)).state).toMatchObject({ endReason: "contract_ended" });
    const pending = machine.initial(at(START)).state;
    expect(machine.ended(pending, "expired", at(START)).state).toMatchObject({ endReason: "not_answered" });
  });

  it("shows its state and its last answer", () => {
    const { state } = begin();
    expect(sessions.view({ status: "approved", payload: terms, state })).toEqual({
      session_status: "active",
      ...terms,
      misses: 0,
      checks: 0,
      last_answer: { request_id: REQUEST_ID, status: "approved", at: "2026-01-15T00:00:00.000Z" },
    });
  });

  it("while active always has a next look", () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom("approved", "expired", "denied", "early"), { maxLength: 30 }),
        (moves) => {
          let step = begin();
          for (const move of moves) {
            if (step.state.status === "ended") break;
            const now = Math.max(step.dueAt!, START);
            step = due(step.state, now);
            if (move !== "early") step = followed(step.state, now + 1_000, move as "approved");
            expect(step.dueAt !== undefined).toBe(step.state.status === "active");
          }
        },
      ),
    );
  });

  it.each([
    { interval_seconds: 59, max_misses: 1 },
    { interval_seconds: 86_401, max_misses: 1 },
    { interval_seconds: 600, max_misses: 0 },
    { interval_seconds: 600, max_misses: 11 },
    { interval_seconds: 600 },
    { max_misses: 2 },
  ])("is refused with %j", (input) => {
    expect(auth.operations.find(({ name }) => name === "session")!.input.safeParse(input).success).toBe(
      false,
    );
  });

  it("needs a grant of its own, and so does each of its checks", () => {
    const [login, session] = auth.operations;
    expect(session!.grant(terms, undefined).capability).toBe("authenticate.continuous");
    expect(login!.grant({ session_id: REQUEST_ID }, undefined).capability).toBe("authenticate.continuous");
    expect(login!.grant({}, undefined).capability).toBe("authenticate");
  });
});
