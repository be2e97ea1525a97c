// The AuditLog's tables. Nothing here says whose head a leaf commits to: leaves are salted hashes.
//
// Rows written for a batch: one for each leaf, one for each tile it touches (usually one), one for the log, and one
// more when it is published.

export const SCHEMA: readonly string[] = [
  `-- The one log. Made with the first batch.
   CREATE TABLE log (
     id INTEGER PRIMARY KEY CHECK (id = 1),
     origin TEXT NOT NULL,
     size INTEGER NOT NULL,               -- leaves sequenced
     checkpoint TEXT NOT NULL,            -- signed note of that size
     published_size INTEGER NOT NULL,     -- leaves under the checkpoint in R2, as far as is known here
     published TEXT,                      -- that checkpoint, with its cosignatures; NULL before the first
     etag TEXT,                           -- what the next swap must find there; NULL before the first
     published_at INTEGER,                -- milliseconds since the epoch
     halted TEXT,                         -- why the log stopped; NULL while it runs
     halted_detail TEXT
   );

   -- Every tile, the partial ones at the right edge as far as they go. R2 holds copies.
   CREATE TABLE tiles (
     level INTEGER NOT NULL,
     n INTEGER NOT NULL,
     hashes BLOB NOT NULL,
     PRIMARY KEY (level, n)
   ) WITHOUT ROWID;

   -- Where each leaf is, by its leaf hash: what is offered again lands once.
   CREATE TABLE positions (leaf_hash BLOB PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;

   -- The size each witness cosigned last, as far as it told.
   CREATE TABLE witnesses (name TEXT PRIMARY KEY, size INTEGER NOT NULL) WITHOUT ROWID;

   -- Published checkpoints with the cosignatures they gathered; one that a later one outdoes is deleted.
   CREATE TABLE cosigned (size INTEGER PRIMARY KEY, checkpoint TEXT NOT NULL, cosigners INTEGER NOT NULL);`,
];
