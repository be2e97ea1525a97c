// Kinds of the service's own: `custom.<name>`, with the fields and the answer that its handler manifest describes in
// JSON Schema. Both sides check both directions: this service against the manifest it publishes now, the person's
// vault against the one in the offer they agreed to. A schema changed since is a kind they never agreed to, and their
// vault says `unsupported`: give the changed one a new name.
//
// The fields stand beside those of every ask, so a schema cannot use their names.

import { z } from "zod";
import { requestPayloadBase } from "../../protocol/asking.ts";
import { canonicalJson } from "../../protocol/json.ts";
import { type HandlerManifest, handlerManifest } from "../../protocol/offer.ts";
import { freeName } from "../../protocol/primitives.ts";
import { complaints, fits, type JsonSchema, schemaFault } from "../json-schema.ts";
import { defineOperation, type Kind } from "../kind.ts";
import { boundedJson } from "../values.ts";

export const CUSTOM_PREFIX = "custom.";
/** The fields of an ask, or its result, in bytes of canonical JSON. */
export const MAX_CUSTOM_BYTES = 262_144;

/** Names a field cannot have: those of every payload, and of every ask's body. */
export const RESERVED_FIELDS: ReadonlySet<string> = new Set([
  ...Object.keys(requestPayloadBase.shape),
  "operation",
  "user_id",
  "callback_url",
  "expires_in_seconds",
  "metadata",
  "expires_in",
  "timeout_seconds",
  "ttl_hours",
  "offline_grace",
  "offline_grace_hours",
]);

/** What the manifest says of one custom kind. */
export type CustomCapability = Pick<
  HandlerManifest["capabilities"][number],
  "name" | "request_schema" | "response_schema"
>;

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const fields = (boundedJson(MAX_CUSTOM_BYTES) as z.ZodType<Record<string, unknown>>)
  .refine(isObject, { message: "must be an object", abort: true })
  .refine((value) => !Object.keys(value).some((name) => RESERVED_FIELDS.has(name)), {
    message: "must not use the names of fields that every ask has",
  });

const input = z
  .strictObject({
    fields,
    capability: z.strictObject({
      name: freeName,
      request_schema: z.record(z.string(), z.json()),
      response_schema: z.record(z.string(), z.json()),
    }),
  })
  .refine(({ capability, fields: given }) => fits(capability.request_schema, given), {
    message: "must fit the manifest's request_schema",
    path: ["fields"],
    when: ({ issues }) => issues.length === 0,
  });
export type CustomInput = z.infer<typeof input>;

/** What is wrong with a manifest's schemas, to be told before it is published. */
export function manifestFaults({
  capabilities,
}: HandlerManifest): { path: (string | number)[]; message: string }[] {
  const names = new Set<string>();
  return capabilities.flatMap((capability, at) => {
    const { name, request_schema, response_schema } = capability;
    const faults: { path: (string | number)[]; message: string }[] = [];
    const fault = (path: (string | number)[], message: string) =>
      faults.push({ path: ["capabilities", at, ...path], message });
    if (names.has(name)) fault(["name"], "is used twice");
    names.add(name);
    for (const [which, schema] of [
      ["request_schema", request_schema],
      ["response_schema", response_schema],
    ] as const) {
      const wrong = schemaFault(schema);
      if (wrong !== undefined) fault([which, ...wrong.path], wrong.message);
    }
    if (request_schema.type !== "object") fault(["request_schema", "type"], 'must be "object"');
    for (const property of Object.keys(isObject(request_schema.properties) ? request_schema.properties : {}))
      if (RESERVED_FIELDS.has(property))
        fault(["request_schema", "properties", property], "is a field that every ask has; use another name");
    return faults;
  });
}

/** A manifest as it may be published. */
export const publishableManifest = handlerManifest.superRefine((manifest, context) => {
  for (const { path, message } of manifestFaults(manifest))
    context.addIssue({ code: "custom", path, message });
});

export type CustomFault =
  | { reason: "unknown" }
  | { reason: "schema_unusable" }
  | { reason: "mismatch"; details: { path: string; message: string }[] };

/** Holds the fields of an ask for `custom.<name>` against a manifest. */
export function customInput(
  name: string,
  given: Record<string, unknown>,
  manifest: HandlerManifest,
): { ok: true; value: CustomInput } | { ok: false; fault: CustomFault } {
  const capability = manifest.capabilities.find((one) => one.name === name);
  if (capability === undefined) return { ok: false, fault: { reason: "unknown" } };
  const { request_schema, response_schema } = capability;
  if (schemaFault(request_schema) !== undefined || schemaFault(response_schema) !== undefined)
    return { ok: false, fault: { reason: "schema_unusable" } };
  const bounded = fields.safeParse(given);
  const details = bounded.success
    ? complaints(request_schema, given)
    : bounded.error.issues.map(({ path, message }) => ({ path: path.join("."), message }));
  if (details.length > 0) return { ok: false, fault: { reason: "mismatch", details } };
  return { ok: true, value: { fields: given, capability: { name, request_schema, response_schema } } };
}

const EXAMPLE: CustomInput = {
  fields: { points: 5 },
  capability: {
    name: "loyalty",
    request_schema: {
      type: "object",
      properties: { points: { type: "integer", minimum: 1 } },
      required: ["points"],
      additionalProperties: false,
    },
    response_schema: { type: "object", properties: { balance: { type: "integer" } }, required: ["balance"] },
  },
};

/** The kind `custom.<name>`. */
export const customKind = (name: string): Kind => ({
  name: `${CUSTOM_PREFIX}${name}`,
  title: "Custom",
  getPath: "custom/request",
  operations: [
    defineOperation({
      name,
      summary: "Ask a user something of the service's own making",
      path: `custom/${name}/request`,
      successStatus: 201,
      capabilities: [`${CUSTOM_PREFIX}${name}`],
      purposeRequired: false,
      input,
      payload: fields,
      toPayload: (asked) => asked.fields,
      grant: () => ({ capability: `${CUSTOM_PREFIX}${name}` }),
      sameness: (asked) => ({ resource: canonicalJson(asked.fields) }),
      result: boundedJson(MAX_CUSTOM_BYTES),
      check: (result, { input: asked }) =>
        asked === undefined || fits((asked as CustomInput).capability.response_schema as JsonSchema, result),
      sharesValue: true,
      defaultExpirySeconds: 3_600,
      defaultGraceSeconds: 300,
      example: { ...EXAMPLE, capability: { ...EXAMPLE.capability, name } },
      exampleResult: { balance: 17 },
    }),
  ],
  view: () => ({}),
  viewSchema: {},
});

/** The kind of a name that no registered kind has, when it is one of a service's own. */
export function customKindNamed(kindName: string): Kind | undefined {
  const name = kindName.startsWith(CUSTOM_PREFIX) ? kindName.slice(CUSTOM_PREFIX.length) : "";
  return freeName.safeParse(name).success ? customKind(name) : undefined;
}
