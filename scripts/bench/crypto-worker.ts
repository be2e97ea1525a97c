// Sealing and opening in workerd, called so many times in one request: the vault's own code, the primitives of the
// platform alone on bytes of the same length (XChaCha20-Poly1305 as aead.ts puts it together), and everything in
// @noble. Timed from outside: a Worker's clock stands still while it computes.

import { xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { ed25519, x25519 } from "@noble/curves/ed25519.js";
import { hkdf } from "@noble/hashes/hkdf.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { decrypt, encrypt } from "../../src/crypto/aead.ts";
import { importAgreementKey } from "../../src/crypto/agreement.ts";
import { open, seal, verifyEnvelope } from "../../src/crypto/seal.ts";
import { importSigningKey } from "../../src/crypto/signing.ts";
import { parseEnvelope } from "../../src/protocol/envelope.ts";
import { newEventId, randomBytes } from "../../src/protocol/ids.ts";
import { parseJson } from "../../src/protocol/json.ts";
import { paddedLength } from "../../src/protocol/padding.ts";
import { toTimestamp } from "../../src/protocol/primitives.ts";

const PADDED_TO = 1_024;
const INFO = new Uint8Array(120);
const AAD = new Uint8Array(560);

async function parties() {
  const seed = randomBytes(32);
  const secret = randomBytes(32);
  const signing = await importSigningKey(seed);
  const agreement = await importAgreementKey(secret);
  const nativeSign = (await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"])) as CryptoKeyPair;
  const nativeAgree = (await crypto.subtle.generateKey("X25519", false, ["deriveBits"])) as CryptoKeyPair;
  const nativePublic = await crypto.subtle.importKey("raw", x25519.getPublicKey(secret), "X25519", false, []);
  const nativeVerify = await crypto.subtle.importKey(
    "raw",
    signing.publicKey as BufferSource,
    "Ed25519",
    false,
    ["verify"],
  );
  return { seed, secret, signing, agreement, nativeSign, nativeAgree, nativePublic, nativeVerify };
}

type Parties = Awaited<ReturnType<typeof parties>>;
type Work = () => Promise<unknown> | unknown;

async function nativeKey(shared: ArrayBuffer, salt: Uint8Array): Promise<Uint8Array> {
  const ikm = await crypto.subtle.importKey("raw", shared, "HKDF", false, ["deriveBits"]);
  const params = { name: "HKDF", hash: "SHA-256", salt: salt as BufferSource, info: INFO };
  return new Uint8Array(await crypto.subtle.deriveBits(params, ikm, 256));
}

const agreeWith = (publicKey: CryptoKey) =>
  ({ name: "X25519", public: publicKey, $public: publicKey }) as unknown as SubtleCryptoDeriveKeyAlgorithm;

async function works(size: number): Promise<Record<string, Work>> {
  const p: Parties = await parties();
  const payload = { text: "x".repeat(size) };
  const plaintext = new Uint8Array(paddedLength(size + 11, PADDED_TO)).fill(0x20);
  const now = Date.now();
  const header = () => ({
    event_id: newEventId(),
    event_type: "auth.request",
    to: p.signing.id,
    seq: 1,
    timestamp: toTimestamp(now),
    expires_at: toTimestamp(now + 300_000),
  });
  const sealed = await seal(p.signing, p.agreement.publicKey, header(), payload);
  const signedForm = randomBytes(700);
  const nonce = randomBytes(24);
  const salt = randomBytes(64);
  const theirs = await crypto.subtle.deriveBits(agreeWith(p.nativePublic), p.nativeAgree.privateKey, 256);
  const key = await nativeKey(theirs, salt);
  const ciphertext = xchacha20poly1305(key, nonce, AAD).encrypt(plaintext);
  const signature = await p.signing.sign(signedForm);
  const ephemeral = x25519.getPublicKey(randomBytes(32));
  const nobleSignature = ed25519.sign(signedForm, p.seed);
  return {
    "seal/vault": () => seal(p.signing, p.agreement.publicKey, header(), payload),
    "seal/native": async () => {
      const pair = (await crypto.subtle.generateKey("X25519", false, ["deriveBits"])) as CryptoKeyPair;
      await crypto.subtle.exportKey("raw", pair.publicKey);
      const shared = await crypto.subtle.deriveBits(agreeWith(p.nativePublic), pair.privateKey, 256);
      const made = encrypt(await nativeKey(shared, salt), nonce, AAD, plaintext);
      await crypto.subtle.digest("SHA-256", made as BufferSource);
      await crypto.subtle.sign("Ed25519", p.nativeSign.privateKey, signedForm);
    },
    "seal/noble": () => {
      const { secretKey } = x25519.keygen();
      x25519.getPublicKey(secretKey);
      const shared = x25519.getSharedSecret(secretKey, ephemeral);
      const made = xchacha20poly1305(hkdf(sha256, shared, salt, INFO, 32), nonce, AAD).encrypt(plaintext);
      sha256(made);
      ed25519.sign(signedForm, p.seed);
    },
    "open/vault": async () => {
      const parsed = parseEnvelope(sealed);
      if (!parsed.ok || !(await verifyEnvelope(parsed.value, p.signing.publicKey)))
        throw new Error("not verified");
      const opened = await open(parsed.value, p.agreement);
      if (opened === undefined || !parseJson(opened).ok) throw new Error("not opened");
    },
    "open/native": async () => {
      await crypto.subtle.digest("SHA-256", ciphertext as BufferSource);
      await crypto.subtle.verify("Ed25519", p.nativeVerify, signature as BufferSource, signedForm);
      const from = await crypto.subtle.importKey("raw", ephemeral as BufferSource, "X25519", false, []);
      const shared = await crypto.subtle.deriveBits(agreeWith(from), p.nativeAgree.privateKey, 256);
      await nativeKey(shared, salt);
      decrypt(key, nonce, AAD, ciphertext);
    },
    "open/noble": () => {
      sha256(ciphertext);
      ed25519.verify(nobleSignature, signedForm, p.signing.publicKey);
      const shared = x25519.getSharedSecret(p.secret, ephemeral);
      hkdf(sha256, shared, salt, INFO, 32);
      xchacha20poly1305(key, nonce, AAD).decrypt(ciphertext);
    },
  };
}

const bySize = new Map<number, Promise<Record<string, Work>>>();

export default {
  async fetch(request: Request): Promise<Response> {
    const { searchParams } = new URL(request.url);
    const size = Number(searchParams.get("size"));
    const made = bySize.get(size) ?? works(size);
    bySize.set(size, made);
    const work = (await made)[searchParams.get("work") ?? ""];
    if (work === undefined) return new Response("no such work", { status: 404 });
    const times = Number(searchParams.get("times"));
    for (let time = 0; time < times; time++) await work();
    return new Response("done");
  },
};
