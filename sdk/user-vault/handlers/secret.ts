// Secrets a service keeps here, on its own shelf and reachable by no other. A user-owned one is used in place: it signs,
// decrypts or derives with a key of its own for each use, and never leaves.

import { decrypt } from "../../../src/crypto/aead.ts";
import { deriveKey } from "../../../src/crypto/hash.ts";
import { importSigningKey } from "../../../src/crypto/signing.ts";
import { fromBase64, toBase64 } from "../../../src/protocol/encoding.ts";
import { type Json, utf8 } from "../../../src/protocol/json.ts";
import { toTimestamp } from "../../../src/protocol/primitives.ts";
import { MAX_SECRETS, type SecretTier, secretCapability } from "../../../src/requests/kinds/secret.ts";
import type { Handled, Handler } from "./handler.ts";

/** Keyed by secret id. SECRET. */
export const SECRETS = "secrets";
const KEY_BYTES = 32;
const NONCE_BYTES = 24;

type Members = { [name: string]: Json };

/** Fields of a payload that are the secret's own. */
const FIELDS = ["name", "description", "data", "metadata"] as const;
const fieldsOf = (payload: Members): Members =>
  Object.fromEntries(FIELDS.flatMap((name) => (payload[name] === undefined ? [] : [[name, payload[name]]])));

const without = ({ data: _, ...rest }: Members): Members => rest;

/**
 * A key for one use of a secret, so that what one use gives away says nothing about another:
 * `HKDF-SHA256(ikm secret, no salt, info "vettid-user-owned-<use>-v1", 32)`.
 */
const keyFor = (secret: Uint8Array, use: string): Uint8Array =>
  deriveKey(secret, new Uint8Array(), utf8(`vettid-user-owned-${use}-v1`), KEY_BYTES);

/** The public half of the key a user-owned secret signs with, base64: whoever issued it can compute it. */
export const signingKeyOfSecret = async (secret: Uint8Array): Promise<string> =>
  (await importSigningKey(keyFor(secret, "sign"))).publicKeyText;

async function use(secret: Uint8Array, how: string, input: Uint8Array): Promise<Handled> {
  switch (how) {
    case "sign": {
      const key = await importSigningKey(keyFor(secret, how));
      return { result: { output: toBase64(await key.sign(input)), public_key: key.publicKeyText } };
    }
    case "decrypt": {
      const nonce = input.subarray(0, NONCE_BYTES);
      if (nonce.length < NONCE_BYTES) return { refuse: "not_decryptable" };
      const plaintext = decrypt(keyFor(secret, how), nonce, new Uint8Array(), input.subarray(NONCE_BYTES));
      return plaintext === undefined
        ? { refuse: "not_decryptable" }
        : { result: { output: toBase64(plaintext) } };
    }
    case "derive":
      return {
        result: { output: toBase64(deriveKey(keyFor(secret, how), new Uint8Array(), input, KEY_BYTES)) },
      };
    default:
      return { refuse: "unsupported" };
  }
}

export const secret: Handler = {
  kind: "secret",
  answer: ({ requestId, operation = "", payload, context }, _, { own }): Handled | Promise<Handled> => {
    const granted = new Set(
      context.contract.offering_snapshot.capabilities.map(({ capability }) => capability),
    );
    const grants = (tier: SecretTier): boolean => granted.has(secretCapability(operation, tier));
    const now = toTimestamp(context.now);

    if (operation === "list") {
      const wanted = payload.secret_type as SecretTier | undefined;
      const secrets = own
        .list(SECRETS)
        .map(({ key, value }): Members => ({ secret_id: key, ...without(value as Members) }))
        .filter(({ secret_type }) => wanted === undefined || wanted === secret_type)
        .filter(({ secret_type }) => grants(secret_type as SecretTier));
      return { result: { secrets } };
    }
    const tier = payload.secret_type as SecretTier;
    if (!grants(tier)) return { refuse: "not_granted" };
    if (operation === "store") {
      if (own.list(SECRETS).length >= MAX_SECRETS) return { refuse: "secrets_full" };
      own.put(SECRETS, requestId, {
        secret_type: tier,
        ...fieldsOf(payload),
        created_at: now,
        updated_at: now,
      });
      return {};
    }

    const id = payload.secret_id as string;
    const held = own.get(SECRETS, id) as Members | undefined;
    if (held === undefined) return { refuse: "secret_unknown" };
    if (held.secret_type !== tier) return { refuse: "tier_mismatch" };
    // Whatever the service may ask: what was issued to the person stays with the person.
    if (tier === "user_owned" && operation !== "use") return { refuse: "user_owned" };
    switch (operation) {
      case "retrieve": {
        const { secret_type, name, data, metadata } = held;
        return {
          result: {
            secret_type: secret_type!,
            name: name!,
            data: data!,
            ...(metadata === undefined ? {} : { metadata }),
          },
        };
      }
      case "update":
        own.put(SECRETS, id, { ...held, ...fieldsOf(payload), updated_at: now });
        return {};
      case "delete":
        own.delete(SECRETS, id);
        return {};
      case "use":
        return tier === "user_owned"
          ? use(fromBase64(held.data as string)!, payload.use as string, fromBase64(payload.input as string)!)
          : { refuse: "not_user_owned" };
      default:
        return { refuse: "unsupported" };
    }
  },
};
