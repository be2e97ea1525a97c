// Counts in memory: cheap enough for every call, and nothing written. A meter's content can be taken out as plain
// data and added to another meter, which is how many short-lived isolates come to one sum.

import { COUNTERS, type CounterName, HISTOGRAMS, type HistogramName } from "./families.ts";

export type Labels = Readonly<Record<string, string>>;

/** Series one meter holds at most. Labels are words of ours; should one ever not be, memory stays bounded. */
const MAX_SERIES = 2_000;

export interface CounterSeries {
  family: CounterName;
  labels: Labels;
  value: number;
}
export interface HistogramSeries {
  family: HistogramName;
  labels: Labels;
  /** How many values fell into each bucket, the last beyond every bound; not cumulative. */
  counts: number[];
  sum: number;
}

/** A meter's content as it crosses between objects. */
export interface Snapshot {
  counters: CounterSeries[];
  histograms: HistogramSeries[];
}

/** A family's labels as they were written, in the order they were written in. */
function spelled(family: string, labels: Labels): string {
  let text: string = family;
  for (const name in labels) text += ` ${name}=${labels[name]}`;
  return text;
}

/** The same, whatever the order. */
const keyOf = (family: string, labels: Labels): string =>
  spelled(family, Object.fromEntries(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1))));

/** Series by their labels. Each place that counts spells them in one order: only its first count has to sort them. */
class SeriesMap<S> {
  readonly #byKey = new Map<string, S>();
  readonly #bySpelling = new Map<string, S>();

  get size(): number {
    return this.#byKey.size;
  }

  values(): IterableIterator<S> {
    return this.#byKey.values();
  }

  clear(): void {
    this.#byKey.clear();
    this.#bySpelling.clear();
  }

  /** The series of these labels, made when it is new; undefined when there are too many. */
  find(family: string, labels: Labels, make: () => S): S | undefined {
    const spelling = spelled(family, labels);
    const known = this.#bySpelling.get(spelling);
    if (known !== undefined) return known;
    const key = keyOf(family, labels);
    let series = this.#byKey.get(key);
    if (series === undefined) {
      if (this.#byKey.size >= MAX_SERIES) return undefined;
      series = make();
      this.#byKey.set(key, series);
    }
    if (this.#bySpelling.size < MAX_SERIES) this.#bySpelling.set(spelling, series);
    return series;
  }
}

export class Meter {
  readonly #counters = new SeriesMap<CounterSeries>();
  readonly #histograms = new SeriesMap<HistogramSeries>();

  get isEmpty(): boolean {
    return this.#counters.size === 0 && this.#histograms.size === 0;
  }

  count(family: CounterName, labels: Labels = {}, by = 1): void {
    const series = this.#counters.find(family, labels, () => ({ family, labels, value: 0 }));
    if (series !== undefined) series.value += by;
  }

  observe(family: HistogramName, labels: Labels, value: number): void {
    const { buckets } = HISTOGRAMS[family];
    const series = this.#histogram(family, labels);
    if (series === undefined) return;
    const at = buckets.findIndex((bound) => value <= bound);
    series.counts[at === -1 ? buckets.length : at]! += 1;
    series.sum += value;
  }

  /** Adds what another meter counted. Families this version does not know, or knows otherwise, are left out. */
  add({ counters, histograms }: Snapshot): void {
    for (const { family, labels, value } of counters)
      if (Object.hasOwn(COUNTERS, family)) this.count(family, labels, value);
    for (const { family, labels, counts, sum } of histograms) {
      if (!Object.hasOwn(HISTOGRAMS, family) || counts.length !== HISTOGRAMS[family].buckets.length + 1)
        continue;
      const series = this.#histogram(family, labels);
      if (series === undefined) continue;
      for (const [at, count] of counts.entries()) series.counts[at]! += count;
      series.sum += sum;
    }
  }

  snapshot(): Snapshot {
    return {
      counters: [...this.#counters.values()].map((series) => ({ ...series })),
      histograms: [...this.#histograms.values()].map((series) => ({ ...series, counts: [...series.counts] })),
    };
  }

  /** The content, which then begins anew. */
  take(): Snapshot {
    const taken = this.snapshot();
    this.#counters.clear();
    this.#histograms.clear();
    return taken;
  }

  #histogram(family: HistogramName, labels: Labels): HistogramSeries | undefined {
    return this.#histograms.find(family, labels, () => ({
      family,
      labels,
      counts: new Array<number>(HISTOGRAMS[family].buckets.length + 1).fill(0),
      sum: 0,
    }));
  }
}
