// The NATS credentials a user gets: for setup 15 minutes and `contract.>` alone, for a contract all of the user's own
// subjects (PROTOCOL §5), and a life that depends on whether they can be taken back.

import type { Config } from "../config.ts";
import type { NatsCredentials } from "../protocol/contract.ts";
import {
  LASTING_JWT_LIFETIME_SECONDS,
  REVOCABLE_JWT_LIFETIME_SECONDS,
  SETUP_JWT_LIFETIME_SECONDS,
  USER_MAX_SUBSCRIPTIONS,
} from "../protocol/limits.ts";
import { toTimestamp } from "../protocol/primitives.ts";
import { userPermissions } from "../protocol/subjects.ts";
import { mintUserJwt } from "./user-jwt.ts";

export type CredentialsExtent = "setup" | "lasting";

export function lifetimeSeconds(config: Pick<Config, "revoking">, extent: CredentialsExtent): number {
  if (extent === "setup") return SETUP_JWT_LIFETIME_SECONDS;
  return config.revoking === undefined ? LASTING_JWT_LIFETIME_SECONDS : REVOCABLE_JWT_LIFETIME_SECONDS;
}

/** The second that a JWT made at an instant (milliseconds) says it was issued. */
export const issuedAtSeconds = (now: number): number => Math.floor(now / 1_000);

/** Credentials for the nkey a user made (`U…`); its seed never travels. `now` in milliseconds. */
export async function issueCredentials(
  config: Config,
  user: { userId: string; natsPublicKey: string },
  extent: CredentialsExtent,
  now: number,
): Promise<NatsCredentials> {
  const nowSeconds = issuedAtSeconds(now);
  const expiresAtSeconds = nowSeconds + lifetimeSeconds(config, extent);
  return {
    endpoint: config.SERVICESPACE_PUBLIC_ENDPOINT,
    user_jwt: await mintUserJwt({
      signingKey: config.usersAccountKey,
      account: config.SERVICESPACE_USERS_ACCOUNT,
      userNatsKey: user.natsPublicKey,
      name: user.userId,
      permissions: userPermissions(config.serviceId, user.userId, extent),
      maxSubscriptions: USER_MAX_SUBSCRIPTIONS,
      expiresAtSeconds,
      nowSeconds,
    }),
    expires_at: toTimestamp(expiresAtSeconds * 1_000),
  };
}
