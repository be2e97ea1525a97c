// Calls and text chats. A call is an ask that rings: the answer, signed like any other, connects it, and from then
// on both sides signal or write under its id until one ends it. Media never pass here, only what sets them up.
//
// Signals are destroyed when the call ends; lines of a chat can be read for a day longer. Both are stored wrapped.

import { z } from "zod";
import { eventId, httpsUrl, line, prose, timestamp, toTimestamp } from "../../protocol/primitives.ts";
import { err, ok } from "../../protocol/result.ts";
import { defineOperation, type Kind } from "../kind.ts";
import { defineMachine, type MachineFacts, type Step } from "../machine.ts";
import { boundedJson } from "../values.ts";

/** How long a call rings unless the backend says otherwise. */
const RING_SECONDS = 60;
/** A call that nobody ended is over after this. */
export const MAX_CALL_MS = 12 * 3_600_000;
/** Lines of a chat are destroyed this long after its end. */
export const CHAT_KEPT_MS = 24 * 3_600_000;
/** One signal's canonical JSON: a session description with every candidate in it fits. */
export const MAX_SIGNAL_BYTES = 65_536;
/** Signals and lines in one call, both directions together. */
export const MAX_SAID = 4_000;
const MAX_LINE_CHARACTERS = 4_000;
/** Signals and lines are worth nothing to a phone that comes back later than this. */
const SAID_LIFETIME_SECONDS = 300;
/** The end of a call is told for as long as the longest call. */
const END_LIFETIME_SECONDS = MAX_CALL_MS / 1_000;
const MAX_ICE_SERVERS = 8;
/** Calls that may ring at one person at once. */
const MAX_RINGING = 3;
/** The reason that makes an ended call a failed one: the media could not be set up. */
export const FAILED_REASON = "failed";

export const callType = z.enum(["text", "voice", "video"]);
export type CallType = z.infer<typeof callType>;

export const CALL_CAPABILITIES = {
  text: "text_chat",
  voice: "voice_call",
  video: "video_call",
} as const satisfies Record<CallType, string>;

export const signal = boundedJson(MAX_SIGNAL_BYTES);
export const chatText = prose(MAX_LINE_CHARACTERS);
const endReason = line(128);

/** Under a call, both ways. */
export const callSignal = z.strictObject({ signal });
export const chatMessage = z.strictObject({ text: chatText, sent_at: timestamp });
export const callEnd = z.strictObject({ reason: endReason.optional() });

const agentInfo = z.strictObject({
  name: line(100),
  agent_id: line(100).optional(),
  title: line(100).optional(),
  avatar_url: httpsUrl.optional(),
});
const iceServers = z
  .array(
    z.strictObject({
      urls: z.array(line(512)).min(1).max(4),
      username: line(256).optional(),
      credential: line(512).optional(),
    }),
  )
  .max(MAX_ICE_SERVERS);

const callStatus = z.enum(["ringing", "connected", "rejected", "missed", "ended", "failed"]);

interface Call {
  status: z.infer<typeof callStatus>;
  type: CallType;
  /** Milliseconds since the epoch. */
  startedAt: number;
  connectedAt?: number;
  endedAt?: number;
  endedBy?: "user" | "service";
  reason?: string;
  /** Signals and lines so far, both directions. */
  said: number;
}

const isOver = ({ status }: Call): boolean => status !== "ringing" && status !== "connected";

const typeOf = (input: { type?: CallType | undefined; call_type?: CallType | undefined }): CallType =>
  (input.type ?? input.call_type)!;

/** What follows from a call's end, whatever ended it. */
function over(
  call: Call,
  { now, requestId }: MachineFacts,
  end: Pick<Call, "status" | "endedBy" | "reason">,
): Step<Call> {
  const event = end.status === "missed" || end.status === "rejected" ? end.status : "ended";
  return {
    state: { ...call, ...end, endedAt: now },
    forget: ["call.signal", "result"],
    keepUntil: now + CHAT_KEPT_MS,
    tell: [{ type: `call.${event}`, data: { call_id: requestId, status: end.status } }],
    summary: { status: end.status },
  };
}

const endedStatus = (reason: string | undefined): "failed" | "ended" =>
  reason === FAILED_REASON ? "failed" : "ended";

const TOO_MUCH = `one call carries at most ${MAX_SAID} signals and lines`;

const machine = defineMachine<Call>({
  initial: ({ input, now }) => ({
    state: { status: "ringing", type: typeOf(input as { type?: CallType }), startedAt: now, said: 0 },
  }),

  answered: (call, { status }, facts) =>
    status === "denied"
      ? over(call, facts, { status: "rejected", endedBy: "user" })
      : {
          state: { ...call, status: "connected", connectedAt: facts.now },
          tell: [{ type: "call.accepted", data: { call_id: facts.requestId, status: "connected" } }],
          dueAt: facts.now + MAX_CALL_MS,
          summary: { status: "connected" },
        },

  ended: (call, how, facts) => {
    if (isOver(call)) return { state: call };
    const missed = how === "expired" && call.status === "ringing";
    return over(call, facts, missed ? { status: "missed" } : { status: "ended", endedBy: "service" });
  },

  due: (call, facts) =>
    isOver(call)
      ? { state: call }
      : {
          ...over(call, facts, { status: "ended", endedBy: "service", reason: "too_long" }),
          say: [
            {
              eventType: "call.end",
              payload: { reason: "too_long" },
              lifetimeSeconds: END_LIFETIME_SECONDS,
            },
          ],
        },

  actions: {
    signal: {
      summary: "Send a signal to the user's vault",
      scope: "requests:write",
      input: callSignal,
      needsGrant: true,
      run: (call, payload: z.infer<typeof callSignal>) =>
        saying(call, {
          eventType: "call.signal",
          payload,
          kept: { type: "call.signal", from: "service", content: payload },
        }),
    },
    message: {
      summary: "Write a line in a text chat",
      scope: "requests:write",
      input: z.strictObject({ text: chatText }),
      needsGrant: true,
      run: (call, { text }: { text: string }, { now }) => {
        if (call.type !== "text")
          return err({ code: "conflict", detail: "only a call of type text carries messages" });
        if (call.status === "ringing")
          return err({ code: "conflict", detail: "the user has not answered yet" });
        const payload = { text, sent_at: toTimestamp(now) };
        return saying(call, {
          eventType: "chat.message",
          payload,
          kept: { type: "chat.message", from: "service", content: payload },
        });
      },
    },
    end: {
      summary: "End a call, or stop it ringing",
      scope: "requests:write",
      input: callEnd,
      withdraws: true,
      run: (call, { reason }: z.infer<typeof callEnd>, facts) => {
        // Both sides may hang up at once.
        if (isOver(call)) return ok({ state: call, summary: { status: call.status } });
        const end = { status: endedStatus(reason), endedBy: "service" as const };
        return ok({
          ...over(call, facts, reason === undefined ? end : { ...end, reason }),
          say: [
            {
              eventType: "call.end",
              payload: reason === undefined ? {} : { reason },
              lifetimeSeconds: END_LIFETIME_SECONDS,
            },
          ],
        });
      },
    },
  },

  hears: {
    "call.signal": {
      payload: callSignal,
      run: (call, payload: z.infer<typeof callSignal>, facts) =>
        heard(call, facts, { type: "call.signal", content: payload }),
    },
    "chat.message": {
      payload: chatMessage,
      run: (call, payload: z.infer<typeof chatMessage>, facts) =>
        call.type === "text"
          ? heard(call, facts, { type: "chat.message", content: payload })
          : err({ reason: "not_a_chat" }),
    },
    "call.end": {
      payload: callEnd,
      run: (call, { reason }: z.infer<typeof callEnd>, facts) => {
        if (call.status === "ringing") return err({ reason: "not_answered" });
        if (isOver(call)) return ok({ state: call, summary: { status: call.status } });
        const end = { status: endedStatus(reason), endedBy: "user" as const };
        return ok(over(call, facts, reason === undefined ? end : { ...end, reason }));
      },
    },
  },
});

/** Something of the backend's on its way to the user. */
function saying(
  call: Call,
  said: {
    eventType: string;
    payload: Record<string, unknown>;
    kept: { type: string; from: "service"; content: unknown };
  },
) {
  if (isOver(call))
    return err({ code: "conflict" as const, detail: `the call is over: it is ${call.status}` });
  if (call.said >= MAX_SAID) return err({ code: "rate_limited" as const, detail: TOO_MUCH });
  return ok({
    ...standing(call),
    say: [{ eventType: said.eventType, payload: said.payload, lifetimeSeconds: SAID_LIFETIME_SECONDS }],
    keep: [said.kept],
  });
}

/** Something of the user's for the backend to read. */
function heard(call: Call, { requestId }: MachineFacts, kept: { type: string; content: unknown }) {
  if (isOver(call)) return err({ reason: "call_over" });
  if (call.said >= MAX_SAID) return err({ reason: "too_many" });
  return ok({
    ...standing(call),
    keep: [{ ...kept, from: "user" as const }],
    tell: [{ type: kept.type, data: { call_id: requestId } }],
  });
}

/** One more was said; when the call is over at the latest stays as it was. */
const standing = (call: Call): Pick<Step<Call>, "state" | "dueAt"> => ({
  state: { ...call, said: call.said + 1 },
  ...(call.connectedAt === undefined ? {} : { dueAt: call.connectedAt + MAX_CALL_MS }),
});

export const call: Kind = {
  name: "call",
  eventType: "call.initiate",
  ownRef: true,
  title: "Calls",
  getPath: "call",
  idName: "call_id",
  maxOpen: MAX_RINGING,
  machine,
  operations: [
    defineOperation({
      name: "initiate",
      summary: "Call a user, or open a text chat",
      path: "call/initiate",
      successStatus: 202,
      capabilities: Object.values(CALL_CAPABILITIES),
      purposeRequired: false,
      input: z
        .object({
          type: callType.optional(),
          call_type: callType.optional().describe("The same as type."),
          agent_info: agentInfo.optional().describe("Who is calling, as the person is shown it."),
          ice_servers: iceServers.optional(),
          offer: signal.optional().describe("A session description, as WebRTC makes it."),
          call_request_id: eventId
            .optional()
            .describe("`user_event_id` of the `call.requested` that this call answers."),
        })
        .refine(
          ({ type, call_type }) =>
            (type ?? call_type) !== undefined && (type ?? call_type) === (call_type ?? type),
          "type must be text, voice or video",
        ),
      payload: z.strictObject({
        type: callType,
        agent_info: agentInfo.optional(),
        ice_servers: iceServers.optional(),
        offer: signal.optional(),
        call_request_id: eventId.optional(),
      }),
      toPayload: ({ type: _, call_type: __, ...rest }) => ({
        ...rest,
        type: typeOf({ type: _, call_type: __ }),
      }),
      grant: (input) => ({ capability: CALL_CAPABILITIES[typeOf(input)] }),
      sameness: (input) => ({ action: typeOf(input) }),
      result: z.strictObject({ answer: signal.optional() }),
      example: { type: "voice" as const, agent_info: { name: "Sam", title: "Support" } },
      defaultExpirySeconds: RING_SECONDS,
      defaultGraceSeconds: 0,
    }),
  ],
  view: () => ({}),
  viewSchema: {},
  pathView: ({ state, result }) => {
    const shown = state as Call | undefined;
    if (shown === undefined) return {};
    const { connectedAt, endedAt } = shown;
    const { answer } = (result ?? {}) as { answer?: unknown };
    return {
      status: shown.status,
      type: shown.type,
      ...(answer === undefined ? {} : { answer }),
      started_at: toTimestamp(shown.startedAt),
      ...(connectedAt === undefined ? {} : { connected_at: toTimestamp(connectedAt) }),
      ...(endedAt === undefined ? {} : { ended_at: toTimestamp(endedAt) }),
      ...(shown.endedBy === undefined ? {} : { ended_by: shown.endedBy }),
      ...(shown.reason === undefined ? {} : { end_reason: shown.reason }),
      ...(connectedAt === undefined || endedAt === undefined
        ? {}
        : { duration_seconds: Math.floor((endedAt - connectedAt) / 1_000) }),
    };
  },
  pathSchema: {
    status: callStatus,
    type: callType,
    answer: z.unknown().optional().describe("The user's session description; gone when the call is over."),
    started_at: timestamp,
    connected_at: timestamp.optional(),
    ended_at: timestamp.optional(),
    ended_by: z.enum(["user", "service"]).optional(),
    end_reason: z.string().optional(),
    duration_seconds: z.int().optional(),
  },
};
