// The wire of PROTOCOL.md written a second time, on @noble alone and without a line of src/: what makes the
// vectors, and what the shipped code is compared against.

import { xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { ed25519, x25519 } from "@noble/curves/ed25519.js";
import { hkdf } from "@noble/hashes/hkdf.js";
import { sha256 } from "@noble/hashes/sha2.js";

export type Value = string | number | boolean | null | Value[] | { [name: string]: Value | undefined };
export type Fields = { [name: string]: Value | undefined };

export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
export const text = (bytes: Uint8Array): string => new TextDecoder("utf-8", { fatal: true }).decode(bytes);
export const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
export const unhex = (digits: string): Uint8Array =>
  Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
export const base64 = (bytes: Uint8Array): string =>
  btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
export const unbase64 = (encoded: string): Uint8Array =>
  Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
export const joined = (...parts: Uint8Array[]): Uint8Array =>
  Uint8Array.from(parts.flatMap((part) => [...part]));
export { sha256 };

const ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/** base58 by long division of one big number; each leading zero byte is a leading 1. */
export function base58(bytes: Uint8Array): string {
  let number = BigInt(`0x0${hex(bytes)}`);
  let digits = "";
  for (; number > 0n; number /= 58n) digits = ALPHABET[Number(number % 58n)] + digits;
  const zeros = bytes.findIndex((byte) => byte !== 0);
  return "1".repeat(zeros === -1 ? bytes.length : zeros) + digits;
}

/** RFC 8785: names by UTF-16 code units, numbers and strings as ECMAScript writes them. */
export function jcs(value: Value): string {
  if (Array.isArray(value)) return `[${value.map(jcs).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const members = Object.keys(value)
    .filter((name) => value[name] !== undefined)
    .sort((a, b) => (a < b ? -1 : 1))
    .map((name) => `${JSON.stringify(name)}:${jcs(value[name]!)}`);
  return `{${members.join(",")}}`;
}

/** label ‖ LF ‖ JCS(x). */
export const form = (label: string, value: Value): Uint8Array => utf8(`${label}\n${jcs(value)}`);
/** H(label, x). */
export const labelledHash = (label: string, value: Value): Uint8Array => sha256(form(label, value));
/** Sign(label, x). */
export const labelledSignature = (seed: Uint8Array, label: string, value: Value): Uint8Array =>
  ed25519.sign(form(label, value), seed);

export const without = (value: Fields, ...names: string[]): Fields =>
  Object.fromEntries(Object.entries(value).filter(([name]) => !names.includes(name)));

/** An Ed25519 key with the id that is its hash. */
export function identity(seed: Uint8Array) {
  const publicKey = ed25519.getPublicKey(seed);
  return { seed, publicKey, publicKeyText: base64(publicKey), id: base58(sha256(publicKey)) };
}

/** An X25519 key with its id. */
export function agreement(secret: Uint8Array) {
  const publicKey = x25519.getPublicKey(secret);
  return {
    secret,
    publicKey,
    publicKeyText: base64(publicKey),
    keyId: base58(sha256(publicKey).slice(0, 8)),
  };
}

/** Padmé in integers: only the top ⌊log2 E⌋ + 2 bits of a length may be other than zero. */
export function padme(length: number, minimum: number): number {
  const wanted = Math.max(length, minimum);
  const exponent = 31 - Math.clz32(wanted);
  const kept = 32 - Math.clz32(exponent);
  const unit = 2 ** (exponent - kept);
  return Math.ceil(wanted / unit) * unit;
}

export interface SealInput {
  senderSeed: Uint8Array;
  ephemeralSecret: Uint8Array;
  recipientPublicKey: Uint8Array;
  nonce: Uint8Array;
  /** Every header field but v, key_id, ephemeral_public_key and nonce. */
  header: Fields & { from: string; to: string; event_id: string };
  /** The payload's JSON text, as its sender wrote it. */
  payloadText: string;
  minimumBytes: number;
}

/** PROTOCOL §4, one step after the other. */
export function sealSteps(input: SealInput) {
  const ephemeralPublicKey = x25519.getPublicKey(input.ephemeralSecret);
  const shared = x25519.getSharedSecret(input.ephemeralSecret, input.recipientPublicKey);
  const salt = joined(ephemeralPublicKey, input.recipientPublicKey);
  const { from, to, event_id } = input.header;
  const info = utf8(`vettid-message-v1\n${from}\n${to}\n${event_id}`);
  const key = hkdf(sha256, shared, salt, info, 32);
  const header: Fields = {
    v: 1,
    ...input.header,
    key_id: base58(sha256(input.recipientPublicKey).slice(0, 8)),
    ephemeral_public_key: base64(ephemeralPublicKey),
    nonce: base64(input.nonce),
  };
  const aad = utf8(jcs(header));
  const payload = utf8(input.payloadText);
  const plaintext = joined(
    payload,
    utf8(" ".repeat(padme(payload.length, input.minimumBytes) - payload.length)),
  );
  const ciphertext = xchacha20poly1305(key, input.nonce, aad).encrypt(plaintext);
  const signedForm = form("vettid-envelope-v1", { header, ciphertext_sha256: base64(sha256(ciphertext)) });
  const signature = ed25519.sign(signedForm, input.senderSeed);
  const envelope = { ...header, ciphertext: base64(ciphertext), signature: base64(signature) };
  return {
    ephemeralPublicKey,
    shared,
    salt,
    info,
    key,
    header,
    aad,
    plaintext,
    ciphertext,
    signedForm,
    signature,
    envelope,
  };
}

/** Verifies and opens an envelope as it travels. Throws at the first thing that is not right. */
export function openEnvelope(
  envelope: Fields,
  senderPublicKey: Uint8Array,
  recipientSecret: Uint8Array,
): string {
  const { ciphertext, signature, ...header } = envelope as Record<string, string>;
  const sealed = unbase64(ciphertext!);
  const signedForm = form("vettid-envelope-v1", { header, ciphertext_sha256: base64(sha256(sealed)) });
  if (!ed25519.verify(unbase64(signature!), signedForm, senderPublicKey, { zip215: false }))
    throw new Error("the signature does not hold");
  const ephemeralPublicKey = unbase64(header.ephemeral_public_key!);
  const recipientPublicKey = x25519.getPublicKey(recipientSecret);
  const shared = x25519.getSharedSecret(recipientSecret, ephemeralPublicKey);
  const info = utf8(`vettid-message-v1\n${header.from}\n${header.to}\n${header.event_id}`);
  const key = hkdf(sha256, shared, joined(ephemeralPublicKey, recipientPublicKey), info, 32);
  return text(xchacha20poly1305(key, unbase64(header.nonce!), utf8(jcs(header))).decrypt(sealed));
}
