// Changing the list of revocations on the cluster, over its system account. Idempotent: whatever was lost on the way,
// the same change may be asked for again.

import type { NatsConnection } from "nats.ws";
import type { SigningKey } from "../crypto/signing.ts";
import {
  type AccountChange,
  type AccountFault,
  readAccountJwt,
  revise,
  signAccountJwt,
} from "./account-jwt.ts";
import { describeError } from "./session.ts";

const REQUEST_TIMEOUT_MS = 3_000;
/** Servers of a cluster take a push up one after the other. */
const CONFIRM_ATTEMPTS = 5;
const CONFIRM_PAUSE_MS = 200;
const OK = 200;

/**
 * `current`: the cluster's list is as wanted, with `pushed` when it had to be changed. `refused`: nothing was sent, the
 * operator has to act. `failed`: it may or may not have taken effect; ask again.
 */
export type AccountUpdate =
  | { outcome: "current"; pushed: boolean }
  | { outcome: "refused"; reason: string }
  | { outcome: "failed"; reason: string };

export interface AccountUpdateOptions {
  /** The users' account (A…). */
  account: string;
  /** The operator's signing key. */
  signer: SigningKey;
  change: AccountChange;
}

const FAULTS: Record<AccountFault, string> = {
  unreadable: "what the cluster holds for the users' account is not an account JWT of version 2",
  other_account: "the cluster answers with another account than SERVICESPACE_USERS_ACCOUNT",
  other_signer:
    "the users' account is not signed by SERVICESPACE_OPERATOR_SIGNING_SEED: sign it with that key and push it, or set the seed of the key that signs it",
  signature_invalid:
    "the JWT that the cluster holds for the users' account is not genuine: push the right one",
};
/** A server that has no such account does not answer at all. */
const UNKNOWN =
  "the cluster gives no answer about the users' account: it does not know it, or SERVICESPACE_SYSTEM_CREDS may not ask";

/** Brings the list on the cluster up to date. `connection` is a session in the system account. */
export async function updateAccount(
  connection: NatsConnection,
  options: AccountUpdateOptions,
): Promise<AccountUpdate> {
  try {
    return await update(connection, options);
  } catch (error) {
    return { outcome: "failed", reason: describeError(error) };
  }
}

async function update(
  connection: NatsConnection,
  { account, signer, change }: AccountUpdateOptions,
): Promise<AccountUpdate> {
  const refused = (reason: string): AccountUpdate => ({ outcome: "refused", reason });
  const found = await lookup(connection, account).catch((error) => {
    if (connection.isClosed()) throw error;
    return "";
  });
  if (found === "") return { outcome: "failed", reason: UNKNOWN };
  const claims = await readAccountJwt(found, { account, signer });
  if (!claims.ok) return refused(FAULTS[claims.error]);
  const revised = revise(claims.value, change);
  if (revised === undefined) return { outcome: "current", pushed: false };
  const jwt = await signAccountJwt(signer, revised, Math.floor(Date.now() / 1_000));
  const limit = connection.info?.max_payload ?? 0;
  if (jwt.length > limit)
    return refused(`the users' account JWT would have ${jwt.length} bytes; the cluster takes ${limit}`);
  await push(connection, jwt);
  // The server's word that it took the JWT is no proof; what it answers for the account from now on is.
  for (let attempt = 1; ; attempt++) {
    if ((await lookup(connection, account)) === jwt) return { outcome: "current", pushed: true };
    if (attempt >= CONFIRM_ATTEMPTS)
      return { outcome: "failed", reason: "the cluster took the JWT and answers with another" };
    await new Promise((resolve) => setTimeout(resolve, CONFIRM_PAUSE_MS));
  }
}

/** The account's JWT; "" when the cluster has none. */
async function lookup(connection: NatsConnection, account: string): Promise<string> {
  const answer = await connection.request(`$SYS.REQ.ACCOUNT.${account}.CLAIMS.LOOKUP`, "", {
    timeout: REQUEST_TIMEOUT_MS,
  });
  return answer.string();
}

async function push(connection: NatsConnection, jwt: string): Promise<void> {
  const answer = await connection.request("$SYS.REQ.CLAIMS.UPDATE", jwt, { timeout: REQUEST_TIMEOUT_MS });
  const { data, error } = answer.json<{
    data?: { code?: number };
    error?: { code?: number; description?: string };
  }>();
  if (data?.code !== OK) throw new Error(`the cluster refused the JWT: ${error?.description ?? "no reason"}`);
}
