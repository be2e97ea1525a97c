// Asks of the service's own making. Their fields are what the handler manifest says, so they are checked here, against
// its JSON Schema, rather than by a schema of ours.

import { z } from "@hono/zod-openapi";
import { freeName } from "../../protocol/primitives.ts";
import { CUSTOM_PREFIX, customInput, customKind, RESERVED_FIELDS } from "../../requests/kinds/custom.ts";
import type { App } from "../app-env.ts";
import { type AskBody, askFields, purposeField } from "../ask-fields.ts";
import { ApiError } from "../errors.ts";
import { readRequest } from "../long-poll.ts";
import { cachedManifest, forgetManifest } from "../manifest.ts";
import { API_PREFIX, defineRoute } from "../route.ts";
import { answer, anyRequestView, json } from "../schemas.ts";
import { accepted, placeAsk } from "./asking.ts";
import { requestParam, waitQuery, withKindFields } from "./requests.ts";

const tags = ["Custom"];
const common = { ...askFields, purpose: purposeField(false) };
const body = z.looseObject(common);

export function customRoutes(app: App): void {
  app.openapi(
    defineRoute(
      "requests:write",
      {
        method: "post",
        path: `${API_PREFIX}/custom/{name}/request`,
        tags,
        summary: "Ask a user something of the service's own making",
        description:
          "Needs `custom.<name>` in the user's contract. The fields beside these are those of the capability's `request_schema` in the handler manifest; the answer's `result` is of its `response_schema`.",
        request: {
          params: z.object({ name: freeName.describe("As in the handler manifest.") }),
          body: { required: true, content: json(body) },
        },
        responses: { 201: answer("The ask is stored and on its way.", accepted, "AskAccepted") },
      },
      ["contract_required", "capability_denied", "not_found", "conflict"],
    ),
    async (c) => {
      const { name } = c.req.valid("param");
      const given = c.req.valid("json") as AskBody & Record<string, unknown>;
      const own = Object.fromEntries(
        Object.entries(given).filter(([field]) => !Object.hasOwn(common, field)),
      );
      const reserved = Object.keys(own).find((field) => RESERVED_FIELDS.has(field));
      if (reserved !== undefined)
        throw new ApiError("invalid_request", `${reserved} is not a field of an ask's body`, {
          details: [{ path: reserved, message: "is not a field of an ask's body" }],
        });
      let input = customInput(name, own, await cachedManifest(c.env));
      if (!input.ok) {
        // Published a moment ago, perhaps, through another isolate.
        forgetManifest();
        input = customInput(name, own, await cachedManifest(c.env));
      }
      if (!input.ok) {
        if (input.fault.reason === "mismatch") {
          const { details } = input.fault;
          const [first] = details;
          throw new ApiError(
            "invalid_request",
            `the fields do not fit the manifest's request_schema: ${first!.path} ${first!.message}`,
            { details },
          );
        }
        throw new ApiError("not_found", "the handler manifest has no capability of this name");
      }
      const kind = customKind(name);
      return c.json(await placeAsk(c, kind, kind.operations[0]!, given, input.value), 201);
    },
  );

  app.openapi(
    defineRoute(
      "requests:read",
      {
        method: "get",
        path: `${API_PREFIX}/custom/request/{id}`,
        tags,
        summary: "Custom: one request",
        request: { params: requestParam, query: waitQuery },
        responses: {
          200: answer("The request; `result` is of the manifest's response_schema.", anyRequestView),
        },
      },
      ["not_found"],
    ),
    async (c) => {
      const { id } = c.req.valid("param");
      const request = await readRequest(c.env, id, c.var.caller.keyId, c.req.valid("query").wait);
      if (!request.kind.startsWith(CUSTOM_PREFIX))
        throw new ApiError(
          "not_found",
          `this is a request of another kind; read it at ${API_PREFIX}/requests/{id}`,
        );
      return c.json(withKindFields(request) as never, 200);
    },
  );
}
