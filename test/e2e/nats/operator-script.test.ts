// What `npm run nats:operator` writes, as the server that is to run on it reads it.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PROJECT_ROOT } from "../../../scripts/stack/files.ts";
import { makeIdentity } from "../../../scripts/stack/identity.ts";
import { findNatsServer } from "../../../scripts/stack/nats-server.ts";

const dir = mkdtempSync(join(tmpdir(), "nats-operator-"));
const out = join(dir, "nats");
const run = (...args: string[]) =>
  spawnSync(process.execPath, [join(PROJECT_ROOT, "scripts", "nats-operator.ts"), ...args], {
    encoding: "utf8",
  });
let said: string;

beforeAll(() => {
  const { stdout, stderr, status } = run("--service-id", makeIdentity("dev").service_id, "--out", out);
  expect(stderr).toBe("");
  expect(status).toBe(0);
  said = stdout;
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test("every file is its owner's alone, and every secret the Worker needs is named with its file", () => {
  for (const name of readdirSync(out)) expect(statSync(join(out, name)).mode & 0o777, name).toBe(0o600);
  for (const [secret, file] of [
    ["SERVICESPACE_CREDS", "bridge.creds"],
    ["SERVICESPACE_USERS_SIGNING_SEED", "users-signing.seed"],
    ["SERVICESPACE_OPERATOR_SIGNING_SEED", "operator-signing.seed"],
    ["SERVICESPACE_SYSTEM_CREDS", "system.creds"],
  ])
    expect(said).toContain(`wrangler secret put ${secret} < ${join(out, file!)}`);
});

test("the server takes the configuration, once it has a certificate and a place to write", () => {
  const config = readFileSync(join(out, "nats-server.conf"), "utf8")
    .replace(/tls \{[^}]*\}/, "no_tls: true")
    .replaceAll("/var/lib/nats", dir);
  const file = join(dir, "checked.conf");
  writeFileSync(file, config);
  const checked = spawnSync(findNatsServer(), ["-t", "-c", file], { encoding: "utf8" });
  expect(`${checked.stdout}${checked.stderr}`).toContain("is valid");
  expect(checked.status).toBe(0);
});

test.each([
  ["a folder that exists", () => ["--service-id", makeIdentity("dev").service_id, "--out", out], "exists"],
  [
    "something that is no service id",
    () => ["--service-id", "shop", "--out", join(dir, "other")],
    "service_id",
  ],
  ["nothing", () => [], "usage"],
])("%s is refused, and nothing is written", (_what, args, why) => {
  const before = readdirSync(dir).length;
  const { stderr, status } = run(...args());
  expect(status).toBe(2);
  expect(stderr).toContain(why);
  expect(readdirSync(dir)).toHaveLength(before);
});
