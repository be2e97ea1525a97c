// An offering and an offer for tests, complete and valid; each test changes what it is about.

import { signOffer } from "../../src/contracts/offer.ts";
import { newAgreementKey } from "../../src/crypto/agreement.ts";
import type { SigningKey } from "../../src/crypto/signing.ts";
import type { Offer, Offering, OfferingContent } from "../../src/protocol/offer.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";

export const offeringContent: OfferingContent = {
  name: "Customer login",
  description: "Log in to the shop without a password.",
  capabilities: [
    {
      capability: "authenticate",
      description: "Ask you to confirm that it is you who logs in",
      requires_approval_each_use: true,
    },
  ],
  required_data: [
    { data_type: "email", required: true, purpose: "Order confirmations" },
    { data_type: "nickname", required: false, purpose: "How the shop greets you" },
  ],
  pricing: { type: "free" },
  acceptance: "automatic",
};

export const offering: Offering = { ...offeringContent, offering_id: "login", version: 1 };

export async function makeOffer(key: SigningKey, change: Partial<Offer> = {}): Promise<Offer> {
  const now = Date.now();
  return signOffer(key, {
    service_name: "Example Shop",
    service_type: "retail",
    service_encryption_key: (await newAgreementKey()).key.publicKeyText,
    service_nats_endpoint: "wss://nats.example.com",
    attestations: [],
    offerings: [offering],
    handler_manifest: { capabilities: [], event_handlers: [], plans: [] },
    log_vkey: "vault.example.com+00000000+AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==",
    log_url: "https://vault.example.com/log",
    issued_at: toTimestamp(now),
    valid_until: toTimestamp(now + 86_400_000),
    ...change,
  });
}
