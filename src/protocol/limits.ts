// Every bound of the wire, with its unit. PROTOCOL.md names those that both sides must share.

/** An envelope as it travels, in bytes (PROTOCOL §4). */
export const MAX_ENVELOPE_BYTES = 1_000_000;
/** How far `expires_at` may lie behind `timestamp` (PROTOCOL §4). */
export const MAX_ENVELOPE_LIFETIME_MS = 31 * 24 * 3_600_000;
/** How far a sender's clock may run ahead of ours (PROTOCOL §4). */
export const MAX_CLOCK_AHEAD_MS = 60_000;
/** How far a setup request's clock may be off in either direction (PROTOCOL §5). */
export const SETUP_CLOCK_SKEW_MS = 300_000;
/** How long an answered or refused event id is remembered at the least (PROTOCOL §4). */
export const SEEN_IDS_RETENTION_MS = 31 * 24 * 3_600_000;
/** Plaintext is padded to at least this (PROTOCOL §4). */
export const MIN_PADDED_BYTES = 1_024;
/** A user's answer is padded to at least this, so that length does not tell a yes from a no. */
export const MIN_PADDED_ANSWER_BYTES = 4_096;
/** Nesting of arrays and objects in any JSON taken from outside; deeper is refused before use. */
export const MAX_JSON_DEPTH = 32;
/** The NATS user JWT of a setup, in seconds (PROTOCOL §5). */
export const SETUP_JWT_LIFETIME_SECONDS = 900;
/** The NATS user JWT of a contract, in seconds, where it cannot be revoked on the cluster: 24 h, then it lapses. */
export const LASTING_JWT_LIFETIME_SECONDS = 24 * 3_600;
/**
 * Where it can: a week. Longer would save little, and each revoked JWT stays in the account's list until it would
 * have expired.
 */
export const REVOCABLE_JWT_LIFETIME_SECONDS = 7 * 24 * 3_600;
/** Subscriptions a user's NATS session may hold (PROTOCOL §5). */
export const USER_MAX_SUBSCRIPTIONS = 20;
/** The repeat of the same ask after a denial is refused this long (PROTOCOL §6). */
export const COOLING_OFF_MS = 60_000;
/** Connection keys outlive a revocation's notice by at most this (PROTOCOL §7). */
export const REVOCATION_NOTICE_MS = 7 * 24 * 3_600_000;
/** An encryption key named in an offer outlives the offer by this (PROTOCOL §2). */
export const SETUP_KEY_GRACE_MS = 31 * 24 * 3_600_000;
