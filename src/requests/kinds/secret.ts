// Secrets that a service keeps in a person's vault, in three tiers. `minor`: the vault may hand it out by the
// person's policy. `critical`: the person decides each time. `user_owned`: issued to the person, who then uses it for
// the service (signs, decrypts, derives) without ever giving it back. A secret's id is that of the request that
// stored it, so its tier is known here without keeping anything of the secret itself: the value travels sealed and
// rests in the user's vault alone.

import { z } from "zod";
import { canonicalJson, utf8 } from "../../protocol/json.ts";
import { bytesUpTo, eventId, line, prose, publicKey, timestamp } from "../../protocol/primitives.ts";
import { type About, type AboutWanted, defineOperation, type Kind } from "../kind.ts";
import { boundedJson, isApproved } from "../values.ts";

/** A key, a password, a document number: files are not secrets. */
export const MAX_SECRET_BYTES = 65_536;
/** What a use takes in or gives out. */
export const MAX_USE_BYTES = 65_536;
export const MAX_SECRET_METADATA_BYTES = 4_096;
/** Secrets one service may keep with one person. */
export const MAX_SECRETS = 256;
const MAX_OPEN = 20;
const EXPIRY_SECONDS = 300;
const GRACE_SECONDS = 300;

export const secretTier = z.enum(["minor", "critical", "user_owned"]);
export type SecretTier = z.infer<typeof secretTier>;

const secretId = eventId.describe("The id of the request that stored the secret.");
const data = bytesUpTo(MAX_SECRET_BYTES)
  .min(4, "must not be empty")
  .describe(`The secret, base64, at most ${MAX_SECRET_BYTES} bytes.`);
const secretMetadata = z
  .record(z.string().min(1).max(64), boundedJson(MAX_SECRET_METADATA_BYTES))
  .refine(
    (value) => utf8(canonicalJson(value)).length <= MAX_SECRET_METADATA_BYTES,
    `must be at most ${MAX_SECRET_METADATA_BYTES} bytes of JSON`,
  )
  .describe("Kept with the secret in the user's vault.");

const name = line(100);
const description = prose(500);

/** What the service may do with a tier. */
const CAPABILITIES = {
  minor: { write: "secret.minor.write", read: "secret.minor.read" },
  critical: { write: "secret.critical.write", read: "secret.critical.read" },
  user_owned: { write: "secret.user_owned.issue", read: "secret.user_owned.use" },
} as const;

/** What a contract must grant for an operation on a secret of a tier. */
export const secretCapability = (operation: string, tier: SecretTier): string =>
  CAPABILITIES[tier][
    operation === "store" || operation === "update" || operation === "delete" ? "write" : "read"
  ];

const WRITE = ["secret.minor.write", "secret.critical.write"] as const;
const READ = ["secret.minor.read", "secret.critical.read"] as const;

const tierOf = (about: About | undefined): SecretTier =>
  (about?.input as { secret_type: SecretTier } | undefined)?.secret_type ?? "critical";

const stored = (id: string, conflict: (tier: SecretTier) => string | undefined): AboutWanted => ({
  requestId: id,
  operation: "store",
  noun: "secret of this user",
  conflict: (about) => conflict(tierOf(about)),
});

const notOwned =
  (verb: string) =>
  (tier: SecretTier): string | undefined =>
    tier === "user_owned"
      ? `a user-owned secret is the user's: it is not the service's to ${verb}`
      : undefined;

/** Above the lowest tier no policy decides. */
const personDecides = ({ secret_type }: { secret_type: SecretTier }): boolean => secret_type !== "minor";

const EXAMPLE_ID = "3mJr7AoUXx2Wqd5kTz8bNcVfEyGhLs9P";

const listed = z.strictObject({
  secret_id: eventId,
  secret_type: secretTier,
  name,
  description: description.optional(),
  metadata: secretMetadata.optional(),
  created_at: timestamp,
  updated_at: timestamp,
});

export const secret: Kind = {
  name: "secret",
  title: "Secrets",
  getPath: "secrets/request",
  maxOpen: MAX_OPEN,
  operations: [
    defineOperation({
      name: "store",
      summary: "Keep a secret in the user's vault",
      path: "secrets/store",
      successStatus: 202,
      capabilities: [...WRITE, "secret.user_owned.issue"],
      purposeRequired: false,
      input: z.object({
        secret_type: secretTier,
        name,
        description: description.optional(),
        data,
        metadata: secretMetadata.optional(),
      }),
      payload: z.strictObject({
        secret_type: secretTier,
        name,
        description: description.optional(),
        data,
        metadata: secretMetadata.optional(),
      }),
      toPayload: (input) => input,
      withheld: ["data"],
      grant: ({ secret_type }) => ({ capability: CAPABILITIES[secret_type].write }),
      personDecides,
      sameness: ({ secret_type, name }) => ({ resource: `${secret_type}/${name}` }),
      result: undefined,
      example: {
        secret_type: "minor",
        name: "Locker code",
        description: "Opens locker 12 at the pool",
        data: "NDcxMQ==",
      },
      defaultExpirySeconds: EXPIRY_SECONDS,
      defaultGraceSeconds: GRACE_SECONDS,
    }),
    defineOperation({
      name: "retrieve",
      summary: "Ask for a secret back",
      path: "secrets/retrieve",
      successStatus: 202,
      capabilities: READ,
      purposeRequired: true,
      input: z.object({ secret_id: secretId }),
      payload: z.strictObject({ secret_id: secretId, secret_type: secretTier }),
      toPayload: ({ secret_id }, about) => ({ secret_id, secret_type: tierOf(about) }),
      about: ({ secret_id }) => stored(secret_id, notOwned("retrieve; use it instead")),
      grant: (_, about) => ({ capability: CAPABILITIES[tierOf(about)].read }),
      personDecides,
      sameness: ({ secret_id }) => ({ resource: secret_id }),
      result: z.strictObject({
        secret_type: secretTier,
        name,
        data,
        metadata: secretMetadata.optional(),
      }),
      sharesValue: true,
      example: { secret_id: EXAMPLE_ID },
      defaultExpirySeconds: EXPIRY_SECONDS,
      defaultGraceSeconds: GRACE_SECONDS,
    }),
    defineOperation({
      name: "update",
      summary: "Change a secret",
      method: "put",
      path: "secrets/{secret_id}",
      successStatus: 202,
      capabilities: WRITE,
      purposeRequired: false,
      input: z
        .object({
          secret_id: secretId,
          name: name.optional(),
          description: description.optional(),
          data: data.optional(),
          metadata: secretMetadata.optional(),
        })
        .refine((input) => Object.keys(input).length > 1, "name at least one field to change"),
      payload: z.strictObject({
        secret_id: secretId,
        secret_type: secretTier,
        name: name.optional(),
        description: description.optional(),
        data: data.optional(),
        metadata: secretMetadata.optional(),
      }),
      toPayload: (input, about) => ({ ...input, secret_type: tierOf(about) }),
      withheld: ["data"],
      about: ({ secret_id }) => stored(secret_id, notOwned("change")),
      grant: (_, about) => ({ capability: CAPABILITIES[tierOf(about)].write }),
      personDecides,
      sameness: ({ secret_id }) => ({ resource: secret_id }),
      result: undefined,
      example: { secret_id: EXAMPLE_ID, data: "NDcxMg==" },
      defaultExpirySeconds: EXPIRY_SECONDS,
      defaultGraceSeconds: GRACE_SECONDS,
    }),
    defineOperation({
      name: "delete",
      summary: "Have a secret deleted",
      method: "delete",
      path: "secrets/{secret_id}",
      successStatus: 202,
      capabilities: WRITE,
      purposeRequired: false,
      input: z.object({ secret_id: secretId }),
      payload: z.strictObject({ secret_id: secretId, secret_type: secretTier }),
      toPayload: ({ secret_id }, about) => ({ secret_id, secret_type: tierOf(about) }),
      about: ({ secret_id }) => stored(secret_id, notOwned("delete")),
      grant: (_, about) => ({ capability: CAPABILITIES[tierOf(about)].write }),
      personDecides,
      sameness: ({ secret_id }) => ({ resource: secret_id }),
      result: undefined,
      example: { secret_id: EXAMPLE_ID },
      defaultExpirySeconds: EXPIRY_SECONDS,
      defaultGraceSeconds: GRACE_SECONDS,
    }),
    defineOperation({
      name: "list",
      summary: "Ask which secrets the user's vault keeps for the service",
      path: "secrets/list",
      joinPath: "secrets",
      successStatus: 202,
      capabilities: [...READ, "secret.user_owned.use"],
      purposeRequired: false,
      input: z.object({
        secret_type: secretTier
          .optional()
          .describe(
            "One tier. Absent: every tier whose reading the contract grants; `minor` must be among them.",
          ),
      }),
      payload: z.strictObject({ secret_type: secretTier.optional() }),
      toPayload: (input) => input,
      grant: ({ secret_type = "minor" }) => ({ capability: CAPABILITIES[secret_type].read }),
      sameness: ({ secret_type }) => (secret_type === undefined ? {} : { resource: secret_type }),
      result: z.strictObject({ secrets: z.array(listed).max(MAX_SECRETS) }),
      example: { secret_type: "minor" },
      defaultExpirySeconds: EXPIRY_SECONDS,
      defaultGraceSeconds: GRACE_SECONDS,
    }),
    defineOperation({
      name: "use",
      summary: "Have the user's vault sign, decrypt or derive with a user-owned secret",
      path: "secrets/user-owned/use",
      successStatus: 202,
      capabilities: ["secret.user_owned.use"],
      purposeRequired: false,
      input: z.object({
        secret_id: secretId,
        operation: z.enum(["sign", "decrypt", "derive"]),
        payload: bytesUpTo(MAX_USE_BYTES).describe(
          "base64. `sign`: what is signed. `decrypt`: 24-byte nonce and ciphertext. `derive`: what the output is for.",
        ),
      }),
      // `operation` and `payload` mean other things in a request.
      payload: z.strictObject({
        secret_id: secretId,
        secret_type: z.literal("user_owned"),
        use: z.enum(["sign", "decrypt", "derive"]),
        input: bytesUpTo(MAX_USE_BYTES),
      }),
      toPayload: ({ secret_id, operation, payload }) => ({
        secret_id,
        secret_type: "user_owned" as const,
        use: operation,
        input: payload,
      }),
      about: ({ secret_id }) =>
        stored(secret_id, (tier) =>
          tier === "user_owned" ? undefined : "only a user-owned secret is used in place; retrieve this one",
        ),
      grant: () => ({ capability: "secret.user_owned.use" }),
      personDecides,
      sameness: ({ secret_id, operation }) => ({ action: operation, resource: secret_id }),
      result: z.strictObject({
        output: bytesUpTo(MAX_USE_BYTES + 64),
        /** What a signature is checked with. */
        public_key: publicKey.optional(),
      }),
      sharesValue: true,
      example: { secret_id: EXAMPLE_ID, operation: "sign" as const, payload: "aGVsbG8=" },
      exampleAbout: { secret_type: "user_owned", name: "Ledger key" },
      defaultExpirySeconds: EXPIRY_SECONDS,
      defaultGraceSeconds: GRACE_SECONDS,
    }),
  ],
  view: () => ({}),
  viewSchema: {},
  pathView: ({ status, payload, result }) => {
    const id = payload.operation === "store" ? payload.request_id : payload.secret_id;
    return {
      ...(id === undefined || (payload.operation === "store" && !isApproved(status))
        ? {}
        : { secret_id: id }),
      ...(result as object | undefined),
    };
  },
  pathSchema: {
    secret_id: eventId.optional(),
    secret_type: secretTier.optional(),
    name: name.optional(),
    data: z.string().optional().describe("base64; readable for 300 s from the first reading."),
    metadata: z.unknown().optional(),
    secrets: z.array(listed).optional(),
    output: z.string().optional(),
    public_key: publicKey.optional(),
  },
};
