// The OpenAPI document: what the routes declare, with what is said of all of them.

import type { App } from "./app-env.ts";
import { API_PREFIX } from "./route.ts";
import { VERSION } from "./version.ts";

const INFO = {
  title: "VettID Service Vault",
  version: VERSION,
  description:
    "What a service's backend and an operator call. Each operation's `security` names the scope the API key must hold; `admin` holds every scope; an empty list means the operation is public.",
  license: { name: "AGPL-3.0-only", identifier: "AGPL-3.0-only" },
};

const IDEMPOTENCY_KEY = {
  name: "Idempotency-Key",
  in: "header",
  required: false,
  description:
    "Of your choice, a new one for each thing to be done. The same key and body give the first answer again for 24 hours; another body is a `conflict`.",
  schema: { type: "string", minLength: 1, maxLength: 255 },
} as const;

/** POSTs that make something and take no key: what they make is worth nothing twice, or is under way once. */
const WITHOUT_KEY = /\/(ticket|rotate-key|redeliver)$/;

/** Whether a POST takes an Idempotency-Key: those that make something, and what is done to a request. */
const takesKey = (path: string, post: { responses?: object; description?: string }): boolean =>
  path.startsWith(`${API_PREFIX}/`) &&
  !WITHOUT_KEY.test(path) &&
  (["201", "202"].some((status) => Object.hasOwn(post.responses ?? {}, status)) ||
    /\/rotate(-secret)?$/.test(path) ||
    /Idempotency-Key/.test(post.description ?? ""));

export function openApiDocument(app: App) {
  const document = app.getOpenAPI31Document({ openapi: "3.1.0", info: INFO });
  for (const [path, { post }] of Object.entries(document.paths ?? {}))
    if (post !== undefined && takesKey(path, post))
      post.parameters = [...(post.parameters ?? []), IDEMPOTENCY_KEY];
  return document;
}
