// The operator's console in a real browser against the real stack: signing in, every page, everything that can be
// done there, and what keeps others out. Every page fits a phone and a desktop, in light and dark, and can be used by
// everyone. With SCREENSHOTS=1 each is checked in all four, and pictures go to test-results/console/ to be looked at.

import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OFFERINGS, STORY_VARS, type Story, tellStory } from "../../scripts/screenshots/story.ts";
import { Backend } from "../../scripts/stack/backend.ts";
import { type Stack, startStack } from "../../scripts/stack/stack.ts";
import { CHROMIUM, expectUsable, hasChromium, launchBrowser, SCHEMES, WIDTHS } from "./support/browser.ts";

const SCREENSHOTS = "test-results/console";
const TAKES_SCREENSHOTS = process.env.SCREENSHOTS !== undefined;
const STEP_TIMEOUT_MS = 15_000;

describe.skipIf(!hasChromium)(`the console (Chromium at ${CHROMIUM})`, () => {
  const dir = mkdtempSync(join(tmpdir(), "service-vault-console-"));
  let stack: Stack;
  let story: Story;
  let backend: Backend;
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;
  let receiver: Server;
  const noise: string[] = [];

  const at = (path: string) => `${stack.baseUrl}/console${path}`;
  const visit = (path: string) => page.goto(at(path));
  const button = (name: string) => page.getByRole("button", { name, exact: true });
  const link = (name: string) => page.getByRole("link", { name, exact: true });
  const main = () => page.innerText("main");
  const connection = (part = "") => `/connections/${story.contractId}${part}`;
  const statusOf = async () =>
    (await backend.expect(200, "GET", `contracts/${story.contractId}`)).status as string;

  async function signIn(on: Page, key: string): Promise<void> {
    await on.goto(at("/sign-in"));
    await on.getByLabel("API key").fill(key);
    await on.getByRole("button", { name: "Sign in" }).click();
  }

  beforeAll(async () => {
    mkdirSync(SCREENSHOTS, { recursive: true });
    [stack, browser] = await Promise.all([startStack({ dir, vars: STORY_VARS }), launchBrowser()]);
    backend = new Backend(stack.baseUrl, stack.adminApiKey);
    story = await tellStory(stack, readFileSync(stack.userVaultCredsFile, "utf8"));
    receiver = createServer((request, response) => {
      request.resume();
      request.once("end", () => response.writeHead(204).end());
    });
    await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
    context = await browser.newContext({ viewport: WIDTHS[1] });
    context.setDefaultTimeout(STEP_TIMEOUT_MS);
    page = await context.newPage();
    page.on("console", (message) => {
      // Chromium reports a refused form's status itself.
      if (!/status of 4\d\d/.test(message.text())) noise.push(`${page.url()}: ${message.text()}`);
    });
    page.on("pageerror", (error) => noise.push(String(error)));
    page.on("request", (request) => {
      const url = new URL(request.url());
      if (url.protocol !== "data:" && url.origin !== stack.baseUrl) noise.push(request.url());
    });
  });

  afterAll(async () => {
    await browser?.close();
    receiver?.closeAllConnections();
    receiver?.close();
    await story?.stop();
    await stack?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  /**
   * The page as it is now, without loading it again: on a phone in light and on a desktop in dark, which between them
   * have every size's layout and every scheme's colours.
   */
  async function looksRight(shot: string): Promise<void> {
    for (const size of WIDTHS)
      for (const colorScheme of SCHEMES) {
        const isChecked = (size.name === "phone") === (colorScheme === "light");
        if (!isChecked && !TAKES_SCREENSHOTS) continue;
        await page.setViewportSize(size);
        await page.emulateMedia({ colorScheme });
        const name = `${shot}-${size.name}-${colorScheme}`;
        await expectUsable(page, name);
        if (TAKES_SCREENSHOTS)
          await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: true });
      }
    await page.emulateMedia({ colorScheme: "light" });
  }

  // ---- the way in

  test("nobody gets in without a key, and a wrong one is refused without being repeated", async () => {
    await visit("/connections?status=active");
    expect(await page.innerText("h1")).toBe("Sign in to the console");
    await looksRight("sign-in");
    const wrong = stack.adminApiKey.replace(/.{6}$/, "000000");
    await page.getByLabel("API key").fill(wrong);
    await button("Sign in").click();
    expect(await page.getByRole("alert").innerText()).toContain("not a whole API key");
    expect(await page.content()).not.toContain(wrong);
    expect(await context.cookies()).toEqual([]);
  });

  test("a key opens the page one came for, and is in no place that an address or a script shows", async () => {
    await page.getByLabel("API key").fill(stack.adminApiKey);
    await button("Sign in").click();
    await page.waitForURL(at("/connections?status=active"));
    const [, , , secret] = stack.adminApiKey.split("_") as [string, string, string, string];
    const [cookie, ...others] = await context.cookies();
    expect(others).toEqual([]);
    expect(cookie).toMatchObject({ httpOnly: true, sameSite: "Strict", path: "/" });
    const seen = await page.evaluate<string>(
      "JSON.stringify([location.href, document.cookie, { ...localStorage }, { ...sessionStorage }, document.documentElement.outerHTML])",
    );
    expect(seen).not.toContain(secret);
    expect(JSON.parse(seen).slice(1, 4)).toEqual(["", {}, {}]);
    expect(cookie!.value).not.toContain(secret);
  });

  test("a page of another site cannot send forms, with or without an origin, and a form needs its token", async () => {
    const [cookie] = await context.cookies();
    const send = (headers: Record<string, string>, body = "reason=x") =>
      fetch(at(connection("/pause")), {
        method: "POST",
        redirect: "manual",
        headers: {
          cookie: `${cookie!.name}=${cookie!.value}`,
          "content-type": "application/x-www-form-urlencoded",
          connection: "close",
          ...headers,
        },
        body,
      });
    const token = await page.locator("input[name=token]").first().inputValue();
    const own = { origin: stack.baseUrl, "sec-fetch-site": "same-origin" };
    const foreign: Record<string, string>[] = [
      { origin: "https://evil.example" },
      { "sec-fetch-site": "cross-site" },
      {},
    ];
    for (const headers of foreign) {
      const answer = await send(headers, `token=${token}`);
      expect(answer.status).toBe(403);
      expect(await answer.text()).toContain("This form is out of date");
    }
    expect((await send(own)).status).toBe(403);
    expect((await send(own, "token=another")).status).toBe(403);
    expect(await statusOf()).toBe("active");

    const json = await send({ ...own, "content-type": "application/json" }, "{}");
    expect(json.status).toBe(403);
    const elsewhere = await fetch(at("/sign-in?next=//evil.example"), { headers: { connection: "close" } });
    expect(await elsewhere.text()).toContain('name="next" value="/console"');
  });

  test("the pages may load and run nothing from elsewhere", async () => {
    const answer = await fetch(at("/sign-in"), { headers: { connection: "close" } });
    const policy = answer.headers.get("content-security-policy") ?? "";
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("script-src 'self'");
    expect(policy).not.toMatch(/unsafe|http/);
    expect(answer.headers.get("cache-control")).toBe("no-store");
    expect(answer.headers.get("x-frame-options")).toBe("DENY");
    expect(await answer.text()).not.toMatch(/javascript:|\son[a-z]+=|\sstyle=|<style/i);
  });

  // ---- looking

  test("the overview shows sessions, lag, calls and their times, and keeps itself current", async () => {
    // As if it had been open for a while.
    await visit("?seen=1-1_60001-2");
    expect(await page.innerText("h1")).toContain("ready");
    const live = page.locator("[data-live]");
    expect(await live.getAttribute("data-seen")).toMatch(/^1-1_60001-2_\d+-\d+$/);
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))");
    await expect.poll(() => live.getAttribute("data-seen")).toMatch(/^1-1_60001-2_\d+-\d+_\d+-\d+$/);
    await page.getByRole("img", { name: /^Calls a second over/ }).waitFor();
    // What a page asks for itself is no call: two looks are a dozen of them.
    const [before, after] = (await live.getAttribute("data-seen"))!
      .split("_")
      .slice(-2)
      .map((look) => Number(look.split("-")[1]));
    expect(after! - before!).toBeLessThan(3);
    const text = await live.innerText();
    for (const words of ["Active connections", "Messages waiting in", "Messages waiting out", "Shard 0"])
      expect(text).toContain(words);
    const calls = await page.getByRole("img", { name: /^Calls by the scope/ }).getAttribute("aria-label");
    expect(calls).toMatch(/contracts:read: \d+ answers?/);
    expect(await page.getByRole("img", { name: /^Calls by how long/ }).getAttribute("aria-label")).toMatch(
      /up to \d+ ms: \d+ calls?/,
    );
    await looksRight("overview");
  });

  const PAGES: [string, () => string, string[]][] = [
    ["connections", () => "/connections", ["Membership", "Reading circle", "4 of 4", "paused"]],
    [
      "connection",
      () => connection(),
      ["Signed by the user", "payment.one_time", "none: every message has arrived"],
    ],
    ["requests", () => connection("/requests"), ["Confirm your order of €132.00", "denied", "Take back"]],
    ["changes", () => connection("/changes"), ["No change was proposed", "Send the proposal"]],
    ["trail", () => connection("/audit"), ["contract.accept", "auth.request"]],
    ["trail-check", () => connection("/audit/check"), ["The chain holds"]],
    ["end", () => connection("/end"), ["End this connection?", "Leave it as it is"]],
    ["invites", () => "/invites", ["membership", "used up", "any offering"]],
    ["invite-new", () => "/invites/new", ["Match code", "Valid for"]],
    ["offerings", () => "/offerings", ["€4.99 per month, after 30 days free", "you accept each"]],
    ["offering", () => "/offerings/membership", ["What the person sees", "at most €250.00 each time"]],
    ["offering-earlier", () => "/offerings/gift?version=1", ["This is version 1 as it was"]],
    ["webhooks", () => "/webhooks", ["Book-keeping", "every type"]],
    ["webhook-new", () => "/webhooks/new", ["Which types there are"]],
    ["deliveries", () => "/deliveries", ["contract.created", "answered 500"]],
    ["keys", () => "/keys", ["Shop backend", "you are signed in with it"]],
    ["key-new", () => "/keys/new", ["requests:read", "Lifetime"]],
    ["domain", () => "/domain", ["kastanie.example", "Register with a registry"]],
    ["audit", () => "/audit", ["api_key.created", "Check the chain", "The public log"]],
    ["nothing", () => "/nothing", ["There is nothing here"]],
  ];
  test.each(PAGES)(
    "%s says what it is about, fits, and can be used by everyone",
    async (shot, path, words) => {
      await visit(path());
      const text = await main();
      // A closed list's words are in its fields, too.
      for (const word of words) expect(text, word).toContain(word);
      await looksRight(shot);
    },
  );

  test("ids are shown short, held whole, and copied; times are exact for whoever asks", async () => {
    await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: stack.baseUrl });
    await visit(connection());
    const id = page.locator("dd .id").first();
    expect(await id.locator("code").getAttribute("title")).toBe(story.contractId);
    expect(await id.locator("code").textContent()).toBe(story.contractId);
    expect((await id.boundingBox())!.width).toBeLessThan(160);
    await id.getByRole("button").click();
    expect(await page.evaluate<string>("navigator.clipboard.readText()")).toBe(story.contractId);
    expect(await page.locator("time").first().getAttribute("title")).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/);
  });

  test("connections are found by user and status, and what is no id is said to be none", async () => {
    const { user_id } = await backend.expect(200, "GET", `contracts/${story.contractId}`);
    await visit("/connections");
    await page.getByLabel("User id").fill(user_id);
    await button("Filter").click();
    expect(await main()).toContain("1 of 1");
    await page.getByLabel("User id").fill("ada");
    await button("Filter").click();
    expect(await page.getByLabel("User id").inputValue()).toBe("ada");
    expect(await main()).toContain("must have at least 32 characters");
    await visit("/connections?status=expired");
    expect(await main()).toContain("No connection matches");
    await visit("/connections?status=cancelled");
    expect(await main()).toContain("1 of 1");
  });

  test("the proof of an entry is checked and shown, on both kinds of chains", async () => {
    for (const path of [connection("/audit"), "/audit"]) {
      await visit(path);
      await link("Proof").first().click();
      expect(await main()).toContain("The proof holds");
      expect(await main()).toContain("c2sp.org/tlog-proof@v1");
    }
    await looksRight("proof");
    await visit("/audit/check");
    expect(await main()).toContain("The chain holds");
    expect(await main()).toMatch(/leaf \d+ of \d+/);
  });

  // ---- doing

  test("a connection that waits is accepted, and another is turned down only after a question", async () => {
    await visit("/connections?status=pending");
    await link("Reading circle").click();
    await link("Accept").click();
    await link("Leave it as it is").click();
    expect(await page.innerText("h1")).toContain("pending");
    await link("Accept").click();
    await button("Accept the connection").click();
    expect(await page.getByRole("status").innerText()).toContain("The connection is active.");
    expect(await page.innerText("h1")).toContain("active");
  });

  test("a connection is paused and resumed, its key replaced, a request taken back, a change proposed", async () => {
    await visit(connection("/pause"));
    const reason = page.getByLabel("Reason");
    await reason.fill("x".repeat(501));
    await button("Pause the connection").click();
    expect(await page.getByRole("alert").innerText()).toContain("reason");
    expect(await reason.inputValue()).toHaveLength(501);
    await reason.fill("Stocktaking");
    await button("Pause the connection").click();
    expect(await statusOf()).toBe("paused");
    await link("Resume").click();
    await button("Resume the connection").click();
    expect(await statusOf()).toBe("active");

    await button("Replace the service's key").click();
    expect(await page.getByRole("status").innerText()).toContain("new connection key");

    await link("Requests").click();
    await button("Take back").first().click();
    expect(await page.getByRole("status").innerText()).toContain("taken back");
    expect(await main()).toContain("cancelled");

    await link("Changes").click();
    await page.getByLabel("What", { exact: true }).selectOption("remove_capabilities");
    await page.getByLabel("Why").fill("No more mail.");
    await button("Send the proposal").click();
    expect(await page.getByRole("alert").innerText()).toContain("capabilities: must have at least one entry");
    expect(await page.getByLabel("Why").inputValue()).toBe("No more mail.");
    await page.getByLabel("send_notifications").check();
    await button("Send the proposal").click();
    expect(await page.getByRole("status").innerText()).toContain("proposal is on its way");
    expect(await main()).toContain("No more mail.");
  });

  test("an offering is written with its preview beside it, refused with everything kept, and published", async () => {
    await visit("/offerings/new");
    await page.getByLabel("Id", { exact: true }).fill("Not An Id");
    await page.getByLabel("Name", { exact: true }).fill("Library card");
    await page.getByLabel("Description").fill("Borrow up to three books.");
    await page.getByLabel("What you use it for").fill("To let you in.");
    // Drawn anew while it is written.
    await page.locator("#preview").getByText("To let you in.").waitFor();
    await button("Add data").click();
    await page.getByLabel("Kind of data").fill("nickname");
    await page.getByLabel("Price", { exact: true }).selectOption("one_time");
    await page.getByLabel("Amount").fill("five");
    await button("Publish").click();
    const problems = await page.getByRole("alert").innerText();
    for (const words of ["offering id", "required data 1, purpose", "pricing, amount: must be an amount"])
      expect(problems).toContain(words);
    expect(await page.getByLabel("Kind of data").inputValue()).toBe("nickname");
    expect(await page.getByLabel("Description").inputValue()).toBe("Borrow up to three books.");
    await looksRight("offering-refused");

    await page.getByLabel("Id", { exact: true }).fill("library-card");
    await page.getByLabel("Amount").fill("5.50");
    await page.getByLabel("What it is for").fill("What we call you.");
    await page.locator("#preview").getByText("€5.50 once").waitFor();
    await button("Publish").click();
    expect(await page.getByRole("status").innerText()).toContain("Published.");
    expect(await page.innerText("h1")).toContain("version 1");
    const published = await backend.expect(200, "GET", "offerings/library-card");
    expect(published).toMatchObject({
      pricing: { type: "one_time", amount: 550, currency: "EUR" },
      required_data: [{ data_type: "nickname", purpose: "What we call you.", required: true }],
    });

    await button("Publish a new version").click();
    expect(await page.getByRole("status").innerText()).toContain("Nothing was different");
  });

  test("the preview is what the person then sees, and the editor changes nothing that it does not show", async () => {
    await visit("/offerings/membership");
    const previewed = await page.locator("#preview article").innerHTML();
    await button("Publish a new version").click();
    expect(await page.getByRole("status").innerText()).toContain("Nothing was different");
    const { invite_url } = await backend.expect(201, "POST", "contracts/invite", {
      offering_id: "membership",
    });
    await page.goto(invite_url);
    expect(await page.locator("article").innerHTML()).toBe(previewed);
    expect(await backend.expect(200, "GET", "offerings/membership")).toMatchObject(OFFERINGS.membership);
  });

  test("an invite is made, shown once with its code, leads to the page, and is withdrawn", async () => {
    await visit("/invites/new?offering_id=library-card");
    await page.getByLabel("People who may use it").fill("3");
    await page.getByLabel("Match code").selectOption("yes");
    await button("Make the invite").click();
    const text = await main();
    expect(text).toContain("for 3 people");
    expect(text).toMatch(/\d{6}/);
    await page.getByRole("img", { name: "QR code with the link of this invite" }).waitFor();
    await looksRight("invite-made");
    await link("See what the person sees").click();
    expect(await page.innerText("h1")).toContain("Kastanie Books invites you");
    const invited = page.url();

    await visit("/invites");
    await link("Withdraw").first().click();
    await button("Withdraw the invite").click();
    expect(await page.getByRole("status").innerText()).toContain("withdrawn");
    expect((await page.goto(invited.split("#")[0]!))!.status()).toBe(404);
  });

  test("a webhook is added, tested, changed, its secret rotated, its deliveries repeated, and deleted", async () => {
    const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/in`;
    await visit("/webhooks/new");
    await page.getByLabel("URL").fill("https://10.0.0.1/in");
    await page.getByLabel("Types of events").fill("contract.*\nno.such_type");
    await button("Add the webhook").click();
    expect(await page.getByRole("alert").innerText()).toContain("must be a type of event");
    expect(await page.getByLabel("URL").inputValue()).toBe("https://10.0.0.1/in");
    await page.getByLabel("Types of events").fill("contract.*");
    await page.getByLabel("URL").fill(url);
    await button("Add the webhook").click();
    expect(await main()).toMatch(/whsec_[A-Za-z0-9+/=]+/);
    await link("I have copied it").click();
    const here = page.url();

    await button("Send a test event").click();
    expect(await page.getByRole("status").innerText()).toContain("was taken: answered 204");
    await page.goto(here);
    await page.getByLabel("Description").fill("The till");
    await button("Save").click();
    expect(await page.getByRole("status").innerText()).toContain("saved");
    await button("Disable").click();
    expect(await main()).toContain("Nothing is delivered");
    await looksRight("webhook");
    await button("Enable").click();
    expect(await page.getByRole("status").innerText()).toContain("goes on where it stopped");

    await backend.expect(200, "POST", `contracts/${story.contractId}/pause`);
    await backend.expect(200, "POST", `contracts/${story.contractId}/resume`);
    await expect
      .poll(async () => {
        await page.goto(here);
        return main();
      })
      .toContain("contract.resumed");
    await button("Deliver again").last().click();
    expect(await page.getByRole("status").innerText()).toContain("fresh schedule");
    await page.getByLabel("From (UTC)").fill("2020-01-01T00:00");
    await page.getByLabel("To (UTC)").fill("2019-01-01T00:00");
    await button("Deliver again").first().click();
    expect(await page.getByRole("alert").innerText()).toContain("must be at or after");
    await page.goto(here);
    await button("Deliver again").first().click();
    expect(await page.getByRole("status").innerText()).toMatch(
      /\d+ events? (?:is|are) being delivered again/,
    );

    await page.goto(here);
    await link("Rotate the secret").click();
    await button("Make a new secret").click();
    expect(await main()).toMatch(/whsec_/);
    await link("I have copied it").click();
    expect(await main()).toContain("The one before");
    await link("Delete").click();
    await button("Delete the webhook").click();
    expect(await page.getByRole("status").innerText()).toContain("deleted");
    expect(await main()).not.toContain("The till");
  });

  test("the domain is looked at on demand, and a registry's address that is none is refused", async () => {
    await visit("/domain");
    expect(await main()).toContain("_vettid-service.kastanie.example");
    await page.getByLabel("Address of the registry").fill("ftp://registry.example");
    await button("Register").click();
    expect(await page.getByRole("alert").innerText()).toContain("url");
    expect(await page.getByLabel("Address of the registry").inputValue()).toBe("ftp://registry.example");
  });

  test("a key sees and does what its scopes allow, and its session ends when it is deleted or rotated", async () => {
    await visit("/keys/new");
    await page.getByLabel("Name", { exact: true }).fill("Front desk");
    for (const scope of ["requests:read", "requests:write"]) await page.getByLabel(scope).uncheck();
    await button("Make the key").click();
    expect(await page.getByRole("alert").innerText()).toContain("scopes");
    expect(await page.getByLabel("Name", { exact: true }).inputValue()).toBe("Front desk");
    await page.getByLabel("contracts:read").check();
    await button("Make the key").click();
    const key = await page.locator(".secret code").innerText();
    await looksRight("key-made");

    const other = await (await browser.newContext()).newPage();
    await signIn(other, key);
    await other.waitForURL(at(""));
    expect(await other.locator(".side .nav a").allInnerTexts()).toEqual([
      "Overview",
      "Connections",
      "Invites",
      "Offerings",
      "Domain",
    ]);
    await other.goto(at(connection()));
    expect(await other.locator(".tabs a").allInnerTexts()).toEqual(["Contract", "Changes"]);
    expect(await other.getByRole("link", { name: "Pause" }).count()).toBe(0);
    await other.goto(at("/offerings/membership"));
    expect(await other.getByRole("button", { name: /Publish/ }).count()).toBe(0);
    for (const path of ["/keys", "/webhooks", "/audit", "/deliveries"])
      expect((await other.goto(at(path)))!.status(), path).toBe(403);
    expect(await other.innerText("h1")).toBe("Your key does not allow this");
    // A form that is not offered to it is refused all the same.
    await other.goto(at(connection("/pause")));
    await other.getByRole("button", { name: "Pause the connection" }).click();
    expect(await other.getByRole("alert").innerText()).toContain("lacks the scope contracts:write");
    expect(await statusOf()).toBe("active");

    await visit("/keys");
    await link("Rotate Front desk").click();
    await page.getByLabel("The old secret").selectOption("0");
    await button("Give it a new secret").click();
    const rotated = await page.locator(".secret code").innerText();
    expect(rotated).not.toBe(key);
    await other.goto(at("/connections"));
    expect(await other.innerText("main")).toContain("Your session has ended");

    await signIn(other, rotated);
    await other.waitForURL(at(""));
    await visit("/keys");
    await link("Delete Front desk").click();
    await button("Delete the key").click();
    expect(await page.getByRole("status").innerText()).toContain("deleted");
    await other.goto(at("/connections"));
    expect(await other.innerText("main")).toContain("Your session has ended");
    await other.context().close();
  });

  test("without script everything is there: signing in, writing an offering, ending a connection", async () => {
    const plain = await (await browser.newContext({ javaScriptEnabled: false })).newPage();
    await signIn(plain, stack.adminApiKey);
    await plain.goto(at("/offerings/library-card"));
    await plain.getByRole("button", { name: "Add a capability" }).click();
    await plain.getByLabel("What you use it for").nth(1).fill("To remind you.");
    await plain.locator("[name='capabilities[1].capability']").selectOption("send_notifications");
    await plain.getByRole("button", { name: "Show the preview" }).click();
    expect(await plain.locator("#preview").innerText()).toContain("To remind you.");
    // Enter in a field shows the preview, too: nothing is published by accident.
    await plain.getByLabel("Name", { exact: true }).press("Enter");
    expect(await plain.innerText("h1")).toContain("version 1");
    await plain.getByRole("button", { name: "Remove capability 1" }).click();
    await plain.getByRole("button", { name: "Publish a new version" }).click();
    expect(await plain.innerText("h1")).toContain("version 2");
    const { capabilities } = await backend.expect(200, "GET", "offerings/library-card");
    expect(capabilities).toMatchObject([{ capability: "send_notifications", description: "To remind you." }]);

    await plain.goto(at(connection("/end")));
    await plain.getByLabel("Reason").fill("Account closed");
    await plain.getByRole("button", { name: "End the connection" }).click();
    expect(await plain.innerText("main")).toContain("by the service: “Account closed”");
    expect(await statusOf()).toBe("cancelled");
    await plain.context().close();
  });

  test("the keyboard reaches everything, the content first for whoever wants it", async () => {
    await page.setViewportSize(WIDTHS[1]);
    await visit("/invites");
    await page.keyboard.press("Tab");
    expect(await page.evaluate<string>("document.activeElement.textContent.trim()")).toBe("To the content");
    await page.keyboard.press("Enter");
    await page.keyboard.press("Tab");
    expect(await page.evaluate<string>("document.activeElement.textContent.trim()")).toBe("New invite");
    await page.setViewportSize(WIDTHS[0]);
    await visit("/invites");
    await page.locator(".menu > summary").press("Enter");
    await page.getByRole("link", { name: "Offerings" }).press("Enter");
    await page.waitForURL(at("/offerings"));
  });

  test("signing out ends it, and nothing was said on the browser's console all along", async () => {
    await page.setViewportSize(WIDTHS[1]);
    await button("Sign out").click();
    expect(await page.innerText("h1")).toBe("Sign in to the console");
    await visit("/keys");
    expect(await page.innerText("h1")).toBe("Sign in to the console");
    expect(await context.cookies()).toEqual([]);
    expect(noise).toEqual([]);
  });
});
