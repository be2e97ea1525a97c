import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { KINDS_DOC, kindsTable, refreshed } from "../../../scripts/kinds-docs.ts";
import { kinds } from "../../../src/requests/registry.ts";

describe("docs/KINDS.md", () => {
  const document = readFileSync(KINDS_DOC, "utf8");

  it("has the table and the sources as they are (node scripts/kinds-docs.ts makes them anew)", () => {
    expect(refreshed(document)).toBe(document);
  });

  it("names every operation of every kind, and every capability", () => {
    const table = kindsTable();
    for (const { operations } of kinds)
      for (const { path, capabilities } of operations)
        for (const named of [path, ...capabilities]) expect(table).toContain(named);
  });
});
