// When billing cycles begin. All from one anchor, so that the day of the month comes back after a short month:
// 31 January, 28 February, 31 March. In UTC.

import type { BillingCycle } from "./fields.ts";

const DAY_MS = 24 * 3_600_000;
const DAYS: Partial<Record<BillingCycle, number>> = { day: 1, week: 7 };
const MONTHS: Partial<Record<BillingCycle, number>> = { month: 1, year: 12 };

/** The instant `count` cycles after `anchor` (milliseconds since the epoch); a day the month lacks is its last. */
export function addCycles(anchor: number, cycle: BillingCycle, count: number): number {
  const days = DAYS[cycle];
  if (days !== undefined) return anchor + count * days * DAY_MS;
  const start = new Date(anchor);
  const months = start.getUTCMonth() + count * MONTHS[cycle]!;
  const lastDay = new Date(Date.UTC(start.getUTCFullYear(), months + 1, 0)).getUTCDate();
  const day = Date.UTC(start.getUTCFullYear(), months, Math.min(start.getUTCDate(), lastDay));
  return day + (anchor - Date.UTC(start.getUTCFullYear(), start.getUTCMonth(), start.getUTCDate()));
}

/** The last cycle that has begun at `now`, counted from the anchor; below 0 when none has. */
export function cycleAt(anchor: number, cycle: BillingCycle, now: number): number {
  // Estimated from the longest a cycle can be, then counted up.
  const longest = cycle === "month" ? 31 * DAY_MS : cycle === "year" ? 366 * DAY_MS : DAYS[cycle]! * DAY_MS;
  let index = Math.floor((now - anchor) / longest);
  while (addCycles(anchor, cycle, index + 1) <= now) index += 1;
  while (addCycles(anchor, cycle, index) > now) index -= 1;
  return index;
}
