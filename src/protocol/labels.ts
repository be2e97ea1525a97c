// Domain separation (PROTOCOL §1): a label serves one purpose, so that bytes signed or hashed for one never
// pass for another.

export const LABELS = {
  message: "vettid-message-v1",
  envelope: "vettid-envelope-v1",
  offerId: "vettid-offer-id-v1",
  offer: "vettid-offer-v1",
  setup: "vettid-setup-v1",
  contractId: "vettid-contract-id-v1",
  contract: "vettid-contract-v1",
  acceptance: "vettid-acceptance-v1",
  credentials: "vettid-credentials-v1",
  request: "vettid-request-v1",
  approval: "vettid-approval-v1",
  result: "vettid-result-v1",
  document: "vettid-document-v1",
  revocation: "vettid-revocation-v1",
  capabilityRevocation: "vettid-capability-revocation-v1",
  auditId: "vettid-audit-id-v1",
  audit: "vettid-audit-v1",
  consentReceipt: "vettid-consent-receipt-v1",
  consentReceiptId: "vettid-consent-receipt-id-v1",
  registration: "vettid-registration-v1",
  attestation: "vettid-attestation-v1",
} as const;

export type Label = (typeof LABELS)[keyof typeof LABELS];
