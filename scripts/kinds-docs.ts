// Keeps docs/KINDS.md in step with the code: the table of kinds, and the sources it quotes. Run it after a change of
// the registry; the test says when that was forgotten.

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Kind, KindOperation } from "../src/requests/kind.ts";
import { customKind } from "../src/requests/kinds/custom.ts";
import { askEventType, kinds, resourceOf, resourcesOf } from "../src/requests/registry.ts";

const ROOT = new URL("../", import.meta.url);
export const KINDS_DOC = fileURLToPath(new URL("docs/KINDS.md", ROOT));

const code = (text: string): string => `\`${text}\``;
const list = (texts: readonly string[]): string => texts.map(code).join("<br>");

/** A duration as a person reads it; whole units only, so nothing is rounded away. */
function duration(seconds: number): string {
  for (const [unit, size] of [
    ["d", 86_400],
    ["h", 3_600],
    ["min", 60],
  ] as const)
    if (seconds >= size && seconds % size === 0) return `${seconds / size} ${unit}`;
  return `${seconds} s`;
}

function eventOf(kind: Kind, operation: KindOperation): string {
  const type =
    kind.eventTypeTail === undefined
      ? askEventType(kind, operation.example)
      : `${kind.eventType ?? kind.name}.*`;
  const named = kind.operations.length > 1 && operation.unnamed !== true;
  return named ? `${code(type)}, ${operation.name}` : code(type);
}

function answerOf(operation: KindOperation): string {
  if (operation.unanswered === true) return "none";
  if (operation.result === undefined) return "the approval";
  return operation.sharesValue === true ? "a shared value" : "a result";
}

function rowOf(kind: Kind, operation: KindOperation): string {
  const { getPath } = resourceOf(kind, operation.name);
  const { method = "post", path, joinPath } = operation;
  return `| ${[
    list([`${method.toUpperCase()} ${path}`, ...(joinPath === undefined ? [] : [`GET ${joinPath}`])]),
    code(`${getPath}/{id}`),
    eventOf(kind, operation),
    list(operation.capabilities),
    answerOf(operation),
    `${duration(operation.defaultExpirySeconds)} + ${duration(operation.defaultGraceSeconds)}`,
  ].join(" | ")} |`;
}

/** One row for each operation of each kind, and what the backend may do to its requests. */
export function kindsTable(): string {
  const all = [...kinds, customKind("{name}")];
  const rows = all.flatMap((kind) => kind.operations.map((operation) => rowOf(kind, operation)));
  const actions = all.flatMap((kind) =>
    resourcesOf(kind).flatMap(({ getPath, machine }) =>
      Object.entries(machine?.actions ?? {}).map(
        ([name, { summary, scope, method }]) =>
          `| ${code(method === "delete" ? `DELETE ${getPath}/{id}` : `POST ${getPath}/{id}/${name}`)} | ${code(scope)} | ${summary} |`,
      ),
    ),
  );
  return [
    "| ask | read | to the user | capability | answered by | expires + grace |",
    "|---|---|---|---|---|---|",
    ...rows,
    "",
    "| action | scope | |",
    "|---|---|---|",
    ...actions,
  ].join("\n");
}

const BLOCK = /(<!-- (table|source: (\S+)) -->\n)[\s\S]*?(<!-- end -->)/g;

/** The document with everything generated in it made anew. */
export const refreshed = (document: string): string =>
  document.replace(BLOCK, (_, begin: string, what: string, path: string | undefined, end: string) => {
    const content =
      what === "table"
        ? kindsTable()
        : `\`\`\`ts\n${readFileSync(new URL(path!, ROOT), "utf8").trimEnd()}\n\`\`\``;
    return `${begin}\n${content}\n\n${end}`;
  });

if (process.argv[1] === fileURLToPath(import.meta.url))
  writeFileSync(KINDS_DOC, refreshed(readFileSync(KINDS_DOC, "utf8")));
