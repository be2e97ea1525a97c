// /openapi.json: made from the routes' declarations, once per isolate; and /docs, the page that shows it.

import { z } from "@hono/zod-openapi";
import type { App } from "../app-env.ts";
import { openApiDocument } from "../openapi-document.ts";
import { docsHeaders, docsPage } from "../pages/docs.tsx";
import { API_KEY_SCHEME, defineRoute } from "../route.ts";

export function openApiRoutes(app: App): void {
  app.openAPIRegistry.registerComponent("securitySchemes", API_KEY_SCHEME, {
    type: "http",
    scheme: "bearer",
    bearerFormat: "svk_<environment>_<id>_<secret>",
    description:
      "An API key. Scopes: requests:read, requests:write, contracts:read, contracts:write, audit:read, admin.",
  });
  let text: string | undefined;
  app.openapi(
    defineRoute("public", {
      method: "get",
      path: "/openapi.json",
      tags: ["Service"],
      summary: "This description",
      responses: {
        200: {
          description: "An OpenAPI 3.1 document.",
          content: { "application/json": { schema: z.record(z.string(), z.unknown()) } },
        },
      },
    }),
    (c) => {
      text ??= JSON.stringify(openApiDocument(app));
      return c.body(text, 200, {
        "Content-Type": "application/json",
        "Cache-Control": "public, max-age=300",
        // Anyone may read the description from a page of their own, a documentation viewer for example.
        "Access-Control-Allow-Origin": "*",
      }) as never;
    },
  );

  app.openapi(
    defineRoute("public", {
      method: "get",
      path: "/docs",
      tags: ["Service"],
      summary: "This description, to read and to try",
      responses: {
        200: { description: "The page.", content: { "text/html": { schema: z.string() } } },
      },
    }),
    (c) => {
      for (const [name, value] of Object.entries(docsHeaders)) c.header(name, value);
      return c.html(docsPage(c.var.config.SERVICE_NAME), 200);
    },
  );
}
