// JSON Schema as the handler manifest may use it: a part of draft 2020-12 that ends. A person's vault runs schemas that
// a service wrote, so nothing in them may cost more than the size of schema and value: no references (they can loop),
// no regular expressions (they can backtrack for ever), no `uniqueItems` (it compares every pair).

import { Validator } from "@cfworker/json-schema";
import { z } from "zod";
import { canonicalJson, utf8 } from "../protocol/json.ts";

/** One schema, in bytes of canonical JSON. */
export const MAX_SCHEMA_BYTES = 16_384;
/** Schemas inside schemas. */
export const MAX_SCHEMA_DEPTH = 12;
/** Complaints about one value that are worth telling. */
const MAX_COMPLAINTS = 16;

const type = z.enum(["null", "boolean", "object", "array", "number", "integer", "string"]);
const count = z.int().min(0);
const text = z.string().max(2_000);

/** Lazily, because schemas hold schemas. */
const schema: z.ZodType = z.lazy(() => z.union([z.boolean(), node]));
const schemas = z.array(schema).min(1).max(64);

const node = z.strictObject({
  $schema: z.literal("https://json-schema.org/draft/2020-12/schema").optional(),
  $comment: text.optional(),
  title: text.optional(),
  description: text.optional(),
  default: z.json().optional(),
  examples: z.array(z.json()).optional(),
  deprecated: z.boolean().optional(),
  type: z.union([type, z.array(type).min(1)]).optional(),
  enum: z.array(z.json()).min(1).max(1_024).optional(),
  const: z.json().optional(),
  // Strings
  minLength: count.optional(),
  maxLength: count.optional(),
  format: z.enum(["date", "time", "date-time", "uuid"]).optional(),
  // Numbers
  minimum: z.number().optional(),
  maximum: z.number().optional(),
  exclusiveMinimum: z.number().optional(),
  exclusiveMaximum: z.number().optional(),
  multipleOf: z.number().positive().optional(),
  // Arrays
  items: schema.optional(),
  prefixItems: schemas.optional(),
  contains: schema.optional(),
  minItems: count.optional(),
  maxItems: count.optional(),
  // Objects
  properties: z.record(z.string(), schema).optional(),
  required: z.array(z.string()).optional(),
  additionalProperties: schema.optional(),
  propertyNames: schema.optional(),
  minProperties: count.optional(),
  maxProperties: count.optional(),
  // Either, all, not
  anyOf: schemas.optional(),
  oneOf: schemas.optional(),
  allOf: schemas.optional(),
  not: schema.optional(),
  if: schema.optional(),
  // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
  then: schema.optional(),
  else: schema.optional(),
});

export type JsonSchema = { [keyword: string]: unknown };

function depthOf(value: unknown): number {
  // Counted in pairs of levels: `properties: {name: schema}` is one schema inside another.
  if (typeof value !== "object" || value === null) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depthOf));
}

/** What is wrong with a schema, as a path in it and a sentence; undefined when it may be used. */
export function schemaFault(candidate: unknown): { path: (string | number)[]; message: string } | undefined {
  // Before anything that walks it.
  if (depthOf(candidate) > 2 * MAX_SCHEMA_DEPTH)
    return { path: [], message: `must nest at most ${MAX_SCHEMA_DEPTH} schemas deep` };
  if (utf8(canonicalJson(candidate)).length > MAX_SCHEMA_BYTES)
    return { path: [], message: `must be at most ${MAX_SCHEMA_BYTES} bytes of JSON` };
  const parsed = node.safeParse(candidate);
  if (parsed.success) return undefined;
  const { path, message } = deepest(parsed.error.issues[0]!);
  return { path, message: `${message} (see the documentation for the keywords a manifest may use)` };
}

/** A union's issue says little; the one inside that got furthest says what is meant. */
function deepest(issue: z.core.$ZodIssue): { path: (string | number)[]; message: string } {
  const path = issue.path as (string | number)[];
  if (issue.code !== "invalid_union") return { path, message: issue.message };
  const inner = issue.errors.flat().map(deepest);
  const furthest = inner.toSorted((a, b) => b.path.length - a.path.length)[0];
  const told = inner.find(({ message }) => message.startsWith("Unrecognized")) ?? furthest;
  return told === undefined
    ? { path, message: issue.message }
    : { path: [...path, ...told.path], message: told.message };
}

export interface Complaint {
  /** Dotted, as in other errors of the API. */
  path: string;
  message: string;
}

/** Where a value does not fit a schema that `schemaFault` has let through; empty when it fits. */
export function complaints(schemaUsed: JsonSchema, value: unknown): Complaint[] {
  const { valid, errors } = new Validator(schemaUsed, "2020-12", false).validate(value);
  if (valid) return [];
  return errors.slice(0, MAX_COMPLAINTS).map(({ instanceLocation, error }) => ({
    path: instanceLocation
      .replace(/^#\/?/, "")
      .split("/")
      .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"))
      .join("."),
    message: error,
  }));
}

export const fits = (schemaUsed: JsonSchema, value: unknown): boolean =>
  new Validator(schemaUsed, "2020-12", true).validate(value).valid;
