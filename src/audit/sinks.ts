// Copies of new entries for places outside: what a batch looks like, and when one that failed is tried again. Pure.
//
// A batch is named by its content. So a repetition, after whatever died, is recognised by its name or overwrites the
// same bytes, and a batch of other content never takes an earlier one's place.

import { sha256 } from "../crypto/hash.ts";
import type { AuditEntry } from "../protocol/audit.ts";
import { toBase58 } from "../protocol/encoding.ts";
import { utf8 } from "../protocol/json.ts";

/** `https`: a receiver of signed batches. `r2`: a bucket of JSON Lines. */
export const SINK_NAMES = ["https", "r2"] as const;
export type SinkName = (typeof SINK_NAMES)[number];

/** What goes out at once, and how long entries wait for others to go with them. */
export interface BatchLimits {
  entries: number;
  characters: number;
  gatherMs: number;
}

export const BATCH_LIMITS: Readonly<Record<SinkName, BatchLimits>> = {
  https: { entries: 500, characters: 400_000, gatherMs: 1_000 },
  // Each object is a write that is paid for.
  r2: { entries: 5_000, characters: 4_000_000, gatherMs: 10_000 },
};

/** An attempt that has not ended by then has failed; what it still does later does no harm. */
export const SINK_TIMEOUT_MS = 20_000;
/** Pauses after failures in a row; the last is repeated for as long as it takes: entries are never given up. */
export const SINK_PAUSES_MS = [1_000, 5_000, 30_000, 120_000, 600_000] as const;
const JITTER = 0.1;

/** Characters of a batch's name: 128 bits of its hash. */
const NAME_BYTES = 16;
/** Digits of a place in the queue, so that names sort in its order. */
const PLACE_DIGITS = 12;

/** Entries in the order of their queue; each line is one entry's JSON text. */
export interface Batch {
  shard: string;
  /** Places in the shard's queue. */
  first: number;
  last: number;
  lines: readonly string[];
}

const newest = ({ lines }: Batch): AuditEntry => JSON.parse(lines.at(-1)!) as AuditEntry;

const nameOf = (text: string): string => toBase58(sha256(utf8(text)).subarray(0, NAME_BYTES));

/** A delivery in the form of Standard Webhooks: `id` is its `webhook-id`. */
export function deliveryOf(batch: Batch): { id: string; body: string } {
  // The lines are JSON already: what was signed is sent as it was stored.
  const body = `{"type":"audit.entries","timestamp":${JSON.stringify(newest(batch).timestamp)},"data":{"entries":[${batch.lines.join(",")}]}}`;
  return { id: `audit_${nameOf(body)}`, body };
}

/** An object of JSON Lines. Its key begins with the day of its newest entry, then shard and place. */
export function objectOf(batch: Batch): { key: string; body: string } {
  const body = `${batch.lines.join("\n")}\n`;
  const place = (n: number) => String(n).padStart(PLACE_DIGITS, "0");
  const day = newest(batch).timestamp.slice(0, 10);
  return {
    key: `${day}/${batch.shard}-${place(batch.first)}-${place(batch.last)}-${nameOf(body)}.jsonl`,
    body,
  };
}

/** What came of an attempt. */
export type SinkOutcome =
  | { ok: true }
  /** `error`: a status code or a word, never anything the other side wrote. */
  | { ok: false; error: string; retryAfterMs?: number; tooLarge?: boolean };

/** The pause after the `failures`th failure in a row (1 for the first). `random` is in [0, 1). */
export function sinkPauseMs(failures: number, askedMs: number | undefined, random: number): number {
  const pause = SINK_PAUSES_MS[Math.min(failures, SINK_PAUSES_MS.length) - 1]!;
  return Math.round(Math.max(pause, askedMs ?? 0) * (1 + JITTER * random));
}
