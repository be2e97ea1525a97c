// The pages' one style sheet. It is part of the page and allowed by its hash, so a page loads nothing.

export const STYLE = `
:root {
  color-scheme: light dark;
  --ground: #f4f5f3; --surface: #ffffff; --sunken: #eef1ee; --line: #dbe0db;
  --text: #17211d; --muted: #55625c; --accent: #0c6152; --on-accent: #ffffff; --accent-soft: #e2f0ec;
  --notice: #fdf3dc; --notice-line: #ecd9a4; --notice-text: #5a4407;
  --shadow: 0 1px 2px rgb(20 40 30 / .05), 0 8px 28px rgb(20 40 30 / .06);
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #0e1412; --surface: #161e1b; --sunken: #1d2723; --line: #2b3833;
    --text: #e7eeea; --muted: #a5b3ac; --accent: #6fd3ba; --on-accent: #06241d; --accent-soft: #17342d;
    --notice: #2c2612; --notice-line: #51451d; --notice-text: #f0dfae;
    --shadow: none;
  }
}
*, *::before, *::after { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--text);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  overflow-wrap: anywhere; -webkit-text-size-adjust: 100%;
}
h1, h2, h3, p, ul, dl, dd { margin: 0; padding: 0; }
ul { list-style: none; }
a { color: var(--accent); text-underline-offset: .18em; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 3px; border-radius: .4rem; }
.page { max-width: 64rem; margin: 0 auto; padding: 1.25rem 1rem 3rem; }
.masthead { padding: 1.25rem 0 1.75rem; }
.eyebrow { color: var(--muted); font-size: .875rem; font-weight: 600; letter-spacing: .01em; }
.masthead h1 { font-size: clamp(1.65rem, 1.2rem + 2.2vw, 2.5rem); line-height: 1.18; letter-spacing: -.02em; font-weight: 680; margin: .35rem 0 .85rem; text-wrap: balance; }
.facts { display: flex; flex-wrap: wrap; gap: .5rem; }
.facts li { border: 1px solid var(--line); background: var(--surface); border-radius: .8rem; padding: .22rem .7rem; font-size: .875rem; color: var(--muted); }
.facts strong { color: var(--text); font-weight: 600; }
.columns { display: grid; gap: 1rem; grid-template-columns: minmax(0, 1fr); align-items: start; }
.card { background: var(--surface); border: 1px solid var(--line); border-radius: 1.1rem; padding: 1.25rem; box-shadow: var(--shadow); }
.stack > * + * { margin-top: 1rem; }
.button {
  display: block; text-align: center; text-decoration: none; font-weight: 650;
  background: var(--accent); color: var(--on-accent); border-radius: .75rem; padding: .85rem 1rem;
}
.button:hover { filter: brightness(1.08); }
.small { font-size: .875rem; color: var(--muted); }
.qr { background: #ffffff; border: 1px solid var(--line); border-radius: .9rem; padding: .25rem; max-width: 15rem; margin-inline: auto; }
.qr svg { display: block; width: 100%; height: auto; }
.center { text-align: center; text-wrap: balance; }
.notice { background: var(--notice); border: 1px solid var(--notice-line); color: var(--notice-text); border-radius: .75rem; padding: .75rem .9rem; font-size: .9375rem; }
.notice strong { display: block; }
.expiry { border-top: 1px solid var(--line); padding-top: .9rem; }
.offering-head { display: flex; flex-wrap: wrap; gap: .4rem 1rem; align-items: baseline; justify-content: space-between; }
h2 { font-size: 1.3rem; line-height: 1.25; letter-spacing: -.01em; font-weight: 660; }
h3 { font-size: .9375rem; font-weight: 650; margin: 1.5rem 0 .6rem; }
.price { background: var(--accent-soft); color: var(--accent); font-weight: 650; font-size: .875rem; border-radius: .85rem; padding: .2rem .75rem; }
.lead { color: var(--muted); margin-top: .45rem; white-space: pre-line; }
.rows { border: 1px solid var(--line); border-radius: .85rem; overflow: hidden; }
.rows > li { padding: .8rem .95rem; }
.rows > li + li { border-top: 1px solid var(--line); }
.row-head { display: flex; flex-wrap: wrap; gap: .2rem .75rem; justify-content: space-between; align-items: baseline; }
.row-head strong { font-weight: 620; }
.tag { font-size: .8125rem; color: var(--muted); }
.tag.open { color: var(--notice-text); background: var(--notice); border: 1px solid var(--notice-line); border-radius: 1rem; padding: 0 .55rem; }
.said { color: var(--muted); font-size: .9375rem; margin-top: .15rem; white-space: pre-line; }
.limits { display: flex; flex-wrap: wrap; gap: .35rem; margin-top: .5rem; }
.limits li { background: var(--sunken); border-radius: .5rem; padding: .1rem .5rem; font-size: .8125rem; color: var(--text); }
.conditions { margin-top: 1.25rem; border-top: 1px solid var(--line); padding-top: 1rem; }
.conditions p + p { margin-top: .35rem; }
code { font: .8125rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
footer { margin-top: 1.5rem; padding: 0 .25rem; }
footer p + p { margin-top: .4rem; }
.message { max-width: 34rem; margin: 12vh auto 0; padding: 2rem 1.5rem; }
.message h1 { font-size: 1.6rem; line-height: 1.25; letter-spacing: -.015em; font-weight: 670; text-wrap: balance; }
@media (min-width: 52rem) {
  .page { padding: 2rem 2rem 4rem; }
  .columns { grid-template-columns: minmax(0, 1fr) 20rem; gap: 1.5rem; }
  .act { grid-column: 2; grid-row: 1; position: sticky; top: 1.5rem; }
  .offers { grid-column: 1; grid-row: 1; }
  .card { padding: 1.6rem; }
}
`;
