// Keeps a small deployment as text, for test/e2e/stored.test.ts: every object's database, the log's bucket and one
// person's vault, as this version of the code leaves them. Later versions must open it and go on.
//
//   npm run fixture -- <name>       at each release that changed a schema; docs/CONTRIBUTING.md

import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { openSqliteStore, UserVault } from "../sdk/user-vault/index.ts";
import { Backend, LOGIN_OFFERING } from "./stack/backend.ts";
import { PROJECT_ROOT } from "./stack/files.ts";
import { startStack } from "./stack/stack.ts";

const FIXTURES = join(PROJECT_ROOT, "test", "fixtures", "stored");
const PURPOSE = "Log in to the shop";
const OPEN_SECONDS = 3_600;
const SETTLE_TIMEOUT_MS = 20_000;
const POLL_MS = 200;

const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`;

function literal(value: unknown): string {
  if (value === null) return "NULL";
  if (value instanceof Uint8Array) return `X'${Buffer.from(value).toString("hex")}'`;
  if (typeof value === "string") {
    // A NUL would end the literal.
    return value.includes("\0") ? `CAST(X'${Buffer.from(value).toString("hex")}' AS TEXT)` : quoted(value);
  }
  return String(value);
}

/** A database as the SQL text that makes it anew. */
function dump(file: string): string {
  const db = new DatabaseSync(file);
  const made = db
    .prepare("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type = 'index', rowid")
    .all() as { type: string; name: string; sql: string }[];
  // Where the person's vault counts its own schema's steps.
  const { user_version: version } = db.prepare("PRAGMA user_version").get() as { user_version: number };
  const lines = [`PRAGMA user_version = ${version};`];
  for (const { type, name, sql } of made) {
    // Made by SQLite itself, for AUTOINCREMENT.
    if (name !== "sqlite_sequence") lines.push(`${sql};`);
    if (type !== "table") continue;
    const select = db.prepare(`SELECT * FROM "${name}"`);
    select.setReadBigInts(true);
    for (const row of select.all() as { [column: string]: unknown }[])
      lines.push(`INSERT INTO "${name}" VALUES (${Object.values(row).map(literal).join(", ")});`);
  }
  db.close();
  return `${lines.join("\n")}\n`;
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + SETTLE_TIMEOUT_MS;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`did not come about: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

async function main(name: string): Promise<void> {
  const target = join(FIXTURES, name);
  if (existsSync(target))
    throw new Error(`${target} exists: fixtures are never changed, choose another name`);
  const dir = mkdtempSync(join(tmpdir(), "fixture-"));
  const personFile = join(dir, "person.sqlite");
  try {
    const stack = await startStack({ dir: join(dir, "stack") });
    const facts = await populate(stack, personFile).finally(() => stack.stop());
    const write = (path: string, text: string) => {
      mkdirSync(dirname(join(target, path)), { recursive: true });
      writeFileSync(join(target, path), text);
    };
    write(
      "facts.json",
      `${JSON.stringify({ base_url: stack.baseUrl, identity: stack.identity, ...facts }, null, 2)}\n`,
    );
    write("person.sql", dump(personFile));
    const storage = join(dir, "stack", "worker", "storage");
    for (const entry of readdirSync(storage, { recursive: true, withFileTypes: true })) {
      const file = join(entry.parentPath, entry.name);
      if (!entry.isFile() || /-(wal|shm)$/.test(entry.name)) continue;
      const path = join("storage", relative(storage, file));
      if (entry.name.endsWith(".sqlite")) write(`${path}.sql`, dump(file));
      else write(`${path}.base64`, `${readFileSync(file).toString("base64")}\n`);
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
  console.log(`written: ${relative(PROJECT_ROOT, target)}`);
}

/** One person, some asks and an endpoint: a row in every table that matters. */
async function populate(stack: Awaited<ReturnType<typeof startStack>>, personFile: string) {
  const backend = new Backend(stack.baseUrl, stack.adminApiKey);
  // Port 9 takes nothing: the delivery is tried again, and a row of its own.
  const webhook = await backend.expect(201, "POST", "webhooks", { url: "https://127.0.0.1:9/hook" });
  const key = await backend.expect(201, "POST", "api-keys", { name: "shop", scopes: ["requests:read"] });
  const { invite_url } = await backend.invite("login", LOGIN_OFFERING);
  await backend.expect(201, "POST", "contracts/invite", { offering_id: "login", expires_in_seconds: 86_400 });
  const vault = await UserVault.open({
    store: openSqliteStore(personFile),
    messageSpace: {
      endpoint: stack.messageSpace.server.wsUrl,
      creds: readFileSync(stack.userVaultCredsFile, "utf8"),
    },
    policy: ({ purpose }) => (purpose === PURPOSE ? { decision: "approved" } : "later"),
  });
  vault.start();
  const contract = await vault.connect(invite_url, { profile: { email: "ada@example.com" } });
  const asked = await backend.ask(contract.user_id, PURPOSE);
  const approved = await backend.settled(asked.request_id);
  if (approved.status !== "approved") throw new Error(`the person did not approve: ${approved.status}`);
  const open = await backend.ask(contract.user_id, "Left open", { expires_in_seconds: OPEN_SECONDS });
  await until("the open ask's receipt", async () => {
    const view = await backend.expect(200, "GET", `requests/${open.request_id}`);
    return view.delivered_at !== undefined;
  });
  await until("a logged head of the person's chain", async () => {
    const [first] = (await backend.expect(200, "GET", `audit?user_id=${contract.user_id}`)).entries;
    const proof = `audit/${first.event_id}/proof?user_id=${contract.user_id}`;
    return (await backend.call("GET", proof)).status === 200;
  });
  const audit = await backend.expect(200, "GET", `audit?user_id=${contract.user_id}&limit=100`);
  await vault.close();
  return {
    user_id: contract.user_id,
    contract_id: contract.contract_id,
    approved_request_id: asked.request_id as string,
    open_request_id: open.request_id as string,
    webhook_id: webhook.webhook_id as string,
    api_key: key.api_key as string,
    last_event_hash: audit.entries.at(-1).event_hash as string,
  };
}

const [name] = process.argv.slice(2);
if (name === undefined || !/^[\w.-]+$/.test(name)) {
  console.error("fixture: npm run fixture -- <name>, as 0.2.0");
  process.exit(2);
}
await main(name);
