// Recomputes every value of test/vectors/ with the shipped code. The files are made by another implementation
// (reference.ts), so a mistake would have to be made twice, in the same way, to pass here.

import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { vectorFiles } from "../../../scripts/vectors.ts";
import { verifyChain } from "../../../src/audit/chain.ts";
import {
  credentialsForm,
  setupForm,
  verifyAcceptance,
  verifyContractRecord,
  verifyRevocation,
  verifyUserSignature,
} from "../../../src/contracts/agreement.ts";
import { verifyAttestation, verifyRegistration } from "../../../src/contracts/attestation.ts";
import { domainRecordName, domainRecordText, findingIn } from "../../../src/contracts/domain.ts";
import { verifyOffer } from "../../../src/contracts/offer.ts";
import { encrypt } from "../../../src/crypto/aead.ts";
import { importAgreementKey, sharedSecret } from "../../../src/crypto/agreement.ts";
import {
  auditHashOf,
  contractIdOf,
  deriveKey,
  hashOf,
  identityOf,
  keyIdOf,
  labelledJson,
  offerIdOf,
  requestDigestOf,
  resultDigestOf,
  sha256,
} from "../../../src/crypto/hash.ts";
import { isSoundAgreementKey, isSoundSigningKey } from "../../../src/crypto/keys.ts";
import { open, verifyEnvelope } from "../../../src/crypto/seal.ts";
import { importSigningKey, signJson, verifyJson } from "../../../src/crypto/signing.ts";
import { type RequestPayload, requestPayloadBase, responsePayload } from "../../../src/protocol/asking.ts";
import { auditEntry, CHAIN_START } from "../../../src/protocol/audit.ts";
import {
  type Contract,
  contract,
  contractRecord,
  contractSubmit,
  revocation,
} from "../../../src/protocol/contract.ts";
import { concatBytes, fromBase58, fromBase64, toBase58, toBase64 } from "../../../src/protocol/encoding.ts";
import { type EnvelopeHeader, parseEnvelope } from "../../../src/protocol/envelope.ts";
import { canonicalJson, parseJson, utf8 } from "../../../src/protocol/json.ts";
import type { Label } from "../../../src/protocol/labels.ts";
import {
  kindOfResponse,
  receipt,
  servicePayloads,
  userPayloadSchema,
} from "../../../src/protocol/messages.ts";
import { offer } from "../../../src/protocol/offer.ts";
import { pad, paddedLength } from "../../../src/protocol/padding.ts";
import { timestamp } from "../../../src/protocol/primitives.ts";
import { verifyApproval } from "../../../src/requests/lifecycle.ts";
import { hex, text, unhex } from "./reference.ts";

const FOLDER = fileURLToPath(new URL("../../vectors/", import.meta.url));

interface HashVector {
  label: Label;
  canonical: string;
  hashed_hex: string;
  hash_hex: string;
}
interface SignatureVector {
  label: Label;
  canonical: string;
  signed_hex: string;
  public_key: string;
  signature: string;
}
// biome-ignore lint/suspicious/noExplicitAny: each file has its own shape; the assertions below check it
type Case = Record<string, any>;

const read = (name: string) =>
  JSON.parse(readFileSync(`${FOLDER}${name}`, "utf8")) as {
    description: string;
    section: string;
    cases: Case[];
  };
const casesOf = (name: string): [string, Case][] =>
  read(name).cases.map((one, at) => [
    String(one.name ?? `${one.length} to at least ${one.minimum} (${at})`),
    one,
  ]);
const bytes = (digits: string) => Uint8Array.from(unhex(digits));

function checkHash(vector: HashVector, value: unknown): void {
  expect(canonicalJson(value)).toBe(vector.canonical);
  expect(hex(labelledJson(vector.label, value))).toBe(vector.hashed_hex);
  expect(hex(hashOf(vector.label, value))).toBe(vector.hash_hex);
}

async function checkSignature(vector: SignatureVector, seedHex: string, value: unknown): Promise<void> {
  const key = await importSigningKey(bytes(seedHex));
  expect(key.publicKeyText).toBe(vector.public_key);
  expect(canonicalJson(value)).toBe(vector.canonical);
  expect(hex(labelledJson(vector.label, value))).toBe(vector.signed_hex);
  expect(await signJson(key, vector.label, value)).toBe(vector.signature);
  expect(await verifyJson(vector.public_key, vector.label, value, vector.signature)).toBe(true);
}

describe("the files", () => {
  test("are what `npm run vectors` writes, byte for byte, and a second run writes the same", () => {
    const [first, second] = [vectorFiles(), vectorFiles()];
    expect(second).toEqual(first);
    expect(readdirSync(FOLDER).sort()).toEqual(Object.keys(first).sort());
    for (const [name, content] of Object.entries(first))
      expect(readFileSync(`${FOLDER}${name}`, "utf8") === content, name).toBe(true);
  });

  test.each(readdirSync(FOLDER))("%s says what it is, where it is defined, and has cases", (name) => {
    const file = read(name);
    expect(Object.keys(file)).toEqual(["description", "section", "cases"]);
    expect(file.section).toMatch(/^PROTOCOL §\d/);
    expect(file.cases.length).toBeGreaterThan(0);
  });
});

test.each(casesOf("canonical.json"))("canonical form: %s", (_name, one) => {
  const parsed = parseJson(one.input);
  if (!parsed.ok) throw new Error(parsed.error);
  expect(canonicalJson(parsed.value)).toBe(one.canonical);
  expect(hex(utf8(one.canonical))).toBe(one.canonical_hex);
  expect(canonicalJson(JSON.parse(one.canonical))).toBe(one.canonical);
});

describe("refused", () => {
  const ofKind = (kind: string) => casesOf("refused.json").filter(([, one]) => one.kind === kind);

  test("covers each kind", () => {
    for (const kind of ["json", "base64", "timestamp", "signing_key", "agreement_key"])
      expect(ofKind(kind).length).toBeGreaterThan(2);
    expect(read("refused.json").cases.length).toBe(
      ["json", "base64", "timestamp", "signing_key", "agreement_key"].reduce(
        (total, kind) => total + ofKind(kind).length,
        0,
      ),
    );
  });
  test.each(ofKind("json"))("JSON: %s", (_name, one) => {
    expect(parseJson(unhex(one.bytes_hex)).ok).toBe(false);
    if (one.text !== undefined) expect(hex(utf8(one.text))).toBe(one.bytes_hex);
  });
  test.each(ofKind("base64"))("base64: %s", (_name, one) => expect(fromBase64(one.text)).toBeUndefined());
  test.each(ofKind("timestamp"))("time: %s", (_name, one) => {
    expect(timestamp.safeParse(one.text).success).toBe(false);
  });
  test.each(ofKind("signing_key"))("Ed25519 public key: %s", (_name, one) => {
    expect(isSoundSigningKey(unhex(one.bytes_hex))).toBe(false);
  });
  test.each(ofKind("agreement_key"))("X25519 public key: %s", (_name, one) => {
    expect(isSoundAgreementKey(unhex(one.bytes_hex))).toBe(false);
  });
});

test.each(casesOf("identifiers.json"))("identifier: %s", async (_name, one) => {
  switch (one.kind) {
    case "identity": {
      const key = await importSigningKey(bytes(one.seed_hex));
      expect(hex(key.publicKey)).toBe(one.public_key_hex);
      expect(key.publicKeyText).toBe(one.public_key);
      expect(hex(sha256(key.publicKey))).toBe(one.sha256_hex);
      expect(key.id).toBe(one.id);
      expect(identityOf(unhex(one.public_key_hex))).toBe(one.id);
      expect(isSoundSigningKey(key.publicKey)).toBe(true);
      return;
    }
    case "agreement": {
      const key = await importAgreementKey(bytes(one.private_key_hex));
      expect(hex(key.publicKey)).toBe(one.public_key_hex);
      expect(key.publicKeyText).toBe(one.public_key);
      expect(hex(sha256(key.publicKey))).toBe(one.sha256_hex);
      expect(key.keyId).toBe(one.key_id);
      expect(keyIdOf(unhex(one.public_key_hex))).toBe(one.key_id);
      expect(isSoundAgreementKey(key.publicKey)).toBe(true);
      return;
    }
    case "base58":
      expect(toBase58(unhex(one.bytes_hex))).toBe(one.text);
      expect(fromBase58(one.text)).toEqual(unhex(one.bytes_hex));
      return;
    case "nats":
      expect(one.nats_public_key).toMatch(/^U[A-Z2-7]{55}$/);
      return;
    default:
      throw new Error(`no check for ${one.kind}`);
  }
});

test.each(casesOf("labelled.json"))("labelled form: %s", async (_name, one) => {
  if (one.kind === "hash") checkHash(one as HashVector & Case, one.value);
  else await checkSignature(one as SignatureVector & Case, one.seed_hex, one.value);
});

test.each(casesOf("padding.json"))("padding: %s", (_name, one) => {
  expect(paddedLength(one.length, one.minimum)).toBe(one.padded);
});

describe.each(["envelope.json", "receipt.json"])("%s", (file) => {
  test.each(casesOf(file))("%s: every step of sealing", async (_name, one) => {
    const ephemeral = await importAgreementKey(bytes(one.ephemeral_private_key_hex));
    const recipient = await importAgreementKey(bytes(one.recipient_private_key_hex));
    const sender = await importSigningKey(bytes(one.sender_seed_hex));
    expect(hex(ephemeral.publicKey)).toBe(one.ephemeral_public_key_hex);
    expect(hex(recipient.publicKey)).toBe(one.recipient_public_key_hex);
    expect(hex(sender.publicKey)).toBe(one.sender_public_key_hex);

    const shared = await sharedSecret(ephemeral.privateKey, recipient.publicKey);
    expect(hex(shared!)).toBe(one.shared_hex);
    const salt = concatBytes(ephemeral.publicKey, recipient.publicKey);
    expect(hex(salt)).toBe(one.salt_hex);
    const header = one.header as EnvelopeHeader;
    const info = utf8(`vettid-message-v1\n${header.from}\n${header.to}\n${header.event_id}`);
    expect(hex(info)).toBe(one.info_hex);
    const key = deriveKey(shared!, salt, info, 32);
    expect(hex(key)).toBe(one.key_hex);

    expect(header.from).toBe(sender.id);
    expect(header.key_id).toBe(recipient.keyId);
    expect(header.ephemeral_public_key).toBe(ephemeral.publicKeyText);
    expect(hex(fromBase64(header.nonce)!)).toBe(one.nonce_hex);
    expect(canonicalJson(header)).toBe(one.header_canonical);
    const aad = utf8(canonicalJson(header));
    expect(hex(aad)).toBe(one.aad_hex);

    const minimum = kindOfResponse(header.event_type) === undefined ? 1_024 : 4_096;
    const plaintext = pad(utf8(one.payload_text), minimum);
    expect(hex(plaintext)).toBe(one.plaintext_hex);
    expect(plaintext).toHaveLength(one.plaintext_bytes);
    const ciphertext = encrypt(key, fromBase64(header.nonce)!, aad, plaintext);
    expect(hex(ciphertext)).toBe(one.ciphertext_hex);
    expect(hex(sha256(ciphertext))).toBe(one.ciphertext_sha256_hex);
    const signedForm = labelledJson("vettid-envelope-v1", {
      header,
      ciphertext_sha256: toBase64(sha256(ciphertext)),
    });
    expect(hex(signedForm)).toBe(one.signed_hex);
    expect(hex(await sender.sign(signedForm))).toBe(one.signature_hex);
  });

  test.each(casesOf(file))("%s: it is read, verified and opened", async (_name, one) => {
    const parsed = parseEnvelope(utf8(JSON.stringify(one.envelope)));
    if (!parsed.ok) throw new Error(parsed.error);
    expect(parsed.value.header).toEqual(one.header);
    expect(await verifyEnvelope(parsed.value, unhex(one.sender_public_key_hex))).toBe(true);
    const plaintext = await open(
      parsed.value,
      await importAgreementKey(bytes(one.recipient_private_key_hex)),
    );
    expect(text(plaintext!).trimEnd()).toBe(one.payload_text);

    const payload = parseJson(plaintext!);
    if (!payload.ok) throw new Error(payload.error);
    const type: string = one.header.event_type;
    const schema =
      type === "auth.request" ? requestPayloadBase : (userPayloadSchema(type) ?? servicePayloads.receipt);
    expect(schema.parse(payload.value)).toEqual(payload.value);
    if (type === "receipt") expect(receipt.parse(payload.value).event_id).toBe(one.header.ref);
    if (type === "contract.submit") expect(contractSubmit.safeParse(payload.value).success).toBe(true);
  });
});

test.each(casesOf("offer.json"))("offer: %s", async (_name, one) => {
  const { signature, ...signed } = one.offer;
  const { offer_id, ...content } = signed;
  checkHash(one.offer_id_hash, content);
  expect(toBase58(unhex(one.offer_id_hash.hash_hex))).toBe(one.offer_id);
  expect(offerIdOf(one.offer)).toBe(one.offer_id);
  expect(offer_id).toBe(one.offer_id);
  await checkSignature(one.offer_signature, one.seed_hex, signed);
  expect(one.offer_signature.signature).toBe(signature);
  expect(offer.parse(one.offer)).toEqual(one.offer);
  const at = Date.parse(one.offer.issued_at);
  const verified = await verifyOffer(one.offer, { pinnedServiceId: one.offer.service_id, now: at });
  expect(verified).toEqual({ ok: true, value: one.offer });
});

test.each(casesOf("discovery.json"))("discovery: %s", async (_name, one) => {
  if (one.record_text !== undefined) {
    const service = { serviceId: one.service_id, publicKey: one.public_key };
    expect(domainRecordName("service.example")).toBe(one.record_name);
    expect(domainRecordText(service)).toBe(one.record_text);
    expect(findingIn([one.record_text], service)).toBe("verified");
    return;
  }
  const { signature, ...signed } = one.registration ?? one.attestation;
  const checked = one.registration_signature ?? one.attestation_signature;
  await checkSignature(checked, one.seed_hex, signed);
  expect(checked.signature).toBe(signature);
  const verified =
    one.registration === undefined
      ? await verifyAttestation(one.attestation, {
          serviceId: signed.service_id,
          registry: signed.registry,
          registryKey: signed.registry_key,
          now: Date.parse(signed.issued_at),
        })
      : await verifyRegistration(one.registration, {
          registry: signed.registry,
          now: Date.parse(signed.timestamp),
        });
  expect(verified).toEqual({ ok: true, value: { ...signed, signature } });
});

test.each(casesOf("setup.json"))("NATS credentials: %s", async (name, one) => {
  const form =
    name === "setup" ? setupForm(one.form.service_id, one.form.code, one.form) : credentialsForm(one.form);
  expect(form).toEqual(one.form);
  await checkSignature(one.signature, one.seed_hex, form);
  await checkSignature(one.nats_signature, one.nats_seed_hex, form);
  expect(one.nats_signature.signed_hex).toBe(one.signature.signed_hex);
  expect(hex(fromBase64(one.nats_signature.public_key)!)).toBe(one.nats_public_key_hex);
});

test.each(casesOf("contract.json"))("contract: %s", async (_name, one) => {
  const agreed = (one.record?.contract ?? one.contract) as Contract;
  expect(contract.parse(agreed)).toEqual(agreed);
  checkHash(one.contract_id_hash, agreed);
  expect(toBase58(unhex(one.contract_id_hash.hash_hex))).toBe(one.contract_id);
  expect(contractIdOf(agreed)).toBe(one.contract_id);
  if (one.record === undefined) return;

  const { record } = one;
  const { contract_id } = one;
  await checkSignature(one.user_signature, one.user_seed_hex, { contract_id, signed_at: record.signed_at });
  expect(record.user_signature).toBe(one.user_signature.signature);
  expect(await verifyUserSignature(agreed, contract_id, record.signed_at, record.user_signature)).toBe(true);
  const form = {
    contract_id,
    user_signature: record.user_signature,
    service_connection_key: record.service_connection_key,
    accepted_at: record.accepted_at,
  };
  await checkSignature(one.service_signature, one.service_seed_hex, form);
  expect(record.service_signature).toBe(one.service_signature.signature);
  expect(await verifyAcceptance(record.service_public_key, form, record.service_signature)).toBe(true);
  expect(contractRecord.parse(record)).toEqual(record);
  const { valid, checks } = await verifyContractRecord(record);
  expect(checks.filter((check) => !check.ok)).toEqual([]);
  expect(valid).toBe(true);
});

test.each(casesOf("approval.json"))("approval: %s", async (_name, one) => {
  const { request_payload: payload, response } = one;
  checkHash(one.request_digest, payload);
  expect(requestDigestOf(payload as RequestPayload)).toBe(toBase64(unhex(one.request_digest.hash_hex)));
  expect(responsePayload.parse(response)).toEqual(response);
  const { statement, signature } = response.approval;
  expect(statement.request_digest).toBe(toBase64(unhex(one.request_digest.hash_hex)));
  if (one.result_digest !== undefined) {
    checkHash(one.result_digest, { salt: response.salt, result: response.result });
    expect(resultDigestOf(response.result, response.salt)).toBe(statement.result_digest);
    expect(statement.result_digest).toBe(toBase64(unhex(one.result_digest.hash_hex)));
  } else {
    expect(statement.result_digest).toBeUndefined();
  }
  await checkSignature(one.approval_signature, one.seed_hex, statement);
  expect(signature).toBe(one.approval_signature.signature);
  expect(await verifyApproval(response.approval, payload, one.approval_signature.public_key)).toBe(true);
});

test.each(casesOf("revocation.json"))("revocation: %s", async (_name, one) => {
  const { contract_id, by, at, signature } = one.revocation;
  expect(revocation.parse(one.revocation)).toEqual(one.revocation);
  await checkSignature(one.revocation_signature, one.seed_hex, { contract_id, by, at });
  expect(signature).toBe(one.revocation_signature.signature);
  expect(await verifyRevocation(one.revocation_signature.public_key, one.revocation)).toBe(true);
});

describe("audit chain", () => {
  const entries = read("audit.json").cases;

  test.each(casesOf("audit.json"))("%s", async (_name, one) => {
    const { event_hash, signature, ...content } = one.entry;
    expect(auditEntry.parse(one.entry)).toEqual(one.entry);
    checkHash(one.event_hash, content);
    expect(event_hash).toBe(toBase64(unhex(one.event_hash.hash_hex)));
    expect(auditHashOf(one.entry)).toBe(event_hash);
    await checkSignature(one.entry_signature, one.seed_hex, { event_hash });
    expect(signature).toBe(one.entry_signature.signature);
  });

  test("the three follow each other, the first the 32 zero bytes", async () => {
    expect(fromBase64(CHAIN_START)).toEqual(new Uint8Array(32));
    expect(entries.map(({ entry }) => entry.previous_hash)).toEqual([
      CHAIN_START,
      entries[0]!.entry.event_hash,
      entries[1]!.entry.event_hash,
    ]);
    const report = await verifyChain(
      entries.map(({ entry }) => entry),
      { serviceId: entries[0]!.entry.service_id, publicKey: entries[0]!.entry_signature.public_key },
    );
    expect(report).toEqual({ valid: true, entries: 3, head: entries[2]!.entry.event_hash });
  });
});
