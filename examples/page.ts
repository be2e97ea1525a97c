// The examples' pages: plain HTML that says what to do. Nothing here is about VettID.

import { html, raw } from "hono/html";

type Html = ReturnType<typeof html>;

/** `refreshSeconds`: looks again by itself, while something is awaited. */
export const page = (title: string, body: Html, refreshSeconds?: number): Html =>
  html`<!doctype html>
<html lang="en">
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width" />
${refreshSeconds === undefined ? "" : raw(`<meta http-equiv="refresh" content="${refreshSeconds}" />`)}
<title>${title}</title>
<style>
  body { font: 1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 2rem auto; padding: 0 1rem; }
  input, button { font: inherit; padding: 0.4rem 0.6rem; }
  img { max-width: 12rem; }
  .number { font-size: 2.5rem; letter-spacing: 0.2rem; }
</style>
<h1>${title}</h1>
${body}
</html>`;
