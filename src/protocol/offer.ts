// What a service publishes: offerings, the handler manifest and the signed offer that carries them (PROTOCOL §5).

import { z } from "zod";
import {
  bytesOfLength,
  freeName,
  httpsUrl,
  identityId,
  line,
  money,
  offerId,
  prose,
  publicKey,
  signature,
  timestamp,
  url,
} from "./primitives.ts";

/** `authenticate`, `payment.one_time`, `secret.user_owned.use`, `custom.loyalty`: dotted free names. */
export const capabilityName = z
  .string()
  .regex(/^[a-z0-9_]{1,32}(\.[a-z0-9_]{1,32}){0,2}$/, "must be one to three dotted names of [a-z0-9_]");

/** Bounds on a capability's use; the grant decision enforces every one of them. */
export const capabilityConstraints = z.strictObject({
  max_per_hour: z.int().min(1).max(100_000).optional(),
  max_per_day: z.int().min(1).max(1_000_000).optional(),
  /** The most one payment may ask. */
  max_amount: money.optional(),
  valid_from: timestamp.optional(),
  valid_until: timestamp.optional(),
});
export type CapabilityConstraints = z.infer<typeof capabilityConstraints>;

export const capabilityGrant = z.strictObject({
  capability: capabilityName,
  description: prose(500),
  /** What it reaches: data paths, actions, categories; a trailing `*` stands for any ending. Absent: all. */
  scope: z.array(line(256)).min(1).max(64).optional(),
  constraints: capabilityConstraints.optional(),
  requires_approval_each_use: z.boolean(),
});
export type CapabilityGrant = z.infer<typeof capabilityGrant>;

export const requiredData = z.strictObject({
  data_type: line(128),
  required: z.boolean(),
  purpose: prose(500),
  retention: line(128).optional(),
});

export const pricing = z
  .strictObject({
    type: z.enum(["free", "one_time", "subscription"]),
    amount: z.int().min(0).optional(),
    currency: money.shape.currency.optional(),
    billing_cycle: z.enum(["day", "week", "month", "year"]).optional(),
    trial_days: z.int().min(0).max(365).optional(),
  })
  .refine((price) => price.type === "free" || (price.amount !== undefined && price.currency !== undefined), {
    message: "amount and currency are needed unless type is free",
  });

export const offeringId = z
  .string()
  .regex(/^[a-z0-9][a-z0-9_-]{0,63}$/, "must match [a-z0-9][a-z0-9_-]{0,63}");

/** The part of an offering its owner writes; the vault adds id and version. */
export const offeringContent = z.strictObject({
  name: line(100),
  description: prose(2_000),
  capabilities: z.array(capabilityGrant).min(1).max(64),
  required_data: z.array(requiredData).max(64),
  pricing: pricing.optional(),
  terms_url: httpsUrl.optional(),
  /** SHA-256 of the terms' bytes. */
  terms_hash: bytesOfLength(32).optional(),
  acceptance: z.enum(["automatic", "manual"]),
  inactivity_expiry_days: z.int().min(1).max(3_650).optional(),
  /** The person must type a code the inviter tells them. */
  match_code: z.boolean().optional(),
});
export type OfferingContent = z.infer<typeof offeringContent>;

export const offering = offeringContent.extend({
  offering_id: offeringId,
  /** Grows with every change; a snapshot names the one agreed to. */
  version: z.int().min(1),
});
export type Offering = z.infer<typeof offering>;

const jsonSchema = z.record(z.string(), z.json());

export const handlerManifest = z.strictObject({
  capabilities: z
    .array(
      z.strictObject({
        name: freeName,
        description: prose(500),
        request_schema: jsonSchema,
        response_schema: jsonSchema,
      }),
    )
    .max(64),
  event_handlers: z.array(z.strictObject({ event_type: freeName, description: prose(500) })).max(64),
  plans: z
    .array(
      z.strictObject({
        plan_id: offeringId,
        name: line(100),
        amount: money,
        billing_cycle: z.enum(["day", "week", "month", "year"]),
        trial_days: z.int().min(0).max(365).optional(),
      }),
    )
    .max(64),
});
export type HandlerManifest = z.infer<typeof handlerManifest>;

/** A registry's word about this service; a user vault checks the registry's key before it shows it. */
export const attestation = z.strictObject({
  registry: line(253),
  registry_key: publicKey,
  service_id: identityId,
  statement: prose(500),
  issued_at: timestamp,
  expires_at: timestamp,
  signature,
});
export type Attestation = z.infer<typeof attestation>;

export const offer = z.strictObject({
  v: z.literal(1),
  offer_id: offerId,
  service_id: identityId,
  service_name: line(100),
  service_type: line(64),
  service_public_key: publicKey,
  /** X25519, for setup only. */
  service_encryption_key: publicKey,
  service_nats_endpoint: url("wss", "ws", "nats", "tls"),
  /** A claim; verified by the TXT record alone. */
  domain: line(253).optional(),
  attestations: z.array(attestation).max(16),
  offerings: z.array(offering).max(64),
  handler_manifest: handlerManifest,
  /** C2SP signed-note verifier key of the audit log. */
  log_vkey: line(500),
  log_url: url("https", "http"),
  issued_at: timestamp,
  valid_until: timestamp,
  signature,
});
export type Offer = z.infer<typeof offer>;
