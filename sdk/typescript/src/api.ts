// Methods out of the table of operations: what is called how comes from the vault's own description.

import { PageList } from "./page-list.ts";
import { type Accepted, RequestHandle } from "./request-handle.ts";
import type { Call, CallOptions, Repeat, Transport } from "./transport.ts";

/** One row of the generated table. */
export interface Operation {
  method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Below /api/v1/, with `{name}` for each argument before the input. */
  path: string;
  /** Where the input goes; absent: there is none. */
  input?: "body" | "query";
  repeat: Repeat;
  /** `ask`: a handle, to be read at `readAt`. `list`: pages, `items` names their member. */
  gives: "json" | "text" | "ask" | "list";
  readAt?: string;
  items?: string;
}

/** Dotted names, as `auth.request`. */
export type Operations = Readonly<Record<string, Operation>>;

type Input = Record<string, unknown>;

function queryOf(input: Input | undefined): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(input ?? {}))
    if (value !== undefined && value !== null) query.set(name, String(value));
  const text = query.toString();
  return text === "" ? "" : `?${text}`;
}

/** An empty id would turn one resource into its collection: `DELETE contracts/` must never come of a lost variable. */
function checkedPart(value: unknown, name: string, operation: string): string {
  if (typeof value !== "string" || value === "" || value === "." || value === "..")
    throw new TypeError(`${operation}: ${name} must be a text that is not empty`);
  return encodeURIComponent(value);
}

function methodOf(transport: Transport, name: string, operation: Operation): (...args: unknown[]) => unknown {
  const { method, path, input: takes, repeat, gives, readAt, items } = operation;
  return (...args: unknown[]) => {
    let at = 0;
    const filled = path.replaceAll(/\{(\w+)\}/g, (_, part: string) => checkedPart(args[at++], part, name));
    const input = takes === undefined ? undefined : (args[at++] as Input | undefined);
    const options = args[at] as CallOptions | undefined;
    const call = (more: Input = {}): Call => ({
      method,
      path: `/api/v1/${filled}${takes === "query" ? queryOf({ ...input, ...more }) : ""}`,
      ...(takes === "body" ? { body: input ?? {} } : {}),
      repeat,
      gives: gives === "text" ? "text" : "json",
    });
    if (gives === "list")
      return new PageList<unknown>(
        items ?? "items",
        (cursor) => transport.call(call(cursor === undefined ? {} : { cursor }), options) as Promise<object>,
      );
    if (gives !== "ask") return transport.call(call(), options);
    return transport.call(call(), options).then((value) => {
      const accepted = value as Accepted;
      return new RequestHandle(transport, readAt ?? "requests", accepted.request_id, accepted);
    });
  };
}

/** Hangs every operation of the table on `root`, in namespaces, and a `handle` on each that asks. */
export function attachApi(root: object, transport: Transport, operations: Operations): void {
  for (const [name, operation] of Object.entries(operations)) {
    const parts = name.split(".");
    const last = parts.pop() as string;
    let place = root as Record<string, unknown>;
    for (const part of parts) {
      place[part] ??= {};
      place = place[part] as Record<string, unknown>;
    }
    place[last] = methodOf(transport, name, operation);
    const { readAt } = operation;
    if (readAt !== undefined && parts.length > 0)
      place.handle ??= (id: string) => new RequestHandle(transport, readAt, checkedId(id));
  }
}

function checkedId(id: unknown): string {
  checkedPart(id, "id", "handle");
  return id as string;
}
