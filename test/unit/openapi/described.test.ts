// The judge of answers: it must find what is not as described, or no test that asks it says anything.

import { describe, expect, it } from "vitest";
import { Described, type OpenApiDocument } from "../../../scripts/openapi/described.ts";

const document: OpenApiDocument = {
  openapi: "3.1.0",
  components: {
    schemas: {
      Cup: {
        type: "object",
        required: ["size"],
        properties: { size: { type: "integer" }, saucer: { $ref: "#/components/schemas/Saucer" } },
      },
      Saucer: { type: "object", properties: { color: { enum: ["white"] } } },
    },
  },
  paths: {
    "/cups/{id}": {
      get: {
        responses: {
          200: { content: { "application/json": { schema: { $ref: "#/components/schemas/Cup" } } } },
        },
      },
    },
    "/cups/all": { get: { responses: { 204: {} } } },
    "/cups": {
      post: {
        requestBody: { content: { "application/json": { schema: { $ref: "#/components/schemas/Cup" } } } },
        responses: { 201: { content: { "application/json": { schema: { type: "object" } } } } },
      },
    },
  },
};
const described = new Described(document);
const faults = (
  body: unknown,
  status = 200,
  contentType = "application/json; charset=utf-8",
  path = "/cups/7",
) => described.faultsOf({ method: "GET", path }, { status, contentType, body });

describe("an answer", () => {
  it("as described has no faults", () => {
    expect(faults({ size: 3, saucer: { color: "white" } })).toEqual([]);
    expect(faults(undefined, 204, "", "/cups/all")).toEqual([]);
    expect(faults({}, 404, "application/problem+json", "/nowhere")).toEqual([]);
  });

  it.each([
    ["lacks a member", { saucer: {} }, "size"],
    ["has another type", { size: "3" }, "#/size"],
    ["is wrong below a reference", { size: 3, saucer: { color: "blue" } }, "#/saucer/color"],
    ["has a member nobody described", { size: 3, handle: true }, "#/handle"],
    ["has one below a reference", { size: 3, saucer: { chipped: true } }, "#/saucer/chipped"],
  ])("that %s has one", (_what, body, where) => {
    expect(faults(body).join()).toContain(where);
  });

  it("with a status, a type or a path nobody described has one", () => {
    expect(faults({ size: 3 }, 201)).toHaveLength(1);
    expect(faults("cup", 200, "text/plain")).toHaveLength(1);
    expect(faults({}, 200, "application/json", "/nowhere")).toHaveLength(1);
  });

  it("leaves the document as it was", () => {
    expect(document.components!.schemas!.Cup).not.toHaveProperty("additionalProperties");
  });
});

describe("a request's body", () => {
  it("is held against its schema", () => {
    const call = { method: "POST", path: "/cups" };
    expect(described.faultsOfRequest(call, { size: 1 })).toEqual([]);
    expect(described.faultsOfRequest(call, {})).not.toEqual([]);
  });
});
