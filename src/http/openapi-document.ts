// The OpenAPI document: what the routes declare, with what is said of all of them, and an example of each call.
//
// The examples are calls that were made: `npm run examples` records them from a real stack.

import type { App } from "./app-env.ts";
import recorded from "./examples.json" with { type: "json" };
import { API_PREFIX } from "./route.ts";
import { VERSION } from "./version.ts";

const INFO = {
  title: "VettID Service Vault",
  version: VERSION,
  description:
    "What a service's backend and an operator call. Each operation's `security` names the scope the API key must hold; `admin` holds every scope; an empty list means the operation is public.\n\nErrors are `application/problem+json`; switch on `code`. Send an `Idempotency-Key` with a POST that creates, and repeating it is safe for 24 hours. A list answers with `next_cursor` while there is more. `?wait=` holds the line until something changes.",
  license: { name: "AGPL-3.0-only", identifier: "AGPL-3.0-only" },
};

/** In the order of the document: from setting up to looking back. */
const TAGS: Record<string, string> = {
  Service: "Who the service is, and whether it works.",
  Connecting: "What a person's vault calls: the invite, credentials for the broker, and the way out.",
  Offerings: "What may be agreed to: offerings, and capabilities of the service's own.",
  Discovery: "How others find and recognise the service: its domain and registries.",
  "API keys": "Keys of backends and operators, and what each may do.",
  Contracts: "Invites, the contracts that come of them, and their changes up to their end.",
  Users: "People the service has a contract with.",
  Authentication: "Asking whether it is really them.",
  "Continuous authentication": "Asking again at intervals, while someone is signed in.",
  Calls: "Text, voice and video with someone who is known to be who they are.",
  Collaboration: "Data that services share in the person's vault, under the person's eyes.",
  Authorization: "Asking for leave to do one thing.",
  Data: "Data of the person's vault, and the service's own corner of it.",
  Signatures: "Documents and transactions, signed by the person.",
  Presence: "Whether someone is there.",
  Secrets: "Secrets kept in the person's vault.",
  Payments: "Asking for a payment, and telling what became of it.",
  Subscriptions: "Payments that come again.",
  Notifications: "Telling people something.",
  Custom: "Asks of the service's own making, by its manifest.",
  Requests: "Any ask, of whatever kind.",
  Audit: "The signed chains of what happened, and proofs of them.",
  Events: "What happened, in order.",
  Webhooks: "Being told, and what became of each telling.",
  "Moving a deployment": "Taking a deployment's data out, and in again elsewhere.",
};

interface Recorded {
  parameters?: Record<string, string>;
  request?: unknown;
  responses: Record<string, unknown>;
}
const EXAMPLES = recorded as unknown as Record<string, Recorded>;

interface Operation {
  /** Left there by the router. */
  middleware?: unknown;
  operationId?: string;
  description?: string;
  tags?: string[];
  parameters?: { name: string; in: string; example?: unknown; required?: boolean }[];
  requestBody?: { content?: Record<string, { example?: unknown }> };
  responses: Record<string, { content?: Record<string, { example?: unknown }> }>;
}

const METHODS = ["get", "post", "put", "patch", "delete"] as const;
const JSON_TYPE = "application/json";

/** `getApiKeys`, `postApiKeysByIdRotate`: a name of its own for each operation. */
function operationId(method: string, path: string): string {
  const words = path
    .replace(/^\/api\/v1/, "")
    .replaceAll(/\{(\w+)\}/g, "by-$1")
    .split(/[^A-Za-z0-9]+/)
    .filter((word) => word !== "");
  return method + words.map((word) => word[0]!.toUpperCase() + word.slice(1)).join("");
}

function addExamples(operation: Operation, { parameters = {}, request, responses }: Recorded): void {
  for (const parameter of operation.parameters ?? []) {
    const value = parameters[parameter.name];
    // An optional one would be tried along with the rest; the call that was recorded may have needed it, others do not.
    if (value !== undefined && parameter.required) parameter.example = value;
  }
  const body = operation.requestBody?.content?.[JSON_TYPE];
  if (body !== undefined && request !== undefined) body.example = request;
  for (const [status, value] of Object.entries(responses)) {
    const type = typeof value === "string" ? "text/plain" : JSON_TYPE;
    const media = operation.responses[status]?.content?.[type];
    if (media !== undefined) media.example = value;
  }
}

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
const takesKey = (path: string, post: Operation): boolean =>
  path.startsWith(`${API_PREFIX}/`) &&
  !WITHOUT_KEY.test(path) &&
  (["201", "202"].some((status) => Object.hasOwn(post.responses ?? {}, status)) ||
    /\/rotate(-secret)?$/.test(path) ||
    /Idempotency-Key/.test(post.description ?? ""));

type Document = ReturnType<App["getOpenAPI31Document"]>;

export function openApiDocument(app: App): Document {
  const declared = app.getOpenAPI31Document({ openapi: "3.1.0", info: INFO });
  // A copy: what the routes declared is shared with whatever runs them.
  const document = JSON.parse(JSON.stringify(declared)) as Document;
  const used = new Set<string>();
  for (const [path, item] of Object.entries(document.paths ?? {}))
    for (const method of METHODS) {
      const operation = item[method] as Operation | undefined;
      if (operation === undefined) continue;
      delete operation.middleware;
      if (method === "post" && takesKey(path, operation))
        operation.parameters = [...(operation.parameters ?? []), IDEMPOTENCY_KEY];
      operation.operationId = operationId(method, path);
      for (const tag of operation.tags ?? []) used.add(tag);
      const example = EXAMPLES[`${method.toUpperCase()} ${path}`];
      if (example !== undefined) addExamples(operation, example);
    }
  document.tags = Object.entries(TAGS).flatMap(([name, description]) =>
    used.has(name) ? [{ name, description }] : [],
  );
  return document;
}
