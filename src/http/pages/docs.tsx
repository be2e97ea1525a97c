// The page that reads /openapi.json aloud and lets one try it. Its reader is swagger-ui, served from this very origin
// as static files (public/docs): they are no part of the Worker's bundle, and the page loads nothing from elsewhere.

/** Scripts and styles from here alone; the reader's pictures are in its style sheet. */
export const docsHeaders: Record<string, string> = {
  "Content-Security-Policy": [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; "),
};

export function docsPage(serviceName: string): string {
  const document = (
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta name="robots" content="noindex, nofollow" />
        <title>API of {serviceName}</title>
        <link rel="icon" href="data:," />
        <link rel="stylesheet" href="/docs/swagger-ui.css" />
        <link rel="stylesheet" href="/docs/docs.css" />
        <script src="/docs/swagger-ui-bundle.js" defer></script>
        <script src="/docs/docs.js" defer></script>
      </head>
      <body>
        <div id="reference"></div>
        <noscript>
          <p>
            This page needs JavaScript. The same is at <a href="/openapi.json">/openapi.json</a>, for any
            tool.
          </p>
        </noscript>
      </body>
    </html>
  );
  return `<!doctype html>${document}`;
}
