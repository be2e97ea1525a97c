// A person's signature under a document or a transaction. A document is signed with the key that is the person's
// identity here, under a label of its own, so that such a signature means this document and nothing else; a
// transaction is signed with a key their vault keeps for that format, never with the identity key. An answer whose
// signature does not verify is a bad answer: it is recorded and refused, and the request stays open.
//
// Scope: media types (`application/pdf`, `text/*`) and formats.

import { z } from "zod";
import { sha256 } from "../../crypto/hash.ts";
import { isSoundSigningKey } from "../../crypto/keys.ts";
import { verify, verifyJson } from "../../crypto/signing.ts";
import { fromBase64, toBase64 } from "../../protocol/encoding.ts";
import { LABELS } from "../../protocol/labels.ts";
import { bytesOfLength, bytesUpTo, digest, freeName, line } from "../../protocol/primitives.ts";
import { defineOperation, type Kind } from "../kind.ts";

/** A document or transaction carried along; the envelope holds 1,000,000 bytes after two encodings in base64. */
export const MAX_SIGNED_BYTES = 393_216;
/** A signature or key of a transaction's format: the largest in use (SLH-DSA aside) with room. */
const MAX_FOREIGN_BYTES = 8_192;
/** The transaction format whose signatures the service verifies itself: Ed25519 over the payload's bytes. */
export const ED25519_FORMAT = "ed25519";

const document = z
  .strictObject({
    name: line(256).describe("As the person knows it."),
    media_type: z
      .string()
      .max(128)
      .regex(
        /^[a-z0-9][a-z0-9!#$&^_.+-]*\/[a-z0-9][a-z0-9!#$&^_.+-]*$/,
        "must be a media type, as application/pdf",
      ),
    sha256: digest.describe("SHA-256 of the document's bytes, base64."),
    bytes: bytesUpTo(MAX_SIGNED_BYTES)
      .optional()
      .describe(
        `The document itself, base64, at most ${MAX_SIGNED_BYTES} bytes; absent when the person has it.`,
      ),
  })
  .refine(
    ({ bytes, sha256: named }) => bytes === undefined || toBase64(sha256(fromBase64(bytes)!)) === named,
    {
      message: "is not the SHA-256 of bytes",
      path: ["sha256"],
      // Not before every field is sound.
      when: ({ issues }) => issues.length === 0,
    },
  );

const transaction = z.strictObject({
  format: freeName.describe("What kind of transaction it is; the person's vault holds a key for each."),
  payload: bytesUpTo(MAX_SIGNED_BYTES)
    .refine((text) => text.length > 0, { message: "must not be empty" })
    .describe("The bytes to sign, base64."),
});

/** What a document's signature is over (PROTOCOL §6). */
export const signedDocument = (
  requestId: string,
  { name, media_type, sha256: hash }: { name: string; media_type: string; sha256: string },
) => ({ request_id: requestId, name, media_type, sha256: hash });

export const sign: Kind = {
  name: "sign",
  title: "Signatures",
  getPath: "sign/request",
  operations: [
    defineOperation({
      name: "document",
      summary: "Ask a user to sign a document",
      path: "sign/document",
      successStatus: 201,
      capabilities: ["sign_document"],
      purposeRequired: false,
      input: z.object({ document }),
      payload: z.strictObject({ document }),
      toPayload: (input) => ({ document: input.document }),
      grant: (input) => ({ capability: "sign_document", resources: [input.document.media_type] }),
      sameness: (input) => ({ action: "document", resource: input.document.sha256 }),
      result: z.strictObject({ signature: bytesOfLength(64), signing_key: bytesOfLength(32) }),
      check: async ({ signature, signing_key }, { payload, userSigningKey }) =>
        signing_key === userSigningKey &&
        (await verifyJson(
          userSigningKey,
          LABELS.document,
          signedDocument(payload.request_id, payload.document as z.infer<typeof document>),
          signature,
        )),
      defaultExpirySeconds: 3_600,
      defaultGraceSeconds: 300,
      example: {
        document: {
          name: "Lease 2026",
          media_type: "application/pdf",
          sha256: "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        },
      },
    }),
    defineOperation({
      name: "transaction",
      summary: "Ask a user to sign a transaction",
      path: "sign/transaction",
      successStatus: 201,
      capabilities: ["sign_transaction"],
      purposeRequired: false,
      input: z.object({ transaction }),
      payload: z.strictObject({ transaction }),
      toPayload: (input) => ({ transaction: input.transaction }),
      grant: (input) => ({ capability: "sign_transaction", resources: [input.transaction.format] }),
      sameness: (input) => ({
        action: input.transaction.format,
        resource: toBase64(sha256(fromBase64(input.transaction.payload)!)),
      }),
      result: z.strictObject({
        signature: bytesUpTo(MAX_FOREIGN_BYTES).min(1),
        signing_key: bytesUpTo(MAX_FOREIGN_BYTES).min(1),
      }),
      check: async ({ signature, signing_key }, { payload, userSigningKey }) => {
        // The identity key signs only what carries a label.
        if (signing_key === userSigningKey) return false;
        const asked = payload.transaction as z.infer<typeof transaction>;
        if (asked.format !== ED25519_FORMAT) return true;
        const key = fromBase64(signing_key)!;
        return (
          isSoundSigningKey(key) && (await verify(key, fromBase64(asked.payload)!, fromBase64(signature)!))
        );
      },
      defaultExpirySeconds: 900,
      defaultGraceSeconds: 300,
      example: { transaction: { format: ED25519_FORMAT, payload: "cGF5IDEyIHRvIGFkYQ==" } },
    }),
  ],
  view: ({ result }) => (typeof result === "object" && result !== null ? { ...result } : {}),
  viewSchema: {
    signature: z.string().optional().describe("base64; of a document, over the form in PROTOCOL §6."),
    signing_key: z.string().optional().describe("base64; of a document, the user's identity key."),
  },
};
