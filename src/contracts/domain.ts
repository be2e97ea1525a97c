// How a domain says which service speaks for it (PROTOCOL §9). One form for both sides: the service checks its own
// record with it, and a user's vault reads the record for itself.

import { sha256 } from "../crypto/hash.ts";
import { fromBase64 } from "../protocol/encoding.ts";

/** Where the TXT record is looked for. */
export const domainRecordName = (domain: string): string => `_vettid-service.${domain}`;

/** Of an Ed25519 public key (base64), as the record names it: SHA-256, lower-case hex. */
export const keyFingerprint = (publicKey: string): string =>
  Array.from(sha256(fromBase64(publicKey)!), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** What the record must say. */
export const domainRecordText = (service: { serviceId: string; publicKey: string }): string =>
  `service_id=${service.serviceId};key=${keyFingerprint(service.publicKey)}`;

/** `wrong_record`: there is a record, of another service or another key. */
export type DomainFinding = "verified" | "no_record" | "wrong_record";

/**
 * What the TXT records of a domain say about a service. A domain may name several services, a record each; members
 * other than these two are for later versions.
 */
export function findingIn(
  texts: readonly string[],
  service: { serviceId: string; publicKey: string },
): DomainFinding {
  const fingerprint = keyFingerprint(service.publicKey);
  const records = texts.map((text) => text.split(";").map((part) => part.trim()));
  const proves = (parts: string[]) =>
    parts.includes(`service_id=${service.serviceId}`) && parts.includes(`key=${fingerprint}`);
  if (records.some(proves)) return "verified";
  return records.some((parts) => parts.some((part) => part.startsWith("service_id=")))
    ? "wrong_record"
    : "no_record";
}
