// The registry on Node. `npm run example:registry`; with `approve` or `withdraw`, what its operator decides.

import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { serve } from "@hono/node-server";
import { importSigningKey } from "../../src/crypto/signing.ts";
import { Registry } from "./registry.ts";

const USAGE = `npm run example:registry -- [options]                             runs the registry
npm run example:registry -- approve <service_id> <statement>      lists a service that has registered
npm run example:registry -- withdraw <service_id>                 takes that back
npm run example:registry -- list

  --port 8790          where it listens, on this machine alone
  --name <host[:port]> what it is called in attestations; default 127.0.0.1:<port>
  --dir .dev/registry  its key and its list
  --approve-all <statement>   lists whoever registers (development)
  --local              also vaults on this machine, over http (development; the default with a local name)`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    port: { type: "string", default: "8790" },
    name: { type: "string" },
    dir: { type: "string", default: ".dev/registry" },
    "approve-all": { type: "string" },
    local: { type: "boolean" },
    help: { type: "boolean", short: "h" },
  },
});
if (values.help) {
  console.log(USAGE);
  process.exit(0);
}
const port = Number(values.port);
const name = values.name ?? `127.0.0.1:${port}`;

mkdirSync(values.dir, { recursive: true, mode: 0o700 });
const keyFile = join(values.dir, "key");
if (!existsSync(keyFile)) writeFileSync(keyFile, randomBytes(32).toString("base64"), { mode: 0o600 });
const key = await importSigningKey(Buffer.from(readFileSync(keyFile, "utf8"), "base64"));
const registry = new Registry({
  name,
  key,
  file: join(values.dir, "services.sqlite"),
  allowLocal: values.local ?? /^(127\.0\.0\.1|localhost)(:|$)/.test(name),
  ...(values["approve-all"] === undefined ? {} : { approveAll: values["approve-all"] }),
});

const [command = "serve", serviceId = "", ...statement] = positionals;
switch (command) {
  case "serve": {
    const server = serve({ fetch: registry.app.fetch, port, hostname: "127.0.0.1" }, () => {
      console.log(`Registry ${name} at http://127.0.0.1:${port}\n  key ${key.publicKeyText}`);
    });
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => server.close());
    break;
  }
  case "approve":
    if (statement.length === 0) fail("say what is attested: approve <service_id> <statement>");
    if (!registry.approve(serviceId, statement.join(" "))) fail("no service of this id has registered");
    console.log("Approved: the service gets its attestation the next time it asks, within the hour.");
    break;
  case "withdraw":
    if (!registry.withdraw(serviceId)) fail("no service of this id has registered");
    console.log("Withdrawn: the service is told the next time it asks.");
    break;
  case "list":
    console.table(registry.list());
    break;
  default:
    fail(USAGE);
}

function fail(message: string): never {
  console.error(message);
  process.exit(1);
}
