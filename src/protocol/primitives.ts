// The scalar types that every message is built from (PROTOCOL §1).

import { z } from "zod";
import { fromBase58, fromBase64 } from "./encoding.ts";

const BASE58_TEXT = /^[1-9A-HJ-NP-Za-km-z]+$/;

/** Canonical base64 of exactly `length` bytes. */
export const bytesOfLength = (length: number) =>
  z
    .string()
    .length(Math.ceil(length / 3) * 4)
    .refine((text) => fromBase64(text)?.length === length, {
      message: `must be standard base64 (padded, canonical) of exactly ${length} bytes`,
    });

/** Canonical base64 of at most `limit` bytes. */
export const bytesUpTo = (limit: number) =>
  z
    .string()
    .max(Math.ceil(limit / 3) * 4)
    .refine((text) => {
      const bytes = fromBase64(text);
      return bytes !== undefined && bytes.length <= limit;
    }, `must be standard base64 (padded, canonical) of at most ${limit} bytes`);

/** base58 of a SHA-256: a service, a user, an offer or a contract. */
const hashId = (what: string) =>
  z
    .string()
    .min(32)
    .max(44)
    .refine((text) => BASE58_TEXT.test(text) && fromBase58(text)?.length === 32, {
      message: `must be a ${what}: base58 of 32 bytes`,
    });

export const identityId = hashId("service or user id");
export const offerId = hashId("offer id");
export const contractId = hashId("contract id");

/** base58 of the first 8 bytes of the hash of an X25519 public key. */
export const keyId = z
  .string()
  .max(11)
  .refine((text) => BASE58_TEXT.test(text) && fromBase58(text)?.length === 8, {
    message: "must be a key id: base58 of 8 bytes",
  });

/** Event ids, refs and `message_space`: base58, 22 to 96 characters, at least 128 random bits. */
export const eventId = z
  .string()
  .regex(/^[1-9A-HJ-NP-Za-km-z]{22,96}$/, "must be base58, 22 to 96 characters");

/** One to three dot-separated names: `auth.request`, `receipt`, `custom.loyalty.response`. */
export const eventType = z.string().regex(/^[a-z0-9_]{1,32}(\.[a-z0-9_]{1,32}){0,2}$/);

export const freeName = z.string().regex(/^[a-z0-9_]{1,32}$/, "must match [a-z0-9_]{1,32}");

const TIMESTAMP = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/;

/** RFC 3339, UTC, milliseconds, `Z`: one spelling per instant. */
export const timestamp = z.string().refine(
  (text) => {
    if (!TIMESTAMP.test(text)) return false;
    const instant = new Date(text);
    return !Number.isNaN(instant.getTime()) && instant.toISOString() === text;
  },
  { message: "must be RFC 3339 in UTC with milliseconds, as 2026-01-31T08:15:00.000Z" },
);

export const toTimestamp = (ms: number): string => new Date(ms).toISOString();
/** Milliseconds since the epoch of a timestamp that the schema has accepted. */
export const fromTimestamp = (text: string): number => Date.parse(text);

export const publicKey = bytesOfLength(32);
export const signature = bytesOfLength(64);
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
