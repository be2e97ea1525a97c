// /openapi.json: valid by someone else's judgement, complete, and with examples that are as it says.

import { Validator } from "@seriousme/openapi-schema-validator";
import { beforeAll, describe, expect, it } from "vitest";
import {
  Described,
  type DescribedOperation,
  type OpenApiDocument,
} from "../../../scripts/openapi/described.ts";
import { readSurface } from "../../../scripts/sdk/surface.ts";

type Operation = DescribedOperation & {
  operationId: string;
  tags: string[];
  summary?: string;
  requestBody?: { content: Record<string, { example?: unknown }> };
  responses: Record<string, { content?: Record<string, { example?: unknown }> }>;
};

/** What a run against a stack cannot call, or what says nothing when written down. */
const WITHOUT_EXAMPLES = new Set([
  // A WebSocket, tiles of bytes, the document itself.
  "GET /api/v1/call/{id}/signaling",
  "GET /log/tile/{L}/{N}",
  "GET /openapi.json",
  // In maintenance only, and full of what is wrapped.
  "GET /api/v1/transfer",
  "GET /api/v1/transfer/{object}/read",
  "POST /api/v1/transfer/{object}/write",
  // Once the person's vault has the notice, or a week later.
  "DELETE /api/v1/users/{user_id} 200 application/json",
  // Only where the log has halted.
  "POST /api/v1/audit/log/resume",
]);
const EXAMPLE_TYPES = ["application/json"];

let document: OpenApiDocument & { tags: { name: string; description: string }[] };
let described: Described;
let operations: [name: string, operation: Operation][];

beforeAll(async () => {
  document = (await readSurface()).document as typeof document;
  described = new Described(document);
  operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(
      ([method, operation]) =>
        [`${method.toUpperCase()} ${path}`, operation as Operation] as [string, Operation],
    ),
  );
});

const callOf = (name: string) => {
  const [method = "", path = ""] = name.split(" ");
  return { method, path: path.replaceAll(/\{\w+\}/g, "x") };
};

describe("the document", () => {
  it("is valid OpenAPI 3.1", async () => {
    const result = await new Validator().validate(JSON.parse(JSON.stringify(document)));
    expect(result.errors ?? []).toEqual([]);
    expect(result.valid).toBe(true);
    expect(document.openapi).toMatch(/^3\.1\./);
  });

  it("names and sorts every operation, each under a tag that is explained", () => {
    const ids = operations.map(([, { operationId }]) => operationId);
    expect(new Set(ids).size).toBe(operations.length);
    const explained = new Map(document.tags.map(({ name, description }) => [name, description]));
    for (const [name, { tags, summary }] of operations) {
      expect([name, summary]).not.toEqual([name, undefined]);
      for (const tag of tags) expect([tag, explained.get(tag)]).not.toEqual([tag, undefined]);
    }
  });
});

describe("examples", () => {
  it("are there for every body and every success; if not: npm run examples", () => {
    const missing = operations
      .filter(([name]) => !WITHOUT_EXAMPLES.has(name))
      .flatMap(([name, { requestBody, responses }]) => {
        const lacking = (what: string, content: Record<string, { example?: unknown }> = {}) =>
          EXAMPLE_TYPES.filter(
            (type) => content[type] !== undefined && content[type].example === undefined,
          ).map((type) => `${name} ${what} ${type}`);
        return [
          ...lacking("request", requestBody?.content),
          ...Object.entries(responses)
            .filter(([status]) => status.startsWith("2"))
            .flatMap(([status, { content }]) => lacking(status, content)),
        ];
      })
      .filter((lacking) => !WITHOUT_EXAMPLES.has(lacking));
    expect(missing).toEqual([]);
  });

  it("are as their schemas say", () => {
    const faults = operations.flatMap(([name, { requestBody, responses }]) => {
      const call = callOf(name);
      const request = requestBody?.content["application/json"]?.example;
      return [
        ...(request === undefined ? [] : described.faultsOfRequest(call, request)),
        ...Object.entries(responses).flatMap(([status, { content = {} }]) =>
          Object.entries(content).flatMap(([contentType, { example: body }]) =>
            body === undefined ? [] : described.faultsOf(call, { status: Number(status), contentType, body }),
          ),
        ),
      ];
    });
    expect(faults).toEqual([]);
  });

  it("name no place where they were made", () => {
    expect(JSON.stringify(document)).not.toMatch(/127\.0\.0\.1:\d|127\.0\.0\.1%3A/);
  });
});
