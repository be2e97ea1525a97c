import { beforeAll, describe, expect, it } from "vitest";
import { signAcceptance, verifyContractRecord } from "../../../src/contracts/agreement.ts";
import { checkSubmission, missingData } from "../../../src/contracts/negotiation.ts";
import { newAgreementKey } from "../../../src/crypto/agreement.ts";
import { contractIdOf } from "../../../src/crypto/hash.ts";
import { importSigningKey, type SigningKey } from "../../../src/crypto/signing.ts";
import type { Contract, ContractRecord, ContractSubmit } from "../../../src/protocol/contract.ts";
import { newEventId, randomBytes } from "../../../src/protocol/ids.ts";
import { toTimestamp } from "../../../src/protocol/primitives.ts";
import { makeOffer, offering } from "../../support/offer.ts";
import { Peer } from "../../support/peer.ts";

let service: SigningKey;
let peer: Peer;
let contract: Contract;
let submit: ContractSubmit;
const now = Date.now();
const SMALL_ORDER = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

beforeAll(async () => {
  service = await importSigningKey(randomBytes(32));
  peer = await Peer.make();
  contract = peer.contract(await makeOffer(service));
  submit = await peer.submission(contract, newEventId(), { profile: { email: "ada@example.com" } });
});

const check = (given: ContractSubmit, natsKey: Uint8Array | undefined = peer.nats.publicKey, from = peer) =>
  checkSubmission(given, {
    now,
    serviceId: service.id,
    from: from.id,
    signingKey: from.signing.publicKeyText,
    natsKey,
  });
const resubmit = async (change: Partial<Contract>) =>
  peer.submission({ ...contract, ...change }, newEventId());

describe("a submitted contract", () => {
  it("passes when it says of itself what is so", async () => {
    expect(await check(submit)).toEqual({ ok: true, value: { contractId: contractIdOf(contract) } });
  });

  it("for another service is refused", async () => {
    expect(await check(await resubmit({ service_id: peer.id }))).toEqual({
      ok: false,
      error: "wrong_service",
    });
  });

  it("in another's name is refused: the sender must be the user it names", async () => {
    const thief = await Peer.make();
    expect(await check(submit, thief.nats.publicKey, thief)).toEqual({
      ok: false,
      error: "contract_invalid",
    });
  });

  it("whose snapshot is of another offering than it names is refused", async () => {
    expect(await check(await resubmit({ offering_id: "premium" }))).toEqual({
      ok: false,
      error: "contract_invalid",
    });
  });

  it("with a connection key of small order is refused", async () => {
    expect(await check(await resubmit({ user_connection_key: SMALL_ORDER }))).toEqual({
      ok: false,
      error: "key_refused",
    });
  });

  it("whose nkey is the signing key, or does not decode, is refused", async () => {
    expect(await check(submit, peer.signing.publicKey)).toEqual({ ok: false, error: "key_refused" });
    expect(
      await checkSubmission(submit, {
        now,
        serviceId: service.id,
        from: peer.id,
        signingKey: peer.signing.publicKeyText,
        natsKey: undefined,
      }),
    ).toEqual({ ok: false, error: "key_refused" });
  });

  it("that has expired already is refused", async () => {
    expect(await check(await resubmit({ expires_at: toTimestamp(now) }))).toEqual({
      ok: false,
      error: "expired",
    });
  });

  it("changed after it was signed, or signed by another key, is refused", async () => {
    const changed = { ...submit, contract: { ...contract, created_at: toTimestamp(now + 1) } };
    expect(await check(changed)).toEqual({ ok: false, error: "signature_invalid" });
    const stranger = await Peer.make();
    const forged = {
      ...submit,
      user_signature: (await stranger.submission(contract, newEventId())).user_signature,
    };
    expect(await check(forged)).toEqual({ ok: false, error: "signature_invalid" });
  });
});

describe("required data", () => {
  it("that the profile lacks is named; the optional is not", () => {
    expect(missingData(offering, { nickname: "ada" })).toEqual(["email"]);
    expect(missingData(offering, { email: "ada@example.com" })).toEqual([]);
  });
});

describe("a contract record", () => {
  let record: ContractRecord;
  beforeAll(async () => {
    const { key } = await newAgreementKey();
    const acceptedAt = toTimestamp(now);
    record = {
      contract,
      user_signature: submit.user_signature,
      signed_at: submit.signed_at,
      service_public_key: service.publicKeyText,
      service_connection_key: key.publicKeyText,
      accepted_at: acceptedAt,
      service_signature: await signAcceptance(service, {
        contract_id: contractIdOf(contract),
        user_signature: submit.user_signature,
        service_connection_key: key.publicKeyText,
        accepted_at: acceptedAt,
      }),
    };
  });
  const failing = async (value: unknown) =>
    (await verifyContractRecord(value)).checks.filter((entry) => !entry.ok).map((entry) => entry.check);

  it("verifies from its content alone", async () => {
    expect((await verifyContractRecord(record)).valid).toBe(true);
  });

  it("says which checks fail", async () => {
    const other = await importSigningKey(randomBytes(32));
    expect(await failing({ ...record, accepted_at: toTimestamp(now + 1) })).toEqual(["service_signature"]);
    expect(await failing({ ...record, signed_at: toTimestamp(now + 1) })).toEqual(["user_signature"]);
    expect(await failing({ ...record, service_public_key: other.publicKeyText })).toEqual([
      "service_id",
      "service_signature",
    ]);
    expect(await failing({ ...record, service_connection_key: SMALL_ORDER })).toEqual([
      "keys",
      "service_signature",
    ]);
    expect(await failing({ ...record, contract: { ...contract, offering_id: "premium" } })).toEqual([
      "offering",
      "user_signature",
      "service_signature",
    ]);
    expect(await failing({ ...record, extra: 1 })).toEqual(["schema"]);
  });
});
