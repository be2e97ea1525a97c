// Lets one place of src/fault-points.ts fail twice: before it took effect, and when it is come to again, after.

import { abortAllDurableObjects } from "cloudflare:test";
import { armFaults } from "../../src/at-point.ts";
import type { FaultPoint } from "../../src/fault-points.ts";

/** Whether the object lives on with an error, or dies there with all others. */
export type Manner = "fails" | "dies";

class Injected extends Error {
  constructor(what: string) {
    super(`injected: ${what}`);
    this.name = "Injected";
  }
}

const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof (value as { then?: unknown } | null | undefined)?.then === "function";

/** One armed place. */
export class Fault {
  /** How often it has failed: 1 before, 2 after as well. */
  fired = 0;
  /** Everything is as good as dead: nothing takes effect any more until the restart. */
  #dead = false;

  constructor(point: FaultPoint, manner: Manner) {
    const end = (): never => {
      this.#dead = manner === "dies";
      throw new Injected(`${point} ${manner} ${this.fired === 1 ? "before" : "after"}`);
    };
    armFaults(<T>(at: FaultPoint, effect: () => T): T => {
      if (this.#dead) throw new Injected(`${at}, after the end`);
      if (at !== point || this.fired >= 2) return effect();
      this.fired += 1;
      if (this.fired === 1) return end();
      const result = effect();
      return isThenable(result) ? (result.then(end) as T) : end();
    });
  }

  /** Starts everything again where it has died. */
  async restart(): Promise<void> {
    if (!this.#dead) return;
    await abortAllDurableObjects();
    this.#dead = false;
  }

  disarm(): void {
    armFaults(undefined);
  }
}
