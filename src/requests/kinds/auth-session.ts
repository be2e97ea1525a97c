// A login that is confirmed again and again: the user agrees to the session, and from then on the service asks at
// each interval, by requests of their own. It ends when the user says no, or is silent too often.

import { z } from "zod";
import { type RequestStatus, requestStatus } from "../../protocol/asking.ts";
import { eventId, timestamp, toTimestamp } from "../../protocol/primitives.ts";
import { ok } from "../../protocol/result.ts";
import type { Resource } from "../kind.ts";
import { defineMachine, type MachineFacts, type Step } from "../machine.ts";

const MIN_INTERVAL_SECONDS = 60;
const MAX_INTERVAL_SECONDS = 24 * 3_600;
const MAX_MISSES = 10;
/** How long one check may be answered; at most the interval. */
const CHECK_SECONDS = 300;
/** While a check is open its end is awaited; looked at now and then all the same. */
const ASKED_LOOK_MS = 3_600_000;
const MAX_OPEN_SESSIONS = 3;

export const sessionFields = {
  interval_seconds: z
    .int()
    .min(MIN_INTERVAL_SECONDS)
    .max(MAX_INTERVAL_SECONDS)
    .describe("How often the user confirms that they are still there."),
  max_misses: z.int().min(1).max(MAX_MISSES).describe("Unanswered checks in a row that end the session."),
};
export type SessionTerms = z.infer<z.ZodObject<typeof sessionFields>>;

export const sessionStatus = z.enum(["pending", "active", "ended"]);

export interface SessionState {
  status: z.infer<typeof sessionStatus>;
  /** In a row. */
  misses: number;
  checks: number;
  /** Milliseconds since the epoch: when the last check was asked. */
  askedAt?: number;
  /** A check is open. */
  asked: boolean;
  last?: { request_id?: string; status: RequestStatus; at: string };
  endedAt?: string;
  endReason?: string;
}

type SessionStep = Step<SessionState>;

const termsOf = (facts: MachineFacts): SessionTerms => facts.input as SessionTerms;

/** A state with its next look. */
function settled(state: SessionState, facts: MachineFacts): SessionStep {
  if (state.status !== "active") return { state, summary: { status: state.status } };
  const next = state.askedAt! + termsOf(facts).interval_seconds * 1_000;
  return {
    state,
    dueAt: state.asked ? facts.now + ASKED_LOOK_MS : Math.max(next, facts.now),
    summary: { status: state.status, misses: state.misses },
  };
}

const end = (before: SessionState, reason: string, facts: MachineFacts): SessionStep => {
  const state: SessionState = {
    ...before,
    status: "ended",
    asked: false,
    endedAt: toTimestamp(facts.now),
    endReason: reason,
  };
  return {
    state,
    withdrawAsked: true,
    tell: [{ type: "auth.session_ended", data: { session_id: facts.requestId, reason } }],
    summary: { status: "ended", reason },
  };
};

/** Refusals that time alone does not mend: the contract no longer allows the session. */
const FINAL_REFUSALS: readonly string[] = ["contract_required", "capability_denied"];

export const sessionMachine = defineMachine<SessionState>({
  initial: () => ({ state: { status: "pending", misses: 0, checks: 0, asked: false } }),

  answered: (before, { status }, facts) => {
    const state: SessionState = {
      ...before,
      last: { request_id: facts.requestId, status, at: toTimestamp(facts.now) },
    };
    if (status === "denied") return end(state, "denied", facts);
    return settled({ ...state, status: "active", askedAt: facts.now }, facts);
  },

  ended: (state, how, facts) =>
    state.status === "ended"
      ? { state }
      : end(
          state,
          state.status === "active" ? "contract_ended" : how === "expired" ? "not_answered" : "withdrawn",
          facts,
        ),

  due: (state, facts) => {
    if (state.status !== "active" || state.asked) return settled(state, facts);
    const { interval_seconds } = termsOf(facts);
    if (facts.now < state.askedAt! + interval_seconds * 1_000) return settled(state, facts);
    return {
      ...settled({ ...state, asked: true, askedAt: facts.now, checks: state.checks + 1 }, facts),
      ask: [
        {
          kind: "auth",
          operation: "authenticate",
          input: { session_id: facts.requestId },
          expiresInSeconds: Math.min(CHECK_SECONDS, interval_seconds),
          offlineGraceSeconds: 0,
        },
      ],
    };
  },

  followed: (before, { requestId, status, refusal }, facts) => {
    if (before.status !== "active" || !before.asked) return settled(before, facts);
    const state: SessionState = {
      ...before,
      asked: false,
      last: {
        ...(requestId === undefined ? {} : { request_id: requestId }),
        status,
        at: toTimestamp(facts.now),
      },
    };
    if (status === "approved" || status === "offline_approved")
      return settled({ ...state, misses: 0 }, facts);
    if (status === "denied") return end(state, "denied", facts);
    if (refusal !== undefined && FINAL_REFUSALS.includes(refusal)) return end(state, "not_allowed", facts);
    const missed = { ...state, misses: state.misses + 1 };
    return missed.misses >= termsOf(facts).max_misses ? end(missed, "missed", facts) : settled(missed, facts);
  },

  actions: {
    end: {
      summary: "End a session",
      scope: "requests:write",
      method: "delete",
      withdraws: true,
      input: z.strictObject({}),
      run: (state, _: unknown, facts) =>
        ok(state.status === "active" ? end(state, "service", facts) : { state }),
    },
  },
});

export const sessions: Resource = {
  title: "Continuous authentication",
  getPath: "auth/sessions",
  idName: "session_id",
  maxOpen: MAX_OPEN_SESSIONS,
  machine: sessionMachine,
  view: ({ payload, state: stored }) => {
    const { interval_seconds, max_misses } = payload as unknown as SessionTerms;
    const state = stored as SessionState;
    return {
      session_status: state.status,
      interval_seconds,
      max_misses,
      misses: state.misses,
      checks: state.checks,
      ...(state.last === undefined ? {} : { last_answer: state.last }),
      ...(state.endedAt === undefined ? {} : { ended_at: state.endedAt, end_reason: state.endReason }),
    };
  },
  viewSchema: {
    session_status: sessionStatus,
    ...sessionFields,
    misses: z.int().describe("Unanswered checks in a row, now."),
    checks: z.int().describe("Checks asked so far."),
    last_answer: z
      .object({ request_id: eventId.optional(), status: requestStatus, at: timestamp })
      .optional(),
    ended_at: timestamp.optional(),
    end_reason: z.string().optional(),
  },
  pathView: ({ state }) => ({ status: (state as SessionState).status }),
  pathSchema: { status: sessionStatus },
};
