// The pictures in docs/screenshots/: console, connect page, phone page and API reference, at desktop and phone width,
// of a stack of its own on which a bookshop's story has been told.
//
//   npm run screenshots [-- --out <folder>]

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { type Browser, chromium, type Page } from "playwright-core";
import { startPhone } from "./phone/phone.ts";
import { STORY_VARS, type Story, tellStory } from "./screenshots/story.ts";
import { Backend } from "./stack/backend.ts";
import { PROJECT_ROOT } from "./stack/files.ts";
import { type Stack, startStack } from "./stack/stack.ts";

const CHROMIUM = process.env.CHROMIUM_BIN ?? "/usr/bin/chromium";
const STEP_TIMEOUT_MS = 30_000;
/** How long the overview looks at the rate, which is what it is drawn from. */
const BUSY_MS = 45_000;
/** A phone's picture is sharper than wide; a desktop's is shown smaller than it is. */
const VIEWS = [
  { name: "desktop", viewport: { width: 1280, height: 860 }, deviceScaleFactor: 1 },
  { name: "phone", viewport: { width: 360, height: 760 }, deviceScaleFactor: 1.5 },
] as const;
type View = (typeof VIEWS)[number];

const { values } = parseArgs({ options: { out: { type: "string" } } });
const out = values.out ?? join(PROJECT_ROOT, "docs", "screenshots");

if (!existsSync(CHROMIUM)) {
  console.error(`there is no Chromium at ${CHROMIUM}: install it, or name it in CHROMIUM_BIN`);
  process.exit(1);
}

async function shoot(page: Page, name: string, view: View): Promise<void> {
  const path = join(out, `${name}-${view.name}.png`);
  await page.screenshot({ path });
  console.log(`${relative(process.cwd(), path)}  ${Math.round(statSync(path).size / 1_024)} kB`);
}

async function signIn(page: Page, stack: Stack): Promise<void> {
  await page.goto(`${stack.baseUrl}/console/sign-in`);
  await page.getByLabel("API key").fill(stack.adminApiKey);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL(`${stack.baseUrl}/console`);
}

async function shootService(
  page: Page,
  view: View,
  stack: Stack,
  story: Story,
  inviteUrl: string,
): Promise<void> {
  await page.goto(inviteUrl);
  await shoot(page, "connect", view);
  await page.goto(`${stack.baseUrl}/docs`);
  await page.getByRole("button", { name: "Authorize" }).waitFor();
  await shoot(page, "docs", view);

  await signIn(page, stack);
  await page.waitForTimeout(BUSY_MS);
  await shoot(page, "console-overview", view);
  await page.goto(`${stack.baseUrl}/console/connections/${story.contractId}`);
  await shoot(page, "console-connection", view);
  await page.goto(`${stack.baseUrl}/console/offerings/${story.offeringId}`);
  if (view.name === "phone") await page.evaluate("document.getElementById('preview').scrollIntoView()");
  await shoot(page, "console-offering", view);
}

/** Calls as a shop makes them, until they are told to stop: now and then many. */
function keepBusy(backend: Backend, { contractId }: Story): () => Promise<void> {
  let goesOn = true;
  const calls = (async () => {
    for (let n = 0; goesOn; n++) {
      await backend.call("GET", n % 3 === 0 ? "offerings" : `contracts/${contractId}`);
      await new Promise((resolve) => setTimeout(resolve, 80 + 900 * Math.abs(Math.sin(n / 9))));
    }
  })();
  return async () => {
    goesOn = false;
    await calls;
  };
}

/** A login that waits on the screen of a person's phone, after they have connected there. */
async function shootPhone(
  browser: Browser,
  stack: Stack,
  backend: Backend,
  inviteUrl: string,
): Promise<void> {
  const { record } = await backend.expect(200, "GET", "domain");
  const phone = await startPhone({
    dir,
    port: 0,
    messageSpace: {
      endpoint: stack.messageSpace.server.wsUrl,
      creds: readFileSync(stack.userVaultCredsFile, "utf8"),
    },
    // The shop's domain is nobody's: its DNS says what it would have to say.
    resolveTxt: async (name) => (name === record.name ? [[record.value]] : []),
  });
  try {
    const [desktop, small] = await Promise.all(VIEWS.map((view) => browser.newPage(view)));
    for (const page of [desktop!, small!]) page.setDefaultTimeout(STEP_TIMEOUT_MS);
    await small!.goto(phone.url);
    await small!.getByLabel("Invite link").fill(inviteUrl);
    await small!.getByRole("button", { name: "Look at the invite" }).click();
    await small!.getByLabel("Email").fill("finn@example.com");
    await small!.getByRole("button", { name: "Connect", exact: true }).click();
    await small!.waitForURL(/\/connections\//);
    const contract = phone.vault.contracts()[0]!;
    const { user_id } = await backend.expect(200, "GET", `contracts/${contract.contract_id}`);
    await backend.ask(user_id, "Log in to Kastanie Books", {
      match_code: true,
      context: { device: "Firefox on Linux", city: "Graz" },
    });
    for (const [at, page] of [desktop!, small!].entries()) {
      await page.goto(phone.url);
      await page.getByRole("link", { name: "Log in to Kastanie Books" }).click();
      await page.getByRole("button", { name: "Approve" }).waitFor();
      await shoot(page, "phone", VIEWS[at]!);
    }
  } finally {
    await phone.stop();
  }
}

mkdirSync(out, { recursive: true });
const dir = mkdtempSync(join(tmpdir(), "service-vault-screenshots-"));
const stack = await startStack({ dir, vars: STORY_VARS });
try {
  const story = await tellStory(stack, readFileSync(stack.userVaultCredsFile, "utf8"));
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"],
  });
  try {
    const backend = new Backend(stack.baseUrl, stack.adminApiKey);
    const { invite_url } = await backend.expect(201, "POST", "contracts/invite", {
      offering_id: "membership",
    });
    const rest = keepBusy(backend, story);
    await Promise.all(
      VIEWS.map(async (view) => {
        const context = await browser.newContext(view);
        context.setDefaultTimeout(STEP_TIMEOUT_MS);
        await shootService(await context.newPage(), view, stack, story, invite_url);
        await context.close();
      }),
    );
    await rest();
    await shootPhone(browser, stack, backend, invite_url);
  } finally {
    await browser.close();
    await story.stop();
  }
} finally {
  await stack.stop();
  rmSync(dir, { recursive: true, force: true });
}
