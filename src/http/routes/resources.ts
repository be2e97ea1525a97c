// What becomes of asks, sort by sort: reading one, listing a user's, and what the backend may do to one. All of it is
// made from the registry; a new kind needs nothing here.

import { z } from "@hono/zod-openapi";
import { identityId } from "../../protocol/primitives.ts";
import type { Kind, Resource } from "../../requests/kind.ts";
import type { Action } from "../../requests/machine.ts";
import { kinds, resourceOf, resourcesOf } from "../../requests/registry.ts";
import type { RequestView } from "../../rpc.ts";
import type { App } from "../app-env.ts";
import { ApiError, unwrap } from "../errors.ts";
import { readRequest, routedUser } from "../long-poll.ts";
import { validationError } from "../middleware/errors.ts";
import { idempotencyOf } from "../middleware/idempotency.ts";
import { userConnectionOf } from "../objects.ts";
import { API_PREFIX, defineRoute } from "../route.ts";
import { answer, json, listOf, listQuery, requestView } from "../schemas.ts";
import { requestParam, waitQuery, withPathFields } from "./requests.ts";

const viewOf = ({ idName, viewSchema, pathSchema }: Resource) =>
  requestView.extend({
    ...(idName === undefined ? {} : { [idName]: z.string() }),
    ...viewSchema,
    ...pathSchema,
  });

/** Only requests of this sort are shown at its path. */
const isOf = (kind: Kind, resource: Resource, request: RequestView): boolean =>
  request.kind === kind.name && resourceOf(kind, request.operation) === resource;

const otherKind = () =>
  new ApiError("not_found", `this is a request of another kind; read it at ${API_PREFIX}/requests/{id}`);

function readRoute(app: App, kind: Kind, resource: Resource): void {
  app.openapi(
    defineRoute(
      "requests:read",
      {
        method: "get",
        path: `${API_PREFIX}/${resource.getPath}/{id}`,
        tags: [resource.title],
        summary: `${resource.title}: one request`,
        request: { params: requestParam, query: waitQuery },
        responses: { 200: answer("The request.", viewOf(resource)) },
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
      if (!isOf(kind, resource, request)) throw otherKind();
      return c.json(withPathFields(request) as never, 200);
    },
  );
}

function listRoute(app: App, kind: Kind, resource: Resource, listName: string): void {
  const operations = kind.operations
    .map(({ name }) => name)
    .filter((name) => resourceOf(kind, name) === resource);
  app.openapi(
    defineRoute("requests:read", {
      method: "get",
      path: `${API_PREFIX}/${resource.getPath}`,
      tags: [resource.title],
      summary: `${resource.title}: a user's, newest first`,
      request: { query: z.object({ ...listQuery, user_id: identityId }) },
      responses: { 200: answer("A page.", listOf(listName, viewOf(resource))) },
    }),
    async (c) => {
      const { user_id, limit, cursor } = c.req.valid("query");
      const page = unwrap(
        await userConnectionOf(c.env, user_id).requests({
          limit,
          ...(cursor === undefined ? {} : { cursor }),
          kind: kind.name,
          operations,
        }),
      );
      return c.json(
        {
          [listName]: page.items.map(withPathFields),
          ...(page.nextCursor === undefined ? {} : { next_cursor: page.nextCursor }),
        } as never,
        200,
      );
    },
  );
}

function actionRoute(app: App, resource: Resource, name: string, action: Action): void {
  const path = `${API_PREFIX}/${resource.getPath}/{id}`;
  const isDelete = action.method === "delete";
  app.openapi(
    defineRoute(
      action.scope,
      {
        method: isDelete ? "delete" : "post",
        path: isDelete ? path : `${path}/${name}`,
        tags: [resource.title],
        summary: action.summary,
        ...(isDelete
          ? { request: { params: requestParam } }
          : {
              description: "Send an Idempotency-Key to repeat it safely.",
              request: { params: requestParam, body: { content: json(action.input) } },
            }),
        responses: { 200: answer("The request as it is then.", viewOf(resource)) },
      },
      ["not_found", "conflict", "capability_denied", "contract_required"],
    ),
    async (c) => {
      const { id } = c.req.valid("param" as never) as { id: string };
      const idempotency = idempotencyOf(c);
      // Parsed here: a call without a body is one with an empty body, and may lack what is needed.
      const input = action.input.safeParse(isDelete ? {} : (c.get("body") ?? {}));
      if (!input.success) throw validationError(input.error.issues);
      const connection = userConnectionOf(c.env, routedUser(id));
      const request = unwrap(
        await connection.act({
          requestId: id,
          path: resource.getPath,
          action: name,
          input: input.data,
          keyId: c.var.caller.keyId,
          ...(idempotency === undefined ? {} : { idempotency }),
        }),
      );
      return c.json(withPathFields(request) as never, 200);
    },
  );
}

export function resourceRoutes(app: App): void {
  for (const kind of kinds)
    for (const resource of resourcesOf(kind)) {
      readRoute(app, kind, resource);
      if (resource.listName !== undefined) listRoute(app, kind, resource, resource.listName);
      for (const [name, action] of Object.entries(resource.machine?.actions ?? {}))
        actionRoute(app, resource, name, action);
    }
}
