// Whether the person is there, and for how long: before a call, a delivery, a visit.

import { z } from "zod";
import { timestamp } from "../../protocol/primitives.ts";
import { defineOperation, type Kind } from "../kind.ts";

export const presence: Kind = {
  name: "presence",
  title: "Presence",
  getPath: "presence/request",
  operations: [
    defineOperation({
      name: "verify",
      summary: "Ask a user whether they are available",
      path: "presence/request",
      successStatus: 201,
      capabilities: ["verify_presence"],
      purposeRequired: false,
      input: z.object({}),
      payload: z.strictObject({}),
      toPayload: () => ({}),
      grant: () => ({ capability: "verify_presence" }),
      sameness: () => ({}),
      result: z.strictObject({ available: z.boolean(), until: timestamp.optional() }),
      defaultExpirySeconds: 300,
      defaultGraceSeconds: 0,
      example: {},
      exampleResult: { available: true, until: "2026-01-31T08:15:00.000Z" },
    }),
  ],
  view: ({ result }) => (typeof result === "object" && result !== null ? { ...result } : {}),
  viewSchema: {
    available: z.boolean().optional().describe("Absent until the person has answered."),
    until: timestamp.optional(),
  },
};
