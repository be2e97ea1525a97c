// A user's side in the hands of a test: every message by hand, so that each can be made wrong in one way.
// The real user vault is sdk/user-vault; this one has no state, no session and no manners.

import { signContract, signRevocation } from "../../src/contracts/agreement.ts";
import { type AgreementKey, newAgreementKey } from "../../src/crypto/agreement.ts";
import { contractIdOf, keyIdOf, requestDigestOf, resultDigestOf } from "../../src/crypto/hash.ts";
import { type MessageHeader, open, seal } from "../../src/crypto/seal.ts";
import { importSigningKey, type SigningKey, signJson } from "../../src/crypto/signing.ts";
import { encodeNkey } from "../../src/nats/nkey.ts";
import type { ApprovalStatement, RequestPayload, ResponsePayload } from "../../src/protocol/asking.ts";
import type { Contract, ContractSubmit, Profile, Revocation } from "../../src/protocol/contract.ts";
import { fromBase64, toBase64 } from "../../src/protocol/encoding.ts";
import { type Envelope, type EnvelopeHeader, parseEnvelope } from "../../src/protocol/envelope.ts";
import { newEventId, randomBytes } from "../../src/protocol/ids.ts";
import { type Json, parseJson } from "../../src/protocol/json.ts";
import { LABELS } from "../../src/protocol/labels.ts";
import type { Offer } from "../../src/protocol/offer.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";
import { fromUserSubject } from "../../src/protocol/subjects.ts";
import { signApproval } from "../../src/requests/lifecycle.ts";
import type { InboundMessage } from "../../src/rpc.ts";

const HOUR_MS = 3_600_000;

export interface Opened {
  header: EnvelopeHeader;
  payload: Json;
}

export class Peer {
  readonly signing: SigningKey;
  readonly nats: SigningKey;
  readonly connection: AgreementKey;
  readonly messageSpace = newEventId();
  contractId: string | undefined;
  /** The service's connection key (32 bytes), once accepted. */
  serviceKey: Uint8Array | undefined;
  seq = 0;

  private constructor(signing: SigningKey, nats: SigningKey, connection: AgreementKey) {
    this.signing = signing;
    this.nats = nats;
    this.connection = connection;
  }

  static async make(seed: Uint8Array = randomBytes(32)): Promise<Peer> {
    return new Peer(
      await importSigningKey(seed),
      await importSigningKey(randomBytes(32)),
      (await newAgreementKey()).key,
    );
  }

  get id(): string {
    return this.signing.id;
  }

  /** The same person with new keys for a new contract. */
  async again(): Promise<Peer> {
    return new Peer(this.signing, await importSigningKey(randomBytes(32)), (await newAgreementKey()).key);
  }

  contract(offer: Offer, change: Partial<Contract> = {}): Contract {
    const offering = offer.offerings[0]!;
    return {
      v: 1,
      user_id: this.id,
      user_signing_key: this.signing.publicKeyText,
      service_id: offer.service_id,
      offer_id: offer.offer_id,
      offering_id: offering.offering_id,
      offering_snapshot: offering,
      user_connection_key: this.connection.publicKeyText,
      nats_public_key: encodeNkey("user", this.nats.publicKey),
      message_space: this.messageSpace,
      created_at: toTimestamp(Date.now()),
      ...change,
    };
  }

  async submission(
    contract: Contract,
    inviteCode: string,
    change: Partial<ContractSubmit> & { profile?: Profile } = {},
  ): Promise<ContractSubmit> {
    const contractId = contractIdOf(contract);
    this.contractId = contractId;
    const signedAt = toTimestamp(Date.now());
    return {
      invite_code: inviteCode,
      contract,
      user_signature: await signContract(this.signing, contractId, signedAt),
      signed_at: signedAt,
      profile: {},
      ...change,
    };
  }

  /** Seals a message to the service; `header` overrides anything. */
  async message(
    serviceId: string,
    eventType: string,
    payload: unknown,
    options: {
      to?: Uint8Array;
      ref?: string;
      header?: Partial<MessageHeader>;
      subject?: string;
      signer?: SigningKey;
    } = {},
  ): Promise<InboundMessage & { eventId: string }> {
    const now = Date.now();
    const isReceipt = eventType === "receipt";
    const header: MessageHeader = {
      event_id: newEventId(),
      event_type: eventType,
      ...(options.ref === undefined ? {} : { ref: options.ref }),
      to: serviceId,
      ...(this.contractId === undefined ? {} : { contract_id: this.contractId }),
      seq: isReceipt ? 0 : ++this.seq,
      timestamp: toTimestamp(now),
      expires_at: toTimestamp(now + HOUR_MS),
      ...options.header,
    };
    const bytes = await seal(options.signer ?? this.signing, options.to ?? this.serviceKey!, header, payload);
    const subject = options.subject ?? fromUserSubject(serviceId, this.id, header.event_type, header.ref);
    return { subject, bytes, eventId: header.event_id };
  }

  async submit(
    offer: Offer,
    submission: ContractSubmit,
    header: Partial<MessageHeader> = {},
  ): Promise<InboundMessage & { eventId: string }> {
    const now = Date.now();
    const full: MessageHeader = {
      event_id: newEventId(),
      event_type: "contract.submit",
      to: offer.service_id,
      signing_key: this.signing.publicKeyText,
      seq: 0,
      timestamp: toTimestamp(now),
      expires_at: toTimestamp(now + HOUR_MS),
      ...header,
    };
    const bytes = await seal(this.signing, fromBase64(offer.service_encryption_key)!, full, submission);
    return {
      subject: fromUserSubject(offer.service_id, this.id, "contract.submit"),
      bytes,
      eventId: full.event_id,
    };
  }

  /** Opens what the service sealed to this peer's connection key. */
  async open(bytes: Uint8Array): Promise<Opened> {
    const parsed = parseEnvelope(bytes);
    if (!parsed.ok) throw new Error(`not an envelope: ${parsed.error}`);
    const envelope: Envelope = parsed.value;
    if (envelope.header.key_id !== keyIdOf(this.connection.publicKey))
      throw new Error("sealed to another key");
    const plaintext = await open(envelope, this.connection);
    if (plaintext === undefined) throw new Error("does not open");
    const json = parseJson(plaintext);
    if (!json.ok) throw new Error(`not JSON: ${json.error}`);
    return { header: envelope.header, payload: json.value };
  }

  /** A right answer to a request; `change` makes it wrong after signing, `statement` before. */
  async answer(
    payload: RequestPayload,
    serviceId: string,
    options: {
      decision?: "approved" | "denied";
      result?: Json;
      statement?: Partial<ApprovalStatement>;
      change?: Partial<ResponsePayload>;
      signer?: SigningKey;
    } = {},
  ): Promise<ResponsePayload> {
    const { decision = "approved", result } = options;
    const salt = result === undefined ? undefined : toBase64(randomBytes(32));
    const statement: ApprovalStatement = {
      v: 1,
      request_id: payload.request_id,
      request_digest: requestDigestOf(payload),
      kind: payload.kind,
      decision,
      user_id: this.id,
      service_id: serviceId,
      contract_id: this.contractId!,
      responded_at: toTimestamp(Date.now()),
      ...(result === undefined || salt === undefined ? {} : { result_digest: resultDigestOf(result, salt) }),
      ...options.statement,
    };
    return {
      request_id: payload.request_id,
      decision,
      ...(result === undefined ? {} : { result }),
      ...(salt === undefined ? {} : { salt }),
      approval: await signApproval(options.signer ?? this.signing, statement),
      ...options.change,
    };
  }

  revocation(contractId = this.contractId!, signer = this.signing): Promise<Revocation> {
    return signRevocation(signer, { contract_id: contractId, by: "user", at: toTimestamp(Date.now()) });
  }

  /** Both signatures of POST /connect/credentials. */
  async renewal(
    change: { timestamp?: string; contractId?: string; signer?: SigningKey; natsSigner?: SigningKey } = {},
  ) {
    const form = {
      contract_id: change.contractId ?? this.contractId!,
      nats_public_key: encodeNkey("user", this.nats.publicKey),
      timestamp: change.timestamp ?? toTimestamp(Date.now()),
    };
    return {
      ...form,
      signature: await signJson(change.signer ?? this.signing, LABELS.credentials, form),
      nats_signature: await signJson(change.natsSigner ?? this.nats, LABELS.credentials, form),
    };
  }
}
