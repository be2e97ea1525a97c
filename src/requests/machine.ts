// What happens to a request beside being asked and answered: a payment is completed and refunded, a call rings and
// is signalled, a subscription renews. A kind that has such a life describes it as a machine: pure functions from
// the state before to the state after, with what is to be said and when to look again. The user's object commits
// each step with its audit entry, in one transaction, and repeats whatever a crash kept from leaving.

import type { z } from "zod";
import type { Operation as GrantOperation } from "../contracts/grant.ts";
import type { RequestStatus } from "../protocol/asking.ts";
import type { Result } from "../protocol/result.ts";
import type { ApiFault, Scope } from "../rpc.ts";
import type { EventData } from "../webhooks/event.ts";

/** A message to the user under this request: its `ref` is the request's id. */
export interface Said {
  eventType: string;
  payload: Record<string, unknown>;
  /** How long it is worth delivering, in seconds. */
  lifetimeSeconds: number;
}

/** An event for the backend: ids and status words only. */
export interface Told {
  type: string;
  data?: EventData;
}

/** Another ask that follows from this one; it passes the grant decision like any other. */
export interface Followed {
  kind: string;
  operation: string;
  input: unknown;
  purpose?: string;
  expiresInSeconds: number;
  offlineGraceSeconds: number;
}

/** Something said under the request that the backend reads later: a signal, a line of chat. Stored wrapped. */
export interface Kept {
  type: string;
  from: "user" | "service";
  content: unknown;
}

export interface Step<State> {
  state: State;
  keep?: readonly Kept[];
  /** Types of what was kept that are destroyed now; `result` is the answer's. */
  forget?: readonly string[];
  /** What is still kept is destroyed then, milliseconds since the epoch. */
  keepUntil?: number;
  say?: readonly Said[];
  tell?: readonly Told[];
  /** Milliseconds since the epoch of the next look; absent: none is needed. */
  dueAt?: number | undefined;
  /** Asks to be made now, in the name of this request. */
  ask?: readonly Followed[];
  /** Takes back what was asked in the name of this request and is still open. */
  withdrawAsked?: boolean;
  /** Words for the audit entry: status words and ids, no contents. */
  summary?: Record<string, string | number | boolean>;
}

/** The request as a machine sees it. */
export interface MachineFacts {
  now: number;
  requestId: string;
  operation: string;
  status: RequestStatus;
  /** The operation's input, as validated. */
  input: unknown;
  expiresAt: number;
  /** The one grant decision, as it stands now: for what is done on the user's standing word, without asking anew. */
  allows: (operation: GrantOperation) => boolean;
}

export type Refused = Pick<ApiFault, "code" | "detail">;

/** Something the backend may do to a request: `POST <getPath>/{id}/<name>`. */
export interface Action<State = unknown> {
  readonly summary: string;
  readonly scope: Scope;
  readonly input: z.ZodType;
  /** `delete`: it is `DELETE <getPath>/{id}` instead. */
  readonly method?: "post" | "delete";
  /** On a request that is still pending it takes the ask back, as `cancel` does. */
  readonly withdraws?: boolean;
  /** It brings the user something new, so the contract must still grant what the request was made under. */
  readonly needsGrant?: boolean;
  readonly run: (state: State, input: never, facts: MachineFacts) => Result<Step<State>, Refused>;
}

/** Something the user's vault may send under a request. */
export interface Heard<State = unknown> {
  readonly payload: z.ZodType;
  /** A refusal is recorded and receipted as `refused`; the state stays. */
  readonly run: (
    state: State,
    payload: never,
    facts: MachineFacts,
  ) => Result<Step<State>, { reason: string }>;
}

export interface Machine<State = unknown> {
  /** The state of a request that is about to be asked; whatever else is to happen, happens when it is due. */
  readonly initial: (facts: MachineFacts) => Pick<Step<State>, "state" | "dueAt">;
  /** After an answer was counted. `result` is the answer's, already of the operation's form. */
  readonly answered?: (
    state: State,
    answer: { status: "approved" | "offline_approved" | "denied"; result?: unknown },
    facts: MachineFacts,
  ) => Step<State>;
  /** The user's vault confirmed that it has the message; once, and only where the operation goes unanswered. */
  readonly delivered?: (state: State, facts: MachineFacts) => Step<State>;
  /**
   * After the request expired or was cancelled (by the backend, or with its contract), and after the contract ended
   * under a request that was answered already but not done: then nothing of the step is said or asked any more.
   */
  readonly ended: (state: State, how: "expired" | "cancelled", facts: MachineFacts) => Step<State>;
  readonly actions?: Readonly<Record<string, Action<State>>>;
  /** By event type, as `call.signal`. */
  readonly hears?: Readonly<Record<string, Heard<State>>>;
  /** Called when `dueAt` has come. */
  readonly due?: (state: State, facts: MachineFacts) => Step<State>;
  /** A request that a `Followed` ask belongs to hears how it ended. */
  readonly followed?: (
    state: State,
    /** `refusal`: the code it was refused with before it was asked; there is no request then. */
    follow: { requestId?: string; status: RequestStatus; refusal?: string },
    facts: MachineFacts,
  ) => Step<State>;
}

/** Types a machine by its own state; the registry holds machines of every kind side by side. */
export const defineMachine = <State>(machine: Machine<State>): Machine => machine as unknown as Machine;
