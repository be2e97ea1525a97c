// Contracts: the agreements themselves, and what the service does about one.

import { z } from "@hono/zod-openapi";
import { amendmentInput, amendmentStatus } from "../../contracts/amendment.ts";
import { consentReceipt } from "../../contracts/receipt.ts";
import { contractStatus } from "../../protocol/contract.ts";
import { offering, offeringId } from "../../protocol/offer.ts";
import { contractId, eventId, identityId, keyId, line, timestamp } from "../../protocol/primitives.ts";
import type { App } from "../app-env.ts";
import { ApiError, unwrap } from "../errors.ts";
import { callerOf } from "../middleware/idempotency.ts";
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

const amendmentView = z.object({
  amendment_id: eventId,
  contract_id: contractId,
  type: z.enum(["add_capabilities", "remove_capabilities", "upgrade", "downgrade", "extend"]),
  status: amendmentStatus.describe(
    "`expired`: not agreed to in time, withdrawn for a newer one, or the contract ended first.",
  ),
  reason: z.string(),
  offering_id: offeringId,
  offering: offering.describe("What the person is asked to agree to."),
  contract_expires_at: timestamp.optional().describe("The end that is proposed for the contract."),
  created_at: timestamp,
  expires_at: timestamp.describe("Until when the person may agree."),
  decided_at: timestamp.optional(),
  successor_contract_id: contractId.optional().describe("The contract that took this one's place."),
  user_reason: z.string().optional().describe("Why the person said no."),
});

const erasureView = z.object({
  user_id: identityId,
  erasure_id: eventId,
  status: z.enum(["erasing", "erased"]),
  requested_at: timestamp,
  erased_by: timestamp.optional().describe("At the latest."),
  erased_at: timestamp.optional(),
});

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

  for (const [verb, call, summary, description] of [
    [
      "pause",
      "pauseContract",
      "Stop asking under a contract for a while",
      "Asks are refused until it is resumed; answers to open requests count. The person is told.",
    ],
    ["resume", "resumeContract", "Take a paused contract up again", "The person is told."],
  ] as const)
    app.openapi(
      defineRoute(
        "contracts:write",
        {
          method: "post",
          path: `${API_PREFIX}/contracts/{id}/${verb}`,
          tags,
          summary,
          description,
          request: { params: contractParam, body: reasonBody },
          responses: { 200: answer("The contract as it is now.", contractView, "Contract") },
        },
        ["not_found", "conflict"],
      ),
      async (c) => {
        const id = c.req.valid("param").id;
        const connection = await userOfContract(c.env, id);
        const given = c.req.valid("json")?.reason;
        return c.json(unwrap(await connection[call](id, given, c.var.caller.keyId)), 200);
      },
    );

  app.openapi(
    defineRoute(
      "contracts:write",
      {
        method: "post",
        path: `${API_PREFIX}/contracts/{id}/amendments`,
        tags,
        summary: "Propose a change to a contract",
        description:
          "Nothing changes until the person agrees by a new contract, which then takes this one's place. A newer proposal replaces one that is still open.",
        request: { params: contractParam, body: { required: true, content: json(amendmentInput) } },
        responses: { 201: answer("The proposal, on its way.", amendmentView, "Amendment") },
      },
      ["not_found", "conflict"],
    ),
    async (c) => {
      const id = c.req.valid("param").id;
      const caller = callerOf(c);
      const connection = await userOfContract(c.env, id);
      return c.json(unwrap(await connection.amendContract(id, c.req.valid("json"), caller)), 201);
    },
  );

  app.openapi(
    defineRoute(
      "contracts:read",
      {
        method: "get",
        path: `${API_PREFIX}/contracts/{id}/amendments`,
        tags,
        summary: "Changes that were proposed, newest first",
        request: { params: contractParam, query: z.object(listQuery) },
        responses: { 200: answer("A page of proposals.", listOf("amendments", amendmentView)) },
      },
      ["not_found"],
    ),
    async (c) => {
      const id = c.req.valid("param").id;
      const { limit, cursor } = c.req.valid("query");
      const connection = await userOfContract(c.env, id);
      const { items, nextCursor } = unwrap(
        await connection.amendments(id, { limit, ...(cursor === undefined ? {} : { cursor }) }),
      );
      return c.json(
        { amendments: items, ...(nextCursor === undefined ? {} : { next_cursor: nextCursor }) },
        200,
      );
    },
  );

  app.openapi(
    defineRoute(
      "contracts:read",
      {
        method: "get",
        path: `${API_PREFIX}/contracts/{id}/receipt`,
        tags,
        summary: "The consent receipt of a contract",
        description:
          "Signed; with the fields of ISO/IEC TS 27560. It can be verified offline, and stays the same while the consent does.",
        request: { params: contractParam },
        responses: { 200: answer("The receipt.", consentReceipt, "ConsentReceipt") },
      },
      ["not_found", "conflict"],
    ),
    async (c) => {
      const id = c.req.valid("param").id;
      const connection = await userOfContract(c.env, id);
      return c.json(unwrap(await connection.consentReceipt(id, c.var.caller.keyId)), 200);
    },
  );

  app.openapi(
    defineRoute(
      "contracts:write",
      {
        method: "post",
        path: `${API_PREFIX}/contracts/{id}/rotate-key`,
        tags,
        summary: "Replace the service's connection key of a contract",
        description:
          "Done by itself after 1,000 messages or 30 days. The old key is destroyed once the user's vault has confirmed the new one and everything sealed to the old one has arrived. While a rotation is under way, this answers with that one.",
        request: { params: contractParam },
        responses: {
          202: answer(
            "The rotation has begun.",
            z.object({ contract_id: contractId, key_id: keyId, previous_key_id: keyId }),
          ),
        },
      },
      ["not_found", "conflict"],
    ),
    async (c) => {
      const id = c.req.valid("param").id;
      const connection = await userOfContract(c.env, id);
      return c.json(unwrap(await connection.rotateConnectionKey(id, c.var.caller.keyId)), 202);
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
      "admin",
      {
        method: "delete",
        path: `${API_PREFIX}/users/{user_id}`,
        tags: ["Users"],
        summary: "Erase a user",
        description:
          "A contract that stands is ended first, and the person told; once they know, at the latest after 7 days, everything stored about them is deleted. Ask again to see how far it is. The event `user.erased` names the erasure, not the person.",
        request: { params: userParam, query: z.object({ reason: reason.optional() }), body: reasonBody },
        responses: {
          200: answer("Erased.", erasureView),
          202: answer("Being erased.", erasureView),
        },
      },
      ["not_found"],
    ),
    async (c) => {
      const userId = c.req.valid("param").user_id;
      const given = c.req.valid("json")?.reason ?? c.req.valid("query").reason;
      const erasure = unwrap(await userInPath(c.env, userId).eraseUser(userId, given, c.var.caller.keyId));
      return c.json(erasure, erasure.status === "erased" ? 200 : 202);
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
