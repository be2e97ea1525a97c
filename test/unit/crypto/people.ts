// A service and a user for tests, with the same keys every time.

import { type AgreementKey, importAgreementKey } from "../../../src/crypto/agreement.ts";
import { sha256 } from "../../../src/crypto/hash.ts";
import type { MessageHeader } from "../../../src/crypto/seal.ts";
import { importSigningKey, type SigningKey } from "../../../src/crypto/signing.ts";
import { toBase58 } from "../../../src/protocol/encoding.ts";
import { utf8 } from "../../../src/protocol/json.ts";

/** For tests that try every byte of something, on a machine that is busy with others. */
export const HEAVY_TEST_TIMEOUT_MS = 120_000;

/** 32 bytes that depend on the name alone. */
export const seedOf = (name: string): Uint8Array<ArrayBuffer> => sha256(utf8(`test seed: ${name}`));

/** An id that depends on the name alone, where a hash id is wanted. */
export const hashIdOf = (name: string): string => toBase58(seedOf(name));

/** An event id that depends on the name alone: 22 characters at least. */
export const eventIdOf = (name: string): string => toBase58(seedOf(name)).slice(0, 24);

export interface Person {
  seed: Uint8Array<ArrayBuffer>;
  signing: SigningKey;
  secret: Uint8Array<ArrayBuffer>;
  agreement: AgreementKey;
}

export async function person(name: string): Promise<Person> {
  const seed = seedOf(`${name} signing`);
  const secret = seedOf(`${name} agreement`);
  return {
    seed,
    signing: await importSigningKey(seed),
    secret,
    agreement: await importAgreementKey(secret),
  };
}

export const message = (to: string, more: Partial<MessageHeader> = {}): MessageHeader => ({
  event_id: eventIdOf("message"),
  event_type: "auth.request",
  to,
  contract_id: hashIdOf("contract"),
  seq: 1,
  timestamp: "2026-03-03T12:00:00.000Z",
  expires_at: "2026-03-03T12:05:00.000Z",
  ...more,
});

/** The bytes with one bit changed. */
export function flipped(bytes: Uint8Array, bit: number): Uint8Array<ArrayBuffer> {
  const changed = Uint8Array.from(bytes);
  changed[Math.floor(bit / 8)]! ^= 1 << (bit % 8);
  return changed;
}
