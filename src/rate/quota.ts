// A quota that comes back evenly over a window, kept in memory. Pure; whoever holds it says what a key is and what the
// time is.

/** At most `quota` uses in `windowSeconds`, and never more than that at once. */
export interface RatePolicy {
  /** As the RateLimit-Policy header names it. */
  name: string;
  quota: number;
  windowSeconds: number;
}

/** How a key stands after a use, as the RateLimit header tells it. */
export interface RateState extends RatePolicy {
  remaining: number;
  /** Until the whole quota is there again, if it is left alone. */
  resetSeconds: number;
}

export type RateDecision =
  | { allowed: true; state: RateState }
  | {
      allowed: false;
      state: RateState;
      retryAfterSeconds: number;
      /** True for the first refusal and then once a window: often enough to be written down. */
      worthTelling: boolean;
    };

/** Keys remembered at most: a key whose quota is whole again is forgotten first. */
const MAX_KEYS = 1_000;

/**
 * What a key has used and not yet got back. In whole numbers, so that a quota is exact: a use is `windowMs` parts, and
 * `quota` parts come back each millisecond.
 */
interface Use {
  parts: number;
  /** When that was so, in milliseconds since the epoch. */
  at: number;
  toldAt: number;
}

export class Quota {
  readonly policy: RatePolicy;
  readonly #windowMs: number;
  readonly #uses = new Map<string, Use>();

  constructor(policy: RatePolicy) {
    this.policy = policy;
    this.#windowMs = policy.windowSeconds * 1_000;
  }

  /** Counts one use, if there is one left. A refused one does not count. */
  take(key: string, now: number): RateDecision {
    const { quota } = this.policy;
    const use = this.#current(key, now);
    const over = use.parts + this.#windowMs - quota * this.#windowMs;
    if (over <= 0) {
      use.parts += this.#windowMs;
      this.#remember(key, use);
      return { allowed: true, state: this.#state(use) };
    }
    const worthTelling = now - use.toldAt >= this.#windowMs;
    if (worthTelling) use.toldAt = now;
    this.#remember(key, use);
    return {
      allowed: false,
      state: this.#state(use),
      retryAfterSeconds: Math.ceil(over / quota / 1_000),
      worthTelling,
    };
  }

  #current(key: string, now: number): Use {
    const use = this.#uses.get(key) ?? { parts: 0, at: now, toldAt: Number.NEGATIVE_INFINITY };
    // A clock that goes back gives nothing back.
    const elapsed = Math.max(0, now - use.at);
    return { ...use, parts: Math.max(0, use.parts - elapsed * this.policy.quota), at: use.at + elapsed };
  }

  #state({ parts }: Use): RateState {
    const { quota } = this.policy;
    return {
      ...this.policy,
      remaining: quota - Math.ceil(parts / this.#windowMs),
      resetSeconds: Math.ceil(parts / quota / 1_000),
    };
  }

  #remember(key: string, use: Use): void {
    if (!this.#uses.has(key) && this.#uses.size >= MAX_KEYS) {
      for (const other of [...this.#uses.keys()])
        if (this.#current(other, use.at).parts === 0) this.#uses.delete(other);
      const oldest = this.#uses.keys().next();
      if (this.#uses.size >= MAX_KEYS && !oldest.done) this.#uses.delete(oldest.value);
    }
    this.#uses.set(key, use);
  }
}
