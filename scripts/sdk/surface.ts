// The vault's HTTP surface as its own code describes it: the OpenAPI document of the routes, and which of them ask a
// person. The Worker's code is bundled for Node and asked; nothing of it runs but the declarations.

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { PROJECT_ROOT } from "../stack/files.ts";

/** A JSON Schema, as far as this project writes them. */
export interface Schema {
  $ref?: string;
  type?: string | string[];
  description?: string;
  const?: unknown;
  enum?: unknown[];
  anyOf?: Schema[];
  oneOf?: Schema[];
  allOf?: Schema[];
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: Schema | boolean;
  items?: Schema;
  prefixItems?: Schema[];
}

export interface DescribedOperation {
  tags?: string[];
  /** Empty for a public one. */
  security?: Record<string, string[]>[];
  summary?: string;
  description?: string;
  parameters?: { name: string; in: string; required?: boolean; description?: string; schema: Schema }[];
  requestBody?: { required?: boolean; content: Record<string, { schema: Schema }> };
  responses: Record<string, { description?: string; content?: Record<string, { schema: Schema }> }>;
}

export interface Surface {
  /** As /openapi.json says it. */
  document: object;
  components: Record<string, Schema>;
  /** By path, then by method in lower case. */
  paths: Record<string, Record<string, DescribedOperation>>;
  /** `post auth/request`: where the request it makes is read, without the id. */
  asks: Record<string, string>;
  /** GETs that make the same ask as one of those. */
  joins: string[];
  /** HTTP status by the code of a refusal. */
  errors: Record<string, number>;
  /** Types of events there are, but for those of asks of the service's own making. */
  eventTypes: string[];
}

const ENTRY = `
import { app } from "./src/http/app.ts";
import { PROBLEMS } from "./src/http/errors.ts";
import { openApiDocument } from "./src/http/openapi-document.ts";
import { kinds } from "./src/requests/registry.ts";
import { EVENT_TYPES, responseType, TEST_EVENT_TYPE } from "./src/webhooks/event.ts";
export function surface() {
  const document = openApiDocument(app);
  const { components, paths } = document;
  const asks = {};
  const joins = [];
  for (const { getPath, operations } of kinds)
    for (const { path, method = "post", joinPath, resource } of operations) {
      asks[method + " " + path] = resource?.getPath ?? getPath;
      if (joinPath !== undefined) joins.push("get " + joinPath);
    }
  const eventTypes = new Set([...EVENT_TYPES, TEST_EVENT_TYPE, ...kinds.map(({ name }) => responseType(name))]);
  const errors = Object.fromEntries(Object.entries(PROBLEMS).map(([code, { status }]) => [code, status]));
  return { document, components: components.schemas, paths, asks, joins, errors, eventTypes: [...eventTypes].sort() };
}
`;

/** Modules of the Workers runtime are there, and do nothing. */
const RUNTIME_STUB = "export class WorkerEntrypoint {} export class DurableObject {} export const env = {};";

export async function readSurface(): Promise<Surface> {
  const cache = join(PROJECT_ROOT, "node_modules", ".cache");
  mkdirSync(cache, { recursive: true });
  const dir = mkdtempSync(join(cache, "sdk-surface-"));
  try {
    const outfile = join(dir, "surface.mjs");
    await build({
      stdin: { contents: ENTRY, resolveDir: PROJECT_ROOT, loader: "ts" },
      bundle: true,
      format: "esm",
      platform: "node",
      jsx: "automatic",
      jsxImportSource: "hono/jsx",
      outfile,
      logLevel: "error",
      // Packages written for CommonJS ask for it.
      banner: {
        js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);',
      },
      plugins: [
        {
          name: "workers-runtime",
          setup({ onResolve, onLoad }) {
            onResolve({ filter: /^cloudflare:/ }, ({ path }) => ({ path, namespace: "workers-runtime" }));
            onLoad({ filter: /.*/, namespace: "workers-runtime" }, () => ({ contents: RUNTIME_STUB }));
          },
        },
      ],
    });
    const bundled = (await import(pathToFileURL(outfile).href)) as { surface(): Surface };
    return bundled.surface();
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
