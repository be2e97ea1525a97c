// Typed ways to the objects. The runtime's own stub types drop members whose type is `unknown`, which the views of
// requests have; rpc.ts says what the calls are.

import { AUDIT_LOG_NAME } from "../../durable-objects/audit-log/audit-log.ts";
import { DIRECTORY_NAME, type Directory } from "../../durable-objects/directory/directory.ts";
import type { Env } from "../env.ts";
import { identityId } from "../protocol/primitives.ts";
import type { AuditLogForRoutes, UserConnectionApi } from "../rpc.ts";
import { ApiError } from "./errors.ts";

/** What the Directory answers over RPC. */
export type DirectoryApi = Omit<Directory, "alarm" | "ctx" | "env" | "fetch" | "connect">;

export const directoryOf = (env: Env): DirectoryApi =>
  env.DIRECTORY.getByName(DIRECTORY_NAME) as unknown as DirectoryApi;

export const auditLogOf = (env: Env): AuditLogForRoutes =>
  env.AUDIT_LOG.getByName(AUDIT_LOG_NAME) as unknown as AuditLogForRoutes;

/** A fresh stub: one that has failed stays failed. `userId` must have been checked. */
export const userConnectionOf = (env: Env, userId: string): UserConnectionApi =>
  env.USER_CONNECTION.getByName(userId) as unknown as UserConnectionApi;

/** The object a user id from a path leads to; anything that is no user id was never given out. */
export function userInPath(env: Env, userId: string): UserConnectionApi {
  if (!identityId.safeParse(userId).success) throw new ApiError("not_found", "there is no user of this id");
  return userConnectionOf(env, userId);
}

/** The object that holds a contract, through the Directory's index. */
export async function userOfContract(env: Env, contractId: string): Promise<UserConnectionApi> {
  const userId = await directoryOf(env).userOfContract(contractId);
  if (userId === undefined) throw new ApiError("not_found", "there is no contract of this id");
  return userConnectionOf(env, userId);
}
