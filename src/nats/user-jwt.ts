// NATS user JWTs, minted with the signing key of the users' account. Our own few lines because the published
// library signs in pure TypeScript, a hundred times slower.

import type { SigningKey } from "../crypto/signing.ts";
import { claimsOf, parseCreds } from "./creds.ts";
import { CLAIMS_VERSION, signJwt } from "./jwt.ts";
import { MAX_MESSAGE_BYTES } from "./limits.ts";
import { decodeNkey, encodeNkey } from "./nkey.ts";

const UNLIMITED = -1;
const SECONDS_PER_DAY = 24 * 3_600;

/** What a NATS user may do, and until when. */
export interface UserJwtOptions {
  /** The account's signing key, or the key of the account itself. */
  signingKey: SigningKey;
  /** The account the user belongs to (A…). */
  account: string;
  /** The user's public nkey (U…); its seed stays with the user. */
  userNatsKey: string;
  /** Shown in the server's logs and monitoring. */
  name: string;
  /** Subjects; neither list may be empty, because NATS takes an empty list as "everything". */
  permissions: { publish: readonly string[]; subscribe: readonly string[] };
  /** Subscriptions at once, over all sessions of a connection. */
  maxSubscriptions: number;
  /** Since the epoch; the server drops the session then. */
  expiresAtSeconds: number;
  /** Since the epoch. A revocation hits what was issued up to its own second. */
  nowSeconds: number;
}

/**
 * A signed user JWT. Everything not granted is refused by the server: no bearer use, no answering to reply subjects
 * beyond the permissions, no message above MAX_MESSAGE_BYTES. Throws TypeError on a malformed key and RangeError on
 * permissions or times that would grant more than they say.
 */
export async function mintUserJwt(options: UserJwtOptions): Promise<string> {
  const {
    signingKey,
    account,
    userNatsKey,
    name,
    permissions,
    maxSubscriptions,
    expiresAtSeconds,
    nowSeconds,
  } = options;
  if (decodeNkey("account", account) === undefined)
    throw new TypeError("mintUserJwt: `account` must be an A… nkey");
  if (decodeNkey("user", userNatsKey) === undefined)
    throw new TypeError("mintUserJwt: `userNatsKey` must be a U… nkey");
  if (permissions.publish.length === 0 || permissions.subscribe.length === 0) {
    throw new RangeError("mintUserJwt: an empty list of subjects would allow every subject");
  }
  if (!Number.isSafeInteger(maxSubscriptions) || maxSubscriptions < 1) {
    throw new RangeError("mintUserJwt: `maxSubscriptions` must be a positive integer");
  }
  if (
    !Number.isSafeInteger(nowSeconds) ||
    !Number.isSafeInteger(expiresAtSeconds) ||
    expiresAtSeconds <= nowSeconds
  ) {
    throw new RangeError("mintUserJwt: `expiresAtSeconds` must be a whole second after `nowSeconds`");
  }
  return signJwt(signingKey, {
    iat: nowSeconds,
    exp: expiresAtSeconds,
    iss: encodeNkey("account", signingKey.publicKey),
    name,
    sub: userNatsKey,
    nats: {
      type: "user",
      version: CLAIMS_VERSION,
      issuer_account: account,
      pub: { allow: permissions.publish },
      sub: { allow: permissions.subscribe },
      subs: maxSubscriptions,
      data: UNLIMITED,
      payload: MAX_MESSAGE_BYTES,
    },
  });
}

/** When the JWT in a .creds text expires, in seconds since the epoch; undefined when it does not. Throws CredsError. */
export function jwtExpiry(credsText: string): number | undefined {
  const { exp } = claimsOf(parseCreds(credsText).jwt);
  return typeof exp === "number" && exp > 0 ? exp : undefined;
}

/** Whole days until the credentials expire, 0 once they have; undefined when they do not. Throws CredsError. */
export function daysLeft(credsText: string, nowMs: number): number | undefined {
  const expiry = jwtExpiry(credsText);
  return expiry === undefined
    ? undefined
    : Math.max(0, Math.floor((expiry - nowMs / 1_000) / SECONDS_PER_DAY));
}
