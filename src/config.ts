// Settings and secrets, parsed once per isolate. A missing or malformed one stops the Worker with a message
// that names it and says what it must be; no value is ever repeated in the message.

import { z } from "zod";
import { logOrigin } from "./audit/checkpoint.ts";
import { parseWitnesses, type WitnessAddress } from "./audit/witness.ts";
import { type AgreementKey, importAgreementKey } from "./crypto/agreement.ts";
import { deriveKey, sha256 } from "./crypto/hash.ts";
import { importSigningKey, type SigningKey } from "./crypto/signing.ts";
import { kekIdOf, type Wrapper, wrapperFor } from "./crypto/wrap.ts";
import type { Env } from "./env.ts";
import { decodeSeed } from "./nats/nkey.ts";
import { fromBase64, toBase64 } from "./protocol/encoding.ts";
import { utf8 } from "./protocol/json.ts";
import { bytesOfLength, line } from "./protocol/primitives.ts";
import { isSecret } from "./webhooks/signature.ts";
import { checkTarget, targetPolicy } from "./webhooks/target.ts";

const secretKey = bytesOfLength(32);
const socketUrl = z.url({ protocol: /^wss?$/, error: "must be a ws:// or wss:// URL" });
const credsFile = z
  .string()
  .regex(/BEGIN NATS USER JWT[\s\S]+BEGIN USER NKEY SEED/, "must be the text of a NATS .creds file");

const FINGERPRINT_BYTES = 32;
const MAX_BRIDGE_SHARDS = 16;
const MAX_AUDIT_RETENTION_DAYS = 36_500;
/**
 * A batch of the log costs the same whatever it holds: some rows and two writes to R2. At a few logins a second, one
 * each second made that a quarter of a login's price; nobody waits for it but who asks for a proof right away.
 */
const DEFAULT_AUDIT_BATCH_SECONDS = 5;
const MAX_AUDIT_BATCH_SECONDS = 10;
/** A cursor of the feed names a position in each. */
const MAX_JOURNAL_SHARDS = 16;

/** Names are at most 253 characters, and the record's own label comes before this one. */
const MAX_DOMAIN_CHARACTERS = 253 - "_vettid-service.".length;
/** Run by different companies: one that errs or is bent decides nothing alone. */
const DEFAULT_DOH_RESOLVERS = "https://cloudflare-dns.com/dns-query,https://dns.google/resolve";
const MAX_DOH_RESOLVERS = 8;
const MAX_PER_MINUTE = 1_000_000;
const perMinute = z.coerce.number().int().min(1).max(MAX_PER_MINUTE);

const settings = z.object({
  ENVIRONMENT: z.enum(["dev", "staging", "production"]),
  PUBLIC_URL: z
    .url({ protocol: /^https?$/ })
    .refine((url) => new URL(url).origin === url, "must be an origin, as https://vault.example.com"),
  SERVICE_NAME: line(100),
  SERVICE_TYPE: line(64),
  SERVICE_DOMAIN: z
    .string()
    .max(MAX_DOMAIN_CHARACTERS)
    .regex(
      /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/,
      "must be a domain name in lower case (punycode for other letters), as example.com",
    )
    .optional(),
  DOH_RESOLVERS: z.string().default(DEFAULT_DOH_RESOLVERS),
  SERVICE_JURISDICTION: line(64).optional(),
  SERVICESPACE_URL: socketUrl,
  SERVICESPACE_PUBLIC_ENDPOINT: z.url({ protocol: /^(wss?|nats|tls)$/ }),
  SERVICESPACE_USERS_ACCOUNT: z.string().regex(/^A[A-Z2-7]{55}$/, "must be a NATS account public key (A…)"),
  MESSAGESPACE_URL: socketUrl,
  BRIDGE_SHARDS: z.coerce.number().int().min(1).max(MAX_BRIDGE_SHARDS),
  USER_ASKS_PER_MINUTE: perMinute.default(120),
  KEY_CALLS_PER_MINUTE: perMinute.default(600),
  USER_MESSAGES_PER_MINUTE: perMinute.default(1_200),
  JOURNAL_SHARDS: z.coerce.number().int().min(1).max(MAX_JOURNAL_SHARDS).default(1),
  MAINTENANCE: z.enum(["off", "on"]).default("off"),
  WITNESSES: z
    .string()
    .default("")
    .transform((text, context) => {
      const witnesses = parseWitnesses(text);
      if (typeof witnesses !== "string") return witnesses;
      context.addIssue({ code: "custom", message: witnesses });
      return z.NEVER;
    }),
  AUDIT_LOG_ORIGIN: z
    .string()
    .max(253)
    .regex(/^[\u0021-\u002a\u002c-\u007e]+$/, "must have no spaces and no plus, as vault.example.com/log")
    .optional(),
  AUDIT_BATCH_SECONDS: z.coerce
    .number()
    .int()
    .min(1)
    .max(MAX_AUDIT_BATCH_SECONDS)
    .default(DEFAULT_AUDIT_BATCH_SECONDS),
  AUDIT_RETENTION_DAYS: z.coerce.number().int().min(1).max(MAX_AUDIT_RETENTION_DAYS).optional(),
  AUDIT_SINK_URL: z.string().optional(),
  AUDIT_SINK_SECRET: z
    .string()
    .refine(isSecret, "must be whsec_ and base64 of 24 to 64 random bytes")
    .optional(),
  AUDIT_SINK_R2: z
    .custom<R2Bucket>((bucket) => typeof bucket === "object", "must be an R2 bucket")
    .optional(),
  SERVICE_SIGNING_KEY: secretKey,
  SERVICE_ENCRYPTION_KEY: secretKey,
  AUDIT_LOG_KEY: secretKey,
  WEBHOOK_SIGNING_KEY: secretKey,
  VAULT_KEK: secretKey,
  VAULT_KEK_PREVIOUS: secretKey.optional(),
  SERVICESPACE_CREDS: credsFile,
  MESSAGESPACE_CREDS: credsFile,
  SERVICESPACE_USERS_SIGNING_SEED: z
    .string()
    .refine((text) => decodeSeed("account", text) !== undefined, "must be a NATS account seed (SA…)"),
  SERVICESPACE_OPERATOR_SIGNING_SEED: z
    .string()
    .refine((text) => decodeSeed("operator", text) !== undefined, "must be a NATS operator seed (SO…)")
    .optional(),
  SERVICESPACE_SYSTEM_CREDS: credsFile.optional(),
  BOOTSTRAP_API_KEY: z
    .string()
    .regex(/^[0-9A-Za-z]{12}:[0-9a-f]{64}$/, "must be <key id>:<SHA-256 hex>, as `npm run keys` prints it"),
});
type Settings = z.infer<typeof settings>;

export interface Config
  extends Omit<
    Settings,
    | "SERVICE_SIGNING_KEY"
    | "SERVICE_ENCRYPTION_KEY"
    | "AUDIT_LOG_KEY"
    | "WEBHOOK_SIGNING_KEY"
    | "VAULT_KEK"
    | "VAULT_KEK_PREVIOUS"
    | "SERVICESPACE_USERS_SIGNING_SEED"
    | "SERVICESPACE_OPERATOR_SIGNING_SEED"
    | "SERVICESPACE_SYSTEM_CREDS"
    | "WITNESSES"
    | "AUDIT_LOG_ORIGIN"
    | "AUDIT_SINK_URL"
    | "AUDIT_SINK_SECRET"
    | "AUDIT_SINK_R2"
    | "DOH_RESOLVERS"
  > {
  serviceId: string;
  /** The identity key: signs the labelled forms of PROTOCOL, nothing else. */
  signingKey: SigningKey;
  /** Opens what is sent during setup. */
  encryptionKey: AgreementKey;
  /** Signs the audit log's checkpoints, nothing else. */
  logKey: SigningKey;
  /** Signs deliveries to the backend (`v1a`), nothing else. */
  webhookKey: SigningKey;
  /** The audit log's name: first line of its checkpoints, name of its key. */
  logOrigin: string;
  /** Who is asked to cosign the audit log's checkpoints. */
  witnesses: WitnessAddress[];
  /** Where copies of new audit entries go. */
  sinks: { https?: { url: string; secret: string }; r2?: R2Bucket };
  /** Who is asked about the domain's TXT record: DNS over HTTPS, JSON form. */
  dohResolvers: string[];
  /** Signs the NATS credentials of users, nothing else. */
  usersAccountKey: SigningKey;
  /** What revokes them on the cluster: absent, they only expire. */
  revoking: Revoking | undefined;
  /** Wraps what is stored about one owner. */
  wrapperFor(owner: string): Wrapper;
  /** Ids of VAULT_KEK and, while it is set, of VAULT_KEK_PREVIOUS. */
  kek: { id: string; previousId?: string };
  /**
   * Tells a repeated text from another without keeping anything a text could be guessed from: base64 of 32 bytes that
   * only the holder of VAULT_KEK can compute. `earlier`: what it was under VAULT_KEK_PREVIOUS.
   */
  fingerprint(text: string): { digest: string; earlier?: string };
}

/** A way to change the users' account on its cluster. */
export interface Revoking {
  /** Signs the JWT of the users' account, nothing else. */
  operatorKey: SigningKey;
  /** The text of a .creds file: a user of the system account. */
  systemCreds: string;
}

/** A deployment that cannot work. `problems` names each setting and what it must be. */
export class ConfigError extends Error {
  readonly code = "config_invalid";
  readonly problems: string[];
  constructor(problems: string[]) {
    super(`the deployment's settings are incomplete: ${problems.join("; ")}`);
    this.problems = problems;
  }
}

async function parse(env: Env): Promise<Config> {
  const parsed = settings.safeParse(env);
  if (!parsed.success) {
    throw new ConfigError(
      parsed.error.issues.map((issue) => {
        const name = issue.path.join(".");
        return (env as unknown as Record<string, unknown>)[name] === undefined
          ? `${name} is not set`
          : `${name}: ${issue.message}`;
      }),
    );
  }
  const {
    SERVICE_SIGNING_KEY,
    SERVICE_ENCRYPTION_KEY,
    AUDIT_LOG_KEY,
    WEBHOOK_SIGNING_KEY,
    VAULT_KEK,
    VAULT_KEK_PREVIOUS,
    SERVICESPACE_USERS_SIGNING_SEED,
    SERVICESPACE_OPERATOR_SIGNING_SEED,
    SERVICESPACE_SYSTEM_CREDS,
    WITNESSES,
    AUDIT_LOG_ORIGIN,
    AUDIT_SINK_URL,
    AUDIT_SINK_SECRET,
    AUDIT_SINK_R2,
    DOH_RESOLVERS,
    ...publicSettings
  } = parsed.data;
  if ((AUDIT_SINK_URL === undefined) !== (AUDIT_SINK_SECRET === undefined))
    throw new ConfigError(["AUDIT_SINK_URL and AUDIT_SINK_SECRET belong together: set both or neither"]);
  const target =
    AUDIT_SINK_URL === undefined ? undefined : checkTarget(AUDIT_SINK_URL, targetPolicy(publicSettings));
  if (target?.ok === false) throw new ConfigError([`AUDIT_SINK_URL ${target.error}`]);
  const [signingKey, encryptionKey, logKey, webhookKey, usersAccountKey] = await Promise.all([
    importSigningKey(fromBase64(SERVICE_SIGNING_KEY)!),
    importAgreementKey(fromBase64(SERVICE_ENCRYPTION_KEY)!),
    importSigningKey(fromBase64(AUDIT_LOG_KEY)!),
    importSigningKey(fromBase64(WEBHOOK_SIGNING_KEY)!),
    importSigningKey(decodeSeed("account", SERVICESPACE_USERS_SIGNING_SEED)!),
  ]);
  if (logKey.id === signingKey.id)
    throw new ConfigError(["AUDIT_LOG_KEY must not be the SERVICE_SIGNING_KEY"]);
  // What it signs comes partly from outside; under another key's purpose that could pass for something else.
  if (webhookKey.id === signingKey.id || webhookKey.id === logKey.id)
    throw new ConfigError(["WEBHOOK_SIGNING_KEY must not be one of the other keys"]);
  const dohResolvers = DOH_RESOLVERS.split(",").map((text) => text.trim());
  if (dohResolvers.length > MAX_DOH_RESOLVERS)
    throw new ConfigError([`DOH_RESOLVERS must name at most ${MAX_DOH_RESOLVERS} resolvers`]);
  for (const resolver of dohResolvers) {
    const target = checkTarget(resolver, targetPolicy(publicSettings));
    if (!target.ok) throw new ConfigError([`DOH_RESOLVERS: each, separated by commas, ${target.error}`]);
  }
  const revoking = await revokingOf(SERVICESPACE_OPERATOR_SIGNING_SEED, SERVICESPACE_SYSTEM_CREDS);
  if (VAULT_KEK === VAULT_KEK_PREVIOUS)
    throw new ConfigError(["VAULT_KEK_PREVIOUS must not be VAULT_KEK: it is the one before it"]);
  const keks = [VAULT_KEK, VAULT_KEK_PREVIOUS].flatMap((text) =>
    text === undefined ? [] : [fromBase64(text)!],
  );
  const [kekId, previousId] = keks.map(kekIdOf);
  return {
    ...publicSettings,
    serviceId: signingKey.id,
    signingKey,
    encryptionKey,
    logKey,
    logOrigin: AUDIT_LOG_ORIGIN ?? logOrigin(publicSettings.PUBLIC_URL),
    witnesses: WITNESSES,
    sinks: {
      ...(AUDIT_SINK_URL === undefined ? {} : { https: { url: AUDIT_SINK_URL, secret: AUDIT_SINK_SECRET! } }),
      ...(AUDIT_SINK_R2 === undefined ? {} : { r2: AUDIT_SINK_R2 }),
    },
    dohResolvers,
    webhookKey,
    usersAccountKey,
    revoking,
    wrapperFor: (owner) => wrapperFor(keks, owner),
    kek: { id: kekId!, ...(previousId === undefined ? {} : { previousId }) },
    fingerprint: (text) => {
      const [digest, earlier] = keks.map((kek) =>
        toBase64(deriveKey(kek, sha256(utf8(text)), utf8("vettid-fingerprint-v1"), FINGERPRINT_BYTES)),
      );
      return { digest: digest!, ...(earlier === undefined ? {} : { earlier }) };
    },
  };
}

/** Whether the deployment stands still, to be exported or imported. */
export const inMaintenance = (env: Env): boolean => env.MAINTENANCE === "on";

/** Both or neither: a key without a way to push would promise what cannot be done. */
async function revokingOf(
  seed: string | undefined,
  creds: string | undefined,
): Promise<Revoking | undefined> {
  if (seed !== undefined && creds !== undefined)
    return { operatorKey: await importSigningKey(decodeSeed("operator", seed)!), systemCreds: creds };
  if (seed === undefined && creds === undefined) return undefined;
  const names = ["SERVICESPACE_OPERATOR_SIGNING_SEED", "SERVICESPACE_SYSTEM_CREDS"];
  const [present, absent] = seed === undefined ? names.reverse() : names;
  throw new ConfigError([`${present} is set without ${absent}: set both, or neither`]);
}

const parsed = new WeakMap<Env, Promise<Config>>();

/** The parsed settings of this isolate. Rejects with ConfigError. */
export function configOf(env: Env): Promise<Config> {
  let config = parsed.get(env);
  if (config === undefined) {
    config = parse(env);
    parsed.set(env, config);
  }
  return config;
}
