// What a check before a deployment found, and what to do about it.

export type Finding =
  | { level: "ok"; about: string; says: string }
  /** `warning`: it will run, and someone should know; `problem`: it will not, or not safely. */
  | { level: "warning" | "problem"; about: string; says: string; todo: string };

export const ok = (about: string, says: string): Finding => ({ level: "ok", about, says });
export const warning = (about: string, says: string, todo: string): Finding => ({
  level: "warning",
  about,
  says,
  todo,
});
export const problem = (about: string, says: string, todo: string): Finding => ({
  level: "problem",
  about,
  says,
  todo,
});

const MARK = { ok: "✓", warning: "!", problem: "✗" } as const;

/** As lines for a terminal. */
export const shown = (finding: Finding): string =>
  [
    `${MARK[finding.level]} ${finding.about}: ${finding.says}`,
    ...(finding.level === "ok" ? [] : [`    → ${finding.todo}`]),
  ].join("\n");
