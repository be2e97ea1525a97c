// The body of an ask: the fields of every ask beside the operation's own, the aliases of older clients, and their
// bounds. Pure.

import { z } from "@hono/zod-openapi";
import { askContext, purpose } from "../protocol/asking.ts";
import { MAX_ENVELOPE_LIFETIME_MS } from "../protocol/limits.ts";
import { identityId, url } from "../protocol/primitives.ts";
import type { KindOperation } from "../requests/kind.ts";
import type { ProblemDetail } from "./errors.ts";
import { validationError } from "./middleware/errors.ts";
import { metadata } from "./schemas.ts";

export const MIN_EXPIRY_SECONDS = 60;
export const MAX_EXPIRY_SECONDS = 30 * 24 * 3_600;
/** An envelope lives until expiry and grace are over, and has 31 days for that. */
export const MAX_LIFETIME_SECONDS = MAX_ENVELOPE_LIFETIME_MS / 1_000;

const seconds = z.int().min(0);

/** Each alias with the field it stands for and how many seconds its unit is. */
const ALIASES = {
  expires_in: { field: "expires_in_seconds", secondsPerUnit: 1 },
  timeout_seconds: { field: "expires_in_seconds", secondsPerUnit: 1 },
  ttl_hours: { field: "expires_in_seconds", secondsPerUnit: 3_600 },
  offline_grace: { field: "offline_grace_seconds", secondsPerUnit: 0.001 },
  offline_grace_hours: { field: "offline_grace_seconds", secondsPerUnit: 3_600 },
} as const;

export const askFields = {
  user_id: identityId.describe("Whom to ask."),
  context: askContext
    .optional()
    .describe("What surrounds the ask, as the person sees it: device, place, order number. Flat and short."),
  callback_url: url("https", "http")
    .optional()
    .describe(
      "Told when this request ends, beside the webhooks. https only; http to this machine in development.",
    ),
  expires_in_seconds: seconds
    .optional()
    .describe(
      `How long the person may answer: ${MIN_EXPIRY_SECONDS} s to 30 days; the default is the kind's.`,
    ),
  offline_grace_seconds: seconds
    .optional()
    .describe("How long after expiry an answer given in time may still arrive; the default is the kind's."),
  metadata: metadata
    .optional()
    .describe("Yours: kept with the request and shown with it, never sent to the person."),
  expires_in: seconds.optional().describe("Alias of expires_in_seconds."),
  timeout_seconds: seconds.optional().describe("Alias of expires_in_seconds."),
  ttl_hours: z.number().min(0).optional().describe("Alias of expires_in_seconds, in hours."),
  offline_grace: seconds.optional().describe("Alias of offline_grace_seconds, in milliseconds."),
  offline_grace_hours: z.number().min(0).optional().describe("Alias of offline_grace_seconds, in hours."),
};

/** `purpose` stands apart: some operations can do without. */
export const purposeField = (required: boolean) => {
  const field = purpose.describe("Why you ask, in words for the person.");
  return required ? field : field.optional();
};

export type AskBody = z.infer<z.ZodObject<typeof askFields>> & { purpose?: string };

/** Names in braces in an operation's path: fields of its input that stand there. */
export const pathFields = (operation: KindOperation): string[] =>
  [...operation.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);

/** The operation's own fields by name; undefined where its input is no plain object. */
const ownShape = (operation: KindOperation): z.ZodRawShape | undefined =>
  operation.input instanceof z.ZodObject ? operation.input.shape : undefined;

/** The path's parameters. Their form is checked with the rest of the input. */
export const askParams = (operation: KindOperation): z.ZodObject =>
  z.object(Object.fromEntries(pathFields(operation).map((name) => [name, z.string().min(1).max(128)])));

/** An ask without a body: what a query can say. */
export function askQuery(operation: KindOperation): z.ZodType<AskBody> {
  const inPath = pathFields(operation);
  const own = Object.entries(ownShape(operation) ?? {}).filter(([name]) => !inPath.includes(name));
  const seconds = z.coerce.number().int().min(0).optional();
  return z.strictObject({
    user_id: askFields.user_id,
    purpose: purposeField(operation.purposeRequired),
    expires_in_seconds: seconds,
    offline_grace_seconds: seconds,
    ...Object.fromEntries(own),
  }) as unknown as z.ZodType<AskBody>;
}

/** The body of an ask: the fields of every ask and the operation's own, and no others. */
export function askBody(operation: KindOperation): z.ZodType<AskBody> {
  const common = { ...askFields, purpose: purposeField(operation.purposeRequired) };
  const inPath = pathFields(operation);
  const own = Object.entries(ownShape(operation) ?? {}).filter(([name]) => !inPath.includes(name));
  // An operation may bring its own purpose or a field of the same name as an alias; its schema then wins.
  const body =
    operation.input instanceof z.ZodObject
      ? z.strictObject({ ...common, ...Object.fromEntries(own) })
      : z.looseObject(common).and(operation.input as z.ZodType<Record<string, unknown>>);
  return body as unknown as z.ZodType<AskBody>;
}

/** The operation's own fields, as its schema returns them. */
export function operationInput(operation: KindOperation, body: AskBody): unknown {
  const own =
    operation.input instanceof z.ZodObject
      ? Object.fromEntries(
          Object.entries(body).filter(([name]) =>
            Object.hasOwn((operation.input as z.ZodObject).shape, name),
          ),
        )
      : Object.fromEntries(
          Object.entries(body).filter(([name]) => name !== "purpose" && !Object.hasOwn(askFields, name)),
        );
  // Again, because checks over several fields do not survive merging the fields into one body.
  const parsed = operation.input.safeParse(own);
  if (!parsed.success) throw validationError(parsed.error.issues);
  return parsed.data;
}

type TimeFields = {
  [Name in keyof typeof ALIASES | "expires_in_seconds" | "offline_grace_seconds"]?: number | undefined;
};

export interface AskTimes {
  expiresInSeconds: number;
  offlineGraceSeconds: number;
}

/** The times of an ask, with aliases folded and defaults filled in; or what is wrong with them. */
export function askTimes(
  body: TimeFields,
  defaults: { defaultExpirySeconds: number; defaultGraceSeconds: number },
): { ok: true; value: AskTimes } | { ok: false; details: ProblemDetail[] } {
  const given: {
    [Field in "expires_in_seconds" | "offline_grace_seconds"]?: { name: string; seconds: number };
  } = {};
  const details: ProblemDetail[] = [];
  const take = (field: keyof typeof given, name: string, value: number) => {
    // Whole seconds, rounded up: a person should never have less time than was asked for. The detour over
    // microseconds takes off what floating point added.
    const rounded = Math.ceil(Math.round(value * 1_000_000) / 1_000_000);
    const earlier = given[field];
    if (earlier !== undefined && earlier.seconds !== rounded)
      details.push({ path: name, message: `says something else than ${earlier.name}; send one of them` });
    given[field] = { name, seconds: rounded };
  };
  for (const field of ["expires_in_seconds", "offline_grace_seconds"] as const)
    if (body[field] !== undefined) take(field, field, body[field]);
  for (const [name, { field, secondsPerUnit }] of Object.entries(ALIASES)) {
    const value = body[name as keyof typeof ALIASES];
    if (value !== undefined) take(field, name, value * secondsPerUnit);
  }

  const expiry = given.expires_in_seconds ?? {
    name: "expires_in_seconds",
    seconds: defaults.defaultExpirySeconds,
  };
  const grace = given.offline_grace_seconds ?? {
    name: "offline_grace_seconds",
    seconds: defaults.defaultGraceSeconds,
  };
  if (expiry.seconds < MIN_EXPIRY_SECONDS || expiry.seconds > MAX_EXPIRY_SECONDS) {
    details.push({
      path: expiry.name,
      message: `must come to between ${MIN_EXPIRY_SECONDS} seconds and 30 days`,
    });
  } else if (expiry.seconds + grace.seconds > MAX_LIFETIME_SECONDS) {
    details.push({ path: grace.name, message: "must end within 31 days together with the expiry" });
  }
  return details.length > 0
    ? { ok: false, details }
    : { ok: true, value: { expiresInSeconds: expiry.seconds, offlineGraceSeconds: grace.seconds } };
}
