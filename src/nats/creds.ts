// A NATS .creds file: the user's JWT, and the seed that answers the server's nonce.

import { createPrivateKey, sign } from "node:crypto";
import { base64urlnopad } from "@scure/base";
import type { Authenticator } from "nats.ws";
import { concatBytes } from "../protocol/encoding.ts";
import { parseJson, utf8 } from "../protocol/json.ts";
import { decodeSeed } from "./nkey.ts";

/** A .creds text that cannot be used. The message names the part, never its content. */
export class CredsError extends Error {
  readonly code = "creds_invalid";
}

/** The text of a .creds file. */
export const credsText = (jwt: string, seed: string): string =>
  `-----BEGIN NATS USER JWT-----\n${jwt}\n------END NATS USER JWT------\n\n` +
  `-----BEGIN USER NKEY SEED-----\n${seed}\n------END USER NKEY SEED------\n`;

/** Between a line of dashes that opens a part and one that closes it. */
const PART = /-{3,}[^\n]*-{3,}\r?\n([\s\S]*?)\r?\n\s*-{3,}[^\n]*-{3,}/g;

/** The JWT and the 32-byte seed. Throws CredsError. */
export function parseCreds(text: string): { jwt: string; seed: Uint8Array } {
  const [jwt, seedText] = [...text.matchAll(PART)].map((part) => part[1]!.trim());
  if (jwt === undefined || seedText === undefined) {
    throw new CredsError(
      "the credentials must hold a NATS user JWT and a user nkey seed, each between dashed lines",
    );
  }
  const seed = decodeSeed("user", seedText);
  if (seed === undefined) throw new CredsError("the seed in the credentials is not a user seed (SU…)");
  return { jwt, seed };
}

/** The claims of a JWT, signature unchecked: for what we were given ourselves. Throws CredsError. */
export function claimsOf(jwt: string): { [name: string]: unknown } {
  try {
    const claims = parseJson(base64urlnopad.decode(jwt.split(".")[1] ?? ""));
    if (
      claims.ok &&
      typeof claims.value === "object" &&
      claims.value !== null &&
      !Array.isArray(claims.value)
    ) {
      return claims.value;
    }
  } catch {
    // not base64url: the same answer
  }
  throw new CredsError("the JWT in the credentials cannot be read");
}

const PKCS8_ED25519_PREFIX = Uint8Array.from([
  0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
]);

/**
 * Answers a server's nonce. The client library wants the answer in the same call, which WebCrypto cannot give, so
 * this one signature is made with node:crypto. Throws CredsError.
 */
export function credsAuthenticator(text: string): Authenticator {
  const { jwt, seed } = parseCreds(text);
  const key = createPrivateKey({
    key: Buffer.from(concatBytes(PKCS8_ED25519_PREFIX, seed)),
    format: "der",
    type: "pkcs8",
  });
  return (nonce) => ({
    jwt,
    nkey: "",
    sig: nonce === undefined ? "" : base64urlnopad.encode(new Uint8Array(sign(null, utf8(nonce), key))),
  });
}
