// Hands the published cases of Wycheproof to the tests inside workerd, which read no files. They are found through
// VECTORS_DIR and are not a part of the project; without the variable those tests are skipped.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { TestProject } from "vitest/node";

export interface WycheproofCase {
  tcId: number;
  comment: string;
  flags?: string[];
  result: "valid" | "invalid" | "acceptable";
  /** Inputs and outputs, in hex; `size` of HKDF is a number. */
  [field: string]: unknown;
}

export interface WycheproofFile {
  numberOfTests: number;
  testGroups: { tests: WycheproofCase[]; publicKey?: { pk: string }; tagSize?: number }[];
}

const FILES = ["ed25519", "x25519", "xchacha20_poly1305", "hkdf_sha256", "hmac_sha256"] as const;
export type Wycheproof = Record<(typeof FILES)[number], WycheproofFile>;

declare module "vitest" {
  interface ProvidedContext {
    /** null when VECTORS_DIR is not set. */
    wycheproof: Wycheproof | null;
  }
}

/** Called by the runner before the first test. */
export default function setup(project: TestProject): void {
  const folder = process.env.VECTORS_DIR;
  if (!folder) {
    project.provide("wycheproof", null);
    return;
  }
  const read = (name: string) =>
    JSON.parse(readFileSync(join(folder, "wycheproof", `${name}_test.json`), "utf8")) as WycheproofFile;
  project.provide(
    "wycheproof",
    Object.fromEntries(FILES.map((name) => [name, read(name)])) as unknown as Wycheproof,
  );
}
