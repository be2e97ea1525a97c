// The signatures a contract consists of, and the check of a contract record from its content alone
// (PROTOCOL §5, §7).

import { contractIdOf, identityOf } from "../crypto/hash.ts";
import { isSoundAgreementKey, isSoundSigningKey } from "../crypto/keys.ts";
import { type SigningKey, signJson, verifyJson } from "../crypto/signing.ts";
import {
  type CapabilityRevoke,
  type Contract,
  type ContractRecord,
  contractRecord,
  type LastingCredentialsRequest,
  type Revocation,
  type SetupCredentialsRequest,
} from "../protocol/contract.ts";
import { fromBase64 } from "../protocol/encoding.ts";
import { LABELS } from "../protocol/labels.ts";

/** The user's signature under a contract. */
export const signContract = (key: SigningKey, contractId: string, signedAt: string): Promise<string> =>
  signJson(key, LABELS.contract, { contract_id: contractId, signed_at: signedAt });

export const verifyUserSignature = (
  contract: Contract,
  contractId: string,
  signedAt: string,
  signature: string,
): Promise<boolean> =>
  verifyJson(
    contract.user_signing_key,
    LABELS.contract,
    { contract_id: contractId, signed_at: signedAt },
    signature,
  );

export interface AcceptanceForm {
  contract_id: string;
  user_signature: string;
  service_connection_key: string;
  accepted_at: string;
}

const acceptanceForm = ({
  contract_id,
  user_signature,
  service_connection_key,
  accepted_at,
}: AcceptanceForm): AcceptanceForm => ({ contract_id, user_signature, service_connection_key, accepted_at });

/** The service's signature under the user's. */
export const signAcceptance = (key: SigningKey, form: AcceptanceForm): Promise<string> =>
  signJson(key, LABELS.acceptance, acceptanceForm(form));

export const verifyAcceptance = (
  servicePublicKey: string,
  form: AcceptanceForm,
  signature: string,
): Promise<boolean> => verifyJson(servicePublicKey, LABELS.acceptance, acceptanceForm(form), signature);

/** Whether both of a contract's user keys, and their ids, are what PROTOCOL §2 asks. */
export const hasSoundUserKeys = (contract: Contract): boolean =>
  isSoundSigningKey(fromBase64(contract.user_signing_key)!) &&
  isSoundAgreementKey(fromBase64(contract.user_connection_key)!);

export interface Check {
  check: string;
  ok: boolean;
  detail: string;
}

/** Verifies a contract record from its content: every check with its outcome, the first failure does not hide the rest. */
export async function verifyContractRecord(value: unknown): Promise<{ valid: boolean; checks: Check[] }> {
  const parsed = contractRecord.safeParse(value);
  if (!parsed.success) {
    const checks = [{ check: "schema", ok: false, detail: "the record is not of the form of PROTOCOL §5" }];
    return { valid: false, checks };
  }
  const record: ContractRecord = parsed.data;
  const { contract } = record;
  const contractId = contractIdOf(contract);
  const checks: Check[] = [
    { check: "schema", ok: true, detail: "the record has the form of PROTOCOL §5" },
    {
      check: "user_id",
      ok: identityOf(fromBase64(contract.user_signing_key)!) === contract.user_id,
      detail: "user_id is the hash of the user's signing key",
    },
    {
      check: "service_id",
      ok: identityOf(fromBase64(record.service_public_key)!) === contract.service_id,
      detail: "service_id is the hash of the service's signing key",
    },
    {
      check: "keys",
      ok:
        hasSoundUserKeys(contract) &&
        isSoundSigningKey(fromBase64(record.service_public_key)!) &&
        isSoundAgreementKey(fromBase64(record.service_connection_key)!),
      detail: "every public key is canonical and of prime order",
    },
    {
      check: "offering",
      ok: contract.offering_snapshot.offering_id === contract.offering_id,
      detail: "the snapshot is of the offering the contract names",
    },
    {
      check: "user_signature",
      ok: await verifyUserSignature(contract, contractId, record.signed_at, record.user_signature),
      detail: "the user signed this contract",
    },
    {
      check: "service_signature",
      ok: await verifyAcceptance(
        record.service_public_key,
        {
          contract_id: contractId,
          user_signature: record.user_signature,
          service_connection_key: record.service_connection_key,
          accepted_at: record.accepted_at,
        },
        record.service_signature,
      ),
      detail: "the service accepted under the user's signature",
    },
  ];
  return { valid: checks.every((check) => check.ok), checks };
}

const revocationForm = ({ contract_id, by, at }: Pick<Revocation, "contract_id" | "by" | "at">) => ({
  contract_id,
  by,
  at,
});

/** Ends a contract, by either side (PROTOCOL §7). */
export async function signRevocation(
  key: SigningKey,
  form: Pick<Revocation, "contract_id" | "by" | "at" | "reason">,
): Promise<Revocation> {
  return { ...form, signature: await signJson(key, LABELS.revocation, revocationForm(form)) };
}

export const verifyRevocation = (publicKey: string, revocation: Revocation): Promise<boolean> =>
  verifyJson(publicKey, LABELS.revocation, revocationForm(revocation), revocation.signature);

const capabilityForm = (contractId: string, capabilities: readonly string[]) => ({
  contract_id: contractId,
  capabilities,
});

/** Takes single capabilities back, by the user (PROTOCOL §7). */
export async function signCapabilityRevocation(
  key: SigningKey,
  contractId: string,
  capabilities: string[],
): Promise<CapabilityRevoke> {
  const form = capabilityForm(contractId, capabilities);
  return { capabilities, signature: await signJson(key, LABELS.capabilityRevocation, form) };
}

export const verifyCapabilityRevocation = (
  publicKey: string,
  contractId: string,
  { capabilities, signature }: CapabilityRevoke,
): Promise<boolean> =>
  verifyJson(publicKey, LABELS.capabilityRevocation, capabilityForm(contractId, capabilities), signature);

/** What both signatures of POST /connect/{code}/credentials cover. */
export const setupForm = (
  serviceId: string,
  code: string,
  request: Pick<SetupCredentialsRequest, "signing_key" | "nats_public_key" | "timestamp">,
) => ({
  service_id: serviceId,
  code,
  signing_key: request.signing_key,
  nats_public_key: request.nats_public_key,
  timestamp: request.timestamp,
});

/** What both signatures of POST /connect/credentials cover. */
export const credentialsForm = (
  request: Pick<LastingCredentialsRequest, "contract_id" | "nats_public_key" | "timestamp">,
) => ({
  contract_id: request.contract_id,
  nats_public_key: request.nats_public_key,
  timestamp: request.timestamp,
});
