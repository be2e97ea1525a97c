// The client's types and its table of operations, out of the HTTP surface. Pure: surface in, two files out.
//
// Names come from the paths. `contracts` is a place: list, get, create, put, update, delete by method. What stands
// behind it without places of its own is a method: `contracts/{id}/accept` is `contracts.accept(id)`. `request`
// stands for the kind itself: `payment/request/{id}/complete` is `payment.complete(id)`.

import type { DescribedOperation, Schema, Surface } from "./surface.ts";

const PREFIX = "/api/v1/";

/** Written by hand in the client: it is no list that ends. */
const BY_HAND = new Set(["get events"]);

/** Where the rule gives a name that nobody would look for. */
const NAMES: Record<string, string> = { "post notifications": "notifications.send" };

/** Components whose names mean something else to TypeScript. */
const RENAMED: Record<string, string> = { Request: "VaultRequest" };

/** Refusals have classes of their own. */
const UNUSED_COMPONENTS = new Set(["Problem", "AskAccepted"]);

const VERBS: Record<string, string> = {
  get: "get",
  post: "create",
  put: "put",
  patch: "update",
  delete: "delete",
};

export interface NamedOperation {
  /** `auth.request`. */
  name: string;
  method: string;
  /** Below the prefix. */
  path: string;
  parameters: string[];
  gives: "json" | "text" | "ask" | "list";
  repeat: "always" | "keyed" | "refused";
  readAt?: string;
  items?: string;
  input?: "body" | "query";
  inputRequired: boolean;
  operation: DescribedOperation;
  answer: Schema;
}

const camel = (text: string): string =>
  text.replaceAll(/[-_](\w)/g, (_, letter: string) => letter.toUpperCase());
const pascal = (name: string): string =>
  name
    .split(".")
    .map((part) => part.charAt(0).toUpperCase() + part.slice(1))
    .join("");

/** The 2xx answer; undefined where there is none, as of a WebSocket. */
function successOf(
  operation: DescribedOperation,
): { schema: Schema; isJson: boolean; status: number } | undefined {
  const status = Object.keys(operation.responses).find((code) => /^2\d\d$/.test(code));
  if (status === undefined) return undefined;
  const content = operation.responses[status]?.content ?? {};
  const json = content["application/json"]?.schema;
  if (json !== undefined) return { schema: json, isJson: true, status: Number(status) };
  return Object.keys(content).some((type) => type.startsWith("text/"))
    ? { schema: { type: "string" }, isJson: false, status: Number(status) }
    : undefined;
}

/** The one member that is a list, of an answer that is a list's. */
function itemsOf({ properties = {} }: Schema): string | undefined {
  const lists = Object.entries(properties).filter(([, { type }]) => type === "array");
  return lists.length === 1 ? lists[0]![0] : undefined;
}

/** Members a body must have. Where none must be there, `{}` is sent for a body left out. */
function requiredOf(schema: Schema | undefined, components: Record<string, Schema>): string[] {
  if (schema?.$ref === undefined) return schema?.required ?? [];
  return components[schema.$ref.slice(schema.$ref.lastIndexOf("/") + 1)]?.required ?? [];
}

const ASK_COMPONENT = "#/components/schemas/AskAccepted";
/** An ask that no kind of the registry lists, as those of the service's own making. */
const asksItself = ({ $ref }: Schema): boolean => $ref === ASK_COMPONENT;

/** Where such an ask is read: its path without what varies, or where any request is. */
function readPathOf(path: string, paths: Surface["paths"]): string {
  const plain = path
    .split("/")
    .filter((part) => !isParameter(part))
    .join("/");
  return paths[`${PREFIX}${plain}/{id}`]?.get === undefined ? "requests" : plain;
}

const isParameter = (part: string): boolean => part.startsWith("{");
const parametersIn = (operation: DescribedOperation, place: string) =>
  (operation.parameters ?? []).filter((parameter) => parameter.in === place);

/** A dotted name for an operation, by the rule above. */
export function nameOf(
  method: string,
  path: string,
  allPaths: readonly string[],
  isList: boolean,
  isAsk: boolean,
): string {
  const fixed = NAMES[`${method} ${path}`];
  if (fixed !== undefined) return fixed;
  const parts = path.split("/");
  const last = parts.at(-1)!;
  const names = parts
    .filter((part, at) => !isParameter(part) && (part !== "request" || at === 0 || at === parts.length - 1))
    .map(camel);
  const verb = isAsk && method === "put" ? "update" : VERBS[method]!;
  if (isParameter(last)) return [...names, verb].join(".");
  const isPlace = last !== "request" && (isList || allPaths.some((other) => other.startsWith(`${path}/`)));
  if (!isPlace) return names.join(".");
  return [...names, method === "get" && isList ? "list" : verb].join(".");
}

/** Every operation below the prefix, named. */
export function nameOperations({ paths, asks, joins, components }: Surface): NamedOperation[] {
  const found: NamedOperation[] = [];
  const taken = new Set<string>();
  const all = Object.entries(paths)
    .filter(([path]) => path.startsWith(PREFIX))
    .map(([path, methods]) => [path.slice(PREFIX.length), methods] as const);
  const allPaths = all.map(([path]) => path);
  const getPaths = new Set(Object.values(asks));
  for (const [path, methods] of all) {
    for (const [method, operation] of Object.entries(methods)) {
      const success = successOf(operation);
      const key = `${method} ${path}`;
      if (success === undefined || BY_HAND.has(key) || joins.includes(key)) continue;
      const readAt = asks[key] ?? (asksItself(success.schema) ? readPathOf(path, paths) : undefined);
      const query = parametersIn(operation, "query");
      const items = method === "get" && success.isJson ? itemsOf(success.schema) : undefined;
      const isPaged = query.some(({ name }) => name === "cursor");
      // A list without pages has its list and little else: `webhooks`, `api_keys`.
      const isList =
        items !== undefined && (isPaged || Object.keys(success.schema.properties ?? {}).length <= 2);
      const hasSeveral =
        Object.keys(methods).filter((other) => !joins.includes(`${other} ${path}`)).length > 1;
      let name = nameOf(method, path, allPaths, isList || hasSeveral, readAt !== undefined);
      if (method === "get" && !isList) name = name.replace(/\.list$/, ".get");
      // Two paths that come to one name: the later one says how it is called.
      if (taken.has(name)) name = `${name}By${pascal(method)}`;
      taken.add(name);
      const isAction =
        method === "post" &&
        [...getPaths].some((getPath) => path.startsWith(`${getPath}/{`)) &&
        readAt === undefined;
      const body = operation.requestBody;
      const input =
        body !== undefined && query.length === 0 ? "body" : query.length > 0 ? "query" : undefined;
      found.push({
        name,
        method,
        path,
        parameters: parametersIn(operation, "path").map((parameter) => parameter.name),
        gives: readAt !== undefined ? "ask" : isList ? "list" : success.isJson ? "json" : "text",
        repeat:
          readAt !== undefined || isAction || (method === "post" && success.status !== 200)
            ? "keyed"
            : method === "get" || method === "put"
              ? "always"
              : "refused",
        ...(readAt === undefined ? {} : { readAt }),
        ...(isList && items !== undefined ? { items } : {}),
        ...(input === undefined ? {} : { input }),
        inputRequired:
          input === "body"
            ? method === "put" || requiredOf(body?.content["application/json"]?.schema, components).length > 0
            : query.some(({ required }) => required === true),
        operation,
        answer: success.schema,
      });
    }
  }
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}

// ---- TypeScript -----------------------------------------------------------------------------------------

/** What makes two schemas the same type: everything but the words about them. */
function formOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(formOf);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      // A field may itself be called `description`: then its value is a schema.
      .filter(([name, member]) => name !== "description" || typeof member !== "string")
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, member]) => [name, formOf(member)]),
  );
}

const comment = (text: string | undefined): string =>
  text === undefined ? "" : `/** ${text.replaceAll("*/", "* /").replaceAll(/\s*\n\s*/g, " ")} */\n`;

const property = (name: string): string => (/^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name));

/** What is said of a member is no description of its type. */
const withoutDescription = ({ description: _, ...schema }: Schema): Schema => schema;

class Writer {
  readonly #names = new Map<string, string>();
  readonly #declared = new Map<string, string>();

  /**
   * Gives a schema a name. With `shared` it is written by that name wherever it occurs from then on; without, it
   * keeps a name of its own even where another looks the same.
   */
  declare(name: string, schema: Schema, { input = false, shared = false } = {}): string {
    const form = JSON.stringify([formOf(schema), input]);
    const known = this.#names.get(form);
    if (known !== undefined) return known;
    let free = name;
    for (let count = 2; this.#declared.has(free); count++) free = `${name}${count}`;
    this.#declared.set(free, "");
    if (shared) this.#names.set(form, free);
    const body = this.#write(schema, input, true);
    this.#declared.set(
      free,
      `${comment(schema.description)}export ${body.startsWith("{") && body.endsWith("}") ? `interface ${free} ${body}` : `type ${free} = ${body};`}\n`,
    );
    return free;
  }

  write(schema: Schema, input = false): string {
    return this.#write(schema, input, false);
  }

  #write(schema: Schema, input: boolean, isDeclaration: boolean): string {
    if (schema.$ref !== undefined) {
      const name = schema.$ref.slice(schema.$ref.lastIndexOf("/") + 1);
      return RENAMED[name] ?? name;
    }
    if (!isDeclaration) {
      const known = this.#names.get(JSON.stringify([formOf(schema), input]));
      if (known !== undefined) return known;
    }
    if (schema.const !== undefined) return JSON.stringify(schema.const);
    if (schema.enum !== undefined) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
    const union = schema.anyOf ?? schema.oneOf;
    if (union !== undefined && schema.properties === undefined)
      return [...new Set(union.map((member) => this.write(member, input)))]
        .map((text) => `(${text})`)
        .join(" | ");
    if (schema.allOf !== undefined)
      return schema.allOf.map((member) => `(${this.write(member, input)})`).join(" & ");
    const types = [schema.type ?? (schema.properties === undefined ? undefined : "object")].flat();
    return [...new Set(types.map((type) => this.#typed(type, schema, input)))].join(" | ");
  }

  #typed(type: string | undefined, schema: Schema, input: boolean): string {
    switch (type) {
      case "string":
      case "boolean":
      case "null":
        return type;
      case "integer":
      case "number":
        return "number";
      case "array":
        if (schema.prefixItems !== undefined)
          return `[${schema.prefixItems.map((item) => this.write(item, input)).join(", ")}]`;
        return `(${schema.items === undefined ? "unknown" : this.write(schema.items, input)})[]`;
      case "object":
        return this.#object(schema, input);
      default:
        return "unknown";
    }
  }

  #object({ properties, required = [], additionalProperties }: Schema, input: boolean): string {
    if (properties === undefined || Object.keys(properties).length === 0) {
      if (additionalProperties === false) return "Record<string, never>";
      return typeof additionalProperties === "object" && Object.keys(additionalProperties).length > 0
        ? `Record<string, ${this.write(additionalProperties, input)}>`
        : "Record<string, unknown>";
    }
    const lines = Object.entries(properties)
      // Older clients' names for what has another name, too.
      .filter(([, { description }]) => !input || description?.startsWith("Alias of") !== true)
      .map(([name, member]) => {
        const isOptional = !required.includes(name);
        const type = this.write(member, input);
        return `${comment(member.description)}${property(name)}${isOptional ? "?" : ""}: ${type}${isOptional && input && type !== "unknown" ? " | undefined" : ""};`;
      });
    const isLoose = typeof additionalProperties === "object" || additionalProperties === true;
    if (isLoose) lines.push("[name: string]: unknown;");
    return `{\n${lines.join("\n")}\n}`;
  }

  /** The declarations that `text` needs, and those these need. */
  declarations(text: string): string {
    const needed = new Map<string, string>();
    const look = (from: string) => {
      for (const [word] of from.matchAll(/\b[A-Z]\w*\b/g)) {
        const declaration = this.#declared.get(word);
        if (declaration === undefined || needed.has(word)) continue;
        needed.set(word, declaration);
        look(declaration);
      }
    };
    look(text);
    return [...needed]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, declaration]) => declaration)
      .join("\n");
  }
}

/** A query's members as an object schema. */
function querySchema(operation: DescribedOperation): Schema {
  const query = parametersIn(operation, "query");
  return {
    type: "object",
    properties: Object.fromEntries(
      query.map(({ name, description, schema }) => [
        name,
        // Coerced numbers say that they may be null; a query cannot.
        {
          ...schema,
          ...(Array.isArray(schema.type) ? { type: schema.type.filter((type) => type !== "null") } : {}),
          ...(description === undefined ? {} : { description }),
        },
      ]),
    ),
    required: query.filter(({ required }) => required).map(({ name }) => name),
    additionalProperties: false,
  };
}

/** Parts of answers that deserve a name of their own. */
function declareParts(writer: Writer, surface: Surface, operations: readonly NamedOperation[]): void {
  const { ContractDetail, Request } = surface.components;
  const approval = Request?.properties?.approval;
  const statement = approval?.properties?.statement;
  const record = ContractDetail?.properties?.record;
  const contract = record?.properties?.contract;
  const entry = operations.find(({ name }) => name === "audit.list")?.answer.properties?.entries?.items;
  const status = Request?.properties?.status;
  const parts: [string, Schema | undefined][] = [
    ["ApprovalStatement", statement],
    ["Approval", approval],
    ["AgreedContract", contract],
    ["ContractRecord", record],
    ["AuditEntry", entry],
    ["RequestStatus", status],
  ];
  for (const [name, schema] of parts) {
    if (schema === undefined) throw new Error(`the surface has no ${name} where it was`);
    writer.declare(name, withoutDescription(schema), { shared: true });
  }
}

const HEADER = "// Generated from the routes by scripts/sdk-generate.ts. Do not edit.\n\n";

interface Place {
  methods: Map<string, string>;
  places: Map<string, Place>;
  /** What `handle` of this place reads. */
  handle?: string;
}
const newPlace = (): Place => ({ methods: new Map(), places: new Map() });

function writePlace(place: Place): string {
  const methods = [...place.methods.values()];
  if (place.handle !== undefined)
    methods.push(
      `${comment("An ask made before, by its id: to wait for, read or take back.")}${place.handle}`,
    );
  const places = [...place.places].map(([name, inner]) => `readonly ${name}: {\n${writePlace(inner)}\n};`);
  return [...methods, ...places].join("\n");
}

/** The two files' text, unformatted. */
export function generate(surface: Surface): { types: string; operations: string } {
  const operations = nameOperations(surface);
  const writer = new Writer();
  declareParts(writer, surface, operations);
  for (const [name, schema] of Object.entries(surface.components))
    if (!UNUSED_COMPONENTS.has(name)) writer.declare(RENAMED[name] ?? name, schema, { shared: true });
  for (const getPath of new Set(operations.flatMap(({ readAt }) => readAt ?? []))) {
    const view = surface.paths[`${PREFIX}${getPath}/{id}`]?.get;
    const schema = view === undefined ? undefined : successOf(view)?.schema;
    if (schema === undefined) throw new Error(`asks are read at ${getPath}/{id}, and that is not there`);
    if (schema.$ref === undefined) writer.declare(viewNameOf(getPath), schema, { shared: true });
    const query = querySchema(view!);
    if (Object.keys(query.properties!).join() === "wait")
      writer.declare("WaitInput", query, { input: true, shared: true });
  }

  const root = newPlace();
  const table: string[] = [];
  for (const named of operations) {
    const { name, method, path, parameters, gives, input, inputRequired, readAt, items, repeat, operation } =
      named;
    const row = {
      method: method.toUpperCase(),
      path,
      ...(input === undefined ? {} : { input }),
      repeat,
      gives,
      ...(readAt === undefined ? {} : { readAt }),
      ...(items === undefined ? {} : { items }),
    };
    table.push(`${JSON.stringify(name)}: ${JSON.stringify(row)},`);

    const typeName = pascal(name);
    const signature = parameters.map((parameter) => `${camel(parameter)}: string`);
    if (input !== undefined) {
      const schema =
        input === "query"
          ? querySchema(operation)
          : (operation.requestBody?.content["application/json"]?.schema ?? {});
      const type =
        schema.$ref === undefined
          ? writer.declare(`${typeName}Input`, withoutDescription(schema), { input: true })
          : writer.write(schema);
      signature.push(`input${inputRequired ? "" : "?"}: ${type}`);
    }
    signature.push("options?: CallOptions");
    let answer: string;
    if (gives === "ask") {
      const view = writer.write(successOf(surface.paths[`${PREFIX}${readAt}/{id}`]!.get!)!.schema);
      answer = `Promise<RequestHandle<${view}>>`;
    } else if (gives === "list") {
      const item = named.answer.properties![items!]!.items!;
      const itemType =
        item.$ref === undefined && item.type === "object"
          ? writer.declare(`${typeName}Item`, item)
          : writer.write(item);
      const pageType =
        named.answer.$ref === undefined
          ? writer.declare(`${typeName}Page`, named.answer)
          : writer.write(named.answer);
      answer = `PageList<${itemType}, ${pageType}>`;
    } else {
      const isPlain = named.answer.$ref !== undefined || named.answer.type !== "object";
      answer = `Promise<${isPlain ? writer.write(named.answer) : writer.declare(`${typeName}Answer`, named.answer)}>`;
    }

    const parts = name.split(".");
    const last = parts.pop()!;
    let place = root;
    for (const part of parts) {
      const inner = place.places.get(part) ?? newPlace();
      place.places.set(part, inner);
      place = inner;
    }
    const about = [operation.summary, operation.description].filter((text) => text !== undefined).join(". ");
    place.methods.set(last, `${comment(about)}${property(last)}(${signature.join(", ")}): ${answer};`);
    if (gives === "ask" && parts.length > 0)
      place.handle ??= `handle(id: string): ${answer.slice("Promise<".length, -1)};`;
  }

  const api = writePlace(root);
  // What answers are made of is wanted by itself, too: evidence is stored and verified later.
  const declared = writer.declarations(
    `${api} ApprovalStatement ContractRecord AuditEntry Offer RequestStatus`,
  );
  const types = `${HEADER}import type { PageList } from "../page-list.ts";
import type { RequestHandle } from "../request-handle.ts";
import type { CallOptions } from "../transport.ts";

/** Every method there is, in namespaces. */
export interface Api {\n${api}\n}

/** Types of events, but for the answers to asks of the service's own making: \`custom.<name>.response\`. */
export type EventType = ${surface.eventTypes.map((type) => JSON.stringify(type)).join(" | ")};

${declared}`;
  const rows = `${HEADER}import type { Operations } from "../api.ts";

export const operations: Operations = {\n${table.join("\n")}\n};\n`;
  return { types, operations: rows };
}

/** The name of what is read at a kind's own path. */
const viewNameOf = (getPath: string): string =>
  `${pascal(
    camel(
      getPath
        .split("/")
        .filter((part) => part !== "request")
        .join("_"),
    ),
  )}Answer`;
