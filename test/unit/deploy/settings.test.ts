import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { covers } from "../../../scripts/deploy/clusters.ts";
import {
  checkBindings,
  checkEnvironment,
  checkSettings,
  type Deployment,
  environmentNames,
  readDeployment,
  readSecrets,
  secretsOnAccount,
} from "../../../scripts/deploy/settings.ts";
import { makeIdentity } from "../../../scripts/stack/identity.ts";
import { makeMessageSpaceMaterial, makeServiceSpaceMaterial } from "../../../scripts/stack/operator.ts";

const noAccount = () => undefined;
const dir = mkdtempSync(join(tmpdir(), "deploy-settings-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

let dev: Deployment;
let secrets: { [name: string]: string };
/** `production` with its own addresses. */
let production: Deployment;

beforeAll(async () => {
  dev = await readDeployment(undefined);
  const identity = makeIdentity("production");
  const serviceSpace = await makeServiceSpaceMaterial(identity.service_id);
  const messageSpace = await makeMessageSpaceMaterial(identity.service_id);
  secrets = {
    ...identity.secrets,
    SERVICESPACE_CREDS: serviceSpace.creds.bridge,
    MESSAGESPACE_CREDS: messageSpace.creds.service,
    SERVICESPACE_USERS_SIGNING_SEED: serviceSpace.users_account.signing_seed!,
  };
  const sample = await readDeployment("production");
  production = {
    ...sample,
    vars: {
      ...sample.vars,
      PUBLIC_URL: "https://vault.shop.test",
      SERVICESPACE_URL: "wss://nats.shop.test",
      SERVICESPACE_PUBLIC_ENDPOINT: "wss://nats.shop.test",
      MESSAGESPACE_URL: "wss://messages.platform.test",
      SERVICESPACE_USERS_ACCOUNT: serviceSpace.users_account.public_key,
    },
  };
});

const problemsOf = (findings: { level: string; says: string }[]) =>
  findings.filter(({ level }) => level === "problem").map(({ says }) => says);

describe("wrangler.toml", () => {
  it("has staging and production, each with every binding the Worker needs", async () => {
    expect(environmentNames()).toEqual(["staging", "production"]);
    for (const name of environmentNames()) {
      const found = await readDeployment(name);
      expect(problemsOf(checkBindings(found, noAccount)), name).toEqual([]);
      expect(found.objects).toEqual(dev.objects);
      expect(found.rateLimits.map((limit) => limit.name)).toEqual(dev.rateLimits.map((limit) => limit.name));
      expect(found.buckets.map(({ binding }) => binding)).toEqual(dev.buckets.map(({ binding }) => binding));
      expect(found.crons).toEqual(dev.crons);
    }
  });

  it("shares no bucket and no rate limit between environments", async () => {
    const all = [dev, ...(await Promise.all(environmentNames().map(readDeployment)))];
    for (const names of [
      all.map(({ buckets }) => buckets[0]!.bucket_name),
      all.flatMap(({ rateLimits }) => rateLimits.map(({ namespace_id }) => namespace_id)),
    ])
      expect(new Set(names).size).toBe(names.length);
  });

  it("is asked for an environment it does not have: told which there are", async () => {
    await expect(readDeployment("prod")).rejects.toThrow("it has staging, production");
  });
});

describe("settings and secrets", () => {
  it("are fine when all are there", async () => {
    const { findings, config } = await checkSettings(production, secrets, new Set(Object.keys(secrets)));
    expect(findings.map(({ level }) => level)).toEqual(["ok", "ok"]);
    expect(config?.ENVIRONMENT).toBe("production");
  });

  it.each(["VAULT_KEK", "SERVICESPACE_CREDS", "SERVICESPACE_USERS_SIGNING_SEED", "BOOTSTRAP_API_KEY"])(
    "name the secret %s when it is missing, and how to set it",
    async (name) => {
      const { [name]: _, ...rest } = secrets;
      const { findings, config } = await checkSettings(production, rest, undefined);
      expect(config).toBeUndefined();
      expect(findings).toContainEqual(
        expect.objectContaining({
          level: "problem",
          says: `${name} is not set`,
          todo: expect.stringContaining(`npx wrangler secret put ${name} --env production`),
        }),
      );
    },
  );

  it("name a malformed one and what it must be, never its value", async () => {
    const { findings } = await checkSettings(production, { ...secrets, VAULT_KEK: "c2hvcnQ=" }, undefined);
    expect(problemsOf(findings)).toContainEqual(expect.stringMatching(/^VAULT_KEK: must be .* 32 bytes/));
    expect(JSON.stringify(findings)).not.toContain("c2hvcnQ=");
  });

  it("name a setting that is missing, and where it belongs", async () => {
    const { SERVICESPACE_USERS_ACCOUNT: _, ...vars } = production.vars;
    const { findings } = await checkSettings({ ...production, vars }, secrets, undefined);
    expect(findings).toContainEqual(
      expect.objectContaining({
        says: "SERVICESPACE_USERS_ACCOUNT is not set",
        todo: expect.stringContaining("[env.production.vars]"),
      }),
    );
  });

  it("that only the account has are no problem, but said to be unchecked", async () => {
    const { findings, config } = await checkSettings(production, {}, new Set(Object.keys(secrets)));
    expect(problemsOf(findings)).toEqual([]);
    expect(config).toBeUndefined();
    expect(findings).toContainEqual(
      expect.objectContaining({ level: "warning", says: expect.stringContaining("VAULT_KEK") }),
    );
  });

  it("that the account lacks are a problem although their values are at hand", async () => {
    const { findings } = await checkSettings(production, secrets, new Set(["VAULT_KEK"]));
    expect(problemsOf(findings)).toEqual([expect.stringContaining("SERVICE_SIGNING_KEY")]);
  });

  it("are listed on the account by wrangler, for the environment asked about", () => {
    const asked: string[][] = [];
    const wrangler = (args: string[]) => {
      asked.push(args);
      return '[{"name":"VAULT_KEK","type":"secret_text"}]';
    };
    expect(secretsOnAccount("production", wrangler)).toEqual(new Set(["VAULT_KEK"]));
    expect(asked).toEqual([["secret", "list", "--format", "json", "--env", "production"]]);
    expect(secretsOnAccount("production", noAccount)).toBeUndefined();
    expect(secretsOnAccount("production", () => "no JSON")).toBeUndefined();
  });

  it("are read from JSON and from NAME=value lines, lines' ends and all", () => {
    const json = join(dir, "secrets.json");
    writeFileSync(json, JSON.stringify(secrets));
    const lines = join(dir, "secrets.env");
    const line = ([name, value]: [string, string]) => `${name}=${JSON.stringify(value)}`;
    writeFileSync(lines, Object.entries(secrets).map(line).join("\n"));
    expect(readSecrets(json)).toEqual(secrets);
    expect(readSecrets(lines)).toEqual(secrets);
    writeFileSync(json, "{ not json");
    expect(() => readSecrets(json)).toThrow("begins like JSON");
    expect(() => readSecrets(join(dir, "none"))).toThrow("there is no");
  });
});

describe("an environment", () => {
  it("is fine with addresses of its own", () => {
    expect(problemsOf(checkEnvironment(production))).toEqual([]);
  });

  it.each([
    ["ENVIRONMENT", "staging", "API keys name it"],
    ["PUBLIC_URL", "https://vault.example.com", "sample's address"],
    ["SERVICESPACE_URL", "ws://nats.shop.test", "not encrypted"],
    ["PUBLIC_URL", "http://vault.shop.test", "not encrypted"],
  ])("with %s = %s is not", (name, value, says) => {
    const vars = { ...production.vars, [name]: value };
    expect(problemsOf(checkEnvironment({ ...production, vars }))).toEqual([expect.stringContaining(says)]);
  });
});

describe("bindings", () => {
  it.each([
    [
      "an object",
      (it: Deployment) => ({ ...it, objects: it.objects.slice(1) }),
      "USER_CONNECTION to UserConnection",
    ],
    ["the bucket", (it: Deployment) => ({ ...it, buckets: [] }), "no R2 bucket"],
    [
      "the bucket's name",
      (it: Deployment) => ({ ...it, buckets: [{ binding: "AUDIT_R2" }] }),
      "no R2 bucket",
    ],
    [
      "the rate limit",
      (it: Deployment) => ({ ...it, rateLimits: it.rateLimits.slice(1) }),
      "no rate limit PUBLIC_RATE_LIMIT",
    ],
    ["the cron", (it: Deployment) => ({ ...it, crons: [] }), "no cron"],
  ])("without %s are a problem", (_what, change, says) => {
    expect(problemsOf(checkBindings(change(production), noAccount))).toEqual([expect.stringContaining(says)]);
  });

  it("name a bucket that must exist on the account", () => {
    const bucket = production.buckets[0]!.bucket_name!;
    expect(problemsOf(checkBindings(production, () => `name:           ${bucket}\n`))).toEqual([]);
    expect(problemsOf(checkBindings(production, () => `name:           ${bucket}-2\n`))).toEqual([
      `there is no R2 bucket ${bucket}`,
    ]);
  });
});

describe("NATS subjects", () => {
  it.each([
    ["a.b.>", "a.b.c.d", true],
    ["a.b.>", "a.b.>", true],
    ["a.>", "a.b.>", true],
    [">", "a", true],
    ["a.*.c", "a.*.c", true],
    ["a.*.c", "a.b.c", true],
    ["a.b.c", "a.*.c", false],
    ["a.b.>", "a.b", false],
    ["a.b.>", "a.>", false],
    ["a.*", "a.>", false],
    ["a.*", "a.b.c", false],
    ["a.b.c", "a.b", false],
  ])("%s covers %s: %s", (allowed, needed, does) => {
    expect(covers(allowed, needed)).toBe(does);
  });
});
