// The scalar types that every message is built from (PROTOCOL §1).

import { z } from "zod";
import { fromBase58, fromBase64 } from "./encoding.ts";

const BASE58_TEXT = /^[1-9A-HJ-NP-Za-km-z]+$/;

const base64Length = (length: number): number => Math.ceil(length / 3) * 4;

/** Canonical base64 of exactly `length` bytes, decoded; undefined for anything else. */
export function decodedOfLength(length: number, text: string): Uint8Array | undefined {
  const bytes = text.length === base64Length(length) ? fromBase64(text) : undefined;
  return bytes?.length === length ? bytes : undefined;
}
export const bytesOfLength = (length: number) =>
  z
    .string()
    .length(base64Length(length))
    .refine((text) => decodedOfLength(length, text) !== undefined, {
      message: `must be standard base64 (padded, canonical) of exactly ${length} bytes`,
    });

/** Canonical base64 of at most `limit` bytes, decoded; undefined for anything else. */
export function decodedUpTo(limit: number, text: string): Uint8Array | undefined {
  const bytes = text.length <= base64Length(limit) ? fromBase64(text) : undefined;
  return bytes !== undefined && bytes.length <= limit ? bytes : undefined;
}
export const bytesUpTo = (limit: number) =>
  z
    .string()
    .max(base64Length(limit))
    .refine((text) => decodedUpTo(limit, text) !== undefined, {
      message: `must be standard base64 (padded, canonical) of at most ${limit} bytes`,
    });

const isBase58Of = (length: number, text: string): boolean =>
  BASE58_TEXT.test(text) && fromBase58(text)?.length === length;

/** base58 of a SHA-256: a service, a user, an offer or a contract. */
export const isHashId = (text: string): boolean =>
  text.length >= 32 && text.length <= 44 && isBase58Of(32, text);
const hashId = (what: string) =>
  z
    .string()
    .min(32)
    .max(44)
    .refine(isHashId, { message: `must be a ${what}: base58 of 32 bytes` });

export const identityId = hashId("service or user id");
export const offerId = hashId("offer id");
export const contractId = hashId("contract id");

/** base58 of the first 8 bytes of the hash of an X25519 public key. */
export const isKeyId = (text: string): boolean => text.length <= 11 && isBase58Of(8, text);
export const keyId = z.string().max(11).refine(isKeyId, { message: "must be a key id: base58 of 8 bytes" });

/** Event ids, refs and `message_space`: base58, 22 to 96 characters, at least 128 random bits. */
const EVENT_ID = /^[1-9A-HJ-NP-Za-km-z]{22,96}$/;
export const isEventId = (text: string): boolean => EVENT_ID.test(text);
export const eventId = z.string().regex(EVENT_ID, "must be base58, 22 to 96 characters");

/** One to three dot-separated names: `auth.request`, `receipt`, `custom.loyalty.response`. */
const EVENT_TYPE = /^[a-z0-9_]{1,32}(\.[a-z0-9_]{1,32}){0,2}$/;
export const isEventType = (text: string): boolean => EVENT_TYPE.test(text);
export const eventType = z.string().regex(EVENT_TYPE);

export const freeName = z.string().regex(/^[a-z0-9_]{1,32}$/, "must match [a-z0-9_]{1,32}");

const TIMESTAMP = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/;

/** RFC 3339, UTC, milliseconds, `Z`: one spelling per instant. */
export function isTimestamp(text: string): boolean {
  if (!TIMESTAMP.test(text)) return false;
  const instant = new Date(text);
  return !Number.isNaN(instant.getTime()) && instant.toISOString() === text;
}
export const timestamp = z
  .string()
  .refine(isTimestamp, { message: "must be RFC 3339 in UTC with milliseconds, as 2026-01-31T08:15:00.000Z" });

export const toTimestamp = (ms: number): string => new Date(ms).toISOString();
/** Milliseconds since the epoch of a timestamp that the schema has accepted. */
export const fromTimestamp = (text: string): number => Date.parse(text);

export const PUBLIC_KEY_BYTES = 32;
export const SIGNATURE_BYTES = 64;
export const publicKey = bytesOfLength(PUBLIC_KEY_BYTES);
export const signature = bytesOfLength(SIGNATURE_BYTES);
export const digest = bytesOfLength(32);

/**
 * Text a person reads, bounded in UTF-16 code units. No control characters, and none that break a line or turn its
 * direction: what is approved must look like what was sent.
 */
export const line = (max: number) =>
  z
    .string()
    .min(1)
    .max(max)
    .regex(
      /^[^\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]+$/u,
      "must not contain control characters, line breaks or direction overrides",
    );

/** As `line`, with line feeds and tabs allowed. */
export const prose = (max: number) =>
  z
    .string()
    .min(1)
    .max(max)
    .regex(
      /^(?:[\n\t]|[^\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069])+$/u,
      "must not contain control characters or direction overrides",
    );

const URL_TEXT = /^[a-z]+:\/\/[\u0021-\u007e]+$/;

/**
 * A URL of one of the given schemes, as it stands. `z.url` would trim it, and what was signed would then differ
 * from what was checked.
 */
export const url = (...schemes: string[]) =>
  z
    .string()
    .max(2_048)
    .refine(
      (text) =>
        URL_TEXT.test(text) && URL.canParse(text) && schemes.includes(text.slice(0, text.indexOf(":"))),
      { message: `must be a URL of ASCII letters that starts with ${schemes.join(" or ")}://` },
    );

export const httpsUrl = url("https");

/** Money: integer minor units and an ISO 4217 code. */
export const money = z.strictObject({
  amount: z.int().min(0),
  currency: z.string().regex(/^[A-Z]{3}$/, "must be an ISO 4217 code, as EUR"),
});
export type Money = z.infer<typeof money>;
