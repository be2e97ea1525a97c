// The text form of an API key: `svk_<env>_<id>_<secret><checksum>`. Pure.
//
// The prefix lets secret scanners find a leaked key, the checksum lets them (and us) tell a key from a
// typing error without a lookup, the id finds the stored row, and only the secret's hash is stored.

/** Environments a key may belong to. A key of one is refused by the others. */
export const API_KEY_ENVIRONMENTS = ["dev", "staging", "production"] as const;
export type ApiKeyEnvironment = (typeof API_KEY_ENVIRONMENTS)[number];

/** Digits of the base 62 numbers in a key, in order of value. */
export const API_KEY_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** Base 62 characters of each part. 43 hold 256 bits, 6 hold 32 bits, 12 hold 71 bits. */
export const API_KEY_ID_CHARACTERS = 12;
export const API_KEY_SECRET_CHARACTERS = 43;
export const API_KEY_CHECKSUM_CHARACTERS = 6;

/** Random bytes that `makeApiKeyParts` consumes: 16 for the id (reduced to 71 bits), 32 for the secret. */
export const API_KEY_ID_BYTES = 16;
export const API_KEY_SECRET_BYTES = 32;

const PREFIX = "svk";
const BASE = BigInt(API_KEY_ALPHABET.length);

/** The parts of a key that mean something. */
export interface ApiKeyParts {
  environment: ApiKeyEnvironment;
  id: string;
  secret: string;
}

/** Why a text is no key. For logs; the caller is only told that the key is wrong. */
export type ApiKeyProblem = "not_a_key" | "unknown_environment" | "bad_id" | "bad_secret" | "bad_checksum";

/** A parsed key, or the reason there is none. */
export type ParsedApiKey = ({ ok: true } & ApiKeyParts) | { ok: false; reason: ApiKeyProblem };

/** Turns fresh random bytes (`API_KEY_ID_BYTES` and `API_KEY_SECRET_BYTES` long) into a new key's parts. */
export function makeApiKeyParts(
  environment: ApiKeyEnvironment,
  idBytes: Uint8Array,
  secretBytes: Uint8Array,
): ApiKeyParts {
  expectLength(idBytes, API_KEY_ID_BYTES, "idBytes");
  expectLength(secretBytes, API_KEY_SECRET_BYTES, "secretBytes");
  return {
    environment,
    // The remainder of 128 bits by 62^12 favours no id by more than one part in 2^56.
    id: base62(bigEndian(idBytes) % BASE ** BigInt(API_KEY_ID_CHARACTERS), API_KEY_ID_CHARACTERS),
    secret: base62(bigEndian(secretBytes), API_KEY_SECRET_CHARACTERS),
  };
}

/** Writes a key as text. The parts must have their exact lengths and alphabet. */
export function formatApiKey(parts: ApiKeyParts): string {
  if (!isEnvironment(parts.environment))
    throw new TypeError(`unknown environment ${String(parts.environment)}`);
  if (!isBase62(parts.id, API_KEY_ID_CHARACTERS)) {
    throw new TypeError(`id must be ${API_KEY_ID_CHARACTERS} base 62 characters`);
  }
  if (!isBase62(parts.secret, API_KEY_SECRET_CHARACTERS)) {
    throw new TypeError(`secret must be ${API_KEY_SECRET_CHARACTERS} base 62 characters`);
  }
  const body = `${PREFIX}_${parts.environment}_${parts.id}_${parts.secret}`;
  return body + checksum(body);
}

/** Reads a key's text. Says nothing about whether such a key was ever given out. */
export function parseApiKey(text: string): ParsedApiKey {
  const fields = text.split("_");
  if (fields.length !== 4 || fields[0] !== PREFIX) return { ok: false, reason: "not_a_key" };
  const [, environment = "", id = "", tail = ""] = fields;
  if (!isEnvironment(environment)) return { ok: false, reason: "unknown_environment" };
  if (!isBase62(id, API_KEY_ID_CHARACTERS)) return { ok: false, reason: "bad_id" };
  if (!isBase62(tail, API_KEY_SECRET_CHARACTERS + API_KEY_CHECKSUM_CHARACTERS)) {
    return { ok: false, reason: "bad_secret" };
  }
  const body = text.slice(0, -API_KEY_CHECKSUM_CHARACTERS);
  // Not a secret comparison: the checksum follows from what the caller sent.
  if (checksum(body) !== text.slice(-API_KEY_CHECKSUM_CHARACTERS))
    return { ok: false, reason: "bad_checksum" };
  return { ok: true, environment, id, secret: tail.slice(0, API_KEY_SECRET_CHARACTERS) };
}

function isEnvironment(text: string): text is ApiKeyEnvironment {
  return (API_KEY_ENVIRONMENTS as readonly string[]).includes(text);
}

function isBase62(text: string, length: number): boolean {
  return text.length === length && /^[0-9A-Za-z]*$/.test(text);
}

function checksum(body: string): string {
  return base62(BigInt(crc32(new TextEncoder().encode(body))), API_KEY_CHECKSUM_CHARACTERS);
}

/** CRC-32 as in IEEE 802.3 and zip: reflected polynomial 0xEDB88320, start and end inverted. */
function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

function bigEndian(bytes: Uint8Array): bigint {
  let value = 0n;
  for (const byte of bytes) value = (value << 8n) | BigInt(byte);
  return value;
}

/** The number in base 62, padded with zeros on the left to `length` characters. */
function base62(value: bigint, length: number): string {
  let text = "";
  for (let rest = value; rest > 0n; rest /= BASE) text = API_KEY_ALPHABET[Number(rest % BASE)] + text;
  return text.padStart(length, API_KEY_ALPHABET[0]);
}

function expectLength(bytes: Uint8Array, length: number, label: string): void {
  if (bytes.length !== length) throw new RangeError(`${label} must be ${length} bytes, got ${bytes.length}`);
}
