// The guard on the bundle: every byte is parsed at each cold start.

import { expect, it } from "vitest";
import { bundleBytes } from "../../scripts/bench/cold.ts";
import { ensureBundle } from "../../scripts/stack/bundle.ts";
import budget from "../budget.json" with { type: "json" };

it("the bundle is no larger than recorded in test/budget.json", async () => {
  expect(bundleBytes(await ensureBundle()).gzip).toBeLessThanOrEqual(budget.bundle_gzip_bytes);
});
