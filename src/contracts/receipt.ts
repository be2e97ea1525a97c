// The consent receipt: what a person agreed to, for what, with whom and until when, with the fields of ISO/IEC
// TS 27560, signed by the service and verified from its content alone. Pure.

import { z } from "zod";
import { hashOf, identityOf } from "../crypto/hash.ts";
import { isSoundSigningKey } from "../crypto/keys.ts";
import { type SigningKey, signJson, verifyJson } from "../crypto/signing.ts";
import type { ContractRecord, ContractStatus } from "../protocol/contract.ts";
import { fromBase64, toBase58 } from "../protocol/encoding.ts";
import { LABELS } from "../protocol/labels.ts";
import { capabilityConstraints, capabilityName, offeringId } from "../protocol/offer.ts";
import {
  bytesOfLength,
  contractId,
  httpsUrl,
  identityId,
  line,
  prose,
  publicKey,
  signature,
  timestamp,
} from "../protocol/primitives.ts";
import { err, ok, type Result } from "../protocol/result.ts";

const hash32 = z.string().min(32).max(44);

export const consentState = z.enum(["issued", "withdrawn", "expired"]);
export type ConsentState = z.infer<typeof consentState>;

export const consentReceipt = z.strictObject({
  v: z.literal(1),
  schema: z.literal("ISO/IEC TS 27560:2023"),
  /** Of this content: the same consent in the same state has the same receipt. */
  receipt_id: hash32,
  /** When the state it shows was entered. */
  issued_at: timestamp,
  state: consentState,
  /** The PII principal, by the id they have toward this service alone. */
  principal: z.strictObject({ user_id: identityId, public_key: publicKey }),
  controller: z.strictObject({
    service_id: identityId,
    public_key: publicKey,
    name: line(100),
    type: line(64),
    domain: line(253).optional(),
  }),
  lawful_basis: z.literal("consent"),
  /** How it was given: signed by the principal's own key. */
  given: z.strictObject({ at: timestamp, method: z.literal("signed_contract"), signature }),
  valid_until: timestamp.optional(),
  /** Set when the state is `withdrawn` or `expired`. */
  ended: z
    .strictObject({
      at: timestamp,
      by: z.enum(["principal", "controller"]).optional(),
      superseded_by: contractId.optional(),
    })
    .optional(),
  /** What the controller may do, and the state of each: capabilities are withdrawn one by one. */
  purposes: z.array(
    z.strictObject({
      purpose: capabilityName,
      description: prose(500),
      state: consentState,
      scope: z.array(line(256)).optional(),
      constraints: capabilityConstraints.optional(),
      each_use_approved: z.boolean(),
    }),
  ),
  data_categories: z.array(
    z.strictObject({
      category: line(128),
      purpose: prose(500),
      optional: z.boolean(),
      /** The service's own words; absent: until the contract ends. */
      retention: line(128).optional(),
    }),
  ),
  /** What holds for everything shared. */
  retention: z.strictObject({ until: z.literal("contract_end"), inactivity_expiry_days: z.int().optional() }),
  /** Nobody else gets it under this contract. */
  third_parties: z.array(z.strictObject({ name: line(100), purpose: prose(500) })),
  jurisdiction: line(64).optional(),
  terms_url: httpsUrl.optional(),
  terms_hash: bytesOfLength(32).optional(),
  withdrawal: z.strictObject({
    methods: z.array(z.enum(["contract.revoke", "capability.revoke"])),
    /** Withdrawing takes effect at once and does not undo what was lawful before. */
    effect: z.literal("immediate"),
  }),
  contract: z.strictObject({
    contract_id: contractId,
    offering_id: offeringId,
    offering_name: line(100),
    offering_version: z.int().min(1),
    supersedes: contractId.optional(),
  }),
  signature,
});
export type ConsentReceipt = z.infer<typeof consentReceipt>;

/** What a receipt is made from. */
export interface ConsentFacts {
  contractId: string;
  record: ContractRecord;
  status: Exclude<ContractStatus, "pending" | "rejected">;
  /** When what the receipt shows was last changed: acceptance, a capability taken back, the end. */
  changedAt: string;
  endedAt?: string;
  endedBy?: "user" | "service";
  supersededBy?: string;
  revokedCapabilities: readonly string[];
  service: { name: string; type: string; domain?: string; jurisdiction?: string };
}

const stateOf = (status: ConsentFacts["status"]): ConsentState =>
  status === "active" || status === "paused" ? "issued" : status === "expired" ? "expired" : "withdrawn";

const receiptIdOf = (content: object): string => toBase58(hashOf(LABELS.consentReceiptId, content));

/** Builds and signs a receipt with the service's identity key. */
export async function signConsentReceipt(key: SigningKey, facts: ConsentFacts): Promise<ConsentReceipt> {
  const { record, service } = facts;
  const { contract } = record;
  const offering = contract.offering_snapshot;
  const state = stateOf(facts.status);
  const content = {
    v: 1 as const,
    schema: "ISO/IEC TS 27560:2023" as const,
    issued_at: facts.changedAt,
    state,
    principal: { user_id: contract.user_id, public_key: contract.user_signing_key },
    controller: {
      service_id: key.id,
      public_key: key.publicKeyText,
      name: service.name,
      type: service.type,
      ...(service.domain === undefined ? {} : { domain: service.domain }),
    },
    lawful_basis: "consent" as const,
    given: { at: record.signed_at, method: "signed_contract" as const, signature: record.user_signature },
    ...(contract.expires_at === undefined ? {} : { valid_until: contract.expires_at }),
    ...(facts.endedAt === undefined
      ? {}
      : {
          ended: {
            at: facts.endedAt,
            ...(facts.endedBy === undefined
              ? {}
              : { by: facts.endedBy === "user" ? ("principal" as const) : ("controller" as const) }),
            ...(facts.supersededBy === undefined ? {} : { superseded_by: facts.supersededBy }),
          },
        }),
    purposes: offering.capabilities.map((grant) => ({
      purpose: grant.capability,
      description: grant.description,
      state: facts.revokedCapabilities.includes(grant.capability) ? ("withdrawn" as const) : state,
      ...(grant.scope === undefined ? {} : { scope: grant.scope }),
      ...(grant.constraints === undefined ? {} : { constraints: grant.constraints }),
      each_use_approved: grant.requires_approval_each_use,
    })),
    data_categories: offering.required_data.map((item) => ({
      category: item.data_type,
      purpose: item.purpose,
      optional: !item.required,
      ...(item.retention === undefined ? {} : { retention: item.retention }),
    })),
    retention: {
      until: "contract_end" as const,
      ...(offering.inactivity_expiry_days === undefined
        ? {}
        : { inactivity_expiry_days: offering.inactivity_expiry_days }),
    },
    third_parties: [],
    ...(service.jurisdiction === undefined ? {} : { jurisdiction: service.jurisdiction }),
    ...(offering.terms_url === undefined ? {} : { terms_url: offering.terms_url }),
    ...(offering.terms_hash === undefined ? {} : { terms_hash: offering.terms_hash }),
    withdrawal: {
      methods: ["contract.revoke" as const, "capability.revoke" as const],
      effect: "immediate" as const,
    },
    contract: {
      contract_id: facts.contractId,
      offering_id: contract.offering_id,
      offering_name: offering.name,
      offering_version: offering.version,
      ...(contract.supersedes === undefined ? {} : { supersedes: contract.supersedes }),
    },
  };
  const unsigned = { ...content, receipt_id: receiptIdOf(content) };
  return { ...unsigned, signature: await signJson(key, LABELS.consentReceipt, unsigned) };
}

export type ReceiptFault = "schema" | "other_service" | "key_refused" | "id_mismatch" | "signature_invalid";

/** Verifies a receipt from its content; `serviceId` is whom the reader knows to have agreed with. */
export async function verifyConsentReceipt(
  value: unknown,
  serviceId: string,
): Promise<Result<ConsentReceipt, ReceiptFault>> {
  const parsed = consentReceipt.safeParse(value);
  if (!parsed.success) return err("schema");
  const receipt = parsed.data;
  const { controller, principal } = receipt;
  const key = fromBase64(controller.public_key)!;
  const principalKey = fromBase64(principal.public_key)!;
  if (controller.service_id !== serviceId || identityOf(key) !== serviceId) return err("other_service");
  if (!isSoundSigningKey(key) || identityOf(principalKey) !== principal.user_id) return err("key_refused");
  const { signature: signed, ...unsigned } = receipt;
  const { receipt_id, ...content } = unsigned;
  if (receiptIdOf(content) !== receipt_id) return err("id_mismatch");
  if (!(await verifyJson(controller.public_key, LABELS.consentReceipt, unsigned, signed)))
    return err("signature_invalid");
  return ok(receipt);
}
