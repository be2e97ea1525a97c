// The OpenAPI document as something to hold calls against: which operation a call is, and whether an answer is one the
// document describes. Schemas are resolved once. Runs in Node and inside workerd.

import { dereference, type OutputUnit, type Schema, validate } from "@cfworker/json-schema";

interface Media {
  schema?: Schema;
}

export interface DescribedOperation {
  parameters?: { name: string; in: string }[];
  requestBody?: { content: Record<string, Media> };
  responses: Record<string, { content?: Record<string, Media> }>;
}

export interface OpenApiDocument {
  openapi: string;
  paths: Record<string, Record<string, DescribedOperation>>;
  components?: { schemas?: Record<string, Schema> };
}

/** A call as it was made, the path without its query. */
export interface Call {
  method: string;
  path: string;
}

export interface Answered {
  status: number;
  contentType: string | null;
  /** Parsed where it is JSON. */
  body: unknown;
}

/** Statuses that come before any route: the document says them of no operation. */
const OF_NO_ROUTE = new Set([404, 405]);
const BASE_URL = "https://openapi.invalid/";
/** Faults told of one answer. */
const MAX_FAULTS = 5;

export class Described {
  readonly #document: OpenApiDocument;
  readonly #lookup: ReturnType<typeof dereference>;
  readonly #routes: { template: string; pattern: RegExp; places: number }[];

  constructor(document: OpenApiDocument) {
    // A copy: resolving leaves its marks on the schemas.
    this.#document = closed(JSON.parse(JSON.stringify(document))) as OpenApiDocument;
    this.#lookup = dereference(this.#document as never, undefined, new URL(BASE_URL));
    this.#routes = Object.keys(document.paths)
      .map((template) => ({
        template,
        pattern: new RegExp(`^${template.replace(/[.]/g, "\\.").replace(/\{[^}]+\}/g, "([^/]+)")}$`),
        places: template.split("{").length,
      }))
      // A path without places comes before one whose place it would fit.
      .sort((a, b) => a.places - b.places);
  }

  /** Undefined where the document has no such operation. */
  operationOf({ method, path }: Call): { name: string; operation: DescribedOperation } | undefined {
    const verb = method.toLowerCase();
    for (const { template, pattern } of this.#routes) {
      const operation = this.#document.paths[template]?.[verb];
      if (operation !== undefined && pattern.test(path))
        return { name: `${method.toUpperCase()} ${template}`, operation };
    }
    return undefined;
  }

  /** What is wrong with an answer, each as a sentence; empty where the document describes it. */
  faultsOf(call: Call, { status, contentType, body }: Answered): string[] {
    const found = this.operationOf(call);
    if (found === undefined)
      return OF_NO_ROUTE.has(status) ? [] : [`${call.method} ${call.path} is not in the document`];
    const { name, operation } = found;
    const response = operation.responses[String(status)];
    if (response === undefined) return [`${name} answered ${status}, which the document does not name`];
    const type = contentType?.split(";")[0]?.trim() ?? "";
    if (response.content === undefined) return [];
    const media = response.content[type];
    if (media === undefined)
      return [`${name} answered ${status} as ${type}, which the document does not name`];
    return this.#faults(`${name} ${status}`, media, body);
  }

  /** What is wrong with a request's JSON body. */
  faultsOfRequest(call: Call, body: unknown): string[] {
    const found = this.operationOf(call);
    const media = found?.operation.requestBody?.content["application/json"];
    if (found === undefined || media === undefined) return [`${call.method} ${call.path} takes no JSON body`];
    return this.#faults(`${found.name} request`, media, body);
  }

  #faults(what: string, { schema }: Media, body: unknown): string[] {
    if (schema === undefined) return [];
    const { valid, errors } = validate(body, schema, "2020-12", this.#lookup, false);
    if (valid) return [];
    return innermost(errors).map(({ instanceLocation, error }) => `${what}: ${instanceLocation} ${error}`);
  }
}

/**
 * The same schemas, with every object that names its members having no others: what an answer carries beyond its
 * description is a fault, too. Parts of an `allOf` do not know of each other's members.
 */
function closed(value: unknown, open = false): unknown {
  if (Array.isArray(value)) return value.map((item) => closed(item, open));
  if (typeof value !== "object" || value === null) return value;
  const members = Object.entries(value).map(([name, member]) => [name, closed(member, name === "allOf")]);
  const copy = Object.fromEntries(members) as Record<string, unknown>;
  const named = typeof copy.properties === "object" && copy.type === "object";
  if (named && !open) copy.additionalProperties ??= false;
  return copy;
}

/** Errors repeat themselves at every level up to the root: the deepest say what it is about. */
function innermost(errors: OutputUnit[]): OutputUnit[] {
  const deepest = Math.max(...errors.map(({ instanceLocation }) => instanceLocation.split("/").length));
  return errors
    .filter(({ instanceLocation }) => instanceLocation.split("/").length === deepest)
    .slice(0, MAX_FAULTS);
}
