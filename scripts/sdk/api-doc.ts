// docs/API.md out of the OpenAPI document: every call with its scope, what it takes and what it answers.

import type { DescribedOperation, Schema, Surface } from "./surface.ts";

const METHODS = ["get", "put", "post", "patch", "delete"];
/** Fields below this depth are left to /openapi.json. */
const MAX_DEPTH = 2;
const NAMED = /^#\/components\/schemas\/(.+)$/;

const HEAD = `# The HTTP API

Made from the routes by \`npm run sdk\`, as \`/openapi.json\` is; that document says all of it, with every bound. Paths begin
at the vault's origin. A scope is what the API key must hold (\`Authorization: Bearer svk_…\`); \`admin\` holds all, \`public\`
needs none.

- **Errors** are \`application/problem+json\` with a stable \`code\`: ERRORS. The call's id is in \`X-Request-Id\`.
- **\`Idempotency-Key\`** on every POST that creates: the same key and body give the first answer again for 24 hours, another
  body is \`conflict\`.
- **Lists** take \`limit\` (1 to 100) and \`cursor\`, and answer \`next_cursor\` while there is more.
- **\`?wait=1..30\`** on a request holds the line until it is answered.
`;

/** Stays one line of a table. */
const inline = (text: string): string =>
  text
    .replaceAll(/\s*\n\s*/g, " ")
    .replaceAll("|", "\\|")
    .trim();

class Writer {
  readonly #components: Surface["components"];

  constructor(components: Surface["components"]) {
    this.#components = components;
  }

  #resolve(schema: Schema): Schema {
    const name = NAMED.exec(schema.$ref ?? "")?.[1];
    return name === undefined ? schema : (this.#components[name] ?? {});
  }

  #type(schema: Schema, depth: number): string {
    const found = this.#resolve(schema);
    if (found.const !== undefined) return `\`${JSON.stringify(found.const)}\``;
    if (found.enum !== undefined)
      return found.enum.map((value) => `\`${JSON.stringify(value)}\``).join(" \\| ");
    const union = found.anyOf ?? found.oneOf;
    if (union !== undefined)
      return [...new Set(union.map((member) => this.#type(member, depth)))].join(" \\| ");
    if (found.items !== undefined) return `${this.#type(found.items, depth)}[]`;
    if (found.properties !== undefined && depth < MAX_DEPTH) {
      const required = new Set(found.required);
      const fields = Object.entries(found.properties).map(
        ([name, field]) => `${name}${required.has(name) ? "" : "?"}: ${this.#type(field, depth + 1)}`,
      );
      return `{ ${fields.join(", ")} }`;
    }
    return [found.type ?? "any"].flat().join(" \\| ");
  }

  #fields(schema: Schema): string[] {
    const found = this.#resolve(schema);
    if (found.properties === undefined) return [`A body: ${this.#type(found, 0)}.`];
    const required = new Set(found.required);
    return [
      "| field | | |",
      "|---|---|---|",
      ...Object.entries(found.properties).map(([name, field]) => {
        const { description = "" } = { ...this.#resolve(field), ...field };
        return `| \`${name}\`${required.has(name) ? "" : "?"} | ${this.#type(field, 1)} | ${inline(description)} |`;
      }),
    ];
  }

  operation(method: string, path: string, operation: DescribedOperation): string {
    const { summary = "", description, parameters = [], requestBody, responses } = operation;
    const scope = operation.security?.flatMap((needed) => Object.values(needed).flat())[0] ?? "public";
    const lines = [`### ${method.toUpperCase()} ${path}`, "", `${summary}. Scope: \`${scope}\`.`];
    if (description !== undefined) lines.push("", inline(description));
    if (parameters.length > 0)
      lines.push(
        "",
        ...parameters.map(
          ({ name, in: place, required, description: says = "", schema }) =>
            `- \`${name}\` (${place}${required ? "" : ", optional"}): ${[this.#type(schema, 0), inline(says)].filter(Boolean).join(". ")}`,
        ),
      );
    const body = Object.values(requestBody?.content ?? {})[0]?.schema;
    if (body !== undefined) lines.push("", ...this.#fields(body));
    const answers: string[] = [];
    for (const [status, { description: says = "", content = {} }] of Object.entries(responses)) {
      if (Number(status) >= 400) continue;
      const schema = content["application/json"]?.schema;
      const type =
        schema === undefined
          ? Object.keys(content)
              .map((name) => `\`${name}\``)
              .join(", ")
          : this.#type(schema, 0);
      answers.push(`**${status}** ${inline(says)}${type === "" ? "" : ` ${type}`}`);
    }
    if (answers.length > 0) lines.push("", ...answers.flatMap((text) => [text, ""]).slice(0, -1));
    return lines.join("\n");
  }
}

/** The document; `errors`: HTTP status by code. */
export function apiDocument({ components, paths, errors }: Surface): string {
  const writer = new Writer(components);
  const sections = new Map<string, string[]>();
  const index: string[] = [];
  for (const [path, methods] of Object.entries(paths))
    for (const method of METHODS) {
      const operation = methods[method];
      if (operation === undefined) continue;
      const tag = operation.tags?.[0] ?? "Other";
      sections.set(tag, [...(sections.get(tag) ?? []), writer.operation(method, path, operation)]);
    }
  for (const tag of sections.keys())
    index.push(
      `- [${tag}](#${tag
        .toLowerCase()
        .replaceAll(/[^a-z0-9 -]/g, "")
        .replaceAll(" ", "-")})`,
    );
  const codes = Object.entries(errors).map(([code, status]) => `\`${code}\` ${status}`);
  return [
    HEAD.replace("ERRORS", codes.join(", ")),
    ...index,
    "",
    ...[...sections].flatMap(([tag, operations]) => [`## ${tag}`, "", operations.join("\n\n"), ""]),
  ]
    .join("\n")
    .trimEnd()
    .concat("\n");
}
