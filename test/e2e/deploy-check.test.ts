// What `npm run deploy` finds out before it deploys, against real clusters: good ones, and each thing broken.

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkClusters } from "../../scripts/deploy/clusters.ts";
import { type Finding, shown } from "../../scripts/deploy/finding.ts";
import { PROJECT_ROOT } from "../../scripts/stack/files.ts";
import { connectWithCreds } from "../../scripts/stack/nats-client.ts";
import {
  bridgePermissions,
  makeServiceSpaceMaterial,
  makeUserCreds,
  messageSpacePermissions,
  type ServiceSpaceMaterial,
} from "../../scripts/stack/operator.ts";
import { freePorts } from "../../scripts/stack/ports.ts";
import { type Stack, startStack } from "../../scripts/stack/stack.ts";
import { configOf } from "../../src/config.ts";
import type { Env } from "../../src/env.ts";
import { FROM_USER_STREAM } from "../../src/nats/stream.ts";

let dir: string;
let stack: Stack;
let material: ServiceSpaceMaterial;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "deploy-check-"));
  stack = await startStack({ dir });
  material = stack.serviceSpace.material;
});
afterAll(async () => {
  await stack?.stop();
  rmSync(dir, { recursive: true, force: true });
});

async function check(changes: { [name: string]: string | undefined } = {}): Promise<Finding[]> {
  const values = { ...stack.bindings, ...changes };
  const config = await configOf(values as unknown as Env);
  return checkClusters(config, values.SERVICESPACE_USERS_SIGNING_SEED!);
}

const said = (findings: Finding[], level: Finding["level"]) =>
  findings.filter((finding) => finding.level === level).map(shown);

const bridgeCreds = (
  change: Partial<Parameters<typeof makeUserCreds>[0]>,
  needs = bridgePermissions(stack.serviceId),
) =>
  makeUserCreds({
    name: "bridge",
    accountPublicKey: material.service_account.public_key,
    issuerSeed: material.service_account.seed,
    ...needs,
    ...change,
  });

const withoutSubject = (subjects: string[], part: string) =>
  subjects.filter((subject) => !subject.includes(part));

describe("clusters as they must be", () => {
  it("give no problem and no warning", async () => {
    const findings = await check();
    expect(said(findings, "problem")).toEqual([]);
    expect(said(findings, "warning")).toEqual([]);
    expect(said(findings, "ok").join("\n")).toContain("no JetStream in the users' account");
    expect(said(findings, "ok").join("\n")).toContain("stream and consumer are as they must be");
    expect(said(findings, "ok").join("\n")).toContain("signed by the key that will change it");
  });

  it("are left as they were: nothing stored, nothing taken", async () => {
    const nc = await connectWithCreds(
      stack.messageSpace.server.wsUrl,
      stack.messageSpace.material.creds.user_vault,
    );
    const manager = await nc.jetstreamManager();
    const { state } = await manager.streams.info("MESSAGESPACE");
    await nc.close();
    expect(state.messages).toBe(0);
  });

  it("are what the command finds, with the secrets from a file", () => {
    const file = join(dir, "secrets.json");
    writeFileSync(file, JSON.stringify(stack.bindings));
    const run = (...args: string[]) =>
      spawnSync(process.execPath, [join(PROJECT_ROOT, "scripts", "deploy.ts"), "--offline", ...args], {
        encoding: "utf8",
      });
    const good = run("--check", "--secrets", file);
    expect(good.stdout).toContain("Nothing in the way.");
    expect(good.status).toBe(0);
    for (const secret of Object.values(stack.identity.secrets)) expect(good.stdout).not.toContain(secret);
    // The sample environment is not ready, and nothing is deployed.
    const refused = run("--env", "production");
    expect(refused.status).toBe(1);
    expect(refused.stdout).toContain("VAULT_KEK is not set");
    expect(refused.stdout).toContain("sample's address");
    expect(refused.stdout).toContain("nothing was deployed");
  });
});

describe("what is broken is named, with what to do", () => {
  const broken: [string, () => Promise<{ [name: string]: string }>, RegExp][] = [
    [
      "a cluster that is not there",
      async () => ({ SERVICESPACE_URL: `ws://127.0.0.1:${(await freePorts(1))[0]}` }),
      /ServiceSpace, bridge: ws:\S+ cannot be reached/,
    ],
    [
      "credentials of another operator",
      async () => ({
        SERVICESPACE_CREDS: (await makeServiceSpaceMaterial(stack.serviceId)).creds.bridge,
      }),
      /ServiceSpace, bridge: ws:\S+ refuses the credentials/,
    ],
    [
      "credentials that have expired",
      async () => ({ SERVICESPACE_CREDS: await bridgeCreds({ expiresInSeconds: -60 }) }),
      /ServiceSpace, bridge: the credentials have expired/,
    ],
    [
      "a bridge that may not answer users",
      async () => {
        const { publish } = bridgePermissions(stack.serviceId);
        return { SERVICESPACE_CREDS: await bridgeCreds({ publish: withoutSubject(publish, "toUser") }) };
      },
      /may not publish to ServiceSpace\.\S+\.toUser\.>[\s\S]*→ make credentials/,
    ],
    [
      "a bridge that may not hear its answers",
      async () => ({ SERVICESPACE_CREDS: await bridgeCreds({ subscribe: ["_INBOX.>"] }) }),
      /may not subscribe to _INBOX_/,
    ],
    [
      "a signing seed of another account",
      async () => ({
        SERVICESPACE_USERS_SIGNING_SEED: (await makeServiceSpaceMaterial(stack.serviceId)).users_account
          .signing_seed!,
      }),
      /ServiceSpace, users: ws:\S+ refuses the credentials/,
    ],
    [
      "an operator's key that did not sign the users' account",
      async () => ({
        SERVICESPACE_OPERATOR_SIGNING_SEED: (await makeServiceSpaceMaterial(stack.serviceId)).operator
          .signing_seed,
      }),
      /ServiceSpace, revocation: the users' account is not signed by SERVICESPACE_OPERATOR_SIGNING_SEED/,
    ],
    [
      "users in the account that has the streams",
      async () => ({
        SERVICESPACE_USERS_ACCOUNT: material.service_account.public_key,
        SERVICESPACE_USERS_SIGNING_SEED: material.service_account.seed,
      }),
      /JetStream answers in the users' account/,
    ],
    [
      "a platform that does not let this service publish",
      async () => ({
        MESSAGESPACE_CREDS: await makeUserCreds({
          name: "service",
          accountPublicKey: stack.messageSpace.material.services_account.public_key,
          issuerSeed: stack.messageSpace.material.services_account.seed,
          ...messageSpacePermissions("another"),
          subscribe: messageSpacePermissions(stack.serviceId).subscribe,
        }),
      }),
      /MessageSpace: what the service publishes does not reach the platform's stream/,
    ],
  ];

  it.each(broken)("%s", async (_what, change, says) => {
    expect(said(await check(await change()), "problem").join("\n")).toMatch(says);
  });

  it("permissions beyond what is needed are a warning", async () => {
    const { publish } = bridgePermissions(stack.serviceId);
    const findings = await check({
      SERVICESPACE_CREDS: await bridgeCreds({ publish: [...publish, "$JS.API.STREAM.PURGE.*"] }),
    });
    expect(said(findings, "problem")).toEqual([]);
    expect(said(findings, "warning").join()).toContain("more than it needs: $JS.API.STREAM.PURGE.*");
  });

  it("a stream whose settings are others", async () => {
    const creds = await bridgeCreds({ publish: [">"], subscribe: ["_INBOX.>"] });
    const nc = await connectWithCreds(stack.serviceSpace.server.wsUrl, creds);
    const manager = await nc.jetstreamManager();
    const { config } = await manager.streams.info(FROM_USER_STREAM);
    await manager.streams.update(FROM_USER_STREAM, { ...config, max_msg_size: 1_024 });
    await nc.close();
    expect(said(await check(), "problem").join("\n")).toContain("stream FROM_USER: max_msg_size");
  });
});
