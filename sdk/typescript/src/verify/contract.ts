// The agreement between a person and a service, checked from its record alone.

import { contractIdOf, identityOf } from "../../../../src/crypto/hash.ts";
import { isSoundAgreementKey, isSoundSigningKey } from "../../../../src/crypto/keys.ts";
import { fromBase64 } from "../../../../src/protocol/encoding.ts";
import { LABELS } from "../../../../src/protocol/labels.ts";
import type { ContractRecord } from "../generated/types.ts";
import { formed, isSigned, members, textsOf } from "./form.ts";
import { type Check, type VerificationCode, VerificationError } from "./verification-error.ts";

const NO_KEY = new Uint8Array(0);

/** Which contract it must be: by its id, or by both sides. */
export type ExpectedContract =
  | { contractId: string; userId?: string; serviceId?: string }
  | { contractId?: string; userId: string; serviceId: string };

export interface VerifiedContract {
  /** The hash of its content. */
  contractId: string;
  record: ContractRecord;
  /** Everything that was looked at; all of it holds. */
  checks: readonly Check[];
}

/**
 * Resolves when both sides signed this contract; throws VerificationError otherwise, with every check in `checks`. It
 * does not say that the contract is still in force.
 */
export async function verifyContractRecord(
  value: unknown,
  expected: ExpectedContract,
): Promise<VerifiedContract> {
  if (
    typeof expected?.contractId !== "string" &&
    (typeof expected?.userId !== "string" || typeof expected?.serviceId !== "string")
  )
    throw new TypeError(
      "verifyContractRecord: say which contract it must be (contractId, or userId and serviceId)",
    );
  const record = textsOf(
    value,
    "the record",
    [
      "user_signature",
      "signed_at",
      "service_public_key",
      "service_connection_key",
      "accepted_at",
      "service_signature",
    ],
    ["contract"],
  );
  const content = (value as { contract: unknown }).contract;
  const contract = textsOf(
    content,
    "the contract",
    [
      "user_id",
      "user_signing_key",
      "service_id",
      "offer_id",
      "offering_id",
      "user_connection_key",
      "nats_public_key",
      "message_space",
      "created_at",
      "expires_at?",
      "supersedes?",
    ],
    ["v", "offering_snapshot"],
  );
  if ((content as { v?: unknown }).v !== 1)
    throw new VerificationError("malformed", "the contract is of another version");
  const snapshot = members((content as { offering_snapshot: unknown }).offering_snapshot, "the offering");
  const contractId = formed(() => contractIdOf(content as object), "the contract");
  const userKey = fromBase64(contract.user_signing_key) ?? NO_KEY;
  const serviceKey = fromBase64(record.service_public_key) ?? NO_KEY;

  const checks: (Check & { code: VerificationCode })[] = [
    {
      check: "user_id",
      code: "mismatch",
      ok: identityOf(userKey) === contract.user_id,
      detail: "user_id is the hash of the user's signing key",
    },
    {
      check: "service_id",
      code: "mismatch",
      ok: identityOf(serviceKey) === contract.service_id,
      detail: "service_id is the hash of the service's signing key",
    },
    {
      check: "keys",
      code: "key_refused",
      ok:
        isSoundSigningKey(userKey) &&
        isSoundSigningKey(serviceKey) &&
        isSoundAgreementKey(fromBase64(contract.user_connection_key) ?? NO_KEY) &&
        isSoundAgreementKey(fromBase64(record.service_connection_key) ?? NO_KEY),
      detail: "every public key is canonical and of prime order",
    },
    {
      check: "offering",
      code: "mismatch",
      ok: snapshot.offering_id === contract.offering_id,
      detail: "the snapshot is of the offering the contract names",
    },
    {
      check: "expected",
      code: "mismatch",
      ok:
        (expected.contractId ?? contractId) === contractId &&
        (expected.userId ?? contract.user_id) === contract.user_id &&
        (expected.serviceId ?? contract.service_id) === contract.service_id,
      detail: "it is the contract that was expected",
    },
    {
      check: "user_signature",
      code: "signature_invalid",
      ok: await isSigned(
        contract.user_signing_key,
        LABELS.contract,
        { contract_id: contractId, signed_at: record.signed_at },
        record.user_signature,
        "the record",
      ),
      detail: "the user signed this contract",
    },
    {
      check: "service_signature",
      code: "signature_invalid",
      ok: await isSigned(
        record.service_public_key,
        LABELS.acceptance,
        {
          contract_id: contractId,
          user_signature: record.user_signature,
          service_connection_key: record.service_connection_key,
          accepted_at: record.accepted_at,
        },
        record.service_signature,
        "the record",
      ),
      detail: "the service accepted under the user's signature",
    },
  ];
  const shown = checks.map(({ check, ok, detail }) => ({ check, ok, detail }));
  const failed = checks.find(({ ok }) => !ok);
  if (failed !== undefined)
    throw new VerificationError(failed.code, `this does not hold: ${failed.detail}`, shown);
  return { contractId, record: value as ContractRecord, checks: shown };
}
