// Signatures. A document gets the identity key's, under a label of its own; a transaction gets that of a key the person
// keeps for its format, on the service's shelf or, for use anywhere, on their own. The identity key never signs bytes
// that a service chose.

import { z } from "zod";
import { importSigningKey } from "../../../src/crypto/signing.ts";
import { fromBase64, toBase64 } from "../../../src/protocol/encoding.ts";
import { randomBytes } from "../../../src/protocol/ids.ts";
import type { Json } from "../../../src/protocol/json.ts";
import { LABELS } from "../../../src/protocol/labels.ts";
import { bytesOfLength } from "../../../src/protocol/primitives.ts";
import { ED25519_FORMAT, signedDocument } from "../../../src/requests/kinds/sign.ts";
import type { Handler } from "./handler.ts";

/** Keyed by format. SECRET. */
export const TRANSACTION_KEYS = "transaction_keys";

const kept = z.strictObject({ seed: bytesOfLength(32), public_key: bytesOfLength(32) });

/** A new Ed25519 key for transactions, as it is kept. */
export async function newTransactionKey(): Promise<z.infer<typeof kept>> {
  const seed = randomBytes(32);
  return { seed: toBase64(seed), public_key: (await importSigningKey(seed)).publicKeyText };
}

export const sign: Handler = {
  kind: "sign",
  answer: async ({ requestId, operation, payload }, _decision, { own, personal }, signer) => {
    if (operation === "document") {
      const document = payload.document as { name: string; media_type: string; sha256: string };
      const signature = await signer.sign(LABELS.document, signedDocument(requestId, document));
      return { result: { signature, signing_key: signer.publicKey } };
    }
    const { format, payload: bytes } = payload.transaction as { format: string; payload: string };
    const found: Json | undefined =
      own.get(TRANSACTION_KEYS, format) ?? personal.get(TRANSACTION_KEYS, format);
    const key = kept.safeParse(found);
    if (!key.success || format !== ED25519_FORMAT) return { refuse: "no_key" };
    const signing = await importSigningKey(fromBase64(key.data.seed)!);
    const signature = await signing.sign(fromBase64(bytes)!);
    return { result: { signature: toBase64(signature), signing_key: signing.publicKeyText } };
  },
};
