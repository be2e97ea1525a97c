// The form that NATS JWTs share: claims signed by an nkey, in three segments of base64url.

import { base32nopad, base64urlnopad } from "@scure/base";
import { sha256 } from "../crypto/hash.ts";
import type { SigningKey } from "../crypto/signing.ts";
import { utf8 } from "../protocol/json.ts";

const HEADER = { typ: "JWT", alg: "ed25519-nkey" };
export const CLAIMS_VERSION = 2;

const segment = (value: unknown): string => base64urlnopad.encode(utf8(JSON.stringify(value)));

/** The JWT of some claims; its `jti` is made here, from all the others. */
export async function signJwt(key: SigningKey, claims: { [name: string]: unknown }): Promise<string> {
  const { jti: _former, ...rest } = claims;
  const jti = base32nopad.encode(sha256(utf8(JSON.stringify(rest))));
  const signed = `${segment(HEADER)}.${segment({ jti, ...rest })}`;
  return `${signed}.${base64urlnopad.encode(await key.sign(utf8(signed)))}`;
}
