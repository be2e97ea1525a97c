// A service's identity: its keys, its id, and the first admin key.

import { createHash, createPrivateKey, createPublicKey, randomBytes } from "node:crypto";
import bs58 from "bs58";
import {
  API_KEY_ID_BYTES,
  API_KEY_SECRET_BYTES,
  type ApiKeyEnvironment,
  formatApiKey,
  makeApiKeyParts,
} from "../../src/http/api-key.ts";

/** The secrets that follow from the identity alone, under the names the Worker reads. */
export interface IdentitySecrets {
  /** Ed25519 seed, 32 bytes as base64: signs offers, contracts, envelopes. */
  SERVICE_SIGNING_KEY: string;
  /** X25519 private key, 32 bytes as base64: opens setup messages. */
  SERVICE_ENCRYPTION_KEY: string;
  /** Ed25519 seed, 32 bytes as base64: signs the audit log's checkpoints. */
  AUDIT_LOG_KEY: string;
  /** Ed25519 seed, 32 bytes as base64: signs deliveries to the backend. */
  WEBHOOK_SIGNING_KEY: string;
  /** 32 bytes as base64: what is stored is wrapped under keys derived from it. */
  VAULT_KEK: string;
  /** `<id>:<sha256 hex of the secret part>` of the first admin key. */
  BOOTSTRAP_API_KEY: string;
}

/** Everything made for a new service. `admin_api_key` is nowhere else: shown once, or kept by the dev stack. */
export interface ServiceIdentity {
  environment: ApiKeyEnvironment;
  service_id: string;
  /** Public keys as base64. */
  signing_public_key: string;
  encryption_public_key: string;
  audit_log_public_key: string;
  webhook_public_key: string;
  admin_api_key: string;
  secrets: IdentitySecrets;
}

const KEY_BYTES = 32;

/** Makes a new identity from fresh randomness. */
export function makeIdentity(environment: ApiKeyEnvironment): ServiceIdentity {
  const signingSeed = randomBytes(KEY_BYTES);
  const encryptionKey = randomBytes(KEY_BYTES);
  const logSeed = randomBytes(KEY_BYTES);
  const webhookSeed = randomBytes(KEY_BYTES);
  const signingPublicKey = publicKeyOf("ed25519", signingSeed);
  const parts = makeApiKeyParts(
    environment,
    randomBytes(API_KEY_ID_BYTES),
    randomBytes(API_KEY_SECRET_BYTES),
  );
  return {
    environment,
    service_id: identityId(signingPublicKey),
    signing_public_key: signingPublicKey.toString("base64"),
    encryption_public_key: publicKeyOf("x25519", encryptionKey).toString("base64"),
    audit_log_public_key: publicKeyOf("ed25519", logSeed).toString("base64"),
    webhook_public_key: publicKeyOf("ed25519", webhookSeed).toString("base64"),
    admin_api_key: formatApiKey(parts),
    secrets: {
      SERVICE_SIGNING_KEY: signingSeed.toString("base64"),
      SERVICE_ENCRYPTION_KEY: encryptionKey.toString("base64"),
      AUDIT_LOG_KEY: logSeed.toString("base64"),
      WEBHOOK_SIGNING_KEY: webhookSeed.toString("base64"),
      VAULT_KEK: randomBytes(KEY_BYTES).toString("base64"),
      BOOTSTRAP_API_KEY: `${parts.id}:${hashApiKeySecret(parts.secret)}`,
    },
  };
}

/** An identity kept by an earlier version, with the keys that version did not know made now. */
export function completeIdentity(kept: ServiceIdentity): ServiceIdentity {
  if (kept.secrets.WEBHOOK_SIGNING_KEY !== undefined) return kept;
  const fresh = makeIdentity(kept.environment);
  return {
    ...kept,
    webhook_public_key: fresh.webhook_public_key,
    secrets: { ...kept.secrets, WEBHOOK_SIGNING_KEY: fresh.secrets.WEBHOOK_SIGNING_KEY },
  };
}

/** `base58(SHA-256(public key))`, all 32 bytes (PROTOCOL §2). */
export function identityId(signingPublicKey: Uint8Array): string {
  return bs58.encode(createHash("sha256").update(signingPublicKey).digest());
}

/** What is stored of an API key: SHA-256 of the secret part's ASCII text, as hex. */
export function hashApiKeySecret(secret: string): string {
  return createHash("sha256").update(secret, "ascii").digest("hex");
}

// Node takes raw private keys only inside PKCS #8 (RFC 8410): a fixed header, then the 32 bytes.
const PKCS8_HEADER = {
  ed25519: Buffer.from("302e020100300506032b657004220420", "hex"),
  x25519: Buffer.from("302e020100300506032b656e04220420", "hex"),
};

function publicKeyOf(type: keyof typeof PKCS8_HEADER, privateKey: Uint8Array): Buffer {
  const key = createPrivateKey({
    key: Buffer.concat([PKCS8_HEADER[type], privateKey]),
    format: "der",
    type: "pkcs8",
  });
  // The raw public key is the last 32 bytes of its SPKI form.
  return createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-KEY_BYTES);
}
