// Pages in a real browser, for end-to-end tests: how it is started, the sizes and schemes a page must stand, and what
// is asked of it there.

import { existsSync } from "node:fs";
import axe, { type AxeResults } from "axe-core";
import { type Browser, chromium, type Page } from "playwright-core";
import { expect } from "vitest";

export const CHROMIUM = process.env.CHROMIUM_BIN ?? "/usr/bin/chromium";
export const hasChromium = existsSync(CHROMIUM);

export const WIDTHS = [
  { name: "phone", width: 360, height: 760 },
  { name: "desktop", width: 1280, height: 860 },
] as const;
export const SCHEMES = ["light", "dark"] as const;

/** It looks nothing up and calls nobody of its own accord. */
export const launchBrowser = (): Promise<Browser> =>
  chromium.launch({
    executablePath: CHROMIUM,
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });

/** What axe-core finds on the page as it is now. */
export async function violations(page: Page): Promise<AxeResults["violations"]> {
  await page.evaluate(axe.source);
  const found = await page.evaluate<AxeResults>("axe.run(document, { resultTypes: ['violations'] })");
  return found.violations;
}

/** The page as it is now needs no scrolling sideways and can be used by everyone. `shot` names it in a failure. */
export async function expectUsable(page: Page, shot: string): Promise<void> {
  const overflow = await page.evaluate<number>("document.documentElement.scrollWidth - innerWidth");
  expect(overflow, `${shot}: horizontal scroll`).toBeLessThanOrEqual(0);
  const found = await violations(page);
  expect(
    found.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`),
    shot,
  ).toEqual([]);
}
