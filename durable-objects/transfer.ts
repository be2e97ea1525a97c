// An object's database as pages of rows, out of one deployment and into another (docs/RUNBOOK.md, "Move a
// deployment"). Rows travel as they are stored: what is wrapped stays wrapped, and opens where the same VAULT_KEK is.
//
// Only in maintenance, when nobody else writes. Each page is one transaction that also records how far the import got.
// A crash or a lost answer leaves a whole number of pages; the same page sent again is taken once.

import { sha256 } from "../src/crypto/hash.ts";
import { fromBase64, toBase64 } from "../src/protocol/encoding.ts";
import { utf8 } from "../src/protocol/json.ts";
import type { RpcResult, StoredCell, TransferPage } from "../src/rpc.ts";
import { migrate, SCHEMA_TABLE, schemaVersion, setSchemaVersion } from "./migrations.ts";

/** A page ends with the row that takes it past this; a row is at most 2 MB (limit of the platform). */
const PAGE_BYTES = 256 * 1_024;
/** Rows read at once, whatever their size. */
const READ_ROWS = 200;
/** How far an import got. Stays, so that the last page can be repeated; not exported. */
const PROGRESS = "transfer";
/** Begins the position behind the last page; that page's digest follows, so that only it is known again. */
const DONE = "done ";
/** While there is an import to finish, or nothing to do in maintenance, alarms come back this often. */
export const MAINTENANCE_ALARM_MS = 60_000;

type Row = Record<string, SqlStorageValue>;

const NAME = /^[a-z_]+$/;
const refused = (code: "conflict" | "invalid_request", detail: string): RpcResult<never> => ({
  ok: false,
  error: { code, detail },
});

/** The object's own tables, without what only serves migrating and importing. */
function tablesOf(sql: SqlStorage): string[] {
  return sql
    .exec<{ name: string }>("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    .toArray()
    .map(({ name }) => name)
    .filter((name) => NAME.test(name) && !/^(?:_cf|sqlite)_/.test(name))
    .filter((name) => name !== SCHEMA_TABLE && name !== PROGRESS);
}

function keyOf(sql: SqlStorage, table: string): string[] {
  const columns = sql.exec<{ name: string; pk: number }>(`PRAGMA table_info(${table})`).toArray();
  const key = columns.filter(({ pk }) => pk > 0).sort((a, b) => a.pk - b.pk);
  if (key.length === 0) throw new Error(`table ${table} has no primary key to page by`);
  return key.map(({ name }) => name);
}

const toCell = (value: SqlStorageValue): StoredCell =>
  value instanceof ArrayBuffer ? { base64: toBase64(new Uint8Array(value)) } : value;

function fromCell(cell: StoredCell): SqlStorageValue {
  if (typeof cell !== "object" || cell === null) return cell;
  const bytes = fromBase64(cell.base64);
  if (bytes === undefined) throw new TypeError("a value is not base64");
  return bytes.slice().buffer as ArrayBuffer;
}

const sizeOf = (cells: StoredCell[]): number =>
  cells.reduce<number>((sum, cell) => {
    if (typeof cell === "string") return sum + cell.length;
    return sum + (typeof cell === "object" && cell !== null ? cell.base64.length : 8);
  }, 0);

/** Where a page begins: behind the row of this key, in this table. */
interface Cursor {
  table: string;
  key: StoredCell[];
}

/** The rows behind `after` (a page's `next`), up to a page's size. */
export function exportPage(
  storage: DurableObjectStorage,
  after: string | undefined,
): RpcResult<TransferPage> {
  const { sql } = storage;
  const version = schemaVersion(storage);
  const page: TransferPage = { schema_version: version, ...(after !== undefined && { after }), tables: [] };
  if (version === 0) return { ok: true, value: page };
  let from: Cursor | undefined;
  try {
    from = after === undefined ? undefined : JSON.parse(after);
  } catch {
    return refused("invalid_request", "`after` is not a page's `next`");
  }
  const tables = tablesOf(sql);
  if (from !== undefined && !tables.includes(from.table))
    return refused("invalid_request", "`after` is not a page's `next`");
  let bytes = 0;
  for (const name of tables) {
    if (from !== undefined && name < from.table) continue;
    const key = keyOf(sql, name);
    const found: TransferPage["tables"][number] = { name, columns: [], rows: [] };
    let last = from?.table === name ? from.key.map(fromCell) : undefined;
    for (;;) {
      const where =
        last === undefined ? "" : `WHERE (${key.join(", ")}) > (${key.map(() => "?").join(", ")})`;
      const rows = sql
        .exec<Row>(
          `SELECT * FROM ${name} ${where} ORDER BY ${key.join(", ")} LIMIT ${READ_ROWS}`,
          ...(last ?? []),
        )
        .toArray();
      for (const row of rows) {
        found.columns = Object.keys(row);
        const cells = Object.values(row).map(toCell);
        found.rows.push(cells);
        bytes += sizeOf(cells);
        last = key.map((column) => row[column]!);
        if (bytes < PAGE_BYTES) continue;
        page.tables.push(found);
        return {
          ok: true,
          value: { ...page, next: JSON.stringify({ table: name, key: last.map(toCell) } satisfies Cursor) },
        };
      }
      if (rows.length < READ_ROWS) break;
    }
    if (found.rows.length > 0) page.tables.push(found);
  }
  return { ok: true, value: page };
}

const progressOf = (sql: SqlStorage): string | undefined =>
  sql.exec("SELECT 1 FROM sqlite_master WHERE name = ?", PROGRESS).toArray().length === 0
    ? undefined
    : sql.exec<{ position: string }>(`SELECT position FROM ${PROGRESS}`).one().position;

export interface ImportInto {
  /** The whole history of the object's schema. */
  steps: readonly string[];
  /** Whether anything was ever done in this object; without it: whether it holds any row. */
  isUsed?(): boolean;
  /** In the last page's transaction: what follows from the rows being here rather than there. */
  finish?(): void;
}

/**
 * Takes in one page. The first one needs an object that was never used, or an import that was begun; every other one
 * follows the page before it.
 */
export function importPage(
  storage: DurableObjectStorage,
  page: TransferPage,
  { steps, isUsed, finish }: ImportInto,
): RpcResult<{ rows: number; done: boolean }> {
  const { sql } = storage;
  const rows = page.tables.reduce((sum, table) => sum + table.rows.length, 0);
  const done = page.next === undefined;
  if (page.schema_version > steps.length)
    return refused("invalid_request", "this was exported by a newer version: deploy that one first");
  const progress = progressOf(sql);
  const position = page.next ?? DONE + toBase64(sha256(utf8(JSON.stringify(page))));
  if (progress === position) return { ok: true, value: { rows, done } };
  if (page.after === undefined) {
    const used = isUsed === undefined ? holdsRows(sql) : isUsed();
    if (progress === undefined ? used : progress.startsWith(DONE))
      return refused("conflict", "this object has been used: an import goes into an empty deployment");
  } else if (page.after !== progress) {
    return refused("conflict", "this page does not follow the last one taken: begin this object anew");
  }
  if (page.schema_version === 0) return { ok: true, value: { rows, done } };
  storage.transactionSync(() => {
    if (page.after === undefined) begin(storage, page.schema_version, steps);
    const known = new Set(tablesOf(sql));
    for (const { name, columns, rows } of page.tables) {
      if (!known.has(name) || !columns.every((column) => NAME.test(column)))
        throw new TypeError(`a page names a table or column there is none of: ${name}`);
      const insert = `INSERT INTO ${name} (${columns.join(", ")}) VALUES (${columns.map(() => "?").join(", ")})`;
      for (const row of rows) sql.exec(insert, ...row.map(fromCell));
    }
    sql.exec(`INSERT OR REPLACE INTO ${PROGRESS} (id, position) VALUES (1, ?)`, position);
    if (!done) return;
    migrate(storage, steps);
    finish?.();
  });
  return { ok: true, value: { rows, done } };
}

const holdsRows = (sql: SqlStorage): boolean =>
  tablesOf(sql).some((name) => sql.exec(`SELECT 1 FROM ${name} LIMIT 1`).toArray().length > 0);

/** Tables as the exporting version had them: steps that followed since are taken with the rows there, at the end. */
function begin(storage: DurableObjectStorage, version: number, steps: readonly string[]): void {
  const { sql } = storage;
  for (const name of [...tablesOf(sql), SCHEMA_TABLE, PROGRESS]) sql.exec(`DROP TABLE IF EXISTS ${name}`);
  for (const step of steps.slice(0, version)) sql.exec(step);
  setSchemaVersion(storage, version);
  sql.exec(`CREATE TABLE ${PROGRESS} (id INTEGER PRIMARY KEY, position TEXT NOT NULL)`);
}
