// The frame of every screen: one document with its style and the small script that keeps it current. Everything works
// without the script.

import { createHash, randomBytes } from "node:crypto";
import { html, raw } from "hono/html";
import { STYLE as BASE_STYLE } from "../../src/http/pages/style.ts";

/** A piece of a page. Text put into one is escaped. */
export type Html = ReturnType<typeof html>;

const STYLE = `${BASE_STYLE}
:root { --danger: #a3231b; --on-danger: #ffffff; --danger-soft: #fbe9e7; --danger-line: #eec4bf; }
@media (prefers-color-scheme: dark) {
  :root { --danger: #ff9d92; --on-danger: #3a0a06; --danger-soft: #34191a; --danger-line: #5f2c2a; }
}
ol { margin: 0; padding: 0; list-style: none; }
form { margin: 0; }
[hidden] { display: none !important; }
.phone { max-width: 34rem; margin: 0 auto; padding: 0 1rem 3rem; }
.bar { display: flex; gap: .5rem 1rem; align-items: center; justify-content: space-between; padding: .9rem 0; }
.bar a { display: inline-flex; align-items: center; min-height: 2.75rem; font-weight: 620; text-decoration: none; }
.link { font-size: .875rem; color: var(--muted); display: inline-flex; align-items: center; gap: .45rem; }
.link::before { content: ""; width: .6rem; height: .6rem; border-radius: 50%; background: var(--accent); }
.link.down::before { background: var(--danger); }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: .5rem; background: var(--surface); padding: .6rem .9rem; border-radius: .5rem; z-index: 1; }
.title { padding: .35rem 0 1.1rem; }
.title h1 { font-size: clamp(1.5rem, 1.2rem + 1.6vw, 2rem); line-height: 1.2; letter-spacing: -.018em; font-weight: 680; margin: .2rem 0 .5rem; text-wrap: balance; }
.title h1:focus { outline: none; }
.part { margin-top: 1.6rem; }
.part > h2 { font-size: 1.0625rem; margin-bottom: .6rem; }
.list { display: grid; gap: .6rem; }
.entry { display: block; background: var(--surface); border: 1px solid var(--line); border-radius: .95rem; padding: .85rem 1rem; color: inherit; text-decoration: none; box-shadow: var(--shadow); }
a.entry:hover { border-color: var(--accent); }
.entry.open { border-color: var(--accent); border-width: 2px; }
.entry strong { font-weight: 640; }
.entry .small { display: block; margin-top: .1rem; }
.empty { border: 1px dashed var(--line); border-radius: .95rem; padding: 1rem; color: var(--muted); font-size: .9375rem; }
.chips { display: flex; flex-wrap: wrap; gap: .4rem; margin-top: .6rem; }
.chip { border: 1px solid var(--line); background: var(--sunken); border-radius: .8rem; padding: .15rem .65rem; font-size: .8125rem; color: var(--text); }
.chip.good { background: var(--accent-soft); color: var(--accent); border-color: transparent; font-weight: 620; }
.chip.bad { background: var(--notice); color: var(--notice-text); border-color: var(--notice-line); font-weight: 620; }
.saying { border-left: 3px solid var(--accent); padding: .1rem 0 .1rem .85rem; font-size: 1.0625rem; white-space: pre-line; }
.amount { font-size: 2rem; line-height: 1.2; font-weight: 680; letter-spacing: -.02em; font-variant-numeric: tabular-nums; }
dl.fields { display: grid; grid-template-columns: minmax(0, 1fr); }
dl.fields > div { padding: .55rem 0; border-top: 1px solid var(--line); }
dl.fields > div:first-child { border-top: 0; }
dt { color: var(--muted); font-size: .875rem; }
dd dl.fields { border-left: 2px solid var(--line); padding-left: .8rem; margin-top: .3rem; }
dd ol > li + li, dd ul > li + li { margin-top: .3rem; }
.left { display: flex; flex-wrap: wrap; gap: .1rem .75rem; justify-content: space-between; font-size: .9375rem; }
.left strong { font-variant-numeric: tabular-nums; }
.decide { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: .75rem; }
button, .press { display: block; width: 100%; font: inherit; font-weight: 650; text-align: center; text-decoration: none; border: 2px solid transparent; border-radius: .8rem; min-height: 3.25rem; padding: .75rem .9rem; cursor: pointer; background: var(--accent); color: var(--on-accent); }
button:hover, .press:hover { filter: brightness(1.08); }
button.no { background: var(--danger); color: var(--on-danger); }
button.alarm { background: var(--danger-soft); color: var(--danger); border-color: var(--danger-line); }
button.plain, .press.plain { background: var(--surface); color: var(--text); border-color: var(--line); }
button.slim { width: auto; min-height: 2.75rem; padding: .4rem .9rem; }
label, legend { font-weight: 620; display: block; padding: 0; }
fieldset { border: 0; margin: 0; padding: 0; min-width: 0; }
label .small, .hint { font-weight: 400; display: block; }
.hint { font-size: .875rem; color: var(--muted); }
input[type=text], textarea, select { display: block; width: 100%; margin-top: .4rem; font: inherit; color: var(--text); background: var(--surface); border: 1px solid var(--muted); border-radius: .7rem; padding: .7rem .8rem; min-height: 3rem; }
h2.sub { font-size: .9375rem; margin-bottom: .3rem; }
input[type=text], textarea, select { font-weight: 400; }
textarea { min-height: 6rem; resize: vertical; }
input.code { font-size: 1.75rem; font-weight: 650; letter-spacing: .3em; text-align: center; font-variant-numeric: tabular-nums; }
label.tick { display: flex; gap: .7rem; align-items: center; font-weight: 500; min-height: 2.75rem; }
label.tick input { width: 1.25rem; height: 1.25rem; flex: none; accent-color: var(--accent); margin: 0; }
.alert { background: var(--danger-soft); border: 1px solid var(--danger-line); color: var(--danger); border-radius: .75rem; padding: .75rem .9rem; }
.verdict { border-radius: .95rem; padding: 1rem; background: var(--sunken); }
.verdict.good { background: var(--accent-soft); }
.verdict.bad { background: var(--danger-soft); }
.verdict strong { display: block; font-size: 1.125rem; }
.checks li { display: flex; gap: .6rem; padding: .2rem 0; }
.checks .mark { color: var(--accent); font-weight: 700; flex: none; }
.checks .failed .mark { color: var(--danger); }
summary { cursor: pointer; min-height: 2.75rem; display: list-item; padding: .6rem 0; color: var(--muted); font-size: .9375rem; }
pre { margin: 0; white-space: pre-wrap; font: .8125rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; background: var(--sunken); border-radius: .6rem; padding: .75rem; }
.row { display: flex; flex-wrap: wrap; gap: .5rem .9rem; align-items: center; justify-content: space-between; }
.row > :first-child { flex: 1 1 10rem; min-width: 0; }
@media (min-width: 52rem) { .phone { padding-top: 1rem; } .card { padding: 1.5rem; } }
`;

// A page with anything typed in it is not taken away; it says that it is old. The path is compared because a form's
// answer lies under the form's address, which cannot be fetched. Once a form is sent its answer is on its way: loading
// the page again because of what the form changed would take that answer's place.
const SCRIPT = `
const { watch, version, here } = document.body.dataset;
let typed = false, sent = false;
addEventListener("input", () => { typed = true; });
addEventListener("submit", () => { sent = true; });
const renew = () => {
  if (sent) return;
  if (typed) { document.getElementById("stale").hidden = false; return; }
  if (location.pathname === here) location.reload(); else location.replace(here);
};
if (watch) new EventSource("/changes?topic=" + encodeURIComponent(watch) + "&since=" + version).addEventListener("change", renew);
const two = (n) => String(n).padStart(2, "0");
const tick = () => {
  for (const element of document.querySelectorAll("[data-until]")) {
    const s = Math.max(0, Math.ceil((Date.parse(element.dataset.until) - Date.now()) / 1000));
    if (s >= 3600) continue;
    element.textContent = s === 0 ? "no time left" : Math.floor(s / 60) + ":" + two(s % 60) + " left";
  }
};
tick();
setInterval(tick, 1000);
`;

const STYLE_HASH = createHash("sha256").update(STYLE).digest("base64");

export interface Frame {
  title: string;
  content: Html;
  /** The screen's own address. */
  here: string;
  online: boolean;
  /** The topic whose change makes this screen old; absent: it is left alone. */
  watch?: string | undefined;
  version: number;
  status?: number;
}

/** A whole screen as a response. */
export async function screen({
  title,
  content,
  here,
  online,
  watch,
  version,
  status,
}: Frame): Promise<Response> {
  const nonce = randomBytes(16).toString("base64");
  const home = title === "Home";
  const document = await html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title} – phone</title>
<style>${raw(STYLE)}</style>
</head>
<body data-watch="${watch ?? ""}" data-version="${version}" data-here="${here}">
<a class="skip" href="#main">To the content</a>
<div class="phone">
<header class="bar">
<nav aria-label="Main">${home ? html`<a href="/data">My data</a>` : html`<a href="/">‹ Home</a>`}</nav>
<span class="${online ? "link" : "link down"}">${online ? "online" : "not connected"}</span>
</header>
<main id="main">
<p class="notice" id="stale" role="status" hidden>This has changed in the meantime. <a href="${here}">Show it as it is now</a></p>
${content}
</main>
</div>
<script nonce="${nonce}">${raw(SCRIPT)}</script>
</body>
</html>`;
  return new Response(String(document), {
    status: status ?? 200,
    headers: {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": [
        "default-src 'none'",
        `style-src 'sha256-${STYLE_HASH}'`,
        `script-src 'nonce-${nonce}'`,
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
      ].join("; "),
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      // Not no-referrer: with that, browsers hide a form's origin, by which the server knows its own.
      "referrer-policy": "same-origin",
    },
  });
}
