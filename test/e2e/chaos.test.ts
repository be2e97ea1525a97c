// A short run of `npm run chaos`: every part killed once, each cluster's storage lost once, four ledgers agree.

import { spawn } from "node:child_process";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { PROJECT_ROOT } from "../../scripts/stack/files.ts";

const TEST_TIMEOUT_MS = 600_000;

describe("load while everything is killed once", () => {
  it(
    "ends with nothing lost, doubled, disagreeing or stuck",
    async () => {
      const child = spawn(
        process.execPath,
        [join(PROJECT_ROOT, "scripts/chaos.ts"), "--requests", "60", "--kills", "1", "--people", "4"],
        { stdio: ["ignore", "pipe", "pipe"] },
      );
      let output = "";
      for (const stream of [child.stdout, child.stderr])
        stream.setEncoding("utf8").on("data", (text: string) => {
          output += text;
        });
      const code = await new Promise((resolve) => child.once("close", resolve));
      expect(output).toMatch(/lost +0\ndoubled +0\ndisagreeing +0\nstuck +0/);
      expect(output).toContain("through 8 kills");
      expect(code).toBe(0);
    },
    TEST_TIMEOUT_MS,
  );
});
