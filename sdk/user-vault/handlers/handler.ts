// How the vault answers one kind of ask from what it holds, and what it does when the service says something under
// that kind. A kind without a handler is answered by whoever decides: the answer's own `result`, or none.

import type { z } from "zod";
import type { Contract } from "../../../src/protocol/contract.ts";
import type { Json } from "../../../src/protocol/json.ts";
import type { Label } from "../../../src/protocol/labels.ts";
import type { HandlerManifest } from "../../../src/protocol/offer.ts";
import type { Answer } from "../answer.ts";
import type { Holdings } from "../holdings.ts";

/** An ask as a handler sees it: checked against the registry, and decided. */
export interface HandledAsk {
  requestId: string;
  kind: string;
  /** Undefined where the kind has one operation. */
  operation?: string;
  /** As received; the operation's payload schema has accepted it. */
  payload: { [name: string]: Json };
  context: HandlerContext;
}

/** Under which agreement something was asked or said. */
export interface HandlerContext {
  /** Milliseconds since the epoch. */
  now: number;
  serviceId: string;
  userId: string;
  contract: Contract;
  contractId: string;
  /** The service's own capabilities and plans, as in the offer that was agreed to. */
  manifest: HandlerManifest;
  /** The services the person has a contract in force with, this one among them. */
  services: () => { service_id: string; service_name: string }[];
  /** A new random id, base58. */
  newId: () => string;
}

/** What only the vault's identity key can do; never given to `hears`, which runs inside a transaction. */
export interface HandlerSigner {
  /** base64. */
  publicKey: string;
  /** `Sign(label, value)` with the identity key, base64. */
  sign: (label: Label, value: unknown) => Promise<string>;
}

export type Handled =
  /** `result` as the operation's schema wants it; absent where the approval alone is the answer. */
  | { result?: Json }
  /** It cannot be done: the service is told a denial with this reason, at most 128 characters. */
  | { refuse: string };

export interface Hears<Payload = unknown> {
  payload: z.ZodType<Payload>;
  /** Runs in the transaction that stores the message. A refusal is told to the service in the receipt. */
  run: (
    payload: Payload,
    /** `ref`: the request or session the message belongs to. */
    context: HandlerContext & { eventId: string; ref?: string },
    holdings: Holdings,
  ) => { refuse: string } | undefined;
}

export interface Handler {
  kind: string;
  /**
   * Computes the result of an approved ask. Not called for a denial, nor when the answer brings a result of its own.
   * What it writes to `holdings` becomes durable with the answer, once, or not at all; it may be called again when
   * what it read has changed meanwhile, so it must do nothing else.
   */
  answer?: (
    ask: HandledAsk,
    decision: Extract<Answer, { decision: "approved" }>,
    holdings: Holdings,
    signer: HandlerSigner,
  ) => Promise<Handled> | Handled;
  /**
   * Takes in what nobody answers (a notification). Runs in the transaction that stores the message; a refusal is told
   * to the service in the receipt.
   */
  receives?: (told: HandledAsk, holdings: Holdings) => { refuse: string } | undefined;
  /** What the service may send under this kind beside asks, by event type (`payment.update`). */
  hears?: { readonly [eventType: string]: Hears };
}

/** Types a message by its own schema; handlers of every type lie side by side. */
export const defineHears = <Payload>(hears: Hears<Payload>): Hears => hears as unknown as Hears;
