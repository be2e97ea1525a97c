// Figures with their spread, and two things measured in turn: A B A B, so that what the machine does meanwhile falls
// on both alike and their ratio holds.

/** Several runs of one measurement. */
export interface Spread {
  median: number;
  min: number;
  max: number;
  runs: number;
}

export type Unit = "per_second" | "ms" | "us" | "rows" | "usd" | "bytes" | "ratio" | "count" | "seconds";

/** One line of the table. */
export interface Figure {
  /** What was measured, as a person reads it. */
  name: string;
  unit: Unit;
  value: Spread;
  /** The same work bare, in the same run. */
  floor?: Spread;
  /** value / floor: the median of the ratios of neighbouring runs. */
  ratio?: Spread;
  goal?: { atLeast: number } | { atMost: number };
  /** What the goal is about. */
  goalOf?: "value" | "ratio";
  /** What the reader must know to read it right. */
  note?: string;
}

export function quantile(sorted: readonly number[], share: number): number {
  if (sorted.length === 0) return Number.NaN;
  const at = (sorted.length - 1) * share;
  const low = Math.floor(at);
  const high = Math.ceil(at);
  return sorted[low]! + (sorted[high]! - sorted[low]!) * (at - low);
}

const ascending = (values: readonly number[]): number[] => [...values].sort((a, b) => a - b);

export const percentile = (values: readonly number[], share: number): number =>
  quantile(ascending(values), share);

export function spread(values: readonly number[]): Spread {
  const sorted = ascending(values);
  return {
    median: quantile(sorted, 0.5),
    min: sorted[0] ?? Number.NaN,
    max: sorted.at(-1) ?? Number.NaN,
    runs: values.length,
  };
}

/** A figure that was counted, not timed: every run gives the same. */
export const exact = (value: number): Spread => spread([value]);

export interface Pair {
  value: Spread;
  floor: Spread;
  ratio: Spread;
}

export const pairOf = (values: readonly number[], floors: readonly number[]): Pair => ({
  value: spread(values),
  floor: spread(floors),
  ratio: spread(values.map((value, at) => value / floors[at]!)),
});

/**
 * Runs both in turn, `runs` times after `warmUps` of each that do not count. A run may give several figures; each comes
 * back with its floor.
 */
export async function inTurn<Name extends string>(
  runs: number,
  subject: () => Promise<Record<Name, number>>,
  floor: () => Promise<Record<Name, number>>,
  warmUps = 1,
): Promise<Record<Name, Pair>> {
  const values: Record<Name, number>[] = [];
  const floors: Record<Name, number>[] = [];
  for (let run = -warmUps; run < runs; run++) {
    const bare = await floor();
    const whole = await subject();
    if (run < 0) continue;
    floors.push(bare);
    values.push(whole);
  }
  const names = Object.keys(values[0]!) as Name[];
  return Object.fromEntries(
    names.map((name) => [
      name,
      pairOf(
        values.map((run) => run[name]),
        floors.map((run) => run[name]),
      ),
    ]),
  ) as Record<Name, Pair>;
}

/** Whether a figure meets its goal; undefined when it has none. */
export function meets(figure: Figure): boolean | undefined {
  const { goal } = figure;
  if (goal === undefined) return undefined;
  const value = (figure.goalOf === "ratio" ? figure.ratio : figure.value)?.median ?? Number.NaN;
  return "atLeast" in goal ? value >= goal.atLeast : value <= goal.atMost;
}

/** After what was done last: alarms set by it have fired, and every head is in the log. */
export const SETTLE_MS = 36_000;

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export async function until(
  what: string,
  timeoutMs: number,
  probe: () => Promise<boolean> | boolean,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await probe())) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await sleep(POLL_MS);
  }
}

const POLL_MS = 20;
