// The audit chains: a user's, or the service's own.

import { z } from "@hono/zod-openapi";
import { noteVerifierKey, parseVerifierKey } from "../../audit/note.ts";
import { withOpening } from "../../audit/proof.ts";
import { readEvidence } from "../../audit/verify.ts";
import { configOf } from "../../config.ts";
import { digest, identityId } from "../../protocol/primitives.ts";
import type { App } from "../app-env.ts";
import { ApiError, unwrap } from "../errors.ts";
import { auditLogOf, directoryOf, userConnectionOf } from "../objects.ts";
import { API_PREFIX, defineRoute } from "../route.ts";
import { answer, auditEntryView, idParam, listOf, listQuery } from "../schemas.ts";

const MAX_EVENT_ID_CHARACTERS = 96;
const MAX_OPERATION_CHARACTERS = 64;
/** Entries and proofs of one call to verify; the body is bounded besides. */
const MAX_VERIFIED_ENTRIES = 2_000;
const MAX_VERIFIED_PROOFS = 100;
const MAX_PROOF_CHARACTERS = 160_000;

const ownerQuery = identityId.optional().describe("Whose chain; absent: the service's own.");

const findingView = z.object({
  kind: z.enum([
    "changed",
    "removed",
    "reordered",
    "truncated",
    "rewritten",
    "foreign",
    "rolled_back",
    "forked",
    "log_damaged",
    "not_in_log",
    "not_cosigned",
  ]),
  entry: z.int().optional().describe("Place in the entries handed in, from 0."),
  event_id: z.string().optional(),
  detail: z.string(),
});

export function auditRoutes(app: App): void {
  app.openapi(
    defineRoute("audit:read", {
      method: "get",
      path: `${API_PREFIX}/audit`,
      tags: ["Audit"],
      summary: "Entries of an audit chain, in order",
      description: "Each entry names the hash of the one before it and is signed by the service.",
      request: {
        query: z.object({
          limit: listQuery.limit,
          user_id: ownerQuery,
          after: z
            .string()
            .max(MAX_EVENT_ID_CHARACTERS)
            .optional()
            .describe("`event_id` of the last entry already known."),
          cursor: z.string().max(MAX_EVENT_ID_CHARACTERS).optional().describe("The same as `after`."),
          operation: z.string().max(MAX_OPERATION_CHARACTERS).optional(),
        }),
      },
      responses: {
        200: answer(
          "A page of entries.",
          listOf("entries", auditEntryView).extend({
            pruned_to: digest
              .optional()
              .describe("Where the chain's beginning was pruned: `event_hash` of the last entry that was."),
          }),
        ),
      },
    }),
    async (c) => {
      const { user_id, after, cursor, operation, limit } = c.req.valid("query");
      const from = after ?? cursor;
      const chain = user_id === undefined ? directoryOf(c.env) : userConnectionOf(c.env, user_id);
      const page = unwrap(
        await chain.audit({
          limit,
          ...(from === undefined ? {} : { after: from }),
          ...(operation === undefined ? {} : { operation }),
        }),
      );
      return c.json(
        {
          entries: page.items,
          ...(page.nextCursor === undefined ? {} : { next_cursor: page.nextCursor }),
          ...(page.prunedTo === undefined ? {} : { pruned_to: page.prunedTo }),
        },
        200,
      );
    },
  );

  app.openapi(
    defineRoute(
      "audit:read",
      {
        method: "get",
        path: `${API_PREFIX}/audit/{event_id}/proof`,
        tags: ["Audit"],
        summary: "The proof that an entry is in the public log",
        description:
          "The chain from the entry up to the first head that was logged at or after it, and that head's inclusion as c2sp.org/tlog-proof, whose `extra` opens the leaf. `unavailable` for the second or so until an entry is in the log.",
        request: {
          params: idParam("event_id", "Of the entry."),
          query: z.object({ user_id: ownerQuery }),
        },
        responses: {
          200: answer(
            "The proof.",
            z.object({
              event_id: z.string(),
              owner_id: identityId.describe("`user_id`, or `service_id` for the service's own chain."),
              entries: z.array(auditEntryView).describe("From the entry to the head, in order."),
              head: digest.describe("`event_hash` of the last of them."),
              leaf_index: z.int().describe("In the log, from 0."),
              log_vkey: z.string().describe("As in the offer: take it from there, not from here."),
              proof: z.string().describe("c2sp.org/tlog-proof."),
            }),
          ),
        },
      },
      ["not_found"],
    ),
    async (c) => {
      const { event_id } = c.req.valid("param");
      const { user_id } = c.req.valid("query");
      const chain = user_id === undefined ? directoryOf(c.env) : userConnectionOf(c.env, user_id);
      const { entries, opening, index } = unwrap(await chain.auditProof(event_id));
      const inLog = await auditLogOf(c.env).proof({ index });
      // The object was told that the leaf is under a published checkpoint. A log that says otherwise was put back.
      if (!inLog.ok)
        throw new ApiError(
          "unavailable",
          "the audit log does not show this entry; its operator must look at it",
        );
      const config = await configOf(c.env);
      return c.json(
        {
          event_id,
          owner_id: opening.ownerId,
          entries,
          head: opening.head,
          leaf_index: index,
          log_vkey: noteVerifierKey(config.logOrigin, config.logKey.publicKey),
          proof: withOpening(inLog.value.proof, opening),
        },
        200,
      );
    },
  );

  app.openapi(
    defineRoute("audit:read", {
      method: "post",
      path: `${API_PREFIX}/audit/verify`,
      tags: ["Audit"],
      summary: "Verifies a chain, and proofs of its heads, that the caller holds",
      description:
        "Against this service's keys and the witnesses it asks. It looks at nothing stored. A verdict by the service on itself is a convenience: `npm run audit:verify` and the SDK come to the same without it.",
      request: {
        body: {
          required: true,
          content: {
            "application/json": {
              schema: z.strictObject({
                user_id: ownerQuery,
                entries: z.array(z.unknown()).max(MAX_VERIFIED_ENTRIES).describe("In order."),
                after: digest
                  .optional()
                  .describe("`event_hash` of the entry before the first; absent: the beginning."),
                proofs: z.array(z.string().max(MAX_PROOF_CHARACTERS)).max(MAX_VERIFIED_PROOFS).optional(),
                proof: z
                  .string()
                  .max(MAX_PROOF_CHARACTERS)
                  .optional()
                  .describe("The same, for a single one."),
              }),
            },
          },
        },
      },
      responses: {
        200: answer(
          "What was found; nothing, if it holds.",
          z.object({
            valid: z.boolean(),
            entries: z.int(),
            covered: z.int().describe("Entries up to the last head that a proof shows in the log."),
            heads: z.array(
              z.object({
                entry: z.int(),
                leaf_index: z.int(),
                size: z.int(),
                cosigners: z.array(z.object({ name: z.string(), time_seconds: z.int() })),
              }),
            ),
            findings: z.array(findingView),
          }),
        ),
      },
    }),
    async (c) => {
      const { user_id, entries, after, proofs = [], proof } = c.req.valid("json");
      const { serviceId, signingKey, logKey, logOrigin, witnesses } = await configOf(c.env);
      const reading = await readEvidence(
        {
          entries,
          ...(after === undefined ? {} : { after }),
          proofs: proof === undefined ? proofs : [...proofs, proof],
        },
        { serviceId, publicKey: signingKey.publicKeyText, ownerId: user_id ?? serviceId },
        parseVerifierKey(noteVerifierKey(logOrigin, logKey.publicKey))!,
        witnesses.map(({ key }) => key),
      );
      return c.json(
        {
          valid: reading.findings.length === 0,
          entries: entries.length,
          covered: reading.covered,
          heads: reading.heads.map(({ entry, index, checkpoint }) => ({
            entry,
            leaf_index: index,
            size: checkpoint.size,
            cosigners: checkpoint.cosigners.map(({ name, timeSeconds }) => ({
              name,
              time_seconds: timeSeconds,
            })),
          })),
          findings: reading.findings,
        },
        200,
      );
    },
  );
}
