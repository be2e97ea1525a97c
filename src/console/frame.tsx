// The frame of every page of the console, and the headers it is served with: everything from this origin, no inline
// style or script.

import type { Child } from "hono/jsx";
import { sha256 } from "../crypto/hash.ts";
import { toBase58 } from "../protocol/encoding.ts";
import { utf8 } from "../protocol/json.ts";
import type { Scope } from "../rpc.ts";
import type { ConsoleContext } from "./env.ts";
import { Icon, type IconName } from "./icons.tsx";
import { SCRIPT } from "./script.ts";
import { STYLE } from "./style.ts";
import { Id } from "./ui.tsx";

export const CONSOLE = "/console";

const VERSION_CHARACTERS = 12;
const versionOf = (text: string): string => toBase58(sha256(utf8(text))).slice(0, VERSION_CHARACTERS);

/** Files the pages load, each with the version that its address names. */
export const ASSETS = {
  style: { path: "/style.css", type: "text/css; charset=utf-8", text: STYLE, version: versionOf(STYLE) },
  script: {
    path: "/script.js",
    type: "text/javascript; charset=utf-8",
    text: SCRIPT,
    version: versionOf(SCRIPT),
  },
} as const;
const addressOf = ({ path, version }: (typeof ASSETS)[keyof typeof ASSETS]): string =>
  `${CONSOLE}${path}?v=${version}`;

export const CONSOLE_HEADERS: Record<string, string> = {
  "Content-Security-Policy": [
    "default-src 'none'",
    "style-src 'self'",
    "script-src 'self'",
    "connect-src 'self'",
    "img-src 'self' data:",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
  ].join("; "),
  // Not no-referrer: with that, browsers hide a form's origin, by which the server knows its own.
  "Referrer-Policy": "same-origin",
  "Cache-Control": "no-store",
};

interface NavItem {
  href: string;
  label: string;
  icon: IconName;
  scope: Scope;
}
/** Where one can go, and the scope that its page needs. */
const NAV: readonly NavItem[] = [
  { href: "/connections", label: "Connections", icon: "people", scope: "contracts:read" },
  { href: "/invites", label: "Invites", icon: "invite", scope: "contracts:read" },
  { href: "/offerings", label: "Offerings", icon: "offer", scope: "contracts:read" },
  { href: "/webhooks", label: "Webhooks", icon: "hook", scope: "admin" },
  { href: "/deliveries", label: "Deliveries", icon: "send", scope: "requests:read" },
  { href: "/keys", label: "API keys", icon: "key", scope: "admin" },
  { href: "/domain", label: "Domain", icon: "domain", scope: "contracts:read" },
  { href: "/audit", label: "Audit", icon: "audit", scope: "audit:read" },
];

const Mark = () => (
  <svg width="34" height="34" viewBox="0 0 34 34" aria-hidden="true">
    <rect width="34" height="34" rx="10" fill="var(--accent)" />
    <path
      d="M9.5 11.5 17 24l7.5-12.5"
      fill="none"
      stroke="var(--on-accent)"
      stroke-width="3.2"
      stroke-linecap="round"
      stroke-linejoin="round"
    />
  </svg>
);

const Brand = ({ name, environment }: { name: string; environment: string }) => (
  <a class="brand" href={CONSOLE}>
    <Mark />
    <span>
      <b>{name}</b>
      <small>
        Service Vault <span class={`env ${environment}`}>{environment}</span>
      </small>
    </span>
  </a>
);

const Links = ({ c, here }: { c: ConsoleContext; here: string }) => {
  const items = NAV.filter(({ scope }) => c.var.api.may(scope));
  const link = (href: string, label: string, icon: IconName, isCurrent: boolean) => (
    <li>
      <a href={`${CONSOLE}${href}`} {...(isCurrent ? { "aria-current": "page" } : {})}>
        <Icon name={icon} /> {label}
      </a>
    </li>
  );
  return (
    <ul class="nav">
      {link("", "Overview", "home", here === "")}
      {items.map(({ href, label, icon }) => link(href, label, icon, here === href))}
    </ul>
  );
};

const Who = ({ c }: { c: ConsoleContext }) => {
  const { keyId, scopes } = c.var.api.facts;
  return (
    <div class="who">
      <p>
        <a href="/docs">API reference</a>
      </p>
      <p>
        Signed in with key <Id value={keyId} /> <span>({scopes.join(", ")})</span>
      </p>
      <form method="post" action={`${CONSOLE}/sign-out`}>
        <input type="hidden" name="token" value={c.var.session.formToken} />
        <button class="btn plain small-btn" type="submit">
          Sign out
        </button>
      </form>
    </div>
  );
};

const documentOf = (title: string, content: Child): string => {
  const document = (
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta name="robots" content="noindex, nofollow" />
        <title>{title}</title>
        <link rel="stylesheet" href={addressOf(ASSETS.style)} />
        <link rel="icon" href="data:," />
        <script src={addressOf(ASSETS.script)} defer></script>
      </head>
      <body>{content}</body>
    </html>
  );
  return `<!doctype html>${document}`;
};

/** What was just done, by the word that the address after a form carries; nothing else is ever shown from there. */
const DONE: Record<string, string> = {
  accepted: "The connection is active. The person is told.",
  rejected: "The connection was turned down. The person is told.",
  paused: "The connection is paused. Asks are refused until you resume it; the person is told.",
  resumed: "The connection is active again. The person is told.",
  cancelled: "The connection has ended. What the person shared is destroyed; they are told.",
  rotating:
    "A new connection key is on its way. The old one is destroyed once the person's vault has confirmed it.",
  proposed: "The proposal is on its way. Nothing changes until the person agrees.",
  request_cancelled: "The request was taken back. The person is told.",
  withdrawn: "The invite was withdrawn. Its link no longer works.",
  published: "Published. New connections are made on this version; existing ones keep theirs.",
  unchanged: "Nothing was different from the published version, so it stays.",
  offering_withdrawn: "The offering was withdrawn. Connections made on it stay.",
  webhook_saved: "The webhook was saved.",
  webhook_enabled: "The webhook is enabled and goes on where it stopped.",
  webhook_disabled: "The webhook is disabled. Nothing is delivered to it until you enable it.",
  webhook_deleted: "The webhook was deleted.",
  redelivered: "The delivery was put back on a fresh schedule.",
  key_deleted: "The API key was deleted. Copies in memory may let it through for up to 30 more seconds.",
  log_resumed: "The log runs again.",
  log_halted: "The log looked again, and what was wrong is still wrong.",
  domain_checked: "The domain was checked.",
  registry_added: "The registry was added.",
  registry_removed: "The registry was removed.",
};

export interface Page {
  title: string;
  /** The navigation's entry this page belongs to: its address below /console. */
  here: string;
  content: Child;
  status?: number;
}

/** A page for whoever is signed in. */
export function page(c: ConsoleContext, { title, here, content, status = 200 }: Page): Response {
  const { SERVICE_NAME, ENVIRONMENT } = c.var.config;
  const done = Object.hasOwn(DONE, c.req.query("done") ?? "") ? DONE[c.req.query("done")!] : undefined;
  const brand = <Brand name={SERVICE_NAME} environment={ENVIRONMENT} />;
  const html = documentOf(
    `${title} – ${SERVICE_NAME}`,
    <>
      <a class="skip" href="#main">
        To the content
      </a>
      <div class="app">
        <header class="top">
          {brand}
          <details class="menu">
            <summary>
              <Icon name="menu" /> Menu
            </summary>
            <div>
              <nav aria-label="Console">
                <Links c={c} here={here} />
              </nav>
              <Who c={c} />
            </div>
          </details>
        </header>
        <header class="side">
          {brand}
          <nav aria-label="Console">
            <Links c={c} here={here} />
          </nav>
          <Who c={c} />
        </header>
        <main id="main" tabindex={-1}>
          {done !== undefined && (
            <p class="done" role="status">
              {done}
            </p>
          )}
          {content}
        </main>
      </div>
    </>,
  );
  return respond(c, html, status);
}

/** A page for anybody: the way in. */
export function barePage(c: ConsoleContext, title: string, content: Child, status = 200): Response {
  const { SERVICE_NAME, ENVIRONMENT } = c.var.config;
  const html = documentOf(
    `${title} – ${SERVICE_NAME}`,
    <div class="sign-in">
      <main id="main">
        <section class="card">
          <Brand name={SERVICE_NAME} environment={ENVIRONMENT} />
          {content}
        </section>
      </main>
    </div>,
  );
  return respond(c, html, status);
}

/** A part of a page, for the script. */
export function fragment(c: ConsoleContext, content: Child): Response {
  return respond(c, `<!doctype html><title>-</title>${content}`, 200);
}

function respond(c: ConsoleContext, html: string, status: number): Response {
  for (const [name, value] of Object.entries(CONSOLE_HEADERS)) c.header(name, value);
  return c.html(html, status as 200);
}
