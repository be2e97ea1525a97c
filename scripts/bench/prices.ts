// Cloudflare's price list, as far as the vault's bill follows from it: Workers Paid, each unit beyond what the 5
// dollars a month include. In one file, with its date: when the list changes, change it here and run the bench again.

/** When the list was read: developers.cloudflare.com, Workers, Durable Objects and R2 pricing. */
export const PRICES_AS_OF = "2026-11";

const MILLION = 1_000_000;

/** Dollars for one. */
export const PRICES = {
  workerRequest: 0.3 / MILLION,
  cpuMs: 0.02 / MILLION,
  /** RPC calls, HTTP requests and alarms that reach an object. */
  objectRequest: 0.15 / MILLION,
  /** An object at work is billed as 128 MB, whatever it uses. */
  objectGbSecond: 12.5 / MILLION,
  rowRead: 0.001 / MILLION,
  rowWritten: 1 / MILLION,
  /** A month. */
  storedGb: 0.2,
  r2Write: 4.5 / MILLION,
  r2Read: 0.36 / MILLION,
} as const;

export const OBJECT_GB = 0.128;

/** What the 5 dollars a month include of each. */
export const INCLUDED = {
  workerRequests: 10 * MILLION,
  cpuMs: 30 * MILLION,
  objectRequests: MILLION,
  objectGbSeconds: 400_000,
  rowsRead: 25_000 * MILLION,
  rowsWritten: 50 * MILLION,
  storedGb: 5,
} as const;

const SECONDS_PER_MONTH = 30 * 86_400;

/** An object that never sleeps, for a month: what each bridge shard is, and each busy journal shard. */
export const ALWAYS_ON_OBJECT_PER_MONTH = SECONDS_PER_MONTH * OBJECT_GB * PRICES.objectGbSecond;

/** What was used, of each. */
export interface Usage {
  workerRequests: number;
  cpuMs: number;
  objectRequests: number;
  objectSeconds: number;
  rowsRead: number;
  rowsWritten: number;
  r2Writes: number;
  r2Reads: number;
}

/** Dollars, by what they are for. */
export function billOf(usage: Usage): Record<keyof Usage, number> {
  return {
    workerRequests: usage.workerRequests * PRICES.workerRequest,
    cpuMs: usage.cpuMs * PRICES.cpuMs,
    objectRequests: usage.objectRequests * PRICES.objectRequest,
    objectSeconds: usage.objectSeconds * OBJECT_GB * PRICES.objectGbSecond,
    rowsRead: usage.rowsRead * PRICES.rowRead,
    rowsWritten: usage.rowsWritten * PRICES.rowWritten,
    r2Writes: usage.r2Writes * PRICES.r2Write,
    r2Reads: usage.r2Reads * PRICES.r2Read,
  };
}

export const totalOf = (bill: Record<string, number>): number =>
  Object.values(bill).reduce((sum, dollars) => sum + dollars, 0);
