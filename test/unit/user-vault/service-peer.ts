// A service, small enough to read and scripted by the test: it makes real offers, opens what the vault seals, and
// seals what the test tells it to. It keeps no promises of its own; those are the vault's to keep.

import { signAcceptance, signRevocation } from "../../../src/contracts/agreement.ts";
import { signOffer } from "../../../src/contracts/offer.ts";
import { type AgreementKey, newAgreementKey } from "../../../src/crypto/agreement.ts";
import { contractIdOf } from "../../../src/crypto/hash.ts";
import { open, seal, verifyEnvelope } from "../../../src/crypto/seal.ts";
import { importSigningKey, type SigningKey } from "../../../src/crypto/signing.ts";
import type { ResponsePayload } from "../../../src/protocol/asking.ts";
import type { Contract, ContractSubmit, NatsCredentials } from "../../../src/protocol/contract.ts";
import { fromBase64 } from "../../../src/protocol/encoding.ts";
import { type EnvelopeHeader, parseEnvelope } from "../../../src/protocol/envelope.ts";
import { newEventId, randomBytes } from "../../../src/protocol/ids.ts";
import { parseJson } from "../../../src/protocol/json.ts";
import type { Offer, Offering } from "../../../src/protocol/offer.ts";
import { toTimestamp } from "../../../src/protocol/primitives.ts";
import { messageSpaceSubject, toUserSubject } from "../../../src/protocol/subjects.ts";
import { buildPayload } from "../../../src/requests/lifecycle.ts";
import { kindNamed } from "../../../src/requests/registry.ts";

const HOUR_MS = 3_600_000;

export const LOGIN: Offering = {
  offering_id: "login",
  version: 1,
  name: "Log in",
  description: "Log in with your vault.",
  capabilities: [
    { capability: "authenticate", description: "Ask you to log in", requires_approval_each_use: true },
  ],
  required_data: [{ data_type: "email", required: true, purpose: "To reach you" }],
  acceptance: "automatic",
};

export interface Opened {
  subject: string;
  header: EnvelopeHeader;
  payload: unknown;
}

/** A message as it travels. */
export interface Sent {
  eventId: string;
  subject: string;
  bytes: Uint8Array;
}

export class ServicePeer {
  readonly key: SigningKey;
  readonly code = newEventId();
  readonly encryptionKey: AgreementKey;
  /** Connection keys, newest first. */
  readonly keys: AgreementKey[] = [];
  offer!: Offer;
  contract: Contract | undefined;
  contractId: string | undefined;
  submit: { header: EnvelopeHeader; payload: ContractSubmit } | undefined;
  seq = 0;
  /** Key messages are sealed to; the contract's unless the user rotated. */
  userKey: Uint8Array | undefined;

  private constructor(key: SigningKey, encryptionKey: AgreementKey) {
    this.key = key;
    this.encryptionKey = encryptionKey;
  }

  static async make(offering: Offering = LOGIN): Promise<ServicePeer> {
    const peer = new ServicePeer(await importSigningKey(randomBytes(32)), (await newAgreementKey()).key);
    peer.keys.push((await newAgreementKey()).key);
    await peer.offerInstead(offering);
    return peer;
  }

  /** Publishes one offering in place of what was offered. */
  async offerInstead(offering: Offering): Promise<void> {
    this.offer = await signOffer(this.key, {
      service_name: "Example Shop",
      service_type: "retail",
      service_encryption_key: this.encryptionKey.publicKeyText,
      service_nats_endpoint: "ws://127.0.0.1:1",
      attestations: [],
      offerings: [offering],
      handler_manifest: { capabilities: [], event_handlers: [], plans: [] },
      log_vkey: "example+00000000+AAAA",
      log_url: "https://shop.example/log",
      issued_at: toTimestamp(Date.now()),
      valid_until: toTimestamp(Date.now() + HOUR_MS),
    });
  }

  get inviteUrl(): string {
    return `http://127.0.0.1:9/connect/${this.code}#${this.key.id}`;
  }

  /** Opens what the vault published; throws when it is not what PROTOCOL §4 says. */
  async open(subject: string, bytes: Uint8Array): Promise<Opened> {
    const parsed = parseEnvelope(bytes);
    if (!parsed.ok) throw new Error(`the vault's envelope is refused: ${parsed.error}`);
    const { header } = parsed.value;
    const signingKey = header.signing_key ?? this.contract?.user_signing_key;
    if (!(await verifyEnvelope(parsed.value, fromBase64(signingKey!)!)))
      throw new Error("not signed by the user");
    for (const key of [this.encryptionKey, ...this.keys]) {
      if (key.keyId !== header.key_id) continue;
      const plaintext = await open(parsed.value, key);
      const json = plaintext && parseJson(plaintext);
      if (!json?.ok) throw new Error("the vault's payload cannot be read");
      if (header.event_type === "contract.submit") {
        const payload = json.value as unknown as ContractSubmit;
        this.submit = { header, payload };
        this.contract = payload.contract;
        this.contractId = contractIdOf(payload.contract);
        this.userKey = fromBase64(payload.contract.user_connection_key)!;
      }
      return { subject, header, payload: json.value };
    }
    throw new Error("sealed to a key the service does not have");
  }

  async seal(
    eventType: string,
    payload: unknown,
    options: {
      ref?: string;
      setup?: boolean;
      seq?: number;
      eventId?: string;
      expiresAt?: number;
      signer?: SigningKey;
      toUser?: boolean;
    } = {},
  ): Promise<Sent> {
    const { ref, setup = false } = options;
    const eventId = options.eventId ?? newEventId();
    const contract = this.contract!;
    const seq = options.seq ?? (setup || eventType === "receipt" ? 0 : ++this.seq);
    const now = Date.now();
    const bytes = await seal(
      options.signer ?? this.key,
      this.userKey!,
      {
        event_id: eventId,
        event_type: eventType,
        ...(ref === undefined ? {} : { ref }),
        to: contract.user_id,
        ...(setup ? {} : { contract_id: this.contractId! }),
        seq,
        timestamp: toTimestamp(now),
        expires_at: toTimestamp(options.expiresAt ?? now + HOUR_MS),
      },
      payload,
    );
    const subject = options.toUser
      ? toUserSubject(this.key.id, contract.user_id, eventType, ref!)
      : messageSpaceSubject(contract.message_space, this.key.id, eventType, ref);
    return { eventId, subject, bytes };
  }

  async accept(
    credentials: NatsCredentials = {
      endpoint: "ws://127.0.0.1:1",
      user_jwt: "x",
      expires_at: toTimestamp(Date.now() + HOUR_MS),
    },
    options: { toUser?: boolean; badSignature?: boolean } = {},
  ): Promise<Sent> {
    const form = {
      contract_id: this.contractId!,
      user_signature: this.submit!.payload.user_signature,
      service_connection_key: this.keys[0]!.publicKeyText,
      accepted_at: toTimestamp(Date.now()),
    };
    const signer = options.badSignature ? await importSigningKey(randomBytes(32)) : this.key;
    const payload = {
      contract_id: form.contract_id,
      service_connection_key: form.service_connection_key,
      accepted_at: form.accepted_at,
      service_signature: await signAcceptance(signer, form),
      nats_credentials: credentials,
    };
    return this.seal("contract.accepted", payload, {
      ref: this.submit!.header.event_id,
      setup: true,
      ...(options.toUser === undefined ? {} : { toUser: options.toUser }),
    });
  }

  reject(reason: string): Promise<Sent> {
    return this.seal("contract.rejected", { reason }, { ref: this.submit!.header.event_id, setup: true });
  }

  /** An `auth.request`; `extra` is merged into its payload. */
  async ask(
    options: {
      extra?: object;
      expiresInMs?: number;
      graceSeconds?: number;
      matchCode?: boolean;
      kind?: string;
    } = {},
  ): Promise<Sent & { payload: { [name: string]: unknown } }> {
    const eventId = newEventId();
    const kind = kindNamed("auth")!;
    const expiresAt = Date.now() + (options.expiresInMs ?? 60_000);
    const graceSeconds = options.graceSeconds ?? 0;
    const payload = {
      ...buildPayload(
        kind,
        kind.operations[0]!,
        {
          requestId: eventId,
          purpose: "Log in to the shop",
          context: { device: "Laptop" },
          expiresAt,
          graceSeconds,
          matchCodeRequired: options.matchCode ?? false,
        },
        {},
      ),
      ...(options.kind === undefined ? {} : { kind: options.kind }),
      ...options.extra,
    };
    const sent = await this.seal(`${options.kind ?? "auth"}.request`, payload, {
      eventId,
      expiresAt: expiresAt + graceSeconds * 1_000,
    });
    return { ...sent, payload };
  }

  /** The receipt for a message of the vault's. */
  receipt(
    eventId: string,
    more: { request_status?: string; missing_seq?: number[]; event_hash?: string; outcome?: string } = {},
    setup = false,
  ): Promise<Sent> {
    const payload = { event_id: eventId, received_at: toTimestamp(Date.now()), outcome: "stored", ...more };
    return this.seal("receipt", payload, { ref: eventId, setup });
  }

  async cancel(signer: SigningKey = this.key): Promise<Sent> {
    const revocation = await signRevocation(signer, {
      contract_id: this.contractId!,
      by: "service",
      at: toTimestamp(Date.now()),
      reason: "shop closed",
    });
    return this.seal("contract.cancelled", revocation);
  }
}

export const asAnswer = (opened: Opened): ResponsePayload => opened.payload as ResponsePayload;
