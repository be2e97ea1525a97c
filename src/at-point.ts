// The places of fault-points.ts, where they are in the code. In the deployed Worker a place is its effect and one
// comparison: only a test can arm it, by an import that no source of the Worker has.

import type { FaultPoint } from "./fault-points.ts";

/** What an armed point does with the effect. */
export type FaultHook = <T>(point: FaultPoint, effect: () => T) => T;

let hook: FaultHook | undefined;

/** For tests only: from here on every place asks the hook; undefined: none does. */
export function armFaults(armed: FaultHook | undefined): void {
  hook = armed;
}

/** Runs the effect of a place. */
export const atPoint = <T>(point: FaultPoint, effect: () => T): T =>
  hook === undefined ? effect() : hook(point, effect);
