// Requests of any kind: read, list, cancel.

import { z } from "@hono/zod-openapi";
import { kindName, requestStatus } from "../../protocol/asking.ts";
import { identityId } from "../../protocol/primitives.ts";
import type { RequestFacts } from "../../requests/kind.ts";
import { kindNamed, resourceOf } from "../../requests/registry.ts";
import type { RequestView } from "../../rpc.ts";
import type { App } from "../app-env.ts";
import { unwrap } from "../errors.ts";
import { MAX_WAIT_SECONDS, readRequest, routedUser } from "../long-poll.ts";
import { userConnectionOf } from "../objects.ts";
import { API_PREFIX, defineRoute } from "../route.ts";
import { answer, anyRequestView, idParam, listOf, listQuery } from "../schemas.ts";

const tags = ["Requests"];

export const requestParam = idParam("id", "The request's id.");
export const waitQuery = z.object({
  wait: z.coerce
    .number()
    .int()
    .min(1)
    .max(MAX_WAIT_SECONDS)
    .optional()
    .describe("Seconds to hold the line until the request is no longer pending."),
});

const factsOf = (request: RequestView): RequestFacts => ({
  status: request.status,
  payload: request.request_payload as Record<string, unknown>,
  result: request.result,
  ...(request.approval === undefined ? {} : { approval: request.approval }),
  ...(request.responded_at === undefined ? {} : { respondedAt: request.responded_at }),
  state: request.state,
});

/** A request with what its kind adds. */
export function withKindFields(request: RequestView): RequestView & Record<string, unknown> {
  const kind = kindNamed(request.kind);
  const resource = kind && resourceOf(kind, request.operation);
  // The machine's state is shown through the kind's view alone.
  const { state: _, ...shown } = request;
  return {
    ...shown,
    ...(resource?.idName === undefined ? {} : { [resource.idName]: request.request_id }),
    ...resource?.view(factsOf(request)),
  };
}

/** The same as its own path shows it. */
export function withPathFields(request: RequestView): Record<string, unknown> {
  const kind = kindNamed(request.kind);
  const resource = kind && resourceOf(kind, request.operation);
  return { ...withKindFields(request), ...resource?.pathView?.(factsOf(request)) };
}

export function requestRoutes(app: App): void {
  app.openapi(
    defineRoute("requests:read", {
      method: "get",
      path: `${API_PREFIX}/requests`,
      tags,
      summary: "A user's requests, newest first",
      request: {
        query: z.object({
          ...listQuery,
          user_id: identityId,
          status: requestStatus.optional(),
          kind: kindName.optional(),
        }),
      },
      responses: { 200: answer("A page of requests.", listOf("requests", anyRequestView)) },
    }),
    async (c) => {
      const { user_id, limit, cursor, status, kind } = c.req.valid("query");
      const page = unwrap(
        await userConnectionOf(c.env, user_id).requests({
          limit,
          ...(cursor === undefined ? {} : { cursor }),
          ...(status === undefined ? {} : { status }),
          ...(kind === undefined ? {} : { kind }),
        }),
      );
      return c.json(
        {
          requests: page.items.map(withKindFields),
          ...(page.nextCursor === undefined ? {} : { next_cursor: page.nextCursor }),
        },
        200,
      );
    },
  );

  app.openapi(
    defineRoute(
      "requests:read",
      {
        method: "get",
        path: `${API_PREFIX}/requests/{id}`,
        tags,
        summary: "One request of any kind",
        request: { params: requestParam, query: waitQuery },
        responses: { 200: answer("The request.", anyRequestView, "Request") },
      },
      ["not_found"],
    ),
    async (c) => {
      const request = await readRequest(
        c.env,
        c.req.valid("param").id,
        c.get("caller").keyId,
        c.req.valid("query").wait,
      );
      return c.json(withKindFields(request), 200);
    },
  );

  app.openapi(
    defineRoute(
      "requests:write",
      {
        method: "post",
        path: `${API_PREFIX}/requests/{id}/cancel`,
        tags,
        summary: "Take back a pending request",
        request: { params: requestParam },
        responses: { 200: answer("The request, cancelled.", anyRequestView, "Request") },
      },
      ["not_found", "conflict"],
    ),
    async (c) => {
      const id = c.req.valid("param").id;
      const connection = userConnectionOf(c.env, routedUser(id));
      return c.json(withKindFields(unwrap(await connection.cancelRequest(id, c.get("caller").keyId))), 200);
    },
  );
}
