// The other side of a service vault: a person's vault, as a library. See README.md.

export type { Answer } from "./answer.ts";
export type { AuditReport } from "./audit.ts";
export { type Problem, VaultError, type VaultErrorCode } from "./errors.ts";
export type { Ask, ContractInfo, Log, Receipt, VaultEvent } from "./events.ts";
export {
  defineHears,
  type Handled,
  type HandledAsk,
  type Handler,
  type HandlerContext,
  type HandlerSigner,
  type Hears,
} from "./handlers/handler.ts";
export { handlers } from "./handlers/index.ts";
export type { Holding, Holdings, Shelf } from "./holdings.ts";
export type { Fetch } from "./http.ts";
export { type Invite, parseInvite } from "./invite.ts";
export type { MessageSpaceAccess } from "./links.ts";
export { openSqliteStore } from "./sqlite-store.ts";
export type * from "./store.ts";
export {
  type ConnectOptions,
  type Policy,
  type Preview,
  type Proof,
  UserVault,
  type UserVaultOptions,
} from "./user-vault.ts";
