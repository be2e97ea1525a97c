// The Directory's tables. What each holds in the clear is decided here: ids, hashes, times, status words and what
// the service publishes anyway. Invite codes and key secrets are there as hashes only; match codes, free text and
// answers kept for Idempotency-Key are wrapped.
//
// Row writes are few here (nothing on the path of an ask writes), so tables are shaped for reading.

import { FEEDER_SCHEMA } from "../feeder.ts";
import { HEADS_SCHEMA } from "../heads.ts";
import type { WrappedColumn } from "../rewrap.ts";

export const SCHEMA: readonly string[] = [
  `-- What the service publishes beside its offerings; name is 'manifest'.
   CREATE TABLE published (name TEXT PRIMARY KEY, content TEXT NOT NULL) WITHOUT ROWID;

   -- One row per version there ever was. At most one version of an offering has no retired_at: the published one.
   CREATE TABLE offerings (
     offering_id TEXT NOT NULL,
     version INTEGER NOT NULL,
     content TEXT NOT NULL,               -- JSON of protocol/offer.ts offeringContent
     created_at INTEGER NOT NULL,         -- this and every other time: milliseconds since the epoch
     retired_at INTEGER,
     PRIMARY KEY (offering_id, version)
   ) WITHOUT ROWID;

   -- Signed offers that someone may still hold; deleted once they have expired.
   CREATE TABLE offers (
     offer_id TEXT PRIMARY KEY,
     selection TEXT NOT NULL,             -- the one offering it carries, or '' for all
     fingerprint TEXT NOT NULL,           -- of everything in it but its times
     issued_at INTEGER NOT NULL,
     valid_until INTEGER NOT NULL,
     body TEXT NOT NULL
   ) WITHOUT ROWID;

   -- Deleted 30 days after they expire, with their uses and tries.
   CREATE TABLE invites (
     invite_id TEXT PRIMARY KEY,
     code_hash TEXT NOT NULL,             -- SHA-256 of the code, base64
     offering_id TEXT,                    -- NULL: all
     match_code BLOB,                     -- wrapped; NULL when none is asked
     metadata BLOB,                       -- wrapped JSON
     max_uses INTEGER NOT NULL,
     uses INTEGER NOT NULL DEFAULT 0,
     wrong_codes INTEGER NOT NULL DEFAULT 0,
     created_at INTEGER NOT NULL,
     created_by TEXT NOT NULL,
     expires_at INTEGER NOT NULL,
     deleted_at INTEGER
   ) WITHOUT ROWID;
   CREATE UNIQUE INDEX invites_by_code ON invites (code_hash);

   CREATE TABLE invite_uses (
     invite_id TEXT NOT NULL,
     contract_id TEXT NOT NULL,
     used_at INTEGER NOT NULL,
     PRIMARY KEY (invite_id, contract_id)
   ) WITHOUT ROWID;

   -- Users whose one try at the match code was wrong.
   CREATE TABLE invite_tries (
     invite_id TEXT NOT NULL,
     user_id TEXT NOT NULL,
     PRIMARY KEY (invite_id, user_id)
   ) WITHOUT ROWID;

   -- Never deleted: an id that was seen once is not seeded again.
   CREATE TABLE api_keys (
     key_id TEXT PRIMARY KEY,
     name TEXT NOT NULL,
     scopes TEXT NOT NULL,                -- JSON
     secret_hash TEXT NOT NULL,           -- SHA-256 of the secret, hex
     previous_hash TEXT,                  -- the secret before the last rotation
     previous_until INTEGER,
     created_at INTEGER NOT NULL,
     rotated_at INTEGER,
     expires_at INTEGER,
     last_used_day TEXT,                  -- YYYY-MM-DD
     deleted_at INTEGER
   ) WITHOUT ROWID;

   -- An index: every row can be sent again by the user's object that owns the contract.
   CREATE TABLE contracts (
     contract_id TEXT PRIMARY KEY,
     user_id TEXT NOT NULL,
     offering_id TEXT NOT NULL,
     status TEXT NOT NULL,
     created_at INTEGER NOT NULL,
     version INTEGER NOT NULL,
     view BLOB NOT NULL                   -- wrapped JSON: it may carry the words of a cancellation
   ) WITHOUT ROWID;
   CREATE INDEX contracts_by_age ON contracts (created_at, contract_id);
   CREATE INDEX contracts_by_user ON contracts (user_id);

   -- Answers to creating calls, kept 24 h for a client that repeats itself.
   CREATE TABLE idempotency (
     key_id TEXT NOT NULL,                -- the API key that called: two callers may choose the same word
     idempotency_key TEXT NOT NULL,
     digest TEXT NOT NULL,
     answer BLOB NOT NULL,                -- wrapped JSON
     kept_until INTEGER NOT NULL,
     PRIMARY KEY (key_id, idempotency_key)
   ) WITHOUT ROWID;

   -- The service's own chain. The entry's event id carries n.
   CREATE TABLE audit (n INTEGER PRIMARY KEY, operation TEXT NOT NULL, entry TEXT NOT NULL);`,

  `-- Endpoints that are told what happens, and a row 'callback' for the secret of callback URLs.
   CREATE TABLE webhooks (
     webhook_id TEXT PRIMARY KEY,
     content BLOB NOT NULL,               -- wrapped JSON: the URL, which may carry a token, and a description
     types TEXT,                          -- JSON; NULL: every type
     secret BLOB NOT NULL,                -- wrapped
     previous_secret BLOB,                -- wrapped; the one before the last rotation
     previous_until INTEGER,
     disabled_reason TEXT,
     disabled_at INTEGER,
     epoch INTEGER NOT NULL,              -- grows with each enabling
     created_at INTEGER NOT NULL,
     rotated_at INTEGER
   ) WITHOUT ROWID;`,

  HEADS_SCHEMA,

  FEEDER_SCHEMA,
  `-- The domain as it was last looked at: JSON of src/discovery/domain-state.ts. One row, or none.
   CREATE TABLE domain (id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT NOT NULL);

   -- Where the service is registered, and what it was told there.
   CREATE TABLE registries (
     registry_id TEXT PRIMARY KEY,
     url TEXT NOT NULL,                   -- an origin
     registry_key TEXT,                   -- NULL until it was first heard
     attestation TEXT,                    -- JSON; kept past its expiry until the next one
     status TEXT NOT NULL,
     detail TEXT,                         -- why it is not attested, in words of ours
     created_at INTEGER NOT NULL,
     asked_at INTEGER,
     next_at INTEGER NOT NULL             -- when the registry is asked next
   ) WITHOUT ROWID;

   -- Events about the service itself that the Journal does not have yet.
   CREATE TABLE announcements (
     event_id TEXT PRIMARY KEY,
     at INTEGER NOT NULL,
     body TEXT NOT NULL
   ) WITHOUT ROWID;`,

  `ALTER TABLE contracts ADD COLUMN nats_key TEXT;
   CREATE INDEX contracts_by_nats_key ON contracts (nats_key) WHERE nats_key IS NOT NULL;
   -- The rotation of VAULT_KEK since which nothing in the user's object is under an older key; 0: not looked at.
   ALTER TABLE contracts ADD COLUMN rewrapped INTEGER NOT NULL DEFAULT 0;
   CREATE INDEX contracts_by_rewrapped ON contracts (rewrapped);
   -- The same of the other objects, by name.
   CREATE TABLE rewrapped (object TEXT PRIMARY KEY, rotation INTEGER NOT NULL) WITHOUT ROWID;
   -- Each KEK this object has seen become the current one. Numbers rather than the keys' ids, which may come again.
   CREATE TABLE rotations (n INTEGER PRIMARY KEY, kek TEXT NOT NULL);

   -- User JWTs that the cluster must refuse, whole: deleted when they have expired and the cluster has forgotten them.
   CREATE TABLE revocations (
     nats_key TEXT PRIMARY KEY,
     contract_id TEXT NOT NULL,
     issued_at INTEGER NOT NULL,          -- seconds: JWTs issued up to then
     expires_at INTEGER NOT NULL,         -- when the last of them runs out
     listed_at INTEGER                    -- when the cluster's list was last seen to hold it
   ) WITHOUT ROWID;`,
];

/** Every column that holds wrapped values; a test holds it against the tables. */
export const WRAPPED: readonly WrappedColumn[] = [
  { table: "invites", column: "match_code", keys: ["invite_id"] },
  { table: "invites", column: "metadata", keys: ["invite_id"] },
  { table: "contracts", column: "view", keys: ["contract_id"] },
  { table: "idempotency", column: "answer", keys: ["key_id", "idempotency_key"] },
  ...["content", "secret", "previous_secret"].map((column) => ({
    table: "webhooks",
    column,
    keys: ["webhook_id"],
  })),
];
