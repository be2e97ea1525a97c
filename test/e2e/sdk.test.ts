// The client's package as others get it: packed, installed without a network, and used against a real vault in every
// runtime it is for; and its README, run block by block.

import { execFile, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { build } from "esbuild";
import { Miniflare } from "miniflare";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildSdk } from "../../scripts/sdk-build.ts";
import { LOGIN_OFFERING } from "../../scripts/stack/backend.ts";
import { PROJECT_ROOT } from "../../scripts/stack/files.ts";
import { type Stack, startStack, waitUntilReady } from "../../scripts/stack/stack.ts";
import { InvalidRequestError, ServiceVault } from "../../sdk/typescript/src/index.ts";
import { importSigningKey } from "../../src/crypto/signing.ts";
import { randomBytes } from "../../src/protocol/ids.ts";
import { newSecret, publicKeyText, signedHeaders } from "../../src/webhooks/signature.ts";
import { Person, PROFILE } from "./support/person.ts";

const run = promisify(execFile);
/** Building, packing and installing, on a busy machine. */
const SET_UP_TIMEOUT_MS = 180_000;
const RUN_TIMEOUT_MS = 60_000;

const grant = (capability: string, scope?: string[]) => ({
  capability,
  description: `Ask you for ${capability}`,
  ...(scope === undefined ? {} : { scope }),
  requires_approval_each_use: true,
});
const OFFERING = {
  ...LOGIN_OFFERING,
  name: "The shop",
  pricing: { type: "free" as const },
  acceptance: "automatic" as const,
  capabilities: [grant("authenticate"), grant("request_data", ["address/*"]), grant("payment.one_time")],
};

let dir: string;
let project: string;
let stack: Stack;
let vault: ServiceVault;
let person: Person;
let userId: string;
let environment: Record<string, string>;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "sdk-"));
  project = join(dir, "project");
  mkdirSync(project);
  const packed = join(dir, "package");
  const [started] = await Promise.all([
    startStack({ dir: join(dir, "stack") }),
    buildSdk(packed).then(async () => {
      const { stdout } = await run("npm", ["pack", "--silent"], { cwd: packed });
      writeFileSync(join(project, "package.json"), JSON.stringify({ private: true, type: "module" }));
      const tarball = join(packed, stdout.trim());
      await run("npm", ["install", "--offline", "--no-audit", "--no-fund", "--silent", tarball], {
        cwd: project,
      });
    }),
  ]);
  stack = started;
  vault = new ServiceVault({ baseUrl: stack.baseUrl, apiKey: stack.adminApiKey });
  await vault.offerings.put("shop", OFFERING);
  person = await Person.online(stack);
  person.vault.setData("address/home", "1 Example Street");
  const invite = await vault.contracts.invite({ offering_id: "shop" });
  userId = (await person.vault.connect(invite.invite_url, { profile: PROFILE })).user_id;
  environment = {
    ...(process.env as Record<string, string>),
    VAULT_URL: stack.baseUrl,
    VAULT_API_KEY: stack.adminApiKey,
    USER_ID: userId,
  };
}, SET_UP_TIMEOUT_MS);

afterAll(async () => {
  await person?.gone();
  await stack?.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** A delivery signed now, as the vault would. */
async function delivery() {
  const key = await importSigningKey(randomBytes(32));
  const body = JSON.stringify({ type: "webhook.test", timestamp: "", event_id: "abc", data: {} });
  const bytes = new TextEncoder().encode(body);
  const headers = await signedHeaders({
    id: "abc",
    now: Date.now(),
    body: bytes,
    secrets: [newSecret()],
    key,
  });
  return { headers, body, publicKey: publicKeyText(key.publicKey) };
}

const smokeInput = async () => ({
  baseUrl: stack.baseUrl,
  apiKey: stack.adminApiKey,
  userId,
  delivery: await delivery(),
});

const PASSED = { status: "approved", entries: expect.any(Number), event: "webhook.test" };

/** A package's file; undefined where the package is for another platform. */
function packaged(name: string, path: string): string | undefined {
  try {
    const found = join(dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)), path);
    return existsSync(found) ? found : undefined;
  } catch {
    return undefined;
  }
}

const RUNTIMES: { name: string; command: string | undefined; args: string[] }[] = [
  { name: "Node", command: process.execPath, args: [] },
  {
    name: "Deno",
    command: packaged("@deno/linux-x64-glibc", "deno"),
    // Nothing but the network and the input: no file is read, no permission asked for.
    args: [
      "run",
      "--quiet",
      "--no-prompt",
      "--cached-only",
      "--allow-net=127.0.0.1",
      "--allow-env=SMOKE_INPUT",
    ],
  },
  { name: "Bun", command: packaged("@oven/bun-linux-x64", "bin/bun"), args: ["run"] },
];

describe("the packed client asks, waits and verifies", () => {
  beforeAll(() => {
    writeFileSync(join(project, "smoke.mjs"), readFileSync(new URL("sdk-smoke.mjs", import.meta.url)));
    writeFileSync(
      join(project, "run.mjs"),
      `import process from "node:process";
import { smoke } from "./smoke.mjs";
console.log(JSON.stringify(await smoke(JSON.parse(process.env.SMOKE_INPUT))));\n`,
    );
  });

  for (const { name, command, args } of RUNTIMES)
    it.skipIf(command === undefined)(
      `in ${name}`,
      async () => {
        const { stdout } = await run(command!, [...args, "run.mjs"], {
          cwd: project,
          env: { ...process.env, SMOKE_INPUT: JSON.stringify(await smokeInput()) },
          timeout: RUN_TIMEOUT_MS,
        });
        expect(JSON.parse(stdout)).toEqual(PASSED);
      },
      RUN_TIMEOUT_MS,
    );

  it("in workerd, without any compatibility flag", async () => {
    writeFileSync(
      join(project, "worker.mjs"),
      `import { smoke } from "./smoke.mjs";
export default {
  async fetch(request) {
    try {
      return Response.json(await smoke(await request.json()));
    } catch (error) {
      return Response.json({ error: String(error?.stack), cause: String(error?.cause) }, { status: 500 });
    }
  },
};\n`,
    );
    const bundled = await build({
      entryPoints: [join(project, "worker.mjs")],
      bundle: true,
      format: "esm",
      write: false,
      platform: "neutral",
    });
    const worker = new Miniflare({
      modules: [{ type: "ESModule", path: "worker.mjs", contents: bundled.outputFiles[0]!.text }],
      compatibilityDate: "2025-09-01",
    });
    try {
      const response = await worker.dispatchFetch("http://worker.example/", {
        method: "POST",
        body: JSON.stringify(await smokeInput()),
      });
      expect(await response.json()).toEqual(PASSED);
    } finally {
      await worker.dispose();
    }
  });
});

describe("the client", () => {
  it("gives the same request for the same Idempotency-Key, and a conflict for another body", async () => {
    const options = { idempotencyKey: `order-${crypto.randomUUID()}` };
    const input = { user_id: userId, purpose: "later, once" };
    const first = await vault.auth.request(input, options);
    expect((await vault.auth.request(input, options)).id).toBe(first.id);
    await expect(vault.auth.request({ ...input, purpose: "later, twice" }, options)).rejects.toMatchObject({
      code: "conflict",
      status: 409,
    });
    expect((await first.cancel()).status).toBe("cancelled");
    expect((await first.wait()).status).toBe("cancelled");
  });

  it("waits over a vault that is killed and comes back", async () => {
    const request = await vault.auth.request({ user_id: userId, purpose: "later, over a restart" });
    await expect(request.wait({ timeoutMs: 1_500 })).rejects.toMatchObject({ code: "wait_timeout" });
    const waiting = request.wait({ timeoutMs: 45_000 });
    const following = (async () => {
      for await (const { type, data } of vault.events({ userId }))
        if (type === "auth.response" && data.request_id === request.id) return data.status;
      return undefined;
    })();
    await stack.worker.kill();
    await person.vault.answer(request.id, { decision: "approved" });
    await stack.worker.restart();
    await waitUntilReady(stack.worker);
    expect((await waiting).status).toBe("approved");
    expect(await following).toBe("approved");
  });

  it("shows refusals as what they are", async () => {
    await expect(
      vault.authz.request({ user_id: userId, action: "read", resource: "file", purpose: "x" }),
    ).rejects.toMatchObject({ code: "capability_denied", status: 403, requestId: expect.any(String) });
    const refused = await vault.auth
      .request({ user_id: "nobody", purpose: "" })
      .catch((error: InvalidRequestError) => error);
    expect(refused).toBeInstanceOf(InvalidRequestError);
    const { details } = refused as InvalidRequestError;
    expect([...new Set(details.map(({ path }) => path))]).toEqual(["user_id", "purpose"]);
    const stranger = new ServiceVault({ baseUrl: stack.baseUrl, apiKey: "svk_dev_unknown" });
    await expect(stranger.info()).rejects.toMatchObject({ code: "unauthorized" });
    await expect(vault.events({ after: "not a cursor" }).next()).rejects.toMatchObject({
      code: "invalid_request",
    });
  });

  it("manages offerings, keys and webhooks", async () => {
    expect((await vault.offerings.list().toArray()).map(({ offering_id }) => offering_id)).toContain("shop");
    expect(await vault.offerings.get("shop", { version: 1 })).toMatchObject({ name: "The shop" });
    const key = await vault.apiKeys.create({ name: "Reader", scopes: ["requests:read"] });
    const reader = new ServiceVault({ baseUrl: stack.baseUrl, apiKey: key.api_key });
    expect(await reader.info()).toMatchObject({ service_id: stack.serviceId });
    await expect(reader.contracts.invite()).rejects.toMatchObject({ code: "forbidden" });
    expect((await vault.apiKeys.delete(key.key_id)).status).toBe("deleted");
    const invite = await vault.contracts.invite();
    const listed = await vault.contracts.invites.list({ limit: 1 }).toArray();
    expect(listed.map(({ invite_id }) => invite_id)).toContain(invite.invite_id);
    await vault.contracts.invites.delete(invite.invite_id);
    expect((await vault.offer()).service_id).toBe(stack.serviceId);
    expect((await vault.users.profile(userId)).profile).toEqual(PROFILE);
  });
});

// ---- README ---------------------------------------------------------------------------------------------

const readme = readFileSync(join(PROJECT_ROOT, "sdk", "typescript", "README.md"), "utf8");
const blocks = new Map(
  [...readme.matchAll(/^( *)```ts file=(\S+)\n([\s\S]*?)^ *```$/gm)].map(
    ([, indent = "", file = "", text = ""]) => [file, text.replaceAll(new RegExp(`^${indent}`, "gm"), "")],
  ),
);

describe("the README", () => {
  beforeAll(() => {
    for (const [file, text] of blocks) writeFileSync(join(project, file), text);
  });

  /** Runs one block with Node, as its reader would; gives what it printed. */
  const printed = async (file: string): Promise<string> => {
    const { stdout } = await run(process.execPath, ["--disable-warning=ExperimentalWarning", file], {
      cwd: project,
      env: environment,
      timeout: RUN_TIMEOUT_MS,
    });
    return stdout;
  };

  it("has no TypeScript that is not run here", () => {
    expect([...blocks.keys()].sort()).toEqual(
      ["connect.ts", "login.ts", "data.ts", "payment.ts", "webhooks.ts", "verify.ts", "errors.ts"].sort(),
    );
    expect(readme.match(/```ts/g)).toHaveLength(blocks.size);
  });

  it(
    "is right in its types, also for who is strict",
    async () => {
      writeFileSync(
        join(project, "process.d.ts"),
        "declare const process: { env: Record<string, string | undefined> };",
      );
      writeFileSync(
        join(project, "tsconfig.json"),
        JSON.stringify({
          compilerOptions: {
            target: "es2023",
            lib: ["es2023", "dom", "dom.iterable", "dom.asynciterable"],
            module: "nodenext",
            strict: true,
            exactOptionalPropertyTypes: true,
            noUncheckedIndexedAccess: true,
            skipLibCheck: false,
            types: [],
            noEmit: true,
          },
          files: ["process.d.ts", ...blocks.keys()],
        }),
      );
      const tsc = join(PROJECT_ROOT, "node_modules", ".bin", "tsc");
      await run(tsc, ["-p", project]).catch(({ stdout }) => expect(stdout).toBe(""));
    },
    SET_UP_TIMEOUT_MS,
  );

  it("connects", async () => {
    const child = spawn(process.execPath, ["connect.ts"], { cwd: project, env: environment });
    const newcomer = await Person.online(stack);
    try {
      const lines: string[] = [];
      for await (const line of createInterface({ input: child.stdout })) {
        lines.push(line);
        const [url] = /https?:\/\/\S+$/.exec(line) ?? [];
        if (url !== undefined) await newcomer.vault.connect(url, { profile: PROFILE });
      }
      expect(lines.at(-1)).toMatch(/^Connected: \w{40,}$/);
    } finally {
      child.kill();
      await newcomer.gone();
    }
  });

  it("logs in", async () => {
    expect(await printed("login.ts")).toMatch(/^Logged in at \d{4}-/);
  });

  it("reads data", async () => {
    expect(await printed("data.ts")).toBe("Send it to 1 Example Street\n");
  });

  it("takes a payment, once", async () => {
    expect(await printed("payment.ts")).toBe("completed: 19.99 EUR\n");
    const payments = await vault.requests.list({ user_id: userId, kind: "payment" }).toArray();
    expect(payments).toHaveLength(1);
  });

  it("receives webhooks, and refuses what is not the vault's", async () => {
    writeFileSync(
      join(project, "serve.mjs"),
      `import { createServer } from "node:http";
import { createInterface } from "node:readline";
let handler;
const server = createServer(async (incoming, outgoing) => {
  const chunks = [];
  for await (const chunk of incoming) chunks.push(chunk);
  const request = new Request("http://localhost" + incoming.url, {
    method: "POST", headers: incoming.headers, body: Buffer.concat(chunks),
  });
  const response = await handler.default.fetch(request);
  outgoing.writeHead(response.status).end(await response.text());
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
for await (const line of createInterface({ input: process.stdin })) {
  process.env.WEBHOOK_SECRET = line;
  handler = await import("./webhooks.ts");
  console.log("ready");
}\n`,
    );
    const child = spawn(process.execPath, ["serve.mjs"], { cwd: project, env: environment });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    try {
      const port = (await lines.next()).value as string;
      const url = `http://127.0.0.1:${port}/hook`;
      const webhook = await vault.webhooks.create({ url, types: ["auth.*"] });
      child.stdin.write(`${webhook.secret}\n`);
      expect((await lines.next()).value).toBe("ready");
      expect(await vault.webhooks.test(webhook.webhook_id)).toMatchObject({
        delivered: true,
        status_code: 204,
      });
      expect((await lines.next()).value).toBe("webhook.test of undefined");
      await (await vault.auth.request({ user_id: userId, purpose: "Log in and tell" })).wait();
      expect((await lines.next()).value).toBe(`auth.response of ${userId}`);
      const forged = await delivery();
      const refused = await fetch(url, { method: "POST", headers: forged.headers, body: forged.body });
      expect([refused.status, await refused.text()]).toEqual([400, "signature_invalid"]);
      await vault.webhooks.delete(webhook.webhook_id);
    } finally {
      child.kill();
    }
  });

  it("verifies later", async () => {
    const { contract_id } = (await vault.users.get(userId)).contract;
    expect(await printed("verify.ts")).toMatch(
      new RegExp(`^[1-9]\\d* approvals under contract ${contract_id}, [1-9]\\d* entries up to \\S{44}\n$`),
    );
  });

  it("tells errors apart", async () => {
    expect(await printed("errors.ts")).toBe("Their contract does not grant this: propose an amendment\n");
  });
});

// npm is run by the Node that runs this.
process.env.PATH = `${dirname(process.execPath)}${delimiter}${process.env.PATH}`;
