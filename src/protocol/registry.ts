// What a service and a registry say to each other (PROTOCOL §9). A registry is a third party that looks at services
// and says so: it is named by its host, and its key is published there.

import { z } from "zod";
import { attestation } from "./offer.ts";
import { httpsUrl, identityId, line, publicKey, signature, timestamp, url } from "./primitives.ts";

/** Where a registry says who it is, and where registrations go; below its origin. */
export const REGISTRY_DOCUMENT_PATH = "/.well-known/vettid-registry";
export const REGISTRATIONS_PATH = "/registrations";
/** How far the clocks of service and registry may be apart. */
export const REGISTRATION_CLOCK_SKEW_MS = 300_000;
/** The longest an attestation may hold: a registry has to look again. */
export const MAX_ATTESTATION_MS = 366 * 24 * 3_600_000;

/** A host name, with a port where it is not 443: what `attestation.registry` holds. */
export const registryName = line(253).regex(
  /^(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?::\d{1,5})?$/,
  "must be a host name in lower case, with a port where it is not 443",
);

/** Readers are lenient about members they do not know: a registry may say more of itself. */
export const registryDocument = z.object({
  v: z.literal(1),
  registry: registryName,
  registry_key: publicKey,
  name: line(100).optional(),
  policy_url: httpsUrl.optional(),
});
export type RegistryDocument = z.infer<typeof registryDocument>;

/** Signed by the service over everything but `signature`. */
export const registration = z.strictObject({
  v: z.literal(1),
  registry: registryName,
  service_id: identityId,
  service_public_key: publicKey,
  /** Where the service's vault answers: its signed offer is at `/.well-known/vettid-service`. */
  vault_url: url("https", "http"),
  timestamp,
  signature,
});
export type Registration = z.infer<typeof registration>;

/** `pending`: the registry has yet to look; asking again is how to find out. */
export const registrationAnswer = z.union([
  z.object({ status: z.literal("attested"), attestation }),
  z.object({ status: z.literal("pending") }),
]);
export type RegistrationAnswer = z.infer<typeof registrationAnswer>;
