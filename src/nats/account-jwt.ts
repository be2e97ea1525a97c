// The JWT of the users' account, as the cluster holds it: what NATS refuses is a list inside it. Whoever pushes a JWT
// replaces the whole of it, so a revocation is the account as it is now with the list changed and nothing else.
//
// A server answers "updated" to a JWT by any signer: one it does not trust is stored, has no effect, and keeps the
// whole account out after the next restart. So the signer of what is there must be the very key that will sign what
// takes its place; that is checked here, before anything is sent.

import { base64urlnopad } from "@scure/base";
import { type SigningKey, verify } from "../crypto/signing.ts";
import { type Json, utf8 } from "../protocol/json.ts";
import { err, ok, type Result } from "../protocol/result.ts";
import { claimsOf } from "./creds.ts";
import { CLAIMS_VERSION, signJwt } from "./jwt.ts";
import { decodeNkey, encodeNkey } from "./nkey.ts";

type Claims = { [name: string]: Json };

/** Times by nkey (U…): JWTs issued up to that second, seconds since the epoch. */
export type Revocations = Readonly<Record<string, number>>;

export interface AccountChange {
  /** Must be refused. */
  revoke: Revocations;
  /** Every JWT they stood for has expired: their entries go, unless someone has set a later one. */
  forget: Revocations;
}

/** Why a JWT is not one we may put another in the place of. */
export type AccountFault = "unreadable" | "other_account" | "other_signer" | "signature_invalid";

/** The claims of an account's JWT, once it is certain that it is this account's and by this key. */
export async function readAccountJwt(
  jwt: string,
  expected: { account: string; signer: SigningKey },
): Promise<Result<Claims, AccountFault>> {
  let claims: Claims;
  let signature: Uint8Array;
  try {
    claims = claimsOf(jwt) as Claims;
    signature = base64urlnopad.decode(jwt.split(".")[2] ?? "");
  } catch {
    return err("unreadable");
  }
  const nats = natsOf(claims);
  if (nats?.type !== "account" || nats.version !== CLAIMS_VERSION || revocationsOf(claims) === undefined)
    return err("unreadable");
  if (claims.sub !== expected.account) return err("other_account");
  if (claims.iss !== encodeNkey("operator", expected.signer.publicKey)) return err("other_signer");
  const signed = utf8(jwt.slice(0, jwt.lastIndexOf(".")));
  return (await verify(expected.signer.publicKey, signed, signature)) ? ok(claims) : err("signature_invalid");
}

/**
 * The claims with the list as it must be; undefined when it is so already. Whatever else the operator put there stays,
 * entries of the list included.
 */
export function revise(claims: Claims, { revoke, forget }: AccountChange): Claims | undefined {
  const before = revocationsOf(claims)!;
  const after = { ...before };
  for (const [key, issuedUntil] of Object.entries(forget))
    if (after[key] !== undefined && after[key] <= issuedUntil) delete after[key];
  for (const [key, issuedUntil] of Object.entries(revoke)) {
    // `*` would refuse every user there is.
    if (decodeNkey("user", key) === undefined) throw new TypeError("revise: not the nkey of a user");
    after[key] = Math.max(after[key] ?? 0, issuedUntil);
  }
  const names = Object.keys(after);
  const isSame =
    names.length === Object.keys(before).length && names.every((name) => after[name] === before[name]);
  if (isSame) return undefined;
  const { revocations: _former, ...nats } = natsOf(claims)!;
  return { ...claims, nats: { ...nats, ...(names.length === 0 ? {} : { revocations: after }) } };
}

/** Signs an account's claims anew. Servers keep the JWT issued last, so it is issued after the one it replaces. */
export function signAccountJwt(signer: SigningKey, claims: Claims, nowSeconds: number): Promise<string> {
  const before = typeof claims.iat === "number" ? claims.iat : 0;
  const iat = Math.max(nowSeconds, before + 1);
  return signJwt(signer, { ...claims, iat, iss: encodeNkey("operator", signer.publicKey) });
}

const isObject = (value: Json | undefined): value is Claims =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const natsOf = (claims: Claims): Claims | undefined => (isObject(claims.nats) ? claims.nats : undefined);

function revocationsOf(claims: Claims): Record<string, number> | undefined {
  const found = natsOf(claims)?.revocations ?? {};
  return isObject(found) && Object.values(found).every((time) => typeof time === "number")
    ? (found as Record<string, number>)
    : undefined;
}
