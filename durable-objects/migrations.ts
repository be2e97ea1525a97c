// Versioned schemas of the objects' SQLite databases.
//
// A database holds one row with the number of steps it has taken. Steps are never changed or removed once
// released: a new version of the code appends. All missing steps run in one transaction, so a crash in between
// leaves the database as it was, and the next start takes the same steps again.

import { atPoint } from "../src/at-point.ts";

/** Holds how many steps a database has taken. */
export const SCHEMA_TABLE = "schema_version";

/** How many steps a database has taken; 0 for one that nothing was ever written to. Writes nothing. */
export function schemaVersion(storage: DurableObjectStorage): number {
  // Asking sqlite_master first keeps this a read: an object that was only asked about stays empty and free.
  const known = storage.sql
    .exec("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", SCHEMA_TABLE)
    .toArray();
  if (known.length === 0) return 0;
  return storage.sql.exec<{ version: number }>(`SELECT version FROM ${SCHEMA_TABLE}`).one().version;
}

/**
 * Brings a database up to date. `steps` are SQL scripts in order, the whole history of the schema; only those the
 * database has not taken run. Writes nothing when there are none. A database with more steps than the code knows
 * is left alone: deploys are not atomic, and a newer version's rows stay readable by the one before it.
 */
export function migrate(storage: DurableObjectStorage, steps: readonly string[]): void {
  const taken = schemaVersion(storage);
  if (taken >= steps.length) return;
  atPoint("object.migrate", () =>
    storage.transactionSync(() => {
      for (const step of steps.slice(taken)) storage.sql.exec(step);
      setSchemaVersion(storage, steps.length);
    }),
  );
}

/** Notes how many steps were taken, in the transaction that took them. */
export function setSchemaVersion({ sql }: DurableObjectStorage, version: number): void {
  sql.exec(
    `CREATE TABLE IF NOT EXISTS ${SCHEMA_TABLE} (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL)`,
  );
  sql.exec(`INSERT OR REPLACE INTO ${SCHEMA_TABLE} (id, version) VALUES (1, ?)`, version);
}
