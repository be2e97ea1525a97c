// Why something that was to be verified is not to be believed.

import { ServiceVaultError } from "../base-error.ts";

export type VerificationCode =
  /** It does not have the form of what it should be. */
  | "malformed"
  /** A signature does not hold. */
  | "signature_invalid"
  /** A public key is one that anyone could sign under, or is no key. */
  | "key_refused"
  /** It is sound, and about something else than was expected: another user, request, contract or service. */
  | "mismatch"
  /** Signed, but it says no. */
  | "not_approved"
  /** The approval named a time after which it is not to be used, and that is over. */
  | "lapsed"
  /** A delivery made too long ago, or ahead of this machine's clock: a replay, or a clock to be set. */
  | "timestamp_too_old"
  | "timestamp_too_new"
  /** Of a chain: an entry was changed, removed, inserted or moved. */
  | "chain_broken"
  /** The log's tree does not hold the entry. */
  | "not_in_log"
  /** Fewer witnesses than asked for saw the checkpoint. */
  | "witnesses_missing";

/** One thing that was looked at, and what came of it. */
export interface Check {
  check: string;
  ok: boolean;
  detail: string;
}

/** Thrown by every `verify…`: what does not throw was verified. */
export class VerificationError<Code extends VerificationCode = VerificationCode> extends ServiceVaultError {
  override readonly name = "VerificationError";
  readonly code: Code;
  /** Where several things are looked at, all of them. */
  readonly checks: readonly Check[];

  constructor(code: Code, message: string, checks: readonly Check[] = []) {
    super(message);
    this.code = code;
    this.checks = checks;
  }
}
