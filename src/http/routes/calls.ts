// The live side of calls: what was said, and a WebSocket that a single-use ticket opens. Calling, ending and
// signalling over HTTP come from the registry.

import { z } from "@hono/zod-openapi";
import { timestamp } from "../../protocol/primitives.ts";
import type { ApiFault } from "../../rpc.ts";
import type { App } from "../app-env.ts";
import { ApiError, unwrap } from "../errors.ts";
import { routedUser } from "../long-poll.ts";
import { userConnectionOf } from "../objects.ts";
import { API_PREFIX, defineRoute } from "../route.ts";
import { answer, idParam } from "../schemas.ts";

const tags = ["Calls"];
const callParam = idParam("id", "The call's id.");
const position = z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const MAX_SAID_PAGE = 100;

const said = z.object({
  position: z.int().describe("Grows with each; where the next reading begins."),
  type: z.enum(["call.signal", "chat.message"]),
  from: z.enum(["user", "service"]),
  at: timestamp,
  signal: z.unknown().optional(),
  text: z.string().optional(),
  sent_at: timestamp.optional(),
});

export function callRoutes(app: App): void {
  app.openapi(
    defineRoute(
      "requests:read",
      {
        method: "get",
        path: `${API_PREFIX}/call/{id}/signals`,
        tags,
        summary: "Signals and chat lines of a call, in order",
        description:
          "Signals are destroyed when the call ends, lines of a chat a day later. Each reading is recorded.",
        request: {
          params: callParam,
          query: z.object({
            after: position.default(0).describe("`position` of the last one already known."),
            limit: z.coerce.number().int().min(1).max(MAX_SAID_PAGE).default(MAX_SAID_PAGE),
          }),
        },
        responses: { 200: answer("What was said.", z.object({ signals: z.array(said) })) },
      },
      ["not_found"],
    ),
    async (c) => {
      const { id } = c.req.valid("param");
      const { after, limit } = c.req.valid("query");
      const signals = unwrap(
        await userConnectionOf(c.env, routedUser(id)).said({
          requestId: id,
          after,
          limit,
          keyId: c.var.caller.keyId,
        }),
      );
      return c.json({ signals } as never, 200);
    },
  );

  app.openapi(
    defineRoute(
      "requests:write",
      {
        method: "post",
        path: `${API_PREFIX}/call/{id}/ticket`,
        tags,
        summary: "A ticket to a call's WebSocket",
        description:
          "Good for one opening within 60 seconds. Give it to the agent's browser instead of an API key.",
        request: { params: callParam },
        responses: {
          201: answer(
            "The ticket, shown this once.",
            z.object({ ticket: z.string(), expires_at: timestamp, signaling_url: z.string() }),
          ),
        },
      },
      ["not_found", "conflict"],
    ),
    async (c) => {
      const { id } = c.req.valid("param");
      const ticket = unwrap(await userConnectionOf(c.env, routedUser(id)).callTicket(id, c.var.caller.keyId));
      const url = new URL(`${API_PREFIX}/call/${id}/signaling`, c.var.config.PUBLIC_URL);
      url.protocol = url.protocol === "http:" ? "ws:" : "wss:";
      url.searchParams.set("ticket", ticket.ticket);
      return c.json({ ...ticket, signaling_url: url.href }, 201);
    },
  );

  app.openapi(
    defineRoute(
      "public",
      {
        method: "get",
        path: `${API_PREFIX}/call/{id}/signaling`,
        tags,
        summary: "A call's WebSocket",
        description:
          'Opened by the ticket alone. Sends what is said in the call as `GET signals` shows it, and `{type: "call.status", status}`; closes with the call. Takes `{type: "call.signal", signal}`, `{type: "chat.message", text}` and `{type: "call.end", reason?}`; a refusal comes back as `{type: "error", code, detail}`.',
        request: {
          params: callParam,
          query: z.object({
            ticket: z.string().min(1).max(64),
            after: position.optional().describe("`position` of the last one already known."),
          }),
        },
        responses: { 101: { description: "The WebSocket." } },
      },
      ["forbidden", "not_found", "conflict"],
    ),
    async (c) => {
      if (c.req.header("upgrade")?.toLowerCase() !== "websocket")
        throw new ApiError("invalid_request", "this is a WebSocket: open it with `Upgrade: websocket`");
      const { id } = c.req.valid("param");
      const { ticket, after = 0 } = c.req.valid("query");
      const url = new URL(`https://user-connection/${encodeURIComponent(id)}`);
      url.searchParams.set("ticket", ticket);
      url.searchParams.set("after", String(after));
      const object = c.env.USER_CONNECTION.getByName(routedUser(id));
      const response = await object.fetch(url.href, { headers: { upgrade: "websocket" } });
      if (response.webSocket === null) {
        const { code, detail } = (await response.json()) as ApiFault;
        throw new ApiError(code, detail);
      }
      // Anew, because what came from the object may not be given further headers.
      return new Response(null, { status: 101, webSocket: response.webSocket }) as never;
    },
  );
}
