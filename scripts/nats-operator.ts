// Makes what a NATS cluster of one's own needs to be the service's ServiceSpace: operator, accounts, credentials and a
// server configuration to begin with (docs/DEPLOYMENT.md).
//
//   npm run nats:operator -- --service-id <id from npm run keys> --out <folder>

import { existsSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { identityId } from "../src/protocol/primitives.ts";
import { makePrivateDir, writePrivateFile } from "./stack/files.ts";
import { makeServiceSpaceMaterial, type ServiceSpaceMaterial } from "./stack/operator.ts";

const { values } = parseArgs({ options: { "service-id": { type: "string" }, out: { type: "string" } } });
const { "service-id": serviceId, out } = values;
if (serviceId === undefined || out === undefined)
  stopWith("usage: npm run nats:operator -- --service-id <id> --out <folder>");
if (!identityId.safeParse(serviceId).success)
  stopWith("--service-id must be the service_id that npm run keys printed");
// Keys that a running cluster trusts cannot be had back: never write over them.
if (existsSync(out)) stopWith(`${out} exists: choose another folder`);

write(await makeServiceSpaceMaterial(serviceId), out);

function write(material: ServiceSpaceMaterial, dir: string): void {
  const { operator, service_account, users_account, creds } = material;
  makePrivateDir(dir);
  const files: [name: string, text: string][] = [
    ["operator.json", `${JSON.stringify(material, null, 2)}\n`],
    ["nats-server.conf", serverConfig(material)],
    ["bridge.creds", creds.bridge],
    ["system.creds", creds.system],
    ["users-signing.seed", users_account.signing_seed!],
    ["operator-signing.seed", operator.signing_seed],
    ["SERVICE.jwt", service_account.jwt],
    ["USERS.jwt", users_account.jwt],
  ];
  for (const [name, text] of files) writePrivateFile(join(dir, name), text);
  console.log(`Written to ${dir}, readable by you alone:

  nats-server.conf       for every server of the cluster; fill in what is marked
  operator.json          every key there is: keep it offline, it is needed to change the accounts

Then set, for the Worker:

  SERVICESPACE_USERS_ACCOUNT = "${users_account.public_key}"   under [vars] in wrangler.toml

  npx wrangler secret put SERVICESPACE_CREDS < ${join(dir, "bridge.creds")}
  npx wrangler secret put SERVICESPACE_USERS_SIGNING_SEED < ${join(dir, "users-signing.seed")}

and, to have revoked users cut off on the cluster (otherwise their credentials run out within 24 hours):

  npx wrangler secret put SERVICESPACE_OPERATOR_SIGNING_SEED < ${join(dir, "operator-signing.seed")}
  npx wrangler secret put SERVICESPACE_SYSTEM_CREDS < ${join(dir, "system.creds")}`);
}

function serverConfig({
  operator,
  system_account,
  service_account,
  users_account,
}: ServiceSpaceMaterial): string {
  const preload = [system_account, service_account, users_account]
    .map(({ name, public_key, jwt }) => `  # ${name}\n  ${public_key}: ${jwt}`)
    .join("\n");
  return `# ServiceSpace of a VettID service vault. One of these per server; server_name differs.
server_name: "servicespace-1"
listen: "0.0.0.0:4222"

# What the Worker and people's vaults connect to. Without TLS only behind a proxy that terminates it.
websocket {
  listen: "0.0.0.0:443"
  tls { cert_file: "/etc/nats/fullchain.pem", key_file: "/etc/nats/privkey.pem" }
}

operator: ${operator.jwt}
system_account: ${system_account.public_key}

# Accounts are kept here and changed by pushes; a newer one that was pushed wins over the preload.
resolver: { type: full, dir: "/var/lib/nats/accounts", allow_delete: false, interval: "2m", limit: 1000 }
resolver_preload: {
${preload}
}

jetstream { store_dir: "/var/lib/nats/jetstream", max_mem: 64M, max_file: 4G }

# Three servers or more:
# cluster { name: "servicespace", listen: "0.0.0.0:6222", routes: ["nats://servicespace-2:6222"] }
`;
}

function stopWith(message: string): never {
  console.error(`nats:operator: ${message}`);
  process.exit(2);
}
