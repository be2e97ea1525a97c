// The package: in step with the routes, on its own feet, and small where little is taken of it.

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildSdk } from "../../../scripts/sdk-build.ts";
import { generatedFiles } from "../../../scripts/sdk-generate.ts";
import { VERSION } from "../../../src/http/version.ts";

const BUILD_TIMEOUT_MS = 120_000;

/** Minified, what a receiver of webhooks adds to its bundle. */
const MAX_VERIFY_WEBHOOK_BYTES = 12_000;
/** The client without verification. */
const MAX_CLIENT_BYTES = 25_000;
/** Everything. */
const MAX_PACKAGE_BYTES = 100_000;

let dir: string;
let built: string;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "sdk-package-"));
  built = join(dir, "built");
  await buildSdk(built);
  mkdirSync(join(dir, "node_modules", "@vettid"), { recursive: true });
  symlinkSync(built, join(dir, "node_modules", "@vettid", "service-vault"));
}, BUILD_TIMEOUT_MS);

afterAll(() => rmSync(dir, { recursive: true, force: true }));

const files = (ending: string): string[] =>
  readdirSync(join(built, "dist"), { recursive: true, encoding: "utf8" }).filter((name) =>
    name.endsWith(ending),
  );

/** What a bundler makes of a program, for a runtime that has nothing of its own. */
async function bundled(contents: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: dir },
    bundle: true,
    minify: true,
    format: "esm",
    platform: "neutral",
    write: false,
    logLevel: "error",
  });
  return outputFiles[0]!.text;
}

describe("what is generated", () => {
  it(
    "is what the routes say now; if not: npm run sdk",
    async () => {
      for (const { path, text } of await generatedFiles())
        expect(readFileSync(path, "utf8") === text, path).toBe(true);
    },
    BUILD_TIMEOUT_MS,
  );
});

describe("the built package", () => {
  it("depends on nothing, at run time and in its types", () => {
    const manifest = JSON.parse(readFileSync(join(built, "package.json"), "utf8"));
    expect(manifest).toMatchObject({
      name: "@vettid/service-vault",
      license: "AGPL-3.0-only",
      type: "module",
      sideEffects: false,
      version: VERSION,
    });
    for (const field of ["dependencies", "peerDependencies", "optionalDependencies"])
      expect(manifest).not.toHaveProperty(field);
    for (const name of [...files(".js"), ...files(".d.ts")]) {
      const text = readFileSync(join(built, "dist", name), "utf8");
      // Not the end of a name like "state.import".
      for (const [, from] of text.matchAll(/(?<![.\w])(?:from\s*|import\s*\(?\s*)"([^"]+)"/g))
        expect(from, name).toMatch(/^\.\.?\//);
    }
  });

  it("has none of zod in it, nor of the vault's server", () => {
    for (const name of files(".js")) {
      const text = readFileSync(join(built, "dist", name), "utf8");
      expect(/ZodError|_zod|hono|nats\.ws|DurableObject/.exec(text)?.[0], name).toBeUndefined();
    }
  });

  it("brings the licences of what is bundled in", () => {
    const notices = readFileSync(join(built, "THIRD_PARTY_NOTICES.md"), "utf8");
    for (const name of ["@noble/curves", "@noble/hashes", "@scure/base", "bs58", "canonicalize"])
      expect(notices).toContain(`## ${name} `);
    expect(readFileSync(join(built, "LICENSE"), "utf8")).toContain("AFFERO");
  });

  it.each([
    ["verifyWebhook", MAX_VERIFY_WEBHOOK_BYTES],
    ["ServiceVault", MAX_CLIENT_BYTES],
  ])("adds little where only %s is imported", async (name, limit) => {
    const text = await bundled(`export { ${name} } from "@vettid/service-vault";`);
    expect(text.length).toBeLessThan(limit);
    expect(text.length).toBeGreaterThan(1_000);
  });

  it("is small as a whole, and nothing where nothing is imported", async () => {
    expect((await bundled('export * from "@vettid/service-vault";')).length).toBeLessThan(MAX_PACKAGE_BYTES);
    expect(await bundled('import "@vettid/service-vault";')).toBe("");
  });
});
