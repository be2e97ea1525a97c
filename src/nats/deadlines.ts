// Many waits of the same length under one timer: of those under way, the one begun first is over first.

export class Deadlines {
  readonly #timeoutMs: number;
  /** In the order they were begun. */
  readonly #waits = new Map<number, { due: number; onOver: () => void }>();
  #last = 0;
  /** Runs while anything waits. */
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /** Calls `onOver` when the time is over; what is returned ends the wait before. */
  begin(onOver: () => void): () => void {
    const wait = ++this.#last;
    this.#waits.set(wait, { due: Date.now() + this.#timeoutMs, onOver });
    this.#timer ??= setTimeout(() => this.#sweep(), this.#timeoutMs);
    return () => {
      if (!this.#waits.delete(wait) || this.#waits.size > 0) return;
      clearTimeout(this.#timer);
      this.#timer = undefined;
    };
  }

  /** The promise's outcome, or an error naming `what` once the time is up. */
  async within<T>(promise: Promise<T>, what: string): Promise<T> {
    let end = () => {};
    const late = new Promise<never>((_, reject) => {
      end = this.begin(() => reject(new Error(`${what}: no answer within ${this.#timeoutMs} ms`)));
    });
    try {
      return await Promise.race([promise, late]);
    } finally {
      end();
    }
  }

  #sweep(): void {
    this.#timer = undefined;
    const now = Date.now();
    for (const [wait, { due, onOver }] of this.#waits) {
      if (due > now) {
        this.#timer ??= setTimeout(() => this.#sweep(), due - now);
        return;
      }
      this.#waits.delete(wait);
      onOver();
    }
  }
}
