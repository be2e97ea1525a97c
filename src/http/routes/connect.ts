// How a person's vault comes in: the invite as a page and as a signed offer, credentials for the broker, and the
// way out for a vault that cannot reach the broker (PROTOCOL §5).

import { z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { accepts } from "hono/accepts";
import { setupForm } from "../../contracts/agreement.ts";
import { identityOf } from "../../crypto/hash.ts";
import { isSoundSigningKey } from "../../crypto/keys.ts";
import { verifyJson } from "../../crypto/signing.ts";
import { decodeNkey } from "../../nats/nkey.ts";
import { issueCredentials } from "../../nats/user-credentials.ts";
import {
  inviteCode,
  lastingCredentialsRequest,
  natsCredentials,
  revocation,
  setupCredentialsRequest,
} from "../../protocol/contract.ts";
import { equalBytes, fromBase64, toBase64 } from "../../protocol/encoding.ts";
import { LABELS } from "../../protocol/labels.ts";
import { SETUP_CLOCK_SKEW_MS } from "../../protocol/limits.ts";
import { offer } from "../../protocol/offer.ts";
import { contractId, fromTimestamp } from "../../protocol/primitives.ts";
import { userInboxPrefix } from "../../protocol/subjects.ts";
import type { InviteRefusal } from "../../rpc.ts";
import type { App, AppEnv } from "../app-env.ts";
import { ApiError, invalidField, unwrap } from "../errors.ts";
import { inviteLinks } from "../links.ts";
import { directoryOf, userConnectionOf, userOfContract } from "../objects.ts";
import { connectPage, refusedPage } from "../pages/connect.tsx";
import { pageHeaders } from "../pages/page.tsx";
import { defineRoute } from "../route.ts";
import { answer, json, problemSchema } from "../schemas.ts";

const tags = ["Connecting"];
const codeParam = z.object({ code: z.string().min(1).max(128).describe("The invite's code.") });

const REFUSALS: Record<InviteRefusal, string> = {
  invite_invalid: "there is no such invite; ask for a new one",
  invite_expired: "the invite has expired; ask for a new one",
  invite_used_up: "the invite was used as often as it may be; ask for a new one",
  match_code_wrong: "the invite's match code was wrong; ask for a new invite",
};

/** A vault that says nothing gets JSON; whoever names text/html is a browser. */
const wantsPage = (c: Context<AppEnv>): boolean =>
  accepts(c, {
    header: "Accept",
    supports: ["application/json", "text/html"],
    default: "application/json",
  }) === "text/html";

export function connectRoutes(app: App): void {
  app.openapi(
    defineRoute(
      "public",
      {
        method: "get",
        path: "/connect/{code}",
        tags,
        summary: "An invite: a page for people, the signed offer for vaults",
        request: { params: codeParam },
        responses: {
          200: {
            description: "The page, or the offer.",
            content: { ...json(offer, "Offer"), "text/html": { schema: z.string() } },
          },
          404: {
            description: "There is no such invite.",
            content: {
              "application/problem+json": { schema: problemSchema },
              "text/html": { schema: z.string() },
            },
          },
          410: {
            description: "For browsers: the invite has expired or is used up.",
            content: { "text/html": { schema: z.string() } },
          },
        },
      },
      ["not_found"],
    ),
    async (c) => {
      const { code } = c.req.valid("param");
      const { config } = c.var;
      c.header("Vary", "Accept");
      const opened = inviteCode.safeParse(code).success
        ? await directoryOf(c.env).openInvite(code)
        : { ok: false as const, reason: "invite_invalid" as const };
      if (!wantsPage(c)) {
        if (!opened.ok) throw new ApiError("not_found", REFUSALS[opened.reason]);
        return c.json(opened.offer, 200);
      }
      for (const [name, value] of Object.entries(pageHeaders)) c.header(name, value);
      if (!opened.ok) {
        const status = opened.reason === "invite_invalid" ? 404 : 410;
        return c.html(refusedPage(config.SERVICE_NAME, opened.reason), status as 410);
      }
      return c.html(
        connectPage(opened.offer, opened.terms, inviteLinks(config.PUBLIC_URL, code, config.serviceId)),
        200,
      );
    },
  );

  app.openapi(
    defineRoute(
      "public",
      {
        method: "post",
        path: "/connect/{code}/credentials",
        tags,
        summary: "Broker credentials for setting up a contract",
        description:
          "Both signatures are over the same labelled form (`vettid-setup-v1`), by the signing key and by the nkey. They last 15 minutes and reach the setup subjects only.",
        request: {
          params: codeParam,
          body: { required: true, content: json(setupCredentialsRequest, "SetupCredentialsRequest") },
        },
        responses: {
          200: answer(
            "Credentials; or the contract, when the user has one for this offering already.",
            z.union([
              natsCredentials.extend({
                inbox_prefix: z.string().describe("Prefix for reply subjects of this session."),
              }),
              z.strictObject({ contract_id: contractId }),
            ]),
          ),
        },
      },
      ["signature_invalid", "not_found"],
    ),
    async (c) => {
      const { code } = c.req.valid("param");
      const request = c.req.valid("json");
      const { config } = c.var;
      const now = Date.now();
      if (Math.abs(fromTimestamp(request.timestamp) - now) > SETUP_CLOCK_SKEW_MS)
        throw invalidField(
          "timestamp",
          `must be within ${SETUP_CLOCK_SKEW_MS / 1_000} s of this vault's clock`,
        );
      const signingKey = fromBase64(request.signing_key)!;
      const natsKey = decodeNkey("user", request.nats_public_key);
      if (natsKey === undefined) throw invalidField("nats_public_key", "is not a NATS user public key");
      // An nkey that is also the signing key would let broker traffic sign contracts.
      if (equalBytes(natsKey, signingKey))
        throw invalidField("nats_public_key", "must be another key than the signing key");
      if (!isSoundSigningKey(signingKey))
        throw invalidField("signing_key", "is not a canonical Ed25519 key of prime order");
      if (!isSoundSigningKey(natsKey))
        throw invalidField("nats_public_key", "is not a canonical Ed25519 key of prime order");
      const form = setupForm(config.serviceId, code, request);
      if (!(await verifyJson(request.signing_key, LABELS.setup, form, request.signature)))
        throw new ApiError("signature_invalid", "`signature` is not by signing_key over the setup form");
      if (!(await verifyJson(toBase64(natsKey), LABELS.setup, form, request.nats_signature)))
        throw new ApiError(
          "signature_invalid",
          "`nats_signature` is not by nats_public_key over the setup form",
        );

      const invite = await directoryOf(c.env).invite(code);
      const userId = identityOf(signingKey);
      const connection = userConnectionOf(c.env, userId);
      // Who came by this invite waits for the decision under it, however used up or expired it is by now.
      const came = await connection.contractByInvite(code);
      if (came?.isPending === false) return c.json({ contract_id: came.contractId }, 200);
      if (came === undefined) {
        if (!invite.ok) throw new ApiError("not_found", REFUSALS[invite.reason]);
        const connected = await connection.activeContract(invite.terms.offeringId);
        if (connected !== undefined) return c.json({ contract_id: connected }, 200);
      }
      const credentials = await issueCredentials(
        config,
        { userId, natsPublicKey: request.nats_public_key },
        "setup",
        now,
      );
      return c.json({ ...credentials, inbox_prefix: userInboxPrefix(config.serviceId, userId) }, 200);
    },
  );

  app.openapi(
    defineRoute(
      "public",
      {
        method: "post",
        path: "/connect/credentials",
        tags,
        summary: "New broker credentials for a contract",
        description: "Also after the old ones expired. Both signatures are over `vettid-credentials-v1`.",
        request: {
          body: { required: true, content: json(lastingCredentialsRequest, "LastingCredentialsRequest") },
        },
        responses: {
          200: answer("Credentials, good until `expires_at`.", natsCredentials, "NatsCredentials"),
        },
      },
      ["signature_invalid", "not_found", "contract_required"],
    ),
    async (c) => {
      const request = c.req.valid("json");
      const connection = await userOfContract(c.env, request.contract_id);
      return c.json(unwrap(await connection.renewCredentials(request)), 200);
    },
  );

  app.openapi(
    defineRoute(
      "public",
      {
        method: "post",
        path: "/connect/revoke",
        tags,
        summary: "End a contract, from a vault that cannot reach the broker",
        request: { body: { required: true, content: json(revocation, "Revocation") } },
        responses: { 200: answer("Ended.", z.object({ status: z.literal("cancelled") })) },
      },
      ["signature_invalid", "not_found", "conflict"],
    ),
    async (c) => {
      const request = c.req.valid("json");
      const connection = await userOfContract(c.env, request.contract_id);
      return c.json(unwrap(await connection.revokeByUser(request)), 200);
    },
  );
}
