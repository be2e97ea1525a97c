// Runs an example against the stack of `npm run dev`: its address and key are in .dev/stack.json.
//
//   npm run example -- shop | support | subscription

import { existsSync } from "node:fs";
import { registerHooks } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { PROJECT_ROOT, readJsonFile } from "./stack/files.ts";

const EXAMPLES = ["shop", "support", "subscription"];
const STACK_FILE = join(".dev", "stack.json");

const [name = "", ...rest] = process.argv.slice(2);
if (!EXAMPLES.includes(name) || rest.length > 0) {
  console.error(`example: npm run example -- <name>, one of ${EXAMPLES.join(", ")}`);
  process.exit(2);
}
if (process.env.VAULT_URL === undefined) {
  const file = existsSync(STACK_FILE) ? STACK_FILE : join(PROJECT_ROOT, STACK_FILE);
  const stack = readJsonFile<{ base_url: string; admin_api_key: string }>(file);
  if (stack === undefined) {
    console.error("example: start the stack first, in another terminal: npm run dev");
    process.exit(1);
  }
  process.env.VAULT_URL = stack.base_url;
  process.env.VAULT_API_KEY = stack.admin_api_key;
}

// The package by its name, as a customer's own project has it installed.
const sdk = pathToFileURL(join(PROJECT_ROOT, "sdk", "typescript", "src", "index.ts")).href;
registerHooks({
  resolve: (specifier, context, next) =>
    specifier === "@vettid/service-vault" ? { url: sdk, shortCircuit: true } : next(specifier, context),
});
const server = join(PROJECT_ROOT, "examples", name, "server.ts");
const { [name]: make } = (await import(pathToFileURL(server).href)) as Record<string, never>;
const { start } = await import(pathToFileURL(join(PROJECT_ROOT, "examples", "start.ts")).href);
await start(make, 3_001 + EXAMPLES.indexOf(name));
