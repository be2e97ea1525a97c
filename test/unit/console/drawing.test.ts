// What the console draws: charts, and the pieces its pages are put together from.

import { describe, expect, it } from "vitest";
import { CallsChart, DurationChart, RateChart } from "../../../src/console/charts.tsx";
import { ASSETS, CONSOLE_HEADERS } from "../../../src/console/frame.tsx";
import { LogCard, warningsOf } from "../../../src/console/standing.tsx";
import { Badge, Field, Id, Problems, Table, Time } from "../../../src/console/ui.tsx";

const numbers = (svg: string, name: string): number[] =>
  [...svg.matchAll(new RegExp(` ${name}="(-?[\\d.]+)"`, "g"))].map(([, value]) => Number(value));
const boxOf = (svg: string): { width: number; height: number } => {
  const [, width, height] = /viewBox="0 0 (\d+) (\d+)" role="img"/.exec(svg)!;
  return { width: Number(width), height: Number(height) };
};

describe("a chart", () => {
  it("of times says the counts in words, and draws every bar within its frame", () => {
    const svg = String(
      DurationChart({
        buckets: [
          { upTo: 0.01, count: 3 },
          { upTo: 0.1, count: 1_500 },
          { upTo: 1, count: 0 },
          { upTo: Infinity, count: 1 },
        ],
        p50: 0.04,
        p95: 0.09,
      }),
    );
    expect(svg).toContain("up to 10 ms: 3 calls; up to 100 ms: 1,500 calls; over 1.0 s: 1 call");
    expect(svg).toContain("half within 40 ms, 95 % within 90 ms");
    expect(svg).toContain(">1.5k<");
    const { width, height } = boxOf(svg);
    for (const x of numbers(svg, "x")) expect(x).toBeLessThanOrEqual(width);
    for (const y of numbers(svg, "y")) expect(y).toBeGreaterThanOrEqual(0);
    expect(Math.max(...numbers(svg, "height"))).toBeLessThanOrEqual(height);
  });

  it("of calls shows also a single failure among many", () => {
    const svg = String(
      CallsChart({
        calls: [{ scope: "public", succeeded: 1_000_000, refused: 0, failed: 1 }],
        since: "since the start",
      }),
    );
    expect(svg).toContain("public: 1,000,000 answers, 0 refused, 1 failed");
    const { width } = boxOf(svg);
    const [x, w] = [
      /class="bar failed" x="([\d.]+)"/,
      /class="bar failed" x="[\d.]+" y="\d+" width="([\d.]+)"/,
    ].map((pattern) => Number(pattern.exec(svg)![1]));
    expect(w).toBeGreaterThanOrEqual(2);
    expect(x! + w!).toBeLessThanOrEqual(width);
  });

  it.each([
    ["nothing", [0, 0, 0], "0/min now, 0/min at most"],
    ["a rise", [0, 1, 4], "4.0/s now, 4.0/s at most"],
  ])("of the rate draws %s", (_name, perSecond, words) => {
    const svg = String(
      RateChart({ points: perSecond.map((rate, at) => ({ at: at * 60_000, perSecond: rate })) }),
    );
    expect(svg).toContain(words);
    expect(svg).not.toMatch(/NaN|Infinity/);
  });
});

describe("what an operator should know", () => {
  const open = { status: "open" as const, size: 12, published_size: 12, waiting: 0, witnesses: [] };
  it("is nothing while all is well", () => {
    expect(warningsOf({ nats_credentials: {}, vault_kek: { status: "current" } }, open)).toEqual([]);
    expect(warningsOf({}, undefined)).toEqual([]);
  });
  it("is said of a halted log, of credentials that may still work, and of a key's replacement", () => {
    const halted = {
      ...open,
      status: "halted" as const,
      reason: "forked" as const,
      detail: "leaf 4 differs",
    };
    const warnings = warningsOf(
      { nats_credentials: { problem: "the cluster does not answer" }, vault_kek: { status: "rewrapped" } },
      halted,
    );
    expect(warnings).toHaveLength(3);
    expect(warnings[1]).toContain("The cluster does not answer.");
    expect(warnings[2]).toContain("VAULT_KEK_PREVIOUS may be taken out");
    const card = String(LogCard({ log: halted }));
    expect(card).toContain("another history than this log");
    expect(card).toContain("Leaf 4 differs.");
    expect(String(LogCard({ log: open }))).not.toContain("takes no more entries");
  });
});

describe("a piece of a page", () => {
  it("shows what was typed as text, and never as markup", () => {
    const evil = `"><script>alert(1)</script>`;
    const refusal = {
      status: 400,
      code: "invalid_request",
      detail: evil,
      details: [{ path: "name", message: evil }],
    };
    for (const html of [
      String(Field({ label: evil, name: "name", value: evil, hint: evil, refusal })),
      String(Field({ label: "x", name: "text", value: evil, lines: 2 })),
      String(Field({ label: "x", name: "one", value: evil, options: [{ value: evil, label: evil }] })),
      String(Id({ value: evil })),
      String(Badge({ status: evil })),
      String(Problems({ refusal })),
      String(Table({ caption: evil, head: [evil, evil], rows: [[evil, evil]] })),
    ]) {
      expect(html).not.toContain("<script>");
      expect(html).toContain("&lt;script&gt;");
    }
  });

  it("leads from a refusal to its field, which is marked and described", () => {
    const refusal = {
      status: 400,
      code: "invalid_request",
      detail: "",
      details: [{ path: "capabilities[0].scope[1]", message: "must be short" }],
    };
    expect(String(Problems({ refusal }))).toContain(
      '<a href="#f-capabilities-0-scope">capabilities 1, scope 2</a>',
    );
    const field = String(Field({ label: "Only for", name: "capabilities[0].scope", lines: 2, refusal }));
    expect(field).toContain('id="f-capabilities-0-scope"');
    expect(field).toContain('aria-invalid="true"');
    expect(field).toContain('aria-describedby="f-capabilities-0-scope-error"');
    expect(String(Problems({ refusal: undefined }) ?? "")).toBe("");
  });

  it("keeps the first line break of a text", () => {
    expect(String(Field({ label: "x", name: "x", value: "\nb", lines: 2 }))).toContain(">\n\nb</textarea>");
  });

  it("gives an id whole and a time exactly", () => {
    const id = "7".repeat(80);
    expect(String(Id({ value: id }))).toContain(`<code title="${id}">${id}</code>`);
    expect(String(Time({ at: "2026-01-31T08:15:00.000Z", now: Date.UTC(2026, 0, 31, 8, 20) }))).toBe(
      '<time datetime="2026-01-31T08:15:00.000Z" title="2026-01-31T08:15:00.000Z" class="nowrap">5 min ago</time>',
    );
  });

  it("is served under a policy that lets nothing inline in, and loads nothing from elsewhere", () => {
    expect(CONSOLE_HEADERS["Content-Security-Policy"]).not.toMatch(/unsafe|https?:|\*/);
    expect(ASSETS.style.text).not.toMatch(/url\(|@import/);
    expect(ASSETS.script.text).not.toMatch(/innerHTML|eval|localStorage|sessionStorage|https?:/);
  });
});
