// Three kinds of tests: pure ones in Node, ones inside workerd, and ones against the whole stack.

import { resolve } from "node:path";
import { cloudflareTest } from "@cloudflare/vitest-pool-workers";
import { defineConfig, type TestProjectConfiguration } from "vitest/config";
// Both name what the set-ups provide.
import type {} from "./test/discovery-setup.ts";
import type {} from "./test/global-setup.ts";

// Neither the tests nor the build talk to Cloudflare.
process.env.CLOUDFLARE_CF_FETCH_ENABLED ??= "false";
process.env.WRANGLER_SEND_METRICS ??= "false";
process.env.WRANGLER_WRITE_LOGS ??= "false";

/** Far above what any of them takes: a busy machine is no failure. */
const UNIT_TEST_TIMEOUT_MS = 30_000;
const WORKERD_TEST_TIMEOUT_MS = 20_000;
const E2E_TEST_TIMEOUT_MS = 60_000;
/** Starting two clusters and the Worker happens in hooks. */
const E2E_HOOK_TIMEOUT_MS = 60_000;
/**
 * Test files at once, of those that run servers: most of their time is waiting (for an expiry, a broker that comes
 * back, a pause before a repeat), so more of them than cores finish sooner. Each has a stack or a Worker of its own.
 */
const MAX_STACKS = 4;

const FAULTS_TEST = "test/workerd/faults.test.ts";

/** Every place that can break, broken; FAULTS=all also without anything dying, which takes twice as long. */
const faults = {
  plugins: [
    cloudflareTest(({ inject }) => ({
      wrangler: { configPath: "./wrangler.toml" },
      miniflare: { bindings: inject("workerBindings") },
    })),
  ],
  test: {
    name: "faults",
    include: [FAULTS_TEST],
    // Clusters of its own: what users send goes through its bridge.
    globalSetup: ["./test/global-setup.ts", "./test/webhook-receiver-setup.ts"],
    testTimeout: WORKERD_TEST_TIMEOUT_MS,
    maxWorkers: MAX_STACKS,
    sequence: { groupOrder: 1 },
  },
} satisfies TestProjectConfiguration;

export default defineConfig({
  test: {
    reporters: ["default", "./test/summary-reporter.ts"],
    // The Worker logs every call: of interest where a test fails.
    silent: "passed-only",
    projects: [
      {
        test: {
          name: "unit",
          testTimeout: UNIT_TEST_TIMEOUT_MS,
          environment: "node",
          include: ["test/unit/**/*.test.{ts,tsx}"],
        },
      },
      {
        plugins: [
          cloudflareTest(({ inject }) => ({
            wrangler: { configPath: "./wrangler.toml" },
            miniflare: {
              bindings: {
                ...inject("workerBindings"),
                SERVICE_DOMAIN: "shop.example",
                DOH_RESOLVERS: inject("dohResolvers"),
              },
            },
          })),
        ],
        test: {
          name: "workerd",
          include: ["test/workerd/**/*.test.{ts,tsx}"],
          exclude: [FAULTS_TEST],
          globalSetup: [
            "./test/global-setup.ts",
            "./test/wycheproof-setup.ts",
            "./test/merkle-setup.ts",
            "./test/witness-setup.ts",
            "./test/webhook-receiver-setup.ts",
            "./test/discovery-setup.ts",
          ],
          testTimeout: WORKERD_TEST_TIMEOUT_MS,
          // All files share one pair of clusters: none of them publishes what users send, so no bridge of one file
          // takes messages meant for another's. Tests that do are end-to-end ones, with clusters of their own.
          maxWorkers: MAX_STACKS,
          sequence: { groupOrder: 1 },
        },
      },
      faults,
      {
        test: {
          name: "e2e",
          // The examples name the package as a customer's project does.
          alias: { "@vettid/service-vault": resolve("sdk/typescript/src/index.ts") },
          pool: "forks",
          include: ["test/e2e/**/*.test.{ts,tsx}"],
          setupFiles: ["./test/e2e/support/described-answers.ts"],
          testTimeout: E2E_TEST_TIMEOUT_MS,
          hookTimeout: E2E_HOOK_TIMEOUT_MS,
          maxWorkers: MAX_STACKS,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
