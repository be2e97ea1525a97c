// What a person in the chaos run decides: fixed by the request's id, so that every ledger can be held to it.

/** Approves about three of four. */
export const decisionOn = (requestId: string): "approved" | "denied" =>
  requestId.charCodeAt(requestId.length - 1) % 4 === 0 ? "denied" : "approved";
