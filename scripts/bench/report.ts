// Figures as a table: in the terminal, and in docs/PERFORMANCE.md.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PROJECT_ROOT } from "../stack/files.ts";
import { type Figure, meets, type Spread, type Unit } from "./measure.ts";

export interface Report {
  date: string;
  commit: string;
  machine: {
    cpu: string;
    cores: number;
    memoryGb: number;
    /** What one fdatasync takes. */
    syncMs: number;
    node: string;
    workerd: string;
  };
  benches: Record<string, Figure[]>;
}

const DOCS_FILE = join(PROJECT_ROOT, "docs", "PERFORMANCE.md");
/** The same for machines, and what the simulation reads. */
export const FIGURES_FILE = join(PROJECT_ROOT, "docs", "performance.json");
const BEGIN = "<!-- figures: written by `npm run bench -- --docs` -->";
const END = "<!-- end of figures -->";

const UNITS: Record<Unit, string> = {
  per_second: "/s",
  ms: "ms",
  us: "µs",
  rows: "rows",
  usd: "$",
  bytes: "bytes",
  ratio: "",
  count: "",
  seconds: "s",
};

const number = (value: number): string =>
  Number.isNaN(value)
    ? "–"
    : Math.abs(value) >= 1_000
      ? Math.round(value).toLocaleString("en-US")
      : value.toFixed(Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2);

const spreadText = ({ median, min, max, runs }: Spread): string =>
  runs === 1 ? number(median) : `${number(median)} (${number(min)}–${number(max)})`;

const goalText = (figure: Figure): string => {
  const { goal } = figure;
  if (goal === undefined) return "";
  const bound = "atLeast" in goal ? `≥ ${goal.atLeast}` : `≤ ${goal.atMost}`;
  return `${bound} ${meets(figure) ? "✓" : "missed"}`;
};

const cells = (figure: Figure): string[] => {
  const unit = UNITS[figure.unit];
  return [
    figure.name,
    `${spreadText(figure.value)} ${unit}`.trim(),
    figure.floor === undefined ? "" : spreadText(figure.floor),
    figure.ratio === undefined ? "" : spreadText(figure.ratio),
    goalText(figure),
  ];
};

const HEAD = ["figure", "median (min–max)", "floor", "ratio", "goal"];

export function tableOf(figures: readonly Figure[]): string {
  const rows = [HEAD, ...figures.map(cells)];
  const widths = HEAD.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

const markdownRow = (row: readonly string[]): string => `| ${row.join(" | ")} |`;

export function markdownOf({ date, commit, machine, benches }: Report): string {
  const { cpu, cores, memoryGb, syncMs, node, workerd } = machine;
  const rows = Object.values(benches).flatMap((figures) =>
    figures.map((figure) => markdownRow([...cells(figure), figure.note ?? ""])),
  );
  return [
    BEGIN,
    `${date}, commit ${commit}; ${cores} × ${cpu}, ${memoryGb} GB, ${number(syncMs)} ms for one fdatasync; Node ${node}, workerd ${workerd}.`,
    "",
    markdownRow([...HEAD, "how"]),
    markdownRow([...HEAD, "how"].map(() => "---")),
    ...rows,
    END,
  ].join("\n");
}

/** Writes the figures into the docs. Benches that did not run now keep what they gave before. */
export function writeDocs(report: Report): void {
  const before = existsSync(FIGURES_FILE)
    ? (JSON.parse(readFileSync(FIGURES_FILE, "utf8")) as Report)
    : undefined;
  const whole: Report = { ...report, benches: { ...before?.benches, ...report.benches } };
  writeFileSync(FIGURES_FILE, `${JSON.stringify(whole, null, 2)}\n`);
  const text = readFileSync(DOCS_FILE, "utf8");
  const start = text.indexOf(BEGIN);
  const end = text.indexOf(END);
  if (start < 0 || end < start) throw new Error(`${DOCS_FILE} has lost the marks around its figures`);
  writeFileSync(DOCS_FILE, text.slice(0, start) + markdownOf(whole) + text.slice(end + END.length));
}
