// The service's side of a registry: who it is, and one registration. Registering again is also how an attestation is
// renewed, so nothing has to be remembered between two calls but the registry's key.

import { signRegistration, verifyAttestation } from "../contracts/attestation.ts";
import { isSoundSigningKey } from "../crypto/keys.ts";
import type { SigningKey } from "../crypto/signing.ts";
import { fromBase64 } from "../protocol/encoding.ts";
import type { Attestation } from "../protocol/offer.ts";
import {
  REGISTRATIONS_PATH,
  REGISTRY_DOCUMENT_PATH,
  registrationAnswer,
  registryDocument,
} from "../protocol/registry.ts";
import { fetchJson, type Outside } from "./fetch-json.ts";

export type RegistryOutcome =
  | { outcome: "attested"; registryKey: string; attestation: Attestation }
  /** It has yet to look. */
  | { outcome: "pending"; registryKey: string }
  /** It has looked, and says no: what it said before no longer holds. */
  | { outcome: "refused"; registryKey?: string; detail: string }
  /** It is away, or says what cannot be used; what it said before holds until it expires. */
  | { outcome: "failed"; registryKey?: string; detail: string };

/** A client error, but for the two that only say "later" (RFC 9110 §15.5.9, RFC 6585 §4). */
const isRefusal = (status: number): boolean =>
  status >= 400 && status < 500 && status !== 408 && status !== 429;

/**
 * Registers with the registry at an origin. `knownKey` is the key it had before, or that someone was told: another
 * one is not believed. Never throws.
 */
export async function registerWith(
  origin: string,
  { knownKey, key, vaultUrl, now }: { knownKey?: string; key: SigningKey; vaultUrl: string; now: number },
  outside: Outside,
): Promise<RegistryOutcome> {
  const registry = new URL(origin).host;
  const document = await fetchJson(origin + REGISTRY_DOCUMENT_PATH, outside);
  if (!document.answered) return { outcome: "failed", detail: `the registry ${document.why}` };
  const about = registryDocument.safeParse(document.body);
  if (document.status !== 200 || !about.success)
    return { outcome: "failed", detail: `there is no registry's document at ${REGISTRY_DOCUMENT_PATH}` };
  if (about.data.registry !== registry)
    return { outcome: "failed", detail: "the registry's document names another registry" };
  const registryKey = about.data.registry_key;
  if (knownKey !== undefined && registryKey !== knownKey)
    return {
      outcome: "failed",
      detail: "the registry has another key than before; if that is right, delete it and add it again",
    };
  if (!isSoundSigningKey(fromBase64(registryKey)!))
    return { outcome: "failed", detail: "the registry's key is not a sound Ed25519 key" };

  const body = await signRegistration(key, { registry, vaultUrl, now });
  const answer = await fetchJson(origin + REGISTRATIONS_PATH, outside, { method: "POST", body });
  if (!answer.answered) return { outcome: "failed", registryKey, detail: `the registry ${answer.why}` };
  if (isRefusal(answer.status))
    return { outcome: "refused", registryKey, detail: `the registry refused with ${answer.status}` };
  const parsed = registrationAnswer.safeParse(answer.body);
  if (answer.status >= 300 || !parsed.success) {
    const detail =
      answer.status >= 300
        ? `the registry answered ${answer.status}`
        : "the registry did not answer in the agreed form";
    return { outcome: "failed", registryKey, detail };
  }
  if (parsed.data.status === "pending") return { outcome: "pending", registryKey };
  const verified = await verifyAttestation(parsed.data.attestation, {
    serviceId: key.id,
    registry,
    registryKey,
    now,
  });
  return verified.ok
    ? { outcome: "attested", registryKey, attestation: verified.value }
    : { outcome: "failed", registryKey, detail: `its attestation does not verify (${verified.error})` };
}
