// The frame of every page: no script, nothing loaded from anywhere, the style allowed by its hash.

import type { Child } from "hono/jsx";
import { sha256 } from "../../crypto/hash.ts";
import { toBase64 } from "../../protocol/encoding.ts";
import { utf8 } from "../../protocol/json.ts";
import { STYLE } from "./style.ts";

/** Headers of a page, over those every answer has. */
export const pageHeaders: Record<string, string> = {
  "Content-Security-Policy": [
    "default-src 'none'",
    `style-src 'sha256-${toBase64(sha256(utf8(STYLE)))}'`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; "),
};

/** A whole document as text. */
export function page(title: string, content: Child): string {
  const document = (
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta name="robots" content="noindex, nofollow" />
        <title>{title}</title>
        <style dangerouslySetInnerHTML={{ __html: STYLE }} />
      </head>
      <body>{content}</body>
    </html>
  );
  return `<!doctype html>${document}`;
}
