// The page behind an invite, in a real browser: what it says, that it fits a phone, that everyone can use it, and
// that it loads and runs nothing. Screenshots go to test-results/connect-page/ to be looked at.

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import decodeQR from "qr/decode.js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Stack, startStack } from "../../scripts/stack/stack.ts";
import { CHROMIUM, expectUsable, hasChromium, launchBrowser, SCHEMES, WIDTHS } from "./support/browser.ts";

const SCREENSHOTS = "test-results/connect-page";

const membership = {
  name: "Membership",
  description:
    "Log in without a password, confirm orders over 100 euros, and get receipts where you want them.",
  capabilities: [
    {
      capability: "authenticate",
      description: "To log you in to the shop.",
      requires_approval_each_use: true,
    },
    {
      capability: "request_data",
      description: "To fill in your delivery address.",
      scope: ["address.home", "address.work.*"],
      constraints: { max_per_day: 3 },
      requires_approval_each_use: true,
    },
    {
      capability: "payment.one_time",
      description: "To pay at the checkout.",
      constraints: { max_amount: { amount: 25_000, currency: "EUR" }, max_per_hour: 1 },
      requires_approval_each_use: true,
    },
    {
      capability: "send_notifications",
      description: "To tell you where your parcel is.",
      scope: ["delivery"],
      requires_approval_each_use: false,
    },
  ],
  required_data: [
    {
      data_type: "email",
      required: true,
      purpose: "Receipts and order updates.",
      retention: "as long as connected",
    },
    { data_type: "birth_year", required: false, purpose: "A discount on your birthday." },
  ],
  pricing: { type: "subscription", amount: 499, currency: "EUR", billing_cycle: "month", trial_days: 30 },
  terms_url: "https://shop.example/terms",
  acceptance: "manual",
  inactivity_expiry_days: 365,
  match_code: true,
};

/** Nothing breaks a line in it. */
const awkward = {
  name: "W".repeat(100),
  description: "x".repeat(400),
  capabilities: [
    {
      capability: "custom.averyveryverylongcapabilityname",
      description: "y".repeat(300),
      scope: ["z".repeat(256), "<script>alert(1)</script>"],
      requires_approval_each_use: false,
    },
  ],
  required_data: [],
  acceptance: "automatic",
};

describe.skipIf(!hasChromium)(`the connect page (Chromium at ${CHROMIUM})`, () => {
  const dir = mkdtempSync(join(tmpdir(), "service-vault-connect-"));
  let stack: Stack;
  let browser: Browser;

  async function api<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await fetch(`${stack.baseUrl}/api/v1/${path}`, {
      method,
      headers: {
        authorization: `Bearer ${stack.adminApiKey}`,
        connection: "close",
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    expect(response.ok, `${method} ${path}: ${response.status}`).toBe(true);
    return (await response.json()) as T;
  }

  interface Invite {
    invite_id: string;
    invite_code: string;
    invite_url: string;
    deep_link: string;
    match_code?: string;
  }
  const invite = (body: object) => api<Invite>("POST", "contracts/invite", body);

  async function open(
    path: string,
    options: BrowserContextOptions = {},
  ): Promise<{ page: Page; noise: string[] }> {
    const context = await browser.newContext(options);
    const page = await context.newPage();
    const noise: string[] = [];
    page.on("console", (message) => noise.push(message.text()));
    page.on("pageerror", (error) => noise.push(String(error)));
    page.on("request", (request) => {
      if (new URL(request.url()).pathname !== new URL(path, stack.baseUrl).pathname)
        noise.push(request.url());
    });
    await page.goto(new URL(path, stack.baseUrl).href);
    return { page, noise };
  }

  beforeAll(async () => {
    mkdirSync(SCREENSHOTS, { recursive: true });
    stack = await startStack({
      dir,
      vars: { SERVICE_NAME: "Kastanie Books", SERVICE_TYPE: "bookshop", SERVICE_DOMAIN: "kastanie.example" },
    });
    browser = await launchBrowser();
    await api("PUT", "offerings/membership", membership);
  });

  afterAll(async () => {
    await browser?.close();
    await stack?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  async function looksRight(page: Page, shot: string): Promise<void> {
    await expectUsable(page, shot);
    await page.screenshot({ path: join(SCREENSHOTS, `${shot}.png`), fullPage: true });
  }

  const everywhere = WIDTHS.flatMap((size) => SCHEMES.map((scheme) => ({ ...size, scheme })));

  test.each(everywhere)("an invite fits, reads and passes axe at $name width, $scheme", async (view) => {
    const { invite_code } = await invite({ offering_id: "membership" });
    const { page, noise } = await open(`/connect/${invite_code}`, {
      viewport: view,
      colorScheme: view.scheme,
      deviceScaleFactor: 2,
    });
    await looksRight(page, `invite-${view.name}-${view.scheme}`);
    expect(noise).toEqual([]);
  });

  test.each(everywhere)(
    "several offerings and unbreakable words fit at $name width, $scheme",
    async (view) => {
      await api("PUT", "offerings/awkward", awkward);
      try {
        const { invite_code } = await invite({});
        const { page, noise } = await open(`/connect/${invite_code}`, {
          viewport: view,
          colorScheme: view.scheme,
        });
        await looksRight(page, `several-${view.name}-${view.scheme}`);
        expect(noise).toEqual([]);
        expect(await page.getByRole("article").count()).toBe(2);
        expect(await page.textContent("main")).toContain("<script>alert(1)</script>");
      } finally {
        await api("DELETE", "offerings/awkward");
      }
    },
  );

  test("it says who invites, what is granted, needed and paid, and that the domain is not verified", async () => {
    const { invite_code } = await invite({ offering_id: "membership", max_uses: 1 });
    const { page } = await open(`/connect/${invite_code}`);
    const text = await page.innerText("body");
    for (const words of [
      "Kastanie Books invites you to connect",
      "kastanie.example: claimed, not verified by this page",
      "Ask you to confirm that it is you",
      "only: address.home, address.work.*",
      "at most €250.00 each time",
      "at most once an hour",
      "without asking each time",
      "Receipts and order updates.",
      "kept: as long as connected",
      "€4.99 per month, after 30 days free",
      "The service confirms each connection itself",
      "Ends by itself after 365 days without use",
      "Have your code ready",
      "works for one person",
      stack.serviceId,
    ])
      expect(text).toContain(words);
    expect(await page.getByRole("link", { name: "Terms of Membership" }).getAttribute("href")).toBe(
      "https://shop.example/terms",
    );
  });

  test("button and QR code lead to the invite, and the keyboard reaches the button first", async () => {
    const made = await invite({ offering_id: "membership" });
    const { page } = await open(`/connect/${made.invite_code}`);
    const button = page.getByRole("link", { name: "Open in the VettID app" });
    expect(await button.getAttribute("href")).toBe(made.deep_link);
    expect(made.deep_link).toBe(
      `vettid://connect?vault=${encodeURIComponent(new URL(stack.baseUrl).host)}&code=${made.invite_code}&service=${stack.serviceId}`,
    );
    await page.keyboard.press("Tab");
    expect(await page.evaluate<string>("document.activeElement.href")).toBe(made.deep_link);

    const picture = (await page.locator(".qr").screenshot()).toString("base64");
    // Another page, because this one may load no image, not even from itself.
    const blank = await browser.newPage();
    const { width, height, data } = await blank.evaluate(async (png) => {
      const bytes = Uint8Array.from(atob(png), (letter) => letter.charCodeAt(0));
      const bitmap = await createImageBitmap(new Blob([bytes]));
      const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d")!;
      context.drawImage(bitmap, 0, 0);
      const pixels = context.getImageData(0, 0, bitmap.width, bitmap.height);
      return {
        width: pixels.width,
        height: pixels.height,
        data: btoa(Array.from(pixels.data, (byte) => String.fromCharCode(byte)).join("")),
      };
    }, picture);
    expect(decodeQR({ width, height, data: Uint8Array.from(Buffer.from(data, "base64")) })).toBe(
      made.invite_url,
    );
    expect(made.invite_url).toBe(`${stack.baseUrl}/connect/${made.invite_code}#${stack.serviceId}`);
  });

  test.each(everywhere)("invites that cannot be used say so at $name width, $scheme", async (view) => {
    const withdrawn = await invite({ offering_id: "membership" });
    await api("DELETE", `contracts/invites/${withdrawn.invite_id}`);
    const { page, noise } = await open(`/connect/${withdrawn.invite_code}`, {
      viewport: view,
      colorScheme: view.scheme,
    });
    expect(await page.innerText("h1")).toBe("This invite does not exist");
    await looksRight(page, `refused-${view.name}-${view.scheme}`);
    // Chromium reports the status itself.
    expect(noise.filter((line) => !line.includes("404"))).toEqual([]);
    const answer = await fetch(`${stack.baseUrl}/connect/${withdrawn.invite_code}`, {
      headers: { accept: "text/html", connection: "close" },
    });
    expect(answer.status).toBe(404);
  });

  test("it runs no script and loads nothing, whatever is written in an offering", async () => {
    const { invite_code } = await invite({ offering_id: "membership" });
    const answer = await fetch(`${stack.baseUrl}/connect/${invite_code}`, {
      headers: { accept: "text/html", connection: "close" },
    });
    const policy = answer.headers.get("content-security-policy") ?? "";
    expect(policy).toContain("default-src 'none'");
    expect(policy).toMatch(/style-src 'sha256-[A-Za-z0-9+/]{43}='/);
    expect(policy).not.toContain("script-src");
    expect(policy).not.toContain("unsafe");
    expect(answer.headers.get("referrer-policy")).toBe("no-referrer");
    expect(answer.headers.get("cache-control")).toBe("no-store");
    expect(await answer.text()).not.toMatch(/<script|javascript:|\son[a-z]+=/i);
  });
});
