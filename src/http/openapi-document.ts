// The OpenAPI document: what the routes declare, with what is said of all of them.

import type { App } from "./app-env.ts";
import { VERSION } from "./version.ts";

const INFO = {
  title: "VettID Service Vault",
  version: VERSION,
  description:
    "What a service's backend and an operator call. Each operation's `security` names the scope the API key must hold; `admin` holds every scope; an empty list means the operation is public.",
  license: { name: "AGPL-3.0-only", identifier: "AGPL-3.0-only" },
};

export const openApiDocument = (app: App) => app.getOpenAPI31Document({ openapi: "3.1.0", info: INFO });
