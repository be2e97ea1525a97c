// Asking the user: two routes for every kind of request, made from the registry. A new kind needs nothing here.

import { z } from "@hono/zod-openapi";
import { eventId, identityId, timestamp } from "../../protocol/primitives.ts";
import type { Kind, KindOperation } from "../../requests/kind.ts";
import { kinds } from "../../requests/registry.ts";
import type { App } from "../app-env.ts";
import { type AskBody, askBody, askTimes, isCallbackAllowed, operationInput } from "../ask-fields.ts";
import { ApiError, invalidField, unwrap } from "../errors.ts";
import { readRequest } from "../long-poll.ts";
import { idempotencyOf } from "../middleware/idempotency.ts";
import { userConnectionOf } from "../objects.ts";
import { API_PREFIX, defineRoute } from "../route.ts";
import { answer, json, requestView } from "../schemas.ts";
import { requestParam, waitQuery, withKindFields } from "./requests.ts";

const accepted = z.object({
  request_id: eventId,
  user_id: identityId,
  kind: z.string(),
  status: z.literal("pending"),
  created_at: timestamp,
  expires_at: timestamp,
  match_code: z
    .string()
    .optional()
    .describe("Show it to the person who is to answer, where they act; they must type it."),
});

function askRoute(app: App, kind: Kind, operation: KindOperation): void {
  app.openapi(
    defineRoute(
      "requests:write",
      {
        method: "post",
        path: `${API_PREFIX}/${operation.path}`,
        tags: [kind.title],
        summary: operation.summary,
        description: `Needs ${operation.capabilities.map((name) => `\`${name}\``).join(" or ")} in the user's contract. The ask is stored before this answers. Send an Idempotency-Key to repeat it safely.`,
        request: { body: { required: true, content: json(askBody(operation)) } },
        responses: {
          [operation.successStatus]: answer("The ask is stored and on its way.", accepted, "AskAccepted"),
        },
      },
      ["contract_required", "capability_denied", "conflict"],
    ),
    async (c) => {
      const body = c.req.valid("json") as AskBody;
      const idempotency = idempotencyOf(c);
      const times = askTimes(body, operation);
      if (!times.ok) {
        const [first] = times.details;
        throw new ApiError("invalid_request", `${first!.path} ${first!.message}`, { details: times.details });
      }
      if (body.callback_url !== undefined && !isCallbackAllowed(body.callback_url, c.var.config.ENVIRONMENT))
        throw invalidField("callback_url", "must be an https URL without a user name or password");
      const request = unwrap(
        await userConnectionOf(c.env, body.user_id).ask({
          userId: body.user_id,
          kind: kind.name,
          operation: operation.name,
          input: operationInput(operation, body),
          ...(body.purpose === undefined ? {} : { purpose: body.purpose }),
          ...(body.context === undefined ? {} : { context: body.context }),
          ...times.value,
          ...(body.callback_url === undefined ? {} : { callbackUrl: body.callback_url }),
          ...(body.metadata === undefined ? {} : { metadata: body.metadata }),
          ...(idempotency === undefined ? {} : { idempotency }),
          keyId: c.var.caller.keyId,
        }),
      );
      return c.json(
        {
          request_id: request.request_id,
          user_id: request.user_id,
          kind: request.kind,
          // A repetition gets the first answer again, whatever has become of the request.
          status: "pending" as const,
          created_at: request.created_at,
          expires_at: request.expires_at,
          ...(request.match_code === undefined ? {} : { match_code: request.match_code }),
        },
        operation.successStatus,
      );
    },
  );
}

function readRoute(app: App, kind: Kind): void {
  app.openapi(
    defineRoute(
      "requests:read",
      {
        method: "get",
        path: `${API_PREFIX}/${kind.getPath}/{id}`,
        tags: [kind.title],
        summary: `${kind.title}: one request`,
        request: { params: requestParam, query: waitQuery },
        responses: { 200: answer("The request.", requestView.extend(kind.viewSchema)) },
      },
      ["not_found"],
    ),
    async (c) => {
      const request = await readRequest(
        c.env,
        c.req.valid("param").id,
        c.var.caller.keyId,
        c.req.valid("query").wait,
      );
      if (request.kind !== kind.name)
        throw new ApiError(
          "not_found",
          `this is a request of another kind; read it at ${API_PREFIX}/requests/{id}`,
        );
      return c.json(withKindFields(request) as never, 200);
    },
  );
}

export function askingRoutes(app: App): void {
  for (const kind of kinds) {
    for (const operation of kind.operations) askRoute(app, kind, operation);
    readRoute(app, kind);
  }
}
