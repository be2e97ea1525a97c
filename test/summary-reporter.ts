// Ends a run with one plain line for scripts to read: `tests: N passed, N failed, N skipped`.

import { writeFileSync } from "node:fs";
import type { SerializedError } from "vitest";
import type { Reporter, TestModule } from "vitest/node";

/** Counts what the runner reports; also written to the file named by TEST_SUMMARY_FILE. */
export default class SummaryReporter implements Reporter {
  /** Called by the runner when everything is over. */
  onTestRunEnd(modules: readonly TestModule[], errors: readonly SerializedError[]): void {
    const count = { passed: 0, failed: 0, skipped: 0 };
    for (const module of modules) {
      let failedInside = 0;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        // A test still pending was never finished: that is no pass.
        const outcome = state === "pending" ? "failed" : state;
        count[outcome]++;
        if (outcome === "failed") failedInside++;
      }
      // A file that could not be loaded, or a hook of it that threw, has no failing test to count.
      if (module.state() === "failed" && failedInside === 0) count.failed++;
    }
    // Errors outside any test fail the run as well.
    count.failed += errors.length;
    const line = `tests: ${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`;
    if (process.env.TEST_SUMMARY_FILE) writeFileSync(process.env.TEST_SUMMARY_FILE, `${line}\n`);
    process.stdout.write(`${line}\n`);
  }
}
