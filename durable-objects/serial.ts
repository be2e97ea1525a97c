// One step at a time. SQLite transactions are synchronous, signing is not: while a step waits for a signature the
// object takes other calls, and whatever the step had read could change under it. Steps that read, sign and then
// write therefore queue here.

/** Steps that may wait at once. A step takes about a millisecond, so the last of them waits about a second. */
export const MAX_WAITING_STEPS = 1_000;

/** Too many steps wait. Nothing was done; the caller may try again. */
export class Overloaded extends Error {
  readonly code = "unavailable";
  /** The names the runtime gives the same condition, kept across RPC. */
  readonly overloaded = true;
  constructor() {
    super(`more than ${MAX_WAITING_STEPS} steps wait for this object`);
    this.name = "Overloaded";
  }
}

/** Runs async steps strictly one after the other, in the order they came. */
export class Serial {
  #tail: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  /** Runs `step` when all before it are over; a step that throws rejects its own caller and stops nobody else. */
  async run<T>(step: () => T | Promise<T>): Promise<T> {
    if (this.#waiting >= MAX_WAITING_STEPS) throw new Overloaded();
    this.#waiting++;
    const done = this.#tail.then(step);
    this.#tail = done.catch(() => {});
    try {
      return await done;
    } finally {
      this.#waiting--;
    }
  }
}
