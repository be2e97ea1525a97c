// The signed offer: built by the service, verified by whoever opens an invite (PROTOCOL §5).

import { identityOf, offerIdOf } from "../crypto/hash.ts";
import { isSoundAgreementKey, isSoundSigningKey } from "../crypto/keys.ts";
import { type SigningKey, signJson, verifyJson } from "../crypto/signing.ts";
import { fromBase64 } from "../protocol/encoding.ts";
import { LABELS } from "../protocol/labels.ts";
import { type Offer, offer as offerSchema } from "../protocol/offer.ts";
import { fromTimestamp } from "../protocol/primitives.ts";
import { err, ok, type Result } from "../protocol/result.ts";

export type OfferContent = Omit<Offer, "v" | "offer_id" | "service_id" | "service_public_key" | "signature">;

/** Completes and signs an offer with the service's identity key. */
export async function signOffer(key: SigningKey, content: OfferContent): Promise<Offer> {
  const unsigned = { v: 1 as const, service_id: key.id, service_public_key: key.publicKeyText, ...content };
  const withId = { ...unsigned, offer_id: offerIdOf(unsigned) };
  return { ...withId, signature: await signJson(key, LABELS.offer, withId) };
}

export type OfferFault =
  | "schema"
  | "other_service"
  | "key_refused"
  | "id_mismatch"
  | "signature_invalid"
  | "not_yet_valid"
  | "expired";

/**
 * Verifies an offer as received. `pinnedServiceId` is the id in the invite's link: an offer of any other service
 * is refused, whoever signed it.
 */
export async function verifyOffer(
  value: unknown,
  { pinnedServiceId, now }: { pinnedServiceId?: string; now: number },
): Promise<Result<Offer, OfferFault>> {
  const parsed = offerSchema.safeParse(value);
  if (!parsed.success) return err("schema");
  const offer = parsed.data;
  const signingKey = fromBase64(offer.service_public_key)!;
  if (pinnedServiceId !== undefined && offer.service_id !== pinnedServiceId) return err("other_service");
  if (identityOf(signingKey) !== offer.service_id) return err("other_service");
  if (!isSoundSigningKey(signingKey)) return err("key_refused");
  if (!isSoundAgreementKey(fromBase64(offer.service_encryption_key)!)) return err("key_refused");
  if (offerIdOf(offer) !== offer.offer_id) return err("id_mismatch");
  const { signature, ...signed } = offer;
  if (!(await verifyJson(offer.service_public_key, LABELS.offer, signed, signature)))
    return err("signature_invalid");
  // The signer's clock may run a little ahead of ours.
  if (fromTimestamp(offer.issued_at) > now + OFFER_CLOCK_SKEW_MS) return err("not_yet_valid");
  if (fromTimestamp(offer.valid_until) <= now) return err("expired");
  return ok(offer);
}

const OFFER_CLOCK_SKEW_MS = 300_000;
