// Contracts: the agreements themselves, and what the service does about one.

import { z } from "@hono/zod-openapi";
import { contractStatus } from "../../protocol/contract.ts";
import { offeringId } from "../../protocol/offer.ts";
import { contractId, identityId, line, timestamp } from "../../protocol/primitives.ts";
import type { App } from "../app-env.ts";
import { ApiError, unwrap } from "../errors.ts";
import { directoryOf, userInPath, userOfContract } from "../objects.ts";
import { API_PREFIX, defineRoute } from "../route.ts";
import {
  answer,
  contractDetail,
  contractView,
  idParam,
  json,
  listOf,
  listQuery,
  MAX_OFFSET,
} from "../schemas.ts";

const tags = ["Contracts"];
const contractParam = idParam("id", "The contract's id.");
const reason = line(500).describe("Told to the person.");
const reasonBody = { required: false, content: json(z.strictObject({ reason: reason.optional() })) } as const;

export function contractRoutes(app: App): void {
  app.openapi(
    defineRoute("contracts:read", {
      method: "get",
      path: `${API_PREFIX}/contracts`,
      tags,
      summary: "Contracts, newest first",
      request: {
        query: z.object({
          ...listQuery,
          offset: z.coerce.number().int().min(0).max(MAX_OFFSET).default(0).describe("Rows to skip."),
          status: contractStatus.optional(),
          user_id: identityId.optional(),
          offering_id: offeringId.optional(),
        }),
      },
      responses: {
        200: answer(
          "A page of contracts.",
          listOf("contracts", contractView).extend({ total_count: z.int().describe("Over all pages.") }),
        ),
      },
    }),
    async (c) => {
      const { limit, cursor, offset, status, user_id, offering_id } = c.req.valid("query");
      const page = unwrap(
        await directoryOf(c.env).contracts({
          limit,
          offset,
          ...(cursor === undefined ? {} : { cursor }),
          ...(status === undefined ? {} : { status }),
          ...(user_id === undefined ? {} : { userId: user_id }),
          ...(offering_id === undefined ? {} : { offeringId: offering_id }),
        }),
      );
      return c.json(
        {
          contracts: page.items,
          ...(page.nextCursor === undefined ? {} : { next_cursor: page.nextCursor }),
          total_count: page.totalCount,
        },
        200,
      );
    },
  );

  app.openapi(
    defineRoute(
      "contracts:read",
      {
        method: "get",
        path: `${API_PREFIX}/contracts/{id}`,
        tags,
        summary: "One contract, with its proof and the state of the connection",
        request: { params: contractParam },
        responses: { 200: answer("The contract.", contractDetail, "ContractDetail") },
      },
      ["not_found"],
    ),
    async (c) => {
      const id = c.req.valid("param").id;
      return c.json(unwrap(await (await userOfContract(c.env, id)).contract(id)), 200);
    },
  );

  app.openapi(
    defineRoute(
      "contracts:write",
      {
        method: "post",
        path: `${API_PREFIX}/contracts/{id}/accept`,
        tags,
        summary: "Accept a pending contract",
        request: { params: contractParam },
        responses: { 200: answer("The contract, active.", contractView, "Contract") },
      },
      ["not_found", "conflict"],
    ),
    async (c) => {
      const id = c.req.valid("param").id;
      const connection = await userOfContract(c.env, id);
      return c.json(unwrap(await connection.acceptContract(id, c.var.caller.keyId)), 200);
    },
  );

  app.openapi(
    defineRoute(
      "contracts:write",
      {
        method: "post",
        path: `${API_PREFIX}/contracts/{id}/reject`,
        tags,
        summary: "Turn down a pending contract",
        request: { params: contractParam, body: reasonBody },
        responses: { 200: answer("The contract, rejected.", contractView, "Contract") },
      },
      ["not_found", "conflict"],
    ),
    async (c) => {
      const id = c.req.valid("param").id;
      const connection = await userOfContract(c.env, id);
      const given = c.req.valid("json")?.reason;
      return c.json(unwrap(await connection.rejectContract(id, given, c.var.caller.keyId)), 200);
    },
  );

  app.openapi(
    defineRoute(
      "contracts:write",
      {
        method: "delete",
        path: `${API_PREFIX}/contracts/{id}`,
        tags,
        summary: "End a contract",
        description:
          "At once and for good: open requests are cancelled, what the person shared is destroyed, they are told.",
        request: {
          params: contractParam,
          query: z.object({ reason: reason.optional() }),
          body: reasonBody,
        },
        responses: {
          200: answer("Ended.", z.object({ contract_id: contractId, status: z.literal("cancelled") })),
        },
      },
      ["not_found", "conflict"],
    ),
    async (c) => {
      const id = c.req.valid("param").id;
      const connection = await userOfContract(c.env, id);
      const given = c.req.valid("json")?.reason ?? c.req.valid("query").reason;
      unwrap(await connection.cancelContract(id, given, c.var.caller.keyId));
      return c.json({ contract_id: id, status: "cancelled" as const }, 200);
    },
  );

  const userParam = idParam("user_id", "The user's id.");

  app.openapi(
    defineRoute(
      "contracts:read",
      {
        method: "get",
        path: `${API_PREFIX}/users/{user_id}`,
        tags: ["Users"],
        summary: "A connected user",
        request: { params: userParam },
        responses: {
          200: answer(
            "The user and the contract in force.",
            z.object({ user_id: identityId, contract_id: contractId, contract: contractView }),
          ),
        },
      },
      ["not_found"],
    ),
    async (c) => {
      const userId = c.req.valid("param").user_id;
      const connection = userInPath(c.env, userId);
      const id = await connection.activeContract();
      if (id === undefined) throw new ApiError("not_found", "this user is not connected");
      const {
        record: _record,
        verification: _checks,
        connection: _state,
        ...contract
      } = unwrap(await connection.contract(id));
      return c.json({ user_id: userId, contract_id: id, contract }, 200);
    },
  );

  app.openapi(
    defineRoute(
      "contracts:read",
      {
        method: "get",
        path: `${API_PREFIX}/users/{user_id}/profile`,
        tags: ["Users"],
        summary: "What a user shares",
        description: "Each read is audited. Gone once the contract ends.",
        request: { params: userParam },
        responses: {
          200: answer(
            "The shared fields.",
            z.object({
              user_id: identityId,
              contract_id: contractId,
              profile: z.unknown(),
              updated_at: timestamp,
            }),
          ),
        },
      },
      ["not_found"],
    ),
    async (c) => {
      const userId = c.req.valid("param").user_id;
      const shared = unwrap(await userInPath(c.env, userId).profile(c.var.caller.keyId));
      return c.json({ user_id: userId, ...shared }, 200);
    },
  );
}
