// Whether a submitted contract may be accepted (PROTOCOL §5, step 5). Pure: the facts are gathered by the caller,
// who has verified the envelope already. Steps stop at the first failure.

import { contractIdOf, identityOf } from "../crypto/hash.ts";
import { isSoundAgreementKey, isSoundSigningKey } from "../crypto/keys.ts";
import type { ContractSubmit, Profile, RejectionReason } from "../protocol/contract.ts";
import { equalBytes, fromBase64 } from "../protocol/encoding.ts";
import type { Offering } from "../protocol/offer.ts";
import { fromTimestamp } from "../protocol/primitives.ts";
import { err, ok, type Result } from "../protocol/result.ts";
import { verifyUserSignature } from "./agreement.ts";

export interface SubmissionFacts {
  now: number;
  serviceId: string;
  /** The envelope's sender and the key it was verified with. */
  from: string;
  signingKey: string;
  /** Raw 32 bytes of the nkey the contract names; undefined when it does not decode. */
  natsKey: Uint8Array | undefined;
}

/** What the submission says of itself: signature, ids, keys, times. Needs nothing stored. */
export async function checkSubmission(
  submit: ContractSubmit,
  facts: SubmissionFacts,
): Promise<Result<{ contractId: string }, RejectionReason>> {
  const { contract } = submit;
  if (contract.service_id !== facts.serviceId) return err("wrong_service");
  const signingKey = fromBase64(contract.user_signing_key)!;
  if (
    contract.user_id !== facts.from ||
    contract.user_signing_key !== facts.signingKey ||
    identityOf(signingKey) !== contract.user_id ||
    contract.offering_snapshot.offering_id !== contract.offering_id
  )
    return err("contract_invalid");
  if (!isSoundSigningKey(signingKey)) return err("key_refused");
  if (!isSoundAgreementKey(fromBase64(contract.user_connection_key)!)) return err("key_refused");
  // One key, one purpose: an nkey that is also the signing key would let broker traffic sign contracts.
  if (facts.natsKey === undefined || equalBytes(facts.natsKey, signingKey)) return err("key_refused");
  if (contract.expires_at !== undefined && fromTimestamp(contract.expires_at) <= facts.now)
    return err("expired");
  const contractId = contractIdOf(contract);
  if (!(await verifyUserSignature(contract, contractId, submit.signed_at, submit.user_signature)))
    return err("signature_invalid");
  return ok({ contractId });
}

/** Required fields that the shared profile lacks. */
export const missingData = (offering: Offering, profile: Profile): string[] =>
  offering.required_data
    .filter((item) => item.required && !Object.hasOwn(profile, item.data_type))
    .map((item) => item.data_type);
