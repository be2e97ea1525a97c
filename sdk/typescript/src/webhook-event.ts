// An event as the journal keeps it and webhooks deliver it.

import type { EventType } from "./generated/types.ts";

/** A type of event; those named are offered by the editor, and any other may come. */
export type AnyEventType = EventType | (string & Record<never, never>);

/** What a backend is told: ids and status words. Whoever wants the values asks the API for them. */
export interface WebhookEvent {
  /** As `contract.activated`, `auth.response`; a newer vault may send types this package does not know. */
  type: AnyEventType;
  /** RFC 3339, UTC, milliseconds. */
  timestamp: string;
  /** The same however often it is delivered: keep those you handled, and handle each once. */
  event_id: string;
  /** Absent where the event is about the service itself. */
  contract_id?: string;
  user_id?: string;
  data: Record<string, string | number | boolean | (string | number | boolean)[]>;
}
