// Schemas the routes share, and how a schema is shown in /openapi.json.

import { z } from "@hono/zod-openapi";
import { approval, requestStatus } from "../protocol/asking.ts";
import { auditEntry } from "../protocol/audit.ts";
import { contractRecord, contractStatus } from "../protocol/contract.ts";
import { canonicalJson } from "../protocol/json.ts";
import { capabilityName, offering, offeringId } from "../protocol/offer.ts";
import { contractId, eventId, identityId, keyId, publicKey, timestamp } from "../protocol/primitives.ts";

type JsonSchema = Record<string, unknown>;

/** Replaces references to local definitions: the only recursive schema is "any JSON", and says nothing anyway. */
function inlined(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inlined);
  if (typeof value !== "object" || value === null) return value;
  if (typeof (value as JsonSchema).$ref === "string") return {};
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, member]) =>
      name === "$defs" || name === "$schema" ? [] : [[name, inlined(member)]],
    ),
  );
}

/**
 * The same schema, shown in /openapi.json as zod itself describes it. The OpenAPI generator does not end on
 * recursive schemas, which every "any JSON" field is. `name` puts it among the document's components.
 */
export function documented<S extends z.ZodType>(schema: S, name?: string): S {
  const shown = inlined(z.toJSONSchema(schema, { io: "input", unrepresentable: "any" })) as JsonSchema;
  // Unions of objects have no type of their own, and without one the generator looks inside.
  const metadata = { type: "object", ...shown } as never;
  // A copy, because schemas made before the OpenAPI extension was loaded lack its method.
  const copy = schema.clone() as S;
  return name === undefined ? copy.openapi(metadata) : copy.openapi(name, metadata);
}

/** A JSON body or answer. */
export const json = <S extends z.ZodType>(schema: S, name?: string) => ({
  "application/json": { schema: documented(schema, name) },
});

/** A 2xx answer. */
export const answer = <S extends z.ZodType>(description: string, schema: S, name?: string) => ({
  description,
  content: json(schema, name),
});

export const problemSchema = documented(
  z.object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: z.string(),
    message: z.string(),
    details: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
  }),
  "Problem",
);

const MAX_LIST_LIMIT = 100;
const DEFAULT_LIST_LIMIT = 50;
export const MAX_OFFSET = 100_000;
/** Longer than any id given out. */
const MAX_ID_CHARACTERS = 128;
const MAX_CURSOR_CHARACTERS = 256;
/** Free data a backend attaches to what it makes, in bytes of its canonical JSON. */
const MAX_METADATA_BYTES = 8_192;

/** `limit` and `cursor` of every list. */
export const listQuery = {
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(MAX_LIST_LIMIT)
    .default(DEFAULT_LIST_LIMIT)
    .describe("How many to answer with."),
  cursor: z.string().max(MAX_CURSOR_CHARACTERS).optional().describe("`next_cursor` of the page before."),
};

/** `{<name>: [], next_cursor?}`. */
export const listOf = <Name extends string, S extends z.ZodType>(name: Name, item: S) =>
  z.object({ [name]: z.array(item), next_cursor: z.string().optional() } as Record<Name, z.ZodArray<S>> & {
    next_cursor: z.ZodOptional<z.ZodString>;
  });

/**
 * An id in a path. Its form is not checked here: an id that was never given out is `not_found`, however it looks.
 */
export const idParam = <const Name extends string>(name: Name, description: string) =>
  z.object({ [name]: z.string().min(1).max(MAX_ID_CHARACTERS).describe(description) } as Record<
    Name,
    z.ZodString
  >);

export const metadata = z
  .unknown()
  .refine((value) => value === undefined || canonicalJson(value).length <= MAX_METADATA_BYTES, {
    message: `must be at most ${MAX_METADATA_BYTES} bytes of JSON`,
  });

export const scope = z.enum([
  "requests:read",
  "requests:write",
  "contracts:read",
  "contracts:write",
  "audit:read",
  "admin",
]);

export const contractView = z.object({
  contract_id: contractId,
  user_id: identityId,
  service_id: identityId,
  offering_id: offeringId,
  offering_name: z.string(),
  offering,
  capabilities: z.array(capabilityName),
  status: contractStatus,
  created_at: timestamp,
  activated_at: timestamp.optional(),
  expires_at: timestamp.optional(),
  cancelled_at: timestamp.optional(),
  cancelled_by: z.enum(["user", "service"]).optional(),
  cancelled_reason: z.string().optional(),
  supersedes: contractId.optional(),
  superseded_by: contractId.optional().describe("The contract that took its place; act on that one."),
});

export const contractDetail = contractView.extend({
  record: contractRecord.optional().describe("What proves the contract by itself; absent until accepted."),
  verification: z.object({
    valid: z.boolean(),
    checks: z.array(z.object({ check: z.string(), ok: z.boolean(), detail: z.string() })),
  }),
  connection: z.object({
    last_activity_at: timestamp.optional(),
    service_key_ids: z.array(keyId),
    user_key_ids: z.array(keyId),
    sent_seq: z.int(),
    received_seq: z.int(),
    missing_seq: z.array(z.int()),
  }),
});

export const requestView = z.object({
  request_id: eventId,
  user_id: identityId,
  contract_id: contractId,
  kind: z.string(),
  operation: z.string(),
  status: requestStatus,
  created_at: timestamp,
  expires_at: timestamp,
  delivered_at: timestamp.optional().describe("When the user's vault confirmed that it has the ask."),
  responded_at: timestamp.optional(),
  timestamp: timestamp.describe("When `status` was entered."),
  reason: z.string().optional(),
  result: z.unknown().optional(),
  result_destroyed: z
    .boolean()
    .optional()
    .describe("The answer carried a shared value that is no longer kept."),
  request_payload: z.unknown().describe("What the user saw and signed the digest of."),
  approval: approval.optional().describe("The user's signed statement; verifiable offline."),
  user_signing_key: publicKey,
  metadata: z.unknown().optional(),
});

/** A request of whatever kind: its kind's own fields stand beside these. */
export const anyRequestView = requestView.loose();

export const auditEntryView = auditEntry;
