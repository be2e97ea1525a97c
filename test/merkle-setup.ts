// Hands the published proofs of the transparency-dev Merkle tests to the tests inside workerd, which read no files.
// They are found through VECTORS_DIR and are not a part of the project; without the variable those tests are skipped.

import { readdirSync, readFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import type { TestProject } from "vitest/node";

export interface MerkleFile {
  /** Below `testdata`, with slashes. */
  path: string;
  /** JSON. */
  text: string;
}

declare module "vitest" {
  interface ProvidedContext {
    /** null when VECTORS_DIR is not set. */
    merkle: MerkleFile[] | null;
  }
}

/** Called by the runner before the first test. */
export default function setup(project: TestProject): void {
  const folder = process.env.VECTORS_DIR;
  if (!folder) {
    project.provide("merkle", null);
    return;
  }
  const root = join(folder, "merkle", "testdata");
  const files = readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  project.provide(
    "merkle",
    files.map((file) => ({
      path: relative(root, file).split(sep).join("/"),
      text: readFileSync(file, "utf8"),
    })),
  );
}
