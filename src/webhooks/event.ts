// What a backend is told: one event per transition, with one id for all its deliveries. Thin: ids and status words,
// never a value a person shared. Whoever wants the values asks the API for them, with a key and an audit entry.

import { z } from "zod";
import { utf8 } from "../protocol/json.ts";
import { contractId, eventId, identityId, timestamp } from "../protocol/primitives.ts";

/** An event's JSON text, in bytes: what Standard Webhooks asks senders to stay under. */
export const MAX_EVENT_BYTES = 20_000;
/** Members of `data`; an event names what changed, it does not carry it. */
const MAX_DATA_MEMBERS = 32;
/** Ids are at most 96 characters; status words, amounts and timestamps are shorter. */
const MAX_DATA_CHARACTERS = 256;
/** Ids an event may list under one name. */
const MAX_DATA_ITEMS = 64;

/**
 * Every type but the answers to requests, which are `<kind>.response`. A stored event may be of a type that is not
 * here: deploys are not atomic, and a newer version of a user's object may say more.
 */
export const EVENT_TYPES = [
  "contract.created",
  "contract.activated",
  "contract.updated",
  "contract.paused",
  "contract.resumed",
  "contract.expiring",
  "contract.cancelled",
  "contract.expired",
  "auth.session_ended",
  "request.expired",
  "request.cancelled",
  "request.reported",
  "payment.approved",
  "payment.denied",
  "payment.completed",
  "payment.failed",
  "payment.refunded",
  "subscription.renewed",
  "subscription.renewal_failed",
  "subscription.reminder",
  "subscription.cancelled",
  "secret.response",
  "call.accepted",
  "call.rejected",
  "call.missed",
  "call.ended",
  "call.signal",
  "call.requested",
  "chat.message",
  "notification.delivered",
  "notification.read",
  "profile.updated",
  "capability.revoked",
  "user.event",
  "user.erased",
  "domain.verified",
  "domain.lapsed",
  "webhook.disabled",
] as const;

/** The type of a test delivery. It is no event: it is in no journal and matches no filter. */
export const TEST_EVENT_TYPE = "webhook.test";

export const responseType = (kind: string): string => `${kind}.response`;

/** Two to four dotted names, as Standard Webhooks has them: `contract.created`, `custom.loyalty.response`. */
export const webhookEventType = z
  .string()
  .regex(/^[a-z0-9_]{1,32}(\.[a-z0-9_]{1,32}){1,3}$/, "must be dotted names of [a-z0-9_]");

const word = z.string().max(MAX_DATA_CHARACTERS);
const scalar = z.union([word, z.int(), z.boolean()]);

/** Flat facts without personal data. */
export const eventData = z
  .record(z.string().regex(/^[a-z0-9_]{1,64}$/), z.union([scalar, z.array(scalar).max(MAX_DATA_ITEMS)]))
  .refine((data) => Object.keys(data).length <= MAX_DATA_MEMBERS, `at most ${MAX_DATA_MEMBERS} members`);
export type EventData = z.infer<typeof eventData>;

/** `user_id` is absent where the event is about the service itself: its domain, its endpoints. */
export const webhookEvent = z
  .strictObject({
    type: webhookEventType,
    timestamp,
    event_id: eventId,
    contract_id: contractId.optional(),
    user_id: identityId.optional(),
    data: eventData,
  })
  .refine((event) => utf8(JSON.stringify(event)).length <= MAX_EVENT_BYTES, {
    message: `must be at most ${MAX_EVENT_BYTES} bytes of JSON`,
  });
export type WebhookEvent = z.infer<typeof webhookEvent>;

/** The text that is stored, signed and sent; the same at every attempt. */
export const eventText = (event: WebhookEvent): string => JSON.stringify(event);

/** Types an endpoint asks for, at most. */
export const MAX_FILTER_TYPES = 100;
const WILDCARD = ".*";

/** Whether a filter's entry can ever match: a type there is, or `<its first names>.*`. */
export function isKnownFilter(entry: string, knownTypes: Iterable<string>): boolean {
  for (const type of knownTypes) {
    if (entry === type) return true;
    if (entry.endsWith(WILDCARD) && type.startsWith(entry.slice(0, -1))) return true;
  }
  return false;
}

/** Whether an event is asked for. Without a filter, every one is. */
export const matchesTypes = (types: readonly string[] | undefined, type: string): boolean =>
  types === undefined ||
  types.some((entry) => (entry.endsWith(WILDCARD) ? type.startsWith(entry.slice(0, -1)) : entry === type));
