// How others find out about a service: its domain, the registries that attest to it, and the page that explains its
// API. Real resolvers of DNS over HTTPS, the example registry, a user's vault that believes none of it unseen, and a
// real browser. Screenshots go to test-results/docs-page/ to be looked at.

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ServerType, serve } from "@hono/node-server";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Registry } from "../../examples/registry/registry.ts";
import { Backend } from "../../scripts/stack/backend.ts";
import { freePorts } from "../../scripts/stack/ports.ts";
import { type Stack, startStack } from "../../scripts/stack/stack.ts";
import { openSqliteStore, type Preview, UserVault } from "../../sdk/user-vault/index.ts";
import { importSigningKey } from "../../src/crypto/signing.ts";
import { type Resolver, startResolver } from "../support/resolver.ts";
import { hasChromium, launchBrowser, violations } from "./support/browser.ts";

const DOMAIN = "kastanie.example";
const NAME = `_vettid-service.${DOMAIN}`;
const SCREENSHOTS = "test-results/docs-page";
const STEP_TIMEOUT_MS = 15_000;

const dir = mkdtempSync(join(tmpdir(), "discovery-"));
let stack: Stack;
let backend: Backend;
let resolvers: Resolver[];
let record: string;
let invite: string;
let vault: UserVault;

/** What both resolvers and the person's own say. */
const dnsSays = (...texts: string[]) => {
  for (const resolver of resolvers) {
    resolver.zone = texts.length === 0 ? {} : { [NAME]: texts };
    resolver.fault = undefined;
  }
};

beforeAll(async () => {
  resolvers = [await startResolver(), await startResolver()];
  stack = await startStack({
    dir,
    vars: { SERVICE_DOMAIN: DOMAIN, DOH_RESOLVERS: resolvers.map(({ url }) => url).join(",") },
  });
  backend = new Backend(stack.baseUrl, stack.adminApiKey);
  record = (await backend.expect(200, "GET", "domain")).record.value;
  invite = (await backend.invite()).invite_url;
  vault = await UserVault.open({
    store: openSqliteStore(join(dir, "vault.sqlite")),
    messageSpace: { endpoint: stack.messageSpace.server.wsUrl, creds: "" },
    resolveTxt: async (name) => {
      const texts = resolvers[0]!.zone[name];
      if (texts === undefined) throw Object.assign(new Error("not found"), { code: "ENOTFOUND" });
      return texts.map((text) => [text]);
    },
  });
});

afterAll(async () => {
  await vault?.close();
  await stack?.stop();
  for (const resolver of resolvers ?? []) await resolver.close();
  rmSync(dir, { recursive: true, force: true });
});

describe("a domain", () => {
  test("is verified by two resolvers, and by the person's vault for itself", async () => {
    dnsSays(record);
    expect(await backend.expect(200, "POST", "domain/verify")).toMatchObject({ verified: true });
    expect((await vault.preview(invite)).domain).toEqual({ name: DOMAIN, proof: "verified" });
  });

  test("is not believed when the service says so and the record does not", async () => {
    dnsSays(record.replace(/key=.*/, `key=${"0".repeat(64)}`));
    expect((await vault.preview(invite)).domain).toEqual({ name: DOMAIN, proof: "unproven" });
    expect(await backend.expect(200, "POST", "domain/verify")).toMatchObject({ status: "lapsed" });
    expect(await vault.preview(invite)).not.toHaveProperty("domain");
    await expect
      .poll(async () =>
        (await backend.expect(200, "GET", "events")).events.map(({ type }: { type: string }) => type),
      )
      .toEqual(expect.arrayContaining(["domain.verified", "domain.lapsed"]));
  });

  test("keeps its state while one resolver is away", async () => {
    dnsSays(record);
    await backend.expect(200, "POST", "domain/verify");
    await resolvers[1]!.close();
    dnsSays();
    expect(await backend.expect(200, "POST", "domain/verify")).toMatchObject({
      status: "verified",
      last_check: { outcome: "unresolved" },
    });
  });
});

describe("a registry", () => {
  let registry: Registry;
  let server: ServerType;
  let port: number;
  let now = Date.now();
  const name = () => `127.0.0.1:${port}`;
  const register = () => backend.expect(201, "POST", "registries", { url: `http://${name()}` });
  const shown = async (): Promise<Preview["attestations"]> => (await vault.preview(invite)).attestations;

  async function open(file: string): Promise<void> {
    registry = new Registry({
      name: name(),
      key: await importSigningKey(crypto.getRandomValues(new Uint8Array(32))),
      file,
      allowLocal: true,
      now: () => now,
    });
    await new Promise<void>((resolve) => {
      server = serve({ fetch: registry.app.fetch, port, hostname: "127.0.0.1" }, () => resolve());
    });
  }
  const close = () =>
    new Promise<void>((resolve) => {
      registry.close();
      server.close(() => resolve());
      (server as { closeAllConnections?: () => void }).closeAllConnections?.();
    });

  beforeAll(async () => {
    [port] = (await freePorts(1)) as [number];
    await open(join(dir, "registry.sqlite"));
  });
  afterAll(() => close());

  test("looks at the service itself, and its word reaches the person once its operator says so", async () => {
    expect(await register()).toMatchObject({ status: "pending" });
    expect(registry.list()).toMatchObject([
      { service_id: stack.serviceId, vault_url: stack.baseUrl, statement: null },
    ]);
    expect(await shown()).toEqual([]);
    registry.approve(stack.serviceId, "Company checked against the trade register");
    expect(await register()).toMatchObject({ status: "attested" });
    expect(await shown()).toMatchObject([
      { registry: name(), statement: "Company checked against the trade register", proof: "verified" },
    ]);
    expect(await (await fetch(`http://${name()}/`)).text()).toContain("Company checked");
  });

  test("refuses who is not the service they say they are", async () => {
    const post = async (change: object) => {
      const answer = await fetch(`http://${name()}/registrations`, {
        method: "POST",
        body: JSON.stringify({
          v: 1,
          registry: name(),
          service_id: stack.serviceId,
          service_public_key: stack.identity.signing_public_key,
          vault_url: stack.baseUrl,
          timestamp: new Date().toISOString(),
          signature: Buffer.alloc(64).toString("base64"),
          ...change,
        }),
      });
      return answer.status;
    };
    expect(await post({})).toBe(400);
    expect(await post({ registry: "other.example" })).toBe(400);
    expect(await post({ extra: true })).toBe(400);
  });

  test("that is away is asked again, and the person is told that nobody could tell", async () => {
    await close();
    expect(await register()).toMatchObject({ status: "failing", attestation: { registry: name() } });
    expect(await shown()).toMatchObject([{ proof: "not_checked" }]);
  });

  test("with another key is believed by neither", async () => {
    await open(join(dir, "registry.sqlite"));
    expect(await register()).toMatchObject({ status: "failing" });
    expect(await shown()).toMatchObject([{ proof: "unproven" }]);
    await close();
  });

  test("that withdraws its word is heard at the next asking", async () => {
    const { registries } = await backend.expect(200, "GET", "registries");
    await backend.expect(200, "DELETE", `registries/${registries[0].registry_id}`);
    expect(await shown()).toEqual([]);
    now = Date.now();
    await open(join(dir, "registry.sqlite"));
    expect(await register()).toMatchObject({ status: "attested" });
    expect(await shown()).toMatchObject([{ proof: "verified" }]);
    registry.withdraw(stack.serviceId);
    expect(await register()).toMatchObject({ status: "refused" });
    expect(await shown()).toEqual([]);
  });
});

describe.skipIf(!hasChromium)("the API's page", () => {
  let browser: Browser;
  let page: Page;
  const noise: string[] = [];

  beforeAll(async () => {
    mkdirSync(SCREENSHOTS, { recursive: true });
    browser = await launchBrowser();
    page = await browser.newPage();
    page.setDefaultTimeout(STEP_TIMEOUT_MS);
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") noise.push(message.text());
    });
    page.on("pageerror", (error) => noise.push(String(error)));
    page.on("request", (request) => {
      if (!request.url().startsWith(stack.baseUrl) && !request.url().startsWith("data:"))
        noise.push(request.url());
    });
  });
  afterAll(() => browser?.close());

  const serious = async () =>
    (await violations(page))
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(" ")).join(", ")}`);
  const show = async (width: number, height: number, scheme: "light" | "dark") => {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme: scheme });
    await page.goto(`${stack.baseUrl}/docs`);
    await tag("Requests").waitFor();
  };
  const tag = (name: string) => page.locator(`#operations-tag-${name}`);
  const ask = () => page.locator("#operations-Service-getInfo");

  test.each([
    ["phone", 360, 760, "dark"],
    ["desktop", 1280, 900, "light"],
  ] as const)("reads on a %s (%i × %i, %s)", async (name, width, height, scheme) => {
    await show(width, height, scheme);
    await page.screenshot({ path: join(SCREENSHOTS, `${name}-${scheme}.png`) });
    await tag("Authentication").click();
    await page.locator("#operations-Authentication-postAuthRequest .opblock-summary-control").click();
    await page.locator("#operations-Authentication-postAuthRequest .responses-wrapper").waitFor();
    await page.screenshot({ path: join(SCREENSHOTS, `${name}-${scheme}-operation.png`), fullPage: true });
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(width);
    expect(await serious()).toEqual([]);
    expect(noise).toEqual([]);
  });

  test("tries a call with a key that is typed in and kept nowhere", async () => {
    // On the page that the desktop has open.
    await page.locator(".scheme-container .authorize").click();
    await page.locator(".auth-container input").fill(stack.adminApiKey);
    await page.locator(".auth-btn-wrapper .authorize").click();
    await page.locator(".btn-done").click();
    await tag("Service").click();
    await ask().locator(".opblock-summary-control").click();
    await ask().locator(".execute").click();
    const answered = ask().locator(".live-responses-table .highlight-code").first();
    await answered.waitFor();
    expect(await answered.textContent()).toContain(stack.serviceId);
    expect(
      await page.evaluate("JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])"),
    ).toBe('[{},{},""]');
    expect(page.url()).not.toContain(stack.adminApiKey);
    expect(noise).toEqual([]);
  });
});
