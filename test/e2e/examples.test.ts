// The examples as their customers meet them: pages and forms over HTTP, a real vault behind them, people in front.

import { mkdtempSync, rmSync } from "node:fs";
import type { Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { serve } from "@hono/node-server";
import type { Hono } from "hono";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { shop } from "../../examples/shop/server.ts";
import type { Setting } from "../../examples/start.ts";
import { subscription } from "../../examples/subscription/server.ts";
import { support } from "../../examples/support/server.ts";
import { freePorts, LOOPBACK } from "../../scripts/stack/ports.ts";
import { type Stack, startStack } from "../../scripts/stack/stack.ts";
import { ServiceVault } from "../../sdk/typescript/src/index.ts";
import { Person } from "./support/person.ts";

const POLL = { timeout: 15_000, interval: 100 };

let dir: string;
let stack: Stack;
let vault: ServiceVault;
const servers: Server[] = [];
const people: Person[] = [];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "examples-"));
  stack = await startStack({ dir });
  vault = new ServiceVault({ baseUrl: stack.baseUrl, apiKey: stack.adminApiKey });
});
afterAll(async () => {
  for (const server of servers) {
    server.close();
    server.closeAllConnections();
  }
  for (const person of people) await person.gone();
  await stack?.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** A browser, as far as these pages need one. */
class Browser {
  readonly #origin: string;
  #cookie = "";

  constructor(origin: string) {
    this.#origin = origin;
  }

  async #send(path: string, init: RequestInit): Promise<string> {
    const response = await fetch(`${this.#origin}${path}`, {
      ...init,
      redirect: "manual",
      headers: { ...init.headers, cookie: this.#cookie, connection: "close" },
    });
    const [cookie] = response.headers.getSetCookie();
    if (cookie !== undefined) this.#cookie = cookie.split(";")[0]!;
    const location = response.headers.get("location");
    return location === null ? response.text() : this.get(location);
  }

  get = (path: string) => this.#send(path, {});
  post = (path: string, fields: Record<string, string> = {}) =>
    this.#send(path, { method: "POST", body: new URLSearchParams(fields) });
}

async function open(
  make: (setting: Setting) => Promise<Hono>,
): Promise<{ browser: Browser; origin: string }> {
  const port = (await freePorts(1))[0]!;
  const origin = `http://${LOOPBACK}:${port}`;
  const app = await make({ vault, origin });
  servers.push(serve({ fetch: app.fetch, hostname: LOOPBACK, port }) as Server);
  return { browser: new Browser(origin), origin };
}

/** A person who has connected by the invite on a page. */
async function joined(browser: Browser, email: string, policy?: Parameters<typeof Person.online>[1]) {
  const person = await Person.online(stack, policy);
  people.push(person);
  const invite = /href="(http[^"]+\/connect\/[^"]+)"/.exec(await browser.get("/join"))![1]!;
  person.vault.addPaymentMethod("visa", { type: "card", label: "Visa ending in 4242", reference: "tok-1" });
  const contract = await person.vault.connect(invite, { profile: { email } });
  return { person, userId: contract.user_id, contractId: contract.contract_id };
}

const forged = (origin: string) =>
  fetch(`${origin}/webhooks`, {
    method: "POST",
    headers: { "webhook-id": "a", "webhook-timestamp": "1", "webhook-signature": "v1a,AAAA" },
    body: "{}",
  });

describe("the shop", () => {
  it("lets in who confirms on their phone with the number on the page, and out when they leave", async () => {
    const { browser, origin } = await open(shop);
    const { person, userId, contractId } = await joined(browser, "ada@example.com", () => "later");
    // The account is there once the webhook was; then this is one ask, and its number is on the page.
    await expect
      .poll(async () => {
        await browser.post("/login", { email: "Ada@example.com" });
        return vault.requests.list({ user_id: userId }).toArray(2);
      }, POLL)
      .toHaveLength(1);
    await expect.poll(() => person.vault.asks({ state: "open" }).length, POLL).toBe(1);
    const number = /class="number">(\d+)</.exec(await browser.get("/"))![1]!;
    const asked = person.vault.asks({ state: "open" }).at(0)!;
    await person.vault.answer(asked.request_id, { decision: "approved", match_code: number });
    await expect.poll(() => browser.get("/"), POLL).toContain("Welcome, ada@example.com");
    // Another browser is nobody's.
    expect(await new Browser(origin).get("/")).not.toContain("Welcome");
    await person.vault.revoke(contractId);
    await expect.poll(() => browser.get("/"), POLL).not.toContain("Welcome");
  });

  it("says the same about an address nobody has, and lets nobody in by it", async () => {
    const { browser } = await open(shop);
    expect(await browser.post("/login", { email: "nobody@example.com" })).toContain('class="number"');
    expect(await browser.get("/")).not.toContain("Welcome");
  });

  it("refuses what its vault has not signed", async () => {
    const { origin } = await open(shop);
    expect((await forged(origin)).status).toBe(400);
  });
});

describe("the support centre", () => {
  it("calls, knows who answered, and they write to each other", async () => {
    const { browser, origin } = await open(support);
    const { person, userId } = await joined(browser, "grace@example.com", () => "later");
    await expect.poll(() => browser.get("/"), POLL).toContain("grace@example.com");
    const ringing = await browser.post("/calls", { user_id: userId, purpose: "About your parcel" });
    expect(ringing).toContain("nobody is verified yet");
    await expect.poll(() => person.vault.asks({ state: "open" }).length, POLL).toBe(1);
    const asked = person.vault.asks({ state: "open" })[0]!;
    const path = `/calls/${asked.request_id}`;
    expect(await browser.post(`${path}/say`, { text: "Your password is…" })).toContain("nobody is verified");
    await person.vault.answer(asked.request_id, { decision: "approved" });
    await expect.poll(() => browser.get(path), POLL).toContain("the customer is verified");
    expect(await browser.post(`${path}/say`, { text: "It comes tomorrow" })).toContain("It comes tomorrow");
    expect(await browser.post(`${path}/end`)).toContain("ended");
    expect((await forged(origin)).status).toBe(400);
  });
});

describe("the subscription", () => {
  it("is agreed to, charged once for its period, and ends when either ends it", async () => {
    const charges: string[] = [];
    const { browser, origin } = await open((setting) =>
      subscription({
        ...setting,
        charge: async ({ amount, currency, key }) => {
          charges.push(`${amount} ${currency}`);
          return `tx-${key.length}`;
        },
      }),
    );
    const { person, userId } = await joined(browser, "edsger@example.com", () => "later");
    await expect.poll(() => browser.get("/"), POLL).toContain(userId);
    await browser.post("/subscribe", { user_id: userId });
    await expect.poll(() => person.vault.asks({ state: "open" }).length, POLL).toBe(1);
    const asked = person.vault.asks({ state: "open" })[0]!;
    const path = `/memberships/${asked.request_id}`;
    await person.vault.answer(asked.request_id, { decision: "approved" });
    await expect.poll(() => browser.get(path), POLL).toContain("<p>active</p>");
    await expect.poll(() => browser.get(path), POLL).toContain("tx-");
    await browser.get(path);
    expect(charges).toEqual(["990 EUR"]);
    expect(await vault.subscriptions.get(asked.request_id)).toMatchObject({ status: "active" });
    expect(await browser.post(`${path}/cancel`)).toContain("<p>cancelled</p>");
    expect((await forged(origin)).status).toBe(400);
  });

  it("whose charge fails is past due, and is not charged again until it is due again", async () => {
    let tries = 0;
    const { browser } = await open((setting) =>
      subscription({
        ...setting,
        charge: () => {
          tries += 1;
          return Promise.reject(new Error("card declined"));
        },
      }),
    );
    const { person, userId } = await joined(browser, "barbara@example.com", () => "later");
    await browser.post("/subscribe", { user_id: userId });
    await expect.poll(() => person.vault.asks({ state: "open" }).length, POLL).toBe(1);
    const asked = person.vault.asks({ state: "open" })[0]!;
    await person.vault.answer(asked.request_id, { decision: "approved" });
    const path = `/memberships/${asked.request_id}`;
    const looks = () => Promise.all(Array.from({ length: 5 }, () => browser.get(path)));
    await expect.poll(async () => (await looks()).at(-1), POLL).toContain("past_due");
    expect(await vault.subscriptions.get(asked.request_id)).toMatchObject({ failed_attempts: 1 });
    expect(tries).toBe(1);
  });
});
