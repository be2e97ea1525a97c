// Writes what is generated from the routes, the client's types and docs/API.md: `npm run sdk`, after a route or a kind has changed.

import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { apiDocument } from "./sdk/api-doc.ts";
import { generate } from "./sdk/generate.ts";
import { readSurface } from "./sdk/surface.ts";
import { PROJECT_ROOT } from "./stack/files.ts";

const GENERATED = join(PROJECT_ROOT, "sdk", "typescript", "src", "generated");

/** The text as this project formats code. */
function formatted(name: string, text: string): string {
  const biome = join(PROJECT_ROOT, "node_modules", ".bin", "biome");
  const { status, stdout, stderr } = spawnSync(
    biome,
    ["format", `--stdin-file-path=${join(GENERATED, name)}`],
    {
      cwd: PROJECT_ROOT,
      input: text,
      encoding: "utf8",
      maxBuffer: 64 * 1_024 * 1_024,
    },
  );
  if (status !== 0) throw new Error(`biome cannot format ${name}: ${stderr}`);
  return stdout;
}

/** Each file with what should be in it. */
export async function generatedFiles(): Promise<{ path: string; text: string }[]> {
  const surface = await readSurface();
  const { types, operations } = generate(surface);
  return [
    ...Object.entries({ "types.ts": types, "operations.ts": operations }).map(([name, text]) => ({
      path: join(GENERATED, name),
      text: formatted(name, text),
    })),
    { path: join(PROJECT_ROOT, "docs", "API.md"), text: apiDocument(surface) },
  ];
}

if (import.meta.main) {
  for (const { path, text } of await generatedFiles()) {
    let before = "";
    try {
      before = readFileSync(path, "utf8");
    } catch {}
    if (before === text) continue;
    writeFileSync(path, text);
    console.log(`written: ${path}`);
  }
}
