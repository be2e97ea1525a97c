// Permission for one action on one resource. The approval is the permission: the person's signed statement, with the
// limits they set and until when it holds; a backend may keep it and check it offline.
//
// Scope: entries match `<action>:<resource>`. `transfer:account/42` grants that alone, `transfer:*` the action on
// anything, `*` everything. An action holds no colon, so no two pairs read the same.

import { z } from "zod";
import { line, timestamp } from "../../protocol/primitives.ts";
import { defineOperation, type Kind } from "../kind.ts";
import { isApproved } from "../values.ts";

const MAX_ACTION_CHARACTERS = 128;
const MAX_RESOURCE_CHARACTERS = 512;

const fields = {
  action: line(MAX_ACTION_CHARACTERS)
    .refine((text) => !text.includes(":"), { message: "must not contain a colon" })
    .describe("What is to be done: `transfer`, `door.open`."),
  resource: line(MAX_RESOURCE_CHARACTERS).describe("To what: `account/42`, `front door`."),
};

export const authz: Kind = {
  name: "authz",
  title: "Authorization",
  getPath: "authz/request",
  operations: [
    defineOperation({
      name: "authorize",
      summary: "Ask a user to permit an action on a resource",
      path: "authz/request",
      successStatus: 201,
      capabilities: ["authorization_request"],
      purposeRequired: false,
      input: z.object(fields),
      payload: z.strictObject(fields),
      toPayload: ({ action, resource }) => ({ action, resource }),
      grant: ({ action, resource }) => ({
        capability: "authorization_request",
        resources: [`${action}:${resource}`],
      }),
      sameness: ({ action, resource }) => ({ action, resource }),
      result: undefined,
      defaultExpirySeconds: 300,
      defaultGraceSeconds: 300,
      example: { action: "transfer", resource: "account/42" },
    }),
  ],
  view: ({ status, payload, approval }) => ({
    action: payload.action,
    resource: payload.resource,
    ...(status === "pending" ? {} : { allowed: isApproved(status) }),
    ...(isApproved(status) && approval?.statement.constraints !== undefined
      ? { constraints: approval.statement.constraints }
      : {}),
    ...(isApproved(status) && approval?.statement.valid_until !== undefined
      ? { approval_expires_at: approval.statement.valid_until }
      : {}),
  }),
  viewSchema: {
    action: z.string(),
    resource: z.string(),
    allowed: z.boolean().optional().describe("Absent while the request is pending."),
    constraints: z
      .record(z.string(), z.unknown())
      .optional()
      .describe("Limits the person set; signed with the approval, for the backend to keep."),
    approval_expires_at: timestamp
      .optional()
      .describe("Until when the person lets the approval be relied on."),
  },
};
