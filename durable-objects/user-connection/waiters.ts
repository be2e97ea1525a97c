// Callers that hold the line until a request changes. Held in memory: lost with the object, and the Worker asks
// again.

/** The longest a call may hold the line. */
const MAX_WAIT_MS = 30_000;
/** Callers that may hold the line for one user at once; beyond, a call answers with what is. */
const MAX_WAITERS = 100;

export class Waiters {
  readonly #waiting = new Map<string, Set<() => void>>();
  #count = 0;

  wake(id: string): void {
    for (const wake of this.#waiting.get(id) ?? []) wake();
  }

  /** Resolves when `over()` holds after a wake-up, or the time is over. */
  async until(id: string, waitMs: number, over: () => boolean): Promise<void> {
    if (this.#count >= MAX_WAITERS) return;
    const deadline = Date.now() + Math.min(waitMs, MAX_WAIT_MS);
    this.#count += 1;
    try {
      while (!over()) {
        const left = deadline - Date.now();
        if (left <= 0) return;
        await this.#once(id, left);
      }
    } finally {
      this.#count -= 1;
    }
  }

  async #once(id: string, timeoutMs: number): Promise<void> {
    const waiters = this.#waiting.get(id) ?? new Set();
    this.#waiting.set(id, waiters);
    let wake = () => {};
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve) => {
      wake = resolve;
      waiters.add(wake);
      timer = setTimeout(resolve, timeoutMs);
    });
    clearTimeout(timer);
    waiters.delete(wake);
    if (waiters.size === 0) this.#waiting.delete(id);
  }
}
