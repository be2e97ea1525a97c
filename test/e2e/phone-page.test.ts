// The page that plays the user's phone, in a real browser against the real stack: a person connects, logs in with a
// match code, says that it was not them, and leaves. Every screen fits a phone and a desktop, in light and dark, and
// can be used by everyone. Screenshots go to test-results/phone-page/ to be looked at.

import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Phone, startPhone } from "../../scripts/phone/phone.ts";
import { Backend } from "../../scripts/stack/backend.ts";
import { type Stack, startStack } from "../../scripts/stack/stack.ts";
import { domainRecordText } from "../../src/contracts/domain.ts";
import { CHROMIUM, expectUsable, hasChromium, launchBrowser, SCHEMES, WIDTHS } from "./support/browser.ts";

const SCREENSHOTS = "test-results/phone-page";
const STEP_TIMEOUT_MS = 15_000;

const OFFERING = {
  name: "Membership",
  description: "Log in without a password and pay at the checkout.",
  capabilities: [
    {
      capability: "authenticate",
      description: "To log you in to the shop.",
      requires_approval_each_use: true,
    },
    {
      capability: "authorization_request",
      description: "To confirm large orders.",
      constraints: { max_per_day: 9 },
      requires_approval_each_use: true,
    },
    { capability: "payment.one_time", description: "To pay.", requires_approval_each_use: true },
    {
      capability: "send_notifications",
      description: "To tell you of parcels.",
      requires_approval_each_use: false,
    },
  ],
  required_data: [
    {
      data_type: "email",
      required: true,
      purpose: "Receipts and order updates.",
      retention: "while connected",
    },
    { data_type: "nickname", required: false, purpose: "How the shop greets you." },
  ],
  pricing: { type: "subscription", amount: 499, currency: "EUR", billing_cycle: "month", trial_days: 30 },
  terms_url: "https://shop.example/terms",
  acceptance: "automatic",
  match_code: true,
};

describe.skipIf(!hasChromium)(`the phone (Chromium at ${CHROMIUM})`, () => {
  const dir = mkdtempSync(join(tmpdir(), "service-vault-phone-"));
  let stack: Stack;
  let phone: Phone;
  let backend: Backend;
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;
  const noise: string[] = [];
  let serviceId = "";

  beforeAll(async () => {
    mkdirSync(SCREENSHOTS, { recursive: true });
    stack = await startStack({
      dir,
      vars: { SERVICE_NAME: "Kastanie Books", SERVICE_TYPE: "bookshop", SERVICE_DOMAIN: "kastanie.example" },
    });
    serviceId = stack.serviceId;
    backend = new Backend(stack.baseUrl, stack.adminApiKey);
    phone = await startPhone({
      dir,
      port: 0,
      messageSpace: {
        endpoint: stack.messageSpace.server.wsUrl,
        creds: readFileSync(stack.userVaultCredsFile, "utf8"),
      },
      resolveTxt: async (name) =>
        name === "_vettid-service.kastanie.example"
          ? [[domainRecordText({ serviceId, publicKey: stack.identity.signing_public_key })]]
          : [],
    });
    browser = await launchBrowser();
    context = await browser.newContext({ viewport: WIDTHS[0], deviceScaleFactor: 2 });
    context.setDefaultTimeout(STEP_TIMEOUT_MS);
    page = await context.newPage();
    page.on("console", (message) => noise.push(message.text()));
    page.on("pageerror", (error) => noise.push(String(error)));
    page.on("request", (request) => {
      if (!request.url().startsWith(phone.url)) noise.push(request.url());
    });
  });

  afterAll(async () => {
    await browser?.close();
    await phone?.stop();
    await stack?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  /** Goes to a screen; the one before may load itself again at that very moment and interrupt it. */
  async function visit(url: string): Promise<void> {
    await expect
      .poll(() => page.goto(url).then((answer) => answer?.ok(), String), { timeout: STEP_TIMEOUT_MS })
      .toBe(true);
  }

  /** The screen as it is now, at both widths and in both schemes, without loading it again. */
  async function looksRight(shot: string): Promise<void> {
    for (const size of WIDTHS)
      for (const colorScheme of SCHEMES) {
        await page.setViewportSize(size);
        await page.emulateMedia({ colorScheme });
        const name = `${shot}-${size.name}-${colorScheme}`;
        await expectUsable(page, name);
        await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: true });
      }
    await page.setViewportSize(WIDTHS[0]);
    await page.emulateMedia({ colorScheme: "light" });
  }

  const button = (name: string) => page.getByRole("button", { name, exact: true });
  /** The contract in force: a change that is agreed to makes another. */
  const contractId = () => phone.vault.contracts().find(({ status }) => status === "active")!.contract_id;
  const userId = () => phone.vault.contracts()[0]!.user_id;

  /** The newest ask, from the home screen, which shows it without being loaded again. */
  async function openAsk(words: string): Promise<void> {
    await page.getByRole("region", { name: "Waiting for you" }).getByRole("link", { name: words }).click();
    await page.waitForURL(/\/asks\//);
  }

  test("an empty phone says what to do, and a bad link is refused", async () => {
    await visit(phone.url);
    expect(await page.innerText("h1")).toBe("Nothing waits for you");
    await looksRight("home-empty");
    await page.getByLabel("Invite link").fill("https://nowhere.example/connect");
    await button("Look at the invite").click();
    expect(await page.getByRole("alert").innerText()).toContain("not a usable invite");
    await looksRight("invite-refused");
  });

  test("an invite is shown with what it grants, and connecting needs the data and the code", async () => {
    const { invite_url, match_code } = await backend.invite("membership", OFFERING);
    await page.getByLabel("Invite link").fill(invite_url);
    await button("Try again").click();
    const text = await page.innerText("main");
    for (const words of [
      "Kastanie Books",
      "kastanie.example, verified",
      "Ask you to confirm that it is you",
      "at most 9 times a day",
      "Receipts and order updates.",
      "€4.99 per month, after 30 days free",
      serviceId,
    ])
      expect(text).toContain(words);
    await looksRight("invite");

    await button("Connect").click();
    // The form's own check keeps it here.
    expect(await page.innerText("h1")).toBe("Kastanie Books");
    await page.getByLabel("Email").fill("ada@example.com");
    await page.getByLabel("Code").fill(match_code!);
    await button("Connect").click();
    await page.waitForURL(/\/connections\//);
    await page.getByText("Both signatures verify, from the record alone.").waitFor();
    expect(await page.innerText("main")).toContain("kastanie.example, verified");
    await looksRight("connection");
  });

  test("a login is approved with the number, and what the service counts is shown", async () => {
    await visit(phone.url);
    const { request_id, match_code } = await backend.ask(userId(), "Log in to Kastanie Books", {
      match_code: true,
      context: { device: "Firefox on Linux", city: "Graz", new_device: true },
    });
    await openAsk("Log in to Kastanie Books");
    expect(await page.innerText("h1")).toBe("Confirm that it is you");
    const text = await page.innerText("main");
    for (const words of [
      "Log in to Kastanie Books",
      "kastanie.example, verified",
      "connected since",
      "Graz",
      "left",
    ])
      expect(text).toContain(words);

    const approve = (await button("Approve").boundingBox())!;
    const decline = (await button("Decline").boundingBox())!;
    expect(decline.width * decline.height).toBeGreaterThanOrEqual(approve.width * approve.height);
    expect(Math.abs(decline.y - approve.y)).toBeLessThan(1);
    await looksRight("ask-login");

    await button("Approve").click();
    // Without the number it stays.
    expect(phone.vault.ask(request_id).state).toBe("open");
    await page.getByLabel("Number shown where you are logging in").fill(match_code);
    await button("Approve").click();
    await page.getByText("The service counts it as approved.").waitFor();
    expect((await backend.settled(request_id)).status).toBe("approved");
    await looksRight("ask-approved");
  });

  test("what was not me is declined, reported, and needs no number", async () => {
    await visit(phone.url);
    const { request_id } = await backend.ask(userId(), "Change the delivery address", { match_code: true });
    await openAsk("Change the delivery address");
    await button("This was not me").click();
    await page.getByText("You said it was not you").waitFor();
    await page.getByText("The service counts it as declined.").waitFor();
    expect((await backend.settled(request_id)).status).toBe("denied");
    expect(phone.vault.ask(request_id).reported).toBe(true);
    await looksRight("ask-not-me");
  });

  test("a kind with fields of its own shows them, and a screen open elsewhere follows", async () => {
    const { request_id } = await backend.expect(201, "POST", "authz/request", {
      user_id: userId(),
      purpose: "Two first editions",
      action: "order",
      resource: `<b>${"x".repeat(200)}</b>`,
    });
    await visit(phone.url);
    await openAsk("Two first editions");
    const text = await page.innerText("main");
    expect(text).toContain("<b>xxx");
    expect(text).toContain("The permission holds");
    await looksRight("ask-authz");
    // Decided on another screen: this one says so by itself.
    await phone.vault.answer(request_id, { decision: "denied" });
    await page.getByText("You declined").waitFor();
  });

  test("a payment shows its sum and its parts, a notification can be read", async () => {
    await backend.expect(202, "POST", "payment/request", {
      user_id: userId(),
      purpose: "Your order 1017",
      amount: { amount: 2_500, currency: "EUR" },
      description: "Two books",
      items: [
        { name: "Atlas", unit_amount: 1_900 },
        { name: "Almanac", quantity: 2, unit_amount: 300 },
      ],
    });
    await visit(phone.url);
    await openAsk("Your order 1017");
    const text = await page.innerText("main");
    for (const words of ["€25.00", "Two books", "Almanac", "€3.00"]) expect(text).toContain(words);
    await looksRight("ask-payment");
    await button("Decline").click();
    await page.getByText("The service counts it as declined.").waitFor();

    await visit(phone.url);
    await backend.expect(201, "POST", "notifications", {
      user_id: userId(),
      title: "Your parcel is on its way",
      body: "It comes tomorrow.",
      action_url: "https://shop.example/parcels/1017",
    });
    await page.getByText("It comes tomorrow.").waitFor();
    await looksRight("home-told");
    await button("Mark as read: Your parcel is on its way").click();
    await button("Mark as read: Your parcel is on its way").waitFor({ state: "detached" });
    expect(phone.vault.notifications()[0]!.read_at).toBeDefined();
  });

  test("what is typed is not taken away by a change", async () => {
    await visit(phone.url);
    await page.getByLabel("Invite link").fill("half a li");
    const { request_id } = await backend.ask(userId(), "Look at your orders");
    await page.getByText("This has changed in the meantime.").waitFor();
    expect(await page.getByLabel("Invite link").inputValue()).toBe("half a li");
    await page.getByRole("link", { name: "Show it as it is now" }).click();
    await openAsk("Look at your orders");
    await button("Decline").click();
    await page.getByText("You declined").waitFor();
    expect((await backend.settled(request_id)).status).toBe("denied");
    await page.getByRole("link", { name: "Home" }).click();
    await looksRight("home");
  });

  test("the person's own data is kept and removed", async () => {
    await visit(`${phone.url}/data`);
    await page.getByLabel("Name").fill("address/home");
    await page.getByLabel("Value").fill("Nußallee 3, 8010 Graz");
    await button("Keep it").click();
    await page.getByText("Nußallee 3").waitFor();
    await looksRight("data");
    await button("Remove address/home").click();
    await page.getByText("Nothing yet.").waitFor();
  });

  test("it can be used with the keyboard alone", async () => {
    await visit(phone.url);
    await page.keyboard.press("Tab");
    expect(await page.evaluate<string>("document.activeElement.textContent")).toBe("To the content");
    await backend.ask(userId(), "Download your invoices");
    await openAsk("Download your invoices");
    await button("Approve").focus();
    await page.keyboard.press("Tab");
    expect(await page.evaluate<string>("document.activeElement.textContent")).toBe("Decline");
    await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("Enter");
    await page.getByText("The service counts it as approved.").waitFor();
  });

  test("only its own forms are taken, under its own name", async () => {
    const send = (headers: Record<string, string>, method = "POST") =>
      new Promise<number>((resolve, reject) => {
        const outgoing = httpRequest(`${phone.url}/data`, { method, headers, agent: false }, (answer) => {
          answer.resume();
          resolve(answer.statusCode!);
        });
        outgoing.once("error", reject);
        outgoing.end();
      });
    expect(await send({})).toBe(403);
    expect(await send({ origin: "https://elsewhere.example" })).toBe(403);
    expect(await send({ origin: phone.url, "sec-fetch-site": "cross-site" })).toBe(403);
    expect(await send({ host: "elsewhere.example" }, "GET")).toBe(421);
    const answer = await fetch(phone.url);
    const policy = answer.headers.get("content-security-policy")!;
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toContain("unsafe");
  });

  test("a proposed change is shown whole, and agreed to or declined with the same ease", async () => {
    const [authenticate, authorization, payment] = OFFERING.capabilities;
    await backend.expect(200, "PUT", "offerings/gold", {
      ...OFFERING,
      capabilities: [
        authenticate,
        { ...authorization, constraints: { max_per_day: 3 } },
        payment,
        {
          capability: "verify_presence",
          description: "To deliver while you are at home.",
          constraints: { max_per_hour: 2 },
          requires_approval_each_use: true,
        },
      ],
      pricing: { ...OFFERING.pricing, amount: 699 },
    });
    const propose = (reason: string) =>
      backend.expect(201, "POST", `contracts/${contractId()}/amendments`, {
        type: "upgrade",
        offering_id: "gold",
        reason,
      });
    const before = contractId();
    await visit(`${phone.url}/connections/${before}`);
    await propose("Now with delivery");
    const card = page.getByRole("region", { name: "A change is proposed" });
    // The screen that is open follows.
    const text = await card.innerText();
    for (const words of [
      "Now with delivery",
      "The service could also",
      "To deliver while you are at home.",
      "at most 2 times an hour",
      "It could no longer",
      "To tell you of parcels.",
      "at most 9 times a day",
      "at most 3 times a day",
      "€4.99 per month",
      "€6.99 per month",
      "days left",
    ])
      expect(text).toContain(words);
    const agree = (await button("Agree").boundingBox())!;
    const decline = (await button("Decline").boundingBox())!;
    expect([decline.width, decline.height, decline.y]).toEqual([agree.width, agree.height, agree.y]);
    await looksRight("change-proposed");

    await button("Decline").click();
    await card.waitFor({ state: "detached" });
    expect(contractId()).toBe(before);

    // Gone home first: the connection's screen would load itself again under the next step.
    await visit(phone.url);
    const { amendment_id } = await propose("Now with delivery, really");
    await page.getByRole("link", { name: "A change is proposed." }).click();
    await card.waitFor();
    // From a screen that showed another proposal, nothing is agreed to.
    const form = page.getByRole("form", { name: "Your decision" });
    const proposal = await form.locator("input[name=proposal]").inputValue();
    const stale = await page.request.post(`${phone.url}/connections/${before}/update`, {
      form: { decision: "agree", proposal: "another" },
      headers: { origin: phone.url },
    });
    expect(stale.status()).toBe(422);
    expect(phone.vault.contract(before).proposal?.event_id).toBe(proposal);

    await button("Agree").click();
    await page.waitForURL((url) => url.pathname !== `/connections/${before}` && url.pathname !== "/");
    await page.getByText("Both signatures verify, from the record alone.").waitFor();
    expect(page.url()).toContain(contractId());
    expect(phone.vault.contract(before)).toMatchObject({
      status: "superseded",
      superseded_by: contractId(),
    });
    const { amendments } = await backend.expect(200, "GET", `contracts/${before}/amendments`);
    expect(amendments).toContainEqual(expect.objectContaining({ amendment_id, status: "applied" }));
    expect(await page.innerText("main")).toContain("To deliver while you are at home.");

    const { request_id } = await backend.ask(userId(), "Log in as a gold member");
    await expect.poll(() => phone.vault.asks({ state: "open" }).length, { timeout: STEP_TIMEOUT_MS }).toBe(1);
    await phone.vault.answer(request_id, { decision: "approved" });
    expect((await backend.settled(request_id)).status).toBe("approved");
  });

  test("a capability is taken back after being asked once more, and the rest stays", async () => {
    const id = contractId();
    await visit(`${phone.url}/connections/${id}`);
    const takeBack = page.getByRole("link", { name: /^Take back: .*pay/i });
    await takeBack.click();
    await looksRight("take-back");
    await page.getByRole("link", { name: "Keep it" }).click();
    expect(phone.vault.contract(id).capabilities).toContain("payment.one_time");
    await takeBack.click();
    await button("Take it back").click();
    await page.getByText("What you took back").waitFor();
    expect(await takeBack.count()).toBe(0);
    await looksRight("connection-narrowed");
    const refused = await backend.call("POST", "payment/request", {
      user_id: userId(),
      purpose: "Your order 1018",
      amount: { amount: 900, currency: "EUR" },
      description: "A book",
    });
    expect(refused).toMatchObject({ status: 403, body: { code: "capability_denied" } });
    const { capabilities } = await backend.expect(200, "GET", `contracts/${id}`);
    expect(capabilities).toEqual(["authenticate", "authorization_request", "verify_presence"]);
  });

  test("a connection shows its history, and ends after being asked once more", async () => {
    await visit(`${phone.url}/connections/${contractId()}`);
    expect(await page.innerText("main")).toContain("Auth response");
    await looksRight("connection-used");
    await page.getByRole("link", { name: "End the connection" }).click();
    await looksRight("revoke");
    await page.getByLabel("Reason").fill("I read enough");
    await button("End it").click();
    await page.getByText("ended by you").first().waitFor();
    await looksRight("connection-ended");
    const refused = await backend.call("POST", "auth/request", { user_id: userId(), purpose: "Log in" });
    expect(refused.status).toBe(403);
    expect(noise.filter((line) => !line.includes("422"))).toEqual([]);
  });
});
