import { beforeAll, describe, expect, it } from "vitest";
import { signOffer, verifyOffer } from "../../../src/contracts/offer.ts";
import { offerIdOf } from "../../../src/crypto/hash.ts";
import { importSigningKey, type SigningKey, signJson } from "../../../src/crypto/signing.ts";
import { randomBytes } from "../../../src/protocol/ids.ts";
import { LABELS } from "../../../src/protocol/labels.ts";
import type { Offer } from "../../../src/protocol/offer.ts";
import { toTimestamp } from "../../../src/protocol/primitives.ts";
import { makeOffer } from "../../support/offer.ts";

let service: SigningKey;
let offer: Offer;
const now = Date.now();
const check = (value: unknown, pinnedServiceId: string | undefined = service.id, at = now) =>
  verifyOffer(value, { ...(pinnedServiceId === undefined ? {} : { pinnedServiceId }), now: at });

beforeAll(async () => {
  service = await importSigningKey(randomBytes(32));
  offer = await makeOffer(service);
});

describe("an offer", () => {
  it("holds with the pinned service's signature, and without a pin", async () => {
    expect(await check(offer)).toMatchObject({ ok: true, value: offer });
    expect(await verifyOffer(offer, { now })).toMatchObject({ ok: true });
  });

  it("of another service is refused though its signature holds", async () => {
    const other = await makeOffer(await importSigningKey(randomBytes(32)));
    expect(await check(other)).toEqual({ ok: false, error: "other_service" });
  });

  it("whose key does not hash to its service_id is refused", async () => {
    const { offer_id: _, signature: __, ...content } = offer;
    const other = await importSigningKey(randomBytes(32));
    const forged = { ...content, service_public_key: other.publicKeyText };
    const withId = { ...forged, offer_id: offerIdOf(forged) };
    const signed = { ...withId, signature: await signJson(other, LABELS.offer, withId) };
    expect(await check(signed)).toEqual({ ok: false, error: "other_service" });
  });

  it("with any claim edited is refused: first the id no longer fits, then the signature", async () => {
    const edited = { ...offer, service_name: "Another name" };
    expect(await check(edited)).toEqual({ ok: false, error: "id_mismatch" });
    const renamed = { ...edited, offer_id: offerIdOf(edited) };
    expect(await check(renamed)).toEqual({ ok: false, error: "signature_invalid" });
  });

  it("with a field nobody signed is refused", async () => {
    expect(await check({ ...offer, extra: true })).toEqual({ ok: false, error: "schema" });
  });

  it("with an encryption key of small order is refused", async () => {
    const weak = await makeOffer(service, {
      service_encryption_key: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    });
    expect(await check(weak)).toEqual({ ok: false, error: "key_refused" });
  });

  it("is refused from the moment it expires, and before it was issued", async () => {
    expect(await check(offer, service.id, Date.parse(offer.valid_until))).toEqual({
      ok: false,
      error: "expired",
    });
    const early = await makeOffer(service, { issued_at: toTimestamp(now + 301_000) });
    expect(await check(early)).toEqual({ ok: false, error: "not_yet_valid" });
  });

  it("signed twice differs in nothing: the id names the content", async () => {
    const { v: _, offer_id, service_id: __, service_public_key: ___, signature, ...content } = offer;
    expect(await signOffer(service, content)).toMatchObject({ offer_id, signature });
  });
});
