// When a failed delivery is tried again, when it is given up, and when an endpoint is. Pure: clock and randomness
// are handed in.

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** An attempt that has not answered by then has failed. */
export const ATTEMPT_TIMEOUT_MS = 15 * SECOND_MS;
/** Pauses after the first attempts; later ones are RETRY_LATER_MS apart. */
export const RETRY_PAUSES_MS = [
  5 * SECOND_MS,
  30 * SECOND_MS,
  2 * MINUTE_MS,
  10 * MINUTE_MS,
  1 * HOUR_MS,
  3 * HOUR_MS,
] as const;
export const RETRY_LATER_MS = 6 * HOUR_MS;
/** A delivery that has failed this long after its first attempt is a dead letter. */
export const GIVE_UP_AFTER_MS = 3 * DAY_MS;
/** Up to this share is added to a pause: deliveries that failed together do not come back together. */
export const JITTER = 0.1;
/** The longest wait a receiver can ask for: as long as our own longest pause, so it cannot starve a delivery. */
export const MAX_RETRY_AFTER_MS = RETRY_LATER_MS;
/** An endpoint that has answered nothing but failures this long is disabled. */
export const DISABLE_AFTER_MS = 5 * DAY_MS;
/** Failures with nothing attempted for longer than this between them are not one outage. */
export const FAILURE_GAP_MS = 1 * DAY_MS;

/** Attempts that may be open at one endpoint that works. */
export const MAX_IN_FLIGHT = 8;
/**
 * Failures in a row after which an endpoint gets new events one at a time and at a slower pace; the rest wait in the
 * journal. Without it, an endpoint that is down for days would cost a row and a schedule for every event.
 */
export const HOLD_AFTER_FAILURES = 10;
/** The pauses between new events while held: doubling from the first to the last. */
export const HOLD_MIN_MS = 5 * SECOND_MS;
export const HOLD_MAX_MS = 1 * MINUTE_MS;

/** What came of an attempt. `status` is the HTTP status where there was an answer. */
export type AttemptResult =
  | { status: number; retryAfter?: string }
  | { error: "timeout" | "connection_failed" | "target_refused" };

export type Verdict =
  | { kind: "delivered" }
  /** `notBefore`: the receiver asked for quiet until then, for everything. */
  | { kind: "retry"; at: number; notBefore?: number }
  | { kind: "dead" }
  /** 410: the receiver wants nothing any more. */
  | { kind: "gone" };

/** 2xx alone is success: a redirect is not followed, so the body has reached nobody who wanted it. */
export const isSuccess = (status: number): boolean => status >= 200 && status < 300;

const GONE = 410;
const TOO_MANY_REQUESTS = 429;
const UNAVAILABLE = 503;

/** `Retry-After` in milliseconds from now (RFC 9110 §10.2.3: seconds or a date), bounded; undefined if malformed. */
export function retryAfterMs(header: string | undefined, now: number): number | undefined {
  if (header === undefined) return undefined;
  const text = header.trim();
  let wait: number;
  if (/^\d{1,10}$/.test(text)) wait = Number(text) * SECOND_MS;
  // Only the one date form that senders may use: Date.parse alone would take almost anything.
  else if (/^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/.test(text))
    wait = Date.parse(text) - now;
  else return undefined;
  return Number.isNaN(wait) ? undefined : Math.min(Math.max(wait, 0), MAX_RETRY_AFTER_MS);
}

/** The pause after attempt number `attempts` (1 for the first). `random` is in [0, 1). */
export const pauseAfter = (attempts: number, random: number): number =>
  Math.round((RETRY_PAUSES_MS[attempts - 1] ?? RETRY_LATER_MS) * (1 + JITTER * random));

/** What follows an attempt. `attempts` counts it; `startedAt` is when the first one was made. */
export function verdictOn(
  result: AttemptResult,
  { attempts, startedAt, now, random }: { attempts: number; startedAt: number; now: number; random: number },
): Verdict {
  if ("status" in result) {
    if (isSuccess(result.status)) return { kind: "delivered" };
    if (result.status === GONE) return { kind: "gone" };
  } else if (result.error === "target_refused") {
    // The URL is one we do not call. Waiting does not change it.
    return { kind: "dead" };
  }
  const asked = "status" in result ? retryAfterMs(result.retryAfter, now) : undefined;
  const at = now + Math.max(pauseAfter(attempts, random), asked ?? 0);
  if (at - startedAt > GIVE_UP_AFTER_MS) return { kind: "dead" };
  const isThrottled =
    "status" in result && (result.status === TOO_MANY_REQUESTS || result.status === UNAVAILABLE);
  return { kind: "retry", at, ...(isThrottled && asked !== undefined ? { notBefore: now + asked } : {}) };
}

/** How long new events wait at an endpoint that has failed this often in a row; 0 while it is not held. */
export const holdMs = (failuresInARow: number): number =>
  failuresInARow < HOLD_AFTER_FAILURES
    ? 0
    : Math.min(HOLD_MIN_MS * 2 ** Math.min(failuresInARow - HOLD_AFTER_FAILURES, 10), HOLD_MAX_MS);

/** When the outage began that a failure at `now` belongs to. */
export const failingSince = (
  since: number | undefined,
  lastFailureAt: number | undefined,
  now: number,
): number =>
  since === undefined || lastFailureAt === undefined || now - lastFailureAt > FAILURE_GAP_MS ? now : since;

/** Whether an endpoint that failed at `now` is to be disabled. */
export const isWornOut = (since: number, now: number): boolean => now - since >= DISABLE_AFTER_MS;
