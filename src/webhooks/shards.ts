// Which journal shard holds whose events. The number of shards may be raised, never lowered: a user's earlier events
// stay in the shard they were written to.

import type { Env } from "../env.ts";
import { shardOf } from "../protocol/ids.ts";
import type { JournalForRoutes, JournalForUsers } from "../rpc.ts";

export type JournalApi = JournalForUsers & JournalForRoutes;

export const journalName = (shard: number): string => `journal-${shard}`;

export const journalCount = (env: Env): number => Math.max(1, Number(env.JOURNAL_SHARDS ?? 1));

/** A fresh stub: one that has failed stays failed. The runtime's own stub types lose what rpc.ts says. */
export const journalAt = (env: Env, shard: number): JournalApi =>
  env.JOURNAL.getByName(journalName(shard)) as unknown as JournalApi;

/** The shard of a user's events. */
export const journalFor = (env: Env, userId: string): JournalApi =>
  journalAt(env, shardOf(userId, journalCount(env)));

/** The shard of events about the service itself. */
export const serviceJournal = (env: Env): JournalApi => journalAt(env, 0);

export const allJournals = (env: Env): JournalApi[] =>
  Array.from({ length: journalCount(env) }, (_, shard) => journalAt(env, shard));
