// The public audit log: https://c2sp.org/tlog-tiles under /log. Served from R2 as it was published; no object is
// asked, so that an auditor reading the whole log takes nothing from anyone.

import { z } from "@hono/zod-openapi";
import {
  CHECKPOINT_KEY,
  CHECKPOINT_TYPE,
  TILE_TYPE,
  tileKey,
} from "../../../durable-objects/audit-log/store.ts";
import { LOG_PATH } from "../../audit/checkpoint.ts";
import { HASH_BYTES } from "../../audit/merkle.ts";
import { parseTilePath, TILE_WIDTH, type Tile } from "../../audit/tiles.ts";
import type { App } from "../app-env.ts";
import { ApiError } from "../errors.ts";
import { callerOf } from "../middleware/idempotency.ts";
import { classify } from "../middleware/measure.ts";
import { limitLogRate } from "../middleware/rate-limit.ts";
import { auditLogOf, directoryOf } from "../objects.ts";
import { API_PREFIX, defineRoute } from "../route.ts";
import { answer, json } from "../schemas.ts";

const tags = ["Audit"];
/** "Headers SHOULD prevent caching beyond a few seconds": a batch follows the other by a second. */
const CHECKPOINT_MAX_AGE_SECONDS = 2;
/** Tiles never change. */
const TILE_MAX_AGE_SECONDS = 365 * 24 * 3_600;

const sharedHeaders = {
  // Whoever wants to check the log may do it from a page of their own.
  "Access-Control-Allow-Origin": "*",
};

/** A tile's hashes. The log may have dropped a partial tile once the full one is there: it begins with it. */
async function readTile(bucket: R2Bucket, tile: Tile): Promise<ReadableStream | undefined> {
  const found = await bucket.get(tileKey(tile));
  if (found !== null) return found.body;
  if (tile.width === TILE_WIDTH) return undefined;
  const full = await bucket.get(tileKey({ ...tile, width: TILE_WIDTH }), {
    range: { offset: 0, length: tile.width * HASH_BYTES },
  });
  return full?.body;
}

const logState = z.object({
  status: z.enum(["open", "halted"]),
  reason: z
    .enum([
      "behind",
      "forked",
      "checkpoint_missing",
      "checkpoint_went_back",
      "checkpoint_unreadable",
      "origin_changed",
      "storage_damaged",
    ])
    .optional(),
  detail: z.string().optional(),
  size: z.int().describe("Leaves."),
  published_size: z.int().describe("Leaves under the published checkpoint."),
  waiting: z.int().describe("Leaves that wait for the next batch."),
  witnesses: z.array(z.object({ name: z.string(), size: z.int().describe("What it cosigned last.") })),
});

const notPublished = () => new ApiError("not_found", "the log has not published this");

export function logRoutes(app: App): void {
  // Documented, but handled below with a brake of their own: these are static, and an auditor has to read many tiles.
  const checkpointRoute = defineRoute(
    "public",
    {
      method: "get",
      path: `${LOG_PATH}/checkpoint`,
      tags,
      summary: "The audit log's signed checkpoint",
      description: "c2sp.org/tlog-checkpoint, with the cosignatures of witnesses. The offer names the key.",
      responses: {
        200: { description: "A signed note.", content: { "text/plain": { schema: z.string() } } },
      },
    },
    ["not_found"],
  );
  const tileRoute = defineRoute(
    "public",
    {
      method: "get",
      path: `${LOG_PATH}/tile/{L}/{N}`,
      tags,
      summary: "A tile of the audit log's Merkle tree",
      description:
        "c2sp.org/tlog-tiles: up to 256 hashes of 32 bytes. `N` is written in groups of three digits, as `x001/x234/067`; a tile of fewer than 256 hashes ends in `.p/<width>`.",
      request: {
        params: z.object({
          L: z.string().describe("Level, 0 to 63."),
          N: z.string().describe("Index in the level, with its width where it is partial."),
        }),
      },
      responses: {
        200: {
          description: "Hashes, joined.",
          content: { [TILE_TYPE]: { schema: z.string().openapi({ format: "binary" }) } },
        },
      },
    },
    ["not_found"],
  );
  app.openAPIRegistry.registerPath(checkpointRoute);
  app.openAPIRegistry.registerPath(tileRoute);

  app.use(`${LOG_PATH}/*`, classify("public"), limitLogRate);

  app.get(`${LOG_PATH}/checkpoint`, async (c) => {
    const found = await c.env.AUDIT_R2.get(CHECKPOINT_KEY);
    if (found === null) throw notPublished();
    return c.body(found.body, 200, {
      "Content-Type": CHECKPOINT_TYPE,
      "Cache-Control": `public, max-age=${CHECKPOINT_MAX_AGE_SECONDS}`,
      ETag: found.httpEtag,
      ...sharedHeaders,
    });
  });

  app.get(`${LOG_PATH}/tile/:path{.+}`, async (c) => {
    const tile = parseTilePath(`tile/${c.req.param("path")}`);
    const body = tile && (await readTile(c.env.AUDIT_R2, tile));
    if (body === undefined) throw notPublished();
    return c.body(body, 200, {
      "Content-Type": TILE_TYPE,
      "Cache-Control": `public, max-age=${TILE_MAX_AGE_SECONDS}, immutable`,
      ...sharedHeaders,
    });
  });

  app.openapi(
    defineRoute("audit:read", {
      method: "get",
      path: `${API_PREFIX}/audit/log`,
      tags,
      summary: "How the audit log stands",
      responses: { 200: answer("Its size, and why it has halted where it has.", logState, "AuditLogState") },
    }),
    async (c) => c.json(await auditLogOf(c.env).state(), 200),
  );

  app.openapi(
    defineRoute("admin", {
      method: "post",
      path: `${API_PREFIX}/audit/log/resume`,
      tags,
      summary: "Let a halted log look again",
      description:
        "It goes on if what was wrong has been put right; while the bucket shows another tree than this one, it stays halted. `republish`: the bucket was lost, and the object's storage is known to be the newest. A log that runs is left alone.",
      request: {
        body: { required: false, content: json(z.strictObject({ republish: z.boolean().optional() })) },
      },
      responses: { 200: answer("The log, as it is now.", logState, "AuditLogState") },
    }),
    async (c) => {
      const { republish = false } = c.req.valid("json") ?? {};
      const before = await auditLogOf(c.env).state();
      const state = await auditLogOf(c.env).resume({ republish });
      // A crash in between leaves a resumed log and no entry; the log's own line and the repeated call say the rest.
      if (before.status === "halted")
        await directoryOf(c.env).recordLogResume(
          { republish, before: before.reason ?? "", state },
          callerOf(c),
        );
      return c.json(state, 200);
    },
  );
}
