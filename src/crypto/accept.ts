// Whether to believe a message (PROTOCOL §4, "Accept"): size → schema → subject, from, to, contract → times →
// signature → not seen → key known → decrypt → payload. The state that must allow it is the caller's last step.
// Both sides use this; what they know comes in through `Recipient`.

import type { z } from "zod";
import { type EnvelopeFault, type EnvelopeHeader, parseEnvelope } from "../protocol/envelope.ts";
import { parseJson } from "../protocol/json.ts";
import { MAX_CLOCK_AHEAD_MS } from "../protocol/limits.ts";
import { fromTimestamp } from "../protocol/primitives.ts";
import type { AgreementKey } from "./agreement.ts";
import { open, verifyEnvelope } from "./seal.ts";

export interface Recipient {
  readonly now: number;
  /** This side's id. */
  readonly id: string;
  /** The subjects a message with this header may arrive on. */
  subjectsOf(header: EnvelopeHeader): readonly string[];
  /** The 32-byte key the sender must have signed with; undefined when sender and contract do not belong together. */
  signingKeyOf(header: EnvelopeHeader): Uint8Array | undefined;
  /** Looked up only for messages whose signature holds. */
  seen(header: EnvelopeHeader): "new" | "seen" | "seq_reused";
  keyOf(header: EnvelopeHeader): Promise<AgreementKey | undefined> | AgreementKey | undefined;
  schemaOf(eventType: string): z.ZodType | undefined;
}

export type AcceptFault =
  | EnvelopeFault
  | "subject_mismatch"
  | "wrong_recipient"
  | "unknown_contract"
  | "expired"
  | "from_the_future"
  | "signature_invalid"
  | "seq_reused"
  | "unknown_key"
  | "undecryptable";

const verified: unique symbol = Symbol("verified");

/** Made by `accept` alone. */
export interface VerifiedMessage {
  readonly [verified]: true;
  readonly header: EnvelopeHeader;
  /** Of the form its event type asks; unchanged from what was sealed. */
  readonly payload: unknown;
}

export type Acceptance =
  /** Not to be answered: nothing shows that it came from the user. */
  | { outcome: "rejected"; reason: AcceptFault; eventId?: string }
  /** Authentic and known already: its receipt is due again. */
  | { outcome: "seen"; header: EnvelopeHeader }
  /** Authentic, but not of the form its type asks; its receipt says `refused`. */
  | { outcome: "malformed"; header: EnvelopeHeader; payload: unknown }
  | { outcome: "verified"; message: VerifiedMessage };

export async function accept(bytes: Uint8Array, subject: string, recipient: Recipient): Promise<Acceptance> {
  const parsed = parseEnvelope(bytes);
  if (!parsed.ok) return { outcome: "rejected", reason: parsed.error };
  const envelope = parsed.value;
  const { header } = envelope;
  const rejected = (reason: AcceptFault): Acceptance => ({
    outcome: "rejected",
    reason,
    eventId: header.event_id,
  });

  if (header.to !== recipient.id) return rejected("wrong_recipient");
  if (!recipient.subjectsOf(header).includes(subject)) return rejected("subject_mismatch");
  const signingKey = recipient.signingKeyOf(header);
  if (signingKey === undefined) return rejected("unknown_contract");
  if (fromTimestamp(header.expires_at) <= recipient.now) return rejected("expired");
  if (fromTimestamp(header.timestamp) > recipient.now + MAX_CLOCK_AHEAD_MS)
    return rejected("from_the_future");
  if (!(await verifyEnvelope(envelope, signingKey))) return rejected("signature_invalid");
  const seen = recipient.seen(header);
  if (seen === "seen") return { outcome: "seen", header };
  if (seen === "seq_reused") return rejected("seq_reused");
  const key = await recipient.keyOf(header);
  if (key === undefined) return rejected("unknown_key");
  const plaintext = await open(envelope, key);
  if (plaintext === undefined) return rejected("undecryptable");
  const schema = recipient.schemaOf(header.event_type);
  if (schema === undefined) return { outcome: "malformed", header, payload: undefined };
  const json = parseJson(plaintext);
  if (!json.ok) return { outcome: "malformed", header, payload: undefined };
  if (!schema.safeParse(json.value).success) return { outcome: "malformed", header, payload: json.value };
  return { outcome: "verified", message: { [verified]: true, header, payload: json.value } };
}
