// Who a person is, toward one service at a time. Each service meets a signing key and a `message_space` of its own
// (PROTOCOL §2), so two services that compare notes find nobody in common; each contract has a connection key and an
// nkey of its own (§5), so that ending one takes nothing else with it.

import { labelledJson } from "../../src/crypto/hash.ts";
import { importSigningKey, type SigningKey } from "../../src/crypto/signing.ts";
import { decodeSeed, encodeNkey, encodeSeed } from "../../src/nats/nkey.ts";
import { toBase64 } from "../../src/protocol/encoding.ts";
import { newEventId, randomBytes } from "../../src/protocol/ids.ts";
import type { Label } from "../../src/protocol/labels.ts";
import { VaultError } from "./errors.ts";
import type { IdentityRow } from "./store.ts";

const SEED_BYTES = 32;

/** A new identity for a service, to be stored before it is used. */
export async function newIdentity(serviceId: string, now: number): Promise<IdentityRow> {
  const signingSeed = randomBytes(SEED_BYTES);
  const key = await importSigningKey(signingSeed);
  return { serviceId, userId: key.id, signingSeed, messageSpace: newEventId(), createdAt: now };
}

/** A NATS user key pair. It signs the server's nonces and the two credential requests, nothing else. */
export interface NatsKey {
  /** `SU…`. SECRET. */
  seedText: string;
  /** `U…` */
  publicText: string;
  /** `Sign(label, value)` of PROTOCOL §1 with this key, base64. */
  signJson(label: Label, value: unknown): Promise<string>;
}

/** A fresh nkey; drawn by itself, so it is never the signing key. */
export const newNatsKey = (): Promise<NatsKey> => natsKey(randomBytes(SEED_BYTES));

/** Opens a stored seed (`SU…`). Throws VaultError `store_unusable` for anything else. */
export function openNatsKey(seedText: string): Promise<NatsKey> {
  const seed = decodeSeed("user", seedText);
  if (seed === undefined) throw new VaultError("store_unusable", "A stored NATS seed is damaged.");
  return natsKey(seed);
}

async function natsKey(seed: Uint8Array): Promise<NatsKey> {
  // An nkey is an Ed25519 key in NATS's spelling.
  const key: SigningKey = await importSigningKey(seed);
  return {
    seedText: encodeSeed("user", seed),
    publicText: encodeNkey("user", key.publicKey),
    signJson: async (label, value) => toBase64(await key.sign(labelledJson(label, value))),
  };
}
