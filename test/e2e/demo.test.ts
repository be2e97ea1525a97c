// `npm run demo -- --all` as a person would run it: it must end with 0, and its table must name every kind.

import { execFile } from "node:child_process";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { PROJECT_ROOT } from "../../scripts/stack/files.ts";
import { kinds } from "../../src/requests/registry.ts";

const TEST_TIMEOUT_MS = 180_000;

describe("the demo of every kind", () => {
  it(
    "ends well, and leaves none out",
    async () => {
      const output = await new Promise<string>((resolve, reject) => {
        execFile(
          process.execPath,
          [join(PROJECT_ROOT, "scripts/demo.ts"), "--all"],
          (error, stdout, stderr) =>
            error === null ? resolve(stdout) : reject(new Error(`${stdout}\n${stderr}`)),
        );
      });
      for (const { name, operations } of kinds)
        for (const operation of operations)
          expect(output).toContain(operations.length > 1 ? `${name}.${operation.name} ` : `${name} `);
      expect(output).toContain("All of it held.");
    },
    TEST_TIMEOUT_MS,
  );
});
