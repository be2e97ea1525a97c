// Schemas as /openapi.json shows them: the same that validate.

import { z } from "@hono/zod-openapi";
import { describe, expect, it } from "vitest";
import { askBody } from "../../../src/http/ask-fields.ts";
import { documented } from "../../../src/http/schemas.ts";
import { approval } from "../../../src/protocol/asking.ts";
import { offer } from "../../../src/protocol/offer.ts";
import { kinds } from "../../../src/requests/registry.ts";

describe("a documented schema", () => {
  it.each([
    ["offer", offer],
    ["approval", approval],
    ["union", z.union([z.object({ a: z.json() }), z.object({ b: z.string() })])],
  ] as const)("%s still validates as before", (_name, schema) => {
    const shown = documented(schema as z.ZodType);
    for (const value of [{}, { a: 1 }, { b: "x" }, { b: 2 }])
      expect(shown.safeParse(value).success).toBe((schema as z.ZodType).safeParse(value).success);
  });
});

describe("the body of an ask", () => {
  it("has each operation's own fields and no others", () => {
    for (const { operations } of kinds) {
      for (const operation of operations) {
        const body = askBody(operation);
        const refused = body.safeParse({ no_such_field: 1 });
        expect(refused.success).toBe(false);
      }
    }
  });
});
