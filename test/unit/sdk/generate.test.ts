// How methods get their names and types from routes that the generator has never seen.

import { describe, expect, it } from "vitest";
import { generate, nameOperations } from "../../../scripts/sdk/generate.ts";
import type { DescribedOperation, Schema, Surface } from "../../../scripts/sdk/surface.ts";
import { type CallOptions, ServiceVault } from "../../../sdk/typescript/src/index.ts";

const json = (schema: Schema) => ({ "application/json": { schema } });
const thing: Schema = { type: "object", properties: { id: { type: "string" } }, required: ["id"] };
const list: Schema = {
  type: "object",
  properties: { things: { type: "array", items: thing }, next_cursor: { type: "string" } },
  required: ["things"],
};
const param = (name: string) => ({ name, in: "path", required: true, schema: { type: "string" } });
const cursor = { name: "cursor", in: "query", schema: { type: "string" } };
const ask: Schema = { $ref: "#/components/schemas/AskAccepted" };

function operation(
  schema: Schema,
  more: Partial<DescribedOperation> = {},
  status = "200",
): DescribedOperation {
  return { summary: "Does it", responses: { [status]: { content: json(schema) } }, ...more };
}
const takes = (schema: Schema) => ({ requestBody: { required: true, content: json(schema) } });

/** A surface as small as the generator accepts. */
function surfaceOf(paths: Surface["paths"], asks: Surface["asks"] = {}, joins: string[] = []): Surface {
  const object = (properties: Record<string, Schema>): Schema => ({ type: "object", properties });
  const contract = object({ v: { const: 1 } });
  const record = object({ contract });
  const approval = object({ statement: object({ v: { const: 1 } }) });
  return {
    document: {},
    components: {
      ContractDetail: object({ record }),
      Request: object({ approval, status: { enum: ["pending", "approved"] } }),
      AskAccepted: object({ request_id: { type: "string" } }),
    },
    paths: {
      "/api/v1/audit": {
        get: operation(
          {
            type: "object",
            properties: { entries: { type: "array", items: object({ salt: { type: "string" } }) } },
          },
          { parameters: [cursor] },
        ),
      },
      ...paths,
    },
    asks,
    joins,
    errors: {},
    eventTypes: ["contract.created"],
  };
}

const named = (paths: Surface["paths"], asks?: Surface["asks"], joins?: string[]) =>
  Object.fromEntries(
    nameOperations(surfaceOf(paths, asks, joins))
      .filter(({ path }) => path !== "audit")
      .map(({ method, path, name }) => [`${method} ${path}`, name]),
  );

describe("a method's name", () => {
  it("comes from its path", () => {
    const id = { parameters: [param("id")] };
    expect(
      named({
        "/health": { get: operation(thing) },
        "/api/v1/info": { get: operation(thing) },
        "/api/v1/big-things": {
          get: operation(list, { parameters: [cursor] }),
          post: operation(thing, takes(thing), "201"),
        },
        "/api/v1/big-things/{id}": {
          get: operation(thing, id),
          put: operation(thing, { ...id, ...takes(thing) }),
          patch: operation(thing, { ...id, ...takes(thing) }),
          delete: operation(thing, id),
        },
        "/api/v1/big-things/{id}/turn-over": { post: operation(thing, id) },
        "/api/v1/big-things/{id}/parts": {
          get: operation(list, { parameters: [param("id"), cursor] }),
          post: operation(thing, { ...id, ...takes(thing) }),
        },
      }),
    ).toEqual({
      "get info": "info",
      "get big-things": "bigThings.list",
      "post big-things": "bigThings.create",
      "get big-things/{id}": "bigThings.get",
      "put big-things/{id}": "bigThings.put",
      "patch big-things/{id}": "bigThings.update",
      "delete big-things/{id}": "bigThings.delete",
      "post big-things/{id}/turn-over": "bigThings.turnOver",
      "get big-things/{id}/parts": "bigThings.parts.list",
      "post big-things/{id}/parts": "bigThings.parts.create",
    });
  });

  it("of a kind of ask is the kind's, its actions beside it", () => {
    const id = { parameters: [param("id")] };
    const asks = {
      "post tea/request": "tea/request",
      "put tea/{cup}": "tea/request",
      "post tea/list": "tea/request",
    };
    const paths = {
      "/api/v1/tea/request": { post: operation(ask, takes(thing), "202") },
      "/api/v1/tea/list": {
        post: operation(ask, takes(thing), "202"),
        get: operation(ask, { parameters: [cursor] }, "202"),
      },
      "/api/v1/tea": { get: operation(ask, { parameters: [cursor] }, "202") },
      "/api/v1/tea/{cup}": { put: operation(ask, { parameters: [param("cup")], ...takes(thing) }, "202") },
      "/api/v1/tea/request/{id}": { get: operation(thing, id) },
      "/api/v1/tea/request/{id}/refill": { post: operation(thing, { ...id, ...takes(thing) }) },
    };
    expect(named(paths, asks, ["get tea", "get tea/list"])).toEqual({
      "post tea/request": "tea.request",
      "post tea/list": "tea.list",
      "put tea/{cup}": "tea.update",
      "get tea/request/{id}": "tea.get",
      "post tea/request/{id}/refill": "tea.refill",
    });
    const operations = nameOperations(surfaceOf(paths, asks, ["get tea", "get tea/list"]));
    const refill = operations.find(({ name }) => name === "tea.refill");
    expect(refill).toMatchObject({ repeat: "keyed", gives: "json", inputRequired: true });
    expect(operations.find(({ name }) => name === "tea.request")).toMatchObject({
      gives: "ask",
      readAt: "tea/request",
    });
  });

  it("is never given twice", () => {
    const names = Object.values(
      named({ "/api/v1/a/b": { get: operation(thing) }, "/api/v1/a/{x}/b": { post: operation(thing) } }),
    );
    expect(names).toEqual(["a.b", "a.bByPost"]);
  });

  it("is left out where there is no answer to be had, as of a WebSocket", () => {
    expect(named({ "/api/v1/line": { get: { responses: { "101": {} } } } })).toEqual({});
  });
});

describe("the types", () => {
  it("name the events there are", () => {
    expect(generate(surfaceOf({})).types).toContain('export type EventType = "contract.created";');
  });

  it("say what may be left out, and do not offer what only older clients use", () => {
    const input: Schema = {
      type: "object",
      properties: {
        size: { enum: ["small", "large"] },
        "odd name": { type: ["integer", "null"] },
        ttl: { type: "integer", description: "Alias of expires_in." },
        any: {},
        more: { type: "object", additionalProperties: { anyOf: [{ type: "string" }, { type: "boolean" }] } },
      },
      required: ["size"],
    };
    const { types } = generate(surfaceOf({ "/api/v1/x": { post: operation(thing, takes(input)) } }));
    const plain = types.replaceAll(/\s+/g, " ");
    expect(plain).toContain("x(input: XInput, options?: CallOptions): Promise<XAnswer>;");
    expect(plain).toContain('size: "small" | "large";');
    expect(plain).toContain('"odd name"?: number | null | undefined;');
    expect(plain).toContain("any?: unknown;");
    expect(plain).toContain("more?: Record<string, (string) | (boolean)> | undefined;");
    expect(plain).not.toContain("ttl");
  });

  it("cannot be broken out of by words in a description", () => {
    const { types } = generate(
      surfaceOf({ "/api/v1/x": { get: operation(thing, { summary: "A */ export const evil = 1; /*" }) } }),
    );
    expect(types).not.toContain("A */");
  });

  it("refuse what the vault would refuse", () => {
    // Checked by the type checker, never run.
    const unused = async (vault: ServiceVault, options: CallOptions) => {
      // @ts-expect-error purpose is required
      await vault.auth.request({ user_id: "u" });
      // @ts-expect-error no such field
      await vault.auth.request({ user_id: "u", purpose: "p", purpos: "p" });
      const paid = { user_id: "u", description: "d" };
      // @ts-expect-error an amount is in minor units, a number
      await vault.payment.request({ ...paid, amount: { amount: "1", currency: "EUR" } });
      // @ts-expect-error no such status
      vault.contracts.list({ status: "lively" });
      // @ts-expect-error an id is needed
      await vault.contracts.get();
      const answer = await (await vault.auth.request({ user_id: "u", purpose: "p" }, options)).wait();
      // @ts-expect-error a settled request is not pending
      if (answer.status === "pending") return;
      const authenticated: boolean | undefined = answer.result?.authenticated;
      return authenticated;
    };
    expect(unused).toBeTypeOf("function");
    expect(ServiceVault).toBeTypeOf("function");
  });
});
