// Settings, secrets and bindings of one environment of wrangler.toml, before anything is deployed.

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseEnv } from "node:util";
import { type Config, ConfigError, configOf } from "../../src/config.ts";
import type { Env } from "../../src/env.ts";
import { PROJECT_ROOT } from "../stack/files.ts";
import { type Finding, ok, problem, warning } from "./finding.ts";

/** Secrets a deployment cannot do without, and where each comes from. */
const KEYS_MEND = "`npm run keys` makes them all at once";
const REQUIRED_SECRETS: { [name: string]: string } = {
  SERVICE_SIGNING_KEY: KEYS_MEND,
  SERVICE_ENCRYPTION_KEY: KEYS_MEND,
  AUDIT_LOG_KEY: KEYS_MEND,
  WEBHOOK_SIGNING_KEY: KEYS_MEND,
  VAULT_KEK: KEYS_MEND,
  BOOTSTRAP_API_KEY: KEYS_MEND,
  SERVICESPACE_CREDS: "the bridge's .creds file from your NATS operator",
  SERVICESPACE_USERS_SIGNING_SEED: "a signing seed (SA…) of the users' account from your NATS operator",
  MESSAGESPACE_CREDS: "the .creds file the platform gave this service",
};

const OBJECTS = {
  USER_CONNECTION: "UserConnection",
  NATS_BRIDGE: "NatsBridge",
  DIRECTORY: "Directory",
  JOURNAL: "Journal",
  AUDIT_LOG: "AuditLog",
};
const BUCKET = "AUDIT_R2";
const RATE_LIMITS = ["PUBLIC_RATE_LIMIT", "LOG_RATE_LIMIT"];
const PLACEHOLDER = /\bexample\.(?:com|org|net)\b/;
/** Settings that are addresses, which the samples in wrangler.toml leave to be replaced. */
const ADDRESSES = ["PUBLIC_URL", "SERVICESPACE_URL", "SERVICESPACE_PUBLIC_ENDPOINT", "MESSAGESPACE_URL"];

/** What wrangler.toml says of an environment, as far as it is looked at here. */
export interface Deployment {
  environment: string | undefined;
  vars: { [name: string]: unknown };
  objects: { name: string; class_name: string }[];
  buckets: { binding: string; bucket_name?: string }[];
  rateLimits: { name: string; namespace_id: string }[];
  crons: string[];
}

/** Reads it as wrangler will. Throws when there is no such environment. */
export async function readDeployment(environment: string | undefined): Promise<Deployment> {
  // Loaded only here: wrangler takes half a second to import.
  const { unstable_readConfig } = await import("wrangler");
  const path = join(PROJECT_ROOT, "wrangler.toml");
  if (environment !== undefined && !environmentNames().includes(environment))
    throw new Error(`wrangler.toml has no [env.${environment}]: it has ${environmentNames().join(", ")}`);
  const config = unstable_readConfig({
    config: path,
    ...(environment !== undefined && { env: environment }),
  });
  return {
    environment,
    vars: config.vars,
    objects: config.durable_objects.bindings,
    buckets: config.r2_buckets as Deployment["buckets"],
    rateLimits: config.ratelimits as Deployment["rateLimits"],
    crons: config.triggers.crons ?? [],
  };
}

/** The names behind `[env.…]` in wrangler.toml. */
export const environmentNames = (): string[] =>
  [...readFileSync(join(PROJECT_ROOT, "wrangler.toml"), "utf8").matchAll(/^\[env\.([\w-]+)\]$/gm)].map(
    ([, name]) => name!,
  );

/** Secrets from a file, JSON as `npm run keys -- --out` writes it or NAME=value lines. Throws with the reason. */
export function readSecrets(file: string): { [name: string]: string } {
  if (!existsSync(file)) throw new Error(`there is no ${file}`);
  const text = readFileSync(file, "utf8");
  // In double quotes \n is a line's end, which .creds files have.
  if (!text.trimStart().startsWith("{")) return parseEnv(text) as { [name: string]: string };
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${file} begins like JSON and is none`);
  }
}

/** What runs `wrangler`; undefined when it failed. Replaced by tests: there is no account to ask. */
export type Wrangler = (args: string[]) => string | undefined;

export const runWrangler: Wrangler = (args) => {
  const wrangler = join(PROJECT_ROOT, "node_modules", "wrangler", "bin", "wrangler.js");
  const { status, stdout } = spawnSync(process.execPath, [wrangler, ...args], {
    cwd: PROJECT_ROOT,
    encoding: "utf8",
    env: { ...process.env, WRANGLER_SEND_METRICS: "false", WRANGLER_HIDE_BANNER: "true", CI: "true" },
    stdio: ["ignore", "pipe", "ignore"],
    timeout: 60_000,
  });
  return status === 0 ? stdout : undefined;
};

const environmentFlag = (environment: string | undefined): string =>
  environment === undefined ? "" : ` --env ${environment}`;

/** The names of the secrets the account holds; undefined when it cannot be asked. */
export function secretsOnAccount(
  environment: string | undefined,
  wrangler: Wrangler,
): Set<string> | undefined {
  const env = environment === undefined ? [] : ["--env", environment];
  const listed = wrangler(["secret", "list", "--format", "json", ...env]);
  if (listed === undefined) return undefined;
  try {
    return new Set((JSON.parse(listed) as { name: string }[]).map(({ name }) => name));
  } catch {
    return undefined;
  }
}

/**
 * Settings and secrets by the rules the Worker applies. With every value at hand the parsed settings come along; a
 * secret that only the account has is named, and what hangs on its value is left open.
 */
export async function checkSettings(
  { environment, vars }: Deployment,
  secrets: { [name: string]: string },
  account: Set<string> | undefined,
): Promise<{ findings: Finding[]; config?: Config }> {
  const values: { [name: string]: unknown } = { ...vars, ...secrets };
  const flag = environmentFlag(environment);
  const onAccountOnly = Object.keys(REQUIRED_SECRETS).filter(
    (name) => values[name] === undefined && account?.has(name) === true,
  );
  const mendOf = (name: string): string => {
    const source = REQUIRED_SECRETS[name];
    if (source !== undefined)
      return `${source}; set it: npx wrangler secret put ${name}${flag}, and give the check its value with --secrets <file>`;
    const table = environment === undefined ? "[vars]" : `[env.${environment}.vars]`;
    return `set ${name} under ${table} in wrangler.toml; src/config.ts says what it must be`;
  };
  const findings: Finding[] = [];
  let config: Config | undefined;
  try {
    config = await configOf(values as unknown as Env);
    findings.push(ok("settings", "every setting and secret is there and well-formed"));
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    for (const text of error.problems) {
      const name = /^\w+/.exec(text)?.[0] ?? "";
      if (!onAccountOnly.includes(name)) findings.push(problem("settings", text, mendOf(name)));
    }
  }
  if (onAccountOnly.length > 0)
    findings.push(
      warning(
        "settings",
        `set on the account, values not at hand and so not checked: ${onAccountOnly.join(", ")}`,
        "give their values with --secrets <file> to have them and the clusters checked",
      ),
    );
  const missingThere = Object.keys(REQUIRED_SECRETS).filter((name) => account?.has(name) === false);
  if (account === undefined)
    findings.push(
      warning(
        "account",
        "Cloudflare was not asked which secrets are set: not signed in, no such Worker yet, or no network",
        `npx wrangler login, then npx wrangler secret list${flag}`,
      ),
    );
  else if (missingThere.length > 0)
    findings.push(
      problem(
        "account",
        `not set there: ${missingThere.join(", ")}`,
        `npx wrangler secret bulk <file>${flag}, or npx wrangler secret put <name>${flag}`,
      ),
    );
  else findings.push(ok("account", "every secret is set"));
  return config === undefined ? { findings } : { findings, config };
}

/** What only a deployment outside this machine must have. */
export function checkEnvironment({ environment, vars }: Deployment): Finding[] {
  if (environment === undefined) return [];
  const about = "environment";
  const table = `[env.${environment}.vars]`;
  const findings: Finding[] = [];
  if (vars.ENVIRONMENT !== environment)
    findings.push(
      problem(
        about,
        `ENVIRONMENT is ${vars.ENVIRONMENT}, not ${environment}: API keys name it`,
        `set ENVIRONMENT = "${environment}" under ${table}`,
      ),
    );
  for (const name of ADDRESSES) {
    const value = String(vars[name] ?? "");
    if (PLACEHOLDER.test(value))
      findings.push(
        problem(about, `${name} is still the sample's address`, `set it under ${table} to your own`),
      );
    else if (/^(?:http|ws|nats):/.test(value))
      findings.push(problem(about, `${name} is not encrypted on its way`, "use https://, wss:// or tls://"));
  }
  return findings.length > 0 ? findings : [ok(about, "addresses are encrypted and your own")];
}

/** Bindings and what they name. */
export function checkBindings(deployment: Deployment, wrangler: Wrangler): Finding[] {
  const { environment, objects, buckets, rateLimits, crons } = deployment;
  const about = "bindings";
  const repeat = "environments inherit no bindings: repeat it as at the top of wrangler.toml";
  const findings: Finding[] = [];
  for (const [name, className] of Object.entries(OBJECTS))
    if (!objects.some((binding) => binding.name === name && binding.class_name === className))
      findings.push(problem(about, `no Durable Object binding ${name} to ${className}`, repeat));
  const bucket = buckets.find(({ binding }) => binding === BUCKET)?.bucket_name;
  if (bucket === undefined)
    findings.push(problem(about, `no R2 bucket is named for ${BUCKET}, the published audit log`, repeat));
  for (const limit of RATE_LIMITS)
    if (!rateLimits.some(({ name }) => name === limit))
      findings.push(problem(about, `no rate limit ${limit}: public endpoints would fail`, repeat));
  if (crons.length === 0)
    findings.push(
      problem(about, "no cron: after a deploy nothing wakes the bridges", 'set crons = ["* * * * *"]'),
    );
  if (findings.length === 0) findings.push(ok(about, "objects, bucket, rate limit and cron are bound"));
  if (environment !== undefined && bucket !== undefined) {
    const listed = wrangler(["r2", "bucket", "list"]);
    if (listed !== undefined && !new RegExp(`^name:\\s+${bucket}$`, "m").test(listed))
      findings.push(
        problem("account", `there is no R2 bucket ${bucket}`, `npx wrangler r2 bucket create ${bucket}`),
      );
  }
  return findings;
}
