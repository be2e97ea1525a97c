// Keeps the table of docs/FAULTS.md in step with src/fault-points.ts. Run it after a change there; the test says when
// that was forgotten.

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { FAULT_POINTS, type FaultRow, TESTED_ELSEWHERE } from "../src/fault-points.ts";

export const FAULTS_DOC = fileURLToPath(new URL("../docs/FAULTS.md", import.meta.url));

const rowOf = (name: string, { file, does, before, after, crash, repairedBy }: FaultRow): string =>
  `| ${[name, does, before, after, crash, repairedBy, `\`${file}\``].join(" | ")} |`;

export function faultsTable(): string {
  return [
    "| place | what it does | durable before | durable after | what a crash means | repaired by | in |",
    "|---|---|---|---|---|---|---|",
    ...Object.entries(FAULT_POINTS).map(([name, row]) => rowOf(`\`${name}\``, row)),
    "",
    "Places that other tests let fail, by what they are given in their place:",
    "",
    "| test | what it does | durable before | durable after | what a crash means | repaired by | in |",
    "|---|---|---|---|---|---|---|",
    ...TESTED_ELSEWHERE.map((row) => rowOf(`${row.test.file}: \u201c${row.test.title}\u201d`, row)),
  ].join("\n");
}

/** The document with the table made anew. */
export const refreshed = (document: string): string =>
  document.replace(
    /(<!-- table -->\n)[\s\S]*?(<!-- end -->)/,
    (_, begin: string, end: string) => `${begin}\n${faultsTable()}\n\n${end}`,
  );

if (process.argv[1] === fileURLToPath(import.meta.url))
  writeFileSync(FAULTS_DOC, refreshed(readFileSync(FAULTS_DOC, "utf8")));
