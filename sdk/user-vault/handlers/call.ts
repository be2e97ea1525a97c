// Calls. Answering one connects it; what the service says in it afterwards is passed on as it comes (`heard` events),
// for media and screens are not this library's. Choice of the person: `answer`, a session description.

import type { Json } from "../../../src/protocol/json.ts";
import {
  CALL_CAPABILITIES,
  type CallType,
  callEnd,
  callSignal,
  chatMessage,
} from "../../../src/requests/kinds/call.ts";
import type { Holdings } from "../holdings.ts";
import { defineHears, type Handled, type Handler, type HandlerContext } from "./handler.ts";

/** Calls that were answered, keyed by id: `{type, status}`. */
export const CALLS = "calls";

type Held = { type: string; status: string };

const heldCall = ({ own }: Holdings, { ref }: HandlerContext & { ref?: string }): Held | undefined =>
  ref === undefined ? undefined : (own.get(CALLS, ref) as Held | undefined);

export const call: Handler = {
  kind: "call",
  answer: ({ requestId, payload, context }, { choices = {} }, { own }): Handled => {
    const type = payload.type as CallType;
    const needed = CALL_CAPABILITIES[type];
    if (!context.contract.offering_snapshot.capabilities.some(({ capability }) => capability === needed))
      return { refuse: "not_granted" };
    own.put(CALLS, requestId, { type, status: "connected" });
    const answer = choices.answer as Json | undefined;
    return { result: answer === undefined ? {} : { answer } };
  },
  hears: {
    // A caller may begin to signal while it rings, so a call that was not answered is no reason to refuse.
    "call.signal": defineHears({
      payload: callSignal,
      run: (_, context, holdings) =>
        context.ref === undefined || heldCall(holdings, context)?.status === "ended"
          ? { refuse: "call_over" }
          : undefined,
    }),
    "chat.message": defineHears({
      payload: chatMessage,
      run: (_, context, holdings) => {
        const held = heldCall(holdings, context);
        if (held?.type !== "text") return { refuse: "not_a_chat" };
        return held.status === "ended" ? { refuse: "call_over" } : undefined;
      },
    }),
    "call.end": defineHears({
      payload: callEnd,
      run: (_, context, holdings) => {
        const held = heldCall(holdings, context);
        if (held === undefined) return { refuse: "call_unknown" };
        holdings.own.put(CALLS, context.ref!, { ...held, status: "ended" });
        return undefined;
      },
    }),
  },
};
