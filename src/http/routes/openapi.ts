// /openapi.json: made from the routes' declarations, once per isolate.

import { z } from "@hono/zod-openapi";
import type { App } from "../app-env.ts";
import { API_KEY_SCHEME, defineRoute } from "../route.ts";
import { VERSION } from "../version.ts";

const INFO = {
  title: "VettID Service Vault",
  version: VERSION,
  description:
    "What a service's backend and an operator call. Each operation's `security` names the scope the API key must hold; `admin` holds every scope; an empty list means the operation is public.",
  license: { name: "AGPL-3.0-only", identifier: "AGPL-3.0-only" },
};

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
      text ??= JSON.stringify(app.getOpenAPI31Document({ openapi: "3.1.0", info: INFO }));
      return c.body(text, 200, {
        "Content-Type": "application/json",
        "Cache-Control": "public, max-age=300",
        // Anyone may read the description from a page of their own, a documentation viewer for example.
        "Access-Control-Allow-Origin": "*",
      }) as never;
    },
  );
}
