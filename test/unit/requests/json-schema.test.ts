import { describe, expect, it } from "vitest";
import {
  complaints,
  fits,
  MAX_SCHEMA_BYTES,
  MAX_SCHEMA_DEPTH,
  schemaFault,
} from "../../../src/requests/json-schema.ts";

const nested = (depth: number): object =>
  depth === 0 ? { type: "string" } : { type: "object", properties: { a: nested(depth - 1) } };

describe("a schema of the manifest", () => {
  it.each([
    ["the empty one", {}],
    [
      "one with every kind of keyword",
      {
        $schema: "https://json-schema.org/draft/2020-12/schema",
        title: "Booking",
        type: "object",
        properties: {
          seats: { type: "integer", minimum: 1, maximum: 9 },
          class: { enum: ["first", "second"] },
          day: { type: "string", format: "date" },
          names: { type: "array", items: { type: "string", minLength: 1 }, minItems: 1, maxItems: 9 },
        },
        required: ["seats"],
        additionalProperties: false,
        anyOf: [{ required: ["class"] }, { required: ["day"] }],
      },
    ],
    ["one as deep as allowed", nested(MAX_SCHEMA_DEPTH - 1)],
  ])("may be %s", (_, schema) => {
    expect(schemaFault(schema)).toBeUndefined();
  });

  it.each([
    ["a reference, which could loop", { $ref: "#" }, /Unrecognized key/],
    ["a reference deep inside", { properties: { a: { items: { $ref: "#" } } } }, /Unrecognized key/],
    ["a regular expression, which could backtrack for ever", { pattern: "(a+)+$" }, /Unrecognized key/],
    ["names by regular expression", { patternProperties: { "(a+)+$": true } }, /Unrecognized key/],
    ["a comparison of every pair", { uniqueItems: true }, /Unrecognized key/],
    ["a format whose check is not known to end soon", { format: "regex" }, /Invalid/],
    ["a keyword of the wrong type", { required: "name" }, /expected array/],
    ["an unknown type", { type: "map" }, /Invalid/],
    ["no schema at all", [], /expected object/],
    ["too deep a nesting", nested(MAX_SCHEMA_DEPTH + 1), /nest at most/],
    ["too many bytes", { description: "x".repeat(1_900), enum: ["y".repeat(MAX_SCHEMA_BYTES)] }, /at most/],
  ])("is refused with %s", (_, schema, message) => {
    expect(schemaFault(schema)?.message).toMatch(message);
  });

  it("is told where it is wrong", () => {
    expect(schemaFault({ properties: { a: { items: { $ref: "#" } } } })?.path).toEqual([
      "properties",
      "a",
      "items",
    ]);
  });
});

describe("a value", () => {
  const schema = {
    type: "object",
    properties: { points: { type: "integer", minimum: 1 }, "a/b": { type: "string" } },
    required: ["points"],
    additionalProperties: false,
  };
  it("fits or does not", () => {
    expect(fits(schema, { points: 1 })).toBe(true);
    for (const wrong of [{}, { points: 0 }, { points: 1.5 }, { points: 1, more: true }, [], null, "points"])
      expect(fits(schema, wrong)).toBe(false);
  });
  it("is told where it does not", () => {
    expect(complaints(schema, { points: 0 }).map(({ path }) => path)).toContain("points");
    expect(complaints(schema, { points: 1, "a/b": 1 }).map(({ path }) => path)).toContain("a/b");
    expect(complaints(schema, { points: 1 })).toEqual([]);
  });
});
