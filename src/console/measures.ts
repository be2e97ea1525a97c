// What the overview says about calls, from the families of GET metrics: how many, how they ended, how long they took.
// Pure.

import type { Family } from "../metrics/exposition.ts";

export interface Metrics {
  at: string;
  families: readonly Family[];
}

const samplesOf = (metrics: Metrics, name: string) =>
  metrics.families.find((family) => family.name === name)?.samples ?? [];

/** Calls of the API so far. */
export const callsSoFar = (metrics: Metrics): number =>
  callsByScope(metrics).reduce((sum, calls) => sum + callCount(calls), 0);

/** The sum of a family's samples, over all labels. */
export const total = (metrics: Metrics, name: string): number | undefined => {
  const samples = samplesOf(metrics, name);
  return samples.length === 0 ? undefined : samples.reduce((sum, { value }) => sum + value, 0);
};

/** The greatest of a family's samples. */
export const greatest = (metrics: Metrics, name: string): number | undefined => {
  const samples = samplesOf(metrics, name);
  return samples.length === 0 ? undefined : Math.max(...samples.map(({ value }) => value));
};

export interface Calls {
  /** What keys may do: `requests:read`; `public`. */
  scope: string;
  succeeded: number;
  /** 4xx: the caller's to mend. */
  refused: number;
  /** 5xx: ours. */
  failed: number;
}

const CALLS = "vettid_http_requests_total";
const DURATIONS = "vettid_http_request_duration_seconds";
/** Calls that held the line take as long as they were told to, and those of no route are pages and noise. */
const NOT_WORK = new Set(["wait", "none"]);

const scopeOf = (labels: Readonly<Record<string, string>>): string => labels.class ?? "none";

/** Calls by the scope their route needs, the most called first. */
export function callsByScope(metrics: Metrics): Calls[] {
  const byScope = new Map<string, Calls>();
  for (const { labels, value } of samplesOf(metrics, CALLS)) {
    const scope = scopeOf(labels);
    if (scope === "none") continue;
    const calls = byScope.get(scope) ?? { scope, succeeded: 0, refused: 0, failed: 0 };
    const status = Number((labels.status ?? "").slice(0, 1));
    if (status >= 5) calls.failed += value;
    else if (status === 4) calls.refused += value;
    else calls.succeeded += value;
    byScope.set(scope, calls);
  }
  return [...byScope.values()].sort((a, b) => callCount(b) - callCount(a));
}

export const callCount = ({ succeeded, refused, failed }: Calls): number => succeeded + refused + failed;

export interface Bucket {
  /** Upper bound in seconds; Infinity for the last. */
  upTo: number;
  count: number;
}

/** How long calls took, over everything that is work. */
export function durations(metrics: Metrics): Bucket[] {
  const below = new Map<number, number>();
  for (const { name, labels, value } of samplesOf(metrics, DURATIONS)) {
    if (!name.endsWith("_bucket") || NOT_WORK.has(scopeOf(labels))) continue;
    const upTo = labels.le === "+Inf" ? Infinity : Number(labels.le);
    below.set(upTo, (below.get(upTo) ?? 0) + value);
  }
  let before = 0;
  return [...below]
    .sort(([a], [b]) => a - b)
    .map(([upTo, count]) => {
      const bucket = { upTo, count: Math.max(0, count - before) };
      before = count;
      return bucket;
    });
}

/** Below which time a share of the calls stayed, interpolated within its bucket; undefined when there were none. */
export function quantile(buckets: readonly Bucket[], share: number): number | undefined {
  const count = buckets.reduce((sum, bucket) => sum + bucket.count, 0);
  if (count === 0) return undefined;
  let left = share * count;
  let from = 0;
  for (const { upTo, count: inBucket } of buckets) {
    if (inBucket > 0 && left <= inBucket)
      return upTo === Infinity ? from : from + (upTo - from) * (left / inBucket);
    left -= inBucket;
    if (upTo !== Infinity) from = upTo;
  }
  return from;
}

/** Calls up to an instant: what the overview remembers between two looks. */
export interface Seen {
  at: number;
  calls: number;
}
/** Five minutes of a look every five seconds. */
export const MAX_SEEN = 60;

/** The history that the open page hands back; what is not of its form is left out. */
export function parseSeen(text: string | undefined): Seen[] {
  if (text === undefined || !/^\d{1,15}-\d{1,15}(?:_\d{1,15}-\d{1,15}){0,99}$/.test(text)) return [];
  const seen = text.split("_").map((part) => {
    const [at = 0, calls = 0] = part.split("-").map(Number);
    return { at, calls };
  });
  return seen.every(({ at }, place) => place === 0 || at > seen[place - 1]!.at) ? seen : [];
}
export const formatSeen = (seen: readonly Seen[]): string =>
  seen.map(({ at, calls }) => `${at}-${calls}`).join("_");

/** The history with one more look. Counts begin anew when a shard restarts: what was before no longer compares. */
export function lookAgain(seen: readonly Seen[], now: Seen): Seen[] {
  const last = seen.at(-1);
  if (last === undefined || now.calls < last.calls || now.at <= last.at) return [now];
  return [...seen, now].slice(-MAX_SEEN);
}

/** Calls a second between each two looks. */
export const rates = (seen: readonly Seen[]): { at: number; perSecond: number }[] =>
  seen.slice(1).map(({ at, calls }, place) => {
    const before = seen[place]!;
    return { at, perSecond: ((calls - before.calls) * 1_000) / (at - before.at) };
  });
