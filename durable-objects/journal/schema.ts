// The journal's tables. In the clear: ids, types, times and status words, which is all an event holds (its schema
// sees to that); callback URLs, which may carry a token, are wrapped.
//
// Rows written are the cost of this object. An event is one and one more when it is deleted (what it is found by,
// event-index.ts, is a row for hundreds of events); a delivery that succeeds at once is none: an endpoint is a position in the journal, written for
// many events together. Only what failed becomes a row of its own.

import type { WrappedColumn } from "../rewrap.ts";

export const SCHEMA: readonly string[] = [
  `-- n is the order of the feed. The newest row is never deleted, so that no n is given out twice.
   CREATE TABLE events (
     n INTEGER PRIMARY KEY,
     user_id TEXT NOT NULL,               -- '' for the service's own
     event_id TEXT NOT NULL,
     type TEXT NOT NULL,
     at INTEGER NOT NULL,                 -- the event's timestamp; all times: milliseconds since the epoch
     recorded_at INTEGER NOT NULL,        -- grows with n
     body TEXT NOT NULL,                  -- the JSON text as it is signed and sent
     callback BLOB                        -- wrapped URL
   );
   CREATE UNIQUE INDEX events_by_id ON events (user_id, event_id);

   -- How far each endpoint of the Directory's list has got; 'callback' stands for all callback URLs. Everything up
   -- to position is delivered, a row of deliveries, or not asked for.
   CREATE TABLE endpoints (
     webhook_id TEXT PRIMARY KEY,
     epoch INTEGER NOT NULL,
     position INTEGER NOT NULL,
     listed_from INTEGER NOT NULL,        -- the list of deliveries begins behind it: before, the filter was another
     types TEXT,                          -- JSON; the filter as last seen
     failing_since INTEGER,
     last_failure_at INTEGER,
     disabled TEXT,                       -- 'gone' or 'failing': decided here
     disabled_at INTEGER,
     reported INTEGER NOT NULL DEFAULT 0  -- whether the Directory and the feed have been told
   ) WITHOUT ROWID;

   -- Ranges being delivered once more; deleted when done.
   CREATE TABLE replays (
     replay_id TEXT PRIMARY KEY,
     webhook_id TEXT NOT NULL,
     position INTEGER NOT NULL,
     last_n INTEGER NOT NULL,
     from_at INTEGER NOT NULL,
     to_at INTEGER NOT NULL
   ) WITHOUT ROWID;

   -- Deliveries that did not succeed at once. Deleted with their event.
   CREATE TABLE deliveries (
     lane TEXT NOT NULL,                  -- the endpoint's id, or 'callback.' and a hash of the URL's origin
     n INTEGER NOT NULL,
     status TEXT NOT NULL,
     attempts INTEGER NOT NULL,           -- since started_at
     started_at INTEGER NOT NULL,         -- the schedule's beginning
     next_at INTEGER,                     -- NULL once it is decided
     log TEXT NOT NULL,                   -- JSON [[at, duration, status code or error], ...], the latest
     PRIMARY KEY (lane, n)
   ) WITHOUT ROWID;
   CREATE INDEX deliveries_due ON deliveries (lane, next_at) WHERE next_at IS NOT NULL;`,

  `-- Entries of audit chains that a sink has not taken, in the order they were handed over: each owner's in order.
   -- Deleted once every configured sink has them.
   CREATE TABLE exports (
     n INTEGER PRIMARY KEY,
     owner TEXT NOT NULL,                 -- user_id, or service_id for the service's own chain
     sinks TEXT,                          -- JSON: for these alone; NULL: for all
     at INTEGER NOT NULL,
     entries INTEGER NOT NULL,
     lines TEXT NOT NULL                  -- JSON Lines
   );

   -- How far each sink has got. Never deleted, so that no n is given out twice.
   CREATE TABLE sinks (
     sink TEXT PRIMARY KEY,
     position INTEGER NOT NULL,
     delivered INTEGER NOT NULL DEFAULT 0,  -- entries, since there is this row
     delivered_at INTEGER,
     failures INTEGER NOT NULL DEFAULT 0,   -- in a row
     failing_since INTEGER,
     last_error TEXT,
     next_at INTEGER NOT NULL DEFAULT 0     -- no attempt before
   ) WITHOUT ROWID;`,

  `-- Where events are by id and user (event-index.ts). events_by_id is dropped once runs stand in for it.
   CREATE TABLE runs (
     part INTEGER NOT NULL,                 -- of the users, by a hash; -1 where the run was written
     run INTEGER NOT NULL,
     from_at INTEGER NOT NULL,              -- recorded_at of the run's first event
     marks BLOB NOT NULL,                   -- 32-bit words: place in the run, hash of the user, hash of the event's id
     PRIMARY KEY (part, run)
   ) WITHOUT ROWID;
   -- What came with a time ahead of this object's by more than CLOCK_AHEAD_MS: usually nothing.
   CREATE UNIQUE INDEX events_ahead ON events (user_id, event_id) WHERE at > recorded_at + 60000;`,
];

/** Every column that holds wrapped values; a test holds it against the tables. */
export const WRAPPED: readonly WrappedColumn[] = [
  { table: "events", column: "callback", keys: ["n"], placeOf: ["event_id"] },
];
