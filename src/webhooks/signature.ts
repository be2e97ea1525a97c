// How a receiver knows that a delivery is ours: Standard Webhooks 1.0, both schemes, and the header of older
// receivers. The verifying half is what the SDK gives to receivers, so it depends on nothing but the bytes.
//
// Signed is `<webhook-id>.<webhook-timestamp>.<body>` with the body's bytes as sent. The id stays the same at every
// attempt, which is what a receiver recognises a repetition by; the timestamp is the attempt's own, which is what
// it recognises a replay by.

import { hmacSha256 } from "../crypto/hash.ts";
import { type SigningKey, verify } from "../crypto/signing.ts";
import { concatBytes, equalBytes, fromBase64, toBase64 } from "../protocol/encoding.ts";
import { randomBytes } from "../protocol/ids.ts";
import { utf8 } from "../protocol/json.ts";
import { err, ok, type Result } from "../protocol/result.ts";

const SECRET_PREFIX = "whsec_";
const PUBLIC_KEY_PREFIX = "whpk_";
/** Bytes of a secret we make; the standard allows 24 to 64. */
const SECRET_BYTES = 32;
const MIN_SECRET_BYTES = 24;
const MAX_SECRET_BYTES = 64;
const PUBLIC_KEY_BYTES = 32;
/** How far a delivery's timestamp may be from the receiver's clock, in either direction. */
export const DEFAULT_TOLERANCE_SECONDS = 300;
/** A sender with this many valid secrets at once does not exist; more is an attempt to keep a receiver busy. */
const MAX_SIGNATURES = 16;

export const newSecret = (): string => secretText(randomBytes(SECRET_BYTES));

/** `whsec_` and base64, as receivers configure it. */
export const secretText = (bytes: Uint8Array): string => SECRET_PREFIX + toBase64(bytes);

/** `whpk_` and base64, as receivers configure it. */
export const publicKeyText = (publicKey: Uint8Array): string => PUBLIC_KEY_PREFIX + toBase64(publicKey);

/** A secret's bytes, with or without its prefix; undefined unless it is 24 to 64 bytes of base64. */
function secretBytes(secret: string): Uint8Array | undefined {
  const bytes = fromBase64(secret.startsWith(SECRET_PREFIX) ? secret.slice(SECRET_PREFIX.length) : secret);
  return bytes !== undefined && bytes.length >= MIN_SECRET_BYTES && bytes.length <= MAX_SECRET_BYTES
    ? bytes
    : undefined;
}

/** Whether a text is a secret that deliveries can be signed with. */
export const isSecret = (text: string): boolean => secretBytes(text) !== undefined;

function publicKeyBytes(publicKey: string): Uint8Array | undefined {
  const text = publicKey.startsWith(PUBLIC_KEY_PREFIX)
    ? publicKey.slice(PUBLIC_KEY_PREFIX.length)
    : publicKey;
  const bytes = fromBase64(text);
  return bytes?.length === PUBLIC_KEY_BYTES ? bytes : undefined;
}

const signedContent = (id: string, timestamp: string, body: Uint8Array): Uint8Array<ArrayBuffer> =>
  concatBytes(utf8(`${id}.${timestamp}.`), body);

const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** `sha256=<hex HMAC of the body>`. Its key is the secret's text as configured, prefix and all. */
const olderSignature = async (secret: string, body: Uint8Array): Promise<string> =>
  `sha256=${hex(await hmacSha256(utf8(secret), body))}`;

export interface Delivery {
  /** The event's id. */
  id: string;
  /** When this attempt is made, in milliseconds since the epoch. */
  now: number;
  body: Uint8Array;
  /** Valid now, the newest first. */
  secrets: readonly string[];
  key: SigningKey;
}

/**
 * The headers of one attempt. Each secret makes a `v1` signature, so a receiver may hold the old one or the new one
 * while rotating. The older header has room for one: that is the newest, so an older receiver takes the new secret
 * over right after the rotation, and what it refused in between is delivered again.
 */
export async function signedHeaders({
  id,
  now,
  body,
  secrets,
  key,
}: Delivery): Promise<Record<string, string>> {
  if (id.includes(".")) throw new TypeError("signedHeaders: a webhook-id must not contain a dot");
  const [newest] = secrets;
  if (newest === undefined) throw new TypeError("signedHeaders: an endpoint has at least one secret");
  const timestamp = String(Math.floor(now / 1_000));
  const content = signedContent(id, timestamp, body);
  const signatures = [];
  for (const secret of secrets) {
    const bytes = secretBytes(secret);
    if (bytes === undefined) throw new TypeError("signedHeaders: not a whsec_ secret");
    signatures.push(`v1,${toBase64(await hmacSha256(bytes, content))}`);
  }
  signatures.push(`v1a,${toBase64(await key.sign(content))}`);
  return {
    "webhook-id": id,
    "webhook-timestamp": timestamp,
    "webhook-signature": signatures.join(" "),
    "X-VettID-Event-ID": id,
    "X-VettID-Timestamp": timestamp,
    "X-VettID-Signature": await olderSignature(newest, body),
  };
}

export type DeliveryFault =
  /** A header is absent or malformed. */
  | "headers_missing"
  | "timestamp_too_old"
  | "timestamp_too_new"
  /** None of the signatures is by a key given. */
  | "signature_invalid";

/** What a receiver trusts; at least one. */
export interface TrustedKeys {
  /** `whsec_…`, for `v1`. */
  secrets?: readonly string[];
  /** `whpk_…` or base64, for `v1a`. */
  publicKeys?: readonly string[];
}

export interface VerifyOptions {
  /** Milliseconds since the epoch; default the clock. */
  now?: number;
  /** Seconds; default DEFAULT_TOLERANCE_SECONDS. */
  toleranceSeconds?: number;
}

type HeaderSource = { get(name: string): string | null } | Record<string, string | undefined>;

function readHeader(headers: HeaderSource, name: string): string | undefined {
  if (typeof headers.get === "function") return headers.get(name) ?? undefined;
  const found = Object.entries(headers).find(([key]) => key.toLowerCase() === name);
  return typeof found?.[1] === "string" ? found[1] : undefined;
}

const bytesOf = (body: Uint8Array | string): Uint8Array => (typeof body === "string" ? utf8(body) : body);

/**
 * Checks a delivery as received: headers, age, then signatures. `body` must be the bytes (or text) as they came,
 * never parsed and written again. Throws TypeError when no usable key is given: verifying against nothing would
 * refuse everything, or with another default accept it.
 */
export async function verifyDelivery(
  headers: HeaderSource,
  body: Uint8Array | string,
  trusted: TrustedKeys,
  { now = Date.now(), toleranceSeconds = DEFAULT_TOLERANCE_SECONDS }: VerifyOptions = {},
): Promise<Result<{ id: string; timestamp: number }, DeliveryFault>> {
  const secrets = (trusted.secrets ?? []).map((secret) => usable(secretBytes(secret), "a whsec_ secret"));
  const keys = (trusted.publicKeys ?? []).map((key) => usable(publicKeyBytes(key), "a whpk_ public key"));
  if (secrets.length + keys.length === 0)
    throw new TypeError("verifyDelivery: give at least one secret or public key");
  const id = readHeader(headers, "webhook-id");
  const timestampText = readHeader(headers, "webhook-timestamp");
  const signatureList = readHeader(headers, "webhook-signature");
  if (!id || id.includes(".") || signatureList === undefined || !/^\d{1,12}$/.test(timestampText ?? ""))
    return err("headers_missing");
  const timestamp = Number(timestampText);
  const age = now / 1_000 - timestamp;
  if (age > toleranceSeconds) return err("timestamp_too_old");
  if (age < -toleranceSeconds) return err("timestamp_too_new");

  const content = signedContent(id, timestampText!, bytesOf(body));
  for (const entry of signatureList.split(" ").slice(0, MAX_SIGNATURES)) {
    const comma = entry.indexOf(",");
    const version = entry.slice(0, comma);
    const signature = fromBase64(entry.slice(comma + 1));
    if (comma < 0 || signature === undefined) continue;
    if (version === "v1") {
      for (const secret of secrets)
        if (equalBytes(await hmacSha256(secret, content), signature)) return ok({ id, timestamp });
    } else if (version === "v1a") {
      for (const key of keys) if (await verify(key, content, signature)) return ok({ id, timestamp });
    }
  }
  return err("signature_invalid");
}

function usable(bytes: Uint8Array | undefined, what: string): Uint8Array {
  if (bytes === undefined) throw new TypeError(`verifyDelivery: this is not ${what}`);
  return bytes;
}

/** Checks the older header, X-VettID-Signature. It covers the body only: it proves no time and names no event. */
export async function verifyOlderSignature(
  signature: string,
  body: Uint8Array | string,
  secret: string,
): Promise<boolean> {
  return equalBytes(utf8(await olderSignature(secret, bytesOf(body))), utf8(signature));
}
