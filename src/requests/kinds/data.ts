// The person's data, and the service's own namespace in their vault. Browsing names what there is, requesting shares
// values, both from the person's own data; write and read keep what the service wants kept with the person, and never
// touch anything else.
//
// Scope: entries match the data types, data paths or keys themselves; `address/*` covers all of an address. Browsing
// without `data_types` asks for whatever the scope covers: the person's vault leaves the rest out.

import { z } from "zod";
import { freeName, line } from "../../protocol/primitives.ts";
import { defineOperation, type Kind } from "../kind.ts";
import { boundedJson, isApproved, isUnique } from "../values.ts";

/** Paths, types or keys in one ask: what a person can still read through. */
export const MAX_DATA_PATHS = 64;
const MAX_PATH_CHARACTERS = 256;
/** Entries a browse may answer with. */
export const MAX_METADATA_ENTRIES = 512;
/** All values of one answer, or the one value of a write, in bytes of canonical JSON. */
export const MAX_SHARED_BYTES = 393_216;
export const MAX_WRITTEN_BYTES = 262_144;

const path = line(MAX_PATH_CHARACTERS);
const paths = z
  .array(path)
  .min(1)
  .max(MAX_DATA_PATHS)
  .refine(isUnique, { message: "must name nothing twice" });

/** Values by path or key. */
const values = (boundedJson(MAX_SHARED_BYTES) as z.ZodType<Record<string, unknown>>).refine(
  (value) =>
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    Object.keys(value).every((name) => path.safeParse(name).success),
  { message: "must be an object of values by path" },
);

const metadataEntry = z.strictObject({
  data_type: path.describe("The path to ask for."),
  name: line(128).describe("In words for people."),
  /** JSON type of the value. */
  value_type: z.enum(["string", "number", "boolean", "array", "object", "null"]).optional(),
});

const constraints = z
  .record(freeName, z.unknown())
  .optional()
  .describe("Limits the person set; signed with the approval, for the backend to keep.");

export type DataMetadata = z.infer<typeof metadataEntry>;

const browseFields = {
  data_types: paths.optional().describe("Absent: whatever the contract's scope covers."),
};
const requestFields = { data_paths: paths.describe("What to share, as `address/home`.") };
const writeFields = {
  key: path.describe("In the service's own namespace in the user's vault."),
  value: boundedJson(MAX_WRITTEN_BYTES),
};
const readFields = { keys: paths.describe("Of the service's own namespace; absent ones are left out.") };

const isWithin = (asked: unknown, answered: object): boolean =>
  Object.keys(answered).every((name) => (asked as readonly string[]).includes(name));

export const data: Kind = {
  name: "data",
  title: "Data",
  getPath: "data/request",
  operations: [
    defineOperation({
      name: "browse",
      summary: "Ask a user what data of theirs there is, without values",
      path: "data/browse",
      successStatus: 201,
      capabilities: ["browse_metadata"],
      purposeRequired: false,
      input: z.object(browseFields),
      payload: z.strictObject(browseFields),
      toPayload: ({ data_types }) => (data_types === undefined ? {} : { data_types }),
      grant: ({ data_types }) => ({
        capability: "browse_metadata",
        ...(data_types === undefined ? {} : { resources: data_types }),
      }),
      sameness: ({ data_types }) => ({ resource: (data_types ?? []).toSorted().join("\n") }),
      result: z.strictObject({
        metadata: z
          .array(metadataEntry)
          .max(MAX_METADATA_ENTRIES)
          .refine((entries) => isUnique(entries.map(({ data_type }) => data_type)), {
            message: "must name nothing twice",
          }),
      }),
      sharesValue: true,
      defaultExpirySeconds: 3_600,
      defaultGraceSeconds: 300,
      example: { data_types: ["address/home", "email"] },
      exampleResult: { metadata: [{ data_type: "email", name: "E-mail address", value_type: "string" }] },
    }),
    defineOperation({
      name: "request",
      summary: "Ask a user to share data of theirs",
      path: "data/request",
      successStatus: 201,
      capabilities: ["request_data"],
      purposeRequired: true,
      input: z.object(requestFields),
      payload: z.strictObject(requestFields),
      toPayload: ({ data_paths }) => ({ data_paths }),
      grant: ({ data_paths }) => ({ capability: "request_data", resources: data_paths }),
      sameness: ({ data_paths }) => ({ resource: data_paths.toSorted().join("\n") }),
      result: z.strictObject({
        data: values.refine((value) => Object.keys(value).length > 0, { message: "must share something" }),
        share: z.enum(["once", "contract"]),
      }),
      // The person may share less than was asked, never something else.
      check: (result, { payload }) => isWithin(payload.data_paths, result.data),
      sharesValue: true,
      defaultExpirySeconds: 3_600,
      defaultGraceSeconds: 300,
      example: { data_paths: ["address/home"] },
      exampleResult: { data: { "address/home": { city: "London" } }, share: "once" },
    }),
    defineOperation({
      name: "write",
      summary: "Keep a value in the service's own namespace in the user's vault",
      path: "data/write",
      successStatus: 201,
      capabilities: ["write_data"],
      purposeRequired: false,
      input: z.object(writeFields),
      payload: z.strictObject(writeFields),
      toPayload: ({ key, value }) => ({ key, value }),
      grant: ({ key }) => ({ capability: "write_data", resources: [key] }),
      sameness: ({ key }) => ({ resource: key }),
      result: undefined,
      defaultExpirySeconds: 3_600,
      defaultGraceSeconds: 300,
      example: { key: "settings/theme", value: { dark: true } },
    }),
    defineOperation({
      name: "read",
      summary: "Read values of the service's own namespace in the user's vault",
      path: "data/read",
      successStatus: 201,
      capabilities: ["read_data"],
      purposeRequired: false,
      input: z.object(readFields),
      payload: z.strictObject(readFields),
      toPayload: ({ keys }) => ({ keys }),
      grant: ({ keys }) => ({ capability: "read_data", resources: keys }),
      sameness: ({ keys }) => ({ resource: keys.toSorted().join("\n") }),
      result: z.strictObject({ data: values }),
      check: (result, { payload }) => isWithin(payload.keys, result.data),
      sharesValue: true,
      defaultExpirySeconds: 3_600,
      defaultGraceSeconds: 300,
      example: { keys: ["settings/theme"] },
      exampleResult: { data: { "settings/theme": { dark: true } } },
    }),
  ],
  // The members of the result, beside it: gone with it when it is destroyed.
  view: ({ status, result, approval }) => ({
    ...(typeof result === "object" && result !== null ? result : {}),
    ...(isApproved(status) && approval?.statement.constraints !== undefined
      ? { constraints: approval.statement.constraints }
      : {}),
  }),
  viewSchema: {
    metadata: z.array(metadataEntry).optional().describe("Of a browse."),
    data: z
      .record(z.string(), z.unknown())
      .optional()
      .describe("Of a request or a read: values by path; destroyed 300 s after they were first read."),
    share: z
      .enum(["once", "contract"])
      .optional()
      .describe("What the person allows: to use it for this purpose once, or as long as the contract lives."),
    constraints,
  },
};
