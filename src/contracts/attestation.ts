// A registry's word about a service, and the registration it answers (PROTOCOL §9): made, and checked by all three
// who read them: the service that carries the attestation, the registry, and the user's vault that shows it.

import { identityOf } from "../crypto/hash.ts";
import { isSoundSigningKey } from "../crypto/keys.ts";
import { type SigningKey, signJson, verifyJson } from "../crypto/signing.ts";
import { fromBase64 } from "../protocol/encoding.ts";
import { LABELS } from "../protocol/labels.ts";
import { type Attestation, attestation as attestationSchema } from "../protocol/offer.ts";
import { fromTimestamp, toTimestamp } from "../protocol/primitives.ts";
import {
  MAX_ATTESTATION_MS,
  REGISTRATION_CLOCK_SKEW_MS,
  type Registration,
  registration as registrationSchema,
} from "../protocol/registry.ts";
import { err, ok, type Result } from "../protocol/result.ts";

/** `key` is the registry's. */
export async function signAttestation(
  key: SigningKey,
  content: Omit<Attestation, "registry_key" | "signature">,
): Promise<Attestation> {
  const unsigned = { ...content, registry_key: key.publicKeyText };
  return { ...unsigned, signature: await signJson(key, LABELS.attestation, unsigned) };
}

export type AttestationFault =
  | "schema"
  | "other_registry"
  | "other_key"
  | "other_service"
  | "key_refused"
  | "signature_invalid"
  | "not_yet_valid"
  | "too_long"
  | "expired";

/**
 * Checks an attestation as received. `registry` and `registryKey` are what is known of the registry from elsewhere;
 * without the key, the signature says only that the attestation is as its maker made it, whoever that was.
 */
export async function verifyAttestation(
  value: unknown,
  expected: { serviceId: string; registry?: string; registryKey?: string; now: number },
): Promise<Result<Attestation, AttestationFault>> {
  const parsed = attestationSchema.safeParse(value);
  if (!parsed.success) return err("schema");
  const attestation = parsed.data;
  if (expected.registry !== undefined && attestation.registry !== expected.registry)
    return err("other_registry");
  if (expected.registryKey !== undefined && attestation.registry_key !== expected.registryKey)
    return err("other_key");
  if (attestation.service_id !== expected.serviceId) return err("other_service");
  if (!isSoundSigningKey(fromBase64(attestation.registry_key)!)) return err("key_refused");
  const { signature, ...signed } = attestation;
  if (!(await verifyJson(attestation.registry_key, LABELS.attestation, signed, signature)))
    return err("signature_invalid");
  const issuedAt = fromTimestamp(attestation.issued_at);
  const expiresAt = fromTimestamp(attestation.expires_at);
  if (issuedAt > expected.now + REGISTRATION_CLOCK_SKEW_MS) return err("not_yet_valid");
  if (expiresAt - issuedAt > MAX_ATTESTATION_MS) return err("too_long");
  if (expiresAt <= expected.now) return err("expired");
  return ok(attestation);
}

/** `key` is the service's identity key. */
export async function signRegistration(
  key: SigningKey,
  content: { registry: string; vaultUrl: string; now: number },
): Promise<Registration> {
  const unsigned = {
    v: 1 as const,
    registry: content.registry,
    service_id: key.id,
    service_public_key: key.publicKeyText,
    vault_url: content.vaultUrl,
    timestamp: toTimestamp(content.now),
  };
  return { ...unsigned, signature: await signJson(key, LABELS.registration, unsigned) };
}

export type RegistrationFault =
  | "schema"
  | "other_registry"
  | "id_mismatch"
  | "key_refused"
  | "signature_invalid"
  | "clock";

/** What a registry checks before it looks at the service itself. */
export async function verifyRegistration(
  value: unknown,
  expected: { registry: string; now: number },
): Promise<Result<Registration, RegistrationFault>> {
  const parsed = registrationSchema.safeParse(value);
  if (!parsed.success) return err("schema");
  const registration = parsed.data;
  if (registration.registry !== expected.registry) return err("other_registry");
  const publicKey = fromBase64(registration.service_public_key)!;
  if (identityOf(publicKey) !== registration.service_id) return err("id_mismatch");
  if (!isSoundSigningKey(publicKey)) return err("key_refused");
  const { signature, ...signed } = registration;
  if (!(await verifyJson(registration.service_public_key, LABELS.registration, signed, signature)))
    return err("signature_invalid");
  if (Math.abs(fromTimestamp(registration.timestamp) - expected.now) > REGISTRATION_CLOCK_SKEW_MS)
    return err("clock");
  return ok(registration);
}
