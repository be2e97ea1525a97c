// Log a person in: the approval itself is the attestation.

import { z } from "zod";
import { approval } from "../../protocol/asking.ts";
import { timestamp } from "../../protocol/primitives.ts";
import { defineOperation, type Kind } from "../kind.ts";

/** A flood of login asks is how people are worn down into approving one. */
const MAX_OPEN_LOGINS = 5;

const isApproved = (status: string): boolean => status === "approved" || status === "offline_approved";

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
      capabilities: ["authenticate"],
      purposeRequired: true,
      input: z.object({
        match_code: z
          .boolean()
          .optional()
          .describe(
            "The person must type the number that this call's answer carries; show it where they log in.",
          ),
      }),
      payload: z.strictObject({}),
      toPayload: () => ({}),
      grant: () => ({ capability: "authenticate" }),
      sameness: () => ({}),
      result: undefined,
      matchCode: (input) => input.match_code === true,
      defaultExpirySeconds: 300,
      defaultGraceSeconds: 0,
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
