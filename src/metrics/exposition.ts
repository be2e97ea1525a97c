// What was measured, as families of samples: as Prometheus reads them (text format 0.0.4) and as JSON for the
// console, from one list.

import {
  COUNTERS,
  GAUGES,
  type GaugeName,
  HISTOGRAMS,
  STORED_COUNTERS,
  type StoredCounterName,
} from "./families.ts";
import type { Labels, Snapshot } from "./meter.ts";

export const EXPOSITION_TYPE = "text/plain; version=0.0.4; charset=utf-8";

export interface Sample {
  /** The family's name; a histogram's samples end in _bucket, _sum, _count. */
  name: string;
  labels: Labels;
  value: number;
}
export interface Family {
  name: string;
  type: "counter" | "gauge" | "histogram";
  help: string;
  samples: Sample[];
}

/** Gathers samples into families. A family without samples is not shown. */
export class Exposition {
  readonly #families = new Map<string, Family>();

  gauge(name: GaugeName, labels: Labels, value: number): void {
    this.#family(name, GAUGES[name]).samples.push({ name, labels, value });
  }

  stored(name: StoredCounterName, labels: Labels, value: number): void {
    this.#family(name, STORED_COUNTERS[name]).samples.push({ name, labels, value });
  }

  /** A meter's content; `labels` say whose. Families this version does not know are left out. */
  add({ counters, histograms }: Snapshot, labels: Labels): void {
    for (const { family, labels: own, value } of counters) {
      if (!Object.hasOwn(COUNTERS, family)) continue;
      const samples = this.#family(family, COUNTERS[family]).samples;
      samples.push({ name: family, labels: { ...labels, ...own }, value });
    }
    for (const { family, labels: own, counts, sum } of histograms) {
      if (!Object.hasOwn(HISTOGRAMS, family)) continue;
      const { buckets, ...facts } = HISTOGRAMS[family];
      const { samples } = this.#family(family, facts);
      const all = { ...labels, ...own };
      let below = 0;
      for (const [at, count] of counts.entries()) {
        below += count;
        const le = at < buckets.length ? String(buckets[at]) : "+Inf";
        samples.push({ name: `${family}_bucket`, labels: { ...all, le }, value: below });
      }
      samples.push({ name: `${family}_sum`, labels: all, value: sum });
      samples.push({ name: `${family}_count`, labels: all, value: below });
    }
  }

  families(): Family[] {
    return [...this.#families.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  #family(name: string, { type, help }: { type: Family["type"]; help: string }): Family {
    let family = this.#families.get(name);
    if (family === undefined) {
      family = { name, type, help, samples: [] };
      this.#families.set(name, family);
    }
    return family;
  }
}

const escapeHelp = (text: string): string => text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
const escapeLabel = (text: string): string => escapeHelp(text).replaceAll('"', '\\"');

const labelText = (labels: Labels): string => {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
};

/** The text a Prometheus server scrapes. */
export function expositionText(families: readonly Family[]): string {
  const lines = families.flatMap(({ name, type, help, samples }) => [
    `# HELP ${name} ${escapeHelp(help)}`,
    `# TYPE ${name} ${type}`,
    ...samples.map((sample) => `${sample.name}${labelText(sample.labels)} ${sample.value}`),
  ]);
  return `${lines.join("\n")}\n`;
}
