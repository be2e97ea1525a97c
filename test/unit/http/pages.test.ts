// The words of the pages, and the links and codes on them.

import decodeQR from "qr/decode.js";
import { describe, expect, it } from "vitest";
import pkg from "../../../package.json" with { type: "json" };
import { inviteLinks, qrSvg } from "../../../src/http/links.ts";
import { capabilityWords, constraintWords } from "../../../src/http/pages/capability-words.ts";
import { formatInstant, formatMoney, priceWords } from "../../../src/http/pages/format.ts";
import { VERSION } from "../../../src/http/version.ts";
import { kinds } from "../../../src/requests/registry.ts";

const manifest = {
  capabilities: [
    { name: "loyalty", description: "Book loyalty points", request_schema: {}, response_schema: {} },
  ],
  event_handlers: [],
  plans: [],
};

describe("a capability in plain words", () => {
  it("is known for every capability a kind may need, unless the service names it itself", () => {
    const capabilities = kinds.flatMap(({ operations }) =>
      operations.flatMap((operation) => operation.capabilities),
    );
    for (const capability of capabilities.filter((name) => !name.startsWith("custom")))
      expect(capabilityWords(capability, manifest)).not.toContain("An action of its own");
  });

  it.each([
    ["custom.loyalty", "Book loyalty points"],
    ["custom.other", "An action of its own: custom.other"],
    // A name that every object has must not be taken from the table's prototype.
    ["constructor", "An action of its own: constructor"],
  ])("%s: %s", (capability, words) => {
    expect(capabilityWords(capability, manifest)).toBe(words);
  });

  it("comes with its bounds", () => {
    expect(
      constraintWords({
        max_per_hour: 1,
        max_per_day: 5,
        max_amount: { amount: 1_250, currency: "EUR" },
        valid_until: "2026-01-31T08:15:00.000Z",
      }),
    ).toEqual([
      "at most once an hour",
      "at most 5 times a day",
      "at most €12.50 each time",
      `until ${formatInstant(Date.UTC(2026, 0, 31, 8, 15))}`,
    ]);
  });
});

describe("money", () => {
  it.each([
    [4_990, "EUR", "€49.90"],
    [500, "JPY", "¥500"],
    [1_234, "BHD", "BHD\u00a01.234"],
    [0, "USD", "$0.00"],
  ])("%d %s is %s", (amount, currency, text) => {
    expect(formatMoney({ amount, currency })).toBe(text);
  });

  it.each([
    [undefined, "Free"],
    [{ type: "free" as const }, "Free"],
    [{ type: "one_time" as const, amount: 900, currency: "EUR" }, "€9.00 once"],
    [
      {
        type: "subscription" as const,
        amount: 900,
        currency: "EUR",
        billing_cycle: "year" as const,
        trial_days: 1,
      },
      "€9.00 per year, after 1 day free",
    ],
    [{ type: "subscription" as const, amount: 900, currency: "EUR" }, "€9.00, recurring"],
  ])("%j costs %s", (price, words) => {
    expect(priceWords(price)).toBe(words);
  });
});

describe("an invite's links", () => {
  const links = inviteLinks("https://vault.example.com:8443", "c".repeat(22), "s".repeat(44));

  it("pin the service and name the host with its port", () => {
    expect(links.inviteUrl).toBe(
      `https://vault.example.com:8443/connect/${"c".repeat(22)}#${"s".repeat(44)}`,
    );
    const deep = new URL(links.deepLink);
    expect(deep.protocol).toBe("vettid:");
    expect(Object.fromEntries(deep.searchParams)).toEqual({
      vault: "vault.example.com:8443",
      code: "c".repeat(22),
      service: "s".repeat(44),
    });
  });

  it("are what a scanner reads from the drawing", () => {
    const svg = qrSvg(links.inviteUrl);
    const size = Number(/viewBox="0 0 (\d+) /.exec(svg)![1]);
    const scale = 4;
    const width = size * scale;
    const data = new Uint8Array(width * width * 4).fill(255);
    // Modules are 1×1 squares: `M x y h1 v1`; later ones are relative to the last.
    for (const [x, y] of modulesOf(svg))
      for (let dy = 0; dy < scale; dy++)
        for (let dx = 0; dx < scale; dx++)
          data.fill(
            0,
            ((y * scale + dy) * width + x * scale + dx) * 4,
            ((y * scale + dy) * width + x * scale + dx) * 4 + 3,
          );
    expect(decodeQR({ width, height: width, data })).toBe(links.inviteUrl);
  });
});

/** The dark modules of a drawing, following its path commands. */
function modulesOf(svg: string): [number, number][] {
  const path = / d="([^"]+)"/.exec(svg)![1]!;
  const modules: [number, number][] = [];
  let x = 0;
  let y = 0;
  for (const [, command, numbers = ""] of path.matchAll(/([Mm])(-?[\d.]+[ ,]?-?[\d.]*)/g)) {
    const [dx = 0, dy = 0] = numbers.match(/-?\d+/g)!.map(Number);
    [x, y] = command === "M" ? [dx, dy] : [x + dx, y + dy];
    modules.push([x, y]);
  }
  return modules;
}

it("the version told is the package's", () => {
  expect(VERSION).toBe(pkg.version);
});
