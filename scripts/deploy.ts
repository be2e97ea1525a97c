// Deploys to Cloudflare, after looking whether it can work: settings and secrets, bindings, both clusters.
//
//   npm run deploy -- [--env staging|production] [--secrets <file>] [--check]

import { spawn } from "node:child_process";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { checkClusters } from "./deploy/clusters.ts";
import { type Finding, problem, shown, warning } from "./deploy/finding.ts";
import {
  checkBindings,
  checkEnvironment,
  checkSettings,
  readDeployment,
  readSecrets,
  runWrangler,
  secretsOnAccount,
  type Wrangler,
} from "./deploy/settings.ts";
import { PROJECT_ROOT } from "./stack/files.ts";

const HELP = `Checks a deployment, then deploys it.

  npm run deploy -- [options]

  --env <name>        the environment of wrangler.toml: staging, production
  --check             only check; nothing is changed anywhere
  --secrets <file>    the secrets' values, JSON or NAME=value lines, as \`npm run keys -- --out\` writes them:
                      Cloudflare does not give them back, and without them the clusters cannot be checked
  --offline           do not ask Cloudflare

Without --secrets, values are taken from this process's environment where it has them.
Exit code 0: nothing in the way. 1: something is; nothing was deployed. 2: it could not look.`;

const EXIT_PROBLEM = 1;
const EXIT_USAGE = 2;

/** Everything there is to find out before a deployment. */
export async function checkDeployment(options: {
  environment: string | undefined;
  secrets: { [name: string]: string };
  wrangler: Wrangler;
}): Promise<Finding[]> {
  const { environment, secrets, wrangler } = options;
  const deployment = await readDeployment(environment);
  const account = secretsOnAccount(environment, wrangler);
  const { findings, config } = await checkSettings(deployment, secrets, account);
  findings.unshift(...checkEnvironment(deployment));
  findings.push(...checkBindings(deployment, wrangler));
  const seed = secrets.SERVICESPACE_USERS_SIGNING_SEED;
  if (config !== undefined && seed !== undefined) findings.push(...(await checkClusters(config, seed)));
  else
    findings.push(
      warning(
        "clusters",
        "not checked: that needs every setting and secret",
        "mend the settings, and give the secrets' values with --secrets <file>",
      ),
    );
  return findings;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      env: { type: "string" },
      check: { type: "boolean", default: false },
      secrets: { type: "string" },
      offline: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const secrets = values.secrets === undefined ? ownEnvironment() : readSecrets(values.secrets);
  const wrangler: Wrangler = values.offline ? () => undefined : runWrangler;
  const findings = await checkDeployment({ environment: values.env, secrets, wrangler });
  if (values.env === undefined && !values.check)
    findings.push(
      problem("environment", "the top of wrangler.toml is for this machine", "name one with --env"),
    );
  for (const finding of findings) console.log(shown(finding));
  const problems = findings.filter(({ level }) => level === "problem").length;
  if (problems > 0) {
    console.log(`\n${problems} in the way${values.check ? "" : "; nothing was deployed"}.`);
    return EXIT_PROBLEM;
  }
  console.log("\nNothing in the way.");
  return values.check || values.env === undefined ? 0 : deploy(values.env);
}

/** Secrets as variables, where there is no file: what a deployment pipeline has. */
function ownEnvironment(): { [name: string]: string } {
  const entries = Object.entries(process.env).filter(([name]) =>
    /^(SERVICE|AUDIT|WEBHOOK|VAULT|SERVICESPACE|MESSAGESPACE|BOOTSTRAP)_/.test(name),
  );
  return Object.fromEntries(entries as [string, string][]);
}

function deploy(environment: string): Promise<number> {
  const wrangler = join(PROJECT_ROOT, "node_modules", "wrangler", "bin", "wrangler.js");
  const child = spawn(process.execPath, [wrangler, "deploy", "--env", environment], {
    cwd: PROJECT_ROOT,
    stdio: "inherit",
  });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve(code ?? EXIT_PROBLEM));
  });
}

if (import.meta.main) {
  process.exitCode = await main().catch((error: unknown) => {
    console.error(`deploy: ${error instanceof Error ? error.message : String(error)}`);
    return EXIT_USAGE;
  });
}
