// The tables of one user. What each column may hold in the clear is decided here: ids, public keys, times and
// status words; everything a person wrote or shared is in a wrapped BLOB.
//
// Row writes are the cost of this object, so what belongs to one request sits in one row: the sealed message, its
// delivery, the answer and the idempotency key. Due times have no index; they are read again on waking.

import { FEEDER_SCHEMA } from "../feeder.ts";
import { HEADS_SCHEMA } from "../heads.ts";
import type { WrappedColumn } from "../rewrap.ts";

export const SCHEMA: readonly string[] = [
  `CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

   -- One row per contract there ever was; an ended id is refused for ever, so none is deleted.
   CREATE TABLE contracts (
     contract_id TEXT PRIMARY KEY,
     status TEXT NOT NULL,
     contract TEXT NOT NULL,              -- JSON as the user signed it
     user_signature TEXT NOT NULL,
     signed_at TEXT NOT NULL,
     submit_event_id TEXT NOT NULL,
     user_connection_key TEXT NOT NULL,   -- base64, the one messages are sealed to now
     service_connection_key TEXT,         -- base64, as accepted
     accepted_at TEXT,
     service_signature TEXT,
     created_at INTEGER NOT NULL,         -- this and the following: milliseconds since the epoch
     activated_at INTEGER,
     expires_at INTEGER,
     ended_at INTEGER,
     ended_by TEXT,
     ended_reason TEXT,
     last_activity_at INTEGER,
     received_seq INTEGER NOT NULL DEFAULT 0,     -- without what outgoing.answer_seq adds
     missing_seq TEXT NOT NULL DEFAULT '[]',      -- JSON ranges [[from, to], ...] below received_seq
     revoked_capabilities TEXT NOT NULL DEFAULT '[]',
     cooling TEXT NOT NULL DEFAULT '[]',          -- JSON [[hash of what was denied, until], ...]
     open_from INTEGER NOT NULL DEFAULT 0,        -- no outgoing row below it needs attention
     index_version INTEGER NOT NULL DEFAULT 1,    -- grows with each change the Directory lists
     indexed_version INTEGER NOT NULL DEFAULT 0   -- the version the Directory confirmed
   ) WITHOUT ROWID;

   -- Our private connection keys. Deleted when the contract's end is receipted, or 7 days after it.
   CREATE TABLE connection_keys (
     key_id TEXT PRIMARY KEY,
     contract_id TEXT NOT NULL,
     secret BLOB NOT NULL,                -- wrapped, 32 bytes inside
     created_at INTEGER NOT NULL
   ) WITHOUT ROWID;

   -- What the user chose to share. Deleted on revocation.
   CREATE TABLE profiles (
     contract_id TEXT PRIMARY KEY,
     data BLOB NOT NULL,                  -- wrapped JSON
     updated_at INTEGER NOT NULL
   ) WITHOUT ROWID;

   -- Everything sent under a contract; a request is a row whose kind is set. The event id carries n.
   CREATE TABLE outgoing (
     n INTEGER PRIMARY KEY,
     event_id TEXT NOT NULL,
     event_type TEXT NOT NULL,
     ref TEXT,
     contract_id TEXT NOT NULL,
     seq INTEGER NOT NULL,
     created_at INTEGER NOT NULL,
     sealed BLOB,                         -- until receipted, expired or withdrawn
     sealed_until INTEGER NOT NULL,
     sendings INTEGER NOT NULL DEFAULT 0, -- sendings a broker acknowledged, as far as recorded
     next_send_at INTEGER,
     delivered_at INTEGER,
     -- of a request only:
     kind TEXT,
     operation TEXT,
     capability TEXT,
     status TEXT,
     expires_at INTEGER,
     grace_until INTEGER,
     sameness TEXT,
     content BLOB,                        -- wrapped JSON: payload, input, match code, metadata, callback
     idempotency_key TEXT,
     idempotency_digest TEXT,
     changed_at INTEGER,
     answer_id TEXT,
     answer_hash TEXT,
     answer BLOB,                         -- wrapped JSON: approval, reason
     result BLOB,                         -- wrapped JSON; a shared value is destroyed at result_until
     result_until INTEGER,
     state BLOB,                          -- wrapped JSON of the kind's machine
     due_at INTEGER,                      -- when the machine looks again
     parent INTEGER,                      -- the request whose machine asked this one
     acted BLOB                           -- wrapped JSON: actions with an Idempotency-Key, and where they led
   );
   -- Rows with a time of their own may stay for years (a subscription) and are few; the rest is found by open_from.
   CREATE INDEX outgoing_due ON outgoing (n) WHERE due_at IS NOT NULL OR result_until IS NOT NULL;

   -- What the backend is still to be told. Deleted once the Journal has it.
   CREATE TABLE events (
     n INTEGER PRIMARY KEY,
     event TEXT NOT NULL,
     callback BLOB                        -- wrapped URL
   );

   -- Ids of messages that were taken in, and the receipt each got. Answers are on their request's row instead.
   CREATE TABLE inbound (
     event_id TEXT PRIMARY KEY,
     contract_id TEXT NOT NULL,
     seq INTEGER NOT NULL,
     received_at INTEGER NOT NULL,
     receipt TEXT NOT NULL
   ) WITHOUT ROWID;

   -- The user's chain. The entry's event id carries n.
   CREATE TABLE audit (n INTEGER PRIMARY KEY, entry TEXT NOT NULL);`,

  `-- What was said for the backend to read later: a call's signals and lines of chat, events of the user's own.
   CREATE TABLE kept (
     n INTEGER PRIMARY KEY,
     event_id TEXT,                       -- of a user's event, by which it is read
     contract_id TEXT NOT NULL,
     request INTEGER,                     -- row of the request it was said under
     type TEXT NOT NULL,
     sender TEXT NOT NULL,                -- 'user' or 'service'
     content BLOB NOT NULL,               -- wrapped JSON
     created_at INTEGER NOT NULL,
     until INTEGER                        -- when it is destroyed
   );

   -- Tickets to a call's WebSocket, each good for one opening. Deleted when used, or when the next one is made.
   CREATE TABLE tickets (
     hash TEXT PRIMARY KEY,               -- base64 SHA-256 of the ticket
     request INTEGER NOT NULL,
     key_id TEXT NOT NULL,                -- of the API key that asked for it
     until INTEGER NOT NULL
   ) WITHOUT ROWID;`,

  `ALTER TABLE contracts ADD COLUMN successor TEXT;
   -- SHA-256 (base64) of the invite's code: who came by it may ask for setup credentials again.
   ALTER TABLE contracts ADD COLUMN invite TEXT;
   ALTER TABLE contracts ADD COLUMN consent_changed_at INTEGER;
   -- The end, in milliseconds since the epoch, that was announced last.
   ALTER TABLE contracts ADD COLUMN notified_end INTEGER;
   -- Our key the user was told about and has not confirmed, and the outgoing row that said so.
   ALTER TABLE contracts ADD COLUMN rotating_key_id TEXT;
   ALTER TABLE contracts ADD COLUMN rotation_row INTEGER;
   -- Since when, and from which number of the user's, our key is in use.
   ALTER TABLE contracts ADD COLUMN rotated_at INTEGER;
   ALTER TABLE contracts ADD COLUMN rotated_seq INTEGER NOT NULL DEFAULT 0;
   -- The number of the newest key.rotate of the user's that was followed.
   ALTER TABLE contracts ADD COLUMN user_rotate_seq INTEGER NOT NULL DEFAULT 0;

   -- The number of the message that confirmed a key's successor, and when it came.
   ALTER TABLE connection_keys ADD COLUMN retired_seq INTEGER;
   ALTER TABLE connection_keys ADD COLUMN retired_at INTEGER;

   -- Changes that were proposed. n is the outgoing row of the contract.update, the amendment's id its event id.
   CREATE TABLE amendments (
     n INTEGER PRIMARY KEY,
     amendment_id TEXT NOT NULL,
     contract_id TEXT NOT NULL,
     type TEXT NOT NULL,
     status TEXT NOT NULL,
     reason TEXT NOT NULL,                -- the service's words
     offer TEXT NOT NULL,                 -- JSON as signed: what the submission must agree to
     offering_id TEXT NOT NULL,
     contract_expires_at TEXT,
     created_at INTEGER NOT NULL,
     expires_at INTEGER NOT NULL,
     decided_at INTEGER,
     successor TEXT,
     user_reason BLOB,                    -- wrapped: why the person said no
     idempotency_key TEXT,
     idempotency_digest TEXT
   );`,

  HEADS_SCHEMA,

  FEEDER_SCHEMA,

  `-- The user's erasure, asked for or done. At most one row.
   CREATE TABLE erasure (
     id INTEGER PRIMARY KEY CHECK (id = 1),
     erasure_id TEXT NOT NULL,
     key_id TEXT NOT NULL,                -- of the API key that asked; '' once it is done
     requested_at INTEGER NOT NULL,
     erased_at INTEGER
   );

   -- Contracts of before an erasure: their ids, which are hashes, are refused for ever.
   CREATE TABLE forgotten (contract_id TEXT PRIMARY KEY) WITHOUT ROWID;`,

  `-- The second in which the last NATS JWT was issued, and when (milliseconds) none issued so far is valid any more.
   ALTER TABLE contracts ADD COLUMN credentials_issued_at INTEGER;
   ALTER TABLE contracts ADD COLUMN credentials_until INTEGER;`,

  `-- Number of the message the profile came with; 0: with the submission.
   ALTER TABLE profiles ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;`,

  `-- JSON texts of the events this entry's step tells: what the Journal is to have before a head that covers the entry
   -- is noted in \`heads\`, which so confirms them too. Ids and status words, as in the entry; they stay as long as it.
   ALTER TABLE audit ADD COLUMN events TEXT;
   -- The last entry when a row was written: its place among the events in \`audit\`. The table has those of steps without
   -- an entry, and those with a callback, which goes once the Journal has it.
   ALTER TABLE events ADD COLUMN after_entry INTEGER NOT NULL DEFAULT 0;`,

  `-- The number (\`seq\`) of the message that answered. Numbers above the contract's received_seq are counted from here,
   -- in rows from its open_from on, until its row is written again. A version that does not know the column takes them
   -- for missing, asks for them, and knows the answers by their ids.
   ALTER TABLE outgoing ADD COLUMN answer_seq INTEGER;`,
];

/** Every column that holds wrapped values; a test holds it against the tables. */
export const WRAPPED: readonly WrappedColumn[] = [
  { table: "connection_keys", column: "secret", keys: ["key_id"] },
  { table: "profiles", column: "data", keys: ["contract_id"] },
  ...["content", "answer", "result", "state", "acted"].map((column) => ({
    table: "outgoing",
    column,
    keys: ["n"],
  })),
  { table: "events", column: "callback", keys: ["n"], placeOf: [] },
  { table: "kept", column: "content", keys: ["n"] },
  { table: "amendments", column: "user_reason", keys: ["n"] },
];
