// Makes a new service identity and prints what to do with it.
//
//   npm run keys -- [--env dev|staging|production] [--out secrets.json]

import { existsSync } from "node:fs";
import { parseArgs } from "node:util";
import { API_KEY_ENVIRONMENTS, type ApiKeyEnvironment } from "../src/http/api-key.ts";
import { writePrivateFile } from "./stack/files.ts";
import { makeIdentity } from "./stack/identity.ts";

const { values } = parseArgs({
  options: { env: { type: "string", default: "production" }, out: { type: "string" } },
});
const environment = API_KEY_ENVIRONMENTS.find((known) => known === values.env);
if (!environment) stopWith(`--env must be one of ${API_KEY_ENVIRONMENTS.join(", ")}`);
// An identity cannot be had back: never write over one.
if (values.out !== undefined && existsSync(values.out)) stopWith(`${values.out} exists: choose another name`);

print(environment, values.out);

function print(environment: ApiKeyEnvironment, out: string | undefined): void {
  const identity = makeIdentity(environment);
  console.log(`New identity for environment ${environment}

service_id                         ${identity.service_id}
signing public key (Ed25519)       ${identity.signing_public_key}
encryption public key (X25519)     ${identity.encryption_public_key}
audit log public key (Ed25519)     ${identity.audit_log_public_key}
webhook public key (Ed25519)       whpk_${identity.webhook_public_key}

First admin key, shown only now and stored nowhere (the Worker gets its hash):
  ${identity.admin_api_key}
`);
  if (out === undefined) {
    console.log(
      "The secrets. Keep a copy where you keep backups: without them the service is another one.\n",
    );
    for (const [name, value] of Object.entries(identity.secrets)) {
      console.log(`printf %s '${value}' | npx wrangler secret put ${name}`);
    }
  } else {
    writePrivateFile(out, `${JSON.stringify(identity.secrets, null, 2)}\n`);
    console.log(`The secrets are in ${out}, readable by you alone. Set them with:

npx wrangler secret bulk ${out}`);
  }
  console.log(`
The rest comes from your NATS operator and from the platform:

npx wrangler secret put SERVICESPACE_CREDS < bridge.creds
npx wrangler secret put SERVICESPACE_USERS_SIGNING_SEED < users-signing.seed
npx wrangler secret put MESSAGESPACE_CREDS < messagespace.creds

On a cluster of your own, npm run nats:operator -- --service-id ${identity.service_id} makes
all but the last, and two more with which revoked users are cut off there at once (docs/DEPLOYMENT.md).

Set ENVIRONMENT = "${environment}" and the other settings under [vars] in wrangler.toml.`);
}

function stopWith(message: string): never {
  console.error(`keys: ${message}`);
  process.exit(2);
}
