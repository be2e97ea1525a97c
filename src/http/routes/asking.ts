// Asking the user: a route for every operation of every kind, made from the registry. A new kind needs nothing here.

import { z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { atPoint } from "../../at-point.ts";
import { sha256 } from "../../crypto/hash.ts";
import { toBase58 } from "../../protocol/encoding.ts";
import { utf8 } from "../../protocol/json.ts";
import { eventId, identityId, timestamp } from "../../protocol/primitives.ts";
import type { Kind, KindOperation } from "../../requests/kind.ts";
import { kinds, resourceOf } from "../../requests/registry.ts";
import { checkTarget, targetPolicy } from "../../webhooks/target.ts";
import type { App, AppEnv } from "../app-env.ts";
import {
  type AskBody,
  askBody,
  askParams,
  askQuery,
  askTimes,
  operationInput,
  pathFields,
} from "../ask-fields.ts";
import { ApiError, invalidField, unwrap } from "../errors.ts";
import { idempotencyOf } from "../middleware/idempotency.ts";
import { userConnectionOf } from "../objects.ts";
import { rateHeaders } from "../rate-headers.ts";
import { API_PREFIX, defineRoute } from "../route.ts";
import { answer, json } from "../schemas.ts";

export const accepted = z.object({
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

/** Of nobody. */
const EXAMPLE_USER_ID = toBase58(sha256(utf8("example user")));

/** An ask's body with an example of it. */
function exampleBody(operation: KindOperation) {
  const inPath = pathFields(operation);
  const own = Object.entries(operation.example as object).filter(([name]) => !inPath.includes(name));
  const example = {
    user_id: EXAMPLE_USER_ID,
    ...(operation.purposeRequired ? { purpose: "Why you ask, in words for the person" } : {}),
    ...Object.fromEntries(own),
  };
  return { "application/json": { ...json(askBody(operation))["application/json"], example } };
}

/** One way of calling an operation. */
interface Calling {
  method: "post" | "put" | "delete" | "get";
  path: string;
  /** Joins an open ask just like it instead of making another. */
  join: boolean;
}

const callingsOf = ({ method = "post", path, joinPath }: KindOperation): Calling[] => [
  { method, path, join: false },
  ...(joinPath === undefined ? [] : [{ method: "get" as const, path: joinPath, join: true }]),
];

function askRoute(app: App, kind: Kind, operation: KindOperation, { method, path, join }: Calling): void {
  const hasBody = method === "post" || method === "put";
  const { title, idName } = resourceOf(kind, operation.name);
  const needed = operation.capabilities.map((name) => `\`${name}\``).join(" or ");
  app.openapi(
    defineRoute(
      join ? "requests:read" : "requests:write",
      {
        method,
        path: `${API_PREFIX}/${path}`,
        tags: [title],
        summary: operation.summary,
        description: `Needs ${needed} in the user's contract. The ask is stored before this answers.${
          join
            ? " While one just like it is open, this answers with that one."
            : " Send an Idempotency-Key to repeat it safely."
        }`,
        request: {
          ...(pathFields(operation).length === 0 ? {} : { params: askParams(operation) }),
          ...(hasBody
            ? { body: { required: true, content: exampleBody(operation) } }
            : { query: askQuery(operation) as unknown as z.ZodObject }),
        },
        responses: {
          [operation.successStatus]: answer(
            "The ask is stored and on its way.",
            idName === undefined ? accepted : accepted.extend({ [idName]: eventId }),
            idName === undefined ? "AskAccepted" : undefined,
          ),
        },
      },
      ["contract_required", "capability_denied", "not_found", "conflict"],
    ),
    async (c) => {
      const body = c.req.valid((hasBody ? "json" : "query") as never) as AskBody;
      const params = Object.fromEntries(pathFields(operation).map((name) => [name, c.req.param(name)]));
      const input = operationInput(operation, { ...body, ...params });
      return c.json(await placeAsk(c, kind, operation, body, input, join), operation.successStatus);
    },
  );
}

/** Hands a validated ask to the user's object; the body of the answer. */
export async function placeAsk(
  c: Context<AppEnv>,
  kind: Kind,
  operation: KindOperation,
  body: AskBody,
  input: unknown,
  join = false,
) {
  const { idName } = resourceOf(kind, operation.name);
  const idempotency = join ? undefined : idempotencyOf(c);
  const times = askTimes(body, operation);
  if (!times.ok) {
    const [first] = times.details;
    throw new ApiError("invalid_request", `${first!.path} ${first!.message}`, { details: times.details });
  }
  const callback = body.callback_url && checkTarget(body.callback_url, targetPolicy(c.get("config")));
  if (callback && !callback.ok) throw invalidField("callback_url", callback.error);
  const asked = await atPoint("http.ask", () =>
    userConnectionOf(c.env, body.user_id).ask({
      userId: body.user_id,
      kind: kind.name,
      operation: operation.name,
      input,
      ...(body.purpose === undefined ? {} : { purpose: body.purpose }),
      ...(body.context === undefined ? {} : { context: body.context }),
      ...times.value,
      ...(body.callback_url === undefined ? {} : { callbackUrl: body.callback_url }),
      ...(body.metadata === undefined ? {} : { metadata: body.metadata }),
      ...(idempotency === undefined ? {} : { idempotency }),
      ...(join ? { join } : {}),
      keyId: c.get("caller").keyId,
    }),
  );
  for (const [name, value] of Object.entries(rateHeaders(asked.rate ?? []))) c.header(name, value);
  const request = unwrap(asked);
  return {
    request_id: request.request_id,
    ...(idName === undefined ? {} : { [idName]: request.request_id }),
    user_id: request.user_id,
    kind: request.kind,
    // A repetition gets the first answer again, whatever has become of the request.
    status: "pending" as const,
    created_at: request.created_at,
    expires_at: request.expires_at,
    ...(request.match_code === undefined ? {} : { match_code: request.match_code }),
  };
}

export function askingRoutes(app: App): void {
  for (const kind of kinds) {
    for (const operation of kind.operations)
      for (const calling of callingsOf(operation)) askRoute(app, kind, operation, calling);
  }
}
