// What can go wrong for whoever uses the library: a stable code to switch on, and a sentence for people.

/** Stable; new ones may be added. */
export type VaultErrorCode =
  | "already_connected"
  | "answer_invalid"
  | "ask_closed"
  | "ask_unknown"
  | "capability_unknown"
  | "contract_ended"
  | "contract_not_active"
  | "contract_unknown"
  | "holding_invalid"
  | "invite_invalid"
  | "invite_refused"
  | "match_code_missing"
  | "notification_unknown"
  | "offer_refused"
  | "offering_required"
  | "offering_unknown"
  | "rejected"
  | "required_data_missing"
  | "service_refused"
  | "service_unreachable"
  | "store_busy"
  | "store_unusable"
  | "timeout"
  | "too_large"
  | "update_unknown"
  | "vault_closed";

/** What the service's HTTP side said, when it was asked. */
export interface Problem {
  status: number;
  /** Stable code of its problem document; absent when it sent none. */
  code?: string;
}

/** Every error this library throws on purpose. Messages hold ids and reasons, never keys or personal data. */
export class VaultError extends Error {
  override readonly name = "VaultError";
  readonly code: VaultErrorCode;
  readonly problem: Problem | undefined;

  constructor(code: VaultErrorCode, message: string, options: { cause?: unknown; problem?: Problem } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.problem = options.problem;
  }
}
