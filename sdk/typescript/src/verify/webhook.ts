// A delivery at your endpoint: that it is your vault's, recent and whole. Standard Webhooks, `v1` and `v1a`.

import { type DeliveryFault, verifyDelivery } from "../../../../src/webhooks/signature.ts";
import type { WebhookEvent } from "../webhook-event.ts";
import { VerificationError } from "./verification-error.ts";

/** Events are at most 20,000 bytes; anything much longer is not one. */
export const MAX_DELIVERY_BYTES = 65_536;

/** What you trust: at least one key. */
export interface WebhookKeys {
  /** `whsec_…` of the webhook; while rotating, the old one and the new one. Checks `v1`. */
  secrets?: readonly string[];
  /** `whpk_…`, as `vault.webhooks.list().page()` tells it. Checks `v1a`: no secret to be kept, only a key to be known. */
  publicKeys?: readonly string[];
}

export interface VerifyWebhookOptions {
  /** How old a delivery may be, and how far ahead of this clock. Default 300. */
  toleranceSeconds?: number;
  /** Milliseconds since the epoch; default the clock. */
  now?: number;
}

/** A delivery as it came: the body before anything parsed it. */
export interface RawDelivery {
  headers: { get(name: string): string | null } | Record<string, string | string[] | undefined>;
  body: Uint8Array | string;
}

const FAULTS: Record<DeliveryFault, { code: VerificationError["code"]; message: string }> = {
  headers_missing: {
    code: "malformed",
    message: "webhook-id, webhook-timestamp or webhook-signature is missing",
  },
  timestamp_too_old: { code: "timestamp_too_old", message: "the delivery was made too long ago" },
  timestamp_too_new: { code: "timestamp_too_new", message: "the delivery is ahead of this clock" },
  signature_invalid: { code: "signature_invalid", message: "no signature is by a key given" },
};

async function rawOf(delivery: Request | RawDelivery): Promise<RawDelivery> {
  if (!("arrayBuffer" in delivery)) return delivery;
  if (Number(delivery.headers.get("content-length") ?? 0) > MAX_DELIVERY_BYTES)
    throw new VerificationError("malformed", "the body is too long to be an event");
  return { headers: delivery.headers, body: new Uint8Array(await delivery.arrayBuffer()) };
}

/** Node gives repeated headers as lists; none of ours is repeated. */
const plainHeaders = (headers: RawDelivery["headers"]) =>
  typeof headers.get === "function"
    ? (headers as { get(name: string): string | null })
    : Object.fromEntries(
        Object.entries(headers as Record<string, string | string[] | undefined>).map(([name, value]) => [
          name,
          Array.isArray(value) ? (value.length === 1 ? value[0] : undefined) : value,
        ]),
      );

/**
 * Resolves with the event when the delivery is signed by a key given and recent; throws VerificationError otherwise
 * (answer those with 400). The same event may come more than once: `event_id` tells.
 */
export async function verifyWebhook(
  delivery: Request | RawDelivery,
  keys: WebhookKeys,
  options: VerifyWebhookOptions = {},
): Promise<WebhookEvent> {
  const { toleranceSeconds, now } = options;
  if (toleranceSeconds !== undefined && !(toleranceSeconds >= 0))
    throw new TypeError("verifyWebhook: toleranceSeconds must be a number of at least 0");
  if ((keys.secrets?.length ?? 0) + (keys.publicKeys?.length ?? 0) === 0)
    throw new TypeError("verifyWebhook: give at least one secret or public key");
  const { headers, body } = await rawOf(delivery);
  if (typeof body !== "string" && !(body instanceof Uint8Array))
    throw new TypeError("verifyWebhook: body must be the text or bytes as they came, before any parsing");
  if (body.length > MAX_DELIVERY_BYTES)
    throw new VerificationError("malformed", "the body is too long to be an event");
  const verified = await verifyDelivery(plainHeaders(headers), body, keys, {
    ...(now === undefined ? {} : { now }),
    ...(toleranceSeconds === undefined ? {} : { toleranceSeconds }),
  });
  if (!verified.ok) {
    const { code, message } = FAULTS[verified.error];
    throw new VerificationError(code, message);
  }
  let event: unknown;
  try {
    event = JSON.parse(typeof body === "string" ? body : new TextDecoder().decode(body));
  } catch {
    throw new VerificationError("malformed", "the body is not JSON");
  }
  // The id that was signed is the event's: a receiver may go by either.
  const { type, event_id } = (event ?? {}) as Partial<WebhookEvent>;
  if (typeof type !== "string" || event_id !== verified.value.id)
    throw new VerificationError("malformed", "the body is not the event that the headers name");
  return event as WebhookEvent;
}
