// Log a person in: the approval itself is the attestation.

import { z } from "zod";
import { approval } from "../../protocol/asking.ts";
import { eventId, timestamp } from "../../protocol/primitives.ts";
import { defineOperation, type Kind } from "../kind.ts";
import { isApproved } from "../values.ts";
import { sessionFields, sessions } from "./auth-session.ts";

/** A flood of login asks is how people are worn down into approving one. */
const MAX_OPEN_LOGINS = 5;

export const auth: Kind = {
  name: "auth",
  title: "Authentication",
  getPath: "auth/request",
  maxOpen: MAX_OPEN_LOGINS,
  operations: [
    defineOperation({
      name: "authenticate",
      summary: "Ask a user to log in",
      path: "auth/request",
      successStatus: 201,
      capabilities: ["authenticate", "authenticate.continuous"],
      purposeRequired: true,
      input: z.object({
        match_code: z
          .boolean()
          .optional()
          .describe(
            "The person must type the number that this call's answer carries; show it where they log in.",
          ),
        session_id: eventId
          .optional()
          .describe("Makes it a check of this continuous session, which then has to be granted."),
      }),
      unnamed: true,
      payload: z.strictObject({ session_id: eventId.optional() }),
      toPayload: ({ session_id }) => (session_id === undefined ? {} : { session_id }),
      grant: ({ session_id }) => ({
        capability: session_id === undefined ? "authenticate" : "authenticate.continuous",
      }),
      sameness: ({ session_id }) => (session_id === undefined ? {} : { resource: session_id }),
      result: undefined,
      matchCode: (input) => input.match_code === true,
      defaultExpirySeconds: 300,
      defaultGraceSeconds: 0,
      example: { match_code: true },
    }),
    defineOperation({
      name: "session",
      summary: "Ask a user to confirm again and again that they are there",
      path: "auth/sessions",
      successStatus: 201,
      capabilities: ["authenticate.continuous"],
      purposeRequired: true,
      input: z.object(sessionFields),
      payload: z.strictObject(sessionFields),
      toPayload: (input) => input,
      grant: () => ({ capability: "authenticate.continuous" }),
      sameness: () => ({}),
      result: undefined,
      resource: sessions,
      defaultExpirySeconds: 300,
      defaultGraceSeconds: 0,
      example: { interval_seconds: 600, max_misses: 2 },
    }),
  ],
  view: ({ status, approval: attestation, respondedAt }) =>
    respondedAt === undefined
      ? {}
      : {
          result: {
            authenticated: isApproved(status),
            user_attestation: attestation,
            timestamp: respondedAt,
          },
        },
  viewSchema: {
    result: z
      .object({
        authenticated: z.boolean(),
        user_attestation: approval.optional(),
        timestamp,
      })
      .optional(),
  },
};
