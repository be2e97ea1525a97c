// Writes test/vectors/*.json: every step of PROTOCOL.md with its intermediate values, so that an implementation in
// another language can check itself. Made by the reference in test/unit/crypto/reference.ts, not by the shipped code;
// seeds are fixed, so a second run writes the same bytes.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  agreement,
  base58,
  base64,
  type Fields,
  form,
  hex,
  identity,
  jcs,
  joined,
  labelledHash,
  labelledSignature,
  padme,
  sealSteps,
  sha256,
  unbase64,
  unhex,
  utf8,
  type Value,
  without,
} from "../test/unit/crypto/reference.ts";

/** `length` bytes that depend on the name alone. */
function fixedBytes(name: string, length: number): Uint8Array {
  const blocks: Uint8Array[] = [];
  for (let at = 0; at * 32 < length; at++) blocks.push(sha256(utf8(`vettid test vector: ${name}: ${at}`)));
  return joined(...blocks).slice(0, length);
}

/** base58 of 17 bytes, the first of them 1: an event id of 22 or 23 characters. */
const fixedId = (name: string): string => base58(joined(Uint8Array.of(1), fixedBytes(name, 16)));

const BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** A NATS public key: base32 of the kind's prefix byte, the 32 bytes and CRC-16/XMODEM, low byte first. */
function nkeyText(prefix: number, publicKey: Uint8Array): string {
  const body = joined(Uint8Array.of(prefix), publicKey);
  let crc = 0;
  for (const byte of body) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = ((crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021) & 0xffff;
  }
  const bits = [...body, crc & 0xff, crc >> 8].map((byte) => byte.toString(2).padStart(8, "0")).join("");
  return (bits.match(/.{1,5}/g) ?? [])
    .map((five) => BASE32[Number.parseInt(five.padEnd(5, "0"), 2)])
    .join("");
}
const NKEY_USER_PREFIX = 20 << 3;

// The cast. Every file names what it uses of it.
const service = identity(fixedBytes("service signing key", 32));
const user = identity(fixedBytes("user signing key", 32));
const nats = identity(fixedBytes("user nkey", 32));
const natsPublicKey = nkeyText(NKEY_USER_PREFIX, nats.publicKey);
const log = identity(fixedBytes("log key", 32));
const serviceEncryption = agreement(fixedBytes("service encryption key", 32));
const serviceConnection = agreement(fixedBytes("service connection key", 32));
const userConnection = agreement(fixedBytes("user connection key", 32));
const messageSpace = fixedId("message space");
const inviteCode = fixedId("invite code");

/** H(label, x) with the bytes that are hashed. */
const hashCase = (label: string, value: Value) => ({
  label,
  canonical: jcs(value),
  hashed_hex: hex(form(label, value)),
  hash_hex: hex(labelledHash(label, value)),
});

/** Sign(label, x) with the bytes that are signed. */
const signatureCase = (seed: Uint8Array, label: string, value: Value) => ({
  label,
  canonical: jcs(value),
  signed_hex: hex(form(label, value)),
  public_key: base64(identity(seed).publicKey),
  signature: base64(labelledSignature(seed, label, value)),
});

interface VectorFile {
  description: string;
  section: string;
  cases: object[];
}

function canonical(): VectorFile {
  const texts: [string, string][] = [
    ["members in the order of their UTF-16 code units", '{"b":1,"a":2,"B":3,"_":4,"10":5,"9":6}'],
    ["a surrogate pair sorts before U+FB33", '{"\\ufb33":1,"\\ud83d\\ude00":2,"\\u20ac":3,"\\r":4}'],
    ["whitespace goes, order within arrays stays", ' { "list" : [ 3 , 1 , [ ] , { } , 2 ] } \n'],
    [
      "escapes: short where there is one, else \\u00xx in lower case",
      '"\\u0008\\u0009\\u000A\\u000c\\u000D\\u001F\\u007f\\u0022\\u005C\\/"',
    ],
    ["letters are not normalised", '["\\u0041\\u030a","\\u00c5"]'],
    [
      "numbers: one spelling each",
      "[0,-0,0.0,1.0,1e0,10E-1,100e-2,4.50,2e-3,1e-7,0.000001,9007199254740991]",
    ],
    ["names are compared after decoding", '{"\\u0062":1,"a":2}'],
    ["an empty name", '{"":{"":[]}}'],
    ["null, true and false", '{"t":true,"n":null,"f":false}'],
  ];
  return {
    description:
      "The canonical form (RFC 8785). `input` is JSON text; `canonical` its canonical form, as text and as UTF-8 bytes. The samples of RFC 8785 itself hold as well.",
    section: "PROTOCOL §1",
    cases: texts.map(([name, input]) => {
      const text = jcs(JSON.parse(input) as Value);
      return { name, input, canonical: text, canonical_hex: hex(utf8(text)) };
    }),
  };
}

function refused(): VectorFile {
  const json: [string, string][] = [
    ["two members of one name", '{"a":1,"a":1}'],
    ["two spellings of one name", '{"a":1,"\\u0061":2}'],
    ["two members of one name, further down", '[{"x":{"a":1,"b":2,"a":3}}]'],
    ["a lone high surrogate", '"\\ud800"'],
    ["a lone low surrogate", '{"\\udc00":1}'],
    ["surrogates in the wrong order", '"\\udc00\\ud800"'],
    ["2^53", "9007199254740992"],
    ["−2^53", "-9007199254740992"],
    ["a large integer with an exponent", "1e30"],
    ["a number beyond every double", "[1e400]"],
    ["the name __proto__", '{"__proto__":{}}'],
    ["33 levels of nesting", `${"[".repeat(33)}${"]".repeat(33)}`],
    ["something after the value", "{} {}"],
    ["a trailing comma", "[1,]"],
    ["a number with a leading zero", "01"],
    ["a byte order mark", "\ufeff{}"],
    ["nothing", ""],
  ];
  const bytes: [string, string][] = [
    ["a byte that is not UTF-8", "22ff22"],
    ["a surrogate encoded as UTF-8", "22eda08022"],
    ["an overlong encoding", "22c08022"],
  ];
  const base64Texts: [string, string][] = [
    ["no padding", "AA"],
    ["half the padding", "AA="],
    ["too much padding", "AAA=="],
    ["bits after the end", "AB=="],
    ["bits after the end, two bytes", "AAB="],
    ["URL alphabet", "-_-_"],
    ["a line break", "AAAA\nAAAA"],
    ["a space at the end", "AAAA "],
    ["padding in the middle", "AA==AAAA"],
    ["one letter", "A"],
    ["a letter outside the alphabet", "AAA*"],
  ];
  const timestamps = [
    "2026-01-31T08:15:00Z",
    "2026-01-31T08:15:00.00Z",
    "2026-01-31T08:15:00.000+00:00",
    "2026-01-31T08:15:00.000z",
    "2026-01-31 08:15:00.000Z",
    "2026-02-30T08:15:00.000Z",
    "2026-01-31T24:00:00.000Z",
    "2026-01-31T08:15:60.000Z",
  ];
  const signingKeys: [string, string][] = [
    ["the identity", "0100000000000000000000000000000000000000000000000000000000000000"],
    ["order 2", "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"],
    ["order 4", "0000000000000000000000000000000000000000000000000000000000000000"],
    ["order 4", "0000000000000000000000000000000000000000000000000000000000000080"],
    ["order 8", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"],
    ["order 8", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85"],
    ["order 8", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"],
    ["order 8", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"],
    [
      "the identity with the sign of zero set",
      "0100000000000000000000000000000000000000000000000000000000000080",
    ],
    ["order 2 with the sign of zero set", "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"],
    ["y = p + 1, which is 1", "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"],
    ["y = p, which is 0", "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"],
    ["y = 2^255 − 1", "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"],
    ["not on the curve", "0200000000000000000000000000000000000000000000000000000000000000"],
    ["31 bytes", "00".repeat(31)],
    ["33 bytes", "00".repeat(33)],
  ];
  const agreementKeys: [string, string][] = [
    ["0", "00".repeat(32)],
    ["1", `01${"00".repeat(31)}`],
    ["order 8", "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"],
    ["order 8", "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"],
    ["p − 1", `ec${"ff".repeat(30)}7f`],
    ["p", `ed${"ff".repeat(30)}7f`],
    ["p + 1", `ee${"ff".repeat(30)}7f`],
    ["p + 9, which is 9", `f6${"ff".repeat(30)}7f`],
    ["9 with the high bit set", `09${"00".repeat(30)}80`],
    ["2^256 − 1", "ff".repeat(32)],
    ["31 bytes", "09".repeat(31)],
  ];
  return {
    description:
      "What must be refused. `json`: texts (or bytes) that are not JSON of this protocol; `base64`, `timestamp`: texts; `signing_key` (Ed25519) and `agreement_key` (X25519): public keys, as bytes.",
    section: "PROTOCOL §1, §2",
    cases: [
      ...json.map(([name, text]) => ({ kind: "json", name, bytes_hex: hex(utf8(text)), text })),
      ...bytes.map(([name, bytes_hex]) => ({ kind: "json", name, bytes_hex })),
      ...base64Texts.map(([name, text]) => ({ kind: "base64", name, text })),
      ...timestamps.map((text) => ({ kind: "timestamp", name: text, text })),
      ...signingKeys.map(([name, bytes_hex]) => ({ kind: "signing_key", name, bytes_hex })),
      ...agreementKeys.map(([name, bytes_hex]) => ({ kind: "agreement_key", name, bytes_hex })),
    ],
  };
}

function identifiers(): VectorFile {
  return {
    description:
      "Identities are base58 of the SHA-256 of an Ed25519 public key (seed, RFC 8032); key ids base58 of the first 8 bytes of the SHA-256 of an X25519 public key; a NATS public key is base32 of prefix, key and CRC.",
    section: "PROTOCOL §2",
    cases: [
      ...[
        ["service", service] as const,
        ["user", user] as const,
        ["all-zero seed", identity(new Uint8Array(32))] as const,
      ].map(([name, { seed, publicKey, publicKeyText, id }]) => ({
        kind: "identity",
        name,
        seed_hex: hex(seed),
        public_key_hex: hex(publicKey),
        public_key: publicKeyText,
        sha256_hex: hex(sha256(publicKey)),
        id,
      })),
      ...[
        ["service encryption key", serviceEncryption] as const,
        ["service connection key", serviceConnection] as const,
        ["user connection key", userConnection] as const,
      ].map(([name, { secret, publicKey, publicKeyText, keyId }]) => ({
        kind: "agreement",
        name,
        private_key_hex: hex(secret),
        public_key_hex: hex(publicKey),
        public_key: publicKeyText,
        sha256_hex: hex(sha256(publicKey)),
        key_id: keyId,
      })),
      ...["00", "0000000000000001", "ff".repeat(32), "00".repeat(32)].map((bytes_hex) => ({
        kind: "base58",
        name: bytes_hex,
        bytes_hex,
        text: base58(unhex(bytes_hex)),
      })),
      {
        kind: "nats",
        name: "user nkey",
        public_key_hex: hex(nats.publicKey),
        nats_public_key: natsPublicKey,
      },
    ],
  };
}

function labelled(): VectorFile {
  const document = {
    request_id: fixedId("document request"),
    name: "lease.pdf",
    media_type: "application/pdf",
    sha256: base64(sha256(utf8("the document"))),
  };
  return {
    description:
      "`H(label, x) = SHA-256(label ‖ LF ‖ JCS(x))` and `Sign(label, x)`, Ed25519 over the same bytes. `seed_hex` is the signer's Ed25519 seed.",
    section: "PROTOCOL §1, §6",
    cases: [
      { kind: "hash", name: "an empty object", value: {}, ...hashCase("vettid-request-v1", {}) },
      {
        kind: "hash",
        name: "letters outside ASCII",
        value: { name: "Zoë ✓ 😀" },
        ...hashCase("vettid-request-v1", { name: "Zoë ✓ 😀" }),
      },
      {
        kind: "hash",
        name: "the same value under another label",
        value: {},
        ...hashCase("vettid-result-v1", {}),
      },
      {
        kind: "signature",
        name: "a signed document",
        seed_hex: hex(user.seed),
        value: document,
        ...signatureCase(user.seed, "vettid-document-v1", document),
      },
    ],
  };
}

function padding(): VectorFile {
  const lengths = [
    1, 2, 8, 9, 100, 1_000, 1_023, 1_024, 1_025, 1_088, 1_089, 2_049, 4_095, 4_096, 4_097, 5_000,
  ];
  return {
    description:
      "Padmé: a payload of `length` bytes is padded with spaces (0x20) to `padded` bytes. `minimum` is 1,024, for a user's answers 4,096, and 1 to show the rule alone.",
    section: "PROTOCOL §4",
    cases: [1, 1_024, 4_096].flatMap((minimum) =>
      [...lengths, 65_535, 65_537, 700_000].map((length) => ({
        length,
        minimum,
        padded: padme(length, minimum),
      })),
    ),
  };
}

const ISSUED_AT = "2026-03-01T09:00:00.000Z";
const SIGNED_AT = "2026-03-02T10:15:30.250Z";
const ACCEPTED_AT = "2026-03-02T10:15:31.000Z";

const offering = {
  offering_id: "basic",
  version: 3,
  name: "Basic",
  description: "Log in and\nprove your age.",
  capabilities: [
    { capability: "authenticate", description: "Ask you to log in", requires_approval_each_use: true },
    {
      capability: "payment.one_time",
      description: "Ask you to pay",
      constraints: { max_per_day: 5, max_amount: { amount: 20_000, currency: "EUR" } },
      requires_approval_each_use: true,
    },
  ],
  required_data: [{ data_type: "email", required: true, purpose: "To reach you", retention: "1 year" }],
  pricing: { type: "free" },
  terms_url: "https://service.example/terms",
  terms_hash: base64(sha256(utf8("the terms"))),
  acceptance: "automatic",
};

const offerContent: Fields = {
  v: 1,
  service_id: service.id,
  service_name: "Böckerei & Söhne",
  service_type: "retail",
  service_public_key: service.publicKeyText,
  service_encryption_key: serviceEncryption.publicKeyText,
  service_nats_endpoint: "wss://nats.service.example",
  domain: "service.example",
  attestations: [],
  offerings: [offering],
  handler_manifest: { capabilities: [], event_handlers: [], plans: [] },
  log_vkey: `service.example/log+${hex(fixedBytes("log key id", 4))}+${base64(joined(Uint8Array.of(1), log.publicKey))}`,
  log_url: "https://vault.service.example/log",
  issued_at: ISSUED_AT,
  valid_until: "2026-03-08T09:00:00.000Z",
};
const offerId = base58(labelledHash("vettid-offer-id-v1", offerContent));
const offerUnsigned: Fields = { ...offerContent, offer_id: offerId };
const offer: Fields = {
  ...offerUnsigned,
  signature: base64(labelledSignature(service.seed, "vettid-offer-v1", offerUnsigned)),
};

function offers(): VectorFile {
  return {
    description:
      "`offer_id` is base58 of the hash of the offer without `offer_id` and `signature`; the signature covers the offer without `signature`.",
    section: "PROTOCOL §5",
    cases: [
      {
        name: "an offer with one offering",
        seed_hex: hex(service.seed),
        offer_id_hash: hashCase("vettid-offer-id-v1", without(offer, "offer_id", "signature")),
        offer_id: offerId,
        offer_signature: signatureCase(service.seed, "vettid-offer-v1", without(offer, "signature")),
        offer,
      },
    ],
  };
}

const registry = identity(fixedBytes("registry key", 32));

function discovery(): VectorFile {
  const registration: Fields = {
    v: 1,
    registry: "registry.example",
    service_id: service.id,
    service_public_key: service.publicKeyText,
    vault_url: "https://vault.service.example",
    timestamp: ISSUED_AT,
  };
  const attestation: Fields = {
    registry: "registry.example",
    registry_key: registry.publicKeyText,
    service_id: service.id,
    statement: "Company checked against the trade register",
    issued_at: ISSUED_AT,
    expires_at: "2026-04-01T09:00:00.000Z",
  };
  const signed = (seed: Uint8Array, label: string, value: Fields) => ({
    ...value,
    signature: base64(labelledSignature(seed, label, value)),
  });
  return {
    description:
      "The domain's TXT record, a registration and the attestation that answers it; signatures cover everything but `signature`.",
    section: "PROTOCOL §9",
    cases: [
      {
        name: "a domain's record",
        service_id: service.id,
        public_key: service.publicKeyText,
        record_name: "_vettid-service.service.example",
        record_text: `service_id=${service.id};key=${hex(sha256(service.publicKey))}`,
      },
      {
        name: "a registration",
        seed_hex: hex(service.seed),
        registration_signature: signatureCase(service.seed, "vettid-registration-v1", registration),
        registration: signed(service.seed, "vettid-registration-v1", registration),
      },
      {
        name: "an attestation",
        seed_hex: hex(registry.seed),
        attestation_signature: signatureCase(registry.seed, "vettid-attestation-v1", attestation),
        attestation: signed(registry.seed, "vettid-attestation-v1", attestation),
      },
    ],
  };
}

const contract: Fields = {
  v: 1,
  user_id: user.id,
  user_signing_key: user.publicKeyText,
  service_id: service.id,
  offer_id: offerId,
  offering_id: "basic",
  offering_snapshot: offering,
  user_connection_key: userConnection.publicKeyText,
  nats_public_key: natsPublicKey,
  message_space: messageSpace,
  created_at: SIGNED_AT,
};
const contractId = base58(labelledHash("vettid-contract-id-v1", contract));
const contractForm = { contract_id: contractId, signed_at: SIGNED_AT };
const userSignature = base64(labelledSignature(user.seed, "vettid-contract-v1", contractForm));
const acceptanceForm = {
  contract_id: contractId,
  user_signature: userSignature,
  service_connection_key: serviceConnection.publicKeyText,
  accepted_at: ACCEPTED_AT,
};
const serviceSignature = base64(labelledSignature(service.seed, "vettid-acceptance-v1", acceptanceForm));

function setup(): VectorFile {
  const setupForm = {
    service_id: service.id,
    code: inviteCode,
    signing_key: user.publicKeyText,
    nats_public_key: natsPublicKey,
    timestamp: SIGNED_AT,
  };
  const credentialsForm = { contract_id: contractId, nats_public_key: natsPublicKey, timestamp: SIGNED_AT };
  const twice = (label: string, value: Value) => ({
    seed_hex: hex(user.seed),
    nats_seed_hex: hex(nats.seed),
    nats_public_key_hex: hex(nats.publicKey),
    signature: signatureCase(user.seed, label, value),
    nats_signature: signatureCase(nats.seed, label, value),
  });
  return {
    description:
      "Both signatures of a request for NATS credentials cover the same bytes: one is made with the identity key, one with the nkey (Ed25519 both).",
    section: "PROTOCOL §5",
    cases: [
      { name: "setup", form: setupForm, ...twice("vettid-setup-v1", setupForm) },
      { name: "renewal", form: credentialsForm, ...twice("vettid-credentials-v1", credentialsForm) },
    ],
  };
}

function contracts(): VectorFile {
  const successor: Fields = { ...contract, expires_at: "2027-03-02T10:15:30.250Z", supersedes: contractId };
  return {
    description:
      "`contract_id`, the user's signature over it, the service's signature under that, and the record that anyone verifies from its content.",
    section: "PROTOCOL §5",
    cases: [
      {
        name: "a contract, signed and accepted",
        user_seed_hex: hex(user.seed),
        service_seed_hex: hex(service.seed),
        contract_id_hash: hashCase("vettid-contract-id-v1", contract),
        contract_id: contractId,
        user_signature: signatureCase(user.seed, "vettid-contract-v1", contractForm),
        service_signature: signatureCase(service.seed, "vettid-acceptance-v1", acceptanceForm),
        record: {
          contract,
          user_signature: userSignature,
          signed_at: SIGNED_AT,
          service_public_key: service.publicKeyText,
          service_connection_key: serviceConnection.publicKeyText,
          accepted_at: ACCEPTED_AT,
          service_signature: serviceSignature,
        },
      },
      {
        name: "a contract that supersedes another has an id of its own",
        contract: successor,
        contract_id_hash: hashCase("vettid-contract-id-v1", successor),
        contract_id: base58(labelledHash("vettid-contract-id-v1", successor)),
      },
    ],
  };
}

const requestId = fixedId("auth request");
const requestPayload = {
  request_id: requestId,
  kind: "auth",
  purpose: "Log in to the shop",
  context: { device: "Firefox on Linux", order: 1234, known: true },
  challenge: base64(fixedBytes("challenge", 32)),
  expires_at: "2026-03-03T12:05:00.000Z",
  offline_grace_seconds: 0,
};

/** An answer to `payload`, with the digest of what was asked and, where there is one, of what was given. */
function answer(payload: Fields, statement: Fields, given?: { result: Value; salt: string }) {
  const full: Fields = {
    v: 1,
    request_id: payload.request_id,
    request_digest: base64(labelledHash("vettid-request-v1", payload)),
    kind: payload.kind,
    user_id: user.id,
    service_id: service.id,
    contract_id: contractId,
    responded_at: "2026-03-03T12:01:00.000Z",
    ...statement,
    ...(given === undefined
      ? {}
      : {
          result_digest: base64(labelledHash("vettid-result-v1", { salt: given.salt, result: given.result })),
        }),
  };
  const response: Fields = {
    request_id: payload.request_id,
    decision: full.decision,
    ...given,
    approval: {
      statement: full,
      signature: base64(labelledSignature(user.seed, "vettid-approval-v1", full)),
    },
  };
  return { statement: full, response };
}

function approvals(): VectorFile {
  const dataPayload = {
    request_id: fixedId("data request"),
    kind: "data",
    operation: "request",
    purpose: "To send you the goods",
    challenge: base64(fixedBytes("data challenge", 32)),
    expires_at: "2026-03-03T13:00:00.000Z",
    offline_grace_seconds: 300,
    data_paths: ["address.street", "address.city"],
  };
  const given = {
    result: { data: { "address.street": "Ringstraße 1", "address.city": "Wien" } },
    salt: base64(fixedBytes("result salt", 32)),
  };
  const shared = (
    name: string,
    payload: Fields,
    statement: Fields,
    value?: { result: Value; salt: string },
  ) => {
    const { statement: full, response } = answer(payload, statement, value);
    return {
      name,
      seed_hex: hex(user.seed),
      request_payload: payload,
      request_digest: hashCase("vettid-request-v1", payload),
      ...(value === undefined ? {} : { result_digest: hashCase("vettid-result-v1", { ...value }) }),
      approval_signature: signatureCase(user.seed, "vettid-approval-v1", full),
      response,
    };
  };
  return {
    description:
      "`request_digest` covers the request's payload as received, `result_digest` salt and result, the approval's signature the statement. `response` is the payload of `<kind>.response`.",
    section: "PROTOCOL §6",
    cases: [
      shared("approved", requestPayload, { decision: "approved" }),
      shared("denied", requestPayload, { decision: "denied" }),
      shared(
        "approved with a result, constraints and an end",
        dataPayload,
        { decision: "approved", valid_until: "2026-04-03T12:01:00.000Z", constraints: { share: "once" } },
        given,
      ),
    ],
  };
}

function revocations(): VectorFile {
  return {
    description: "The signature covers contract_id, by and at; a reason travels beside it, unsigned.",
    section: "PROTOCOL §7",
    cases: [
      { name: "by the user", key: user, by: "user" },
      { name: "by the service", key: service, by: "service" },
    ].map(({ name, key, by }) => {
      const revocation = { contract_id: contractId, by, at: "2026-03-04T08:00:00.000Z" };
      const signed = signatureCase(key.seed, "vettid-revocation-v1", revocation);
      return {
        name,
        seed_hex: hex(key.seed),
        revocation_signature: signed,
        revocation: { ...revocation, signature: signed.signature },
      };
    }),
  };
}

const auditEntries = (() => {
  const contents: Fields[] = [
    {
      operation: "contract.accepted",
      status: "success",
      request_summary: { offering_id: "basic" },
      response_summary: {},
    },
    {
      operation: "auth.request",
      capability_used: "authenticate",
      status: "success",
      request_summary: { request_id: requestId },
      response_summary: { status: "approved" },
    },
    {
      operation: "auth.request",
      capability_used: "authenticate",
      status: "denied",
      request_summary: { reason: "cooling_off" },
      response_summary: { retry_after_seconds: 42, cooling_off: true },
    },
  ];
  let previous = base64(new Uint8Array(32));
  return contents.map((content, index) => {
    const unsigned: Fields = {
      event_id: fixedId(`audit entry ${index}`),
      timestamp: `2026-03-03T12:0${index}:00.000Z`,
      service_id: service.id,
      user_id: user.id,
      contract_id: contractId,
      ...content,
      salt: base64(fixedBytes(`audit salt ${index}`, 16)),
      previous_hash: previous,
    };
    const event_hash = base64(labelledHash("vettid-audit-id-v1", unsigned));
    const signature = base64(labelledSignature(service.seed, "vettid-audit-v1", { event_hash }));
    previous = event_hash;
    return { ...unsigned, event_hash, signature } as Fields & { event_hash: string };
  });
})();

function audit(): VectorFile {
  return {
    description:
      "A chain of three entries. `event_hash` covers an entry without `event_hash` and `signature`; the next entry names it as `previous_hash`; the first names 32 zero bytes.",
    section: "PROTOCOL §8",
    cases: auditEntries.map((entry, index) => ({
      name: `entry ${index + 1}`,
      seed_hex: hex(service.seed),
      event_hash: hashCase("vettid-audit-id-v1", without(entry, "event_hash", "signature")),
      entry_signature: signatureCase(service.seed, "vettid-audit-v1", { event_hash: entry.event_hash }),
      entry,
    })),
  };
}

interface Message {
  name: string;
  sender: ReturnType<typeof identity>;
  recipient: ReturnType<typeof agreement>;
  header: Fields & { from: string; to: string; event_id: string };
  payload: Value;
  minimumBytes: number;
}

function envelope({ name, sender, recipient, header, payload, minimumBytes }: Message): object {
  const ephemeralSecret = fixedBytes(`${name}: ephemeral key`, 32);
  const payloadText = JSON.stringify(payload);
  const steps = sealSteps({
    senderSeed: sender.seed,
    ephemeralSecret,
    recipientPublicKey: recipient.publicKey,
    nonce: fixedBytes(`${name}: nonce`, 24),
    header,
    payloadText,
    minimumBytes,
  });
  return {
    name,
    sender_seed_hex: hex(sender.seed),
    sender_public_key_hex: hex(sender.publicKey),
    recipient_private_key_hex: hex(recipient.secret),
    recipient_public_key_hex: hex(recipient.publicKey),
    ephemeral_private_key_hex: hex(ephemeralSecret),
    ephemeral_public_key_hex: hex(steps.ephemeralPublicKey),
    shared_hex: hex(steps.shared),
    salt_hex: hex(steps.salt),
    info_hex: hex(steps.info),
    key_hex: hex(steps.key),
    nonce_hex: hex(unbase64(steps.header.nonce as string)),
    header: steps.header,
    header_canonical: jcs(steps.header),
    aad_hex: hex(steps.aad),
    payload_text: payloadText,
    plaintext_bytes: steps.plaintext.length,
    plaintext_hex: hex(steps.plaintext),
    ciphertext_hex: hex(steps.ciphertext),
    ciphertext_sha256_hex: hex(sha256(steps.ciphertext)),
    signed_hex: hex(steps.signedForm),
    signature_hex: hex(steps.signature),
    envelope: steps.envelope,
  };
}

const fromUser = (event_type: string, seq: number, more: Fields = {}) => ({
  event_id: fixedId(`from user: ${event_type}`),
  event_type,
  from: user.id,
  to: service.id,
  seq,
  timestamp: "2026-03-03T12:01:00.000Z",
  expires_at: "2026-03-03T12:05:00.000Z",
  ...more,
});
const fromService = (event_type: string, event_id: string, seq: number, more: Fields = {}) => ({
  ...fromUser(event_type, seq, more),
  event_id,
  from: service.id,
  to: user.id,
});

function envelopes(): VectorFile {
  const messages: Message[] = [
    {
      name: "contract.submit, sealed to the service's encryption key",
      sender: user,
      recipient: serviceEncryption,
      header: fromUser("contract.submit", 0, { signing_key: user.publicKeyText }),
      payload: {
        invite_code: inviteCode,
        contract,
        user_signature: userSignature,
        signed_at: SIGNED_AT,
        profile: { email: "zoë@example.org" },
      },
      minimumBytes: 1_024,
    },
    {
      name: "auth.request",
      sender: service,
      recipient: userConnection,
      header: fromService("auth.request", requestId, 1, { contract_id: contractId }),
      payload: requestPayload,
      minimumBytes: 1_024,
    },
    {
      name: "auth.response, padded as every answer",
      sender: user,
      recipient: serviceConnection,
      header: fromUser("auth.response", 1, { contract_id: contractId, ref: requestId }),
      payload: answer(requestPayload, { decision: "approved" }).response as Value,
      minimumBytes: 4_096,
    },
  ];
  return {
    description:
      "Sealing, step by step. `plaintext` is the payload's JSON padded with spaces; `aad` the header's canonical form; the signature covers header and ciphertext's SHA-256. `envelope` is what travels (its members in any order).",
    section: "PROTOCOL §4",
    cases: messages.map(envelope),
  };
}

function receipts(): VectorFile {
  const answered = fixedId("from user: auth.response");
  const payload = {
    event_id: answered,
    received_at: "2026-03-03T12:01:00.500Z",
    outcome: "stored",
    request_status: "approved",
    missing_seq: [2, 4],
    event_hash: auditEntries[1]!.event_hash,
  };
  const refusal = { event_id: answered, received_at: "2026-03-03T12:01:00.500Z", outcome: "refused" };
  const receipt = (name: string, payload: Value): Message => ({
    name,
    sender: service,
    recipient: userConnection,
    header: fromService("receipt", fixedId(name), 0, { contract_id: contractId, ref: answered }),
    payload,
    minimumBytes: 1_024,
  });
  return {
    description: "Receipts: `seq` 0, `ref` the event that is receipted; sealed as every message.",
    section: "PROTOCOL §4",
    cases: [
      envelope(receipt("a stored answer, with two gaps", payload)),
      envelope(receipt("a message refused after decryption", refusal)),
    ],
  };
}

/** The text of every file, by name. */
export function vectorFiles(): Record<string, string> {
  const files: Record<string, VectorFile> = {
    "canonical.json": canonical(),
    "refused.json": refused(),
    "identifiers.json": identifiers(),
    "labelled.json": labelled(),
    "padding.json": padding(),
    "envelope.json": envelopes(),
    "receipt.json": receipts(),
    "offer.json": offers(),
    "discovery.json": discovery(),
    "setup.json": setup(),
    "contract.json": contracts(),
    "approval.json": approvals(),
    "revocation.json": revocations(),
    "audit.json": audit(),
  };
  return Object.fromEntries(
    Object.entries(files).map(([name, file]) => [name, `${JSON.stringify(file, null, 2)}\n`]),
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = fileURLToPath(new URL("../test/vectors/", import.meta.url));
  mkdirSync(folder, { recursive: true });
  const files = vectorFiles();
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  console.log(`${Object.keys(files).length} files of vectors written to test/vectors/`);
}
