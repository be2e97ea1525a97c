// Sealing and opening an envelope (PROTOCOL §4). Nonces and ephemeral keys are made here and nowhere else.

import { concatBytes, fromBase64, toBase64 } from "../protocol/encoding.ts";
import { canonicalHeader, type Envelope, type EnvelopeHeader, NONCE_BYTES } from "../protocol/envelope.ts";
import { faultOf, utf8 } from "../protocol/json.ts";
import { LABELS } from "../protocol/labels.ts";
import { MAX_ENVELOPE_BYTES, MIN_PADDED_ANSWER_BYTES, MIN_PADDED_BYTES } from "../protocol/limits.ts";
import { kindOfResponse } from "../protocol/messages.ts";
import { pad } from "../protocol/padding.ts";
import { decrypt, encrypt } from "./aead.ts";
import { type AgreementKey, ephemeralKey, sharedSecret } from "./agreement.ts";
import { deriveKey, keyIdOf, labelled, sha256 } from "./hash.ts";
import { type SigningKey, verify } from "./signing.ts";

const MESSAGE_KEY_BYTES = 32;

/** The header fields a sender chooses; the rest are made while sealing. */
export type MessageHeader = Omit<EnvelopeHeader, "v" | "from" | "key_id" | "ephemeral_public_key" | "nonce">;

const messageKey = (
  shared: Uint8Array,
  ephemeralPublic: Uint8Array,
  recipientPublic: Uint8Array,
  header: Pick<EnvelopeHeader, "from" | "to" | "event_id">,
): Uint8Array =>
  deriveKey(
    shared,
    concatBytes(ephemeralPublic, recipientPublic),
    utf8(`${LABELS.message}\n${header.from}\n${header.to}\n${header.event_id}`),
    MESSAGE_KEY_BYTES,
  );

/**
 * What an envelope's signature covers: label ‖ LF ‖ JCS({header, ciphertext_sha256}). `header` is its JCS, which is
 * needed as associated data too; base64 has no letter that JSON would escape, and the two names are in order.
 */
const signedForm = (header: string, ciphertext: Uint8Array): Uint8Array =>
  labelled(LABELS.envelope, `{"ciphertext_sha256":"${toBase64(sha256(ciphertext))}","header":${header}}`);

/** Raised when a sealed message would exceed MAX_ENVELOPE_BYTES. */
export class MessageTooLarge extends Error {
  readonly code = "payload_too_large";
}

/**
 * Seals a payload to `recipient` (X25519 public key, 32 bytes) and signs it. Returns the envelope's bytes as they
 * travel. Throws MessageTooLarge, TypeError for a payload the other side would have to refuse (PROTOCOL §1), and
 * RangeError when the recipient's key is not canonical or of small order.
 */
export async function seal(
  sender: SigningKey,
  recipient: Uint8Array,
  message: MessageHeader,
  payload: unknown,
): Promise<Uint8Array<ArrayBuffer>> {
  const text = JSON.stringify(payload);
  const unreadable = text === undefined ? "undefined" : faultOf(text);
  if (unreadable !== undefined)
    throw new TypeError(`seal: the payload is not JSON of PROTOCOL §1 (${unreadable})`);
  const ephemeral = await ephemeralKey();
  const shared = await sharedSecret(ephemeral.privateKey, recipient);
  if (shared === undefined)
    throw new RangeError("seal: the recipient's key is not canonical or of small order");
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const header: EnvelopeHeader = {
    v: 1,
    ...message,
    from: sender.id,
    key_id: keyIdOf(recipient),
    ephemeral_public_key: toBase64(ephemeral.publicKey),
    nonce: toBase64(nonce),
  };
  const minimum =
    kindOfResponse(message.event_type) === undefined ? MIN_PADDED_BYTES : MIN_PADDED_ANSWER_BYTES;
  const plaintext = pad(utf8(text), minimum);
  const key = messageKey(shared, ephemeral.publicKey, recipient, header);
  const canonical = canonicalHeader(header);
  const ciphertext = encrypt(key, nonce, utf8(canonical), plaintext);
  const signature = await sender.sign(signedForm(canonical, ciphertext));
  // The header's members and two more: again, base64 needs no escaping.
  const bytes = utf8(
    `${canonical.slice(0, -1)},"ciphertext":"${toBase64(ciphertext)}","signature":"${toBase64(signature)}"}`,
  );
  if (bytes.length > MAX_ENVELOPE_BYTES)
    throw new MessageTooLarge(`a sealed message may be at most ${MAX_ENVELOPE_BYTES} bytes`);
  return bytes;
}

/** Whether the envelope was signed by the holder of `signingKey` (Ed25519 public key, 32 bytes). */
export const verifyEnvelope = (envelope: Envelope, signingKey: Uint8Array): Promise<boolean> =>
  verify(signingKey, signedForm(canonicalHeader(envelope.header), envelope.ciphertext), envelope.signature);

/** The padded plaintext; undefined when the key is not the one it was sealed to, or any byte was changed. */
export async function open(envelope: Envelope, recipient: AgreementKey): Promise<Uint8Array | undefined> {
  const { header } = envelope;
  const ephemeralPublic = fromBase64(header.ephemeral_public_key)!;
  const shared = await sharedSecret(recipient.privateKey, ephemeralPublic);
  if (shared === undefined) return undefined;
  const key = messageKey(shared, ephemeralPublic, recipient.publicKey, header);
  return decrypt(key, fromBase64(header.nonce)!, utf8(canonicalHeader(header)), envelope.ciphertext);
}
