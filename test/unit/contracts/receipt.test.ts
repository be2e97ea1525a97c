import { beforeAll, describe, expect, it } from "vitest";
import { signAcceptance, signContract } from "../../../src/contracts/agreement.ts";
import {
  type ConsentFacts,
  type ConsentReceipt,
  signConsentReceipt,
  verifyConsentReceipt,
} from "../../../src/contracts/receipt.ts";
import { newAgreementKey } from "../../../src/crypto/agreement.ts";
import { contractIdOf } from "../../../src/crypto/hash.ts";
import { importSigningKey, type SigningKey, signJson } from "../../../src/crypto/signing.ts";
import type { ContractRecord } from "../../../src/protocol/contract.ts";
import { LABELS } from "../../../src/protocol/labels.ts";
import { makeOffer } from "../../support/offer.ts";
import { Peer } from "../../support/peer.ts";

const AT = "2026-03-01T10:00:00.000Z";
const LATER = "2026-04-01T10:00:00.000Z";

let service: SigningKey;
let facts: ConsentFacts;
let receipt: ConsentReceipt;

beforeAll(async () => {
  service = await importSigningKey(new Uint8Array(32).fill(7));
  const peer = await Peer.make();
  const contract = peer.contract(await makeOffer(service));
  const contractId = contractIdOf(contract);
  const form = {
    contract_id: contractId,
    user_signature: await signContract(peer.signing, contractId, AT),
    service_connection_key: (await newAgreementKey()).key.publicKeyText,
    accepted_at: AT,
  };
  const { contract_id: _id, ...signed } = form;
  const record: ContractRecord = {
    contract,
    signed_at: AT,
    service_public_key: service.publicKeyText,
    ...signed,
    service_signature: await signAcceptance(service, form),
  };
  facts = {
    contractId,
    record,
    status: "active",
    changedAt: AT,
    revokedCapabilities: [],
    service: { name: "Example Shop", type: "retail", jurisdiction: "DE" },
  };
  receipt = await signConsentReceipt(service, facts);
});

describe("a consent receipt", () => {
  it("says who, to whom, for what, which data, how long, where and since when, and proves it", async () => {
    expect(await verifyConsentReceipt(structuredClone(receipt), service.id)).toEqual({
      ok: true,
      value: receipt,
    });
    const { contract } = facts.record;
    expect(receipt).toMatchObject({
      state: "issued",
      principal: { user_id: contract.user_id },
      controller: { service_id: service.id, name: "Example Shop" },
      given: { at: AT, signature: facts.record.user_signature },
      purposes: [{ purpose: "authenticate", state: "issued" }],
      data_categories: [
        { category: "email", optional: false },
        { category: "nickname", optional: true },
      ],
      retention: { until: "contract_end" },
      third_parties: [],
      jurisdiction: "DE",
      contract: { contract_id: facts.contractId, offering_id: "login", offering_version: 1 },
    });
  });

  it("is the same for the same consent, and another once that changes", async () => {
    expect(await signConsentReceipt(service, facts)).toEqual(receipt);
    const narrowed = await signConsentReceipt(service, { ...facts, revokedCapabilities: ["authenticate"] });
    expect(narrowed.receipt_id).not.toBe(receipt.receipt_id);
    expect(narrowed).toMatchObject({ state: "issued", purposes: [{ state: "withdrawn" }] });
  });

  it.each([
    ["active", "issued"],
    ["paused", "issued"],
    ["cancelled", "withdrawn"],
    ["superseded", "withdrawn"],
    ["expired", "expired"],
  ] as const)("of a contract that is %s is %s", async (status, state) => {
    const ended = state === "issued" ? {} : { endedAt: LATER, endedBy: "user" as const, changedAt: LATER };
    const made = await signConsentReceipt(service, { ...facts, status, ...ended });
    expect(made.state).toBe(state);
    expect(made.ended).toEqual(state === "issued" ? undefined : { at: LATER, by: "principal" });
    expect(await verifyConsentReceipt(made, service.id)).toMatchObject({ ok: true });
  });

  it("is not believed when anything in it was changed", async () => {
    for (const [name, value] of Object.entries(receipt)) {
      if (name === "signature" || name === "v" || name === "schema") continue;
      const changed = structuredClone(receipt) as unknown as Record<string, unknown>;
      if (typeof value === "string") changed[name] = name === "receipt_id" ? service.id : LATER;
      else delete changed[name];
      expect(await verifyConsentReceipt(changed, service.id), name).toMatchObject({ ok: false });
    }
    expect(await verifyConsentReceipt({ ...receipt, surprise: 1 }, service.id)).toEqual({
      ok: false,
      error: "schema",
    });
  });

  it("is not believed from another service, however well it signed", async () => {
    const other = await importSigningKey(new Uint8Array(32).fill(8));
    const theirs = await signConsentReceipt(other, facts);
    expect(await verifyConsentReceipt(theirs, other.id)).toMatchObject({ ok: true });
    expect(await verifyConsentReceipt(theirs, service.id)).toEqual({ ok: false, error: "other_service" });
    const { signature: _signature, ...unsigned } = receipt;
    const forged = { ...unsigned, signature: await signJson(other, LABELS.consentReceipt, unsigned) };
    expect(await verifyConsentReceipt(forged, service.id)).toEqual({ ok: false, error: "signature_invalid" });
  });
});
