// Data that two services share through one person. The combined datastore lives in the person's vault; each service
// reaches it through its own contract and its own agreement. Both state the same schema, naming each other: with the
// second approval the two agreements become one datastore, and neither service learns an id of the other's. What was
// agreed is then read and written without asking again; the vault keeps to it, field by field, and writes down each
// access.

import { z } from "zod";
import { eventId, freeName, identityId, line, prose, timestamp } from "../../protocol/primitives.ts";
import { type AboutWanted, defineOperation, type Kind } from "../kind.ts";
import { boundedJson, isApproved, isUnique } from "../values.ts";

export const MAX_FIELDS = 64;
/** One field's value, in bytes of canonical JSON. */
export const MAX_FIELD_BYTES = 16_384;
/** Services named in one answer. */
export const MAX_CONNECTIONS = 100;
/** Accesses the vault remembers for each datastore, the newest. */
export const MAX_ACCESSES = 500;
const MAX_OPEN = 20;
const EXPIRY_SECONDS = 3_600;
/** Reads and writes are answered by the vault itself, as soon as it is there. */
const ACCESS_EXPIRY_SECONDS = 300;
const GRACE_SECONDS = 300;

const names = z.array(freeName).min(1).max(MAX_FIELDS).refine(isUnique, "must name no field twice");

/** What one service may do with which fields. */
const fieldAccess = z.strictObject({ read: names.optional(), write: names.optional() });

export const sharedSchema = z
  .strictObject({
    fields: z
      .array(
        z.strictObject({
          name: freeName,
          type: z.enum(["string", "number", "boolean", "object", "array"]),
          description: prose(200).optional(),
        }),
      )
      .min(1)
      .max(MAX_FIELDS)
      .refine((fields) => isUnique(fields.map(({ name }) => name)), "must name no field twice"),
    access: z
      .record(identityId, fieldAccess)
      .describe("By service id: the asking service's and the target's."),
  })
  .refine(
    ({ fields, access }) =>
      Object.values(access).every(({ read = [], write = [] }) =>
        [...read, ...write].every((name) => fields.some((field) => field.name === name)),
      ),
    { message: "must give access to fields of the schema only", path: ["access"] },
  );
export type SharedSchema = z.infer<typeof sharedSchema>;

const request = z.object({
  target_service_id: identityId,
  shared_data_schema: sharedSchema,
});
const namesTarget = ({ target_service_id, shared_data_schema }: z.infer<typeof request>): boolean =>
  Object.hasOwn(shared_data_schema.access, target_service_id) &&
  Object.keys(shared_data_schema.access).length === 2;
const TWO_SERVICES = {
  message: "must name the asking service and the target",
  path: ["shared_data_schema", "access"],
};

const values = z
  .record(freeName, boundedJson(MAX_FIELD_BYTES))
  .refine(
    (fields) => Object.keys(fields).length >= 1 && Object.keys(fields).length <= MAX_FIELDS,
    `must hold 1 to ${MAX_FIELDS} fields`,
  );

/** The agreement a datastore's id names; whatever is asked of it must be in its schema. */
const datastore = (id: string, fields: readonly string[]): AboutWanted => ({
  requestId: id,
  operation: "request",
  noun: "datastore of this user",
  conflict: ({ input }) => {
    const { shared_data_schema } = input as z.infer<typeof request>;
    const unknown = fields.find((name) => !shared_data_schema.fields.some((field) => field.name === name));
    return unknown === undefined ? undefined : `the datastore has no field ${unknown}`;
  },
});

const datastoreId = eventId.describe("The id of the request by which the user agreed to it.");
const CAPABILITY = "request_collaboration";

const EXAMPLE_ID = "3mJr7AoUXx2Wqd5kTz8bNcVfEyGhLs9P";
const EXAMPLE_SERVICE = "6Rr8SCTLYDSkmZrvRuVXsZbJ1gBEPPzMWGcxnJSMVkEw";
const EXAMPLE_TARGET = "8qbHbw2BbbTHBW1sbeqakYXVKRQM8Ne7pLK7m6CVfeR9";
const exampleAgreement = {
  target_service_id: EXAMPLE_TARGET,
  shared_data_schema: {
    fields: [{ name: "height_cm", type: "number" as const }],
    access: {
      [EXAMPLE_SERVICE]: { write: ["height_cm"] },
      [EXAMPLE_TARGET]: { read: ["height_cm"] },
    },
  },
};

const access = z.strictObject({
  at: timestamp,
  service_id: identityId,
  action: z.enum(["read", "write"]),
  fields: z.array(freeName).max(MAX_FIELDS),
});

export const collaboration: Kind = {
  name: "collaboration",
  title: "Collaboration",
  getPath: "collaboration/request",
  maxOpen: MAX_OPEN,
  operations: [
    defineOperation({
      name: "connections",
      summary: "Ask which other services a user is connected to",
      path: "collaboration/connections",
      successStatus: 201,
      capabilities: ["list_connections"],
      purposeRequired: false,
      input: z.object({}),
      payload: z.strictObject({}),
      toPayload: () => ({}),
      grant: () => ({ capability: "list_connections" }),
      sameness: () => ({}),
      result: z.strictObject({
        connections: z
          .array(z.strictObject({ service_id: identityId, service_name: line(100) }))
          .max(MAX_CONNECTIONS),
      }),
      sharesValue: true,
      // Which services a person uses is theirs to say, name by name.
      personDecides: () => true,
      example: {},
      defaultExpirySeconds: EXPIRY_SECONDS,
      defaultGraceSeconds: GRACE_SECONDS,
    }),
    defineOperation({
      name: "request",
      summary: "Ask a user to share data with another service through a datastore in their vault",
      path: "collaboration/request",
      successStatus: 201,
      capabilities: [CAPABILITY],
      purposeRequired: true,
      input: request.refine(namesTarget, TWO_SERVICES),
      payload: z.strictObject(request.shape).refine(namesTarget, TWO_SERVICES),
      toPayload: (input) => input,
      grant: ({ target_service_id }) => ({ capability: CAPABILITY, resources: [target_service_id] }),
      personDecides: () => true,
      sameness: ({ target_service_id }) => ({ resource: target_service_id }),
      result: undefined,
      example: exampleAgreement,
      defaultExpirySeconds: EXPIRY_SECONDS,
      defaultGraceSeconds: GRACE_SECONDS,
    }),
    defineOperation({
      name: "read",
      summary: "Read fields of a combined datastore",
      path: "collaboration/datastores/{datastore_id}/read",
      successStatus: 201,
      capabilities: [CAPABILITY],
      purposeRequired: false,
      input: z.object({ datastore_id: datastoreId, fields: names }),
      payload: z.strictObject({ datastore_id: datastoreId, fields: names }),
      toPayload: (input) => input,
      about: ({ datastore_id, fields }) => datastore(datastore_id, fields),
      grant: () => ({ capability: CAPABILITY }),
      standing: true,
      sameness: ({ datastore_id, fields }) => ({ resource: `${datastore_id}/${fields.join("/")}` }),
      result: z.strictObject({ values: z.record(freeName, boundedJson(MAX_FIELD_BYTES)) }),
      sharesValue: true,
      example: { datastore_id: EXAMPLE_ID, fields: ["height_cm"] },
      exampleAbout: exampleAgreement,
      defaultExpirySeconds: ACCESS_EXPIRY_SECONDS,
      defaultGraceSeconds: GRACE_SECONDS,
    }),
    defineOperation({
      name: "write",
      summary: "Write fields of a combined datastore",
      path: "collaboration/datastores/{datastore_id}/write",
      successStatus: 201,
      capabilities: [CAPABILITY],
      purposeRequired: false,
      input: z.object({ datastore_id: datastoreId, values }),
      payload: z.strictObject({ datastore_id: datastoreId, values }),
      toPayload: (input) => input,
      withheld: ["values"],
      about: ({ datastore_id, values }) => datastore(datastore_id, Object.keys(values)),
      grant: () => ({ capability: CAPABILITY }),
      standing: true,
      sameness: ({ datastore_id, values }) => ({
        resource: `${datastore_id}/${Object.keys(values).sort().join("/")}`,
      }),
      result: undefined,
      example: { datastore_id: EXAMPLE_ID, values: { height_cm: 171 } },
      exampleAbout: exampleAgreement,
      defaultExpirySeconds: ACCESS_EXPIRY_SECONDS,
      defaultGraceSeconds: GRACE_SECONDS,
    }),
    defineOperation({
      name: "audit",
      summary: "Ask the user's vault who accessed a combined datastore",
      path: "collaboration/datastores/{datastore_id}/audit",
      joinPath: "collaboration/datastores/{datastore_id}/audit",
      successStatus: 202,
      capabilities: [CAPABILITY],
      purposeRequired: false,
      input: z.object({ datastore_id: datastoreId }),
      payload: z.strictObject({ datastore_id: datastoreId }),
      toPayload: (input) => input,
      about: ({ datastore_id }) => datastore(datastore_id, []),
      grant: () => ({ capability: CAPABILITY }),
      standing: true,
      sameness: ({ datastore_id }) => ({ resource: datastore_id }),
      result: z.strictObject({ accesses: z.array(access).max(MAX_ACCESSES) }),
      example: { datastore_id: EXAMPLE_ID },
      exampleAbout: exampleAgreement,
      defaultExpirySeconds: ACCESS_EXPIRY_SECONDS,
      defaultGraceSeconds: GRACE_SECONDS,
    }),
  ],
  view: () => ({}),
  viewSchema: {},
  pathView: ({ status, payload, result }) => {
    const id =
      payload.operation === "request" && isApproved(status) ? payload.request_id : payload.datastore_id;
    return { ...(id === undefined ? {} : { datastore_id: id }), ...(result as object | undefined) };
  },
  pathSchema: {
    datastore_id: eventId.optional(),
    connections: z.array(z.object({ service_id: identityId, service_name: z.string() })).optional(),
    values: z.record(z.string(), z.unknown()).optional(),
    accesses: z.array(access).optional(),
  },
};
